/*
 * common.h - what server.c and client.c share: the defaults, the acknowledgement, the options that both take, how a
 * failure is told, how long a program waits, and the report about the two buffers of a socket.
 *
 * Read server.c first, from main at its bottom, then client.c, and come here when a name is new.
 */
#ifndef COMMON_H
#define COMMON_H

#if defined __linux__ && !defined PORTABLE
#define LINUX 1                 /* use what only Linux has: sendfile, splice, TCP_INFO, the lengths of queues */
#define _GNU_SOURCE
#else
#define LINUX 0
#define _XOPEN_SOURCE 700       /* what we use beyond C11 is in POSIX.1-2008 */
#endif
#define _FILE_OFFSET_BITS 64    /* off_t has 64 bits on 32-bit systems too */

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
#include <sys/sendfile.h>
#endif

#ifndef __GNUC__
#define __attribute__(list) /* gcc and clang compare arguments with formats; other compilers need not */
#endif

/* The client's whole reply. The bytes are sent without a newline and without the terminating NUL. */
static const char acknowledgement[] = "I have recv the data,Thank you";
enum { ACKNOWLEDGEMENT_LENGTH = sizeof acknowledgement - 1 };

/* Bytes moved from file to socket, or from socket to file, by one read and one write. Measured: a quarter takes 1.14
 * times as long, and more gains nothing. */
enum { BLOCK_SIZE = 64 * 1024 };

/* From this -b on, and with -b 0, sendfile and splice move the data: with smaller buffers they were no faster when
 * measured, and at some sizes slower. */
enum { LARGE_BUFFER = 64 * 1024 };

/* The longest -t and -d, in seconds: a little more than 24 days. In milliseconds it still fits the int of poll. */
enum { SECONDS_MAX = INT_MAX / 1000 };

/* Room for an address (with the name of an interface, as in fe80::1%eth0) and a port in numbers, with a NUL. */
enum { HOST_ROOM = 64, PORT_ROOM = 8 };

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

/* Where the transcript goes: standard output, unless the file itself goes there. Set by start. */
static FILE *transcript;

/* The transfer as far as it got: what the trace and the progress line tell of. */
static struct {
    intmax_t bytes;         /* moved so far */
    intmax_t expected;      /* in all; -1 if that is not known */
    int64_t began, ended;   /* when, in microseconds; 0 if it has not */
    int64_t shown;          /* when the progress line was last written */
    long stalls;            /* how often the send buffer was full, */
    int64_t stalled;        /* and for how many microseconds in all */
    bool visible;           /* there is a progress line to remove */
} transfer = { .expected = -1 };

/* ---- Saying what happens ------------------------------------------------------------------------------------- */

/* Removes the progress line from the terminal, before something else is written there. */
static inline void hide_progress(void)
{
    if (transfer.visible)
        fprintf(stderr, "\r%78s\r", "");
    transfer.visible = false;
}

/* Prints "program: message" and, unless ERROR is 0, ": " and what that errno value means, as one line on standard
 * error. A failure to print is ignored: there is nowhere left to report it. */
static inline void vreport(int error, const char *format, va_list arguments)
{
    char message[PATH_MAX + 256];

    hide_progress();
    vsnprintf(message, sizeof message, format, arguments);
    if (error == 0)
        fprintf(stderr, "%s: %s\n", program, message);
    else if (error == ETIMEDOUT && patience > 0) /* TCP itself would have waited for minutes */
        fprintf(stderr, "%s: %s: %s (-t %d)\n", program, message, strerror(error), patience);
    else
        fprintf(stderr, "%s: %s: %s\n", program, message, strerror(error));
}

/* Tells of something the user should know that does not end the program. ERROR is an errno value or 0. */
__attribute__((format(printf, 2, 3)))
static inline void warn(int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vreport(error, format, arguments);
    va_end(arguments);
}

/* Tells what failed and why, and ends the program with status 1. ERROR is an errno value or 0. What the program holds
 * is given back by the function that it registered with atexit. */
