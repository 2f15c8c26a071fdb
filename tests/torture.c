/*
 * torture.c - makes every call of both programs that can fail do so, one per run, and checks that the promises hold:
 *
 *     torture [-j RUNS] SERVER CLIENT                       every call in every way, RUNS at a time (4)
 *     torture -n SAMPLE [-s SEED] SERVER CLIENT             so many of these cases; SEED says which
 *     torture -o 'new client fsync 1 !EIO' SERVER CLIENT    only this one, and shows what both programs say
 *
 * SERVER and CLIENT are compiled with faults.h, which does the failing. Each setup is run once undisturbed, which
 * yields the list of calls; a case is one call of one side and one of its failures. Whatever fails, after the run:
 *
 *  - both programs have ended by themselves, with status 0 or 1, and neither spun;
 *  - client 0: the destination is the file, byte for byte; client 1: it is what it was before, and nothing else is left
 *    behind either (a pipe got a beginning of the file);
 *  - the server is content (status 0; with -k, 1 client served) only if the client is (0);
 *  - a side that is not has said why, in exactly one line that names the error if it came from the call;
 *  - the program whose call failed has closed nothing that was not open;
 *  - after a failure marked ! (a write, a flush, a rename), or ? on the client's side, the server is not content;
 *  - a failure marked + (an interrupted call, a short count) has not disturbed anything: both are content;
 *  - when a call says EAGAIN for ever, -t ends it, and not too early.
 *
 * Each promise that was broken is printed with the command that repeats the run. Read main, then torture, run and
 * check.
 */
#include "tools.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <sys/mman.h>
#ifdef __linux__
#include <sys/xattr.h>
#endif

enum {
    LIMIT = 60,                 /* seconds after which a run hangs */
    AMPLE = 20,                 /* -t of a program that need not wait for so long */
    SILENCE = 5000,             /* milliseconds, at most, between two lines that say how far we are */
    LARGE = 150000,             /* bytes: a file of three blocks, */
    SMALL = 4000,               /* and one that fits into every pipe */
    SAID_MAX = 8192, BOOK_MAX = 1 << 16, CASES_MAX = 16384, WORDS_MAX = 128,
};
enum { SERVER, CLIENT };        /* the sides */

static const char before[] = "what was there before\n";
static const char *const side_names[] = { "server", "client" };

/* A way to run the two. Every destination may be asked for: link leads to log.txt, fifo is a FIFO. */
static const struct setup {
    const char *name;
    const char *source, *destination;           /* the operands of server and client */
    size_t length;                              /* of the source */
    bool exists;                                /* log.txt, before the run */
    const char *options[2][4];                  /* of each side, besides -p and -t */
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
    { "keep", "../large", "log.txt", LARGE, true, { { "-b", "0", "-k" }, { "-b", "0" } } },
};
enum { SETUPS = sizeof setups / sizeof setups[0] };

/* One call to fail. */
struct fault {
    const struct setup *setup;
    int side, number;                           /* of the calls of that name, from 1 */
    char call[32], failure[32];                 /* the failure as faults.h calls it, with its mark */
};

/* The same in words, as for -o, and what a SEED makes of that: its place among the others. */
static struct words { char text[WORDS_MAX]; uint64_t key; } cases[CASES_MAX];
static int cases_count;

/* What one run came to. */
static struct {
    int64_t took;                               /* microseconds */
    bool ran[2];                                /* the program was started, and not dismissed */
    int status[2];                              /* as the shell would say */
    char said[2][SAID_MAX];                     /* on standard error */
    char book[2][BOOK_MAX];                     /* what faults.h noted */
} outcome;

/* What the workers have in common. */
static struct { atomic_int next, done, failed, broken; } *tally;

static const char *words;                       /* the case that is being run */
static char content[LARGE];                     /* of the source, or its beginning */
static char programs[2][PATH_MAX];
static char host[32] = "127.0.0.1";             /* our own, so that no worker meets the server or client of another */
static volatile pid_t pids[2];                  /* the programs that run, or 0 */
static volatile sig_atomic_t hangs;             /* this run was broken off */
static int complaints;                          /* promises that it has broken */

