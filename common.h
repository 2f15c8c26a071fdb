/*
 * common.h - what server.c and client.c share: the acknowledgement, messages and transcript, options, time and waiting, the
 * trace, and sockets.
 *
 * Read server.c first, from top to bottom, then client.c, and look in here when a name is new. A function that returns
 * bool returns true if it succeeded, and false with errno set if it did not.
 */
#ifndef COMMON_H
#define COMMON_H

#if defined __linux__ && !defined PORTABLE
#define LINUX 1                 /* use what only Linux has: splice, TCP_INFO, the lengths of queues */
#define _GNU_SOURCE
#else
#define LINUX 0
#define _XOPEN_SOURCE 700       /* what we use beyond C11 is in POSIX.1-2008 */
#define _DARWIN_C_SOURCE        /* but macOS hides SO_NWRITE then */
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if LINUX
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#elif defined __FreeBSD__ || defined __NetBSD__
#include <sys/filio.h>
#include <sys/ioctl.h>
#endif

/* The client's whole reply. It is sent without a newline and without the NUL at its end. */
static const char acknowledgement[] = "I have recv the data,Thank you";
enum { ACKNOWLEDGEMENT_LENGTH = sizeof acknowledgement - 1 };

enum {
    BLOCK_SIZE = 64 * 1024,             /* bytes that one read or write moves at the most: larger blocks gain nothing */
    SECONDS_MAX = INT_MAX / 1000,       /* the longest -t and -d: more than 24 days */
    MESSAGE_MAX = 2 * PATH_MAX + 512,   /* a line that we print, with two names in it */
    SECOND = 1000000,                   /* times are in microseconds */
};

/* What the command line says, and what holds when it is silent. */
static const char *program = "?";           /* "server" or "client": the start of every message */
static const char *synopsis = "";           /* shown after a usage error */
static const char *help = "";               /* shown by -h, after the synopsis */
static const char *address = "127.0.0.1";   /* -a: an address or a name */
static const char *port = "8080";           /* -p */
static int buffer_size = 1025;              /* -b: bytes; 0 leaves both buffers to the kernel */
static int patience = 30;                   /* -t: seconds; 0 waits for ever */
static bool tracing;                        /* -v */
static bool keep_serving;                   /* -k, of the server: no progress line then */

static int transcript = STDOUT_FILENO;      /* where the transcript goes: elsewhere when the file itself goes there */
static bool output_was_closed;              /* there was no standard output when the program started */
static bool patience_ran_out;               /* our own clock ended a wait; the kernel has an ETIMEDOUT of its own */

/* ---- Messages and transcript --------------------------------------------------------------------------------- */

/* Writes all LENGTH bytes to FD, a file, pipe or terminal on this machine, and waits for it as long as it takes, also if
 * whoever started us left it in non-blocking mode. */
static inline bool write_all(int fd, const char *data, size_t length)
{
    struct pollfd room = { .fd = fd, .events = POLLOUT };

    while (length > 0) {
        ssize_t count = write(fd, data, length);
        if (count >= 0) {
            data += count;
            length -= (size_t)count;
        } else if (errno == EAGAIN) {
            if (poll(&room, 1, -1) < 0 && errno != EINTR)
                return false;
        } else if (errno != EINTR)
            return false;
    }
    return true;
}

static inline void hide_progress(void);

/* Prints START, the message, END and a newline to FD at once. Control bytes, as a file name may have them, come out as
 * \xNN: a line stays one line, and nothing in it commands the terminal. */
__attribute__((format(printf, 4, 0)))
static inline bool print_line(int fd, const char *start, const char *end, const char *format, va_list arguments)
{
    static char message[MESSAGE_MAX], line[4 * MESSAGE_MAX];
    size_t length = 0, begin = strlen(start);

    hide_progress();
    snprintf(message, sizeof message, "%s", start);
    vsnprintf(message + begin, sizeof message - begin, format, arguments);
    begin = strlen(message);
    snprintf(message + begin, sizeof message - begin, "%s", end);
    for (const char *from = message; *from != '\0'; from++) {
        unsigned char byte = (unsigned char)*from;
        bool control = byte < ' ' || byte == 127 || (from > message && from[-1] == '\xc2' && byte < 0xa0); /* UTF-8's */
        length += (size_t)sprintf(line + length, control ? "\\x%02x" : "%c", byte);
    }
    line[length++] = '\n';
    return write_all(fd, line, length);
}

