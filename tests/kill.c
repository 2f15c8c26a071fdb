/*
 * kill.c - the kill campaign: runs a server and a client again and again, sends one of them a signal at a random
 * moment, and checks that what is left is what both have promised.
 *
 *     tests/kill [-n RUNS] [-s SEED]        from the directory that holds server and client
 *
 * A run is a plan: who is killed, by SIGKILL, SIGINT or SIGTERM, once or again and again, after which line of the
 * transcript and how many microseconds later, with small socket buffers (-b 1025) or those of the kernel (-b 0), over a
 * destination that exists or does not. All of it follows from one number: run I of a campaign has SEED + I, and
 * "tests/kill -n 1 -s NUMBER", shown with every failure, follows that plan again. The scheduler decides what happens
 * then: a rare failure may take a few tries. Before these runs, a receiving client gets every signal that can end it.
 *
 * No verdict depends on how fast anything was, only on what both printed and how they ended. Read main first, then
 * judge. The exit status is 0 if every promise was kept.
 */
#include "tools.h"

#include <glob.h>
#include <sys/resource.h>

enum {
    RUNS = 120,                     /* unless -n says otherwise */
    LIMIT = 60,                     /* seconds; a run that takes longer hangs: far beyond every -t used here */
    DELAY_BITS = 12,                /* the delay after a line is below 2 to this power, in microseconds, */
    LONG_BITS = 17,                 /* and after the start of the client below this one */
    SLOW_MOMENT = 60,               /* one run in so many has the last, slow moment */
    TEXT_ROOM = 4096,               /* what a program says on one of its outputs in one run, at most */
    OLD_LENGTH = 70000,             /* of what the destination holds before */
    SHOW = 5000000,                 /* microseconds between two lines that tell how far we are */
};

enum side { SERVER, CLIENT };
static const char *const names[] = { "server", "client" };
static const int signals[] = { SIGKILL, SIGINT, SIGTERM };
enum { SIGNALS = sizeof signals / sizeof signals[0] };

