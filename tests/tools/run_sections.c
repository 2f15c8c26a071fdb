/*
 * run_sections.c - runs the sections of tests/run.sh, some at a time, and tells of each as it ends.
 *
 *     tests/tools/run_sections [-j LANES] [-t SECONDS] SCRIPT SECTION...
 *
 * runs "sh SCRIPT -s SECTION" for each SECTION, LANES (2) at a time, and ends a section that takes more than SECONDS.
 *
 * Each section runs in an empty directory and a process group of its own, both gone when it has ended; a process that
 * it leaves behind is a failure. Its last line of output must say `N passed, N failed`, perhaps `, N skipped`, too;
 * otherwise the section counts as broken. Other lines are shown if they begin with "skip"; if the section failed, all
 * but those that begin with "ok", and then the command that runs it again. After a few seconds of silence it says which
 * sections are running.
 *
 * SIGHUP, SIGINT (Ctrl-C) and SIGTERM end everything at once. The last line is the sum, in the same form, and the exit
 * status 0 only if nothing failed.
 */
#include "tools.h"

#include <sys/time.h>

enum {
    LANES_MAX = 16,
    SILENCE = 5,                    /* seconds, at most, between two lines */
    GRACE = 5,                      /* seconds for what is told to end, or is about to, before SIGKILL */
};

static struct lane {
    const char *section;            /* NULL: nothing runs */
    pid_t pid;                      /* of the section, and the number of its process group */
    int64_t began;
} lanes[LANES_MAX];

static char *script;
static int limit;                   /* of what a section may take, in seconds; 0 is none */
static long passed, failed, skipped;
static sigset_t awaited, before;    /* the signals that main waits for, and those that were blocked at the start */

/* Returns what belongs to SECTION in the workplace: with KIND "in" its directory, with "out" the file of its output. */
static const char *place_of(const char *section, const char *kind)
{
    static char name[NAME_MAX];

    snprintf(name, sizeof name, "%s.%s", section, kind);
    return name;
}

static void start(struct lane *lane, char *section)
{
    char *words[] = { "sh", script, "-s", section, NULL };
    int null = must(open("/dev/null", O_RDONLY | O_CLOEXEC), "/dev/null"), out = open_output(place_of(section, "out"));

    must(mkdir(place_of(section, "in"), 0755), section);
    *lane = (struct lane){ .section = section, .began = microseconds(), .pid = split() };
    if (lane->pid == 0) {
        setpgid(0, 0);
        sigprocmask(SIG_SETMASK, &before, NULL);
        must(chdir(place_of(section, "in")), section);
        become(words, null, out, out);
    }
    setpgid(lane->pid, lane->pid); /* both do it, whoever comes first */
    close(null);
    close(out);
}

/* Waits until the process group GROUP is empty, for GRACE seconds, and kills what is left then. Returns true if nothing
 * was. */
static bool group_ends(pid_t group)
{
    const int64_t end = microseconds() + GRACE * (int64_t)1000000;

    while (waitpid(-group, NULL, WNOHANG) > 0 || kill(-group, 0) == 0) {
        if (microseconds() > end) {
            kill(-group, SIGKILL);
            return false;
        }
        pause_for(10000);
    }
    return true;
}

/* Tells how the section of LANE ended, which has the exit STATUS, and whether it LEFT a process behind. */
static void tell(const struct lane *lane, int status, bool left)
{
    static char output[1 << 20];
    long good = 0, bad = 0, not_made = 0;
    const ssize_t length = get_file(place_of(lane->section, "out"), output, sizeof output);
    const char *last, *is_long = getenv("LONG"), *seed = getenv("SEED");
    bool broken;

    if (length > 0 && output[length - 1] == '\n')
        output[length - 1] = '\0';
    last = strrchr(output, '\n') != NULL ? strrchr(output, '\n') + 1 : output;
    broken = sscanf(last, "%ld passed, %ld failed, %ld skipped", &good, &bad, &not_made) < 2 || status != (bad > 0);
    for (char *line = strtok(output, "\n"); line != NULL && line != last; line = strtok(NULL, "\n"))
        if (strncmp(line, "skip", 4) == 0 || ((bad > 0 || broken) && strncmp(line, "ok", 2) != 0))
            puts(line);
    if (broken)
        printf("FAILED: %s ended with status %d and: %s\n", lane->section, status, last);
    if (left)
        printf("FAILED: %s left a process behind\n", lane->section);
    bad += broken + left;
    printf("%-20s %5ld checks, %5.1f s%s\n", lane->section, good + bad, (double)(microseconds() - lane->began) / 1e6,
           bad > 0 ? ": FAILED" : "");
    if (bad > 0)
        printf("again: %sSEED=%s sh %s %s\n", is_long != NULL && *is_long != '\0' ? "LONG=1 " : "",
               seed != NULL ? seed : "", script, lane->section);
    passed += good;
    failed += bad;
    skipped += not_made;
    remove_tree(place_of(lane->section, "in"));
}

