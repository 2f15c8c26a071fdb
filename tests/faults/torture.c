/*
 * torture.c - makes every call of both programs that can fail do so, one per run, or sends them a signal before it, and
 * checks that the promises hold.
 *
 *     torture SERVER CLIENT                                 every call in every way
 *     torture -s SEED SERVER CLIENT                         a sample: one case of each kind; SEED says which
 *     torture -o 'new client fsync 1 !EIO' SERVER CLIENT    only this one, and shows what both programs say
 *
 * SERVER and CLIENT are compiled with faults.h, which does the failing and explains the marks of failures. Each setup
 * is run once undisturbed, which yields the list of calls. A case is one call of one side and one of its failures. The
 * failures ^KILL and ^TERM kill the program before that call: what others see of it changes only with its calls. A
 * kind of cases is a call of one side and a failure. judge checks the promises.
 */
#include "../tools/tools.h"

enum {
    AMPLE = 60,                 /* -t of a program that never waits for so long, even on a busy machine */
    LARGE = 1100000,            /* bytes: a file of some blocks, which is flushed before its end, too, */
    SMALL = 4000,               /* and one that fits into every pipe */
    RUN_LIMIT = 300,            /* seconds: a program that takes longer hangs, and gets SIGALRM */
    BOOK_MAX = 1 << 16, CASES_MAX = 16384, WORDS_MAX = 128,
    WORKERS = 12,               /* processes that run the cases: many of these mostly wait */
};

/* A way to run the two. Every destination may be asked for: link leads to log.txt, fifo is a FIFO. */
static const struct setup {
    const char *name;
    const char *source, *destination;           /* the operands of server and client */
    size_t length;                              /* of the source */
    bool exists;                                /* log.txt, before the run */
    bool shared;                                /* it uses addresses of localhost, which all workers have in common */
    const char *options[2][5];                  /* of each side, besides -p and -t */
} setups[] = {
    { "new", "../large", "log.txt", LARGE, false, false, { { "-b", "0" }, { "-b", "0" } } },
    { "replace", "../large", "log.txt", LARGE, true, false, { { "-b", "64K" }, { "-b", "64K" } } },
    { "link", "../small", "link", SMALL, true, false, { { "-v" }, { "-v" } } },
    { "fifo", "../large", "fifo", LARGE, true, false, { { "-b", "0" }, { "-b", "0" } } },
    { "output", "../large", "-", LARGE, true, false, { { "-b", "0" }, { "-b", "0" } } },
    { "input", "-", "log.txt", SMALL, true, false, { { NULL }, { NULL } } },
    { "names", "../small", "log.txt", SMALL, true, true, { { "-a", "localhost" }, { "-a", "localhost" } } },
    { "second", "../small", "log.txt", SMALL, false, true, { { "-a", "127.0.0.1" }, { "-a", "localhost" } } },
    { "keep", "../large", "log.txt", LARGE, true, false, { { "-b", "0", "-k", "-v" }, { "-b", "0" } } },
};

/* One call to fail. */
struct fault {
    const struct setup *setup;
    int side, number;                           /* of the calls of that name, from 1 */
    char call[32], failure[32];                 /* the failure as faults.h calls it, with its mark */
};

/* The same in words, as for -o. Of those of one kind, a sample has the one with the lowest key. */
static struct words {
    const struct setup *setup;
    char text[WORDS_MAX], kind[WORDS_MAX];
    uint64_t key;
} cases[CASES_MAX];
static int cases_count;
static const char *seed;               /* of the sample; NULL: all cases are run */

static char content[LARGE];                     /* of the source, or its beginning */
static const char old_content[] = "what was there before\n"; /* of a destination that exists before the run */
static char host[32] = "127.0.0.1";             /* where a worker's servers listen */

/* The two programs of a run, and what we hear from them. */
enum { SERVER, CLIENT };
static const char *const side_names[] = { "server", "client" };
static struct program {
    char path[PATH_MAX];
    const char *fault;                  /* for faults.h; NULL has it list the calls */
    int seconds;                        /* of -t */
    pid_t pid;
    FILE *output;                       /* where we read its standard error */
    char text[8192];                    /* what came from there */
    char book[BOOK_MAX];                /* what faults.h noted */
    int status;                         /* as a shell would say */
} pair[2] = { { .seconds = AMPLE }, { .seconds = AMPLE } };
static const char *this_test;           /* what is being tested, as for -o */
static int complaints;                  /* checks of this test that failed */

