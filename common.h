/*
 * common.h - what server.c and client.c share. Read server.c first, and look here for what you meet there.
 *
 *     Options         what the user has asked for
 *     Messages        the transcript, warnings, and errors that end the program
 *     Command line    how both programs read their options
 *     Start           what both programs prepare, and the end by a signal
 *     Waiting         the timeout (-t) and the progress line
 *     Trace           what -v shows of a connection
 *     Sockets         addresses, the reset on close, timeouts, keepalive, buffers
 *
 * A header usually only declares functions. This one holds them, so that two programs share one file. Where a call has
 * (void) before it, a failure does no harm.
 *
 * To add an option: put its letter into the getopt call of a program, its meaning there or into shared_option, and a
 * line into the help and README.md.
 */
#if defined __linux__ && !defined PORTABLE
#define LINUX 1                 /* use what only Linux has, such as TCP_INFO and syncfs */
#endif
#if defined LINUX && !defined _GNU_SOURCE
#define _GNU_SOURCE
#elif !defined LINUX && !defined _XOPEN_SOURCE
#define _XOPEN_SOURCE 700       /* most of what we use beyond C11 is in POSIX.1-2008 */
#endif
#define _DARWIN_C_SOURCE        /* macOS shows SO_NWRITE only with this */
#define _NETBSD_SOURCE          /* NetBSD shows the keepalive options only with this */
#define __BSD_VISIBLE 1         /* FreeBSD and OpenBSD show these and some signals only with this */
#define _FILE_OFFSET_BITS 64    /* off_t has 64 bits on 32-bit systems too */
#define _TIME_BITS 64           /* so has time_t: without it, stat fails there for a file dated after 2038 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#if !defined TCP_KEEPIDLE && defined TCP_KEEPALIVE
#define TCP_KEEPIDLE TCP_KEEPALIVE /* its name on macOS */
#endif

/* The client's whole reply. It is sent without a newline and without the NUL at its end. */
static const char acknowledgement[] = "I have recv the data,Thank you";

enum {
    ACKNOWLEDGEMENT_LENGTH = sizeof acknowledgement - 1,
    BLOCK_SIZE = 1024 * 1024,           /* bytes that one call moves at most: the fastest size that was measured */
    MESSAGE_MAX = 2 * PATH_MAX + 512,   /* bytes of a message: two file names and some words */
    TICK = 100,                         /* milliseconds: the longest that one call waits for the other side */
    SECOND = 1000000,                   /* microseconds, as in every int64_t that holds a time */
    TIMED_OUT = -1,                     /* a value of errno of our own: -t is over. The kernel's own is ETIMEDOUT */
};

/* ---- Options --------------------------------------------------------------------------------------------------- */

extern const char usage[];              /* each program's own: how it is called */
extern const char help[];               /* what -h prints after that */

static const char *address = "127.0.0.1";   /* -a: an address or a name */
static const char *port = "8080";           /* -p */
static bool address_was_given;              /* -a or -p was given */
static int buffer_size = 1025;              /* -b: bytes; 0 leaves both buffers to the kernel */
static int timeout = 30;                    /* -t: seconds; 0 waits for ever */
static bool tracing;                        /* -v */
static bool keep_serving;                   /* -k, of the server */

/* ---- Messages -------------------------------------------------------------------------------------------------- */

static int transcript = STDOUT_FILENO;      /* where the transcript goes; -1: it could not be written */
static int progress_width;                  /* columns that the progress line takes on the terminal; 0: there is none */

/* Lets a tick pass, where trying again at once would spin. */
static void pause_a_tick(void)
{
    (void)poll(NULL, 0, TICK);
}

/* Waits until FD is ready for EVENTS (poll(2)), but no longer than a tick. Returns true if it is ready. */
static bool ready_within_a_tick(int fd, short events)
{
    struct pollfd wanted = { .fd = fd, .events = events };
    int ready = poll(&wanted, 1, TICK);

    if (ready < 0 && errno != EINTR)
        sleep(1); /* the kernel has no memory for poll: to ask again at once would spin */
    return ready > 0;
}

/* Writes all LENGTH bytes of DATA to FD, which is a file, a pipe or a terminal, and waits as long as that takes.
 * Whoever started us may have left FD in non-blocking mode. Returns true, or false with errno set. */