static void clean_up(void)
{
    if (chdir("/") == 0)
        remove_tree(workplace);
}

/* Ends everything, because of SIGNAL_NUMBER. */
static _Noreturn void break_off(int signal_number)
{
    for (struct lane *lane = lanes; lane < lanes + LANES_MAX; lane++)
        if (lane->section != NULL)
            kill(-lane->pid, SIGTERM); /* all in there end what they have started elsewhere */
    for (struct lane *lane = lanes; lane < lanes + LANES_MAX; lane++)
        if (lane->section != NULL)
            group_ends(lane->pid);
    printf("interrupted: %ld passed, %ld failed so far\n", passed, failed);
    exit(128 + signal_number);
}

/* Tells of the sections that have ended since it was last called, and ends those that take too long. Returns how many
 * have ended. */
static int look(void)
{
    int found = 0, status;

    for (struct lane *lane = lanes; lane < lanes + LANES_MAX; lane++) {
        if (lane->section == NULL)
            continue;
        if (limit > 0 && microseconds() > lane->began + limit * (int64_t)1000000)
            kill(-lane->pid, SIGTERM);
        if (waitpid(lane->pid, &status, WNOHANG) != lane->pid)
            continue;
        tell(lane, shell_status(status), !group_ends(lane->pid));
        lane->section = NULL;
        found++;
    }
    return found;
}

int main(int argc, char *argv[])
{
    static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGALRM, SIGCHLD };
    const struct sigaction note = { .sa_handler = wake_sigwait };
    const struct itimerval second = { { .tv_sec = 1 }, { .tv_sec = 1 } };
    int letter, count = 2, running = 0, ended, silent = 0, came;

    begin("run_sections");
    while ((letter = getopt(argc, argv, "+j:t:")) != -1)
        *(letter == 't' ? &limit : &count) = letter == '?' ? 0 : atoi(optarg);
    if (count < 1 || count > LANES_MAX || argc - optind < 2) {
        fprintf(stderr, "usage: run_sections [-j LANES] [-t SECONDS] SCRIPT SECTION...\n");
        return 2;
    }
    script = realpath(argv[optind++], NULL); /* the sections run elsewhere */
    if (script == NULL)
        die(argv[optind - 1]);
    must(setvbuf(stdout, NULL, _IOLBF, 0), "setvbuf");
    sigemptyset(&awaited);
    for (size_t i = 0; i < ELEMENTS(signals); i++) {
        sigaddset(&awaited, signals[i]);
        must(sigaction(signals[i], &note, NULL), "sigaction"); /* sigwait does not see what is ignored */
    }
    must(sigprocmask(SIG_BLOCK, &awaited, &before), "sigprocmask");
    make_workplace();
    must(atexit(clean_up), "atexit");
    must(chmod(workplace, 0755), workplace); /* some tests are of another user */
    must(setitimer(ITIMER_REAL, &second, NULL), "setitimer");

    while (running > 0 || optind < argc) {
        for (struct lane *lane = lanes; lane < lanes + count; lane++)
            if (lane->section == NULL && optind < argc) {
                start(lane, argv[optind++]);
                running++;
            }
        if (sigwait(&awaited, &came) != 0)
            die("sigwait");
        if (came != SIGALRM && came != SIGCHLD)
            break_off(came);
        ended = look();
        running -= ended;
        silent = ended > 0 ? 0 : silent + (came == SIGALRM);
        if (silent < SILENCE)
            continue;
        silent = 0;
        printf("running:");
        for (struct lane *lane = lanes; lane < lanes + LANES_MAX; lane++)
            if (lane->section != NULL)
                printf(" %s (%.0f s)", lane->section, (double)(microseconds() - lane->began) / 1e6);
        puts("");
    }
    printf(skipped > 0 ? "%ld passed, %ld failed, %ld skipped\n" : "%ld passed, %ld failed\n", passed, failed, skipped);
    return failed > 0;
}
