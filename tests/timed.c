/*
 * timed.c - measures a command, or a listener and those who connect to it, for bench.sh.
 *
 *     timed COMMAND                                        one command
 *     timed LISTENER @ CONNECTOR                           a pair; ends when both have ended
 *     timed -k [-n TIMES] [-j JOBS] LISTENER @ CONNECTOR   runs CONNECTOR so often, so many at once, and then ends LISTENER
 *
 * In a command, the words "< FILE" and "> FILE" stand for what they do in a shell, otherwise it reads and writes /dev/null. In
 * its words SLOT stands for a number from 0 to JOBS - 1 that no other connector has at that time, and PORT for the port. A
 * listener whose words have no PORT chooses one itself and tells it on standard error: "listening on ADDRESS port N". For
 * others a free one is chosen, and another if it was taken meanwhile; that they listen is seen in /proc/net/tcp, hence on Linux.
 * No connector is started before that, and the wait is not counted.
 *
 * Prints four numbers: the seconds from the start of the first connector to the end of all; the seconds from the start of
 * the listener; and the largest resident sizes of listener and connector in KiB. For a single command both are its own. No size
 * can be told that is smaller than this program is itself, for each process starts as a copy of it (getrusage(2), ru_maxrss).
 * Exits with 0 if all of them did, 77 if it cannot see who listens, and 1 otherwise. All of them end with this program.
 */
#define _DEFAULT_SOURCE /* wait4 */
#define _XOPEN_SOURCE 700

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { JOBS_MAX = 256, WORDS_MAX = 64, TRIES = 10, LIMIT = 600, CANNOT_SEE = 77, TEXT = 4096 };

extern char **environ;

struct command {
    char **words;               /* ends with NULL */
    const char *input, *output;
    long size;                  /* the largest resident size of any of its processes, in KiB */
};

static volatile pid_t listener, connectors[JOBS_MAX];  /* each leads a process group; 0 if it is none or has ended */
static volatile int said = -1;                          /* the listener's standard error */