static bool write_all(int fd, const char *data, size_t length)
{
    bool said_ready = false; /* poll did, and nothing has been written since */

    while (length > 0) {
        ssize_t count = write(fd, data, length);
        if (count == 0)
            errno = ENOSPC; /* some devices say so that they are full */
        if (count > 0) {
            data += count;
            length -= (size_t)count;
            said_ready = false;
        } else if (errno == EAGAIN) {
            if (said_ready)
                pause_a_tick(); /* some drivers always say so */
            said_ready = ready_within_a_tick(fd, POLLOUT);
        } else if (errno != EINTR)
            return false;
    }
    return true;
}

/* Copies TEXT to TO and makes it harmless to a terminal: control characters become \xNN. Control characters are the
 * bytes below the blank, 0x7f, and 0x80 to 0x9f. In UTF-8, 0x80 to 0x9f are control characters only right behind 0xc2.
 * Right behind ASCII, some terminals obey them, too. In FOREIGN text, which is from the network, the backslash and
 * everything beyond printable ASCII become \xNN. Returns the end of the copy, which takes up to four times the room. */
static char *escape(char *to, const char *text, bool foreign)
{
    bool after_ascii = true;

    for (const unsigned char *from = (const unsigned char *)text; *from != '\0'; from++) {
        const bool pair = *from == 0xc2 && from[1] >= 0x80 && from[1] < 0xa0; /* the first byte of one in UTF-8 */
        const bool control = *from < ' ' || *from == 0x7f || (after_ascii && *from >= 0x80 && *from < 0xa0);
        after_ascii = pair || control || *from < 0x80;
        if (pair || control || (foreign && (*from > '~' || *from == '\\')))
            to += sprintf(to, "\\x%02x", *from);
        else
            *to++ = (char)*from;
    }
    return to;
}

/* Returns what ERROR, an errno value, means, with a colon before it: the end of a message. For 0 that is nothing. */
static const char *reason(int error)
{
    static char text[256];

    if (error == 0)
        return "";
    if (error == TIMED_OUT)
        snprintf(text, sizeof text, ": %s (-t %d)", strerror(ETIMEDOUT), timeout);
    else
        snprintf(text, sizeof text, ": %s", strerror(error));
    return text;
}

/* These take a format and its arguments, as printf does.
 * print adds a line to the transcript.
 * warn prints "program: message: reason" on standard error. Before the format it takes an errno value, or 0 for no
 * reason: then it may be a notice that is no warning.
 * die warns, and ends the program with status 1. That resets an open connection (set_reset_on_close).
 * usage_error warns, prints how the program is called, and ends it with status 2. */
#define print(...) print_line(transcript, false, "", "", __VA_ARGS__)
#define warn(error, ...) print_line(STDERR_FILENO, false, PROGRAM ": ", reason(error), __VA_ARGS__)
#define die(...) (warn(__VA_ARGS__), exit(EXIT_FAILURE))
#define usage_error(...) (warn(0, __VA_ARGS__), (void)write_all(STDERR_FILENO, usage, strlen(usage)), exit(2))

/* Prints START, the message, END and a newline to FD in one piece, and escapes the message. All messages come through
 * here. If the transcript cannot be written, warns and goes on: the file matters more. */
__attribute__((format(printf, 5, 6)))
static void print_line(int fd, bool foreign, const char *start, const char *end, const char *format, ...)
{
    static char message[MESSAGE_MAX], line[4 * MESSAGE_MAX + 512];
    char *to = line;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    to += sprintf(to, "%s", start);
    to = escape(to, message, foreign);
    to += sprintf(to, "%s\n", end);
    if (progress_width > 0 && dprintf(STDERR_FILENO, "\r%*s\r", progress_width, "") > 0)
        progress_width = 0; /* there are blanks in its place */
    if (!write_all(fd, line, (size_t)(to - line)) && fd == transcript && fd >= 0) {
        transcript = -1;
        warn(errno, "cannot write the transcript, going on without");
    }
}

/* ---- Command line ---------------------------------------------------------------------------------------------- */

/* Returns the value of option -LETTER, which getopt has left in optarg: a decimal number from 0 to MAXIMUM. With
 * SUFFIX, K (1024) or M (1024 K) may follow. Anything else is a usage error, also the blanks and signs that strtoul
 * would allow. */
static int parse_number(int letter, int maximum, bool suffix)
{
    unsigned long number = ULONG_MAX, unit = 1; /* strtoul too returns ULONG_MAX for what is too large */
    char *end = optarg;

    if (*optarg >= '0' && *optarg <= '9')
        number = strtoul(optarg, &end, 10);
    if (suffix && (*end == 'K' || *end == 'M'))
        unit = *end++ == 'K' ? 1024 : 1024 * 1024;
    if (*end != '\0' || number > (unsigned long)maximum / unit)
        usage_error("-%c: '%s' is not a number from 0 to %d%s", letter, optarg, maximum,
                    suffix ? ", or with K or M" : "");
    return (int)(number * unit);
}

