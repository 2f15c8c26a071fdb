/*
 * faults.h - makes one chosen call of a program fail. Compiled into server and client, ahead of everything else, for
 * torture.c, which chooses every call in turn:
 *
 *     cc -include tests/faults.h -o tests/server-faults server.c
 *     FAULT='write-socket 2 ECONNRESET' tests/server-faults ...      its second write to a socket fails
 *
 * Each call that may fail is replaced by a macro (the table at the end) or a function, which first asks fault whether and
 * how this call shall fail. Calls are counted by name, in each process. Where it matters what a descriptor is, the name
 * says it: read-socket, read-pipe, read-file.
 *
 * The failing call is not carried out, except that close closes, as on Linux, and an interrupted connect goes on
 * connecting. Failures have the names that errno.h and netdb.h give them, and these: "short" moves one byte, "timeout" has
 * poll return 0, "failure" leaves errno as it was. A + in front marks those that a
 * robust program gets over, a ! those after which nobody may believe that the file has arrived.
 *
 * The file that FAULT_BOOK names is told what happened: "call NAME NUMBER FAILURE..." for each call, unless FAULT is set;
 * "failed TEXT" when the chosen call failed, with the text of the error; "connects IPv4" or IPv6 when it begins to; "leaked ..." at the end of the process for what
 * was opened and never closed; "misused ..." for a close of what is not open.
 */
#ifndef FAULTS_H
#define FAULTS_H

#ifdef __linux__
#define _GNU_SOURCE /* splice */
#endif
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

/* All headers of the programs, before their functions become macros. */
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/sendfile.h>
#endif

#undef _GNU_SOURCE /* the program says for itself what it needs */
#undef _POSIX_C_SOURCE
#undef _FILE_OFFSET_BITS

enum { SHORT = 10001, TIMEOUT, FAILURE }; /* the failures that are not errors; far from all errno and EAI_ values */
enum { CALLS_MAX = 64, NAME_ROOM = 32, DESCRIPTORS_MAX = 256 };

#define NAMED(error) { #error, error }
static const struct { const char *name; int number; } failures[] = {
    NAMED(EACCES), NAMED(EADDRINUSE), NAMED(EADDRNOTAVAIL), NAMED(EAFNOSUPPORT), NAMED(EAGAIN), NAMED(EBADF), NAMED(ECHILD),
    NAMED(ECONNABORTED), NAMED(ECONNREFUSED), NAMED(ECONNRESET), NAMED(EEXIST), NAMED(EFBIG), NAMED(EHOSTUNREACH),
    NAMED(EINPROGRESS), NAMED(EINTR), NAMED(EINVAL), NAMED(EIO), NAMED(EMFILE), NAMED(ENETUNREACH), NAMED(ENFILE),
    NAMED(ENOBUFS), NAMED(ENOENT), NAMED(ENOMEM), NAMED(ENOSPC), NAMED(ENOTCONN), NAMED(EOVERFLOW), NAMED(EPERM), NAMED(EPIPE),
    NAMED(ETIMEDOUT), NAMED(EAI_AGAIN), NAMED(EAI_FAIL), NAMED(EAI_MEMORY), NAMED(EAI_NONAME), NAMED(EAI_SYSTEM),
    { "short", SHORT }, { "timeout", TIMEOUT }, { "failure", FAILURE },
};

static bool held[DESCRIPTORS_MAX];  /* the descriptors that the program has opened and not closed */
static int lists;                   /* how many address lists it has got and not given back */

/* Adds a line to the book, if there is one. Leaves errno alone. */
static inline void note(const char *format, ...)
{
    const char *book = getenv("FAULT_BOOK");
    int error = errno, fd = book == NULL ? -1 : open(book, O_WRONLY | O_CREAT | O_APPEND, 0666);
    va_list arguments;

    if (fd >= 0) {
        va_start(arguments, format);
        vdprintf(fd, format, arguments);
        va_end(arguments);
        close(fd);
    }
    errno = error;
}

/* Notes what is still held when the process ends. */
static inline void note_leaks(void)
{
    for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
        if (held[fd])
            note("leaked descriptor %d\n", fd);
    if (lists != 0)
        note("leaked lists of addresses: %d\n", lists);
}

/* Returns how many calls of that name there were, with this one. */
static inline int count_call(const char *call)
{
    static struct { const char *name; int count; } calls[CALLS_MAX];
    int i = 0;

    while (calls[i].name != NULL && strcmp(calls[i].name, call) != 0)
        if (++i == CALLS_MAX)
            abort();
    calls[i].name = call;
    return ++calls[i].count;
}