/* The two kinds of buffers, each with a file that takes long enough to be hit in the middle. */
static struct setting { char *buffers, *source; size_t length; } settings[] = {
    { "0", "large", 4 << 20 }, { "1025", "small", 300 << 10 },
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

/* The moments at which VICTIM is killed: after SPEAKER has said LINE, or, without one, after the client has started. */
static struct moment {
    const char *name;
    enum side victim, speaker;
    const char *line;
    char *patience, *delay;         /* -t of the server: short if a client may die before it connects; client's -d */
    int kills[SIGNALS], delivered;  /* how often, and how often the whole file was there nevertheless */
} moments[] = {
    { "before there is a client", SERVER, SERVER, "Waiting for connecting", "5", "0", { 0 }, 0 },
    { "being connected to", SERVER, CLIENT, "Trying to connect", "5", "0", { 0 }, 0 },
    { "connecting", CLIENT, CLIENT, "Trying to connect", "1", "0", { 0 }, 0 },
    { "sending", SERVER, SERVER, "Start to send", "5", "0", { 0 }, 0 },
    { "receiving", CLIENT, CLIENT, "Recving data", "5", "0", { 0 }, 0 },
    { "all sent, no FIN yet", SERVER, SERVER, "Send data done", "5", "0", { 0 }, 0 },
    { "flushing and renaming", CLIENT, SERVER, "Output stream close", "5", "0", { 0 }, 0 },
    { "waiting for the reply", SERVER, SERVER, "Output stream close", "5", "0", { 0 }, 0 },
    { "about to acknowledge", CLIENT, CLIENT, "Recv done", "5", "0", { 0 }, 0 },
    { "pausing", CLIENT, CLIENT, "Recv done", "5", "3600", { 0 }, 0 },
    { "acknowledged", SERVER, SERVER, "recv the data", "5", "0", { 0 }, 0 },
    { "acknowledged", CLIENT, CLIENT, "Send to server", "5", "0", { 0 }, 0 },
    { "at any time", SERVER, SERVER, NULL, "5", "0", { 0 }, 0 },
    { "at any time", CLIENT, CLIENT, NULL, "1", "0", { 0 }, 0 },
    { "the client pauses", SERVER, CLIENT, "Recv done", "5", "1", { 0 }, 0 }, /* takes that second: see make_plan */
};
enum { MOMENTS = sizeof moments / sizeof moments[0], RECEIVING = 4 };

static struct plan {
    uint64_t seed;
    struct moment *moment;
    struct setting *setting;
    int signal;                     /* its number */
    bool insists;                   /* it comes again and again until the victim has ended */
    bool existed;                   /* the destination holds something before */
    int64_t delay;                  /* microseconds from the moment to the signal */
    bool broken;                    /* a promise was */
} plan;

/* Both programs of that run. */
static struct program {
    char path[PATH_MAX];
    volatile pid_t pid;             /* 0 when there is none; read by the handler of SIGALRM */
    FILE *outputs[2];               /* where we read its standard output and its standard error */
    char text[2][TEXT_ROOM];        /* what came from them */
    int status;                     /* of waitpid */
} pair[2];

static char content[4 << 20];       /* of which every file that is sent is the beginning */
static char *const old = content + 1;   /* what a destination that exists holds before: not the same */

/* Tells of a promise that was not KEPT, and, the first time, how to repeat the run. */
static void expect(bool kept, const char *promise)
{
    if (!kept && !plan.broken)
        printf("FAILED: %s %s, signal %d%s, after %jd microseconds, -b %s, destination %s; -n 1 -s %ju\n",
               names[plan.moment->victim], plan.moment->name, plan.signal, plan.insists ? " again and again" : "",
               (intmax_t)plan.delay, plan.setting->buffers, plan.existed ? "there before" : "not there",
               (uintmax_t)plan.seed);
    if (!kept)
        printf("    not kept: %s\n", promise);
    plan.broken = plan.broken || !kept;
}

/* ---- One run ------------------------------------------------------------------------------------------------- */

/* The handler of SIGALRM. What a dead program has left unsaid ends every wait. */
static void kill_pair(int signal_number)
{
    (void)signal_number;
    for (enum side side = SERVER; side <= CLIENT; side++)
        if (pair[side].pid > 0)
            kill(pair[side].pid, SIGKILL);
}

static void start(enum side side, char *words[])
{
    struct program *program = &pair[side];
    int pipes[2][2];

    words[0] = program->path;
    for (int i = 0; i < 2; i++) {
        make_pipe(pipes[i]);
        program->outputs[i] = fdopen(pipes[i][0], "r");
        program->text[i][0] = '\0';
    }
    program->pid = start_program(words, STDIN_FILENO, pipes[0][1], pipes[1][1]);
    must(close(pipes[0][1]), "close");
    must(close(pipes[1][1]), "close");
}

/* Reads what the program of SIDE says on OUTPUT, 0 or 1, until it has said LINE, or, without one, to the end. Neither
 * ever has to wait for us: all that it says fits into the pipe. */
static void hear(enum side side, int output, const char *line)
{
    char *text = pair[side].text[output];
    size_t length = strlen(text);

    while ((line == NULL || strstr(text, line) == NULL) && length < TEXT_ROOM - 1 &&
           fgets(text + length, (int)(TEXT_ROOM - length), pair[side].outputs[output]) != NULL)
        length += strlen(text + length);
}

/* Hears the program of SIDE out and waits for its end. */
static void finish(enum side side)
{
    struct program *program = &pair[side];

    for (int i = 0; i < 2; i++) {
        hear(side, i, NULL);
        fclose(program->outputs[i]);
    }
    while (waitpid(program->pid, &program->status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    program->pid = 0;
}

/* Lets the plan come true. Afterwards pair holds what both said and how they ended. */
static void play(void)
{
    const struct moment *moment = plan.moment;
    const struct timespec delay = { .tv_nsec = (long)plan.delay * 1000 };
    char port[8] = "", *buffers = plan.setting->buffers;
    char *serve[] = { NULL, "-p", "0", "-t", moment->patience, "-b", buffers, plan.setting->source, NULL };
    char *receive[] = { NULL, "-p", port, "-t", "5", "-d", moment->delay, "-b", buffers, "in/destination", NULL };
    bool lonely = moment == &moments[0];
    siginfo_t end = { .si_pid = 0 };

    alarm(LIMIT);
    start(SERVER, serve);
    hear(SERVER, 1, "port ");
    if (sscanf(pair[SERVER].text[1], "server: listening on %*s port %7[0-9]", port) != 1)
        die("the server does not tell its port");
    if (!lonely)
        start(CLIENT, receive);
    if (moment->line != NULL)
        hear(moment->speaker, 0, moment->line);
    nanosleep(&delay, NULL);
    do {
        must(kill(pair[moment->victim].pid, plan.signal), "kill"); /* at least its zombie is there */
        must(waitid(P_PID, (id_t)pair[moment->victim].pid, &end, WEXITED | WNOHANG | WNOWAIT), "waitid");
    } while (plan.insists && end.si_pid == 0);
    if (lonely)
        start(CLIENT, receive);
    finish(CLIENT);
    finish(SERVER);
    expect(alarm(0) > 0, "nothing hangs");
}

/* True if the destination holds exactly the LENGTH bytes at WANTED. */
static bool holds(const char *wanted, size_t length)
{
    static char found[sizeof content + 2];

    return get_file("in/destination", found, sizeof found) == (ssize_t)length && memcmp(found, wanted, length) == 0;
}

/* Returns how many temporary files there are. */
static size_t left_over(void)
{
    glob_t found = { 0 };
    int problem = glob("in/.[!.]*", 0, NULL, &found);
    size_t count = found.gl_pathc;

    if (problem != 0 && problem != GLOB_NOMATCH)
        die("glob");
    globfree(&found);
    return count;
}

/* True if the program of SIDE has said LINE in its transcript. */
static bool said(enum side side, const char *line)
{
    return strstr(pair[side].text[0], line) != NULL;
}

/* True if what the program of SIDE says on standard error is one line in its own name if it FAILED, at most one if not.
 * The server has told its port before that. */
static bool explains(enum side side, bool failed)
{
    const char *text = pair[side].text[1], *end = strchr(text, '\n');

    if (side == SERVER && end != NULL)
        text = end + 1;
    end = strchr(text, '\n');
    if (*text == '\0')
        return !failed;
    return strncmp(text, names[side], 6) == 0 && text[6] == ':' && end != NULL && end[1] == '\0';
}

/* Checks that what is left of the run is what was promised, and counts it for the table. */
static void judge(void)
{
    struct moment *moment = plan.moment;
    bool whole = holds(content, plan.setting->length);
    bool untouched = plan.existed ? holds(old, OLD_LENGTH) : access("in/destination", F_OK) != 0;
    bool killed[2], late = strstr(pair[SERVER].text[1], "(-t ") != NULL;
    int exits[2];

    for (enum side side = SERVER; side <= CLIENT; side++) {
        int status = pair[side].status;
        killed[side] = side == moment->victim && WIFSIGNALED(status) && WTERMSIG(status) == plan.signal;
        exits[side] = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        expect(killed[side] || exits[side] == 0 || exits[side] == 1, "who is not killed ends with 0 or 1");
        expect(killed[side] || explains(side, exits[side] != 0), "who fails says so, in one line in its name");
    }
    expect(whole || untouched, "the destination is whole or untouched");
    expect(exits[CLIENT] != 0 || whole, "a client that ends with 0 has the file");
    expect(exits[CLIENT] != 1 || untouched, "a client that ends with 1 has left the destination alone");
    expect(exits[SERVER] != 0 || whole, "when the server ends with 0, the client has the file");
    expect(!killed[SERVER] || said(SERVER, "Send data done") || (exits[CLIENT] == 1 && untouched),
           "a server that died in the middle does not look as if it had finished");
    expect(!killed[CLIENT] || (said(CLIENT, "Recv done") && strcmp(moment->delay, "0") == 0) || exits[SERVER] == 1,
           "the server has no acknowledgement of a client that died before it");
    expect(!killed[CLIENT] || !said(CLIENT, "Send to server") || exits[SERVER] == 0 || late,
           "the server has the acknowledgement of a client that died after it");
    expect(left_over() <= (killed[CLIENT] && plan.signal == SIGKILL ? 1 : 0), "no temporary file is left");
    for (enum side side = SERVER; side <= CLIENT && plan.broken; side++)
        printf("    %s: %s %d; it said:\n%s%s", names[side], exits[side] < 0 ? "signal" : "exit",
               exits[side] < 0 ? WTERMSIG(pair[side].status) : exits[side], pair[side].text[0], pair[side].text[1]);
    for (int i = 0; i < SIGNALS; i++)
        moment->kills[i] += killed[moment->victim] && plan.signal == signals[i];
    moment->delivered += killed[moment->victim] && whole;
}

/* ---- The campaign -------------------------------------------------------------------------------------------- */

/* Returns the plan that follows from SEED. */
static struct plan make_plan(uint64_t seed)
{
    struct plan made = { .seed = seed, .moment = &moments[MOMENTS - 1] };
    uint64_t state = seed, bits;

    /* The moments take turns, all but the last, which costs a second and has its turn rarely. */
    if (seed % SLOW_MOMENT != 0)
        made.moment = &moments[seed % SLOW_MOMENT % (MOMENTS - 1)];
    made.setting = &settings[draw(&state) % SETTINGS];
    made.signal = signals[draw(&state) % SIGNALS];
    made.insists = draw(&state) % 2 == 0;
    made.existed = draw(&state) % 2 == 0;
    /* Short delays matter most: every power of two is as likely as the others. */
    bits = draw(&state) % (made.moment->line == NULL ? LONG_BITS : DELAY_BITS);
    made.delay = (int64_t)(draw(&state) % (UINT64_C(2) << bits));
    return made;
}

/* True if signal NUMBER ends a program that does nothing about it, and ought to end the client. */
static bool is_deadly(int number)
{
    static const int others[] = { SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGCHLD, SIGURG,
#ifdef SIGWINCH
                                  SIGWINCH,
#endif
#ifdef SIGINFO
                                  SIGINFO,
#endif
                                  SIGPIPE, SIGXFSZ }; /* these two the client ignores: write tells it more */

    struct sigaction before;

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (number == others[i])
            return false;
    /* Between the two ranges are the C library's own. What is not as at the start of every program, here and in the
     * client, is ignored, or has a sanitizer's handler; but for SIGALRM, which is ours. */
    return (number <= 31 || number >= SIGRTMIN) && sigaction(number, NULL, &before) == 0 &&
           (before.sa_handler == SIG_DFL || number == SIGALRM);
}

/* Makes run DONE of TOTAL, and returns how many broke a promise so far. Tells how far we are from time to time. */
static int run(struct plan made, int done, int total)
{
    static int64_t began, shown;
    static int failed;
    int64_t now;

    plan = made;
    remove_tree("in");
    must(mkdir("in", 0777), "in");
    if (plan.existed)
        put_file("in/destination", old, OLD_LENGTH);
    play();
    judge();
    failed += plan.broken;
    now = microseconds();
    if (began == 0)
        began = shown = now;
    if (now - shown > SHOW) {
        shown = now;
        printf("kill: %d of %d done, %d failed, %jd s left\n", done, total, failed,
               (intmax_t)((now - began) / done * (total - done) / 1000000));
        must(fflush(stdout), "standard output");
    }
    return failed;
}

/* Makes all that the runs need in a directory of its own. */
static void set_up(void)
{
    const struct sigaction action = { .sa_handler = kill_pair };
    const struct rlimit none = { 0, 0 };
    uint64_t state = 1; /* what the bytes are does not matter; that no two pieces are alike does */

    for (enum side side = SERVER; side <= CLIENT; side++)
        if (realpath(names[side], pair[side].path) == NULL)
            die(names[side]);
    make_workplace();
    supervise(0);
    must(sigaction(SIGALRM, &action, NULL), "sigaction");
    must(setrlimit(RLIMIT_CORE, &none), "setrlimit"); /* some of the signals would leave a core */
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)draw(&state);
    for (int i = 0; i < SETTINGS; i++)
        put_file(settings[i].source, content, settings[i].length);
}

int main(int argc, char *argv[])
{
    uint64_t seed = any_seed();
    int letter, runs = RUNS, deadly[192] = { 0 }, once = 0, first, failed = 0;

    tool = "kill";
    while ((letter = getopt(argc, argv, "n:s:")) != -1)
        if (letter == 'n')
            runs = atoi(optarg);
        else if (letter == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            return 2;
    if (optind != argc || runs < 1) {
        fprintf(stderr, "usage: kill [-n RUNS] [-s SEED]\n");
        return 2;
    }
    set_up();
    printf("kill: %d runs, tests/kill -n %d -s %ju makes the same plans again\n", runs, runs, (uintmax_t)seed);
    for (int number = 1; number <= SIGRTMAX; number++)
        if (is_deadly(number))
            deadly[once++] = number;
    first = once;
    for (int i = 0; i < once && deadly[i] < SIGRTMIN; i++) /* these again and again: not those that queue up */
        deadly[first++] = deadly[i];
    for (int i = 0; i < first + runs; i++) {
        struct plan receiving = { .moment = &moments[RECEIVING], .setting = &settings[1], .existed = true };
        receiving.signal = deadly[i < first ? i : 0];
        receiving.insists = i >= once;
        failed = run(i < first ? receiving : make_plan(seed + (uint64_t)(i - first)), i + 1, first + runs);
    }
    printf("%-32s  SIGKILL   SIGINT  SIGTERM  file there nevertheless\n", "killed");
    for (struct moment *moment = moments; moment < moments + MOMENTS; moment++)
        printf("%s %-25s%9d%9d%9d%25d\n", names[moment->victim], moment->name, moment->kills[0], moment->kills[1],
               moment->kills[2], moment->delivered);
    printf("%d passed, %d failed\n", first + runs - failed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
