/*
 * run_pair.c - runs a server and a client together: for the tests, the demonstration and the benchmark.
 *
 *     run_pair DIRECTORY SERVER @ CLIENT                       keeps what both say and how they end
 *     run_pair -t COMMAND                                      measures one command
 *     run_pair -t SERVER @ CLIENT                              measures both, to the end of both
 *     run_pair -t -k TIMES [-j JOBS] SERVER @ CLIENT           runs CLIENT so often, so many at once, and then ends SERVER
 *
 * SERVER, CLIENT and COMMAND are programs with their arguments. No client starts before the server listens. In their
 * words PORT stands for the port, and SLOT for a number from 0 to JOBS - 1 that no other client has at that time, where
 * no letter stands beside it. A server whose words have no PORT chooses one and tells it on standard error: "listening
 * on ADDRESS port N". For others a free one is chosen, and /proc/net/tcp shows when they listen, hence on Linux only.
 *
 * The first form makes DIRECTORY if it is not there, and writes there server.out, server.err, server.status, the same
 * of the client, status, one line with both statuses, and milliseconds, from the start of the server to the end of
 * both. All are emptied before anything starts, and DIRECTORY/got is removed, for a client to make. A status is what
 * the shell would say; "none" for a client that never started because the server ended first. What is left GRACE
 * seconds after one of the two has ended is told to end (SIGTERM). Exits with 0 when both have ended by themselves,
 * within LIMIT seconds.
 *
 * In the other forms "< FILE" and "> FILE" do what they do in a shell; without them it is /dev/null. They print two
 * numbers of seconds: from the start of the first client, or of COMMAND, to the end of all; and processor time, user
 * and system, of all that was started and waited for. Exit with 0 if all ended with 0, 77 if it cannot be seen who
 * listens, 1 otherwise.
 *
 * However this program ends, everything it started ends with it, unless it has left the process group.
 */
#include "tools.h"

#include <ctype.h>
#include <sys/resource.h>

enum { LIMIT = 200, GRACE = 15, LIMIT_TIMED = 900, JOBS_MAX = 256, WORDS_MAX = 64, CANNOT_SEE = 77 };

struct command {
    char **words;               /* ends with NULL */
    int in, out, err;
    pid_t pid;                  /* of the one started last */
};

static bool timing;             /* -t */
static int port;                /* 0 as long as it is not known */
static FILE *said;              /* the standard error of a server that tells its port there */

/* Returns the first place in WORD where NAME stands without a letter beside it, or NULL. */
static const char *find(const char *word, const char *name)
{
    const char *at = strstr(word, name);

    while (at != NULL && ((at > word && isalpha((unsigned char)at[-1])) || isalpha((unsigned char)at[strlen(name)])))
        at = strstr(at + 1, name);
    return at;
}

/* Starts COMMAND, with numbers for PORT and SLOT. */
static void start(struct command *command, int slot)
{
    static char texts[WORDS_MAX][4096]; /* of words that change */
    char *words[WORDS_MAX + 1] = { NULL };

    for (int i = 0; i < WORDS_MAX && command->words[i] != NULL; i++) {
        const char *word = command->words[i], *at = find(word, "PORT");
        int number = at != NULL ? port : slot;
        words[i] = command->words[i];
        if (at != NULL || (at = find(word, "SLOT")) != NULL) {
            words[i] = texts[i];
            snprintf(words[i], sizeof texts[i], "%.*s%d%s", (int)(at - word), word, number, at + 4);
        }
    }
    command->pid = start_program(words, command->in, command->out, command->err);
}

/* ---- A server that listens ----------------------------------------------------------------------------------- */

/* Copies what the server says to TO: to the end, or up to the line that tells the port, which becomes known. That line
 * is not copied when we measure: nobody keeps it then. */