/* Handles LETTER, which getopt has returned: an option that both programs have, or an error. */
static void shared_option(int letter)
{
    switch (letter) {
    case 'a':
        address = optarg;
        address_was_given = true;
        break;
    case 'b':
        buffer_size = parse_number(letter, INT_MAX, true);
        break;
    case 'p':
        (void)parse_number(letter, 65535, false);
        port = optarg; /* getaddrinfo wants the text */
        address_was_given = true;
        break;
    case 't':
        timeout = parse_number(letter, INT_MAX, false);
        break;
    case 'v':
        tracing = true;
        break;
    case '-': /* "-:" in the getopt call makes --help the option - with the value "help" */
        if (strcmp(optarg, "help") != 0)
            usage_error("unknown option --%s", optarg);
        /* fall through */
    case 'h':
        if (!write_all(STDOUT_FILENO, usage, strlen(usage)) || !write_all(STDOUT_FILENO, help, strlen(help)))
            die(errno, "cannot write to standard output");
        exit(EXIT_SUCCESS);
    case ':':
        usage_error("option -%c needs a value", optopt);
    default:
        usage_error("unknown option -%c", optopt);
    }
}

/* Returns the one operand that may follow the options, or OTHERWISE if there is none. */
static const char *file_operand(int argc, char *argv[], const char *otherwise)
{
    if (argc - optind > 1)
        usage_error("unexpected argument '%s' (one FILE, after the options)", argv[optind + 1]);
    return optind < argc ? argv[optind] : otherwise;
}

/* ---- Start ----------------------------------------------------------------------------------------------------- */

static bool was_closed[3];              /* standard input, output and error that were closed at the start */
static char temporary_name[64];         /* of the client's temporary file; empty if there is none */

/* Fills the gap where descriptor 0, 1 or 2 is closed. Otherwise a file or the connection would get its number, and
 * messages would be written into it. A socket without a connection can be neither read nor written, not by a name like
 * /dev/stdout either. */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0) {
            was_closed[fd] = true;
            if (socket(AF_INET, SOCK_STREAM, 0) < 0) /* it gets the lowest free number: this one */
                die(errno, "cannot open a socket");
        }
}

/* Handles the signals below: removes the temporary file, and then lets the signal do what it does without a handler.
 * Calls only what a handler may call (signal-safety(7)). */
static void end_by_signal(int signal_number)
{
    sigset_t all;

    if (temporary_name[0] != '\0')
        unlink(temporary_name);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL); /* a signal is blocked while its handler runs: it arrives here */
    _exit(128 + signal_number); /* reached only by process 1 of a container, which such a signal does not end */
}

/* Sets what signals do to this program. */
static void handle_signals(void)
{
    /* These end programs. SIGKILL does, too, but cannot be caught. */
    static const int deadly[] = { SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGALRM,
                                  SIGTERM, SIGUSR1, SIGUSR2, SIGSYS, SIGXCPU, SIGVTALRM, SIGPROF };
    struct sigaction action = { .sa_handler = end_by_signal }, before;

    /* Without SIGPIPE, a write to a lost connection fails with EPIPE. Without SIGXFSZ, a write beyond a limit on file
     * sizes fails with EFBIG (write(2)). We may have inherited an ignored SIGCHLD: then waitpid finds no child. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
        signal(SIGCHLD, SIG_DFL) == SIG_ERR)
        die(errno, "cannot prepare for signals");
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        if (sigaction(deadly[i], NULL, &before) != 0 ||
            (before.sa_handler == SIG_DFL && sigaction(deadly[i], &action, NULL) != 0)) /* nohup(1) has one ignored */
            die(errno, "cannot prepare for signals");
}

/* Prepares what both programs rely on. */
static void start_up(void)
{
    fill_standard_descriptors();
    handle_signals();
    if (setenv("POSIXLY_CORRECT", "", 1) != 0) /* so GNU's getopt stops at the first operand, too (getopt(3)) */
        die(errno, "cannot set an environment variable");
}

/* ---- Waiting --------------------------------------------------------------------------------------------------- */

