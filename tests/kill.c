/*
 * kill.c - the kill campaign: runs a server and a client again and again, sends one of them a signal at a moment chosen by
 * chance, and checks that what is left is what both have promised.
 *
 *     tests/kill [-n RUNS] [-s SEED]        from the directory that holds server and client
 *
 * A run is a plan: who is killed, by SIGKILL, SIGINT or SIGTERM, after which line of the transcript and how many microseconds
 * later, with small socket buffers (-b 1025) or those of the kernel (-b 0), over a destination that exists or does not. The
 * whole plan follows from one number: run I of a campaign has SEED + I, and `tests/kill -n 1 -s NUMBER`, shown with every
 * failure, makes that plan again. What it then meets is up to the scheduler, so a rare failure may take a few tries.
 *
 * No verdict depends on how fast anything was: what must hold follows from what both have said and how they ended. Read main
 * first, then judge. The exit status is 0 if all runs passed.
 */
#define _XOPEN_SOURCE 700 /* POSIX.1-2008, with realpath */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SHORT_CAMPAIGN = 120,           /* runs, unless -n says otherwise */
    SECONDS_LIMIT = 60,             /* a run that takes longer hangs: far beyond every -t used here */
    DELAY_BITS = 12,                /* the delay after a line of the transcript is below 2 to this power, in microseconds */
    SLOW_MOMENT = 60,               /* one run in so many has the last, slow moment */
    TEXT_ROOM = 4096,               /* what a program says on one of its outputs in one run, at most */
    OLD_LENGTH = 70000,             /* the length of what the destination holds before */
};

enum side { SERVER, CLIENT };
static const char *const names[] = { "server", "client" };

static const struct { int number; const char *name; } signals[] = {
    { SIGKILL, "SIGKILL" }, { SIGINT, "SIGINT" }, { SIGTERM, "SIGTERM" },
};
enum { SIGNALS = sizeof signals / sizeof signals[0] };

