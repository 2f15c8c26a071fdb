/*
 * common.h - what server.c and client.c share: the acknowledgement, messages and transcript, the command line, the
 * trace, waiting for the other side, and sockets.
 *
 * Read server.c first, from top to bottom, then client.c, and look here when you meet a new name. A function that
 * returns bool returns true if it succeeded, and false with errno set if it did not, unless its comment says
 * otherwise.
 *
 * Whoever includes this has defined PROGRAM, its name, and help, what -h prints: a line with the synopsis, then the
 * rest.
 */
#ifndef COMMON_H
#define COMMON_H

#if defined __linux__ && !defined PORTABLE
#define LINUX 1                 /* use what only Linux has: splice, TCP_INFO, the lengths of queues */
#define _GNU_SOURCE
#else
#define LINUX 0
#define _XOPEN_SOURCE 700       /* what we use beyond C11 is in POSIX.1-2008 */
#define _DARWIN_C_SOURCE        /* but macOS hides SO_NWRITE then, */
#define __BSD_VISIBLE 1         /* and FreeBSD some signals */
#endif
#define _FILE_OFFSET_BITS 64    /* off_t has 64 bits on 32-bit systems too, */
#define _TIME_BITS 64           /* and time_t, without which stat fails for a file dated after 2038 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if LINUX
#include <netinet/tcp.h>
#endif

/* The client's whole reply. It is sent without a newline and without the NUL at its end. */
static const char acknowledgement[] = "I have recv the data,Thank you";
enum { ACKNOWLEDGEMENT_LENGTH = sizeof acknowledgement - 1 };

enum {
    BLOCK_SIZE = 64 * 1024,             /* bytes that one read or write moves at the most: larger blocks gain nothing */
    MESSAGE_MAX = 2 * PATH_MAX + 512,   /* bytes of a message, with two names in it */
    SECOND = 1000000,                   /* times are in microseconds */
};

/* What the command line says, with the defaults. */
static const char *address = "127.0.0.1";   /* -a: an address or a name */
static const char *port = "8080";           /* -p */
static int buffer_size = 1025;              /* -b: bytes; 0 leaves both buffers to the kernel */
static int patience = 30;                   /* -t: seconds; 0 waits for ever */
static bool tracing;                        /* -v */
static bool keep_serving;                   /* -k, of the server: no progress line then */

static int transcript = STDOUT_FILENO;      /* where the transcript goes: elsewhere when the file itself goes there */
static bool output_was_closed;              /* standard output was closed when the program started */
static bool patience_ran_out;               /* our clock ended the last wait; the kernel has an ETIMEDOUT of its own */
static bool progress_visible;               /* the progress line stands on the terminal */

/* Writes all LENGTH bytes to FD, a file, pipe or terminal on this machine, and waits for it as long as it takes,
 * even if whoever started us left it in non-blocking mode. */
static inline bool write_all(int fd, const char *data, size_t length)
{
    struct pollfd room = { .fd = fd, .events = POLLOUT };

    while (length > 0) {
        ssize_t count = write(fd, data, length);
        if (count == 0)
            errno = ENOSPC; /* some devices say so that they are full */
        if (count > 0) {
            data += count;
            length -= (size_t)count;
        } else if (errno != EINTR && (errno != EAGAIN || (poll(&room, 1, -1) < 0 && errno != EINTR)))
            return false;
    }
    return true;
}

/* Returns how many bytes the letter of UTF-8 beyond ASCII has that TEXT begins with, or 0 if it begins with none (RFC
 * 3629, 3 and 4). */
static inline int letter_length(const char *text)
{
    static const long least[] = { [2] = 0xa0, [3] = 0x800, [4] = 0x10000 }; /* less is a control or too long */
    unsigned char first = (unsigned char)*text;
    int length = first < 0xc0 || first >= 0xf8 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    long letter = first & 0x7f >> length;

    for (int i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        letter = letter << 6 | (text[i] & 0x3f);
    }
    return letter < least[length] || letter > 0x10ffff || (letter >= 0xd800 && letter < 0xe000) ? 0 : length;
}

/* Prints START, the message, END and a newline to FD in one piece, in place of the progress line. Control bytes in
 * the message, as a file name may have them, come out as \xNN: a line stays one line, and nothing in it commands
 * the terminal. If the transcript cannot be written, says so once and goes on: the file matters more. */