static void copy(int to, bool to_the_end)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    while ((to_the_end || port == 0) && (length = getline(&line, &room, said)) > 0) {
        if (port == 0 && sscanf(line, "%*[^:]: listening on %*s port %d", &port) == 1 && timing)
            break;
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
    start(server, 0);
    server->err = err;
    must(close(channel[1]), "close");
    said = fdopen(channel[0], "r");
    if (said == NULL)
        die("fdopen");
    copy(err, false);
}

/* True if somebody listens on the port of an IPv4 address, as the kernel's table says (proc(5), /proc/net/tcp). */
static bool listening(void)
{
    char wanted[32], line[512];
    bool found = false;
    FILE *table = fopen("/proc/net/tcp", "r");

    if (table == NULL)
        exit(CANNOT_SEE);
    snprintf(wanted, sizeof wanted, ":%04X ", (unsigned)port);
    while (!found && fgets(line, sizeof line, table) != NULL) {
        const char *at = strstr(line, wanted); /* our port, then another end of zeros, and state 0A: LISTEN */
        found = at != NULL && strncmp(at + 6, "00000000:0000 0A", 16) == 0;
    }
    fclose(table);
    return found;
}

/* Starts a server that is told its port, and waits until it listens or ends. With -t it may be any server. Otherwise it
 * sets SO_REUSEADDR, as we do, so that it can have the port although we keep it (socket(7)): should it end before the
 * client comes, no other server is given the port, and none meets a client that is not its own. */
static void listen_on_free_port(struct command *server)
{
    siginfo_t info = { .si_pid = 0 };
    int fd = make_socket(), on = 1;

    must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "SO_REUSEADDR");
    port = take_port(fd);
    if (timing)
        close(fd);
    start(server, 0);
    while (!listening() && port != 0) {
        must(waitid(P_PID, (id_t)server->pid, &info, WEXITED | WNOHANG | WNOWAIT), "waitid");
        if (info.si_pid != 0)
            port = 0;
        pause_for(200);
    }
}

/* ---- The run ------------------------------------------------------------------------------------------------- */

/* Runs SERVER and then CLIENT TIMES times, JOBS at a time. KEEPS tells that SERVER goes on after that. Returns the
 * status of the last client that failed, or 0; -1 if none could be started. *FIRST is when the first was. */