#ifdef __linux__
/* An access control list (acl(5)): u::rw-, u:4321:r--, g::---, m::r--, o::--- */
static const char acl_name[] = "system.posix_acl_access", acl[] =
    "\2\0\0\0" "\1\0\6\0\377\377\377\377" "\2\0\4\0\341\20\0\0" "\4\0\0\0\377\377\377\377"
    "\20\0\4\0\377\377\377\377" "\40\0\0\0\377\377\377\377";
enum { ACL_LENGTH = sizeof acl - 1 };
#endif

/* ---- One run ------------------------------------------------------------------------------------------------- */

static bool keeps_serving(const struct setup *setup) { return strcmp(setup->name, "keep") == 0; }
static bool to_file(const struct setup *setup) { return setup->destination[0] == 'l'; } /* log.txt or link */

/* True if the setup that TEXT begins with uses the addresses of localhost, which all workers have in common. */
static bool is_shared(const char *text)
{
    return strncmp(text, "names", 5) == 0 || strncmp(text, "second", 6) == 0;
}

/* The handler of SIGALRM: ends a run that hangs. */
static void break_off(int signal_number)
{
    (void)signal_number;
    hangs = 1;
    for (int side = SERVER; side <= CLIENT; side++)
        if (pids[side] > 0)
            kill(pids[side], SIGKILL);
}

/* Finds what the server has said about its ADDRESS and PORT. Returns false if it has not yet. */
static bool told_port(char address[64], char port[8])
{
    const char *line = strstr(outcome.said[SERVER], "server: listening on ");

    return line != NULL && strchr(line, '\n') != NULL &&
           sscanf(line, "server: listening on %63s port %7[0-9]", address, port) == 2;
}

/* Adds what the server says on FD to what it has said, until it has told its PORT, or, if that is NULL, to the end. */
static void hear_server(int fd, char *address, char *port)
{
    size_t length = strlen(outcome.said[SERVER]);
    ssize_t count = 1;

    while (count != 0 && (port == NULL || !told_port(address, port))) {
        count = read(fd, outcome.said[SERVER] + length, SAID_MAX - 1 - length);
        length += count > 0 ? (size_t)count : 0;
        outcome.said[SERVER][length] = '\0';
    }
}

/* Returns whether the client, which has ended, has tried an address of the family of ADDRESS. */
static bool has_connected(const char *address)
{
    return strstr(outcome.book[CLIENT], strchr(address, ':') != NULL ? "connects IPv6" : "connects IPv4") != NULL;
}

/* Makes a directory for a run of SETUP, in place of that of the last one, and goes there. */
static void prepare(const struct setup *setup)
{
    char name[32];

    snprintf(name, sizeof name, "run.%ld", (long)getpid());
    must(chdir(workplace), workplace);
    remove_tree(name);
    if (mkdir(name, 0700) != 0 || chdir(name) != 0 || symlink("log.txt", "link") != 0 || mkfifo("fifo", 0600) != 0)
        die("cannot prepare a run");
    if (setup->exists) {
        put_file("log.txt", before, sizeof before - 1);
        must(chmod("log.txt", 0640), "log.txt");
    }
#ifdef __linux__
    if (strcmp(setup->name, "link") == 0)
        setxattr("log.txt", acl_name, acl, ACL_LENGTH, 0); /* a file system without such lists does not mind */
#endif
    memset(&outcome, 0, sizeof outcome);
    hangs = 0;
    complaints = 0;
}

/* Starts the program of SIDE as SETUP says, on PORT and with -t SECONDS. FAULT is for faults.h: NULL has it list the
 * calls. */
static void start(const struct setup *setup, int side, const char *port, int seconds, const char *fault, int in,
                  int out, int err)
{
    char patience[16];
    const char *line[16] = { programs[side], "-t", patience, "-p", port, "-a", host };
    int n = 7;

    snprintf(patience, sizeof patience, "%d", seconds);
    for (const char *const *option = setup->options[side]; *option != NULL; option++)
        line[n++] = *option;
    line[n] = side == SERVER ? setup->source : setup->destination;
    must(setenv("FAULT_BOOK", side_names[side], 1), "setenv");
    must(fault == NULL ? unsetenv("FAULT") : setenv("FAULT", fault, 1), "setenv");
    pids[side] = start_program((char *const *)line, in, out, err);
    outcome.ran[side] = true;
}

