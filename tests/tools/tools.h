/*
 * tools.h - what the test programs of this directory share: how one fails, reads the clock, handles files, starts
 * other programs, and leaves nothing behind.
 *
 * Include it first: it chooses what the system headers show. Nothing in here is needed to build or run the pair.
 */
#ifndef TOOLS_H
#define TOOLS_H

#ifdef __linux__
#define _GNU_SOURCE
#else
#define _XOPEN_SOURCE 700
#endif
#define _FILE_OFFSET_BITS 64

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ELEMENTS(array) (sizeof (array) / sizeof (array)[0])

enum { NOT_HERE = 77 };                 /* the exit status of a tool that this system does not let do its work */

static const char *tool = "?";          /* the name of this program, for its messages */
static char workplace[PATH_MAX];        /* the directory that make_workplace made; removed at the end */

/* Says what failed and why (errno), and ends the program with status 2: the test could not be made. */
static inline _Noreturn void die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", tool, what, strerror(errno));
    exit(2);
}

/* Returns RESULT, unless that is -1, which ends the program: for calls that set errno. */
static inline int must(int result, const char *what)
{
    if (result == -1)
        die(what);
    return result;
}

/* Begins the program NAME the same way for everybody who starts it: the standard descriptors are open, so that nothing
 * else is taken for one of them, and its alarm and the end of a child are told. */
static inline void begin(const char *name)
{
    int fd;

    tool = name;
    while ((fd = must(open("/dev/null", O_RDWR), "/dev/null")) <= STDERR_FILENO)
        ;
    must(close(fd), "close");
    signal(SIGALRM, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
}

/* Returns microseconds on a clock that never jumps. */
static inline int64_t microseconds(void)
{
    struct timespec now;

    must(clock_gettime(CLOCK_MONOTONIC, &now), "clock_gettime");
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Lets DURATION microseconds pass. */
static inline void pause_for(int64_t duration)
{
    struct timespec left = { .tv_sec = (time_t)(duration / 1000000), .tv_nsec = (long)(duration % 1000000 * 1000) };

    while (duration > 0 && nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* Writes the time of day at WHEN to TEXT, in the form of the trace (-v). */
static inline void write_clock(char text[32], const struct timespec *when)
{
    struct tm parts;
    size_t length = localtime_r(&when->tv_sec, &parts) == NULL ? 0 : strftime(text, 16, "%H:%M:%S", &parts);

    if (length == 0)
        die("the time");
    snprintf(text + length, 32 - length, ".%06ld", when->tv_nsec / 1000);
}

/* ---- Files --------------------------------------------------------------------------------------------------- */

static inline int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status, (void)type, (void)place;
    remove(path); /* what is gone already is fine */
    return 0;
}

/* Removes the directory PATH and all that is in it. Follows no links. */
static inline void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* Makes a directory under TMPDIR or /tmp, puts its name into workplace and goes there. supervise removes
 * it. */
static inline void make_workplace(void)
{
    const char *parent = getenv("TMPDIR");

    snprintf(workplace, sizeof workplace, "%s/%s.XXXXXX", parent != NULL ? parent : "/tmp", tool);
    if (mkdtemp(workplace) == NULL || chdir(workplace) != 0)
        die(workplace);
}

/* Reads at most ROOM - 1 bytes of the file NAME into TEXT and ends them with a NUL. Returns how many there were, or
 * -1, with TEXT empty, if there is no such file. */
static inline ssize_t get_file(const char *name, char *text, size_t room)
{
    FILE *file = fopen(name, "r");
    size_t length = file == NULL ? 0 : fread(text, 1, room - 1, file);

    text[length] = '\0';
    if (file != NULL)
        fclose(file);
    return file == NULL ? -1 : (ssize_t)length;
}

/* ---- Sockets ------------------------------------------------------------------------------------------------- */

/* Returns the address 127.0.0.1 and PORT. */
static inline struct sockaddr_in local_address(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                 .sin_port = htons((in_port_t)port) };
}

/* Makes a socket, not yet connected, that no program inherits. */
static inline int make_socket(void)
{
    int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");

    must(fcntl(fd, F_SETFD, FD_CLOEXEC), "fcntl");
    return fd;
}

static inline void set_option(int fd, int option, int value)
{
    must(setsockopt(fd, SOL_SOCKET, option, &value, sizeof value), "setsockopt");
}

static inline int get_option(int fd, int option)
{
    int value = 0;
    socklen_t length = sizeof value;

    must(getsockopt(fd, SOL_SOCKET, option, &value, &length), "getsockopt");
    return value;
}

/* Makes whatever closes FD, or a socket that inherits this from it, send a reset instead of an end-of-file. */
static inline void reset_on_close(int fd)
{
    const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

    must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), "SO_LINGER");
}

static inline int port_of(int fd)
{
    struct sockaddr_in name = { 0 };
    socklen_t length = sizeof name;

    must(getsockname(fd, (struct sockaddr *)&name, &length), "getsockname");
    return ntohs(name.sin_port);
}

/* Binds FD to a port that the kernel chooses. Returns its number. */
static inline int take_port(int fd)
{
    const struct sockaddr_in name = local_address(0);

    must(bind(fd, (const struct sockaddr *)&name, sizeof name), "bind");
    return port_of(fd);
}

/* Returns the state of the IPv4 socket with the port HERE whose other end has the port THERE, 0 for one that listens.
 * It comes from the kernel's table (proc(5), /proc/net/tcp): the number is that of TCP_INFO, 0 if there is no such
 * socket, -1 if there is no table. */
