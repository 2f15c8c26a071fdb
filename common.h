/*
 * common.h - what server.c and client.c share: messages, the command line, waiting for the other side, the trace, and
 * sockets. Read server.c first, from top to bottom, then client.c, and look here when you meet a new name. A function
 * that returns bool returns true if it succeeded, and false with errno set if not, unless its comment says otherwise.
 */
#if defined __linux__ && !defined PORTABLE
#define LINUX 1                 /* use what only Linux has: TCP_INFO, the lengths of queues, statx */
#define _GNU_SOURCE
#else
#define _XOPEN_SOURCE 700       /* what we use beyond C11 is in POSIX.1-2008 */
#define _DARWIN_C_SOURCE        /* but macOS hides SO_NWRITE then, */
#define _NETBSD_SOURCE          /* NetBSD the keepalive options, */
#define __BSD_VISIBLE 1         /* and FreeBSD these and some signals */
#endif
#define _FILE_OFFSET_BITS 64    /* off_t has 64 bits on 32-bit systems too, */
#define _TIME_BITS 64           /* and time_t, without which stat fails for a file dated after 2038 */

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
#ifndef TCP_KEEPIDLE
#define TCP_KEEPIDLE TCP_KEEPALIVE /* its name on macOS */
#endif

extern const char help[]; /* what -h prints: synopsis and purpose, an empty line, and more */

/* The client's whole reply. It is sent without a newline and without the NUL at its end. */
static const char acknowledgement[] = "I have recv the data,Thank you";

enum {
    ACKNOWLEDGEMENT_LENGTH = sizeof acknowledgement - 1,
    BLOCK_SIZE = 1024 * 1024,           /* bytes that one call moves at the most: measured, see README, "How fast" */
    MESSAGE_MAX = 2 * PATH_MAX + 512,   /* bytes of a message, with two names in it */
    TICK = 100,                         /* milliseconds: so long may one call wait, and then we look at the clock */
    SECOND = 1000000,                   /* an int64_t with a time counts microseconds */
    OUT_OF_PATIENCE = -1,               /* a value of errno of our own: -t is over. ETIMEDOUT is the kernel's word */
};

/* What the command line says, with the defaults. */
static const char *address = "127.0.0.1";   /* -a: an address or a name */
static const char *port = "8080";           /* -p */
static bool place_was_given;                /* -a or -p was given */
static int buffer_size = 1025;              /* -b: bytes; 0 leaves both buffers to the kernel */
static int patience = 30;                   /* -t: seconds; 0 waits for ever */
static bool tracing;                        /* -v */
static bool keep_serving;                   /* -k, of the server: no progress line then */

static int transcript = STDOUT_FILENO;      /* where the transcript goes: elsewhere when the file itself goes there */
static bool was_closed[3];                  /* standard input, output and error that were closed at the start */
static char temporary[64];                  /* the client's temporary file, for end_by_signal; empty if there is none */
static int progress_width;                  /* columns that the progress line takes on the terminal; 0: there is none */

/* ---- Messages and the transcript ------------------------------------------------------------------------------- */

/* Waits until poll says that FD is ready for EVENTS, a tick at most. AGAIN: poll has just said so, and the call failed
 * even so. Then a tick passes without asking: nothing spins. Returns true if poll says that FD is ready. */
static bool wait_a_tick(int fd, short events, bool again)
{
    struct pollfd wanted = { .fd = again ? -1 : fd, .events = events }; /* poll ignores a negative descriptor */
    int ready = poll(&wanted, 1, TICK);

    if (ready < 0 && errno != EINTR)
        sleep(1); /* no memory for poll, say */
    return ready > 0;
}

/* Writes all LENGTH bytes to FD, which is local, however long it takes, also if it was left in non-blocking mode. */
static bool write_all(int fd, const char *data, size_t length)
{
    bool ready = false;

    while (length > 0) {
        ssize_t count = write(fd, data, length);
        if (count == 0)
            errno = ENOSPC; /* some devices say so that they are full */
        if (count > 0) {
            data += count;
            length -= (size_t)count;
            ready = false;
        } else if (errno == EAGAIN)
            ready = wait_a_tick(fd, POLLOUT, ready);
        else if (errno != EINTR)
            return false;
    }
    return true;
}

/* Prints START, the message, END and a newline to FD in one piece, in place of the progress line. Nothing in a message
 * commands the terminal: control characters, as a file name may have them, come out as \xNN (bytes below the blank,
 * 0x7f, and in UTF-8 the pairs 0xc2 0x80 to 0xc2 0x9f), and in one with FOREIGN text, from the network, all that is not
 * printable ASCII. If the transcript cannot be written, says so and goes on: the file matters more. */