__attribute__((format(printf, 4, 5)))
static inline void print_line(int fd, const char *start, const char *end, const char *format, ...)
{
    static const char wipe[] = "\r                                                                              \r";
    static char message[MESSAGE_MAX], line[4 * MESSAGE_MAX + 512];
    static bool failed;
    int length; /* of a letter */
    char *to = line + sprintf(line, "%s", start);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    for (const char *from = message; *from != '\0'; from += length > 0 ? length : 1) {
        unsigned char byte = (unsigned char)*from;
        length = letter_length(from);
        if (length > 0)
            to += sprintf(to, "%.*s", length, from);
        else
            to += sprintf(to, byte < ' ' || (byte >= 127 && byte < 0xa0) ? "\\x%02x" : "%c", byte);
    }
    to += sprintf(to, "%s\n", end);
    if (progress_visible)
        progress_visible = !write_all(STDERR_FILENO, wipe, sizeof wipe - 1);
    if (!write_all(fd, line, (size_t)(to - line)) && fd == transcript && !failed) {
        failed = true;
        print_line(STDERR_FILENO, PROGRAM ": ", strerror(errno), "cannot write the transcript, going on without: ");
    }
}

/* Returns the end of a message about ERROR, an errno value: a colon and what it means, or nothing if it is 0. */
static inline const char *reason(int error)
{
    static char text[256];

    if (error == ETIMEDOUT && patience_ran_out)
        snprintf(text, sizeof text, ": %s (-t %d)", strerror(error), patience);
    else
        snprintf(text, sizeof text, "%s%s", error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
    return text;
}

/* These take a format and what belongs in it, as printf does; warn and die take an errno value, or 0, before that.
 * print adds a line to the transcript. warn prints "program: message: reason" on standard error. die ends the
 * program after that, with status 1, and the kernel closes what is open: a connection with a reset, see
 * reset_on_close. usage_error ends it after the synopsis, with status 2. */
#define print(...) print_line(transcript, "", "", __VA_ARGS__)
#define warn(error, ...) print_line(STDERR_FILENO, PROGRAM ": ", reason(error), __VA_ARGS__)
#define die(...) (warn(__VA_ARGS__), exit(EXIT_FAILURE))
#define usage_error(...) (warn(0, __VA_ARGS__), write_all(STDERR_FILENO, help, strcspn(help, "\n") + 1), exit(2))

/* ---- The command line ---------------------------------------------------------------------------------------- */

/* Returns the value of option -LETTER in optarg: a decimal number from 0 to MOST, after which K (1024) or M (1024
 * K) may stand if SUFFIX is true. Anything else is a usage error, blanks and signs too, which strtoul alone would
 * let pass. */
static inline int parse_number(int letter, int most, bool suffix)
{
    unsigned long number = ULONG_MAX, unit = 1; /* strtoul too returns ULONG_MAX for what is too large */
    char *end = optarg;

    if (*optarg >= '0' && *optarg <= '9')
        number = strtoul(optarg, &end, 10);
    if (suffix && (*end == 'K' || *end == 'M'))
        unit = *end++ == 'K' ? 1024 : 1024 * 1024;
    if (*end != '\0' || number > (unsigned long)most / unit)
        usage_error("-%c: '%s' is not a number from 0 to %d%s", letter, optarg, most,
                    suffix ? ", K and M allowed" : "");
    return (int)(number * unit);
}

/* Reads options, up to the first that the other program does not have. Returns its letter, with its value in optarg, or
 * -1 at the end. LETTERS are those that may come, as getopt wants them. */
static inline int read_options(int argc, char *argv[], const char *letters)
{
    int letter;

    while ((letter = getopt(argc, argv, letters)) != -1)
        switch (letter) {
        case 'a':
            address = optarg;
            break;
        case 'b':
            buffer_size = parse_number(letter, INT_MAX, true);
            break;
        case 'h':
            if (!write_all(STDOUT_FILENO, help, strlen(help)))
                die(errno, "cannot write to standard output");
            exit(EXIT_SUCCESS);
        case 'p':
            parse_number(letter, 65535, false);
            port = optarg; /* getaddrinfo wants the text */
            break;
        case 't':
            patience = parse_number(letter, INT_MAX, false);
            break;
        case 'v':
            tracing = true;
            break;
        case ':':
            usage_error("option -%c needs a value", optopt);
        case '?':
            usage_error("there is no option -%c", optopt);
        default:
            return letter;
        }
    return letter;
}

/* Returns the one operand that may follow the options, or OTHERWISE if there is none. */
static inline const char *file_operand(int argc, char *argv[], const char *otherwise)
{
    if (argc - optind > 1)
        usage_error("one FILE at most, not also '%s'", argv[optind + 1]);
    return optind < argc ? argv[optind] : otherwise;
}

/* Prepares what both programs rely on. */
static inline void start_up(void)
{
    int fd;

    if (setenv("POSIXLY_CORRECT", "", 1) != 0) /* the first operand ends the options, for the getopt of GNU too */
        die(errno, "cannot set up the environment");

    /* Were one of the descriptors 0, 1 and 2 closed, the next file or connection would take its number, and the
     * transcript would go there. A socket without a connection fills the gap: nothing can be read from it or
     * written to it, and Linux does not open it by another name, such as /dev/stdout. */
    output_was_closed = fcntl(STDOUT_FILENO, F_GETFD) < 0;
    do
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        die(errno, "cannot open a socket");
    close(fd);

    /* Without this, writing to a connection that is gone, or beyond a limit on the size of files, would kill the
     * program without a word. Now the write fails, with EPIPE or EFBIG (write(2), ERRORS). */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
        die(errno, "cannot ignore a signal");
}

/* ---- What can be seen of a connection: -v ---------------------------------------------------------------------- */

/* Returns the time in microseconds, on a clock that never jumps. */
static inline int64_t microseconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        die(errno, "cannot read the clock");
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec / 1000;
}