/* The transfer of the file. */
static struct {
    intmax_t bytes;         /* moved so far */
    intmax_t expected;      /* in all; -1 if that is not known */
    int64_t began;          /* when; 0 if no transfer is on */
    int64_t drawn;          /* when the progress line was last drawn */
} transfer = { .expected = -1 };

/* A wait for the other side. It belongs to the loop that waits: it begins as { 0 }, and progress sets it back to that.
 * There is no limit to a wait for a disk, a pipe or a terminal. */
struct waiting {
    int64_t last_look;      /* when keep_waiting last looked at the clock; 0: not yet */
    int64_t waited;         /* how long there had been no progress at that time */
    int64_t last_number;    /* what unacknowledged returned at that time */
    bool is_over;           /* the time was over, and one more call was to be made */
};

/* Returns the time, on a clock that never jumps. */
static int64_t microseconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        die(errno, "cannot read the clock");
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec / 1000;
}

#ifdef LINUX
/* Returns what the kernel tells of the connection of socket FD (tcp(7), TCP_INFO). All of it is 0 if that fails. */
static struct tcp_info connection_info(int fd)
{
    struct tcp_info info = { 0 };
    socklen_t length = sizeof info;

    (void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
    return info;
}
#endif

/* Returns how many of the bytes written to socket FD are not yet acknowledged by the other side's kernel, or -1 if the
 * system does not tell. On Linux, FIN counts as one byte (tcp(7), SIOCOUTQ, another name for TIOCOUTQ). */
static int send_queue(int fd)
{
    int bytes = -1; /* a call that fails leaves it so */

    (void)fd; /* not every system has such a call */
#ifdef LINUX
    (void)ioctl(fd, TIOCOUTQ, &bytes);
#elif defined FIONWRITE
    (void)ioctl(fd, FIONWRITE, &bytes);
#elif defined SO_NWRITE
    socklen_t length = sizeof bytes;
    (void)getsockopt(fd, SOL_SOCKET, SO_NWRITE, &bytes, &length);
#endif
    return bytes;
}

/* Returns a number that changes with each ACK from the other side's kernel. It is 0 once everything is acknowledged, on
 * Linux FIN included, and -1 if the system does not tell.
 * gVisor, a kernel that looks like Linux, has no TIOCOUTQ for TCP. There the state of the connection tells that FIN is
 * acknowledged, and the measured round-trip time changes with each ACK. */
static int64_t unacknowledged(int fd)
{
    int64_t number = send_queue(fd);

#ifdef LINUX
    if (number < 0) {
        const struct tcp_info info = connection_info(fd);
        number = (int64_t)info.tcpi_rtt + info.tcpi_rttvar + 1;
        if (info.tcpi_state == TCP_FIN_WAIT2 || info.tcpi_state == TCP_TIME_WAIT || info.tcpi_state == TCP_CLOSE)
            number = 0;
    }
#endif
    return number;
}

/* Returns true if the progress line can be drawn: standard error is a terminal that takes something now. Ctrl-S stops
 * the terminal, and must not stop the transfer. */
static bool terminal_is_ready(void)
{
    struct pollfd terminal = { .fd = STDERR_FILENO, .events = POLLOUT };
    const char *type = getenv("TERM");

    return isatty(STDERR_FILENO) && (type == NULL || strcmp(type, "dumb") != 0) && poll(&terminal, 1, 0) == 1;
}

/* Keeps a line on the terminal up to date, ten times a second, if a transfer takes longer than half a second. */
static void show_progress(void)
{
    const int64_t now = microseconds(), since = now - transfer.began;
    const double done = (double)transfer.bytes, all = (double)transfer.expected;
    const double rate = done / (double)(since + 1); /* bytes per microsecond, which is MB/s */
    char text[128], rest[48] = "";
    struct winsize size;
    int columns;

    if (transfer.began == 0 || since < SECOND / 2 || now - transfer.drawn < SECOND / 10)
        return;
    transfer.drawn = now;
    if (tracing || keep_serving || !terminal_is_ready())
        return;
    if (all > 0 && done > 0)
        snprintf(rest, sizeof rest, ", %.0f %%, %.0f s left", 100 * done / all, (all - done) / rate / 1e6);
    columns = snprintf(text, sizeof text, PROGRAM ": %.1f MB, %.1f MB/s%s", done / 1e6, rate, rest);
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 &&
        (columns >= size.ws_col || progress_width >= size.ws_col))
        columns = progress_width = size.ws_col - 1; /* a longer line would wrap, and could not be wiped */
    if (dprintf(STDERR_FILENO, "\r%-*.*s", progress_width, columns, text) > 0 && columns > progress_width)
        progress_width = columns;
}