/* Says what is wrong if TRUTH is false, the first time with the name of the test. */
__attribute__((format(printf, 2, 3)))
static void check(bool truth, const char *format, ...)
{
    va_list arguments;

    if (truth)
        return;
    if (complaints++ == 0)
        printf("FAILED: torture: -o '%s'\n", this_test);
    printf("    ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* Returns the hash value HASH with one more BYTE in it (FNV-1a, Fowler, Noll and Vo). */
static uint64_t add_to_hash(uint64_t hash, unsigned char byte) { return (hash ^ byte) * 0x100000001b3; }

/* Makes the file NAME of the LENGTH bytes of DATA, in place of what it held. */
static void put_file(const char *name, const void *data, size_t length)
{
    FILE *file = fopen(name, "w");

    if (file == NULL || fwrite(data, 1, length, file) != length || fclose(file) != 0)
        die(name);
}

/* ---- One run ------------------------------------------------------------------------------------------------- */

/* Reads what the program of SIDE says up to the line with TEXT, or, if that is NULL, to the end. Neither ever has to
 * wait for us: all that it says fits into the pipe. */
static void hear(int side, const char *text)
{
    const size_t room = sizeof pair[side].text;
    char *heard = pair[side].text;
    size_t length = strlen(heard);

    while ((text == NULL || strstr(heard, text) == NULL) && length < room - 1 &&
           fgets(heard + length, (int)(room - length), pair[side].output) != NULL)
        length += strlen(heard + length);
}

/* Hears the program of SIDE out and waits for its end. */
static void finish(int side)
{
    hear(side, NULL);
    fclose(pair[side].output);
    pair[side].status = status_of(pair[side].pid);
    get_file(side_names[side], pair[side].book, BOOK_MAX);
}

static bool keeps_serving(const struct setup *setup) { return strcmp(setup->name, "keep") == 0; }
static bool to_file(const struct setup *setup) { return setup->destination[0] == 'l'; } /* log.txt or link */
static bool to_output(const struct setup *setup) { return strcmp(setup->destination, "-") == 0; }

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
        put_file("log.txt", old_content, sizeof old_content - 1);
        must(chmod("log.txt", 0640), "log.txt");
    }
}

/* Starts the program of SIDE as SETUP says, on PORT. */
static void start(const struct setup *setup, int side, const char *port, int in, int out)
{
    const char *fault = pair[side].fault;
    char seconds[16];
    const char *line[16] = { pair[side].path, "-t", seconds, "-p", port, "-a", host };
    int n = 7, ends[2];

    snprintf(seconds, sizeof seconds, "%d", pair[side].seconds);
    for (const char *const *option = setup->options[side]; *option != NULL; option++)
        line[n++] = *option;
    line[n] = side == SERVER ? setup->source : setup->destination;
    must(setenv("FAULT_BOOK", side_names[side], 1), "setenv");
    must(fault == NULL ? unsetenv("FAULT") : setenv("FAULT", fault, 1), "setenv");
    make_pipe(ends);
    pair[side].text[0] = '\0';
    pair[side].output = fdopen(ends[0], "r");
    if (pair[side].output == NULL)
        die("fdopen");
    pair[side].pid = start_program((char *const *)line, in, out, ends[1]);
    close(ends[1]);
}

/* Runs the two as SETUP says, in a new directory. What it came to is then in pair, and in the file delivered what came
 * out of the FIFO. */