__attribute__((format(printf, 5, 6)))
static void print_line(int fd, bool foreign, const char *start, const char *end, const char *format, ...)
{
    static char message[MESSAGE_MAX], line[4 * MESSAGE_MAX + 512];
    char *to = line + sprintf(line, "\r%*s\r", progress_width, ""), *begin = to; /* blanks over the progress line */
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (progress_width > 0 && write_all(STDERR_FILENO, line, (size_t)(to - line)))
        progress_width = 0;

    to += sprintf(to, "%s", start);
    for (const char *from = message; *from != '\0'; from++) {
        unsigned char last = from > message ? (unsigned char)from[-1] : 0;
        unsigned char byte = (unsigned char)*from, next = (unsigned char)from[1];
        bool pair = (byte == 0xc2 && next >= 0x80 && next < 0xa0) || (last == 0xc2 && byte >= 0x80 && byte < 0xa0);
        if (byte < ' ' || byte == 0x7f || pair || (foreign && (byte > '~' || byte == '\\')))
            to += sprintf(to, "\\x%02x", byte);
        else
            *to++ = *from;
    }
    to += sprintf(to, "%s\n", end);
    if (!write_all(fd, begin, (size_t)(to - begin)) && fd == transcript && fd >= 0) {
        transcript = -1;
        print_line(STDERR_FILENO, false, PROGRAM ": ", strerror(errno),
                   "cannot write the transcript, going on without: ");
    }
}

/* Returns the end of a message about ERROR, an errno value: a colon and what it means, or nothing if it is 0. */
static const char *reason(int error)
{
    static char text[256];

    if (error == 0)
        return "";
    snprintf(text, sizeof text, error == OUT_OF_PATIENCE ? ": %s (-t %d)" : ": %s",
             strerror(error == OUT_OF_PATIENCE ? ETIMEDOUT : error), patience);
    return text;
}

/* These take a format and what belongs in it, as printf does; warn and die take an errno value or 0 before that. print
 * adds a line to the transcript. warn prints "program: message: reason" on standard error. die ends the program after
 * that, with status 1, and a connection with a reset (reset_on_close). usage_error ends it with status 2. */
#define print(...) print_line(transcript, false, "", "", __VA_ARGS__)
#define warn(error, ...) print_line(STDERR_FILENO, false, PROGRAM ": ", reason(error), __VA_ARGS__)
#define die(...) (warn(__VA_ARGS__), exit(EXIT_FAILURE))
#define usage_error(...) \
    (warn(0, __VA_ARGS__), write_all(STDERR_FILENO, help, (size_t)(strstr(help, "\n\n") - help) + 1), exit(2))

/* ---- The command line, the start, and the end by a signal ------------------------------------------------------ */

/* Returns the value of option -LETTER in optarg: a decimal number from 0 to MOST, with K (1024) or M (1024 K) behind it
 * if SUFFIX is true. Anything else is a usage error, blanks and signs too, which strtoul alone would let pass. */
static int parse_number(int letter, int most, bool suffix)
{
    unsigned long number = ULONG_MAX, unit = 1; /* strtoul too returns ULONG_MAX for what is too large */
    char *end = optarg;

    if (*optarg >= '0' && *optarg <= '9')
        number = strtoul(optarg, &end, 10);
    if (suffix && (*end == 'K' || *end == 'M'))
        unit = *end++ == 'K' ? 1024 : 1024 * 1024;
    if (*end != '\0' || number > (unsigned long)most / unit)
        usage_error("-%c: '%s' is not a number from 0 to %d%s", letter, optarg, most, suffix ? ", or with K or M" : "");
    return (int)(number * unit);
}

/* Reads options, up to the first that the other program does not have. Returns its letter, with its value in optarg, or
 * -1 at the end. LETTERS are those that may come, as getopt wants them. */
static int read_options(int argc, char *argv[], const char *letters)
{
    for (;;) {
        bool wants_help = optind < argc && strcmp(argv[optind], "--help") == 0; /* getopt knows no such words */
        int letter = wants_help ? 'h' : getopt(argc, argv, letters);
        switch (letter) {
        case 'a':
            address = optarg;
            place_was_given = true;
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
            place_was_given = true;
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
            usage_error(optopt == '-' ? "there is no long option but --help" : "there is no option -%c", optopt);
        default:
            return letter;
        }
    }
}