/* Waits for the program of SIDE, if it was started, and notes how it ended. */
static void finish(int side)
{
    outcome.status[side] = outcome.ran[side] ? status_of(pids[side]) : 1;
    pids[side] = 0;
    get_file(side_names[side], outcome.book[side], BOOK_MAX);
}

/* Runs the two as SETUP says, with FAULTS for faults.h and -t of so many SECONDS, in a new directory. Leaves in outcome
 * what it came to, and in the file delivered what came out of the FIFO. */
static void run(const struct setup *setup, const char *const faults[2], const int seconds[2])
{
    char address[64], port[8], *const cat[] = { "cat", "fifo", NULL };
    const int64_t began = microseconds();
    int said[2], input[2], null, err, delivered, fifo = -1;
    pid_t reader = 0;

    prepare(setup);
    null = must(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    delivered = open_output("delivered");
    err = open_output("said");
    make_pipe(said);
    make_pipe(input);
    if (write(input[1], content, SMALL) != SMALL || close(input[1]) != 0)
        die("cannot prepare a run");
    if (!to_file(setup)) { /* held open, the FIFO does not end before the client has begun */
        reader = start_program(cat, null, delivered, STDERR_FILENO);
        fifo = must(open("fifo", O_WRONLY | O_CLOEXEC), "fifo");
    }
    alarm(LIMIT);
    start(setup, SERVER, "0", seconds[SERVER], faults[SERVER], input[0], null, said[1]);
    close(said[1]);
    hear_server(said[0], address, port);
    if (told_port(address, port))
        start(setup, CLIENT, port, seconds[CLIENT], faults[CLIENT], null,
              strcmp(setup->destination, "-") == 0 ? fifo : null, err);
    finish(CLIENT);
    get_file("said", outcome.said[CLIENT], SAID_MAX);
    if (keeps_serving(setup))
        kill(pids[SERVER], SIGTERM);
    else if (outcome.ran[CLIENT] && !has_connected(address)) { /* the server would wait for a client: dismiss it */
        kill(pids[SERVER], SIGTERM);
        outcome.ran[SERVER] = false;
    }
    hear_server(said[0], NULL, NULL);
    finish(SERVER);
    alarm(0);
    outcome.took = microseconds() - began;
    const int held[] = { said[0], input[0], null, err, delivered, fifo };
    for (size_t i = 0; i < sizeof held / sizeof held[0]; i++)
        if (held[i] >= 0)
            close(held[i]);
    if (reader > 0)
        must(status_of(reader) == 0 ? 0 : -1, "cat");
}

/* ---- Its verdict --------------------------------------------------------------------------------------------- */

/* Prints that the case broke a promise, the first time how to repeat it, and counts it. */
__attribute__((format(printf, 2, 3)))
static void expect(bool kept, const char *format, ...)
{
    va_list arguments;

    if (kept)
        return;
    if (complaints++ == 0)
        printf("FAILED: tests/torture -o '%s' %s %s\n", words, programs[SERVER], programs[CLIENT]);
    printf("    ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* Returns how many messages SIDE has printed, without those that tell the port or count clients; -1 if there is
 * anything else among them, but for the trace, whose lines begin with the time of day, unless ELSE_TOO. */
static int messages(int side, bool else_too)
{
    char start[16], digit[2];
    int count = 0;

    snprintf(start, sizeof start, "%s: ", side_names[side]);
    for (const char *line = outcome.said[side], *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        if (end == NULL)
            return -1;
        if (strncmp(line, start, strlen(start)) == 0)
            count += strncmp(line, "server: listening on ", 21) != 0 && sscanf(line, "server: %1[0-9]", digit) != 1;
        else if (!else_too && sscanf(line, "%1[0-9]", digit) != 1)
            return -1;
    }
    return count;
}

/* Checks what the client has made of its directory. */
static void check_directory(const struct setup *setup)
{
    static char found[LARGE + 2]; /* a byte more than it should be, and a NUL */
    const bool complete = outcome.status[CLIENT] == 0;
    size_t length = (size_t)get_file("log.txt", found, sizeof found);
    DIR *directory = opendir(".");
    struct dirent *entry;
    struct stat status;

    if (directory == NULL)
        die("the directory of a run");
    while ((entry = readdir(directory)) != NULL)
        expect(strstr(" . .. log.txt link fifo delivered said server client ", entry->d_name) != NULL,
               "'%s' is left behind", entry->d_name);
    closedir(directory);
    expect(lstat("link", &status) == 0 && S_ISLNK(status.st_mode), "the symbolic link is gone");
    expect(lstat("fifo", &status) == 0 && S_ISFIFO(status.st_mode), "the FIFO is gone");
    if (!complete || !to_file(setup))
        expect(setup->exists ? strcmp(found, before) == 0 : length == SIZE_MAX, "log.txt is not what it was");
    if (!to_file(setup))
        length = (size_t)get_file("delivered", found, sizeof found);
    if (complete || !to_file(setup))
        expect(length <= setup->length && memcmp(found, content, length) == 0 && (length == setup->length || !complete),
               "%zu bytes that are not the file were delivered", length);
    if (setup->exists) {
        must(stat("log.txt", &status), "log.txt");
        expect((status.st_mode & 07777 & ~0640U) == 0, "log.txt is open to more than before: %o", status.st_mode);
    }
#ifdef __linux__
    if (strcmp(setup->name, "link") == 0 && (status.st_mode & 077) != 0) { /* the mask of a list, which must be there */
        length = (size_t)getxattr("log.txt", acl_name, found, sizeof found);
        bool kept = length == ACL_LENGTH && memcmp(found, acl, ACL_LENGTH) == 0;
        expect(kept || (length == SIZE_MAX && errno == ENOTSUP),
               "log.txt has lost its access control list, but not what the group may do");
    }
#endif
}

/* Checks every promise after a run of FAULT. Returns whether the call has failed. */
static bool check(const struct fault *fault)
{
    const struct setup *setup = fault->setup;
    const bool keep = keeps_serving(setup), parent = strncmp(fault->call, "child-", 6) != 0;
    const char *said = outcome.said[fault->side], *book = outcome.book[fault->side];
    const char *failed = strstr(book, "failed "), *misused = strstr(book, "misused");
    const char *mark = failed == NULL ? "+" : fault->failure;
    const bool content_client = outcome.status[CLIENT] == 0, content_server = outcome.status[SERVER] == 0 &&
               (!keep || strstr(outcome.said[SERVER], "server: 1 clients served") != NULL);
    const bool fatal = mark[0] == '!' || (mark[0] == '?' && fault->side == CLIENT);
    const bool harmless = mark[0] == '+' || /* -k tries again */
        (keep && !fatal && strcmp(fault->call, "accept") == 0 && strstr(fault->failure, "-forever") == NULL);
    char reason[256] = "";

    expect(!hangs, "not over within %d seconds", LIMIT);
    for (int side = SERVER; side <= CLIENT; side++) {
        int status = outcome.status[side], count = messages(side, strcmp(setup->destination, "-") == 0);
        if (!outcome.ran[side])
            continue;
        expect(status == 0 || status == 1, "the %s ended with status %d", side_names[side], status);
        expect(count == 1 || (count == 0 && status == 0), "the %s ended with %d and says:\n%s", side_names[side],
               status, outcome.said[side]);
    }
    expect(!content_server || content_client, "the server is wrong to be content");
    expect(!fatal || !content_server, "the server should not be content");
    expect(!harmless || (content_server && content_client), "should have gone on:\n%s%s", outcome.said[SERVER],
           outcome.said[CLIENT]);
    if (failed != NULL && sscanf(failed, "failed text %255[^\n]", reason) == 1 &&
        (parent ? outcome.status[fault->side] == 1 : !content_server) &&
        !is_shared(words)) /* of several addresses, the last tells what went wrong */
        expect(strstr(said, reason) != NULL, "the %s does not say '%s', but:\n%s", side_names[fault->side], reason,
               said);
    expect(misused == NULL, "%.*s", misused == NULL ? 0 : (int)strcspn(misused, "\n"), misused);
    check_directory(setup);
    return failed != NULL;
}

/* Runs the case that TEXT describes, and counts what became of it. */
static void torture(const char *text)
{
    struct fault fault = { .setup = setups };
    const char *faults[] = { "none", "none" };
    int seconds[] = { AMPLE, AMPLE }, patience = 1;
    char setup[32], side[8], chosen[WORDS_MAX];

    words = text;
    if (sscanf(words, "%31s %7s %31s %d %31s", setup, side, fault.call, &fault.number, fault.failure) != 5)
        die(words);
    while (fault.setup < setups + SETUPS - 1 && strcmp(fault.setup->name, setup) != 0)
        fault.setup++;
    fault.side = strcmp(side, "client") == 0;
    snprintf(chosen, sizeof chosen, "%s %d %s", fault.call, fault.number, fault.failure);
    faults[fault.side] = chosen;

    /* One program is to give up, the other one is patient. With -k the server itself waits for ever. */
    const bool parent = keeps_serving(fault.setup) && fault.side == SERVER && strncmp(fault.call, "child-", 6) != 0;
    const bool forever = fault.failure[0] != '+' && strstr(fault.failure, "-forever") != NULL;
    const int impatient = parent ? CLIENT : fault.side;
    do { /* on a busy machine it may have given up before the call came */
        if (forever)
            seconds[impatient] = patience;
        run(fault.setup, faults, seconds);
    } while (forever && strstr(outcome.book[fault.side], "failed ") == NULL && (patience *= 2) < AMPLE);
    if (check(&fault)) {
        tally->failed++;
        if (forever && outcome.status[impatient] == 1)
            expect(outcome.took >= patience * INT64_C(1000000), "it gave up before -t %d was over", patience);
    }
    tally->broken += complaints > 0;
    tally->done++;
}

/* ---- All of them --------------------------------------------------------------------------------------------- */

/* Adds to cases what SIDE can be made to fail with, as its book lists it after a run of SETUP. */
static void list_cases(const struct setup *setup, int side, uint64_t seed)
{
    char *rest, *word_rest, call[32], errors[256];
    int number;

    for (char *line = strtok_r(outcome.book[side], "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        if (sscanf(line, "call %31s %d %255[^\n]", call, &number, errors) != 3)
            continue;
        for (char *word = strtok_r(errors, " ", &word_rest); word != NULL; word = strtok_r(NULL, " ", &word_rest)) {
            struct words *this = &cases[cases_count++];
            if (cases_count == CASES_MAX)
                die("too many cases");
            snprintf(this->text, WORDS_MAX, "%s %s %s %d %s", setup->name, side_names[side], call, number, word);
            this->key = seed;
            for (const char *letter = this->text; *letter != '\0'; letter++)
                this->key = draw(&this->key) + (unsigned char)*letter;
        }
    }
}

/* For qsort: puts cases in the order of their keys. */
static int by_key(const void *one, const void *other)
{
    uint64_t a = ((const struct words *)one)->key, b = ((const struct words *)other)->key;

    return a < b ? -1 : a > b;
}

/* Runs those of the first COUNT cases that no other worker has taken. */
static _Noreturn void work(int count)
{
    const int lock = must(open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600), "lock");
    int number;

#ifdef __linux__ /* all of 127.0.0.0/8 is this machine */
    const long id = (long)getpid();
    snprintf(host, sizeof host, "127.%ld.%ld.%ld", 1 + id / 62500 % 250, id / 250 % 250, 1 + id % 250);
#endif
    while ((number = tally->next++) < count) {
        const char *text = cases[number].text;
        must(is_shared(text) ? lockf(lock, F_LOCK, 0) : 0, "lock");
        torture(text);
        must(is_shared(text) ? lockf(lock, F_ULOCK, 0) : 0, "lock");
    }
    exit(0);
}

/* Has WORKERS processes run the first COUNT cases, and says how far they are. */
static void torture_all(int count, int workers)
{
    const int64_t began = microseconds();
    int end[2];

    make_pipe(end); /* which all workers hold */
    for (int i = 0; i < workers; i++)
        if (split() == 0)
            work(count);
    close(end[1]);
    for (struct pollfd ready = { .fd = end[0] }; poll(&ready, 1, SILENCE) == 0;)
        fprintf(stderr, "torture: %d of %d runs, %d broken, %d s left\n", tally->done, count, tally->broken,
                (int)((microseconds() - began) / 1000000 * (count - tally->done) / (tally->done + 1)));
    while (wait(NULL) > 0)
        ;
}

/* Makes what all runs need, and the tally. */
static void set_up(void)
{
    const struct sigaction action = { .sa_handler = break_off };
    const int fd = must(open("tally", O_RDWR | O_CREAT | O_CLOEXEC, 0600), "tally");
    uint64_t state = 1;

    must(ftruncate(fd, sizeof *tally), "tally");
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (tally == MAP_FAILED)
        die("tally");
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)draw(&state);
    put_file("large", content, LARGE);
    put_file("small", content, SMALL);
    must(sigaction(SIGALRM, &action, NULL), "sigaction");
    must(setenv("ASAN_OPTIONS", "exitcode=99", 0), "setenv"); /* not to be taken for a failure that was told */
    must(setenv("UBSAN_OPTIONS", "halt_on_error=1:exitcode=99", 0), "setenv");
}

int main(int argc, char *argv[])
{
    static const char *const none[2] = { NULL, NULL };
    static const int patience[2] = { AMPLE, AMPLE };
    const char *one = NULL;
    int letter, workers = 4, sample = CASES_MAX, bad;
    uint64_t seed = any_seed();

    tool = "torture";
    while ((letter = getopt(argc, argv, "j:n:o:s:")) != -1)
        if (letter == 'o')
            one = optarg;
        else if (letter == 'j' && atoi(optarg) > 0)
            workers = atoi(optarg);
        else if (letter == 'n' && atoi(optarg) > 0)
            sample = atoi(optarg);
        else if (letter == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            argc = 0;
    if (argc - optind != 2) {
        fprintf(stderr, "usage: torture [-j RUNS] [-n SAMPLE] [-o CASE] [-s SEED] SERVER CLIENT\n");
        return 2;
    }
    for (int side = SERVER; side <= CLIENT; side++)
        if (realpath(argv[optind + side], programs[side]) == NULL)
            die(argv[optind + side]);
#ifndef __linux__
    workers = 1; /* they would share an address, and a port that one gives up another might get */
#endif
    make_workplace();
    supervise(0);
    set_up();
    if (one != NULL) {
        torture(one);
        for (int i = SERVER; i <= CLIENT; i++)
            printf("---- %s: status %d\n%s%s", side_names[i], outcome.status[i], outcome.said[i], outcome.book[i]);
        return tally->broken > 0;
    }

    /* First the undisturbed runs, to learn what there is. */
    for (const struct setup *setup = setups; setup < setups + SETUPS; setup++) {
        words = setup->name;
        run(setup, none, patience);
        check(&(struct fault){ .setup = setup });
        tally->broken += complaints > 0;
        list_cases(setup, SERVER, seed);
        list_cases(setup, CLIENT, seed);
    }
    must(chdir(workplace), workplace);
    qsort(cases, (size_t)cases_count, sizeof cases[0], by_key);
    sample = sample < cases_count ? sample : cases_count;
    if (sample < cases_count)
        printf("torture: -n %d -s %" PRIu64 " runs these again, of %d cases\n", sample, seed, cases_count);
    torture_all(sample, workers);
    if (tally->done < sample)
        printf("FAILED: torture: only %d of %d runs came to their end\n", tally->done, sample);
    bad = tally->broken + sample - tally->done;
    printf("%d calls were made to fail, %d runs broke a promise\n", tally->failed, tally->broken);
    printf("%d passed, %d failed\n", SETUPS + sample - bad, bad);
    return bad > 0;
}