static int run(struct command *server, struct command *client, int times, int jobs, bool keeps, int64_t *first)
{
    pid_t pids[JOBS_MAX] = { 0 };
    int failed = 0, status;
    bool tells = true;

    for (char **word = server->words; *word != NULL; word++)
        tells = tells && find(*word, "PORT") == NULL;
    if (tells)
        listen_and_tell(server);
    else
        listen_on_free_port(server);
    *first = microseconds();
    for (int i = 0; port != 0 && i < times + jobs; i++) {
        pid_t *pid = &pids[i % jobs];
        if (*pid != 0 && (status = status_of(*pid)) != 0)
            failed = status;
        *pid = 0;
        if (i < times) {
            start(client, i % jobs);
            *pid = client->pid;
        }
        if (said != NULL && !keeps) /* what it says must not keep the server waiting */
            copy(server->err, true);
    }
    return port != 0 ? failed : -1;
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Runs what was asked for with -t and prints the figures. Returns the exit status. */
static int measure(struct command *server, struct command *client, int times, int jobs)
{
    int64_t first = microseconds(), end;
    bool keeps = times > 0;
    struct rusage used;
    int status = 0, served;

    if (client->words == NULL)
        start(server, 0);
    else
        status = run(server, client, keeps ? times : 1, jobs, keeps, &first);
    end = microseconds();
    if (keeps)
        must(kill(server->pid, SIGTERM), "kill"); /* at least its zombie is there */
    served = status_of(server->pid);
    if (!keeps)
        end = microseconds();
    if (status != 0 || (served != 0 && !keeps)) {
        fprintf(stderr, "run_pair: %s: status %d, %s: status %d\n", server->words[0], served,
                client->words != NULL ? client->words[0] : "-", status);
        return 1;
    }
    must(getrusage(RUSAGE_CHILDREN, &used), "getrusage");
    printf("%.6f %.6f\n", (double)(end - first) / 1e6, seconds(used.ru_utime) + seconds(used.ru_stime));
    return 0;
}

/* Takes the redirections out of the words from FIRST to the NULL. Returns what is left as a command. */
static struct command redirected(char **first)
{
    int null = must(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    struct command command = { .words = first, .in = null, .out = null, .err = STDERR_FILENO };
    char **to = first;

    for (char **from = first; *from != NULL; from++)
        if (strcmp(*from, "<") == 0 && from[1] != NULL) {
            command.in = must(open(from[1], O_RDONLY | O_CLOEXEC), from[1]);
            from++;
        } else if (strcmp(*from, ">") == 0 && from[1] != NULL)
            command.out = open_output(*++from);
        else
            *to++ = *from;
    *to = NULL;
    return command;
}

/* The handler of SIGCHLD: one has ended. */
static void hurry(int signal_number)
{
    (void)signal_number;
    alarm(GRACE);
}

static volatile sig_atomic_t late;

/* The handler of SIGALRM. */
static void end_all(int signal_number)
{
    late = signal_number;
    kill(0, SIGTERM); /* which we ignore ourselves */
}

/* Runs both in the first form, and leaves what they said and how they ended in DIRECTORY. */
static int keep(const char *directory, char **server_words, char **client_words)
{
    static const char *const names[] = { "server.out", "server.err", "client.out", "client.err", "server.status",
                                         "client.status", "status", "milliseconds" };
    const struct sigaction at_end = { .sa_handler = hurry, .sa_flags = SA_RESTART | SA_NOCLDSTOP };
    const struct sigaction too_late = { .sa_handler = end_all, .sa_flags = SA_RESTART };
    char path[PATH_MAX], status[16] = "none";
    int64_t began = microseconds(), first;
    int fds[ELEMENTS(names)], servers, clients;

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
    clients = run(&server, &client, 1, 1, false, &first);
    servers = status_of(server.pid);
    if (clients >= 0)
        snprintf(status, sizeof status, "%d", clients);
    if (dprintf(fds[4], "%d\n", servers) < 0 || dprintf(fds[5], "%s\n", status) < 0 ||
        dprintf(fds[6], "%d %s\n", servers, status) < 0 ||
        dprintf(fds[7], "%jd\n", (intmax_t)((microseconds() - began) / 1000)) < 0)
        die(directory);
    return late != 0;
}

int main(int argc, char *argv[])
{
    struct command server, client = { .words = NULL };
    int letter, times = 0, jobs = 1, at;

    begin("run_pair");
    while ((letter = getopt(argc, argv, "+j:k:t")) != -1)
        switch (letter) {
        case 'j': jobs = atoi(optarg); break;
        case 'k': times = atoi(optarg); break;
        case 't': timing = true; break;
        default: return 2;
        }
    if (!timing)
        optind++; /* the directory */
    for (at = optind; at < argc && strcmp(argv[at], "@") != 0;)
        at++;
    if (at <= optind || at + 1 == argc || (at >= argc && !timing) || jobs < 1 || jobs > JOBS_MAX || times < 0 ||
        (times > 0 && !timing)) {
        fprintf(stderr, "usage: run_pair DIRECTORY SERVER @ CLIENT |\n"
                        "       run_pair -t COMMAND | run_pair -t [-k TIMES] [-j JOBS] SERVER @ CLIENT\n");
        return 2;
    }
    argv[at] = NULL;
    for (int fd = STDERR_FILENO + 1; fd < 64; fd++)
        close(fd); /* both print the numbers of their descriptors: let them find none but the standard ones */
    supervise(timing ? LIMIT_TIMED : LIMIT);
    if (!timing)
        return keep(argv[optind - 1], argv + optind, argv + at + 1);
    server = redirected(argv + optind);
    if (at < argc)
        client = redirected(argv + at + 1);
    return measure(&server, &client, times, jobs);
}