static inline int state_in_table(int here, int there)
{
    char line[512];
    unsigned near, far, state;
    int found = 0;
    FILE *table = fopen("/proc/net/tcp", "r");

    if (table == NULL)
        return -1;
    while (found == 0 && fgets(line, sizeof line, table) != NULL)
        if (sscanf(line, "%*[^:]: %*8x:%x %*8x:%x %x", &near, &far, &state) == 3 && (int)near == here &&
            (int)far == there)
            found = (int)state;
    fclose(table);
    return found;
}

/* ---- Programs ------------------------------------------------------------------------------------------------ */

/* Makes a pipe that no program inherits unless start_program gives it an end. */
static inline void make_pipe(int ends[2])
{
    must(pipe(ends), "pipe");
    must(fcntl(ends[0], F_SETFD, FD_CLOEXEC), "fcntl");
    must(fcntl(ends[1], F_SETFD, FD_CLOEXEC), "fcntl");
}

/* Opens the file NAME, emptied, for a program to write to. No program inherits it unless start_program gives it. */
static inline int open_output(const char *name)
{
    return must(open(name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666), name);
}

/* Forks, and lets nothing be printed twice. Returns what fork does, but never -1. */
static inline pid_t split(void)
{
    if (fflush(stdout) != 0)
        die("standard output");
    return must(fork(), "fork");
}

static unsigned program_limit;          /* seconds after which a program that we become gets SIGALRM; 0: never */

/* Becomes the program WORDS[0], found as a shell finds it, with these three descriptors. A signal that whoever started
 * us ignores does what it does by default there. */
static inline _Noreturn void become(char *const words[], int in, int out, int err)
{
    static const int normal[] = { SIGALRM, SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM };

    for (size_t i = 0; i < ELEMENTS(normal); i++)
        signal(normal[i], SIG_DFL);
    if (program_limit > 0)
        alarm(program_limit);
    if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
        execvp(words[0], words);
    dprintf(STDERR_FILENO, "%s: %s\n", words[0], strerror(errno));
    _exit(127);
}

/* Starts that program. Returns its process id. */
static inline pid_t start_program(char *const words[], int in, int out, int err)
{
    pid_t pid = split();

    if (pid == 0)
        become(words, in, out, err);
    return pid;
}

/* Returns the STATUS of wait as a shell does: the exit status, or 128 and the signal that killed the program. */
static inline int shell_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Waits for the child PID. Returns its status as a shell does. */
static inline int status_of(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    return shell_status(status);
}

/* ---- The end ------------------------------------------------------------------------------------------------- */

static inline void wake_sigwait(int signal_number) { (void)signal_number; }

/* Divides this program in two. The one that returns does the work, as the leader of a process group to which all it
 * starts belong. The other one waits for its end, for SIGHUP, SIGINT or SIGTERM, or for LIMIT seconds. Then it kills
 * what is left of the group, removes the workplace, and ends with the worker's exit status, or with 128 and the signal.
 * With GRACE, the group has so many seconds to end, after a SIGTERM unless the worker has ended by itself. If it has,
 * and left others that take longer, that is told, and the status is 2. */
static inline void supervise(unsigned limit, int grace)
{
    static const int awaited[] = { SIGHUP, SIGINT, SIGTERM, SIGALRM, SIGCHLD };
    const struct sigaction child = { .sa_handler = wake_sigwait, .sa_flags = SA_NOCLDSTOP };
    sigset_t set, before;
    pid_t worker, gone = 0;
    int came, status;
    bool left;
    int64_t end;

    sigemptyset(&set);
    for (size_t i = 0; i < ELEMENTS(awaited); i++)
        sigaddset(&set, awaited[i]);
    must(sigprocmask(SIG_BLOCK, &set, &before), "sigprocmask");
    must(sigaction(SIGCHLD, &child, NULL), "sigaction"); /* sigwait does not see what is ignored */
    worker = split();
    if (worker == 0) {
        must(setpgid(0, 0), "setpgid");
        for (size_t i = 0; i < ELEMENTS(awaited); i++)
            signal(awaited[i], SIG_DFL); /* what is pending is not lost in a handler that does nothing */
        must(sigprocmask(SIG_SETMASK, &before, NULL), "sigprocmask");
        return;
    }
    setpgid(worker, worker); /* both do it, whoever comes first; to fail is to be late */
    alarm(limit);
    do
        sigwait(&set, &came);
    while (came == SIGCHLD && (gone = must(waitpid(worker, &status, WNOHANG), "waitpid")) == 0); /* not our child */
    if (came == SIGALRM)
        fprintf(stderr, "%s: not done after %u seconds\n", tool, limit);
    if (came != SIGCHLD)
        kill(-worker, grace > 0 ? SIGTERM : SIGKILL);
    end = microseconds() + grace * INT64_C(1000000);
    for (; kill(-worker, 0) == 0 && microseconds() < end; pause_for(10000))
        gone = gone == 0 ? must(waitpid(worker, &status, WNOHANG), "waitpid") : gone;
    left = kill(-worker, SIGKILL) == 0; /* also a worker that does not mind SIGTERM */
    status = gone == 0 ? status_of(worker) : shell_status(status);
    if (left && grace > 0 && came == SIGCHLD) {
        fprintf(stderr, "%s: a process was left behind\n", tool);
        status = 2;
    }
    if (chdir("/") == 0 && workplace[0] != '\0')
        remove_tree(workplace);
    exit(came == SIGCHLD ? status : 128 + came);
}

#endif
