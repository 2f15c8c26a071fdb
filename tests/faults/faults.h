/*
 * faults.h - makes one chosen call of a program fail. Compiled into server and client ahead of everything else:
 *
 *     cc -include tests/faults/faults.h -o tests/faults/server-faults server.c
 *     FAULT='write-socket 2 ECONNRESET' server-faults ...          its second write to a socket fails
 *     FAULT='accept 1 EMFILE-forever' server-faults -k ...         its first accept fails, and all later ones
 *
 * A macro (the table at the end) or a function replaces each call that may fail. It first asks fault whether and how
 * this call fails. Calls are counted by name. Where the kind of descriptor matters, the name says it: read-socket,
 * read-pipe, read-file; write-device is the transcript into /dev/null, and write-error goes to standard error. In a
 * process that the program has forked, names begin with child-, and counting begins anew.
 *
 * The failing call is not made, except that close closes, as on Linux, and an interrupted connect goes on. EAGAIN on a
 * connection takes a tick, as its time-out does, but for send, which does not wait. Failures have names of errno.h
 * and netdb.h, and these: "short" moves one byte, "nothing" none, "timeout" makes poll return 0, "failure"
 * leaves errno as it was; ^KILL and ^TERM are signals before the call. ^DEED is none: before it, a shell does what DEED
 * says, in the program's directory. One that ends in -forever happens to all later calls of that name, one that
 * ends in -while to those of the next half second. FAULT may name several, with commas between. The mark in front says
 * what a robust program makes of it:
 *
 *     +    it goes on
 *     !    nobody may believe that the file has arrived
 *     ?    the same if it hits the client; the server may have got all it needs
 *
 * The file that FAULT_BOOK names gets "call NAME NUMBER FAILURE..." for each call, unless FAULT is set; "failed TEXT"
 * when the chosen call failed, with the text of the error to be told; "connects IPv4" or IPv6 when it begins to;
 * "misused ..." for a close of what is not open; and "flushed all" for a flush of the whole file system, which is not
 * made. A program that spins is aborted.
 *
 * PLACE holds words for a machine that is not as others are:
 *
 *     disk=N     a flush takes as long as a disk of N bytes a second needs: the clock is put forward, nobody waits.
 *                The book gets "flushed N bytes"
 *     cache=N    but the first N bytes take no time
 *     forgets    accept hands on neither SO_LINGER nor the sizes of buffers
 *     world      whatever file is made, all may read it, as on exFAT
 *     foreign    all files but directories belong to somebody else
 *     once       regular files claim to be empty, as those in /proc do
 *     itself     a connection leads back to where it comes from
 *     late       a program does not hear of its connection before that is lost
 *     noqueue    there is no TIOCOUTQ, as on gVisor, nor any other ioctl
 *     v6only     "::" takes no IPv4 clients unless that is asked for, as on FreeBSD
 *     dead=N     every name has N more addresses, in front, from which no answer comes
 *     nobody     and no other one
 *     gone       the first client has gone before it is accepted
 *     setuid     the real user is somebody else, who may read nothing
 *
 * The book also gets "options SNDBUF RCVBUF LINGER KEEPALIVE KEEPIDLE KEEPINTVL KEEPCNT" of a connection, by the server
 * when it half-closes and by the client when it begins to receive.
 */
#ifndef FAULTS_H
#define FAULTS_H

#ifdef __linux__
#define _GNU_SOURCE
#endif
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64

/* All headers of the programs, before their functions become macros. */
#include <errno.h>
#include <fcntl.h>
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/xattr.h>
#endif

#include "errors.h"

#undef _GNU_SOURCE /* the program says for itself what it needs */
#undef _POSIX_C_SOURCE
#undef _FILE_OFFSET_BITS
#undef _TIME_BITS

enum { CALLS_MAX = 96, NAME_ROOM = 32 };
enum { WAITS_MAX = 2000 }; /* in a second: a look every millisecond is allowed, and who spins makes ten times as many */

/* Adds a line to the book, if there is one. Leaves errno alone. A signal handler may call this while the program does:
 * so not vdprintf, which puts its stream into a list of all streams. */
