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
 * then: a rare failure may take a few tries. Before these runs, a receiving client gets every signal that it should
 * clean up after.
 *
 * No verdict depends on how fast anything was, only on what both printed and how they ended. Read main first, then
 * judge. The exit status is 0 if every promise was kept.
 */
#define CHECKS
#include "tools.h"

#include <sys/resource.h>

enum {
    DELAY_BITS = 12,                /* the delay after a line is below 2 to this power, in microseconds, */
    LONG_BITS = 17,                 /* and after the start of the client below this one */
    SLOW_MOMENT = 60,               /* one run in so many has the last, slow moment */
};

static const int signals[] = { SIGKILL, SIGINT, SIGTERM }; /* of the random runs */

/* Those with which people and systems end programs, after which the client leaves no temporary file. */
static const int deadly[] = { SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGBUS, SIGSEGV, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2,
                              SIGXCPU, SIGVTALRM, SIGPROF };

/* The two kinds of buffers, each with a file that takes long enough to be hit in the middle. */
static const struct setting { const char *buffers, *source; size_t length; } settings[] = {
    { "0", "large", 4 << 20 }, { "1025", "small", 300 << 10 },
};

/* The moments at which VICTIM is killed: after SPEAKER has said LINE, or, without one, after the client has started. */
static const struct moment {
    const char *name;
    int victim, speaker;
    const char *line;
    const char *patience, *delay;   /* -t of the server: short if a client may die before it connects; client's -d */
} moments[] = {
    { "before there is a client", SERVER, SERVER, "Waiting for connecting", "5", "0" },
    { "being connected to", SERVER, CLIENT, "Trying to connect", "5", "0" },
    { "connecting", CLIENT, CLIENT, "Trying to connect", "1", "0" },
    { "sending", SERVER, SERVER, "Start to send", "5", "0" },
    { "receiving", CLIENT, CLIENT, "Recving data", "5", "0" },
    { "all sent, no FIN yet", SERVER, SERVER, "Send data done", "5", "0" },
    { "flushing and renaming", CLIENT, SERVER, "Output stream close", "5", "0" },
    { "waiting for the reply", SERVER, SERVER, "Output stream close", "5", "0" },
    { "about to acknowledge", CLIENT, CLIENT, "Recv done", "5", "0" },
    { "pausing", CLIENT, CLIENT, "Recv done", "5", "3600" },
    { "acknowledged", SERVER, SERVER, "recv the data", "5", "0" },
    { "acknowledged", CLIENT, CLIENT, "Send to server", "5", "0" },
    { "at any time", SERVER, SERVER, NULL, "5", "0" },
    { "at any time", CLIENT, CLIENT, NULL, "1", "0" },
    { "the client pauses", SERVER, CLIENT, "Recv done", "5", "1" }, /* takes that second: see make_plan */
};
enum { RECEIVING = 4 };

struct plan {
    const struct moment *moment;
    const struct setting *setting;
    int signal;                     /* its number */
    bool insists;                   /* it comes again and again until the victim has ended */
    bool existed;                   /* the destination holds something before */
    int64_t delay;                  /* microseconds from the moment to the signal */
};

static char content[4 << 20];       /* of which every file that is sent is the beginning */

/* Lets the PLAN come true. Afterwards pair holds what both said and how they ended. */
static void play(const struct plan *plan)
{
    const struct moment *moment = plan->moment;
    char address[64], port[8];
    const char *serve[] = { NULL, "-a", own_address(), "-p", "0", "-t", moment->patience,
                            "-b", plan->setting->buffers, plan->setting->source, NULL };
    const char *receive[] = { NULL, "-a", address, "-p", port, "-t", "5", "-d", moment->delay,
                              "-b", plan->setting->buffers, "in/destination", NULL };
    bool lonely = moment == &moments[0];
    siginfo_t end = { .si_pid = 0 };

    start_side(SERVER, serve, STDIN_FILENO, -1);
    if (!hear_port(address, port))
        die("the server does not tell its port");
    if (!lonely)
        start_side(CLIENT, receive, STDIN_FILENO, -1);
    if (moment->line != NULL)
        hear(moment->speaker, 0, moment->line);
    pause_for(plan->delay);
    do {
        must(kill(pair[moment->victim].pid, plan->signal), "kill"); /* at least its zombie is there */
        must(waitid(P_PID, (id_t)pair[moment->victim].pid, &end, WEXITED | WNOHANG | WNOWAIT), "waitid");
    } while (plan->insists && end.si_pid == 0);
    if (lonely)
        start_side(CLIENT, receive, STDIN_FILENO, -1);
    finish(CLIENT);
    finish(SERVER);
}

/* True if the program of SIDE has said LINE in its transcript. */
static bool said(int side, const char *line)
{
    return strstr(pair[side].text[0], line) != NULL;
}