__attribute__((format(printf, 2, 3)))
static inline _Noreturn void die(int error, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vreport(error, format, arguments);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

/* Prints one line of the transcript, at once, also into a pipe. When that fails it says so the first time and the run
 * goes on: the file matters more than the story about it. */
__attribute__((format(printf, 1, 2)))
static inline void say(const char *format, ...)
{
    static bool failed;
    va_list arguments;

    hide_progress();
    va_start(arguments, format);
    if ((vfprintf(transcript, format, arguments) < 0 || fflush(transcript) != 0) && !failed) {
        failed = true;
        warn(errno, "cannot write the transcript, going on without");
    }
    va_end(arguments);
}

/* ---- The command line ---------------------------------------------------------------------------------------- */

/* Says what is wrong with the command line, shows the synopsis and ends the program with status 2. */
__attribute__((format(printf, 1, 2)))
static inline _Noreturn void usage_error(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vreport(0, format, arguments);
    va_end(arguments);
    fputs(synopsis, stderr);
    exit(2);
}

/* Reads the value of option -LETTER from optarg: a decimal number from 0 to MOST, after which K (1024) or M (1024 K)
 * may stand if SUFFIX is true. Returns it. Anything else is a usage error, blanks and signs too, which strtoul alone
 * would let pass. */
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
        if (printf("%s%s", synopsis, help) < 0 || fflush(stdout) != 0)
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

/* ---- Setting up ---------------------------------------------------------------------------------------------- */

/* Prepares what both programs rely on. NAME is the program's. */
static inline void start(const char *name)
{
    const struct sigaction ignore = { .sa_handler = SIG_IGN };
    int fd;

    program = name;
    transcript = stdout;
    if (setenv("POSIXLY_CORRECT", "", 1) != 0) /* the first operand ends the options, for the getopt of GNU too */
        die(errno, "cannot set up the environment");

    /* Were one of the descriptors 0, 1 and 2 closed, the next socket would take its number, and the transcript would be
     * sent to the other side. /dev/null fills the gaps, opened so that a write to it fails instead of being lost. */
    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        die(errno, "cannot open /dev/null");
    close(fd);

    /* Without this, writing to a connection that is gone, or beyond a limit on the size of files, would kill the
     * program without a word. Now the write fails, with EPIPE or EFBIG (write(2), ERRORS). */
    if (sigaction(SIGPIPE, &ignore, NULL) != 0 || sigaction(SIGXFSZ, &ignore, NULL) != 0)
        die(errno, "cannot ignore a signal");
}

/* ---- Time, trace and progress -------------------------------------------------------------------------------- */

/* Returns the time in microseconds, on a clock that never jumps. */
static inline int64_t microseconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        die(errno, "cannot read the clock");
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

#if LINUX
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

/* Writes to TEXT how many bytes wait in the queues of socket FD: written and not yet acknowledged by the other side,
 * and arrived and not yet read (tcp(7), which calls the former unsent). Nothing if it has none: a listening socket. */
static inline void queue_lengths(int fd, char *text, size_t room)
{
    int out, in;

    text[0] = '\0';
    if (ioctl(fd, TIOCOUTQ, &out) == 0 && ioctl(fd, FIONREAD, &in) == 0)
        snprintf(text, room, "  (send queue %d, receive queue %d)", out, in);
}
#else
static inline const char *tcp_state(int fd)
{
    (void)fd;
    return "-";
}

static inline void queue_lengths(int fd, char *text, size_t room)
{
    (void)fd, (void)room;
    text[0] = '\0';
}
#endif

/* With -v, tells on standard error what has just happened on socket FD, or -1 if that is closed: time of day, program,
 * state, event, queues. One line each, in a form that sort can make one story of both sides'. */
__attribute__((format(printf, 2, 3)))
static inline void trace(int fd, const char *format, ...)
{
    struct timespec now = { 0 };
    struct tm parts = { 0 };
    char event[256], queues[64], clock[16];
    va_list arguments;
    int error = errno; /* whoever calls may still want to tell of it */

    if (!tracing)
        return;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || localtime_r(&now.tv_sec, &parts) == NULL)
        now.tv_nsec = 0; /* a trace from midnight is better than no transfer */
    strftime(clock, sizeof clock, "%H:%M:%S", &parts);
    va_start(arguments, format);
    vsnprintf(event, sizeof event, format, arguments);
    va_end(arguments);
    queue_lengths(fd, queues, sizeof queues);
    fprintf(stderr, "%s.%06ld %s %-11s %s%s\n", clock, now.tv_nsec / 1000, program, tcp_state(fd), event, queues);
    errno = error;
}

/* While a transfer takes longer than half a second and standard error is a terminal, keeps one line there up to date:
 * bytes, rate and, if the end is known, how much of it and how long still. */