/* Returns 0 if this call is to be carried out, otherwise the number of its failure, with errno set to what it shall be.
 * CALL is its name, ERRORS what may befall it. */
static inline int fault(const char *call, const char *errors)
{
    static bool registered;
    const char *choice = getenv("FAULT");
    char name[NAME_ROOM], failure[NAME_ROOM];
    int wanted, number = count_call(call);
    size_t i = 0;

    if (!registered && atexit(note_leaks) != 0) /* before whatever the program registers, so it runs last */
        abort();
    registered = true;
    if (choice == NULL)
        note("call %s %d %s\n", call, number, errors);
    if (choice == NULL || sscanf(choice, "%31s %d %31s", name, &wanted, failure) != 3 || wanted != number ||
        strcmp(name, call) != 0)
        return 0;

    while (strcmp(failures[i].name, failure + strspn(failure, "+!")) != 0)
        if (++i == sizeof failures / sizeof failures[0])
            abort();
    number = failures[i].number;
    if (strncmp(failures[i].name, "EAI_", 4) == 0 && number != EAI_SYSTEM)
        note("failed text %s\n", gai_strerror(number));
    else if (number == SHORT || number == FAILURE)
        note("failed without text\n");
    else {
        errno = number == TIMEOUT ? ETIMEDOUT : number == EAI_SYSTEM ? EMFILE : number;
        note("failed text %s\n", strerror(errno));
    }
    return number;
}

/* The same for a call that fails in other ways with a socket than with a pipe or a file. CALLS are its names and ERRORS
 * what may befall it, in the order of these three. */
static inline int fault_of_kind(int fd, const char *const calls[3], const char *const errors[3])
{
    struct stat status;
    int kind = fstat(fd, &status) != 0 ? 2 : S_ISSOCK(status.st_mode) ? 0 : S_ISFIFO(status.st_mode) ? 1 : 2;

    return fault(calls[kind], errors[kind]);
}

/* Remembers that descriptor FD, unless it is -1, was opened. Returns it. */
static inline int opened(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX)
        held[fd] = true;
    return fd;
}

/* The functions from here on are the calls that need more than a line in the table. */

static inline int faulty_open(const char *path, int flags, ...)
{
    struct stat status;
    bool slow = (flags & O_NONBLOCK) == 0 && stat(path, &status) == 0 && S_ISFIFO(status.st_mode);
    mode_t mode = 0;

    if ((flags & O_CREAT) != 0) {
        va_list arguments;
        va_start(arguments, flags);
        mode = (mode_t)va_arg(arguments, int);
        va_end(arguments);
    }
    return fault("open", slow ? "+EINTR EACCES" : "EACCES EMFILE EIO") != 0 ? -1 : opened(open(path, flags, mode));
}

static inline int faulty_close(int fd)
{
    static const char *const calls[] = { "close-socket", "close-pipe", "close-file" };
    static const char *const errors[] = { "+EINTR", "+EINTR", "+EINTR EIO ENOSPC" };
    int how = fault_of_kind(fd, calls, errors), result = close(fd);

    if (result != 0)
        note("misused close of descriptor %d\n", fd);
    if (fd >= 0 && fd < DESCRIPTORS_MAX)
        held[fd] = false;
    if (how != 0)
        errno = how;
    return how != 0 ? -1 : result;
}

static inline int faulty_pipe(int fds[2])
{
    if (fault("pipe", "EMFILE ENFILE") != 0 || pipe(fds) != 0)
        return -1;
    opened(fds[0]);
    opened(fds[1]);
    return 0;
}

static inline ssize_t faulty_read(int fd, void *data, size_t length)
{
    static const char *const calls[] = { "read-socket", "read-pipe", "read-file" };
    static const char *const errors[] = { "+short +EINTR +EAGAIN ECONNRESET ETIMEDOUT", "+short +EINTR +EAGAIN !EIO",
                                          "+short +EINTR !EIO" };
    int how = fault_of_kind(fd, calls, errors);

    return how == 0 ? read(fd, data, length) : how == SHORT ? read(fd, data, 1) : -1;
}

static inline ssize_t faulty_write(int fd, const void *data, size_t length)
{
    static const char *const calls[] = { "write-socket", "write-pipe", "write-file" };
    static const char *const errors[] = { "+short +EINTR +EAGAIN !ECONNRESET !EPIPE", "+short +EINTR +EAGAIN !EPIPE",
                                          "+short +EINTR !EIO !ENOSPC !EFBIG" };
    int how = fault_of_kind(fd, calls, errors);

    return how == 0 ? write(fd, data, length) : how == SHORT ? write(fd, data, 1) : -1;
}