/* Returns the one operand that may follow the options, or OTHERWISE if there is none. */
static const char *file_operand(int argc, char *argv[], const char *otherwise)
{
    if (argc - optind > 1)
        usage_error("one FILE at most, after the options; not also '%s'", argv[optind + 1]);
    return optind < argc ? argv[optind] : otherwise;
}

/* The handler of the signals in start_up: removes the temporary file, then lets the signal do what it does without a
 * handler (signal-safety(7)). Not SA_RESETHAND: until the others are held back, a second signal could be deadly. */
static void end_by_signal(int signal_number)
{
    sigset_t all;

    if (temporary[0] != '\0')
        unlink(temporary);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL); /* here it is delivered */
    _exit(128 + signal_number); /* process 1 of a container survives a signal that has no handler */
}

/* Prepares what both programs rely on. */
static void start_up(void)
{
    /* Those with which people and systems end programs. SIGKILL cannot be caught. */
    static const int deadly[] = { SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGALRM,
                                  SIGTERM, SIGUSR1, SIGUSR2, SIGSYS, SIGXCPU, SIGVTALRM, SIGPROF };
    struct sigaction action = { .sa_handler = end_by_signal }, before;

    /* If descriptor 0, 1 or 2 is closed, a file or the connection would take its number, and the transcript go there. A
     * socket without a connection fills the gap: it cannot be read, or written, or opened by a name as /dev/stdout. */
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0) {
            was_closed[fd] = true;
            if (socket(AF_INET, SOCK_STREAM, 0) != fd)
                die(errno, "cannot open a socket");
        }

    /* A write to a lost connection, or beyond a limit on the size of files, shall fail (write(2), EPIPE and EFBIG), not
     * end the program. Ignored children cannot be counted. The first operand ends the options, for GNU's getopt too. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || signal(SIGXFSZ, SIG_IGN) == SIG_ERR ||
        signal(SIGCHLD, SIG_DFL) == SIG_ERR || setenv("POSIXLY_CORRECT", "", 1) != 0)
        die(errno, "cannot start");
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        if (sigaction(deadly[i], NULL, &before) != 0 ||
            (before.sa_handler == SIG_DFL && sigaction(deadly[i], &action, NULL) != 0)) /* nohup(1) has one ignored */
            die(errno, "cannot start");
}

/* ---- Waiting for the other side, and progress ------------------------------------------------------------------ */

/* The clock of -t runs only while we wait for the other side, not for a disk, a pipe or a terminal. */
static int64_t waiting_since;   /* when a call had waited a tick in vain for the first time; 0 after progress */
static int last_queue;          /* how long the send queue was when we last looked */

/* The transfer as far as it got. */
static struct {
    intmax_t bytes;         /* moved so far */
    intmax_t expected;      /* in all; -1 if that is not known */
    int64_t began;          /* when; 0 if no transfer is on */
    int64_t drawn;          /* when the progress line was last drawn */
} transfer = { .expected = -1 };

/* Returns the time in microseconds, on a clock that never jumps. */
static int64_t microseconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        die(errno, "cannot read the clock");
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec / 1000;
}

/* Returns how many bytes written to socket FD the other side's kernel has not acknowledged, -1 if the system does not
 * tell. On Linux FIN counts as one (tcp(7), SIOCOUTQ, another name for TIOCOUTQ). */
static int send_queue(int fd)
{
    int bytes = 0, failed = 1;

    (void)fd;
#ifdef LINUX
    failed = ioctl(fd, TIOCOUTQ, &bytes);
#elif defined FIONWRITE
    failed = ioctl(fd, FIONWRITE, &bytes);
#elif defined SO_NWRITE
    socklen_t length = sizeof bytes;
    failed = getsockopt(fd, SOL_SOCKET, SO_NWRITE, &bytes, &length);
#endif
    return failed != 0 ? -1 : bytes;
}

