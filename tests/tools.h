/*
 * tools.h - what the test programs of this directory share: how one fails, draws numbers, reads the clock, handles
 * files, starts other programs, and leaves nothing behind.
 *
 * Include it first: it chooses what the system headers show. With CHECKS defined it also has what kill.c and torture.c
 * share. Nothing in here is needed to build or run the pair.
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

/* Returns the next number of a sequence that is the same on every machine (splitmix64, Steele, Lea and Flood 2014).
 * Every STATE is a good one to begin with. */
static inline uint64_t draw(uint64_t *state)
{
    uint64_t mixed = *state += 0x9e3779b97f4a7c15;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    return mixed ^ mixed >> 31;
}

/* Returns a seed that differs from run to run, short enough to type. */
static inline uint64_t any_seed(void)
{
    return ((uint64_t)time(NULL) * 1000 + (uint64_t)getpid()) % 1000000;
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

/* Makes a directory under TMPDIR or /tmp, puts its name into workplace and goes there. Whoever calls sees to its
 * end, with remove_tree or supervise. */
static inline void make_workplace(void)
{
    const char *parent = getenv("TMPDIR");

    snprintf(workplace, sizeof workplace, "%s/%s.XXXXXX", parent != NULL ? parent : "/tmp", tool);
    if (mkdtemp(workplace) == NULL || chdir(workplace) != 0)
        die(workplace);
}

/* Makes the file NAME of the LENGTH bytes of CONTENT, in place of what it held. */
static inline void put_file(const char *name, const void *content, size_t length)
{
    FILE *file = fopen(name, "w");

    if (file == NULL || fwrite(content, 1, length, file) != length || fclose(file) != 0)
        die(name);
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

/* Returns what is in the file NAME as a string, good until the next call. No file is an empty string. */
static inline const char *text_of(const char *name)
{
    static char text[1 << 22];

    get_file(name, text, sizeof text);
    return text;
}

/* Returns how often TEXT stands in the file NAME. */
static inline int count(const char *name, const char *text)
{
    int times = 0;

    for (const char *place = text_of(name); (place = strstr(place, text)) != NULL; place += strlen(text))
        times++;
    return times;
}

/* Waits until TEXT stands in the file NAME so many TIMES. Returns false if it does not within a minute: only what is
 * broken takes so long. */
static inline bool wait_for_text(const char *name, const char *text, int times)
{
    for (int64_t until = microseconds() + 60 * INT64_C(1000000); count(name, text) < times; pause_for(2000))
        if (microseconds() > until)
            return false;
    return true;
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

/* Binds FD to a port that the kernel chooses. Returns its number. */
static inline int take_port(int fd)
{
    struct sockaddr_in name = local_address(0);
    socklen_t length = sizeof name;

    must(bind(fd, (struct sockaddr *)&name, length), "bind");
    must(getsockname(fd, (struct sockaddr *)&name, &length), "getsockname");
    return ntohs(name.sin_port);
}

/* Returns an address of this machine that is for this process alone, where there is more than one: no server of another
 * process can come to listen there, and none meets a client whose own server has ended. */
static inline const char *own_address(void)
{
    static char text[32] = "127.0.0.1";

#ifdef __linux__ /* all of 127.0.0.0/8 is this machine */
    const long id = (long)getpid();
    snprintf(text, sizeof text, "127.%ld.%ld.%ld", 1 + id / 62500 % 250, id / 250 % 250, 1 + id % 250);
#endif
    return text;
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

/* Starts the program WORDS[0], found as a shell finds it, with these three descriptors. A signal that whoever
 * started us ignores does what it does by default there. Returns its process id. */
static inline pid_t start_program(char *const words[], int in, int out, int err)
{
    static const int normal[] = { SIGALRM, SIGHUP, SIGINT, SIGPIPE, SIGTERM };
    pid_t pid = split();

    if (pid != 0)
        return pid;
    for (size_t i = 0; i < ELEMENTS(normal); i++)
        signal(normal[i], SIG_DFL);
    if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
        execvp(words[0], words);
    dprintf(STDERR_FILENO, "%s: %s\n", words[0], strerror(errno));
    _exit(127);
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

static inline void wake_sigwait(int signal_number)
{
    (void)signal_number;
}

/* Divides this program in two. The one that returns does the work, as the leader of a process group to which all it
 * starts belong. The other one waits for its end, for SIGHUP, SIGINT or SIGTERM, or for SECONDS, then kills what is
 * left of the group, removes the workplace, and ends with the worker's exit status, or with 128 and the signal. */
static inline void supervise(unsigned seconds)
{
    static const int awaited[] = { SIGHUP, SIGINT, SIGTERM, SIGALRM, SIGCHLD };
    const struct sigaction child = { .sa_handler = wake_sigwait, .sa_flags = SA_NOCLDSTOP };
    sigset_t set, before;
    int came, status;
    pid_t worker;

    sigemptyset(&set);
    for (size_t i = 0; i < ELEMENTS(awaited); i++)
        sigaddset(&set, awaited[i]);
    must(sigprocmask(SIG_BLOCK, &set, &before), "sigprocmask");
    must(sigaction(SIGCHLD, &child, NULL), "sigaction"); /* sigwait does not see what is ignored */
    worker = split();
    if (worker == 0) {
        must(setpgid(0, 0), "setpgid");
        signal(SIGCHLD, SIG_DFL);
        must(sigprocmask(SIG_SETMASK, &before, NULL), "sigprocmask");
        return;
    }
    setpgid(worker, worker); /* both do it, whoever comes first; to fail is to be late */
    alarm(seconds);
    sigwait(&set, &came);
    if (came == SIGALRM)
        fprintf(stderr, "%s: not done after %u seconds\n", tool, seconds);
    if (came != SIGCHLD)
        kill(-worker, SIGKILL);
    status = status_of(worker);
    kill(-worker, SIGKILL); /* what the worker has started and left */
    if (chdir("/") == 0 && workplace[0] != '\0')
        remove_tree(workplace);
    exit(came == SIGCHLD ? status : 128 + came);
}

#ifdef CHECKS /* ---- What kill.c and torture.c share ------------------------------------------------------------- */

static char this_test[1024];            /* what is being tested, or how to repeat it */
static int passed, failed;              /* checks */
static int complaints;                  /* checks of this test that failed */

/* Counts a check, and says what is wrong if TRUTH is false, the first time with the name of the test. */
__attribute__((format(printf, 2, 3)))
static inline void check(bool truth, const char *format, ...)
{
    va_list arguments;

    *(truth ? &passed : &failed) += 1;
    if (truth)
        return;
    if (complaints++ == 0)
        printf("FAILED: %s: %s\n", tool, this_test);
    printf("    ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* From here on, checks are about what FORMAT says. */
__attribute__((format(printf, 1, 2)))
static inline void begin_test(const char *format, ...)
{
    va_list arguments;

    must(fflush(stdout), "standard output"); /* now, should this test hang */
    complaints = 0;
    va_start(arguments, format);
    vsnprintf(this_test, sizeof this_test, format, arguments);
    va_end(arguments);
}

/* Says every five seconds how far we are: DONE of ALL runs, some of which were BROKEN. */
static inline void tell_progress(int done, int all, int broken)
{
    static int64_t began, told;
    const int64_t now = microseconds();

    if (began == 0)
        began = told = now;
    if (now - told < 5000000)
        return;
    told = now;
    printf("%s: %d of %d done, %d broken, %d s left\n", tool, done, all, broken,
           (int)((now - began) / done * (all - done) / 1000000));
    must(fflush(stdout), "standard output");
}

/* Fills the LENGTH BYTES with what SEED decides, no two pieces of which are alike. */
static inline void draw_bytes(char *bytes, size_t length, uint64_t seed)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (char)draw(&seed);
}

/* True if the file NAME holds exactly the LENGTH bytes of CONTENT, 4 MiB at most. */
static inline bool holds(const char *name, const void *content, size_t length)
{
    static char text[(4 << 20) + 2]; /* a byte more than it may be, and a NUL */

    return get_file(name, text, sizeof text) == (ssize_t)length && memcmp(text, content, length) == 0;
}

/* Returns how many files in DIRECTORY have none of the KNOWN names, which stand between spaces. */
static inline int strangers(const char *directory, const char *known)
{
    DIR *here = opendir(directory);
    char name[260];
    int found = 0;

    if (here == NULL)
        die(directory);
    for (struct dirent *entry; (entry = readdir(here)) != NULL;) {
        snprintf(name, sizeof name, " %s ", entry->d_name);
        found += strcmp(name, " . ") != 0 && strcmp(name, " .. ") != 0 && strstr(known, name) == NULL;
    }
    closedir(here);
    return found;
}

/* The two programs of a run, and what we hear from them. */
enum { SERVER, CLIENT, RUN_LIMIT = 60 /* seconds; a run that takes longer hangs */ };
static const char *const side_names[] = { "server", "client" };
static struct program {
    char path[PATH_MAX];
    volatile pid_t pid;                 /* 0 when there is none; read by the handler of SIGALRM */
    FILE *outputs[2];                   /* where we read its standard output and its standard error, or NULL */
    char text[2][8192];                 /* what came from them */
    int status;                         /* as a shell would say */
} pair[2];
static volatile sig_atomic_t hangs;     /* this run took too long, and was broken off */

static inline void find_program(int side, const char *name)
{
    if (realpath(name, pair[side].path) == NULL)
        die(name);
}

/* The handler of SIGALRM. The end of both programs ends every wait. */
static inline void break_off(int signal_number)
{
    (void)signal_number;
    hangs = 1;
    for (int side = SERVER; side <= CLIENT; side++)
        if (pair[side].pid > 0)
            kill(pair[side].pid, SIGKILL);
}

/* Starts the program of SIDE with the WORDS after the first, which is its path. We hear its standard error, and, if
 * OUT is -1, its standard output. With the server a run begins, which is broken off if it hangs. */
static inline void start_side(int side, const char *words[], int in, int out)
{
    const struct sigaction action = { .sa_handler = break_off, .sa_flags = SA_RESTART };
    struct program *program = &pair[side];
    int ends[2], given[] = { out, -1 };

    if (side == SERVER) {
        hangs = 0;
        must(sigaction(SIGALRM, &action, NULL), "sigaction");
        alarm(RUN_LIMIT);
    }
    words[0] = program->path;
    for (int i = 0; i < 2; i++) {
        program->text[i][0] = '\0';
        program->outputs[i] = NULL;
        if (given[i] >= 0)
            continue;
        make_pipe(ends);
        given[i] = ends[1];
        program->outputs[i] = fdopen(ends[0], "r");
        if (program->outputs[i] == NULL)
            die("fdopen");
    }
    program->pid = start_program((char *const *)words, in, given[0], given[1]);
    for (int i = 0; i < 2; i++)
        if (program->outputs[i] != NULL)
            close(given[i]);
}

/* Reads what the program of SIDE says on OUTPUT, 0 or 1, up to the line with TEXT, or, if that is NULL, to the end.
 * Neither ever has to wait for us: all that it says fits into the pipe. */
static inline void hear(int side, int output, const char *text)
{
    const size_t room = sizeof pair[side].text[output];
    char *heard = pair[side].text[output];
    size_t length = strlen(heard);

    while ((text == NULL || strstr(heard, text) == NULL) && length < room - 1 &&
           fgets(heard + length, (int)(room - length), pair[side].outputs[output]) != NULL)
        length += strlen(heard + length);
}

/* Waits until the server tells its ADDRESS and PORT. Returns false if it ends before. */
static inline bool hear_port(char address[64], char port[8])
{
    const char *line;

    hear(SERVER, 1, "listening on ");
    line = strstr(pair[SERVER].text[1], "server: listening on ");
    return line != NULL && strchr(line, '\n') != NULL &&
           sscanf(line, "server: listening on %63s port %7[0-9]", address, port) == 2;
}

/* Hears the program of SIDE out and waits for its end. The run ends with the server. */
static inline void finish(int side)
{
    struct program *program = &pair[side];

    for (int i = 0; i < 2; i++)
        if (program->outputs[i] != NULL) {
            hear(side, i, NULL);
            fclose(program->outputs[i]);
        }
    program->status = status_of(program->pid);
    program->pid = 0;
    if (side == SERVER)
        alarm(0);
}

/* True if the program of SIDE has said on standard error why it failed, or, if its status is 0, that it has nothing
 * or one thing to say: one line in its name. The line that tells the port may be there, too, and those of the
 * trace, which begin with the time of day, and, if ELSE_TOO, any others. */
static inline bool explains(int side, bool else_too)
{
    char start[16], digit[2];
    int messages = 0;

    snprintf(start, sizeof start, "%s: ", side_names[side]);
    for (const char *line = pair[side].text[1], *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        if (end == NULL)
            return false;
        if (strncmp(line, start, strlen(start)) == 0)
            messages += strncmp(line, "server: listening on ", 21) != 0;
        else if (!else_too && sscanf(line, "%1[0-9]", digit) != 1)
            return false;
    }
    return messages == 1 || (messages == 0 && pair[side].status == 0);
}

/* Checks how both have ended, but for that side, if not -1, which was KILLED, or was not to run. */
static inline void check_ends(int killed, bool else_too)
{
    check(!hangs, "not over within %d seconds", RUN_LIMIT);
    for (int side = SERVER; side <= CLIENT; side++) {
        const int status = pair[side].status;
        check(side == killed || ((status == 0 || status == 1) && explains(side, else_too)),
              "the %s ended with status %d and says:\n%s", side_names[side], status, pair[side].text[1]);
    }
}

/* What a destination that exists holds before the run. */
static const char old_content[] = "what was there before\n";

/* Checks the file NAME, which EXISTED before, and into which the LENGTH bytes of CONTENT were to be put. Returns
 * whether they are in it. */
static inline bool check_destination(const char *name, const void *content, size_t length, bool existed)
{
    const bool whole = holds(name, content, length);
    const bool untouched = existed ? holds(name, old_content, sizeof old_content - 1) : access(name, F_OK) != 0;
    const int status = pair[CLIENT].status;

    check(status == 0 ? whole : status == 1 ? untouched : whole || untouched,
          "after the client's status %d, the file is %s", status,
          whole ? "what was sent" : untouched ? "what it was before" : "something else");
    return whole;
}

#endif
#endif