/* Checks that what is left of the run is what was promised. */
static void judge(const struct plan *plan)
{
    const struct moment *moment = plan->moment;
    const bool late = strstr(pair[SERVER].text[1], "(-t ") != NULL;
    const bool hit = pair[moment->victim].status == 128 + plan->signal;
    const int killed = hit ? moment->victim : -1;

    check_ends(killed, false);
    const bool whole = check_destination("in/destination", content, plan->setting->length, plan->existed);
    check(pair[SERVER].status != 0 || whole, "the server is wrong to be content");
    check(killed != SERVER || said(SERVER, "Send data done") || pair[CLIENT].status == 1,
          "a server that died in the middle looks as if it had finished");
    check(killed != CLIENT || pair[SERVER].status == 1 ||
          (said(CLIENT, "Recv done") && strcmp(moment->delay, "0") == 0),
          "the server has an acknowledgement of a client that died before it");
    check(killed != CLIENT || !said(CLIENT, "Send to server") || pair[SERVER].status == 0 || late,
          "the server has no acknowledgement of a client that died after it");
    check(strangers("in", " destination ") <= (killed == CLIENT && plan->signal == SIGKILL),
          "a temporary file is left");
    for (int side = SERVER; side <= CLIENT && complaints > 0; side++)
        printf("    %s: status %d; it said:\n%s%s", side_names[side], pair[side].status, pair[side].text[0],
               pair[side].text[1]);
}

/* Returns the plan that follows from SEED. */
static struct plan make_plan(uint64_t seed)
{
    struct plan made = { .moment = &moments[ELEMENTS(moments) - 1] };
    uint64_t state = seed, bits;

    /* The moments take turns, all but the last, which costs a second and has its turn rarely. */
    if (seed % SLOW_MOMENT != 0)
        made.moment = &moments[seed % SLOW_MOMENT % (ELEMENTS(moments) - 1)];
    made.setting = &settings[draw(&state) % ELEMENTS(settings)];
    made.signal = signals[draw(&state) % ELEMENTS(signals)];
    made.insists = draw(&state) % 2 == 0;
    made.existed = draw(&state) % 2 == 0;
    /* Short delays matter most: every power of two is as likely as the others. */
    bits = draw(&state) % (made.moment->line == NULL ? LONG_BITS : DELAY_BITS);
    made.delay = (int64_t)(draw(&state) % (UINT64_C(2) << bits));
    return made;
}

/* True unless a sanitizer has a handler for signal NUMBER, here and in the client. That of SIGALRM is ours. */
static bool is_free(int number)
{
    struct sigaction before;

    return number == SIGALRM || (sigaction(number, NULL, &before) == 0 && before.sa_handler == SIG_DFL);
}

/* Makes the run PLAN, which is also told after a failure. Returns whether it broke a promise. */
static bool run(const struct plan *plan, uint64_t seed)
{
    begin_test("%s %s, signal %d%s, after %jd microseconds, -b %s, destination %s; -n 1 -s %ju",
               side_names[plan->moment->victim], plan->moment->name, plan->signal,
               plan->insists ? " again and again" : "", (intmax_t)plan->delay, plan->setting->buffers,
               plan->existed ? "there before" : "not there", (uintmax_t)seed);
    remove_tree("in");
    must(mkdir("in", 0777), "in");
    if (plan->existed)
        put_file("in/destination", old_content, strlen(old_content));
    play(plan);
    judge(plan);
    return complaints > 0;
}

int main(int argc, char *argv[])
{
    const struct rlimit none = { 0, 0 };
    uint64_t seed = any_seed();
    int letter, runs = 120, done = 0, broken = 0;

    begin("kill");
    while ((letter = getopt(argc, argv, "n:s:")) != -1)
        if (letter == 'n')
            runs = atoi(optarg);
        else if (letter == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            runs = 0;
    if (optind != argc || runs < 1) {
        fprintf(stderr, "usage: kill [-n RUNS] [-s SEED]\n");
        return 2;
    }
    find_program(SERVER, "server");
    find_program(CLIENT, "client");
    make_workplace();
    supervise(0);
    must(setrlimit(RLIMIT_CORE, &none), "setrlimit"); /* some of the signals would leave a core */
    draw_bytes(content, sizeof content, 1);
    for (size_t i = 0; i < ELEMENTS(settings); i++)
        put_file(settings[i].source, content, settings[i].length);
    printf("kill: %d runs, tests/kill -n %d -s %ju makes the same plans again\n", runs, runs, (uintmax_t)seed);
    for (int i = 0; i < 2 * (int)ELEMENTS(deadly); i++)
        if (is_free(deadly[i / 2])) {
            const struct plan plan = { .moment = &moments[RECEIVING], .setting = &settings[1],
                                       .signal = deadly[i / 2], .insists = i % 2 == 1, .existed = true };
            broken += run(&plan, seed);
            done++;
        }
    for (int i = 0; i < runs; i++, done++) {
        const struct plan plan = make_plan(seed + (uint64_t)i);
        broken += run(&plan, seed + (uint64_t)i);
        tell_progress(i + 1, runs, broken);
    }
    printf("%d passed, %d failed\n", done - broken, broken);
    return broken > 0;
}