/* The two kinds of buffers, each with a file that takes long enough to be hit in the middle. */
static struct setting {
    const char *buffers;            /* -b */
    const char *source;             /* the name of what is sent */
    size_t length;                  /* its length */
    char *content;                  /* and its bytes */
    int64_t duration;               /* microseconds from the start of the client to the end of both, left alone */
} settings[] = {
    { .buffers = "0", .source = "large", .length = 4 << 20 },
    { .buffers = "1025", .source = "small", .length = 300 << 10 },
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

/* The moments at which VICTIM is killed: a little after SPEAKER has said LINE, or, without a line, at any time between
 * the start of the client and a little after the end. A server that is killed before there is a client needs no client
 * yet. */
static const struct moment {
    const char *name;
    enum side victim, speaker;
    const char *line;
    const char *server_patience;    /* -t of the server: short where a client may die before it has connected */
    const char *delay;              /* -d of the client: endless where it is killed while it waits */
} moments[] = {
    { "listening", SERVER, SERVER, "Waiting for connecting", "5", "0" },
    { "connecting", SERVER, CLIENT, "Trying to connect", "5", "0" },
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
    { "any time", SERVER, SERVER, NULL, "5", "0" },
    { "any time", CLIENT, CLIENT, NULL, "1", "0" },
    { "while the client pauses", SERVER, CLIENT, "Recv done", "5", "1" }, /* takes that second: see make_plan */
};
enum { MOMENTS = sizeof moments / sizeof moments[0] };

/* What the victim had last done when it died, for the table at the end: the last of its rows whose LINE SPEAKER has
 * said. */
static struct phase {
    enum side victim, speaker;
    const char *line, *name;
    int kills[SIGNALS], delivered;  /* how often, and how often the client had or got the whole file nevertheless */
} phases[] = {
    { SERVER, SERVER, "", "starting", { 0 }, 0 },
    { SERVER, SERVER, "Waiting for", "listening", { 0 }, 0 },
    { SERVER, SERVER, "New client", "client accepted", { 0 }, 0 },
    { SERVER, SERVER, "Start to send", "sending", { 0 }, 0 },
    { SERVER, SERVER, "Send data done", "all sent, no FIN yet", { 0 }, 0 },
    { SERVER, SERVER, "Output stream", "waiting for the reply", { 0 }, 0 },
    { SERVER, SERVER, "recv the data", "acknowledged", { 0 }, 0 },
    { CLIENT, CLIENT, "", "starting", { 0 }, 0 },
    { CLIENT, CLIENT, "Trying to connect", "connecting", { 0 }, 0 },
    { CLIENT, CLIENT, "Recving data", "receiving", { 0 }, 0 },
    { CLIENT, SERVER, "Output stream", "flushing and renaming", { 0 }, 0 },
    { CLIENT, CLIENT, "Recv done", "about to acknowledge", { 0 }, 0 },
    { CLIENT, CLIENT, "Send to server", "acknowledged", { 0 }, 0 },
};
enum { PHASES = sizeof phases / sizeof phases[0] };

/* The run that is on. SIGNAL is an index into signals, or -1 if nobody is to be killed. */
static struct plan {
    uint64_t seed;
    const struct moment *moment;
    struct setting *setting;
    int signal;
    bool existed;                   /* the destination holds something before */
    int64_t microseconds;           /* from the moment to the signal */
    bool violated;                  /* something that must hold did not */
} plan;

/* Both programs of that run. */
static struct program {
    char *path;
    volatile pid_t pid;             /* 0 when there is none; read by the handler of the signals that interrupt us */
    int outputs[2];                 /* where we read its standard output and its standard error; -1 once they have ended */
    char text[2][TEXT_ROOM];        /* what came from them */
    int status;                     /* of waitpid */
} pair[2];

static char workplace[1024];        /* a directory of our own, in which we work; removed at the end */
static char old[OLD_LENGTH];        /* what a destination that exists holds before */
static volatile sig_atomic_t interrupted;

/* ---- Around the campaign ------------------------------------------------------------------------------------- */

/* Kills what runs. */
static void kill_pair(void)
{
    for (enum side side = SERVER; side <= CLIENT; side++)
        if (pair[side].pid > 0)
            kill(pair[side].pid, SIGKILL);
}

/* The handler of what interrupts a campaign. With both programs gone every wait ends, and main sees why. */
static void interrupt(int number)
{
    interrupted = number;
    kill_pair();
}

/* Removes the files of the destination's directory. Returns how many there were beside the destination, or -1 if one of
 * them was not a temporary file of the client. */
static int clear_destination(void)
{
    DIR *listing = opendir("in");
    struct dirent *entry;
    int count = 0;

    while (listing != NULL && (entry = readdir(listing)) != NULL) {
        const char *name = entry->d_name;
        char path[1024];
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "in/%s", name);
        unlink(path);
        if (strcmp(name, "destination") != 0 && count >= 0)
            count = strncmp(name, ".client-", 8) == 0 && strlen(name) == 14 ? count + 1 : -1;
    }
    if (listing != NULL)
        closedir(listing);
    return count;
}

/* Leaves nothing behind, on every way out. What is already gone cannot be removed, and that is fine. */
static void clean_up(void)
{
    kill_pair();
    clear_destination();
    rmdir("in");
    for (int i = 0; i < SETTINGS; i++)
        unlink(settings[i].source);
    rmdir(workplace);
}