/* Ends all processes that are left. Safe in a signal handler. */
static void end_all(void)
{
    for (int i = 0; i <= JOBS_MAX; i++) {
        pid_t pid = i < JOBS_MAX ? connectors[i] : listener; /* last, for the others would complain */
        if (pid > 0) {
            kill(-pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
    }
}

static void stop(int signal_number)
{
    end_all();
    _exit(128 + signal_number);
}

/* Tells what failed, with the first the listener has said, and ends everything. */
static _Noreturn void fail(const char *what, const char *why)
{
    char text[TEXT];
    ssize_t length;

    fprintf(stderr, "timed: %s: %s\n", what, why);
    end_all();
    if (said >= 0 && fcntl(said, F_SETFL, O_NONBLOCK) == 0 && (length = read(said, text, sizeof text)) > 0)
        fwrite(text, 1, (size_t)length, stderr);
    exit(1);
}

static double seconds(void)
{
    struct timespec now;

    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        fail("clock", strerror(errno));
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Writes WORD to TEXT with PORT and SLOT as numbers. */
static void fill(char text[TEXT], const char *word, int port, int slot)
{
    const char *at = strstr(word, "PORT");
    int number = at != NULL ? port : slot;

    if (at == NULL)
        at = strstr(word, "SLOT");
    if (at == NULL)
        snprintf(text, TEXT, "%s", word);
    else
        snprintf(text, TEXT, "%.*s%d%s", (int)(at - word), word, number, at + 4);
}

/* Starts COMMAND in a process group of its own, with standard error as ERROR if that is not -1. Returns its process id.
 * Uses posix_spawn: after fork the copy of this program would count too. */
static pid_t start(const struct command *command, int port, int slot, int error)
{
    static char texts[WORDS_MAX][TEXT];
    char *words[WORDS_MAX + 1];
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    pid_t pid;
    int problem, count = 0;

    for (; count < WORDS_MAX && command->words[count] != NULL; count++) {
        words[count] = texts[count];
        fill(texts[count], command->words[count], port, slot);
    }
    words[count] = NULL;
    if (words[0] == NULL || command->words[count] != NULL)
        fail("a command", "no words, or too many");
    if ((problem = posix_spawn_file_actions_init(&files)) != 0 || (problem = posix_spawnattr_init(&attributes)) != 0 ||
        (problem = posix_spawn_file_actions_addopen(&files, 0, command->input, O_RDONLY, 0)) != 0 ||
        (problem = posix_spawn_file_actions_addopen(&files, 1, command->output, O_WRONLY | O_CREAT | O_TRUNC, 0666)) != 0 ||
        (error >= 0 && (problem = posix_spawn_file_actions_adddup2(&files, error, 2)) != 0) ||
        (problem = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP)) != 0 ||
        (problem = posix_spawnp(&pid, words[0], &files, &attributes, words, environ)) != 0)
        fail(words[0], strerror(problem));
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return pid;
}

/* Takes the redirections out of the words from FIRST to END, which is NULL, and returns what is left as a command. */
static struct command parse(char **first)
{
    struct command command = { .words = first, .input = "/dev/null", .output = "/dev/null" };
    char **to = first;

    for (char **from = first; *from != NULL; from++)
        if (strcmp(*from, "<") == 0 && from[1] != NULL)
            command.input = *++from;
        else if (strcmp(*from, ">") == 0 && from[1] != NULL)
            command.output = *++from;
        else
            *to++ = *from;
    *to = NULL;
    return command;
}

/* Waits for any process to end. Returns which; its success is in *GOOD, and the size of COMMAND grows to its own at
 * least. */
static pid_t finish(pid_t which, struct command *command, bool *good)
{
    struct rusage usage;
    int status;
    pid_t pid;

    while ((pid = wait4(which, &status, 0, &usage)) < 0)
        if (errno != EINTR)
            fail("wait4", strerror(errno));
#ifdef __APPLE__
    usage.ru_maxrss /= 1024; /* bytes there */
#endif
    if (usage.ru_maxrss > command->size)
        command->size = usage.ru_maxrss;
    *good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return pid;
}

static int free_port(void)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&name, length) != 0 || getsockname(fd, (struct sockaddr *)&name, &length) != 0)
        fail("free port", strerror(errno));
    close(fd);
    return ntohs(name.sin_port);
}

/* True if somebody listens on PORT, as the kernel's table FILE says (proc(5), /proc/net/tcp). */
static bool listening(const char *file, int port)
{
    const unsigned listen_state = 10;
    char line[512];
    unsigned at, state;
    bool found = false;
    FILE *table = fopen(file, "r");

    while (table != NULL && !found && fgets(line, sizeof line, table) != NULL)
        found = sscanf(line, "%*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x", &at, &state) == 2 && at == (unsigned)port &&
                state == listen_state;
    if (table != NULL)
        fclose(table);
    return found;
}

/* Starts a listener that is told its port, and waits until it listens. Returns the port. */
static int listen_on_free_port(const struct command *command, int error)
{
    const struct timespec pause = { .tv_nsec = 200000 };

    if (access("/proc/net/tcp", R_OK) != 0)
        exit(CANNOT_SEE);
    for (int try = 0; try < TRIES; try++) {
        int port = free_port();
        listener = start(command, port, 0, error);
        while (waitpid(listener, NULL, WNOHANG) == 0) {
            if (listening("/proc/net/tcp", port) || listening("/proc/net/tcp6", port))
                return port;
            nanosleep(&pause, NULL);
        }
        listener = 0; /* somebody else has taken the port */
    }
    fail(command->words[0], "does not listen");
}