/* Returns how many bytes written to socket FD the other side's kernel has not acknowledged, or -1 if the system
 * does not tell. On Linux FIN counts as one (tcp(7), SIOCOUTQ, which is another name for TIOCOUTQ; "unsent"
 * there means not acknowledged). */
static inline int send_queue(int fd)
{
    int bytes = 0, failed = 1;

#if LINUX
    failed = ioctl(fd, TIOCOUTQ, &bytes);
#elif defined FIONWRITE
    failed = ioctl(fd, FIONWRITE, &bytes);
#elif defined SO_NWRITE
    socklen_t length = sizeof bytes;
    failed = getsockopt(fd, SOL_SOCKET, SO_NWRITE, &bytes, &length);
#else
    (void)fd;
#endif
    return failed != 0 ? -1 : bytes;
}

/* Returns the start of a line of trace: time of day, program, and the state of the TCP connection of socket FD, "-" if
 * that is not known (RFC 9293, 3.3.2; tcp(7), TCP_INFO). */
static inline const char *trace_start(int fd)
{
    static char start[64];
    const char *state = "-";
    struct timespec now = { 0 };
    struct tm parts = { 0 };
    char time_of_day[16];

#if LINUX
    static const char *const states[] = { "-", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
        "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING" };
    struct tcp_info info;
    socklen_t length = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state <= TCP_CLOSING)
        state = states[info.tcpi_state];
#else
    (void)fd;
#endif
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || localtime_r(&now.tv_sec, &parts) == NULL)
        now.tv_nsec = 0; /* a trace from midnight is better than no transfer */
    strftime(time_of_day, sizeof time_of_day, "%H:%M:%S", &parts);
    snprintf(start, sizeof start, "%s.%06ld " PROGRAM " %-11s ", time_of_day, now.tv_nsec / 1000, state);
    return start;
}

/* Returns the end of that line: the lengths of both queues, if they are known. The receive queue is what has arrived
 * and was not read (tcp(7), SIOCINQ, which is another name for FIONREAD). */
static inline const char *trace_end(int fd)
{
    static char end[64];
    int unacknowledged = send_queue(fd), unread;

    if (unacknowledged < 0 || ioctl(fd, FIONREAD, &unread) != 0)
        return "";
    snprintf(end, sizeof end, "  (send queue %d, receive queue %d)", unacknowledged, unread);
    return end;
}

/* With -v, tells on standard error what has just happened on socket FD, which is -1 once it is closed. sort(1) merges
 * the lines of both sides by time. Changes errno. */
#define trace(fd, ...) \
    (tracing ? print_line(STDERR_FILENO, trace_start(fd), trace_end(fd), __VA_ARGS__) : (void)0)

/* ---- Waiting for the other side, and progress ------------------------------------------------------------------ */

/* The one clock of -t. Whatever progress the other side makes sets it back, but for the bytes of its reply, which has
 * -t as a whole. Only wait_for_peer lets it run: what we do meanwhile, with a disk, a pipe or a terminal, takes none
 * of the other side's time. */