static inline void note(const char *format, ...)
{
    const char *book = getenv("FAULT_BOOK");
    int error = errno, fd = book == NULL ? -1 : open(book, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (fd >= 0) {
        (void)!write(fd, text, strlen(text)); /* without a book, a test fails */
        close(fd);
    }
    errno = error;
}

/* Returns how many milliseconds have passed since *BEGAN, which it sets when it is 0. Leaves errno alone. */
static inline int64_t milliseconds_since(int64_t *began)
{
    struct timespec now;
    int error = errno;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        abort();
    errno = error;
    const int64_t milliseconds = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    *began = *began == 0 ? milliseconds : *began;
    return milliseconds - *began;
}

/* Counts a wait, or a call that said for ever that there is nothing yet, and aborts a program that makes too many of
 * them for the time it has been running. A slow machine makes fewer. */
static inline void count_wait(void)
{
    static int64_t began;
    static long waits;

    if (++waits > WAITS_MAX * (milliseconds_since(&began) / 1000 + 1)) {
        dprintf(STDERR_FILENO, "faults.h: the program spins: %ld waits\n", waits);
        abort();
    }
}

/* Returns how many calls of that name there were, with this one. */
static inline int count_call(const char *call)
{
    static struct { char name[NAME_ROOM]; int count; } calls[CALLS_MAX];
    int i = 0;

    while (calls[i].name[0] != '\0' && strcmp(calls[i].name, call) != 0)
        if (++i == CALLS_MAX)
            abort();
    snprintf(calls[i].name, NAME_ROOM, "%s", call);
    return ++calls[i].count;
}

/* Returns the number behind WORD in PLACE, 1 if there is none, 0 if the word is not there. */
static inline long in_place(const char *word)
{
    const char *place = getenv("PLACE"), *at = place == NULL ? NULL : strstr(place, word);

    return at == NULL ? 0 : at[strlen(word)] == '=' ? atol(at + strlen(word) + 1) : 1;
}

static int last_fault; /* what fault returned last */

/* What FAULT says of a call. */
struct choice {
    char failure[NAME_ROOM];    /* without -forever or -while */
    int from;                   /* the number of the first call that fails */
    bool forever;               /* the later ones do, too */
};

/* Looks in FAULT for what is to befall call NUMBER of the name CALL, and does the deeds that come before it. Returns
 * false if nothing is. */
static inline bool choose(const char *call, int number, struct choice *chosen)
{
    static int64_t while_began;
    char name[NAME_ROOM], *end;

    for (const char *at = getenv("FAULT"); at != NULL; at = strchr(at, ',') == NULL ? NULL : strchr(at, ',') + 1) {
        if (sscanf(at, "%31s %d %31[^,]", name, &chosen->from, chosen->failure) != 3 || strcmp(name, call) != 0)
            continue;
        end = strchr(chosen->failure, '-');
        chosen->forever = end != NULL;
        if (chosen->forever ? number < chosen->from : number != chosen->from)
            continue;
        if (end != NULL && strcmp(end, "-while") == 0 && milliseconds_since(&while_began) >= 500)
            continue;
        if (end != NULL)
            *end = '\0';
        if (strcmp(chosen->failure, "^DEED") != 0)
            return true;
        if (system(getenv("DEED")) != 0)
            abort();
    }
    return false;
}

/* Returns 0 if this call is to be carried out, otherwise the number of its failure, with errno set to what it shall be.
 * CALL is its name, ERRORS what may befall it. */
static inline int fault(const char *call, const char *errors)
{
    static const struct timespec tick = { .tv_nsec = 100000000 };
    static pid_t first;
    struct choice chosen;
    char own[NAME_ROOM];
    const char *failure = chosen.failure;
    int number, error = errno;
    bool is_chosen;

    last_fault = 0;
    first = first == 0 ? getpid() : first;
    snprintf(own, sizeof own, "%s%s", getpid() != first ? "child-" : "", call);
    number = count_call(own);
    if (getenv("FAULT") == NULL)
        note("call %s %d %s\n", own, number, errors);
    is_chosen = choose(own, number, &chosen);
    errno = error;
    if (!is_chosen)
        return 0;
    if (chosen.forever)
        count_wait();

    if (failure[0] == '^') { /* this may be where signals are blocked: then the call is made before it comes */
        note("failed without text\n");
        kill(getpid(), strcmp(failure, "^KILL") == 0 ? SIGKILL : SIGTERM);
        return 0;
    }
    failure += strspn(failure, "+!?");
    last_fault = error = error_number(failure);
    if (error == 0)
        abort();
    if (error == EAGAIN && strstr(call, "-socket") != NULL)
        nanosleep(&tick, NULL);
    errno = error == FAILURE ? 0 : error == TIMEOUT ? ETIMEDOUT : error == EAI_SYSTEM ? EMFILE : error;
    if (number == chosen.from && (error == SHORT || error == NOTHING || error == FAILURE))
        note("failed without text\n");
    else if (number == chosen.from)
        note("failed text %s\n", error == TIMEOUT || (chosen.forever && error == EAGAIN) ? strerror(ETIMEDOUT) :
             error_text(failure));
    return error;
}

/* The same for a call that fails in other ways with a socket, a pipe, a file, a device, and standard error. ERRORS are
 * what may befall it, in the order of these. */
static inline int fault_of_kind(int fd, const char *call, const char *const errors[])
{
    static const char *const kinds[] = { "socket", "pipe", "file", "device", "error" };
    struct stat status;
    char name[NAME_ROOM];
    int kind = fd == STDERR_FILENO ? 4 : fstat(fd, &status) != 0 ? 2 : S_ISSOCK(status.st_mode) ? 0 :
               S_ISFIFO(status.st_mode) ? 1 : S_ISCHR(status.st_mode) ? 3 : 2;

    snprintf(name, sizeof name, "%s-%s", call, kinds[kind]);
    return fault(name, errors[kind]);
}

/* The functions from here on are the calls that need more than a line in the table. */

static inline int faulty_open(const char *path, int flags, ...)
{
    struct stat status;
    bool waits = (flags & O_NONBLOCK) == 0 && stat(path, &status) == 0 && S_ISFIFO(status.st_mode);
    va_list arguments;
    mode_t mode;
    int fd;

    va_start(arguments, flags);
    mode = (flags & O_CREAT) != 0 ? (mode_t)va_arg(arguments, int) : 0;
    va_end(arguments);
    if (fault("open", waits ? "+EINTR EACCES" : (flags & O_EXCL) != 0 ? "EEXIST EACCES ENOSPC" :
              (flags & O_NONBLOCK) != 0 ? "EACCES EMFILE EIO +EAGAIN" : "EACCES EMFILE EIO") != 0)
        return -1;
    fd = open(path, flags, mode);
    if (fd >= 0 && (flags & O_EXCL) != 0 && in_place("world") && fchmod(fd, 0755) != 0)
        abort();
    return fd;
}

static inline int faulty_close(int fd)
{
    static const char *const errors[] = { "+EINTR", "+EINTR", "+EINTR EIO ENOSPC", "+EINTR", "+EINTR" };
    int how = fault_of_kind(fd, "close", errors), error = errno;

    if (close(fd) != 0)
        note("misused close of descriptor %d\n", fd);
    else if (how == 0)
        return 0;
    else
        errno = error;
    return -1;
}

/* Notes, once, what was set for the connection FD. */
static inline void note_options(int fd)
{
    static const struct { int level, option; } wanted[] = {
        { SOL_SOCKET, SO_SNDBUF }, { SOL_SOCKET, SO_RCVBUF }, { SOL_SOCKET, SO_LINGER }, { SOL_SOCKET, SO_KEEPALIVE },
#ifdef TCP_KEEPIDLE
        { IPPROTO_TCP, TCP_KEEPIDLE }, { IPPROTO_TCP, TCP_KEEPINTVL }, { IPPROTO_TCP, TCP_KEEPCNT },
#endif
    };
    static bool noted;
    char text[128] = "";
    size_t length = 0;

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0] && !noted; i++) {
        int values[2] = { 0 }; /* struct linger has two numbers */
        socklen_t room = sizeof values;
        if (getsockopt(fd, wanted[i].level, wanted[i].option, values, &room) != 0)
            return; /* it is no socket */
        length += (size_t)snprintf(text + length, sizeof text - length, " %d", values[0]);
    }
    if (!noted)
        note("options%s\n", text);
    noted = true;
}