/* Prints "program: message" and, unless ERROR is 0, what that errno value means, on standard error. If that fails, there
 * is nowhere left to say so. */
__attribute__((format(printf, 2, 3)))
static inline void warn(int error, const char *format, ...)
{
    char start[16], reason[256] = "";
    va_list arguments;

    snprintf(start, sizeof start, "%s: ", program);
    if (error == ETIMEDOUT && patience_ran_out)
        snprintf(reason, sizeof reason, ": %s (-t %d)", strerror(error), patience);
    else if (error != 0)
        snprintf(reason, sizeof reason, ": %s", strerror(error));
    va_start(arguments, format);
    print_line(STDERR_FILENO, start, reason, format, arguments);
    va_end(arguments);
}

/* The same, and then the end: with status 1, and for a wrong command line with the synopsis and status 2. The kernel closes
 * what is open, and a connection with a reset: see reset_unless_finished. */
#define die(...) (warn(__VA_ARGS__), exit(EXIT_FAILURE))
#define usage_error(...) (warn(0, __VA_ARGS__), write_all(STDERR_FILENO, synopsis, strlen(synopsis)), exit(2))

/* Prints a line of the transcript, at once. When that fails it warns the first time and the run goes on: the file matters
 * more than the story about it. */
__attribute__((format(printf, 1, 2)))
static inline void print(const char *format, ...)
{
    static bool failed;
    va_list arguments;

    va_start(arguments, format);
    if (!print_line(transcript, "", "", format, arguments) && !failed) {
        failed = true;
        warn(errno, "cannot write the transcript, going on without");
    }
    va_end(arguments);
}

/* ---- The command line ---------------------------------------------------------------------------------------- */

/* Returns the value of option -LETTER in optarg: a decimal number from 0 to MOST, after which K (1024) or M (1024 K) may
 * stand if SUFFIX is true. Anything else is a usage error, blanks and signs too, which strtoul alone would let pass. */
static inline int parse_number(int letter, int most, bool suffix)
{
    unsigned long number = ULONG_MAX, limit = (unsigned long)most;
    char *end = optarg;

    errno = 0;
    if (*optarg >= '0' && *optarg <= '9')
        number = strtoul(optarg, &end, 10);
    if (suffix && (*end == 'K' || *end == 'M')) {
        unsigned long unit = *end == 'K' ? 1024 : 1024 * 1024;
        number = number <= limit / unit ? number * unit : ULONG_MAX;
        end++;
    }
    if (errno != 0 || end == optarg || *end != '\0' || number > limit)
        usage_error("-%c: '%s' is not a number from 0 to %d%s", letter, optarg, most,
                    suffix ? ", K and M allowed" : "");
    return (int)number;
}

/* Handles the options that both programs take. LETTER is what getopt returned, with the value in optarg; anything
 * unknown or incomplete is a usage error. */
static inline void shared_option(int letter)
{
    switch (letter) {
    case 'a':
        address = optarg;
        break;
    case 'b':
        buffer_size = parse_number(letter, INT_MAX, true);
        break;
    case 'h':
        if (!write_all(STDOUT_FILENO, synopsis, strlen(synopsis)) || !write_all(STDOUT_FILENO, help, strlen(help)))
            die(errno, "cannot write to standard output");
        exit(EXIT_SUCCESS);
    case 'p':
        parse_number(letter, 65535, false);
        port = optarg; /* getaddrinfo wants the text */
        break;
    case 't':
        patience = parse_number(letter, SECONDS_MAX, false);
        break;
    case 'v':
        tracing = true;
        break;
    default: /* getopt's answers to a missing value and to an unknown letter */
        usage_error(letter == ':' ? "option -%c needs a value" : "there is no option -%c", optopt);
    }
}

/* Returns the one operand that may follow the options, or OTHERWISE if there is none. */
static inline const char *file_operand(int argc, char *argv[], const char *otherwise)
{
    if (argc - optind > 1)
        usage_error("one FILE at most, not also '%s'", argv[optind + 1]);
    return optind < argc ? argv[optind] : otherwise;
}