static struct {
    int64_t since;          /* when we began to wait; 0 after progress */
    int queue;              /* how long the send queue was when we last looked */
    bool poll_said_ready;   /* the next call will not have to wait, it said */
} waiting;

/* The transfer as far as it got. */
static struct {
    intmax_t bytes;         /* moved so far */
    intmax_t expected;      /* in all; -1 if that is not known */
    int64_t began;          /* when; 0 if no transfer is on */
    int64_t drawn;          /* when the progress line was last drawn */
    int64_t full_since;     /* when the send buffer was found full; 0 if it is not */
    int64_t full_time;      /* for how many microseconds it was full in all, */
    long stalls;            /* and how often */
} transfer = { .expected = -1 };

/* While a transfer takes longer than half a second and standard error is a terminal, keeps one line there up to date:
 * bytes, rate and, if the end is known, how much of it and how long still. */
static inline void show_progress(void)
{
    int64_t now = microseconds(), since = now - transfer.began;
    double rate = (double)transfer.bytes / (double)(since + 1); /* bytes per microsecond, which is MB/s */
    char line[128], rest[48] = "";

    if (transfer.began == 0 || tracing || keep_serving || since < SECOND / 2 || now - transfer.drawn < SECOND / 10)
        return;
    transfer.drawn = now;
    if (!isatty(STDERR_FILENO))
        return;
    if (transfer.expected > 0 && transfer.bytes > 0)
        snprintf(rest, sizeof rest, ", %.0f %%, %.0f s left",
                 100.0 * (double)transfer.bytes / (double)transfer.expected,
                 (double)(transfer.expected - transfer.bytes) / rate / 1e6);
    snprintf(line, sizeof line, "\r" PROGRAM ": %.1f MB, %.1f MB/s%s   ", (double)transfer.bytes / 1e6, rate, rest);
    progress_visible = write_all(STDERR_FILENO, line, strlen(line));
}

/* The other side has made progress, or has a new task: it has the whole of -t again. */
static inline void restart_clock(void)
{
    waiting.since = 0;
    waiting.poll_said_ready = false;
}

/* Notes that COUNT more bytes of the transfer went through connection FD. */
static inline void note_progress(int fd, ssize_t count)
{
    int64_t full_time = transfer.full_since == 0 ? 0 : microseconds() - transfer.full_since;

    restart_clock();
    if (transfer.full_since != 0 && transfer.stalls == 1)
        trace(fd, "there is room again, after %jd microseconds", (intmax_t)full_time);
    transfer.full_since = 0;
    transfer.full_time += full_time;
    if (transfer.bytes == 0)
        trace(fd, "first bytes: %zd", count);
    transfer.bytes += count;
    show_progress();
}

/* Marks the end of the transfer. If it showed its progress, the total stays on the terminal. */
static inline void end_transfer(int fd)
{
    double seconds = (double)(microseconds() - transfer.began + 1) / 1e6, megabytes = (double)transfer.bytes / 1e6;
    bool was_visible = progress_visible;

    restart_clock();
    transfer.began = 0;
    trace(fd, "last bytes: %jd in all", transfer.bytes);
    trace(-1, "total: %jd bytes in %.6f s, %.1f MB/s; waited %ld times for room, %.6f s in all", transfer.bytes,
          seconds, megabytes / seconds, transfer.stalls, (double)transfer.full_time / 1e6);
    if (was_visible)
        warn(0, "%.1f MB in %.1f s, %.1f MB/s", megabytes, seconds, megabytes / seconds);
}

/* Waits for the other side of socket FD until it is ready for EVENTS (POLLIN, POLLOUT), but never for long: Linux
 * calls a socket writable only when a third of its send buffer is free, which with a slow reader may not come to
 * pass while there has long been room. Returns 1 if it is ready or has failed, 0 if it is time to try again all the
 * same, or -1 with errno set, ETIMEDOUT when -t is over. */
