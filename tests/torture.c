/*
 * torture.c - makes every call of server and client fail that may fail, one in each run, and checks that the promises hold:
 *
 *     torture [-j RUNS] [-s STEP] SERVER CLIENT       all of them, RUNS at a time (4), or each STEP-th (1)
 *     torture -o 'new client fsync 1 EIO' SERVER CLIENT     only this one, and shows what both programs say
 *
 * SERVER and CLIENT are compiled with faults.h, which does the failing. Each setup is run once undisturbed, which yields the
 * list of calls, and then once for each call of either side and each of its failures. Whatever fails, after the run:
 *
 *  - both programs have ended by themselves, in time, with status 0 or 1;
 *  - client 0: the destination is the file, byte for byte; client 1: it is what it was before, and nothing else is left
 *    behind either (a pipe got a beginning of the file);
 *  - server 0 only if client 0;
 *  - with status 1 a program has said why in exactly one line, naming the error if that came from the call;
 *  - the program that was hit has closed every descriptor, once, and with status 0 freed every list of addresses;
 *  - after a failure marked ! (a write, a flush, a rename) the server ends with 1;
 *  - a failure marked + (an interrupted call, a short count) has not disturbed anything: both end with 0.
 *
 * Each promise that was broken is printed with the command that repeats the run.
 */
#define _XOPEN_SOURCE 700 /* realpath, besides POSIX.1-2008 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LIMIT = 15 };                            /* seconds that a run may take; each wait of the programs is 2 at most (-t) */
enum { LARGE = 150000, SMALL = 4000 };          /* bytes: a file of three blocks, and what fits into every pipe */
enum { SERVER, CLIENT };                        /* the sides */
enum { TEXT_MAX = 8192, CASES_MAX = 16384, OPTIONS = 4, WORKERS_MAX = 64 };

static const char before[] = "what was there before\n";
static const char *const side_names[] = { "server", "client" };

/* A way to run the two. Every destination may be asked for: link leads to log.txt, fifo is a FIFO. */
static const struct setup {
    const char *name;
    const char *source, *destination;           /* the operands of server and client */
    size_t length;                              /* of the source */
    bool exists;                                /* log.txt, before the run */
    const char *options[2][OPTIONS];            /* of each side, besides -p and -t */
} setups[] = {
    { "new", "../large", "log.txt", LARGE, false, { { "-b", "0" }, { "-b", "0" } } },
    { "replace", "../large", "log.txt", LARGE, true, { { "-b", "64K" }, { "-b", "64K" } } },
    { "link", "../small", "link", SMALL, true, { { NULL }, { NULL } } },
    { "fifo", "../large", "fifo", LARGE, true, { { "-b", "0" }, { "-b", "0" } } },
    { "output", "../large", "-", LARGE, true, { { "-b", "0" }, { "-b", "0" } } },
    { "input", "/dev/stdin", "log.txt", SMALL, true, { { NULL }, { NULL } } },
    { "trace", "../small", "log.txt", SMALL, true, { { "-v" }, { "-v" } } },
    { "names", "../small", "log.txt", SMALL, true, { { "-a", "localhost" }, { "-a", "localhost" } } },
    { "second", "../small", "log.txt", SMALL, false, { { "-a", "127.0.0.1" }, { "-a", "localhost" } } },
};
enum { SETUPS = sizeof setups / sizeof setups[0] };

/* One call to fail. */
static struct fault {
    const struct setup *setup;
    int side;
    char call[32];
    int number;                                 /* of the calls of that name, from 1 */
    char failure[32];                           /* as faults.h calls it, with its + */
} cases[CASES_MAX];
static int cases_count;

/* What one run came to. */
static struct outcome {
    bool timed_out;
    int status[2];                              /* as the shell would say */
    char said[2][TEXT_MAX];                     /* on standard error */
    char book[2][TEXT_MAX * 8];                 /* what faults.h noted */
    size_t delivered_length;
    char delivered[LARGE + 1];                  /* what came out of the pipe or FIFO; a byte more than it should be */
} outcome;

static struct tally { int runs, failed, broken; } tally; /* runs, those with a failed call, those that broke a promise */

