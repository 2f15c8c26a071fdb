/*
 * common.h - what server.c and client.c share: the defaults, the acknowledgement, the options that both take, how a
 * failure is told, how long a program waits, and the report about the two buffers of a socket.
 *
 * Read server.c first, from main at its bottom, then client.c, and come here when a name is new.
 */
#ifndef COMMON_H
#define COMMON_H

#define _POSIX_C_SOURCE 200809L /* what we use beyond C11 is in POSIX.1-2008 */
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

#ifndef __GNUC__
#define __attribute__(list) /* gcc and clang compare arguments with formats; other compilers need not */
#endif

/* The client's whole reply. The bytes are sent without a newline and without the terminating NUL. */
static const char acknowledgement[] = "I have recv the data,Thank you";
enum { ACKNOWLEDGEMENT_LENGTH = sizeof acknowledgement - 1 };

/* Bytes moved from file to socket, or from socket to file, by one read and one write. */
enum { BLOCK_SIZE = 64 * 1024 };

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

/* Where the transcript goes: standard output, unless the file itself goes there. Set by start. */
static FILE *transcript;

/* ---- Saying what happens ------------------------------------------------------------------------------------- */

/* Prints "program: message" and, unless ERROR is 0, ": " and what that errno value means, as one line on standard
 * error. A failure to print is ignored: there is nowhere left to report it. */
static inline void vreport(int error, const char *format, va_list arguments)
{
    char message[PATH_MAX + 256];

    vsnprintf(message, sizeof message, format, arguments);
    if (error == 0)
        fprintf(stderr, "%s: %s\n", program, message);
    else if (error == ETIMEDOUT && patience > 0)
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

    /* Were one of the descriptors 0, 1 and 2 closed, the next socket would take its number, and the transcript would be
     * sent to the other side. /dev/null fills the gaps, opened so that a write to it fails instead of being lost. */
    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        die(errno, "cannot open /dev/null");
    close(fd);

    /* Without this, writing to a connection that is gone, or beyond a limit on the size of files, would kill the program
     * without a word. Now the write fails, with EPIPE or EFBIG (write(2), ERRORS). */
    if (sigaction(SIGPIPE, &ignore, NULL) != 0 || sigaction(SIGXFSZ, &ignore, NULL) != 0)
        die(errno, "cannot ignore a signal");
}

/* ---- Waiting ------------------------------------------------------------------------------------------------- */

/* Returns the time in milliseconds, on a clock that never jumps. */
static inline int64_t milliseconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        die(errno, "cannot read the clock");
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Returns the moment, on the clock of milliseconds, until which a wait that starts now may last: -t from now. */
static inline int64_t deadline(void)
{
    return patience > 0 ? milliseconds() + (int64_t)patience * 1000 : INT64_MAX;
}

/* Waits until FD is ready for EVENTS (POLLIN, POLLOUT) or has failed, so that the call to be made next will not block.
 * Returns true then. Returns false with errno ETIMEDOUT once UNTIL has passed, or with the error of poll. */
static inline bool wait_until(int fd, short events, int64_t until)
{
    struct pollfd wanted = { .fd = fd, .events = events };
    int ready;

    do {
        int64_t left = until == INT64_MAX ? -1 : until - milliseconds();
        if (until != INT64_MAX && left < 0)
            left = 0;
        ready = poll(&wanted, 1, left > INT_MAX ? INT_MAX : (int)left);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0)
        errno = ETIMEDOUT;
    return ready > 0;
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

/* Writes all LENGTH bytes, in as many pieces as FD takes them. Returns true, or false with errno set, ETIMEDOUT if
 * nothing at all was taken for as long as -t. FD may be in non-blocking mode. */
static inline bool write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t count = write(fd, data, length);
        if (count >= 0) {
            data += count;
            length -= (size_t)count;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_until(fd, POLLOUT, deadline()))
                return false;
        } else if (errno != EINTR)
            return false;
    }
    return true;
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

/* Makes FD non-blocking: a call that would wait fails with EAGAIN instead, and we wait in wait_until, which has a limit.
 * Returns true, or false with errno set. */
static inline bool set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

/* Chooses what the other side sees when connection FD is closed, by us or by the kernel after our death.
 *
 * Usually close sends what is left and then FIN, and a FIN reads as end-of-file: to the other side a program that was
 * killed looks like one that had finished. With SO_LINGER on and a time of 0, close throws away what was not sent and
 * sends RST (RFC 9293, 3.10.4; socket(7)), and the other side gets the error ECONNRESET. So both programs say IF_RESET
 * true from the start, and false only when everything has been said. A socket that accept returns has the setting
 * of the listening socket.
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

/* Opens a socket of the family of WHERE as *FD, non-blocking, with RST for an early end, and with buffers of -b bytes. The
 * first time it reports the buffers before and after, because the answer is never the number that was asked for: Linux
 * takes the smaller of that and net.core.wmem_max or rmem_max, doubles it to have room for its own bookkeeping, and goes no
 * lower than a floor that comes from the size of its struct sk_buff (socket(7), SO_RCVBUF and SO_SNDBUF). To count for
 * the window scale this must happen before listen or connect (tcp(7)). With -b 0 nothing is set, and the kernel tunes both
 * sizes while the connection runs; setting a size ends that.
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

/* Closes *FD if it is open and notes that it no longer is. Returns what close does: 0, or -1 with errno set. */
static inline int close_once(int *fd)
{
    int was = *fd;

    *fd = -1;
    return was < 0 ? 0 : close(was);
}

#endif