static inline int faulty_poll(struct pollfd *wanted, nfds_t count, int milliseconds_left)
{
    int how = fault("poll", milliseconds_left < 0 ? "+EINTR ENOMEM" : "+EINTR ENOMEM timeout");

    return how == 0 ? poll(wanted, count, milliseconds_left) : how == TIMEOUT ? 0 : -1;
}

static inline int faulty_connect(int fd, const struct sockaddr *name, socklen_t length)
{
    int how = fault("connect", "+EINTR +EINPROGRESS ECONNREFUSED ENETUNREACH EADDRNOTAVAIL EAGAIN");

    if (how == 0 || how == EINTR || how == EINPROGRESS)
        note("connects %s\n", name->sa_family == AF_INET6 ? "IPv6" : "IPv4");
    if (how == 0)
        return connect(fd, name, length);
    if ((how == EINTR || how == EINPROGRESS) && connect(fd, name, length) != 0 && errno != EINPROGRESS)
        return -1;
    errno = how;
    return -1;
}

static inline int faulty_nanosleep(const struct timespec *time_wanted, struct timespec *time_left)
{
    if (fault("nanosleep", "+EINTR") == 0)
        return nanosleep(time_wanted, time_left);
    if (time_left != NULL)
        *time_left = *time_wanted;
    return -1;
}

/* The name localhost stands for all loopback addresses here, IPv6 and IPv4, whatever the system has been told. */
static inline int faulty_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                                     struct addrinfo **list)
{
    int how = fault("getaddrinfo", "EAI_AGAIN EAI_FAIL EAI_MEMORY EAI_NONAME EAI_SYSTEM");

    if (how == 0)
        how = getaddrinfo(host != NULL && strcmp(host, "localhost") == 0 ? NULL : host, service, hints, list);
    lists += how == 0;
    return how;
}

static inline int faulty_getnameinfo(const struct sockaddr *name, socklen_t length, char *host, socklen_t host_room,
                                     char *service, socklen_t service_room, int flags)
{
    int how = fault("getnameinfo", "EAI_AGAIN EAI_MEMORY EAI_SYSTEM");

    return how != 0 ? how : getnameinfo(name, length, host, host_room, service, service_room, flags);
}

static inline void faulty_freeaddrinfo(struct addrinfo *list)
{
    lists--;
    freeaddrinfo(list);
}

#ifdef __linux__
static inline ssize_t faulty_sendfile(int to, int from, off_t *offset, size_t length)
{
    int how = fault("sendfile", "+short +EINTR +EAGAIN EINVAL EIO ECONNRESET");

    return how == 0 ? sendfile(to, from, offset, length) : how == SHORT ? sendfile(to, from, offset, 1) : -1;
}

static inline ssize_t faulty_splice(int from, off_t *from_offset, int to, off_t *to_offset, size_t length, unsigned flags)
{
    static const char *const calls[] = { "splice-socket", "splice-pipe", "splice-file" };
    static const char *const errors[] = { "+short +EINTR +EAGAIN EINVAL ECONNRESET ETIMEDOUT",
                                          "+short +EINTR EINVAL EIO ENOSPC", "+short +EINTR EINVAL EIO" };
    int how = fault_of_kind(from, calls, errors);

    return how != 0 && how != SHORT ? -1 : splice(from, from_offset, to, to_offset, how == SHORT ? 1 : length, flags);
}

#define sendfile(...)    faulty_sendfile(__VA_ARGS__)
#define splice(...)      faulty_splice(__VA_ARGS__)
#endif

#define open(...)        faulty_open(__VA_ARGS__)
#define close(...)       faulty_close(__VA_ARGS__)
#define pipe(...)        faulty_pipe(__VA_ARGS__)
#define read(...)        faulty_read(__VA_ARGS__)
#define write(...)       faulty_write(__VA_ARGS__)
#define poll(...)        faulty_poll(__VA_ARGS__)
#define connect(...)     faulty_connect(__VA_ARGS__)
#define nanosleep(...)   faulty_nanosleep(__VA_ARGS__)
#define getaddrinfo(...) faulty_getaddrinfo(__VA_ARGS__)
#define getnameinfo(...) faulty_getnameinfo(__VA_ARGS__)
#define freeaddrinfo(...) faulty_freeaddrinfo(__VA_ARGS__)

/* The table: what may befall the call (from its manual page, what matters for these programs), what it returns then, and
 * the call itself, which inside its own macro is the real one. */