static char content[LARGE];                     /* of the source, or its beginning */
static char programs[2][PATH_MAX], top[PATH_MAX];
static char host[32] = "127.0.0.1";             /* the worker's own, so that it never meets another one's server or client */
static volatile sig_atomic_t interrupted;
static volatile pid_t children[WORKERS_MAX];             /* to be taken along: the workers of the parent, the programs of a worker */

/* Ends what this process has started, and a worker itself. The parent goes on, to clean up. */
static void stop(int signal_number)
{
    interrupted = signal_number;
    for (size_t i = 0; i < sizeof children / sizeof children[0]; i++)
        if (children[i] > 0)
            kill(children[i], SIGTERM);
}

static _Noreturn void die(const char *what)
{
    perror(what);
    stop(SIGTERM);
    exit(3);
}

/* Puts LENGTH bytes into the file NAME. */
static void put(const char *name, const char *bytes, size_t length)
{
    FILE *file = fopen(name, "w");

    if (file == NULL || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        die(name);
}

/* Reads at most ROOM - 1 bytes of the file NAME into TEXT, and a NUL. Returns how many, or -1 if there is no such
 * file. */
static ssize_t get(const char *name, char *text, size_t room)
{
    FILE *file = fopen(name, "r");
    size_t length = 0;

    if (file != NULL) {
        length = fread(text, 1, room - 1, file);
        fclose(file);
    }
    text[length] = '\0';
    return file == NULL ? -1 : (ssize_t)length;
}

/* Removes what is in directory PATH. If FORGIVEN is not NULL, only looks, and returns the first name that is not among
 * FORGIVEN, or NULL. */
static const char *sweep(const char *path, const char *forgiven)
{
    static char found[PATH_MAX];
    DIR *directory = opendir(path);
    struct dirent *entry;

    found[0] = '\0';
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char name[PATH_MAX];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (forgiven != NULL && strstr(forgiven, entry->d_name) == NULL)
            snprintf(found, sizeof found, "%s", entry->d_name);
        if (forgiven == NULL && snprintf(name, sizeof name, "%s/%s", path, entry->d_name) < PATH_MAX)
            unlink(name);
    }
    if (directory != NULL)
        closedir(directory);
    return found[0] != '\0' ? found : NULL;
}

/* Appends what FD has now to TEXT, which is LENGTH bytes long and has ROOM. Returns false at its end. */
static bool collect(int fd, char *text, size_t *length, size_t room)
{
    ssize_t count = read(fd, text + *length, room - 1 - *length);

    if (count > 0)
        *length += (size_t)count;
    return count > 0 || (count < 0 && (errno == EAGAIN || errno == EINTR));
}

/* Finds what the server has said about its ADDRESS and PORT. Returns false if it has not yet. */
static bool told_port(char address[64], char port[8])
{
    const char *words = strstr(outcome.said[SERVER], "server: listening on ");

    return words != NULL && strchr(words, '\n') != NULL &&
           sscanf(words, "server: listening on %63s port %7[0-9]", address, port) == 2;
}

/* Returns whether the client, which has ended, has called connect with an address of the family of ADDRESS. */
static bool has_connected(const char *address)
{
    static char book[sizeof outcome.book[CLIENT]];
    char name[64];

    snprintf(name, sizeof name, "../client.%ld", (long)getpid());
    get(name, book, sizeof book);
    return strstr(book, strchr(address, ':') != NULL ? "connects IPv6" : "connects IPv4") != NULL;
}

/* Connects to the server and leaves again, so that it need not wait for a client that has failed before. This port is
 * its own as long as nobody has connected; later another run may have it. */
static void dismiss_server(const char *address, const char *port)
{
    const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
    struct addrinfo *where;

    if (getaddrinfo(address, port, &hints, &where) != 0)
        return;
    int fd = socket(where->ai_family, where->ai_socktype, where->ai_protocol);
    if (fd >= 0) {
        (void)connect(fd, where->ai_addr, where->ai_addrlen);
        close(fd);
    }
    freeaddrinfo(where);
}

/* Makes the current directory ready for a run of SETUP: link and fifo, and log.txt if it is to exist. */
static void prepare(const struct setup *setup)
{
    sweep(".", NULL);
    if (setup->exists)
        put("log.txt", before, sizeof before - 1);
    if (symlink("log.txt", "link") != 0 || mkfifo("fifo", 0600) != 0)
        die("cannot prepare a run");
}

