/*
 * run_pair.c - runs a server and a client together, and keeps what both say and how they end.
 *
 *     run_pair DIRECTORY SERVER @ CLIENT
 *
 * SERVER and CLIENT are commands with their arguments. The client starts once the server listens. PORT stands for the
 * port in their words. A server whose words have no PORT chooses one and tells it on standard error: "listening on
 * ADDRESS port N". Any other server gets a free port, and /proc/net/tcp shows when it listens, so this needs Linux.
 *
 * DIRECTORY is made if it is missing. These files in it are emptied before anything starts: server.out, server.err,
 * client.out, client.err; status, with both exit statuses as a shell has them, or "none" for a client that never
 * started because the server ended first; milliseconds, from the start of the server to the end of both; processor,
 * the milliseconds of processor time that both took. DIRECTORY/got is removed, for a client to make.
 *
 * What still runs GRACE seconds after one of the two has ended gets SIGTERM. Exits with 0 if both ended by themselves
 * within LIMIT seconds, and with 77 if it cannot be seen who listens. However this program ends, what it started ends
 * with it, unless that has left the process group.
 */
#include "tools.h"

#include <sys/resource.h>

enum { LIMIT = 200, GRACE = 30, WORDS_MAX = 64 };

struct command {
    char **words;               /* ends with NULL */
    int out, err;
    pid_t pid;
};

static int port;                /* 0 as long as it is not known */
static FILE *said;              /* the standard error of a server that tells its port there */

/* Starts COMMAND, with the number of the port for PORT. */
static void start(struct command *command)
{
    static char texts[WORDS_MAX][4096]; /* of words that change */
    char *words[WORDS_MAX + 1] = { NULL };

    for (int i = 0; i < WORDS_MAX && command->words[i] != NULL; i++) {
        const char *word = command->words[i], *at = strstr(word, "PORT");
        words[i] = command->words[i];
        if (at != NULL) {
            words[i] = texts[i];
            snprintf(words[i], sizeof texts[i], "%.*s%d%s", (int)(at - word), word, port, at + 4);
        }
    }
    command->pid = start_program(words, STDIN_FILENO, command->out, command->err);
}

/* ---- A server that listens ----------------------------------------------------------------------------------- */

/* Copies what the server says to TO: to the end, or up to the line that tells the port, which is known then. */
static void copy(int to, bool to_the_end)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    while ((to_the_end || port == 0) && (length = getline(&line, &room, said)) > 0) {
        if (port == 0)
            (void)sscanf(line, "%*[^:]: listening on %*s port %d", &port);
        if (write(to, line, (size_t)length) != length)
            die("what the server says");
    }
    free(line);
}

/* Starts a server that chooses its port, and waits until it tells it or ends. */
static void listen_and_tell(struct command *server)
{
    int channel[2], err = server->err;

    make_pipe(channel);
    server->err = channel[1];
    start(server);
    server->err = err;
    must(close(channel[1]), "close");
    said = fdopen(channel[0], "r");
    if (said == NULL)
        die("fdopen");
    copy(err, false);
}

/* Starts a server that is told its port, and waits until it listens or ends. It sets SO_REUSEADDR, as every good server
 * does, and so it can have the port although we keep it (socket(7)). Should it end before the client comes, no other
 * server is given the port, and no client meets a server that is not its own. */
static void listen_on_free_port(struct command *server)
{
    enum { LISTEN = 10 };
    siginfo_t info = { .si_pid = 0 };
    int fd = make_socket(), state;

    set_option(fd, SO_REUSEADDR, 1);
    port = take_port(fd);
    start(server);
    while ((state = state_in_table(port, 0)) != LISTEN && port != 0) {
        if (state < 0)
            exit(NOT_HERE);
        must(waitid(P_PID, (id_t)server->pid, &info, WEXITED | WNOHANG | WNOWAIT), "waitid");
        if (info.si_pid != 0)
            port = 0;
        pause_for(200);
    }
}

/* ---- The run ------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t late;

/* The handler of SIGCHLD: one has ended. */
static void hurry(int signal_number)
{
    (void)signal_number;
    alarm(GRACE);
}

/* The handler of SIGALRM. */
static void end_all(int signal_number)
{
    late = signal_number;
    kill(0, SIGTERM); /* which we ignore ourselves */
}

/* Runs both, and leaves what they said and how they ended in DIRECTORY. Returns the exit status. */
static int run(const char *directory, char **server_words, char **client_words)
{
    static const char *const names[] = { "server.out", "server.err", "client.out", "client.err", "status",
                                         "milliseconds", "processor" };
    const struct sigaction at_end = { .sa_handler = hurry, .sa_flags = SA_RESTART | SA_NOCLDSTOP };
    const struct sigaction too_late = { .sa_handler = end_all, .sa_flags = SA_RESTART };
    char path[PATH_MAX], status[16] = "none";
    const int64_t began = microseconds();
    bool tells = true;
    struct rusage used;
    int fds[ELEMENTS(names)];

    if (mkdir(directory, 0777) != 0 && errno != EEXIST)
        die(directory);
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        fds[i] = open_output(path);
    }
    snprintf(path, sizeof path, "%s/got", directory);
    if (unlink(path) != 0 && errno != ENOENT)
        die(path);
    struct command server = { .words = server_words, .out = fds[0], .err = fds[1] };
    struct command client = { .words = client_words, .out = fds[2], .err = fds[3] };
    signal(SIGTERM, SIG_IGN);
    must(sigaction(SIGCHLD, &at_end, NULL), "sigaction");
    must(sigaction(SIGALRM, &too_late, NULL), "sigaction");

    for (char **word = server_words; *word != NULL; word++)
        tells = tells && strstr(*word, "PORT") == NULL;
    if (tells)
        listen_and_tell(&server);
    else
        listen_on_free_port(&server);
    if (port != 0)
        start(&client);
    if (said != NULL)
        copy(server.err, true);
    if (port != 0)
        snprintf(status, sizeof status, "%d", status_of(client.pid));
    const int served = status_of(server.pid);

    must(getrusage(RUSAGE_CHILDREN, &used), "getrusage");
    const intmax_t processor = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * INTMAX_C(1000) +
                               (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
    if (dprintf(fds[4], "%d %s\n", served, status) < 0 ||
        dprintf(fds[5], "%jd\n", (intmax_t)((microseconds() - began) / 1000)) < 0 ||
        dprintf(fds[6], "%jd\n", processor) < 0)
        die(directory);
    return late != 0;
}

int main(int argc, char *argv[])
{
    int at = 2;

    begin("run_pair");
    while (at < argc && strcmp(argv[at], "@") != 0)
        at++;
    if (at <= 2 || at + 1 >= argc) {
        fprintf(stderr, "usage: run_pair DIRECTORY SERVER @ CLIENT\n");
        return 2;
    }
    argv[at] = NULL;
    for (int fd = STDERR_FILENO + 1; fd < 64; fd++)
        close(fd); /* both print the numbers of their descriptors: let them find none but the standard ones */
    supervise(LIMIT, 0);
    return run(argv[1], argv + 2, argv + at + 1);
}