static inline ssize_t faulty_read(int fd, void *data, size_t length)
{
    static const char *const errors[] = {
        "+short +EINTR +EAGAIN ?EAGAIN-forever ?ECONNRESET ?ETIMEDOUT", "+short +EINTR +EAGAIN !EIO",
        "+short +EINTR !EIO", "+short +EINTR +EAGAIN !EIO", "+short +EINTR !EIO" };
    int how;

    note_options(fd);
    how = fault_of_kind(fd, "read", errors);
    return how == 0 || how == SHORT ? read(fd, data, how == SHORT ? 1 : length) : -1;
}

static inline ssize_t faulty_write(int fd, const void *data, size_t length)
{
    static const char *const errors[] = {
        "+short +EINTR +EAGAIN !EAGAIN-forever !ECONNRESET !EPIPE", "+short +EINTR +EAGAIN !EPIPE",
        "+short +EINTR !EIO !ENOSPC !EFBIG !nothing", "+short +EINTR +EAGAIN +EPIPE +ENOSPC +nothing",
        "+short +EINTR +EAGAIN" };
    int how = fault_of_kind(fd, "write", errors);

    return how == 0 || how == SHORT ? write(fd, data, how == SHORT ? 1 : length) : how == NOTHING ? 0 : -1;
}

static inline int faulty_connect(int fd, const struct sockaddr *name, socklen_t length)
{
    int how = fault("connect", "+EINTR +EINPROGRESS ECONNREFUSED ENETUNREACH EADDRNOTAVAIL EAGAIN"), result;
    struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct pollfd lost = { .fd = fd };

    if (how != 0 && how != EINTR && how != EINPROGRESS)
        return -1;
    if (in_place("itself")) { /* as if the kernel had given us just the port that we want to reach */
        length = sizeof own;
        if (bind(fd, (struct sockaddr *)&own, length) != 0 || getsockname(fd, (struct sockaddr *)&own, &length) != 0)
            abort();
        name = (struct sockaddr *)&own;
    }
    note("connects %s\n", name->sa_family == AF_INET6 ? "IPv6" : "IPv4");
    result = connect(fd, name, length);
    if (result != 0 && errno != EINPROGRESS)
        return -1;
    if (in_place("late")) {
        how = EINPROGRESS;
        while (poll(&lost, 1, -1) < 1)
            ;
    }
    if (how == 0)
        return result;
    errno = how;
    return -1;
}