/* Starts the program of SIDE as SETUP says, on PORT, with INPUT, OUTPUT and ERROR as standard descriptors. FAULT is for
 * faults.h: NULL has it list the calls. */
static void start(const struct setup *setup, int side, const char *port, const char *fault, int input, int output,
                  int error)
{
    const char *arguments[OPTIONS + 10] = { programs[side], "-t", "2", "-p", port, "-a", host };
    char book[64];
    int n = 7;
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    children[side] = pid;
    if (pid > 0)
        return;
    for (const char *const *option = setup->options[side]; *option != NULL; option++)
        arguments[n++] = *option;
    arguments[n] = side == SERVER ? setup->source : setup->destination;
    snprintf(book, sizeof book, "../%s.%ld", side_names[side], (long)getppid());
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(error, 2) < 0 || setenv("FAULT_BOOK", book, 1) != 0 ||
        (fault == NULL ? unsetenv("FAULT") : setenv("FAULT", fault, 1)) != 0)
        _exit(126);
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    execv(programs[side], (char *const *)arguments);
    _exit(127);
}

/* Waits for the program of SIDE, if it was started, and notes its status and its book. */
static void finish(int side)
{
    int result = 1 << 8; /* a client that had no server to go to has not got the file either */
    char book[64];

    if (children[side] > 0 && outcome.timed_out)
        kill(children[side], SIGKILL);
    while (children[side] > 0 && waitpid(children[side], &result, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    children[side] = 0;
    outcome.status[side] = WIFEXITED(result) ? WEXITSTATUS(result) : 128 + WTERMSIG(result);
    snprintf(book, sizeof book, "../%s.%ld", side_names[side], (long)getpid());
    get(book, outcome.book[side], sizeof outcome.book[side]);
    unlink(book);
}

/* Runs the two as SETUP says, in the current directory, with FAULT for the program of SIDE. Leaves in outcome what it
 * came to. The client is started when the server has told its port. */
static void run(const struct setup *setup, int side, const char *fault)
{
    int words[2][2], input[2], null = open("/dev/null", O_RDWR), from, to;
    size_t length[2] = { 0, 0 }, *delivered = &outcome.delivered_length;
    time_t until = time(NULL) + LIMIT;
    char address[64], port[8];

    prepare(setup);
    memset(&outcome, 0, offsetof(struct outcome, delivered));
    from = open("fifo", O_RDONLY | O_NONBLOCK);
    to = open("fifo", O_WRONLY); /* held open: the FIFO does not seem to end before the client has begun */
    if (null < 0 || from < 0 || to < 0 || pipe(words[SERVER]) != 0 || pipe(words[CLIENT]) != 0 || pipe(input) != 0 ||
        write(input[1], content, SMALL) != SMALL)
        die("cannot prepare a run");
    close(input[1]);
    start(setup, SERVER, "0", side == SERVER ? fault : "none", input[0], null, words[SERVER][1]);
    close(input[0]);
    close(words[SERVER][1]);

    /* Both are at their end when nobody can write their standard error any more. */
    struct pollfd ready[] = { { words[SERVER][0], POLLIN, 0 }, { -1, POLLIN, 0 }, { from, POLLIN, 0 } };
    while ((ready[SERVER].fd >= 0 || ready[CLIENT].fd >= 0) && !outcome.timed_out) {
        poll(ready, 3, 1000);
        outcome.timed_out = time(NULL) > until;
        if (ready[2].revents != 0)
            collect(from, outcome.delivered, delivered, sizeof outcome.delivered);
        for (int i = SERVER; i <= CLIENT; i++)
            if (ready[i].fd >= 0 && ready[i].revents != 0 && !collect(ready[i].fd, outcome.said[i], &length[i], TEXT_MAX)) {
                ready[i].fd = -1;
                if (i == CLIENT && !has_connected(address))
                    dismiss_server(address, port);
            }
        if (children[CLIENT] == 0 && told_port(address, port)) {
            start(setup, CLIENT, port, side == CLIENT ? fault : "none", null,
                  strcmp(setup->destination, "-") == 0 ? to : null, words[CLIENT][1]);
            close(words[CLIENT][1]);
            words[CLIENT][1] = -1;
            ready[CLIENT].fd = words[CLIENT][0];
        }
    }
    finish(SERVER);
    finish(CLIENT);
    while (poll(&ready[2], 1, 0) == 1 && collect(from, outcome.delivered, delivered, sizeof outcome.delivered))
        ;
    if (words[CLIENT][1] >= 0)
        close(words[CLIENT][1]);
    close(words[CLIENT][0]);
    close(words[SERVER][0]);
    close(from);
    close(to);
    close(null);
}

/* Prints that CASE broke a promise, and how to repeat it, and counts it. */
__attribute__((format(printf, 3, 4)))
static void expect(bool kept, const struct fault *fault, const char *format, ...)
{
    va_list arguments;

    if (kept)
        return;
    tally.broken++;
    printf("FAILED: %s %s %s %d %s: ", fault->setup->name, side_names[fault->side], fault->call, fault->number, fault->failure);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n    %s -o '%s %s %s %d %s' %s %s\n", "tests/torture", fault->setup->name, side_names[fault->side],
           fault->call, fault->number, fault->failure, programs[SERVER], programs[CLIENT]);
    fflush(stdout);
}

/* Returns how many messages SIDE has printed, without the one about the port; -1 if there is anything else among them,
 * but for the trace, whose lines begin with the time of day, unless ELSE_TOO. */
static int messages(int side, bool else_too)
{
    const size_t prefix = strlen(side_names[side]);
    int count = 0;

    for (const char *line = outcome.said[side], *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        if (end == NULL)
            return -1;
        bool message = strncmp(line, side_names[side], prefix) == 0 && strncmp(line + prefix, ": ", 2) == 0 &&
                       end > line + prefix + 2;
        if (!message && !else_too && (*line < '0' || *line > '9'))
            return -1;
        for (const char *byte = line; byte < end; byte++)
            if ((unsigned char)*byte < ' ' || *byte == 127)
                return -1;
        count += message && strncmp(line + prefix, ": listening on ", 15) != 0;
    }
    return count;
}

/* Checks what the destination holds. */
static void check_destination(const struct fault *fault)
{
    static char found[LARGE + 2];
    const struct setup *setup = fault->setup;
    bool complete = outcome.status[CLIENT] == 0;
    bool file = strcmp(setup->destination, "log.txt") == 0 || strcmp(setup->destination, "link") == 0;
    ssize_t length = get("log.txt", found, sizeof found);
    const char *stranger = sweep(".", "log.txt link fifo");
    struct stat status;

    expect(stranger == NULL, fault, "'%s' is left behind", stranger);
    expect(lstat("link", &status) == 0 && S_ISLNK(status.st_mode), fault, "the symbolic link is gone");
    expect(lstat("fifo", &status) == 0 && S_ISFIFO(status.st_mode), fault, "the FIFO is gone");
    if (file && complete)
        expect(length == (ssize_t)setup->length && memcmp(found, content, setup->length) == 0, fault,
               "the client is content with a destination that is not the file");
    else
        expect(setup->exists ? strcmp(found, before) == 0 : length < 0, fault, "log.txt is not what it was");
    if (!file)
        expect(outcome.delivered_length <= setup->length && (!complete || outcome.delivered_length == setup->length) &&
               memcmp(outcome.delivered, content, outcome.delivered_length) == 0, fault, "something else was delivered");
}

/* Checks every promise after a run. Adds to the tally. */
static void check(const struct fault *fault)
{
    const int hit = outcome.status[fault->side], before_this = tally.broken;
    const char *failed = strstr(outcome.book[fault->side], "failed "), *problem;
    bool carry_on = failed == NULL || fault->failure[0] == '+';
    const char *name = fault->setup->options[fault->side][1];
    char text[256] = "";

    expect(!outcome.timed_out, fault, "not over within %d seconds", LIMIT);
    for (int side = SERVER; side <= CLIENT; side++) {
        int status = outcome.status[side], count = messages(side, strcmp(fault->setup->destination, "-") == 0);
        expect(status == 0 || status == 1, fault, "the %s ended with status %d", side_names[side], status);
        expect(status == 1 ? count == 1 || (side == CLIENT && count == 0 && outcome.book[CLIENT][0] == '\0') :
               count == 0 || count == 1, fault, "the %s ended with %d and says:\n%s", side_names[side], status,
               outcome.said[side]);
    }
    expect(outcome.status[SERVER] != 0 || outcome.status[CLIENT] == 0, fault, "the server is wrong to be content");
    expect(failed == NULL || fault->failure[0] != '!' || outcome.status[SERVER] == 1, fault, "nobody may be content");
    expect(!carry_on || (outcome.status[SERVER] == 0 && outcome.status[CLIENT] == 0), fault, "should have gone on:\n%s%s",
           outcome.said[SERVER], outcome.said[CLIENT]);
    if (failed != NULL && sscanf(failed, "failed text %255[^\n]", text) == 1 && hit == 1 &&
        (name == NULL || strcmp(name, "localhost") != 0)) /* of several addresses, the last tells what went wrong */
        expect(strstr(outcome.said[fault->side], text) != NULL, fault, "the %s does not say '%s', but:\n%s",
               side_names[fault->side], text, outcome.said[fault->side]);
    if ((problem = strstr(outcome.book[fault->side], "leaked descriptor")) != NULL ||
        (problem = strstr(outcome.book[fault->side], "misused")) != NULL ||
        (hit == 0 && (problem = strstr(outcome.book[fault->side], "leaked")) != NULL))
        expect(false, fault, "%.*s", (int)strcspn(problem, "\n"), problem);
    check_destination(fault);
    tally.runs++;
    tally.failed += failed != NULL;
    tally.broken = before_this + (tally.broken > before_this);
}

/* Adds to cases what SIDE can be made to fail with, as its book lists it after a run of SETUP. */
static void list_cases(const struct setup *setup, int side)
{
    char *rest, *word_rest, errors[256];

    for (char *line = strtok_r(outcome.book[side], "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        struct fault fault = { .setup = setup, .side = side };
        if (sscanf(line, "call %31s %d %255[^\n]", fault.call, &fault.number, errors) != 3)
            continue;
        for (char *word = strtok_r(errors, " ", &word_rest); word != NULL; word = strtok_r(NULL, " ", &word_rest)) {
            snprintf(fault.failure, sizeof fault.failure, "%s", word);
            if (cases_count == CASES_MAX)
                die("too many cases");
            cases[cases_count++] = fault;
        }
    }
}

/* Goes into a directory of its own, and to an address of its own where all of 127.0.0.0/8 is this machine. */
static void enter(int worker)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/%d", top, worker) >= PATH_MAX || mkdir(path, 0700) != 0 || chdir(path) != 0)
        die(path);
#ifdef __linux__
    long id = (long)getpid();
    snprintf(host, sizeof host, "127.%ld.%ld.%d", 1 + id / 250 % 250, id % 250, worker + 1);
#endif
}

/* Returns whether one side of SETUP uses the addresses of localhost, which all workers have in common. */
static bool shares_address(const struct setup *setup)
{
    const char *name = setup->options[CLIENT][1];

    return name != NULL && strcmp(name, "localhost") == 0;
}

/* Runs one case. */
static void torture(const struct fault *fault)
{
    char chosen[80];

    snprintf(chosen, sizeof chosen, "%s %d %s", fault->call, fault->number, fault->failure);
    run(fault->setup, fault->side, chosen);
    check(fault);
}

/* Removes everything in the directory TOP, and it. */
static void clean_up(int workers)
{
    char path[PATH_MAX];

    for (int i = 0; i <= workers; i++)
        if (snprintf(path, sizeof path, "%s/%d", top, i) < PATH_MAX) {
            sweep(path, NULL);
            rmdir(path);
        }
    sweep(top, NULL);
    if (rmdir(top) != 0)
        perror(top);
}

/* Runs only the case that WORDS describes, and shows it. */
static void torture_one(const char *words)
{
    struct fault fault = { .setup = setups };
    char setup[32], side[8];

    if (sscanf(words, "%31s %7s %31s %d %31s", setup, side, fault.call, &fault.number, fault.failure) != 5)
        die(words);
    while (fault.setup < setups + SETUPS - 1 && strcmp(fault.setup->name, setup) != 0)
        fault.setup++;
    fault.side = strcmp(side, "client") == 0;
    torture(&fault);
    for (int i = SERVER; i <= CLIENT; i++)
        printf("---- %s: status %d\n%s%s", side_names[i], outcome.status[i], outcome.said[i], outcome.book[i]);
}

int main(int argc, char *argv[])
{
    const struct sigaction action = { .sa_handler = stop };
    const char *one = NULL, *directory = getenv("TMPDIR");
    int letter, workers = 4, step = 1, results[2], finished = 0;
    uint32_t random = 1;

    while ((letter = getopt(argc, argv, "j:o:s:")) != -1)
        if (letter == 'o')
            one = optarg;
        else if (letter == 'j' && atoi(optarg) > 0 && atoi(optarg) < WORKERS_MAX)
            workers = atoi(optarg);
        else if (letter == 's' && atoi(optarg) > 0)
            step = atoi(optarg);
        else
            argc = 0;
    if (argc - optind != 2) {
        fprintf(stderr, "usage: torture [-j RUNS] [-s STEP] [-o CASE] SERVER CLIENT\n");
        return 2;
    }
    for (int side = SERVER; side <= CLIENT; side++)
        if (realpath(argv[optind + side], programs[side]) == NULL)
            die(argv[optind + side]);
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)((random = random * 1664525 + 1013904223) >> 24);
    if (snprintf(top, sizeof top, "%s/torture.XXXXXX", directory != NULL ? directory : "/tmp") >= PATH_MAX ||
        mkdtemp(top) == NULL || chdir(top) != 0 || pipe(results) != 0)
        die(top);
    put("large", content, LARGE);
    put("small", content, SMALL);
#ifndef __linux__
    workers = 1; /* they would share an address, and a port that one gives up another might get */
#endif
    setenv("ASAN_OPTIONS", "exitcode=99", 0); /* not to be taken for a failure that was told */
    setenv("UBSAN_OPTIONS", "halt_on_error=1:exitcode=99", 0);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);

    if (one != NULL) {
        enter(0);
        torture_one(one);
        clean_up(0);
        return tally.broken > 0;
    }

    /* First the undisturbed runs, to learn what there is. */
    enter(0);
    for (const struct setup *setup = setups; setup < setups + SETUPS && !interrupted; setup++)
        for (int side = SERVER; side <= CLIENT; side++) {
            const struct fault none = { setup, side, "nothing", 0, "+none" };
            run(setup, side, NULL);
            check(&none);
            list_cases(setup, side);
        }

    /* Then each worker takes its share of the cases. */
    for (int worker = 0; worker < workers && !interrupted; worker++) {
        pid_t pid = fork();
        if (pid < 0)
            die("fork");
        children[worker] = pid;
        if (pid > 0)
            continue;
        memset((void *)children, 0, sizeof children);
        memset(&tally, 0, sizeof tally);
        if (chdir(top) != 0)
            die(top);
        enter(worker + 1);
        for (int i = 0; i < cases_count && !interrupted; i += step)
            if (worker == (shares_address(cases[i].setup) || workers == 1 ? 0 : 1 + i / step % (workers - 1)))
                torture(&cases[i]);
        if (!interrupted && write(results[1], &tally, sizeof tally) != sizeof tally)
            die("tally");
        _exit(0);
    }
    close(results[1]);
    for (int worker = 0; worker < workers; worker++) {
        struct tally part;
        ssize_t count;
        while ((count = read(results[0], &part, sizeof part)) < 0 && errno == EINTR)
            ;
        if (count != sizeof part)
            break;
        tally.runs += part.runs;
        tally.failed += part.failed;
        tally.broken += part.broken;
        finished++;
    }
    while (wait(NULL) > 0 || errno == EINTR)
        ;
    clean_up(workers);
    if (finished < workers)
        printf("only %d of %d workers came to the end\n", finished, workers);
    printf("%d calls were made to fail, %d runs broke a promise\n", tally.failed, tally.broken);
    printf("%d passed, %d failed\n", tally.runs - tally.broken, tally.broken + (workers - finished));
    return tally.broken > 0 || finished < workers;
}
