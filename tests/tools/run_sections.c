/*
 * run_sections.c - runs the sections of tests/run.sh, some at a time, and tells of each as it ends.
 *
 *     tests/tools/run_sections LANES SECONDS SCRIPT SECTION...
 *
 * runs "sh SCRIPT -s SECTION" for each SECTION, LANES at a time, and ends a section that takes more than SECONDS; 0 is
 * no limit.
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

enum {
    LANES_MAX = 16,
    SILENCE = 5,                    /* seconds, at most, between two lines */
    GRACE = 5,                      /* seconds for what is told to end, or is about to, before SIGKILL */
};

static struct lane {
    const char *section;            /* NULL: nothing runs */
    pid_t pid;                      /* of who supervises it */
    FILE *output;
    int64_t began;
} lanes[LANES_MAX];

static char *script;
static unsigned limit;              /* of what a section may take, in seconds; 0 is none */
static long passed, failed, skipped;
static sigset_t awaited, before;    /* the signals that main waits for, and those that were blocked at the start */

static void start(struct lane *lane, char *section)
{
    char *words[] = { "sh", script, "-s", section, NULL };

    *lane = (struct lane){ .section = section, .began = microseconds(), .output = tmpfile() };
    if (lane->output == NULL)
        die("tmpfile");
    must(fcntl(fileno(lane->output), F_SETFD, FD_CLOEXEC), "fcntl"); /* no section finds those of others */
    lane->pid = split();
    if (lane->pid == 0) {
        const int out = fileno(lane->output);
        must(dup2(out, STDERR_FILENO), "dup2");
        must(fcntl(out, F_SETFL, O_APPEND), "fcntl"); /* several programs write there */
        make_workplace();
        must(chmod(workplace, 0755), workplace); /* some tests are of another user */
        supervise(limit, GRACE);
        sigprocmask(SIG_SETMASK, &before, NULL);
        become(words, STDIN_FILENO, out, out);
    }
}

/* Tells how the section of LANE ended, which has the exit STATUS. */
static void tell(const struct lane *lane, int status)
{
    static char output[1 << 20];
    long good = 0, bad = 0, not_made = 0;
    const char *last, *is_long = getenv("LONG"), *seed = getenv("SEED");
    size_t length;
    bool broken;

    rewind(lane->output);
    length = fread(output, 1, sizeof output - 1, lane->output);
    fclose(lane->output);
    output[length] = '\0';
    if (length > 0 && output[length - 1] == '\n')
        output[length - 1] = '\0';
    last = strrchr(output, '\n') != NULL ? strrchr(output, '\n') + 1 : output;
    broken = sscanf(last, "%ld passed, %ld failed, %ld skipped", &good, &bad, &not_made) < 2 || status != (bad > 0);
    for (char *line = strtok(output, "\n"); line != NULL && line != last; line = strtok(NULL, "\n"))
        if (strncmp(line, "skip", 4) == 0 || ((bad > 0 || broken) && strncmp(line, "ok", 2) != 0))
            puts(line);
    if (broken)
        printf("FAILED: %s ended with status %d and: %s\n", lane->section, status, last);
    bad += broken;
    printf("%-20s %5ld checks, %5.1f s%s\n", lane->section, good + bad, (double)(microseconds() - lane->began) / 1e6,
           bad > 0 ? ": FAILED" : "");
    if (bad > 0)
        printf("again: %sSEED=%s sh %s %s\n", is_long != NULL && *is_long != '\0' ? "LONG=1 " : "",
               seed != NULL ? seed : "", script, lane->section);
    passed += good;
    failed += bad;
    skipped += not_made;
}

/* Ends everything, because of SIGNAL_NUMBER. */
static _Noreturn void break_off(int signal_number)
{
    for (struct lane *lane = lanes; lane < lanes + LANES_MAX; lane++)
        if (lane->section != NULL)
            kill(lane->pid, SIGTERM);
    while (wait(NULL) > 0)
        ;
    printf("interrupted: %ld passed, %ld failed so far\n", passed, failed);
    exit(128 + signal_number);
}

/* Tells of the sections that have ended since it was last called. Returns how many. */
static int look(void)
{
    int found = 0, status;

    for (struct lane *lane = lanes; lane < lanes + LANES_MAX; lane++)
        if (lane->section != NULL && waitpid(lane->pid, &status, WNOHANG) == lane->pid) {
            tell(lane, shell_status(status));
            lane->section = NULL;
            found++;
        }
    return found;
}

int main(int argc, char *argv[])
{
    static const int signals[] = { SIGHUP, SIGINT, SIGTERM, SIGALRM, SIGCHLD };
    const struct sigaction note = { .sa_handler = wake_sigwait };
    int count, running = 0, ended, silent = 0, came, next = 4;

    begin("run_sections");
    count = argc > next ? atoi(argv[1]) : 0;
    if (count < 1 || count > LANES_MAX) {
        fprintf(stderr, "usage: run_sections LANES SECONDS SCRIPT SECTION...\n");
        return 2;
    }
    limit = (unsigned)atoi(argv[2]);
    script = realpath(argv[3], NULL); /* the sections run elsewhere */
    if (script == NULL)
        die(argv[3]);
    must(setvbuf(stdout, NULL, _IOLBF, 0), "setvbuf");
    sigemptyset(&awaited);
    for (size_t i = 0; i < ELEMENTS(signals); i++) {
        sigaddset(&awaited, signals[i]);
        must(sigaction(signals[i], &note, NULL), "sigaction"); /* sigwait does not see what is ignored */
    }
    must(sigprocmask(SIG_BLOCK, &awaited, &before), "sigprocmask");
    while (running > 0 || next < argc) {
        for (struct lane *lane = lanes; lane < lanes + count; lane++)
            if (lane->section == NULL && next < argc) {
                start(lane, argv[next++]);
                running++;
            }
        alarm(1);
        sigwait(&awaited, &came);
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