/* Prepares what both programs rely on. NAME is the program's. */
static inline void start_up(const char *name)
{
    const struct sigaction ignore = { .sa_handler = SIG_IGN };
    int fd;

    program = name;
    if (setenv("POSIXLY_CORRECT", "", 1) != 0) /* the first operand ends the options, for the getopt of GNU too */
        die(errno, "cannot set up the environment");

    /* Were one of the descriptors 0, 1 and 2 closed, the next file or connection would take its number, and the transcript
     * would go there. A socket without a connection fills the gap: nothing can be read from it or written to it, and
     * Linux does not open it by another name, such as /dev/stdout. */
    output_was_closed = fcntl(STDOUT_FILENO, F_GETFD) < 0;
    do
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        die(errno, "cannot open a socket");
    close(fd);

    /* Without this, writing to a connection that is gone, or beyond a limit on the size of files, would kill the
     * program without a word. Now the write fails, with EPIPE or EFBIG (write(2), ERRORS). */
    if (sigaction(SIGPIPE, &ignore, NULL) != 0 || sigaction(SIGXFSZ, &ignore, NULL) != 0)
        die(errno, "cannot ignore a signal");
}

/* ---- What can be seen of a connection ------------------------------------------------------------------------ */

/* Returns the time in microseconds, on a clock that never jumps. */
static inline int64_t microseconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        die(errno, "cannot read the clock");
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec / 1000;
}

/* Returns how many bytes written to socket FD the other side's kernel has not acknowledged, or -1 if the system does not
 * tell. On Linux FIN counts as one (tcp(7), SIOCOUTQ, which is another name for this). */
static inline int send_queue(int fd)
{
    int bytes = -1;
#if LINUX
    bool told = ioctl(fd, TIOCOUTQ, &bytes) == 0;
#elif defined FIONWRITE
    bool told = ioctl(fd, FIONWRITE, &bytes) == 0;
#elif defined SO_NWRITE
    socklen_t length = sizeof bytes;
    bool told = getsockopt(fd, SOL_SOCKET, SO_NWRITE, &bytes, &length) == 0;
#else
    bool told = fd < 0;
#endif

    return told ? bytes : -1;
}

#if LINUX
/* Returns how many bytes have arrived on socket FD and were not read, or -1 if that is not known (tcp(7), SIOCINQ, which
 * is another name for this). */
static inline int receive_queue(int fd)
{
    int bytes;

    return ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : -1;
}

/* Returns the state of the TCP connection of socket FD (RFC 9293, 3.3.2; tcp(7), TCP_INFO). */
static inline const char *tcp_state(int fd)
{
    static const char *const names[] = { "?", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
        "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING" };
    struct tcp_info info;
    socklen_t length = sizeof info;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 || info.tcpi_state >= sizeof names / sizeof names[0])
        return "-";
    return names[info.tcpi_state];
}
#else
static inline int receive_queue(int fd)
{
    return fd < 0 ? -1 : -1;
}

static inline const char *tcp_state(int fd)
{
    return fd < 0 ? "-" : "-";
}
#endif

/* With -v, tells on standard error what has just happened on socket FD, or -1 if that is closed: time of day, program,
 * state, event, queues. sort makes one story of the lines of both sides. Leaves errno alone. */
__attribute__((format(printf, 2, 3)))
static inline void trace(int fd, const char *format, ...)
{
    struct timespec now = { 0 };
    struct tm parts = { 0 };
    char start[64], clock[16], queues[64] = "";
    va_list arguments;
    int error = errno;

    if (!tracing)
        return;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || localtime_r(&now.tv_sec, &parts) == NULL)
        now.tv_nsec = 0; /* a trace from midnight is better than no transfer */
    strftime(clock, sizeof clock, "%H:%M:%S", &parts);
    snprintf(start, sizeof start, "%s.%06ld %s %-11s ", clock, now.tv_nsec / 1000, program, tcp_state(fd));
    if (send_queue(fd) >= 0 && receive_queue(fd) >= 0)
        snprintf(queues, sizeof queues, "  (send queue %d, receive queue %d)", send_queue(fd), receive_queue(fd));
    va_start(arguments, format);
    print_line(STDERR_FILENO, start, queues, format, arguments);
    va_end(arguments);
    errno = error;
}

/* ---- Progress ------------------------------------------------------------------------------------------------ */

/* The one clock of -t. It runs from the moment the other side begins to keep us waiting, and every progress it makes
 * stops it. While we are busy with things of our own, a disk or a pipe, it does not run. */