static inline int wait_for_peer(int fd, short events)
{
    enum { MOMENT = 200, NAP = 20 }; /* milliseconds */
    struct pollfd wanted = { .fd = fd, .events = events };
    int64_t now = microseconds();
    int queue = send_queue(fd), ready;

    show_progress();
    if (waiting.since == 0 || queue < waiting.queue) /* the other side's kernel has acknowledged bytes: progress too */
        waiting.since = now;
    waiting.queue = queue;
    patience_ran_out = patience > 0 && now - waiting.since >= (int64_t)patience * SECOND;
    if (patience_ran_out) {
        errno = ETIMEDOUT;
        return -1;
    }

    /* If poll has said that the call would not have to wait, and it had to even so, as when TCP is short of memory,
     * then a nap without asking poll: it might say the same again and again. */
    if (waiting.poll_said_ready)
        ready = poll(NULL, 0, NAP);
    else
        ready = poll(&wanted, 1, events == POLLOUT || queue > 0 ? NAP : MOMENT);
    waiting.poll_said_ready = ready > 0;
    return ready < 0 && errno == EINTR ? 0 : ready;
}

/* For a read or write (EVENTS is POLLIN or POLLOUT) on socket FD that has failed: if it only has to wait, does so.
 * Returns true if the call should be made again. */
static inline bool wait_to_retry(int fd, short events)
{
    if (errno != EAGAIN)
        return errno == EINTR;
    if (events == POLLOUT && transfer.full_since == 0) {
        transfer.full_since = microseconds();
        if (transfer.stalls++ == 0)
            trace(fd, "the send buffer is full: waiting");
    }
    return wait_for_peer(fd, events) >= 0;
}

/* ---- Sockets ------------------------------------------------------------------------------------------------- */

/* Returns the TCP addresses that -a and -p stand for, for freeaddrinfo to release. A name may have several, of IPv4 and
 * of IPv6. Ends the program if there is none. */
static inline struct addrinfo *resolve(void)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    int problem = getaddrinfo(address, port, &hints, &list);

    if (problem != 0)
        die(problem == EAI_SYSTEM ? errno : 0, "cannot look up '%s': %s", address, gai_strerror(problem));
    return list;
}

/* Makes socket FD non-blocking: a call that would wait fails with EAGAIN instead, and we wait in wait_for_peer,
 * which has a limit. Ends the program if that fails. */
static inline void set_nonblocking(int fd)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) /* a new socket has no other flags */
        die(errno, "cannot set up a socket");
}

/* From now on, whatever closes socket FD resets the connection: we, or the kernel after our death.
 *
 * Usually close sends what is left and then FIN, and a FIN reads as end-of-file: to the other side, a program that
 * was killed looks like one that had finished. With SO_LINGER and a time of 0, close throws away what was not sent
 * and sends RST, the ABORT of RFC 9293, 3.10.5, and the other side gets the error ECONNRESET. That costs no byte on
 * the wire. */
static inline void reset_on_close(int fd)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) != 0)
        die(errno, "cannot set up a socket");
}

/* Everything has been said on connection FD: close may send an ordinary FIN again. */
static inline bool fin_on_close(int fd)
{
    const struct linger linger = { .l_onoff = 0 };

    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0;
}

/* Prints the sizes in bytes of both buffers of socket FD. Its last argument tells getsockopt how much room there
 * is, and getsockopt puts there how much it used: a value-result argument. */
static inline void print_buffers(int fd)
{
    int send_size = 0, receive_size = 0;
    socklen_t send_length = sizeof send_size, receive_length = sizeof receive_size;

    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_size, &send_length) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_size, &receive_length) != 0)
        die(errno, "cannot read the size of a socket buffer");
    print("Send buffer length ：%d", send_size);
    print("Recv buffer length ：%d", receive_size);
}

/* Asks for buffers of -b bytes for socket FD. The first time it prints the sizes before and after, because the
 * answer is hardly ever the number that was asked for: Linux takes the smaller of that and net.core.wmem_max or
 * rmem_max, doubles it to have room for its own bookkeeping, and goes no lower than a floor that comes from the
 * size of its struct sk_buff (socket(7), whose floors are those of an older kernel). To count for the window scale
 * this must happen before listen or connect (tcp(7)). With -b 0 nothing is set, and the kernel tunes both sizes
 * while the connection runs, each until you set that one. */
static inline void set_buffers(int fd)
{
    static bool printed;

    if (!printed)
        print_buffers(fd);
    if (buffer_size > 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof buffer_size) != 0 ||
                            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof buffer_size) != 0))
        die(errno, "cannot set the socket buffers to %d bytes", buffer_size);
    if (!printed) {
        if (buffer_size > 0)
            print("Buffer length both set to %d", buffer_size);
        else
            print("Buffer length left to the kernel");
        print_buffers(fd);
    }
    printed = true;
}

#endif