/* If a transfer takes longer than half a second and standard error is a terminal, keeps one line there up to date. */
static void show_progress(void)
{
    int64_t now = microseconds(), since = now - transfer.began;
    double done = (double)transfer.bytes, all = (double)transfer.expected;
    double rate = done / (double)(since + 1); /* bytes per microsecond, which is MB/s */
    char text[128], line[256], rest[48] = "";
    struct winsize terminal;
    int columns;

    if (transfer.began == 0 || tracing || keep_serving || since < SECOND / 2 || now - transfer.drawn < SECOND / 10 ||
        !isatty(STDERR_FILENO))
        return;
    transfer.drawn = now;
    if (all > 0 && done > 0)
        snprintf(rest, sizeof rest, ", %.0f %%, %.0f s left", 100 * done / all, (all - done) / rate / 1e6);
    columns = snprintf(text, sizeof text, PROGRAM ": %.1f MB, %.1f MB/s%s", done / 1e6, rate, rest);
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &terminal) == 0 && terminal.ws_col > 0 &&
        (columns >= terminal.ws_col || progress_width >= terminal.ws_col))
        columns = progress_width = terminal.ws_col - 1; /* a longer line would wrap, and could not be wiped */
    snprintf(line, sizeof line, "\r%-*.*s", progress_width, columns, text);
    if (write_all(STDERR_FILENO, line, strlen(line)) && columns > progress_width)
        progress_width = columns;
}

/* A call on socket FD has waited for a tick in vain, or was interrupted. Returns false, with errno set, if -t is over.
 * A shorter send queue is progress: the other side's kernel has acknowledged bytes. */
static bool has_time_left(int fd)
{
    int64_t now = microseconds();
    int queue = send_queue(fd);

    show_progress();
    if (waiting_since == 0 || queue < last_queue)
        waiting_since = now;
    last_queue = queue;
    errno = OUT_OF_PATIENCE;
    return patience == 0 || now - waiting_since < (int64_t)patience * SECOND;
}

/* A read or write on connection FD has failed. Returns true if it is to be made again: a tick was over (EAGAIN) or a
 * signal came, and the other side has time left. If not, errno says why. */
static bool may_retry(int fd)
{
    return (errno == EAGAIN || errno == EINTR) && has_time_left(fd);
}

/* ---- What can be seen of a connection: -v ---------------------------------------------------------------------- */

/* Returns the start of a line of trace: time of day, program, and the state of the TCP connection of socket FD, "-" if
 * that is not known (RFC 9293, 3.3.2; tcp(7), TCP_INFO). */
static const char *trace_start(int fd)
{
    static char start[64];
    const char *state = "-";
    struct timespec now = { 0 };
    struct tm parts = { 0 };

    (void)fd;
#ifdef LINUX
    static const char *const states[] = { "-", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
        "TIME_WAIT", "CLOSED", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING" };
    struct tcp_info info;
    socklen_t length = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && info.tcpi_state <= TCP_CLOSING)
        state = states[info.tcpi_state];
#endif
    (void)clock_gettime(CLOCK_REALTIME, &now); /* a trace without a time is better than no transfer */
    (void)localtime_r(&now.tv_sec, &parts);
    snprintf(start, sizeof start, "%02d:%02d:%02d.%06ld " PROGRAM " %-11s ", parts.tm_hour, parts.tm_min, parts.tm_sec,
             now.tv_nsec / 1000, state);
    return start;
}

/* Returns the end of that line, the lengths of both queues, if they are known. The receive queue is what has come and
 * not been read (tcp(7), SIOCINQ, another name for FIONREAD). */
static const char *trace_end(int fd)
{
    static char end[64];
    int unacknowledged = send_queue(fd), unread;

    if (unacknowledged < 0 || ioctl(fd, FIONREAD, &unread) != 0)
        return "";
    snprintf(end, sizeof end, "  (send queue %d, receive queue %d)", unacknowledged, unread);
    return end;
}

/* With -v, tells on standard error what has happened on socket FD (-1: none has a part in it). Changes errno. */
#define trace(fd, ...) \
    (tracing ? print_line(STDERR_FILENO, false, trace_start(fd), trace_end(fd), __VA_ARGS__) : (void)0)

/* Notes that COUNT more bytes of the transfer went through connection FD. */
static void note_progress(int fd, ssize_t count)
{
    waiting_since = 0;
    if (transfer.bytes == 0)
        trace(fd, "first bytes: %zd", count);
    transfer.bytes += count;
    show_progress();
}

/* Marks the end of the transfer. If its progress is still to be seen, the total stays on the terminal. */
static void end_transfer(int fd)
{
    double seconds = (double)(microseconds() - transfer.began + 1) / 1e6, megabytes = (double)transfer.bytes / 1e6;

    transfer.began = 0;
    trace(fd, "last bytes: %jd in all", transfer.bytes);
    trace(-1, "total: %jd bytes in %.6f s, %.1f MB/s", transfer.bytes, seconds, megabytes / seconds);
    if (progress_width > 0)
        warn(0, "%.1f MB in %.1f s, %.1f MB/s", megabytes, seconds, megabytes / seconds);
}