static struct {
    int64_t since;      /* when it began to run; 0 while it does not */
    int queue;          /* how long the send queue was when we last looked */
    bool promised;      /* poll has said that the next call will not have to wait */
} waiting;

/* The other side has made progress: a connection stands, or bytes went through it. */
static inline void stop_clock(void)
{
    waiting.since = 0;
    waiting.promised = false;
}

/* The transfer as far as it got. */
static struct {
    intmax_t bytes;         /* moved so far */
    intmax_t expected;      /* in all; -1 if that is not known */
    int64_t began;          /* when; 0 if no transfer is on */
    int64_t drawn;          /* when the progress line was last drawn */
    long stalls;            /* how often the send buffer was full, */
    int64_t stalled;        /* and for how many microseconds in all */
    bool visible;           /* the progress line stands on the terminal */
} transfer;

/* Wipes the progress line from the terminal, before something else is written there. */
static inline void hide_progress(void)
{
    static const char wipe[] = "\r                                                                              \r";

    if (transfer.visible)
        write_all(STDERR_FILENO, wipe, sizeof wipe - 1);
    transfer.visible = false;
}

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
                 (double)(transfer.expected - transfer.bytes) / rate / SECOND);
    snprintf(line, sizeof line, "\r%s: %.1f MB, %.1f MB/s%s   ", program, (double)transfer.bytes / 1e6, rate, rest);
    transfer.visible = write_all(STDERR_FILENO, line, strlen(line));
}

/* Marks the beginning of the transfer. EXPECTED is how many bytes it will be, -1 if that is not known. */
static inline void begin_transfer(intmax_t expected)
{
    transfer.expected = expected;
    transfer.began = microseconds();
}

/* Notes that COUNT more bytes were moved through connection FD: progress. */
static inline void count_bytes(int fd, ssize_t count)
{
    if (transfer.bytes == 0)
        trace(fd, "first bytes: %zd", count);
    transfer.bytes += count;
    stop_clock();
    show_progress();
}

/* Marks the end of the transfer. If it showed its progress, the total stays on the terminal. */
static inline void end_transfer(int fd)
{
    double seconds = (double)(microseconds() - transfer.began + 1) / SECOND, rate = (double)transfer.bytes / 1e6 / seconds;
    bool was_visible = transfer.visible;

    stop_clock();
    transfer.began = 0;
    trace(fd, "last bytes: %jd in all", transfer.bytes);
    trace(-1, "total: %jd bytes in %.6f s, %.1f MB/s; waited %ld times for room, %.6f s in all", transfer.bytes, seconds,
          rate, transfer.stalls, (double)transfer.stalled / SECOND);
    if (was_visible)
        warn(0, "%.1f MB in %.1f s, %.1f MB/s", (double)transfer.bytes / 1e6, seconds, rate);
}

/* ---- Waiting for the other side ------------------------------------------------------------------------------ */

/* Waits a moment for the other side of socket FD, until it is ready for EVENTS (POLLIN, POLLOUT). Returns 1 if it is, or
 * has failed; 0 if it is time to try again all the same, because Linux calls a socket writable only when a third of its
 * send buffer is free, and a slow reader may never get there; or -1 with errno set, ETIMEDOUT once the clock has run for
 * -t. Bytes that the other side's kernel acknowledges while they are in our send queue are progress too. */
static inline int wait_for_peer(int fd, short events)
{
    enum { MOMENT = 200, LITTLE_MOMENT = 20 }; /* milliseconds */
    int64_t now = microseconds(), left = INT64_MAX;
    int queue = send_queue(fd), milliseconds = queue > 0 || events == POLLOUT ? LITTLE_MOMENT : MOMENT, ready;
    struct pollfd wanted = { .fd = fd, .events = events };

    if (waiting.since == 0 || queue < waiting.queue)
        waiting.since = now;
    waiting.queue = queue;
    if (patience > 0)
        left = waiting.since + (int64_t)patience * SECOND - now;
    if (left <= 0) {
        patience_ran_out = true;
        errno = ETIMEDOUT;
        return -1;
    }
    if (left / 1000 < milliseconds)
        milliseconds = (int)(left / 1000) + 1;
    if (waiting.promised) { /* and the call had to wait even so, as when TCP is short of memory: do not spin */
        wanted.events = 0;
        milliseconds = milliseconds < LITTLE_MOMENT ? milliseconds : LITTLE_MOMENT;
    }
    ready = poll(&wanted, 1, milliseconds);
    waiting.promised = ready > 0;
    show_progress();
    return ready < 0 && errno == EINTR ? 0 : ready;
}