/* Says what failed here, not in the programs, and ends. */
static _Noreturn void die(const char *what)
{
    fprintf(stderr, "kill: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* Tells of something that must hold in every run and did not hold in this one, and, the first time, how to repeat the
 * run. */
__attribute__((format(printf, 1, 2)))
static void violation(const char *format, ...)
{
    va_list arguments;

    if (!plan.violated)
        printf("\nFAILED: %s, %s killed by %s after %jd microseconds, -b %s, destination %s before\n"
               "    again: tests/kill -n 1 -s %ju\n", plan.moment->name, plan.signal < 0 ? "nobody" : names[plan.moment->victim],
               plan.signal < 0 ? "nothing" : signals[plan.signal].name, (intmax_t)plan.microseconds, plan.setting->buffers,
               plan.existed ? "there" : "not there", (uintmax_t)plan.seed);
    plan.violated = true;
    va_start(arguments, format);
    printf("    ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

/* Returns the next number of a sequence that is the same on every machine (splitmix64, Steele, Lea and Flood 2014). */
static uint64_t draw(uint64_t *state)
{
    uint64_t mixed = *state += 0x9e3779b97f4a7c15;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    return mixed ^ mixed >> 31;
}

/* Returns microseconds on a clock that never jumps. */
static int64_t now(void)
{
    struct timespec time;

    if (clock_gettime(CLOCK_MONOTONIC, &time) != 0)
        die("clock_gettime");
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* Writes LENGTH bytes from CONTENT to the file NAME, in place of what it held. */
static void write_file(const char *name, const char *content, size_t length)
{
    FILE *file = fopen(name, "w");

    if (file == NULL || fwrite(content, 1, length, file) != length || fclose(file) != 0)
        die(name);
}

/* Returns true if the file NAME holds exactly the LENGTH bytes of CONTENT. */
static bool holds(const char *name, const char *content, size_t length)
{
    static char block[64 * 1024];
    size_t done = 0, count;
    FILE *file = fopen(name, "r");
    bool same = file != NULL;

    while (same && (count = fread(block, 1, sizeof block, file)) > 0) {
        same = count <= length - done && memcmp(block, content + done, count) == 0;
        done += count;
    }
    same = same && !ferror(file) && done == length;
    if (file != NULL)
        fclose(file);
    return same;
}

/* ---- One run ------------------------------------------------------------------------------------------------- */

/* Starts the program of SIDE, with both its outputs in pipes to us. */
static void start(enum side side, char *arguments[])
{
    const struct sigaction normal = { .sa_handler = SIG_DFL };
    struct program *program = &pair[side];
    int pipes[2][2];
    sigset_t all, before;

    for (int i = 0; i < 2; i++) {
        if (pipe(pipes[i]) != 0 || fcntl(pipes[i][0], F_SETFD, FD_CLOEXEC) != 0 || fcntl(pipes[i][1], F_SETFD, FD_CLOEXEC) != 0)
            die("pipe");
        program->outputs[i] = pipes[i][0];
    }
    /* An interruption waits until the number of the process is known. */
    if (fflush(stdout) != 0 || sigfillset(&all) != 0 || sigprocmask(SIG_SETMASK, &all, &before) != 0 ||
        (program->pid = fork()) < 0)
        die("fork");
    if (program->pid == 0) {
        /* A shell may have started us with some of them ignored, and what is ignored stays ignored. */
        for (int i = 1; i < SIGNALS; i++)
            if (sigaction(signals[i].number, &normal, NULL) != 0)
                _exit(126);
        if (sigprocmask(SIG_SETMASK, &before, NULL) == 0 && dup2(pipes[0][1], STDOUT_FILENO) >= 0 &&
            dup2(pipes[1][1], STDERR_FILENO) >= 0)
            execv(program->path, arguments);
        _exit(127);
    }
    if (close(pipes[0][1]) != 0 || close(pipes[1][1]) != 0 || sigprocmask(SIG_SETMASK, &before, NULL) != 0)
        die(names[side]);
}

/* Returns true if the program of SIDE has said LINE, and the whole of it, on output 0 or 1. */
static bool said(enum side side, int output, const char *line)
{
    const char *found = strstr(pair[side].text[output], line);

    return found != NULL && (*line == '\0' || strchr(found, '\n') != NULL);
}

/* Reads what one output of a program has for us, and notes its end. */
static void take(struct program *program, int output)
{
    char *text = program->text[output];
    size_t length = strlen(text);
    ssize_t count = read(program->outputs[output], text + length, TEXT_ROOM - 1 - length);

    if (count < 0 && errno != EINTR)
        die("read");
    if (count > 0)
        text[length + (size_t)count] = '\0';
    if (count == 0) { /* the end, or more text than any run may print: then it meets a broken pipe */
        close(program->outputs[output]);
        program->outputs[output] = -1;
    }
}

/* Listens to both programs until the one of SIDE has said LINE on its OUTPUT; without a LINE, and in any case, only
 * until all outputs have ended. Kills both, a violation, if the run lasts beyond UNTIL. */
static void hear(enum side side, int output, const char *line, int64_t until)
{
    while (line == NULL || !said(side, output, line)) {
        struct pollfd wanted[4];
        int left = 0, ready;
        for (int i = 0; i < 4; i++) {
            wanted[i] = (struct pollfd){ .fd = pair[i / 2].outputs[i % 2], .events = POLLIN };
            left += wanted[i].fd >= 0;
        }
        if (left == 0)
            return;
        int64_t patience = until - now();
        ready = poll(wanted, 4, patience > 0 ? (int)(patience / 1000 + 1) : 0);
        if (ready < 0 && errno != EINTR)
            die("poll");
        if (ready == 0) {
            violation("hangs: still running after %d seconds", SECONDS_LIMIT);
            kill_pair();
            until += (int64_t)SECONDS_LIMIT * 1000000;
        }
        for (int i = 0; i < 4 && ready > 0; i++)
            if (wanted[i].revents != 0)
                take(&pair[i / 2], i % 2);
    }
}

/* Lets the plan come true. Afterwards both programs have ended, and pair holds what they said and how they ended. */
static void play(void)
{
    const struct moment *moment = plan.moment;
    char port[8] = "", *buffers = (char *)plan.setting->buffers; /* execv writes to none of its arguments */
    char *serve[] = { "server", "-p", "0", "-t", (char *)moment->server_patience, "-b", buffers,
                      (char *)plan.setting->source, NULL };
    char *receive[] = { "client", "-p", port, "-t", "5", "-d", (char *)moment->delay, "-b", buffers, "in/destination", NULL };
    int64_t until = now() + (int64_t)SECONDS_LIMIT * 1000000, began;
    bool lonely = plan.signal >= 0 && moment == &moments[0]; /* the server dies before there is a client */

    for (enum side side = SERVER; side <= CLIENT; side++) {
        struct program *program = &pair[side];
        *program = (struct program){ .path = program->path, .outputs = { -1, -1 } };
    }
    start(SERVER, serve);
    hear(SERVER, 1, "port ", until);
    if (!interrupted && sscanf(pair[SERVER].text[1], "server: listening on %*s port %7[0-9]", port) != 1)
        die("the server does not tell its port");
    began = now();
    if (!lonely)
        start(CLIENT, receive);
    if (plan.signal >= 0) {
        struct timespec delay = { .tv_sec = (time_t)(plan.microseconds / 1000000),
                                  .tv_nsec = (long)(plan.microseconds % 1000000 * 1000) };
        if (moment->line != NULL)
            hear(moment->speaker, 0, moment->line, until);
        nanosleep(&delay, NULL); /* cut short only when we are interrupted */
        if (kill(pair[moment->victim].pid, signals[plan.signal].number) != 0) /* at least its zombie is there */
            die("kill");
    }
    if (lonely) {
        hear(SERVER, 0, NULL, until);
        start(CLIENT, receive);
    }
    hear(CLIENT, 0, NULL, until);
    plan.setting->duration = plan.signal < 0 ? now() - began : plan.setting->duration;
    for (enum side side = SERVER; side <= CLIENT; side++) {
        pid_t pid = pair[side].pid;
        while (waitpid(pid, &pair[side].status, 0) < 0)
            if (errno != EINTR)
                die("waitpid");
        pair[side].pid = 0;
    }
}

/* Checks what the program of SIDE says on standard error: one line in its own name if it failed, at most one if not.
 * The server has told its port before that. */
static void judge_message(enum side side, bool failed)
{
    const char *text = pair[side].text[1], *end = strchr(text, '\n');
    char name[16];

    if (side == SERVER && end != NULL)
        text = end + 1;
    snprintf(name, sizeof name, "%s: ", names[side]);
    end = strchr(text, '\n');
    if (*text == '\0' ? failed : strncmp(text, name, strlen(name)) != 0 || end == NULL || end[1] != '\0')
        violation("the %s's message is not one line in its name", names[side]);
}

/* Checks that what is left of the run is what was promised. Counts it for the table. */
static void judge(void)
{
    const struct setting *setting = plan.setting;
    bool whole = holds("in/destination", setting->content, setting->length);
    bool untouched = plan.existed ? holds("in/destination", old, sizeof old) : access("in/destination", F_OK) != 0;
    int left_over = clear_destination(), exits[2];
    bool killed[2], told_late = strstr(pair[SERVER].text[1], "(-t ") != NULL;

    for (enum side side = SERVER; side <= CLIENT; side++) {
        int status = pair[side].status;
        killed[side] = plan.signal >= 0 && side == plan.moment->victim && WIFSIGNALED(status) &&
                       WTERMSIG(status) == signals[plan.signal].number;
        exits[side] = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        if (!killed[side] && exits[side] != 0 && exits[side] != 1)
            violation("the %s did not end as it may", names[side]);
        if (plan.signal < 0 && exits[side] != 0)
            violation("left alone, the %s failed", names[side]);
        if (!killed[side])
            judge_message(side, exits[side] != 0);
    }

    if (!whole && !untouched)
        violation("the destination is neither whole nor what it was");
    if (exits[CLIENT] == 0 && !whole)
        violation("the client says that it has the file, and has not");
    if (exits[CLIENT] == 1 && !untouched)
        violation("the client says that it does not have the file, and the destination has changed");
    if (exits[SERVER] == 0 && !whole)
        violation("the server says that the client has the file, and it has not");
    if (killed[SERVER] && !said(SERVER, 0, "Send data done") && (exits[CLIENT] != 1 || !untouched))
        violation("the server died in the middle, and the client takes that for the end");
    if (killed[CLIENT] && (!said(CLIENT, 0, "Recv done") || strcmp(plan.moment->delay, "0") != 0) && exits[SERVER] != 1)
        violation("the client died before the acknowledgement, and the server has it");
    if (killed[CLIENT] && said(CLIENT, 0, "Send to server") && exits[SERVER] != 0 && !told_late)
        violation("the client died after the acknowledgement, and the server does not have it");
    if (left_over < 0 || left_over > (killed[CLIENT] && signals[plan.signal].number == SIGKILL ? 1 : 0))
        violation("more files are left in the directory of the destination than may be");

    for (enum side side = SERVER; side <= CLIENT && plan.violated; side++)
        printf("    %s: %s %d; it said:\n%s%s", names[side], exits[side] < 0 ? "signal" : "exit",
               exits[side] < 0 ? WTERMSIG(pair[side].status) : exits[side], pair[side].text[0], pair[side].text[1]);
    struct phase *phase = NULL;
    for (int i = 0; i < PHASES; i++)
        if (plan.signal >= 0 && killed[phases[i].victim] && said(phases[i].speaker, 0, phases[i].line))
            phase = &phases[i];
    if (phase != NULL) {
        phase->kills[plan.signal]++;
        phase->delivered += whole;
    }
}

/* Makes the plan that follows from SEED. */
static void make_plan(uint64_t seed)
{
    uint64_t state = seed;

    /* The moments take turns, all but the last, which costs a second and has its turn rarely. */
    plan = (struct plan){ .seed = seed, .moment = &moments[MOMENTS - 1] };
    if (seed % SLOW_MOMENT != 0)
        plan.moment = &moments[seed % SLOW_MOMENT % (MOMENTS - 1)];
    plan.setting = &settings[draw(&state) % SETTINGS];
    plan.signal = (int)(draw(&state) % SIGNALS);
    plan.existed = draw(&state) % 2 == 0;
    /* After an event short delays matter most: every power of two is as likely as the others. */
    uint64_t most = UINT64_C(1) << draw(&state) % (DELAY_BITS + 1);
    if (plan.moment->line == NULL)
        most = (uint64_t)plan.setting->duration * 6 / 5 + 1;
    plan.microseconds = (int64_t)(draw(&state) % most);
}

/* Plays and judges one run. Returns true if nothing that must hold was violated. */
static bool run(void)
{
    if (plan.existed)
        write_file("in/destination", old, sizeof old);
    play();
    if (!interrupted)
        judge();
    return !plan.violated;
}

/* Makes the workplace with all that the runs need, and goes there. */
static void set_up(void)
{
    const char *parent = getenv("TMPDIR");
    const struct sigaction action = { .sa_handler = interrupt };
    const int stops[] = { SIGHUP, SIGINT, SIGTERM };
    uint64_t state = 1; /* what the bytes are does not matter; that no two pieces are alike does */

    for (enum side side = SERVER; side <= CLIENT; side++)
        if ((pair[side].path = realpath(names[side], NULL)) == NULL)
            die(names[side]);
    snprintf(workplace, sizeof workplace, "%s/kill-XXXXXX", parent != NULL ? parent : "/tmp");
    for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++)
        if (sigaction(stops[i], &action, NULL) != 0)
            die("sigaction");
    if (mkdtemp(workplace) == NULL || chdir(workplace) != 0)
        die(workplace);
    if (atexit(clean_up) != 0 || mkdir("in", 0777) != 0)
        die("in");
    for (size_t i = 0; i < sizeof old; i++)
        old[i] = (char)draw(&state);
    for (struct setting *setting = settings; setting < settings + SETTINGS; setting++) {
        setting->content = malloc(setting->length);
        if (setting->content == NULL)
            die("malloc");
        for (size_t i = 0; i < setting->length; i++)
            setting->content[i] = (char)draw(&state);
        write_file(setting->source, setting->content, setting->length);
    }
}

/* Prints how many died where. */
static void print_table(void)
{
    printf("\n%-30s", "killed while");
    for (int i = 0; i < SIGNALS; i++)
        printf("%9s", signals[i].name);
    printf("%24s\n", "file there nevertheless");
    for (const struct phase *phase = phases; phase < phases + PHASES; phase++) {
        printf("%s %-23s", names[phase->victim], phase->name);
        for (int i = 0; i < SIGNALS; i++)
            printf("%9d", phase->kills[i]);
        printf("%24d\n", phase->delivered);
    }
}

int main(int argc, char *argv[])
{
    uint64_t seed = ((uint64_t)time(NULL) << 16 ^ (uint64_t)getpid()) % 1000000000;
    int letter, runs = SHORT_CAMPAIGN, passed = 0, failed = 0;

    while ((letter = getopt(argc, argv, "n:s:")) != -1)
        if (letter == 'n')
            runs = atoi(optarg);
        else if (letter == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            optind = argc + 1;
    if (optind != argc || runs < 1) {
        fprintf(stderr, "usage: kill [-n RUNS] [-s SEED]\n");
        return 2;
    }
    set_up();
    printf("kill: %d runs, tests/kill -n %d -s %ju makes the same plans again\n", runs, runs, (uintmax_t)seed);

    /* How long does it take when nobody is killed? */
    for (int i = 0; i < SETTINGS && !interrupted; i++) {
        plan = (struct plan){ .seed = seed, .moment = &moments[0], .setting = &settings[i], .signal = -1 };
        *(run() ? &passed : &failed) += 1;
    }
    for (int i = 0; i < runs && !interrupted; i++) {
        make_plan(seed + (uint64_t)i);
        *(run() ? &passed : &failed) += 1;
    }
    if (interrupted)
        return 128 + interrupted;
    print_table();
    printf("\n%d passed, %d failed\n", passed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