#define socket(...)      (fault("socket", "EMFILE ENOBUFS EAFNOSUPPORT") != 0 ? -1 : opened(socket(__VA_ARGS__)))
#define accept(...)      (fault("accept", "+EINTR +EAGAIN +ECONNABORTED EMFILE ENOMEM") != 0 ? -1 : opened(accept(__VA_ARGS__)))
#define mkstemp(...)     (fault("mkstemp", "EACCES ENOSPC EEXIST") != 0 ? -1 : opened(mkstemp(__VA_ARGS__)))
#define bind(...)        (fault("bind", "EADDRINUSE EACCES EADDRNOTAVAIL") != 0 ? -1 : bind(__VA_ARGS__))
#define listen(...)      (fault("listen", "EADDRINUSE") != 0 ? -1 : listen(__VA_ARGS__))
#define shutdown(...)    (fault("shutdown", "!ENOTCONN") != 0 ? -1 : shutdown(__VA_ARGS__))
#define getsockname(...) (fault("getsockname", "ENOBUFS") != 0 ? -1 : getsockname(__VA_ARGS__))
#define getsockopt(...)  (fault("getsockopt", "ENOBUFS") != 0 ? -1 : getsockopt(__VA_ARGS__))
#define setsockopt(...)  (fault("setsockopt", "ENOBUFS") != 0 ? -1 : setsockopt(__VA_ARGS__))
#define fcntl(...)       (fault("fcntl", "EBADF") != 0 ? -1 : fcntl(__VA_ARGS__))
#define ioctl(...)       (fault("ioctl", "EINVAL") != 0 ? -1 : ioctl(__VA_ARGS__))
#define stat(...)        (fault("stat", "EACCES EIO") != 0 ? -1 : stat(__VA_ARGS__))
#define fstat(...)       (fault("fstat", "EIO") != 0 ? -1 : fstat(__VA_ARGS__))
#define access(...)      (fault("access", "EACCES EIO") != 0 ? -1 : access(__VA_ARGS__))
#define readlink(...)    (fault("readlink", "EACCES EIO") != 0 ? -1 : readlink(__VA_ARGS__))
#define fchmod(...)      (fault("fchmod", "EPERM EIO") != 0 ? -1 : fchmod(__VA_ARGS__))
#define fsync(...)       (fault("fsync", "+EINTR !EIO !ENOSPC") != 0 ? -1 : fsync(__VA_ARGS__))
#define rename(...)      (fault("rename", "!EACCES !ENOSPC !EIO") != 0 ? -1 : rename(__VA_ARGS__))
#define unlink(...)      (fault("unlink", "EIO") != 0 ? -1 : unlink(__VA_ARGS__))
#define fork(...)        (fault("fork", "EAGAIN ENOMEM") != 0 ? -1 : fork(__VA_ARGS__))
#define waitpid(...)     (fault("waitpid", "+EINTR") != 0 ? -1 : waitpid(__VA_ARGS__))
#define pselect(...)     (fault("pselect", "+EINTR ENOMEM") != 0 ? -1 : pselect(__VA_ARGS__))
#define sigaction(...)   (fault("sigaction", "EINVAL") != 0 ? -1 : sigaction(__VA_ARGS__))
#define sigprocmask(...) (fault("sigprocmask", "EINVAL") != 0 ? -1 : sigprocmask(__VA_ARGS__))
#define clock_gettime(...) (fault("clock_gettime", "EINVAL") != 0 ? -1 : clock_gettime(__VA_ARGS__))
#define atexit(...)      (fault("atexit", "failure") != 0 ? -1 : atexit(__VA_ARGS__))
#define localtime_r(...) (fault("localtime_r", "+EOVERFLOW") != 0 ? NULL : localtime_r(__VA_ARGS__))
#define setenv(...)      (fault("setenv", "ENOMEM") != 0 ? -1 : setenv(__VA_ARGS__))
#define malloc(...)      (fault("malloc", "ENOMEM") != 0 ? NULL : malloc(__VA_ARGS__))
#define printf(...)      (fault("printf", "EPIPE ENOSPC") != 0 ? -1 : printf(__VA_ARGS__))
#define fprintf(...)     (fault("fprintf", "failure") != 0 ? -1 : fprintf(__VA_ARGS__))
#define vfprintf(...)    (fault("vfprintf", "+EPIPE +ENOSPC") != 0 ? -1 : vfprintf(__VA_ARGS__))
#define fputs(...)       (fault("fputs", "failure") != 0 ? EOF : fputs(__VA_ARGS__))
#define fflush(...)      (fault("fflush", "+EPIPE +ENOSPC") != 0 ? EOF : fflush(__VA_ARGS__))

#endif