/* Returns LIST with addresses in front of it from which no answer comes: those of a listener that has no room. */
static inline struct addrinfo *behind_dead(struct addrinfo *list)
{
    static struct addrinfo dead[8], *kept; /* LIST stays known even if it is not used: it is never given back */
    static struct sockaddr_in name;
    const long count = in_place("dead");
    int listener = socket(AF_INET, SOCK_STREAM, 0), place = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t length = sizeof name;

    kept = list;
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (count >= 8 || bind(listener, (struct sockaddr *)&name, length) != 0 || listen(listener, 0) != 0 ||
        getsockname(listener, (struct sockaddr *)&name, &length) != 0 ||
        connect(place, (struct sockaddr *)&name, length) != 0)
        abort();
    for (long i = 0; i < count; i++)
        dead[i] = (struct addrinfo){ .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_addrlen = length,
                                     .ai_addr = (struct sockaddr *)&name,
                                     .ai_next = i + 1 < count ? &dead[i + 1] : in_place("nobody") ? NULL : kept };
    return dead;
}

/* The name localhost stands for all loopback addresses here, IPv6 and IPv4, whatever the system has been told. */
static inline int faulty_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                                     struct addrinfo **list)
{
    int how = fault("getaddrinfo", "EAI_AGAIN EAI_FAIL EAI_MEMORY EAI_NONAME EAI_SYSTEM");

    if (how == 0)
        how = getaddrinfo(host != NULL && strcmp(host, "localhost") == 0 ? NULL : host, service, hints, list);
    if (how == 0 && in_place("dead"))
        *list = behind_dead(*list);
    return how;
}

static inline int faulty_accept(int listener, struct sockaddr *name, socklen_t *length)
{
    const struct linger linger = { .l_onoff = 0 };
    const int size = 100000;
    int fd;

    if (fault("accept", "+EINTR +EAGAIN EAGAIN-forever +ECONNABORTED EMFILE ENOMEM") != 0)
        return -1;
    fd = accept(listener, name, length);
    if (fd >= 0 && in_place("gone") && count_call("gone") == 1) {
        close(fd);
        fd = accept(listener, name, length);
    }
    if (fd >= 0 && in_place("forgets") && (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) != 0 ||
                                           setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) != 0 ||
                                           setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0))
        abort();
    return fd;
}