/* Tells a loop that waits for the other side of socket FD, each time round, whether to go on. Returns true if so, and
 * false, with errno set to TIMED_OUT, if there was no progress for the time of -t. Each ACK from the other side's
 * kernel is progress.
 * We may have been stopped (Ctrl-Z) since the last time round, and what we wait for may have come meanwhile. So the
 * time since then counts as two ticks at most. And when -t is over, the loop makes one more call before it gives up. */
static bool keep_waiting(int fd, struct waiting *waiting)
{
    const int64_t now = microseconds(), two_ticks = 2 * TICK * 1000, number = unacknowledged(fd);
    const bool was_over = waiting->is_over;

    if (waiting->last_look != 0)
        waiting->waited += now - waiting->last_look < two_ticks ? now - waiting->last_look : two_ticks;
    if (number != waiting->last_number)
        waiting->waited = 0;
    waiting->last_look = now;
    waiting->last_number = number;
    waiting->is_over = timeout > 0 && waiting->waited >= (int64_t)timeout * SECOND;
    show_progress();
    errno = TIMED_OUT;
    return !was_over || !waiting->is_over;
}

/* Tells whether to repeat a read or write on connection FD that has failed. Returns true if a tick was over (EAGAIN) or
 * a signal came (EINTR), and the wait goes on. Returns false, with errno set, if not. */
static bool may_retry(int fd, struct waiting *waiting)
{
    return (errno == EAGAIN || errno == EINTR) && keep_waiting(fd, waiting);
}

/* ---- Trace ----------------------------------------------------------------------------------------------------- */

static char trace_name[32] = PROGRAM;   /* stands in each line; with -k it also has the client's number */

/* Returns the start of a line of trace: the time of day, trace_name, and the state of the TCP connection of socket FD
 * (RFC 9293, 3.3.2), or "-" if that is not known. */
static const char *trace_start(int fd)
{
    static char start[96];
    const char *state = "-";
    struct timespec now = { 0 };
    struct tm parts = { 0 };

    (void)fd;
#ifdef LINUX
    static const char *const states[] = { "-", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
        "TIME_WAIT", "CLOSED", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING" };
    const struct tcp_info info = connection_info(fd);
    if (info.tcpi_state <= TCP_CLOSING)
        state = states[info.tcpi_state];
#endif
    (void)clock_gettime(CLOCK_REALTIME, &now); /* a trace without a time is better than no transfer */
    (void)localtime_r(&now.tv_sec, &parts);
    snprintf(start, sizeof start, "%02d:%02d:%02d.%06ld %s %-11s ", parts.tm_hour, parts.tm_min, parts.tm_sec,
             now.tv_nsec / 1000, trace_name, state);
    return start;
}

/* Returns the end of a line of trace: the lengths of both queues of socket FD, or nothing if they are not known. The
 * receive queue is what has come and was not read (tcp(7), SIOCINQ, another name for FIONREAD). */
static const char *trace_end(int fd)
{
    static char end[64];
    int unacked = send_queue(fd), unread;

    if (unacked < 0 || ioctl(fd, FIONREAD, &unread) != 0)
        return "";
    snprintf(end, sizeof end, "  (send queue %d, receive queue %d)", unacked, unread);
    return end;
}

/* With -v, tells on standard error what has happened on socket FD; -1 stands for no socket. Changes errno. */
#define trace(fd, ...) \
    (tracing ? print_line(STDERR_FILENO, false, trace_start(fd), trace_end(fd), __VA_ARGS__) : (void)0)

/* Counts COUNT more bytes of the transfer, which went through connection FD. */
static void note_progress(int fd, ssize_t count)
{
    if (transfer.bytes == 0)
        trace(fd, "first bytes: %zd", count);
    transfer.bytes += count;
    show_progress();
}

/* Marks the end of the transfer through connection FD. If the progress line is there, the total takes its place. */
static void end_transfer(int fd)
{
    double seconds = (double)(microseconds() - transfer.began + 1) / 1e6, megabytes = (double)transfer.bytes / 1e6;

    transfer.began = 0;
    trace(fd, "last bytes: %jd in all", transfer.bytes);
    trace(-1, "total: %jd bytes in %.6f s, %.1f MB/s", transfer.bytes, seconds, megabytes / seconds);
    if (progress_width > 0)
        warn(0, "%.1f MB in %.1f s, %.1f MB/s", megabytes, seconds, megabytes / seconds);
}

/* ---- Sockets --------------------------------------------------------------------------------------------------- */

/* Closes socket FD after a failure. Returns -1, with errno as it was. */
static int close_and_fail(int fd)
{
    int error = errno;

    close(fd);
    errno = error;
    return -1;
}

/* Returns the TCP addresses of -a and -p, a list that freeaddrinfo releases. Ends the program if there is none. */
static struct addrinfo *resolve(void)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    int problem = getaddrinfo(address, port, &hints, &list);

    if (problem != 0)
        die(problem == EAI_SYSTEM ? errno : 0, "cannot look up '%s': %s", address, gai_strerror(problem));
    return list;
}