/* For a call on socket FD that has failed: if it only had to wait, does so, for EVENTS. Returns true if the call should be
 * made again. */
static inline bool try_again(int fd, short events)
{
    return errno == EINTR || (errno == EAGAIN && wait_for_peer(fd, events) >= 0);
}

/* Reads what has arrived on socket FD, at most LENGTH bytes, as soon as there is anything. Returns how many bytes, 0 at
 * end-of-file, or -1 with errno set. */
static inline ssize_t receive(int fd, void *data, size_t length)
{
    ssize_t count;

    while ((count = read(fd, data, length)) < 0 && try_again(fd, POLLIN))
        ;
    return count;
}

/* Writes as many of LENGTH bytes to socket FD as its send buffer takes, as soon as it takes any. Returns how many, or -1
 * with errno set. That the buffer was full, and for how long, is noted for the trace. */
static inline ssize_t send_some(int fd, const void *data, size_t length)
{
    int64_t full_since = 0;
    ssize_t count;

    while ((count = write(fd, data, length)) < 0) {
        if (errno == EAGAIN && full_since == 0) {
            full_since = microseconds();
            if (transfer.stalls++ == 0)
                trace(fd, "the send buffer is full: waiting");
            errno = EAGAIN;
        }
        if (!try_again(fd, POLLOUT))
            return -1;
    }
    if (full_since != 0) {
        transfer.stalled += microseconds() - full_since;
        if (transfer.stalls == 1)
            trace(fd, "there is room again, after %jd microseconds", (intmax_t)(microseconds() - full_since));
    }
    return count;
}

/* ---- Sockets ------------------------------------------------------------------------------------------------- */

/* Returns the TCP addresses that -a and -p stand for, for freeaddrinfo to release. A name may have several, of IPv4 and
 * of IPv6. Ends the program if there is none. */
static inline struct addrinfo *resolve(void)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    int problem = getaddrinfo(address, port, &hints, &list);

    if (problem == EAI_SYSTEM)
        die(errno, "cannot look up '%s'", address);
    if (problem != 0)
        die(0, "cannot look up '%s': %s", address, gai_strerror(problem));
    return list;
}

/* Makes socket FD non-blocking: a call that would wait fails with EAGAIN instead, and we wait in wait_for_peer, which has
 * a limit. Ends the program if that fails. */
static inline void set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        die(errno, "cannot set up a socket");
}

/* From now on, whatever closes socket FD resets the connection: we, or the kernel after our death.
 *
 * Usually close sends what is left and then FIN, and a FIN reads as end-of-file: to the other side, a program that was
 * killed looks like one that had finished. With SO_LINGER and a time of 0, close throws away what was not sent and sends
 * RST, the ABORT of RFC 9293, 3.10.5, and the other side gets the error ECONNRESET. That costs no byte on the wire. */
static inline void reset_unless_finished(int fd)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) != 0)
        die(errno, "cannot set up a socket");
}

/* Everything has been said on connection FD: close may send an ordinary FIN again. */
static inline bool finish_normally(int fd)
{
    const struct linger linger = { .l_onoff = 0 };

    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0;
}

/* Prints the sizes in bytes of both buffers of socket FD. Its last argument tells getsockopt how much room there is, and
 * getsockopt puts there how much it used: a value-result argument. */
static inline void print_buffers(int fd)
{
    int send = 0, receive = 0;
    socklen_t send_length = sizeof send, receive_length = sizeof receive;

    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, &send_length) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, &receive_length) != 0)
        die(errno, "cannot read the size of a socket buffer");
    print("Send buffer length ：%d", send);
    print("Recv buffer length ：%d", receive);
}

/* Asks for buffers of -b bytes for socket FD. The first time it prints the sizes before and after, because the answer is
 * hardly ever the number that was asked for: Linux takes the smaller of that and net.core.wmem_max or rmem_max, doubles it
 * to have room for its own bookkeeping, and goes no lower than a floor that comes from the size of its struct sk_buff
 * (socket(7), whose floors are those of an older kernel). To count for the window scale this must happen before listen or
 * connect (tcp(7)). With -b 0 nothing is set, and the kernel tunes both sizes while the connection runs; setting a size
 * ends that. */
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