static inline int faulty_socket(int family, int type, int protocol)
{
    const int on = 1;
    int fd = fault("socket", "EMFILE ENOBUFS EAFNOSUPPORT") != 0 ? -1 : socket(family, type, protocol);

    if (fd >= 0 && family == AF_INET6 && in_place("v6only") &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
        abort();
    return fd;
}

static int64_t ahead; /* nanoseconds that the clock was put forward */

static inline int faulty_fsync(int fd)
{
    static off_t flushed;
    struct stat file;

    if (fault("fsync", "+EINTR +EINVAL !EIO !ENOSPC") != 0)
        return -1;
    if (!in_place("disk") || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode))
        return fsync(fd);
    if (file.st_size > in_place("cache"))
        ahead += (int64_t)(file.st_size - flushed) * 1000000000 / in_place("disk");
    note("flushed %jd bytes\n", (intmax_t)(file.st_size - flushed));
    flushed = file.st_size;
    return 0;
}

static inline int faulty_clock_gettime(clockid_t id, struct timespec *now)
{
    int64_t nanoseconds;

    if (fault("clock_gettime", "EINVAL") != 0 || clock_gettime(id, now) != 0)
        return -1;
    nanoseconds = now->tv_nsec + (id == CLOCK_MONOTONIC ? ahead : 0);
    now->tv_sec += (time_t)(nanoseconds / 1000000000);
    now->tv_nsec = (long)(nanoseconds % 1000000000);
    return 0;
}

/* Makes of STATUS, which stat or fstat has found with this RESULT, what it is in our place. Returns RESULT. */
static inline int disguise(int result, struct stat *status)
{
    if (result == 0 && in_place("foreign") && !S_ISDIR(status->st_mode))
        status->st_uid++;
    if (result == 0 && in_place("once") && S_ISREG(status->st_mode))
        status->st_size = 0;
    return result;
}

#ifdef __linux__
#define lgetxattr(...)   (fault("lgetxattr", "+EACCES +EIO") != 0 ? -1 : lgetxattr(__VA_ARGS__))
#endif

#define open(...)        faulty_open(__VA_ARGS__)
#define close(...)       faulty_close(__VA_ARGS__)
#define read(...)        faulty_read(__VA_ARGS__)
#define write(...)       faulty_write(__VA_ARGS__)
#define connect(...)     faulty_connect(__VA_ARGS__)
#define freeaddrinfo(list) (in_place("dead") ? (void)0 : freeaddrinfo(list)) /* part of it was never allocated */
#define getaddrinfo(...) faulty_getaddrinfo(__VA_ARGS__)
#define accept(...)      faulty_accept(__VA_ARGS__)
#define socket(...)      faulty_socket(__VA_ARGS__)
#define fsync(...)       faulty_fsync(__VA_ARGS__)
#define clock_gettime(...) faulty_clock_gettime(__VA_ARGS__)
#define syncfs(...)      (fault("syncfs", "!EIO") != 0 ? -1 : (note("flushed all\n"), 0))

/* The table: what may befall the call (from its manual page, what matters for these programs), what it returns then,
 * and the call itself, which inside its own macro is the real one. */
#define bind(...)        (fault("bind", "EADDRINUSE EACCES EADDRNOTAVAIL") != 0 ? -1 : bind(__VA_ARGS__))
#define listen(...)      (fault("listen", "EADDRINUSE") != 0 ? -1 : listen(__VA_ARGS__))
#define getnameinfo(...) \
    (fault("getnameinfo", "EAI_AGAIN EAI_MEMORY EAI_SYSTEM") != 0 ? last_fault : getnameinfo(__VA_ARGS__))
#define getsockname(...) (fault("getsockname", "ENOBUFS") != 0 ? -1 : getsockname(__VA_ARGS__))
#define getpeername(...) (fault("getpeername", "ENOTCONN") != 0 ? -1 : getpeername(__VA_ARGS__))
#define setsockopt(fd, level, option, ...) /* what only keeps a connection alive can be done without */ \
    (fault("setsockopt", (level) != SOL_SOCKET || (option) == SO_KEEPALIVE ? "+EINVAL" : "ENOBUFS") != 0 ? -1 : \
     setsockopt(fd, level, option, __VA_ARGS__))