/* With ON, the last close of socket FD resets the connection: our own, or the kernel's after our death. With ON false,
 * it does the usual again. Returns true, or false with errno set.
 * Usually close sends what is left and then FIN, which the other side reads as end-of-file. So a program that was
 * killed looks like one that has finished. With SO_LINGER on and its time 0, close throws away what is not acknowledged
 * and sends RST (socket(7); RFC 9293, 3.10.5, ABORT). The other side gets the error ECONNRESET. This adds no byte to
 * the data. */
static bool set_reset_on_close(int fd, bool on)
{
    const struct linger linger = { .l_onoff = on, .l_linger = 0 };

    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0;
}

/* Makes read and write on the new connection FD wait in the kernel, as in every book, but no longer than a tick. Then
 * they fail with EAGAIN, or return how much they have moved so far (socket(7), SO_RCVTIMEO), and may_retry looks at -t.
 * Ends the program if that fails. */
static void set_timeouts(int fd)
{
    const struct timeval tick = { .tv_usec = TICK * 1000 };

    if (fcntl(fd, F_SETFL, 0) != 0 || /* blocking: on some systems accept hands O_NONBLOCK on (accept(2)) */
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tick, sizeof tick) != 0)
        die(errno, "cannot set up a connection");
}

/* While nothing moves on connection FD, our kernel shall ask the other side's every 15 seconds whether it is still
 * there (RFC 9293, 3.8.4). So no firewall or NAT forgets the connection, and a dead machine is noticed while we wait
 * for a silent pipe. Nine of these probes may stay unanswered, or more if -t has time for them. All of it is best
 * effort. */
static void set_keepalive(int fd)
{
    const int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
#ifdef TCP_KEEPIDLE
    const int interval = 15; /* seconds */
    int probes = 127; /* the most that Linux allows */
    if (timeout > 0 && timeout < probes * interval)
        probes = timeout < 9 * interval ? 9 : timeout / interval + 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
#endif
}

/* Returns the size in bytes of a buffer of socket FD: OPTION is SO_SNDBUF or SO_RCVBUF. Ends the program if that fails.
 * The last argument of getsockopt is a value-result argument: it says how much room there is, and getsockopt stores
 * there how much it used. */
static int buffer_size_of(int fd, int option)
{
    int size = 0;
    socklen_t length = sizeof size;

    if (getsockopt(fd, SOL_SOCKET, option, &size, &length) != 0)
        die(errno, "cannot read the size of a socket buffer");
    return size;
}

/* Prints the sizes of both buffers of socket FD. */
static void print_buffers(int fd)
{
    print("Send buffer length ：%d", buffer_size_of(fd, SO_SNDBUF));
    print("Recv buffer length ：%d", buffer_size_of(fd, SO_RCVBUF));
}

static bool sizes_are_printed; /* only the first socket's are: the server's listener, or the client's first address */

/* Asks for buffers of -b bytes for socket FD. With -b 0 the kernel tunes both while the connection runs. The first
 * time, prints the sizes before and after. They are hardly ever what was asked for: Linux takes at most
 * net.core.wmem_max or rmem_max, doubles that for its own bookkeeping, and goes no lower than a floor (socket(7) names
 * old floors). Before listen or connect this also counts for the window scale, which the handshake settles (tcp(7)).
 * Ends the program if that fails. */
static void set_buffers(int fd)
{
    const bool printing = !sizes_are_printed;

    sizes_are_printed = true;
    if (printing)
        print_buffers(fd);
    if (buffer_size > 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof buffer_size) != 0 ||
                            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof buffer_size) != 0))
        die(errno, "cannot set the socket buffers to %d bytes", buffer_size);
    if (printing) {
        print(buffer_size > 0 ? "Buffer length both set to %d" : "Buffer length left to the kernel", buffer_size);
        print_buffers(fd);
    }
}