/* Starts a listener that chooses its port, and waits until it tells it. Returns the port. */
static int listen_and_tell(const struct command *command, int error)
{
    char text[TEXT], *at;
    size_t length = 0;
    ssize_t count;
    int port;

    listener = start(command, 0, 0, error);
    close(error);
    while (length < sizeof text - 1 && (count = read(said, text + length, sizeof text - 1 - length)) > 0) {
        length += (size_t)count;
        text[length] = '\0';
        at = strstr(text, "listening on ");
        if (at != NULL && strchr(at, '\n') != NULL && sscanf(at, "listening on %*s port %d", &port) == 1)
            return port;
    }
    fail(command->words[0], "does not say that it listens");
}

/* Runs CONNECTOR TIMES times, JOBS at a time. Returns true if the listener, which is
 * LISTENING_ONE, has ended meanwhile. That any of them fails ends this program. */
static bool connect_all(struct command *connector, int port, int times, int jobs, struct command *listening_one)
{
    struct command any = { .size = 0 };
    bool good, ended = false;

    for (int started = 0, done = 0; done < times;) {
        int slot = 0;
        while (slot < jobs && connectors[slot] != 0)
            slot++;
        if (started < times && slot < jobs) {
            connectors[slot] = start(connector, port, slot, -1);
            started++;
            continue;
        }
        any.size = 0;
        pid_t pid = finish(-1, &any, &good);
        if (!good)
            fail(pid == listener ? listening_one->words[0] : connector->words[0], "failed");
        if (pid == listener) {
            listener = 0, ended = true;
            listening_one->size = any.size;
            continue;
        }
        for (slot = 0; connectors[slot] != pid; slot++)
            ;
        connectors[slot] = 0;
        done++;
        if (any.size > connector->size)
            connector->size = any.size;
    }
    return ended;
}

int main(int argc, char *argv[])
{
    const struct sigaction action = { .sa_handler = stop };
    const int deadly[] = { SIGALRM, SIGHUP, SIGINT, SIGTERM };
    struct command one, other;
    int letter, times = 1, jobs = 1, at, port, channel[2];
    bool keeps = false, good, tells = true;
    double began, first, end;

    while ((letter = getopt(argc, argv, "+kj:n:")) != -1)
        if (letter == 'k')
            keeps = true;
        else if (letter == 'j')
            jobs = atoi(optarg);
        else if (letter == 'n')
            times = atoi(optarg);
        else
            return 2;
    for (at = optind; at < argc && strcmp(argv[at], "@") != 0; at++)
        tells = tells && strstr(argv[at], "PORT") == NULL;
    if (at == optind || at + 1 == argc || jobs < 1 || jobs > JOBS_MAX || (!keeps && times > 1)) {
        fprintf(stderr, "usage: timed COMMAND | [-k [-n TIMES] [-j JOBS]] LISTENER @ CONNECTOR\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        if (sigaction(deadly[i], &action, NULL) != 0)
            fail("sigaction", strerror(errno));
    alarm(LIMIT);

    if (at == argc) {
        one = parse(argv + optind);
        began = first = seconds();
        listener = start(&one, 0, 0, -1);
        finish(listener, &one, &good);
        end = seconds();
        other = one;
    } else {
        argv[at] = NULL;
        one = parse(argv + optind);
        other = parse(argv + at + 1);
        if (pipe(channel) != 0 || fcntl(channel[0], F_SETFD, FD_CLOEXEC) != 0 || fcntl(channel[1], F_SETFD, FD_CLOEXEC) != 0)
            fail("pipe", strerror(errno));
        said = channel[0];
        began = seconds();
        port = tells ? listen_and_tell(&one, channel[1]) : listen_on_free_port(&one, channel[1]);
        first = seconds();
        good = connect_all(&other, port, times, jobs, &one);
        if (keeps) {
            end = seconds();
            kill(-listener, SIGTERM);
            finish(listener, &one, &good);
            good = true;
        } else {
            if (!good)
                finish(listener, &one, &good);
            end = seconds();
        }
    }
    listener = 0;
    if (!good)
        fail(one.words[0], "failed");
    printf("%.6f %.6f %ld %ld\n", end - first, end - began, one.size, other.size);
    return 0;
}