#define getsockopt(fd, level, ...) /* how often the state is looked up (TCP_INFO) is left to chance: another name */ \
    (((level) == SOL_SOCKET ? fault("getsockopt", "ENOBUFS") : fault("getsockopt-tcp", "+EINVAL")) != 0 ? -1 : \
     getsockopt(fd, level, __VA_ARGS__))
#define ioctl(...) \
    (fault("ioctl", "+EINVAL") != 0 || (in_place("noqueue") && (errno = EINVAL) != 0) ? -1 : ioctl(__VA_ARGS__))
#define shutdown(fd, how) \
    (note_options(fd), fault("shutdown", "!ENOTCONN") != 0 ? -1 : shutdown(fd, how))
#define poll(...) \
    (count_wait(), fault("poll", "+EINTR +timeout ENOMEM") == 0 ? poll(__VA_ARGS__) : last_fault == TIMEOUT ? 0 : -1)
#define send(fd, data, length, flags) /* the failures are those with MSG_DONTWAIT */ \
    (fault("send", "+short +EINTR +EAGAIN +EAGAIN-forever !ECONNRESET !EPIPE") == 0 ? \
     send(fd, data, length, flags) : last_fault == SHORT ? send(fd, data, 1, flags) : -1)
#define faccessat(directory, path, mode, flags) /* with AT_EACCESS it asks for the effective user, not the real one */ \
    (fault("faccessat", "EACCES EIO") != 0 || \
     (in_place("setuid") && ((flags) & AT_EACCESS) == 0 && (errno = EACCES) != 0) ? -1 : \
     faccessat(directory, path, mode, flags))
#define rename(...)      (fault("rename", "!EACCES !ENOSPC !EIO") != 0 ? -1 : rename(__VA_ARGS__))
#define fcntl(...)       (fault("fcntl", "EBADF") != 0 ? -1 : fcntl(__VA_ARGS__))
#define stat(path, status) (fault("stat", "EACCES EIO") != 0 ? -1 : disguise(stat(path, status), status))
#define fstat(fd, status) (fault("fstat", "EIO") != 0 ? -1 : disguise(fstat(fd, status), status))
#define lstat(...)       (fault("lstat", "EIO") != 0 ? -1 : lstat(__VA_ARGS__))
#define realpath(...)    (fault("realpath", "ENOENT EACCES ELOOP") != 0 ? NULL : realpath(__VA_ARGS__))
#define chdir(...)       (fault("chdir", "EACCES") != 0 ? -1 : chdir(__VA_ARGS__))
#define fchmod(...)      (fault("fchmod", "EPERM EIO") != 0 ? -1 : fchmod(__VA_ARGS__))
#define fchown(...)      (fault("fchown", "EPERM EIO") != 0 ? -1 : fchown(__VA_ARGS__))
#define dup(...)         (fault("dup", "+EMFILE") != 0 ? -1 : dup(__VA_ARGS__))
#define unlink(...)      (fault("unlink", "EIO") != 0 ? -1 : unlink(__VA_ARGS__))
#define fork(...)        (fault("fork", "EAGAIN ENOMEM") != 0 ? -1 : fork(__VA_ARGS__))
#define waitpid(...)     (fault("waitpid", "+EINTR +ECHILD") != 0 ? -1 : waitpid(__VA_ARGS__))
#define signal(...)      (fault("signal", "EINVAL") != 0 ? SIG_ERR : signal(__VA_ARGS__))
#define sigaction(...)   (fault("sigaction", "EINVAL") != 0 ? -1 : sigaction(__VA_ARGS__))
#define sigprocmask(...) (fault("sigprocmask", "EINVAL") != 0 ? -1 : sigprocmask(__VA_ARGS__))
#define atexit(...)      (fault("atexit", "failure") != 0 ? -1 : atexit(__VA_ARGS__))
#define sleep(...)       (fault("sleep", "+EINTR") != 0 ? (__VA_ARGS__) : sleep(__VA_ARGS__))
#define localtime_r(...) (fault("localtime_r", "+EOVERFLOW") != 0 ? NULL : localtime_r(__VA_ARGS__))
#define setenv(...)      (fault("setenv", "ENOMEM") != 0 ? -1 : setenv(__VA_ARGS__))

#endif