static void run(const struct setup *setup)
{
    char address[64] = "", port[8], *const cat[] = { "cat", "fifo", NULL };
    const char *family, *line;
    int input[2], null, delivered, fifo = -1;
    pid_t reader = 0;

    prepare(setup);
    null = must(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    delivered = open_output("delivered");
    make_pipe(input);
    if (write(input[1], content, SMALL) != SMALL || close(input[1]) != 0)
        die("cannot prepare a run");
    if (!to_file(setup)) { /* held open, the FIFO does not end before the client has begun */
        reader = start_program(cat, null, delivered, STDERR_FILENO);
        fifo = must(open("fifo", O_WRONLY | O_CLOEXEC), "fifo");
    }
    start(setup, SERVER, "0", input[0], null);
    hear(SERVER, "listening on ");
    line = strstr(pair[SERVER].text, "server: listening on ");
    pair[CLIENT].status = 1;
    strcpy(pair[CLIENT].text, "client: was not started\n");
    pair[CLIENT].book[0] = '\0';
    if (line != NULL && sscanf(line, "server: listening on %63s port %7[0-9]", address, port) == 2) {
        start(setup, CLIENT, port, null, to_output(setup) ? fifo : null);
        finish(CLIENT);
    }
    family = strchr(address, ':') != NULL ? "connects IPv6" : "connects IPv4";
    if (line != NULL && (keeps_serving(setup) || strstr(pair[CLIENT].book, family) == NULL))
        kill(pair[SERVER].pid, SIGTERM); /* it would wait for a client */
    finish(SERVER);
    close(input[0]);
    close(null);
    close(delivered);
    if (reader > 0) {
        close(fifo);
        must(status_of(reader) == 0 ? 0 : -1, "cat");
    }
}

/* ---- Its verdict --------------------------------------------------------------------------------------------- */

/* True if the program of SIDE has said on standard error why it failed, or, if its status is 0, that it has nothing
 * or one thing to say: one line in its name. The line that tells the port may be there, too, and those of the
 * trace, which begin with the time of day, and, if ELSE_TOO, any others. */
static bool explains(int side, bool else_too)
{
    char start[16];
    int messages = 0;

    snprintf(start, sizeof start, "%s: ", side_names[side]);
    for (const char *line = pair[side].text, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        if (end == NULL)
            return false;
        if (strncmp(line, start, strlen(start)) == 0)
            messages += strncmp(line, "server: listening on ", 21) != 0;
        else if (!else_too && (*line < '0' || *line > '9'))
            return false;
    }
    return messages == 1 || (messages == 0 && pair[side].status == 0);
}

/* True for a file that does not belong to a run, for scandir. */
static int is_strange(const struct dirent *entry)
{
    char name[260];

    snprintf(name, sizeof name, " %s ", entry->d_name);
    return strstr(" . .. log.txt link fifo delivered server client ", name) == NULL;
}

/* Checks what the client has made of its directory. Returns whether all of the file was delivered. LEFT is how many
 * files may be left behind. */
static bool check_directory(const struct setup *setup, int left)
{
    static char found[LARGE + 2]; /* a byte more than it should be, and a NUL */
    const int status = pair[CLIENT].status;
    const ssize_t length = get_file(to_file(setup) ? "log.txt" : "delivered", found, sizeof found);
    const bool whole = length >= 0 && (size_t)length == setup->length && memcmp(found, content, setup->length) == 0;
    bool untouched = !whole && length >= 0 && length < (ssize_t)setup->length &&
        memcmp(found, content, (size_t)length) == 0; /* a pipe: what was delivered is a beginning */
    struct dirent **strangers;
    struct stat file;

    if (to_file(setup))
        untouched = setup->exists ? strcmp(found, old_content) == 0 : length < 0;
    check(status == 0 ? whole : status == 1 && to_file(setup) ? untouched : whole || untouched,
          "after the client's status %d, the file is %s", status,
          whole ? "what was sent" : untouched ? "what it was before" : "something else");
    check(must(scandir(".", &strangers, is_strange, NULL), "scandir") <= left, "a file is left behind");
    check(lstat("link", &file) == 0 && S_ISLNK(file.st_mode), "the symbolic link is gone");
    check(lstat("fifo", &file) == 0 && S_ISFIFO(file.st_mode), "the FIFO is gone");
    if (setup->exists) {
        must(stat("log.txt", &file), "log.txt");
        check((file.st_mode & 07777 & ~0640U) == 0, "log.txt is open to more than before: %o", file.st_mode);
        get_file("log.txt", found, sizeof found);
        check(to_file(setup) || strcmp(found, old_content) == 0, "log.txt is not what it was");
    }
    return whole;
}

/* Checks every promise after a run of FAULT. */
static void judge(const struct fault *fault)
{
    const bool keep = keeps_serving(fault->setup), parent = strncmp(fault->call, "child-", 6) != 0;
    const struct program *program = &pair[fault->side];
    const char *failure = strstr(program->book, "failed "), *misused = strstr(program->book, "misused");
    const char *mark = failure == NULL ? "+" : fault->failure;
    const int hit = mark[0] == '^' ? fault->side : -1, by = strcmp(mark, "^KILL") == 0 ? SIGKILL : SIGTERM;
    const bool content_client = pair[CLIENT].status == 0;
    const bool content_server = keep ? strstr(pair[SERVER].text, "acknowledgement received") != NULL
                                     : pair[SERVER].status == 0;
    const bool dismissed = pair[SERVER].status == 128 + SIGTERM && (keep || !content_client);
    const bool fatal = mark[0] == '!' || (mark[0] == '?' && fault->side == CLIENT);
    const bool harmless = mark[0] == '+' || /* -k tries again */
        (keep && hit < 0 && !fatal && strcmp(fault->call, "accept") == 0 && strstr(fault->failure, "-forever") == NULL);
    const bool lost = fault->side == SERVER && (strcmp(mark, "!EPIPE") == 0 || strcmp(mark, "!ENOTCONN") == 0);
    bool whole;
    char reason[256] = "";

    if (dismissed && keep) /* a client that failed is nothing to say a word about */
        pair[SERVER].status = !content_server && content_client;
    for (int side = SERVER; side <= CLIENT; side++) {
        const int status = pair[side].status;
        check(side == hit ? keep || status == 128 + by : (side == SERVER && dismissed && !keep) ||
              ((status == 0 || status == 1) && explains(side, to_output(fault->setup))),
              "the %s ended with status %d and says:\n%s", side_names[side], status, pair[side].text);
    }
    whole = check_directory(fault->setup, hit == CLIENT && by == SIGKILL);
    check(!content_server || (whole && (content_client || hit == CLIENT)), "the server is wrong to be content");
    check(!fatal || !content_server, "the server should not be content");
    check(!harmless || (content_server && content_client), "should have gone on:\n%s%s", pair[SERVER].text,
          pair[CLIENT].text);
    check(hit != CLIENT || strcmp(fault->call, "close-socket") != 0 || fault->setup->shared || content_server,
          "the server has no acknowledgement of a client that died after it");
    if (failure != NULL && sscanf(failure, "failed text %255[^\n]", reason) == 1 &&
        (parent && strcmp(fault->call, "fork") != 0 ? program->status == 1 : !content_server) &&
        !fault->setup->shared) /* of several addresses, another may tell what went wrong */
        check(strstr(program->text, lost ? strerror(ECONNRESET) : reason) != NULL ||
              strstr(program->text, "the kernel opens it") != NULL,
              "the %s does not say '%s', but:\n%s", side_names[fault->side], reason, program->text);
    check(misused == NULL, "%.*s", misused == NULL ? 0 : (int)strcspn(misused, "\n"), misused);
}

/* Runs the case that TEXT describes. Returns whether all promises were kept. */
static bool torture(const char *text)
{
    struct fault fault = { .setup = setups };
    char setup[32], side[8], chosen[WORDS_MAX];

    complaints = 0;
    this_test = text;
    if (sscanf(text, "%31s %7s %31s %d %31s", setup, side, fault.call, &fault.number, fault.failure) != 5)
        die(text);
    while (fault.setup < setups + ELEMENTS(setups) - 1 && strcmp(fault.setup->name, setup) != 0)
        fault.setup++;
    fault.side = strcmp(side, "client") == 0;
    snprintf(chosen, sizeof chosen, "%s %d %s", fault.call, fault.number, fault.failure);
    pair[SERVER].fault = pair[CLIENT].fault = "none";
    pair[fault.side].fault = chosen;

    /* One program is to give up soon, and not the other one. With -k the server itself waits for ever. */
    const bool parent = keeps_serving(fault.setup) && fault.side == SERVER && strncmp(fault.call, "child-", 6) != 0;
    const bool forever = fault.failure[0] != '+' && strstr(fault.failure, "-forever") != NULL;
    const int hurried = parent ? CLIENT : fault.side;
    pair[SERVER].seconds = pair[CLIENT].seconds = AMPLE;
    pair[hurried].seconds = forever ? 1 : AMPLE;
    do /* on a busy machine it may have given up before the call came */
        run(fault.setup);
    while (forever && strstr(pair[fault.side].book, "failed ") == NULL && (pair[hurried].seconds *= 2) < AMPLE);
    judge(&fault);
    return complaints == 0;
}

/* ---- All of them --------------------------------------------------------------------------------------------- */

/* Adds the case ONE. Of a sample, only one case of each kind stays, which its key decides. */
static void add_case(const struct words *one)
{
    int at = seed != NULL ? 0 : cases_count;

    while (at < cases_count && strcmp(cases[at].kind, one->kind) != 0)
        at++;
    if (at < cases_count && cases[at].key <= one->key)
        return;
    if (at == cases_count && ++cases_count > CASES_MAX)
        die("too many cases");
    cases[at] = *one;
}

/* Adds what SIDE can be made to fail with, as its book lists it after a run of SETUP. The key comes from the seed,
 * whatever other cases there are: not every run has as many calls. */
static void list_cases(const struct setup *setup, int side)
{
    char *rest, *word_rest, call[32], errors[256], words[2 * WORDS_MAX];
    int number;

    for (char *line = strtok_r(pair[side].book, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        if (sscanf(line, "call %31s %d %239[^\n]", call, &number, errors) != 3)
            continue;
        snprintf(errors + strlen(errors), 16, " ^KILL ^TERM");
        for (char *word = strtok_r(errors, " ", &word_rest); word != NULL; word = strtok_r(NULL, " ", &word_rest)) {
            struct words one = { .setup = setup, .key = 0xcbf29ce484222325 };
            snprintf(one.text, WORDS_MAX, "%s %s %s %d %s", setup->name, side_names[side], call, number, word);
            snprintf(one.kind, WORDS_MAX, "%s %s %s", side_names[side], call, word);
            snprintf(words, sizeof words, "%s %s", seed != NULL ? seed : "", one.text);
            for (const char *letter = words; *letter != '\0'; letter++)
                one.key = add_to_hash(one.key, (unsigned char)*letter);
            add_case(&one);
        }
    }
}

/* Has processes run the cases, each its share; the first one has all that must not meet others. Returns how many
 * kept all promises. */
static int torture_all(void)
{
    int ends[2], kept = 0;
    char byte;

    make_pipe(ends); /* which gets a byte for each case that did */
    for (int worker = 0; worker < WORKERS; worker++)
        if (split() == 0) {
#ifdef __linux__ /* all of 127.0.0.0/8 is this machine: no client meets the server of another worker */
            const long id = (long)getpid();
            snprintf(host, sizeof host, "127.%ld.%ld.%ld", 1 + id / 62500 % 250, id / 250 % 250, 1 + id % 250);
            const bool alone = false;
#else
            const bool alone = true; /* they would share an address, and a port that one gives up another might get */
#endif
            for (int i = 0; i < cases_count; i++)
                if (worker == (alone || cases[i].setup->shared ? 0 : 1 + i % (WORKERS - 1)) && torture(cases[i].text))
                    must((int)write(ends[1], "+", 1), "pipe");
            exit(0);
        }
    close(ends[1]);
    while (read(ends[0], &byte, 1) == 1)
        kept++;
    while (wait(NULL) > 0)
        ;
    return kept;
}

int main(int argc, char *argv[])
{
    const char *one = NULL;
    int letter, good = 0, bad;
    uint64_t hash = 1;

    begin("torture");
    while ((letter = getopt(argc, argv, "o:s:")) != -1)
        *(letter == 'o' ? &one : &seed) = optarg;
    if (argc - optind != 2) {
        fprintf(stderr, "usage: torture [-o CASE | -s SEED] SERVER CLIENT\n");
        return 2;
    }
    for (int side = SERVER; side <= CLIENT; side++)
        if (realpath(argv[optind + side], pair[side].path) == NULL)
            die(argv[optind + side]);
    program_limit = RUN_LIMIT;
    make_workplace();
    supervise(0, 0);
    for (size_t i = 0; i < sizeof content; i++) /* no two pieces of which are alike */
        content[i] = (char)((hash = add_to_hash(hash, 1)) >> 56);
    put_file("large", content, LARGE);
    put_file("small", content, SMALL);
    must(setenv("ASAN_OPTIONS", "exitcode=99", 0), "setenv"); /* not to be taken for a failure that was told */
    must(setenv("UBSAN_OPTIONS", "halt_on_error=1:exitcode=99", 0), "setenv");
    if (one != NULL) {
        good = torture(one);
        for (int i = SERVER; i <= CLIENT; i++)
            printf("---- %s: status %d\n%s%s", side_names[i], pair[i].status, pair[i].text, pair[i].book);
        return !good;
    }

    /* First the undisturbed runs, to learn what there is. */
    for (const struct setup *setup = setups; setup < setups + ELEMENTS(setups); setup++) {
        complaints = 0;
        this_test = setup->name;
        run(setup);
        judge(&(struct fault){ .setup = setup });
        good += complaints == 0;
        list_cases(setup, SERVER);
        list_cases(setup, CLIENT);
    }
    must(chdir(workplace), workplace);
    good += torture_all();
    bad = (int)ELEMENTS(setups) + cases_count - good;
    printf("%d passed, %d failed\n", good, bad);
    return bad > 0;
}