static inline void show_progress(void)
{
    int64_t now = microseconds(), since = now - transfer.began;
    double rate = (double)transfer.bytes / (double)(since + 1); /* bytes per microsecond, which is MB/s */
    char rest[48] = "";

    if (tracing || keep_serving || since < 500000 || now - transfer.shown < 100000)
        return;
    transfer.shown = now;
    if (!isatty(STDERR_FILENO))
        return;
    if (transfer.expected > 0 && transfer.bytes > 0)
        snprintf(rest, sizeof rest, ", %.0f %%, %.0f s left",
                 100.0 * (double)transfer.bytes / (double)transfer.expected,
                 (double)(transfer.expected - transfer.bytes) / rate / 1e6);
    fprintf(stderr, "\r%s: %.1f MB, %.1f MB/s%s   ", program, (double)transfer.bytes / 1e6, rate, rest);
    transfer.visible = true;
}

/* Notes that COUNT more bytes were moved through connection FD. */
static inline void count_bytes(int fd, ssize_t count)
{
    if (transfer.bytes == 0)
        trace(fd, "first bytes: %zd", count);
    transfer.bytes += count;
    show_progress();
}

/* Marks the beginning of the transfer. EXPECTED is how many bytes it will be, -1 if that is not known. */
static inline void begin_transfer(intmax_t expected)
{
    transfer.expected = expected;
    transfer.began = microseconds();
}

/* Marks its end. */
static inline void end_transfer(int fd)
{
    transfer.ended = microseconds();
    hide_progress();
    trace(fd, "last bytes: %jd in all", transfer.bytes);
}

/* The last line of the trace. */
static inline void trace_total(void)
{
    double seconds = (double)(transfer.ended - transfer.began + 1) / 1e6;

    trace(-1, "total: %jd bytes in %.6f s, %.1f MB/s; waited %ld times for room, %.6f s in all", transfer.bytes,
          seconds, (double)transfer.bytes / 1e6 / seconds, transfer.stalls, (double)transfer.stalled / 1e6);
}

/* ---- Waiting ------------------------------------------------------------------------------------------------- */

/* Returns the moment, on the clock of microseconds, until which a wait that starts now may last: -t from now. */
static inline int64_t deadline(void)
{
    return patience > 0 ? microseconds() + (int64_t)patience * 1000000 : INT64_MAX;
}

/* Waits until FD is ready for EVENTS (POLLIN, POLLOUT) or has failed, so that the call to be made next will not block.
 * Returns true then. Returns false with errno ETIMEDOUT once UNTIL has passed, or with the error of poll. */
static inline bool wait_until(int fd, short events, int64_t until)
{
    struct pollfd wanted = { .fd = fd, .events = events };
    bool moving = transfer.began != 0 && transfer.ended == 0;
    int most = moving ? 200 : INT_MAX; /* milliseconds at a time: the progress line wants to be kept up to date */

    for (;;) {
        int64_t left = (until - microseconds() + 999) / 1000;
        int ready = poll(&wanted, 1, left < 0 ? 0 : left < most ? (int)left : most);
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return false;
        if (ready == 0 && left <= most) {
            errno = ETIMEDOUT;
            return false;
        }
        if (moving)
            show_progress();
    }
}

/* Waits, for -t at most, until FD takes data again, and keeps the account of it for the trace. Returns what wait_until
 * does. */
static inline bool wait_for_room(int fd)
{
    int64_t began = microseconds();
    bool ready;

    if (transfer.stalls++ == 0)
        trace(fd, "the send buffer is full: waiting");
    ready = wait_until(fd, POLLOUT, deadline());
    transfer.stalled += microseconds() - began;
    if (transfer.stalls == 1)
        trace(fd, "there is room again, after %jd microseconds", (intmax_t)(microseconds() - began));
    return ready;
}

/* Reads what is there, at most LENGTH bytes, as soon as there is anything. Returns how many bytes, 0 at the end, or -1
 * with errno set, ETIMEDOUT if nothing came before UNTIL. FD may be in non-blocking mode. */
static inline ssize_t read_some(int fd, void *data, size_t length, int64_t until)
{
    ssize_t count;

    while ((count = read(fd, data, length)) < 0)
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_until(fd, POLLIN, until))
                return -1;
        } else if (errno != EINTR)
            return -1;
    return count;
}

/* Writes as many of LENGTH bytes as FD takes, as soon as it takes any. Returns how many, or -1 with errno set,
 * ETIMEDOUT if it took none for as long as -t. FD may be in non-blocking mode. */