/* ---- Sockets ------------------------------------------------------------------------------------------------- */

/* Returns the TCP addresses of -a and -p, for freeaddrinfo to release. Ends the program if there is none. */
static struct addrinfo *resolve(void)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
    struct addrinfo *list = NULL;
    int problem = getaddrinfo(address, port, &hints, &list);

    if (problem != 0)
        die(problem == EAI_SYSTEM ? errno : 0, "cannot look up '%s': %s", address, gai_strerror(problem));
    return list;
}

/* If several addresses have failed, one failure is told. Returns the more telling of two errno values: that nobody
 * listens there says more than that this machine has no IPv6. */
static int more_telling(int one, int other)
{
    static const int least_first[] = { 0, EAFNOSUPPORT, EADDRNOTAVAIL, EINVAL, ENETDOWN, ENETUNREACH, EHOSTUNREACH,
                                       ETIMEDOUT, OUT_OF_PATIENCE, ECONNREFUSED };

    for (size_t i = 0; i < sizeof least_first / sizeof least_first[0]; i++)
        if (one == least_first[i] || other == least_first[i])
            return one == least_first[i] ? other : one;
    return one;
}

/* From now on, whatever closes socket FD resets the connection: we, or the kernel after our death. Usually close sends
 * what is left and then FIN, and a FIN reads as end-of-file: to the other side, a killed program looks like one that
 * had finished. With SO_LINGER and a time of 0, close throws away what was not sent and sends RST (ABORT, RFC 9293,
 * 3.10.5), and the other side gets the error ECONNRESET. That costs no byte on the wire. */
static bool reset_on_close(int fd)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0;
}

/* From now on, closing socket FD does not reset the connection any more. */
static bool fin_on_close(int fd)
{
    const struct linger linger = { .l_onoff = 0 };

    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0;
}

/* Makes read, recv and write on the new connection FD wait in the kernel, as they do in every book, but for no longer
 * than a tick: then they fail with EAGAIN, or return what they have moved so far. That gives every wait a limit, -t,
 * without a second mechanism beside the calls themselves: see may_retry.
 * While nothing moves, the kernels ask each other every 15 seconds whether they are still there (keepalive, RFC 9293,
 * 3.8.4): so no firewall or NAT forgets the connection, and a dead machine is noticed while we wait for something else.
 * Nine questions may stay unanswered, or as many as -t has time for and Linux can count. */
static void set_waits(int fd)
{
    const struct timeval tick = { .tv_usec = TICK * 1000 };
    const int on = 1, interval = 15, least = 9, most = 127, wanted = patience > 0 ? patience / interval + 1 : most;
    const int questions = wanted < least ? least : wanted > most ? most : wanted;

    if (fcntl(fd, F_SETFL, 0) != 0 || /* blocking, even if it was not */
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tick, sizeof tick) != 0)
        die(errno, "cannot set up a connection");
    waiting_since = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on); /* what a system does not know, it does without */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &questions, sizeof questions);
}

/* Prints the sizes in bytes of both buffers of socket FD. The last argument of getsockopt says how much room there is,
 * and getsockopt puts there how much it used: a value-result argument. */
static void print_buffers(int fd)
{
    int send_size = 0, receive_size = 0;
    socklen_t send_length = sizeof send_size, receive_length = sizeof receive_size;

    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_size, &send_length) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_size, &receive_length) != 0)
        die(errno, "cannot read the size of a socket buffer");
    print("Send buffer length ：%d", send_size);
    print("Recv buffer length ：%d", receive_size);
}

/* Asks for buffers of -b bytes for socket FD, first before listen or connect, to count for the window scale (tcp(7)).
 * It then prints the sizes before and after, because the answer is hardly ever the number that was asked for: Linux
 * takes the smaller of that and net.core.wmem_max or rmem_max, doubles it for its own bookkeeping, and goes no lower
 * than a floor (socket(7) has old ones). With -b 0 nothing is set, and the kernel tunes both while it runs. */
static void set_buffers(int fd)
{
    static bool printed;

    if (!printed)
        print_buffers(fd);
    if (buffer_size > 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_size, sizeof buffer_size) != 0 ||
                            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_size, sizeof buffer_size) != 0))
        die(errno, "cannot set the socket buffers to %d bytes", buffer_size);
    if (!printed) {
        print(buffer_size > 0 ? "Buffer length both set to %d" : "Buffer length left to the kernel", buffer_size);
        print_buffers(fd);
    }
    printed = true;
}