static inline ssize_t write_some(int fd, const void *data, size_t length)
{
    ssize_t count;

    while ((count = write(fd, data, length)) < 0)
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_for_room(fd))
                return -1;
        } else if (errno != EINTR)
            return -1;
    return count;
}

/* Writes all LENGTH bytes, in as many pieces as it takes. Returns true, or false with errno set as write_some does. */
static inline bool write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t count = write_some(fd, data, length);
        if (count < 0)
            return false;
        data += count;
        length -= (size_t)count;
    }
    return true;
}

/* True if it pays to leave moving the data to the kernel. */
static inline bool large_buffers(void)
{
    return buffer_size == 0 || buffer_size >= LARGE_BUFFER;
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

/* Makes FD non-blocking: a call that would wait fails with EAGAIN instead, and we wait in wait_until, which has a
 * limit. Returns true, or false with errno set. */
static inline bool set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

/* Chooses what the other side sees when connection FD is closed, by us or by the kernel after our death.
 *
 * Usually close sends what is left and then FIN, and a FIN reads as end-of-file: to the other side a program that was
 * killed looks like one that had finished. With SO_LINGER on and a time of 0, close throws away what was not sent and
 * sends RST, the ABORT of RFC 9293, 3.10.5, and the other side gets the error ECONNRESET. So both programs say IF_RESET
 * true from the start, and false only when everything has been said.
 *
 * Returns true, or false with errno set. */
static inline bool reset_on_close(int fd, bool if_reset)
{
    const struct linger linger = { .l_onoff = if_reset, .l_linger = 0 };

    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0;
}

/* Returns the size in bytes of one of the buffers of FD: OPTION is SO_SNDBUF or SO_RCVBUF. Its last argument tells
 * getsockopt how much room there is, and getsockopt puts there how much it used: a value-result argument. */
static inline int buffer_length(int fd, int option)
{
    int bytes = 0;
    socklen_t length = sizeof bytes;

    if (getsockopt(fd, SOL_SOCKET, option, &bytes, &length) != 0)
        die(errno, "cannot read the size of a socket buffer");
    return bytes;
}

/* Prints the sizes of both buffers of FD. */
static inline void report_buffers(int fd)
{
    say("Send buffer length ：%d\n", buffer_length(fd, SO_SNDBUF));
    say("Recv buffer length ：%d\n", buffer_length(fd, SO_RCVBUF));
}

/* Opens a socket of the family of WHERE as *FD, non-blocking, with RST for an early end, and with buffers of -b bytes.
 * The first time it reports the buffers before and after, because the answer is hardly ever the number that was asked
 * for: Linux takes the smaller of that and net.core.wmem_max or rmem_max, doubles it to have room for its own
 * bookkeeping, and goes no lower than a floor that comes from the size of its struct sk_buff (socket(7), whose floors
 * are those of an older kernel). To count for the window scale this must happen before listen or connect (tcp(7)). With
 * -b 0 nothing is set, and the kernel tunes both sizes while the connection runs; setting a size ends that.
 *
 * Returns true, or false with errno set and *FD -1 if there are no sockets of that family here. */
static inline bool open_socket(const struct addrinfo *where, int *fd)
{
    static bool reported;

    *fd = socket(where->ai_family, where->ai_socktype, where->ai_protocol);
    if (*fd < 0)
        return false;
    if (!set_nonblocking(*fd) || !reset_on_close(*fd, true))
        die(errno, "cannot set up a socket");
    if (!reported)
        report_buffers(*fd);
    if (buffer_size > 0 && (setsockopt(*fd, SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof buffer_size) != 0 ||
                            setsockopt(*fd, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof buffer_size) != 0))
        die(errno, "cannot set the socket buffers to %d bytes", buffer_size);
    if (!reported) {
        if (buffer_size > 0)
            say("Buffer length both set to %d\n", buffer_size);
        else
            say("Buffer length left to the kernel\n");
        report_buffers(*fd);
    }
    reported = true;
    return true;
}

/* Closes *FD if it is open and notes that it no longer is. Returns 0, or -1 with errno set. After EINTR the descriptor
 * is closed too, on Linux and nearly everywhere (close(2), NOTES), and nothing is lost by that: who needs to know has
 * called fsync. */
static inline int close_once(int *fd)
{
    int was = *fd;

    *fd = -1;
    return was < 0 || close(was) == 0 || errno == EINTR ? 0 : -1;
}

#endif
