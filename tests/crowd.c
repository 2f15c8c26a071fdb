/*
 * crowd.c - the test of `server -k`: a crowd of clients at once, hostile ones among them, every limit, and every way to stop
 * the server.
 *
 *     tests/crowd [-n CLIENTS] [-j AT_ONCE] [-s SEED] [SERVER CLIENT]
 *
 * The programs are ./server and ./client unless named. Where it matters that the server does not spin, it is server-faults
 * beside this program, which is aborted if it does (see faults.h). SEED decides which clients are killed, and when; the first
 * line of the output says how to have the same again. What the scheduler adds to that cannot be repeated.
 *
 * A server is a tree of processes. Each holds the writing end of a pipe as its standard input, which none reads: when our
 * end sees end-of-file, all of them are gone. Everything here is one process group, as in a terminal: a signal to the group
 * reaches all of the server's processes. Read main, then test_all.
 */
#include "tools.h"

#include <inttypes.h>
#include <sys/resource.h>
#include <sys/time.h>

enum {
    SECONDS_LIMIT = 600,            /* for the whole test, */
    PATIENCE = 60000,               /* and for one event, in milliseconds: only what is broken takes so long */
    GLANCE = 200,                   /* milliseconds in which something that is wrong would have happened */
    PLACES = 256,                   /* clients that the server serves at once: CLIENTS_MAX there */
    HOSTILE = 10,                   /* peers of each hostile kind */
    VERSION_LENGTH = 100001,        /* bytes of a version of the file, */
    LARGE_LENGTH = 64 << 20,        /* of one that takes seconds with small buffers, */
    TEXT_MAX = 1 << 22,             /* and of all that a server says */
};

static int clients = 250, at_once = 100, passed, failures, skipped, null;
static uint64_t seed;
static char server_path[PATH_MAX], client_path[PATH_MAX], checked_path[PATH_MAX];
static char versions[2][VERSION_LENGTH];   /* what the server sends: the first one, unless the test replaces it */
static struct {
    pid_t pid, copier;              /* the server, and the cat behind its standard output or 0 */
    int port, held;                 /* our end of the pipe that all its processes hold */
    int served, failed;             /* what it said at its end */
} server;

/* Counts a check, and says what it was about if TRUTH is not. */
__attribute__((format(printf, 2, 3)))
static void check(bool truth, const char *format, ...)
{
    va_list arguments;

    *(truth ? &passed : &failures) += 1;
    if (truth)
        return;
    va_start(arguments, format);
    printf("FAILED: crowd: ");
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

/* Lets MILLISECONDS pass between two looks at something that no call can wait for. */
static void pause_for(long milliseconds)
{
    const struct timespec time = { .tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000 };

    nanosleep(&time, NULL); /* cut short: the next look comes sooner */
}

/* Waits until CONDITION is true of NUMBER. Returns false if that does not come in time. */
static bool eventually(bool (*condition)(int), int number)
{
    const int64_t until = microseconds() + PATIENCE * INT64_C(1000);

    while (!condition(number)) {
        if (microseconds() > until)
            return false;
        pause_for(2);
    }
    return true;
}

/* ---- Files and what the server says -------------------------------------------------------------------------- */

/* Returns what is in the file NAME as a string, good until the next call. No file is an empty string. */
static const char *text_of(const char *name)
{
    static char text[TEXT_MAX];

    get_file(name, text, sizeof text);
    return text;
}

/* Makes the file source the version NUMBER, in one step. */
static void put_version(int number)
{
    put_file("next", versions[number], VERSION_LENGTH);
    must(rename("next", "source"), "source");
}

/* What the destination of a client holds. */
enum { SPOILT, UNTOUCHED, WHOLE };

/* Returns what that is of client NUMBER; WHOLE means one of the first COUNT versions. */
static int state_of(int number, int count)
{
    static char text[VERSION_LENGTH + 2];
    char name[16];

    snprintf(name, sizeof name, "got-%d", number);
    ssize_t length = get_file(name, text, sizeof text);
    for (int i = 0; i < count; i++)
        if (length == VERSION_LENGTH && memcmp(text, versions[i], VERSION_LENGTH) == 0)
            return WHOLE;
    return strcmp(text, "old") == 0 ? UNTOUCHED : SPOILT;
}

/* The lines of the server's transcript; # is a number. */
static const char *const forms[] = {
    "New client：# , IP 127.0.0.1 , Port #", "Start to send data 'source' to client #", "Send data done",
    "Output stream close", "#：I have recv the data,Thank you", "Send buffer length ：#", "Recv buffer length ：#",
    "Buffer length left to the kernel", "Buffer length both set to #", "Waiting for connecting", "Server close",
};
enum { START = 1, FIN = 3, THANKS = 4, OF_A_CLIENT = 5, FORMS = sizeof forms / sizeof forms[0], CLOSE = FORMS - 1 };

/* True if the LENGTH bytes at LINE are of this FORM. */
static bool has_form(const char *line, size_t length, const char *form)
{
    const char *end = line + length;

    for (; *form != '\0'; form++)
        if (*form == '#') {
            size_t digits = strspn(line, "0123456789");
            if (digits == 0)
                return false;
            line += digits;
        } else if (line == end || *line++ != *form)
            return false;
    return line == end;
}

/* Counts the lines of the transcript so far of each form into COUNTS. Returns how many had none of them. */
static int read_transcript(int counts[FORMS])
{
    size_t length;
    int strange = 0, i;

    memset(counts, 0, FORMS * sizeof *counts);
    for (const char *line = text_of("out"); *line != '\0'; line += length + (line[length] == '\n')) {
        length = strcspn(line, "\n");
        for (i = 0; i < FORMS && !has_form(line, length, forms[i]); i++)
            ;
        *(i < FORMS ? &counts[i] : &strange) += 1;
    }
    return strange;
}

/* Returns how many lines of the server's standard error have TEXT in them. */
static int complaints(const char *text)
{
    int count = 0;

    for (const char *place = text_of("err"); (place = strstr(place, text)) != NULL; place++)
        count++;
    return count;
}

/* Conditions for eventually: the server has begun to serve, or has half-closed to, so many clients; it lacks something and
 * has said so; it has told its port, or ended. */
static bool has_started(int number) { int counts[FORMS]; read_transcript(counts); return counts[START] >= number; }
static bool has_sent(int number) { int counts[FORMS]; read_transcript(counts); return counts[FIN] >= number; }
static bool is_short(int number) { return complaints("cannot serve another client just now: ") >= number; }
static bool has_port(int number)
{
    struct pollfd held = { .fd = server.held };

    return (sscanf(text_of("err"), "server: listening on %*s port %d", &server.port) == number && complaints("\n") > 0) ||
           poll(&held, 1, 0) != 0;
}

/* ---- Programs and peers -------------------------------------------------------------------------------------- */

/* Starts server PROGRAM with -k and -b BUFFERS, after the shell command FIRST. Its standard error is the file err, its
 * standard output is the file out, or, if PIPED, a pipe through which cat fills that file. */
static void start_server(const char *program, const char *first, const char *buffers, bool piped)
{
    char script[256], *const cat[] = { "cat", NULL };
    const char *const words[] = { "sh", "-c", script, program, "-k", "-p", "0", "-b", buffers, "source", NULL };
    int held[2], between[2], out = open_output("out"), err = open_output("err");

    snprintf(script, sizeof script, "%s; exec \"$0\" \"$@\"", first);
    server.copier = 0;
    make_pipe(held);
    if (piped) {
        make_pipe(between);
        server.copier = start_program(cat, between[0], out, STDERR_FILENO);
        close(between[0]);
        close(out);
        out = between[1];
    }
    server.pid = start_program((char *const *)words, held[1], out, err);
    close(held[1]);
    close(out);
    close(err);
    server.held = held[0];
    if (!eventually(has_port, 1))
        die("the server does not tell its port");
}

/* Waits for the end of the server, after SIGNAL unless that is 0, and checks that it ends with STATUS, says how it went,
 * and leaves no process behind. */
static void end_server(const char *test, int signal_number, int status)
{
    struct pollfd held = { .fd = server.held };
    const char *text;
    int counts[FORMS], got;

    must(kill(server.pid, signal_number), "kill");
    got = status_of(server.pid);
    check(got == status, "%s: the server ends with status %d", test, got);
    check(poll(&held, 1, PATIENCE) == 1, "%s: a process of the server is left", test);
    close(server.held);
    if (server.copier != 0)
        check(status_of(server.copier) == 0, "%s: cat failed", test);
    if (status > 1)
        return;
    server.served = server.failed = -1;
    for (text = text_of("err"); (text = strchr(text, '\n')) != NULL;)
        sscanf(++text, "server: %d clients served, %d failed", &server.served, &server.failed);
    check(server.failed >= 0, "%s: the server does not say how many it has served, but:\n%s", test, text_of("err"));
    check(read_transcript(counts) == 0, "%s: a line of the transcript is torn", test);
    check(counts[CLOSE] == (status == 0), "%s: the last line of the transcript", test);
    check(counts[THANKS] == server.served, "%s: %d were served and %d thanked", test, server.served, counts[THANKS]);
}

/* Starts a client of NUMBER, with -b BUFFERS and -d DELAY. */
static pid_t start_client(int number, char *buffers, char *delay)
{
    char port[8], name[16], *const words[] = { client_path, "-p", port, "-b", buffers, "-d", delay, name, NULL };

    snprintf(port, sizeof port, "%d", server.port);
    snprintf(name, sizeof name, "got-%d", number);
    return start_program(words, null, null, null);
}

/* Starts a client of NUMBER that is going to be killed: between us and it stands a process that does it, which has its
 * status. */
static pid_t start_victim(int number)
{
    const long delay = (long)(draw(&seed) % 30);
    const int signal_number = draw(&seed) % 2 == 0 ? SIGKILL : SIGTERM;
    pid_t pid = split();

    if (pid == 0) {
        pid_t victim = start_client(number, "0", "0");
        pause_for(delay);
        _exit(kill(victim, signal_number) == 0 ? status_of(victim) : 126);
    }
    return pid;
}

/* Returns a connection to the server, or -1 if it was refused. */
static int connect_peer(void)
{
    const struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                      .sin_port = htons((in_port_t)server.port) };
    const struct timeval patience = { .tv_sec = PATIENCE / 1000 };
    int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");

    must(fcntl(fd, F_SETFD, FD_CLOEXEC), "fcntl");
    must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), "setsockopt");
    if (connect(fd, (const struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    if (errno != ECONNREFUSED && errno != ECONNRESET)
        die("connect");
    close(fd);
    return -1;
}

/* A condition: new clients are refused. */
static bool is_closed(int number)
{
    int fd = connect_peer();

    (void)number;
    return fd < 0 || close(fd) != 0;
}

/* Reads what the server sends to FD. Returns how many bytes it was until the end-of-file, or -1 and the error of read. */
static long receive(int fd)
{
    static char block[64 * 1024];
    long total = 0;
    ssize_t count;

    while ((count = read(fd, block, sizeof block)) > 0)
        total += count;
    return count == 0 ? total : -1;
}

/* Receives the file on FD, acknowledges it, and closes. Returns true if all that worked. */
static bool be_served(int fd)
{
    static const char thanks[] = "I have recv the data,Thank you";

    return receive(fd) == VERSION_LENGTH && write(fd, thanks, sizeof thanks - 1) == sizeof thanks - 1 && close(fd) == 0;
}

/* Returns true if the server resets connection FD, and closes that. */
static bool is_reset(int fd)
{
    bool reset = receive(fd) < 0 && errno == ECONNRESET;

    close(fd);
    return reset;
}

/* Returns true if the server leaves FD waiting. One that does not takes less than a glance for that. */
static bool is_waiting(int fd)
{
    struct pollfd peer = { .fd = fd, .events = POLLIN };

    return poll(&peer, 1, GLANCE) == 0;
}

/* ---- The tests ----------------------------------------------------------------------------------------------- */

/* Lets COUNT clients come, at_once at a time, of which every tenth is killed if KILLING. Replaces the file each time
 * one has ended if REPLACING. Returns how many say that they have it, and checks that they, and only they, do. */
static int play_crowd(const char *test, int count, bool killing, bool replacing)
{
    pid_t *pids = calloc((size_t)count, sizeof *pids), pid;
    int begun = 0, happy = 0, spoilt = 0, number, status;
    char name[16];

    if (pids == NULL)
        die("calloc");
    for (number = 0; number < count; number++) {
        snprintf(name, sizeof name, "got-%d", number);
        put_file(name, "old", 3);
    }
    for (int ended = 0; ended < count; ended++) {
        for (; begun < count && begun - ended < at_once; begun++)
            pids[begun] = killing && begun % 10 == 0 ? start_victim(begun) : start_client(begun, "0", "0");
        pid = wait(&status);
        for (number = 0; number < begun && pids[number] != pid; number++)
            ;
        if (number == begun)
            die(pid == server.pid ? "the server has ended" : "wait");
        int state = state_of(number, replacing ? 2 : 1);
        bool victim = killing && number % 10 == 0;
        happy += status == 0;
        spoilt += state != WHOLE && !(victim && status != 0 && state == UNTOUCHED);
        spoilt += status != 0 && !victim;
        if (replacing)
            put_version(ended % 2);
    }
    free(pids);
    check(spoilt == 0, "%s: %d of %d clients failed, or have a file that is not what they say", test, spoilt, count);
    return happy;
}

/* A crowd, and nobody to disturb it. The server may have fewer descriptors than clients: it may keep none. */
static void test_crowd(void)
{
    int counts[FORMS];

    start_server(server_path, "ulimit -Sn 64", "0", true);
    play_crowd("crowd", clients, false, false);
    end_server("crowd", SIGTERM, 0);
    check(server.served == clients && server.failed == 0, "crowd: %d served, %d failed", server.served, server.failed);
    read_transcript(counts);
    for (int form = 0; form < OF_A_CLIENT; form++)
        check(counts[form] == clients, "crowd: %d times '%s'", counts[form], forms[form]);
}

/* A crowd of which a tenth dies, among peers that are silent, that leave at once, and that say something else. */
static void test_hostile(void)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };
    int silent[HOSTILE], fd, happy, sure = clients - (clients + 9) / 10;

    start_server(server_path, ":", "0", false);
    for (int i = 0; i < HOSTILE; i++) {
        silent[i] = connect_peer();
        fd = connect_peer();
        must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), "setsockopt");
        close(fd);
        fd = connect_peer();
        check(receive(fd) == VERSION_LENGTH && write(fd, "nonsense", 8) == 8 && close(fd) == 0, "hostile: a liar is not served");
    }
    happy = play_crowd("hostile", clients, true, false);
    for (int i = 0; i < HOSTILE; i++)
        close(silent[i]);
    end_server("hostile", SIGTERM, 0);
    check(server.served >= happy && server.served <= clients && happy >= sure && server.failed >= 2 * HOSTILE &&
          server.served + server.failed <= clients + 3 * HOSTILE,
          "hostile: of %d clients %d are happy, and %d served, %d failed", clients, happy, server.served, server.failed);
}

/* The file is replaced while it is being sent. */
static void test_replaced(void)
{
    start_server(server_path, ":", "0", true);
    play_crowd("replaced", 60, false, true);
    end_server("replaced", SIGTERM, 0);
    check(server.served == 60, "replaced: %d served", server.served);
    put_version(0);
}

/* SIGNAL to the server, or TO_ALL, as ^C in a terminal sends it: who is being served is served to the end. */
static void test_drain(const char *test, int signal_number, bool to_all)
{
    int peers[6];

    start_server(server_path, ":", "0", !to_all); /* cat would end too */
    for (int i = 0; i < 6; i++)
        peers[i] = connect_peer();
    check(eventually(has_sent, 6), "%s: six clients at once", test);
    must(kill(to_all ? 0 : server.pid, signal_number), "kill");
    check(eventually(is_closed, 0), "%s: new clients are not refused", test);
    for (int i = 0; i < 6; i++)
        check(be_served(peers[i]), "%s: peer %d is not served to the end", test, i);
    end_server(test, 0, 0);
    check(server.served == 6, "%s: %d served", test, server.served);
}

/* Makes the server break off in the middle: by SIGTERM twice, or by SIGKILL. */
static void test_broken_off(const char *test, int signal_number)
{
    int peers[3], status;
    pid_t client;

    must(truncate("source", LARGE_LENGTH), "source");
    put_file("got-0", "old", 3);
    start_server(server_path, ":", "1025", true);
    for (int i = 0; i < 3; i++)
        peers[i] = connect_peer();
    client = start_client(0, "1025", "0");
    check(eventually(has_started, 4), "%s: four clients at once", test);
    if (signal_number == SIGTERM) {
        must(kill(server.pid, SIGTERM), "kill");
        check(eventually(is_closed, 0), "%s: new clients are not refused", test);
    }
    end_server(test, signal_number, signal_number == SIGTERM ? 1 : 128 + SIGKILL);
    for (int i = 0; i < 3; i++)
        check(is_reset(peers[i]), "%s: peer %d sees no reset", test, i);
    status = status_of(client);
    check(status == 1 && state_of(0, 1) == UNTOUCHED, "%s: the client ends with status %d", test, status);
    put_version(0);
}

/* More clients than the server has places for: they wait for one, and it does not spin. */
static void test_places(void)
{
    bool seen[8 * PLACES] = { false };
    int peers[PLACES + 1], number, twice = 0, unserved = 0;

    start_server(checked_path, ":", "0", true);
    for (int i = 0; i < PLACES; i++)
        peers[i] = connect_peer();
    check(eventually(has_sent, PLACES), "places: not all are taken");
    for (const char *line = text_of("out"); (line = strstr(line, "New client：")) != NULL; line++)
        if (sscanf(line, "New client：%d", &number) == 1 && number >= 0 && number < 8 * PLACES) {
            twice += seen[number];
            seen[number] = true;
        }
    check(twice == 0, "places: %d times two clients have the same number", twice);
    peers[PLACES] = connect_peer();
    check(is_waiting(peers[PLACES]), "places: one more is refused, or served at once");
    unserved += !be_served(peers[0]);
    check(be_served(peers[PLACES]), "places: one more is not served once there is a place");
    for (int i = 1; i < PLACES; i++)
        unserved += !be_served(peers[i]);
    check(unserved == 0, "places: %d peers are not served", unserved);
    end_server("places", SIGTERM, 0);
    check(server.served == PLACES + 1 && server.failed == 0, "places: %d served, %d failed", server.served, server.failed);
}

/* After the command FIRST the server cannot serve its first client, for want of something: it says so once, goes on, and
 * does not spin. With RELIEF it gets it and serves the client; otherwise it drops the client when it is told to stop.
 * DESCRIPTORS, unless 0, are the relief. */
static void test_short(const char *test, const char *first, bool relief, rlim_t descriptors)
{
    int fd;

    start_server(checked_path, first, "0", false);
    fd = connect_peer();
    check(eventually(is_short, 1), "%s: the server does not say so", test);
#ifdef __linux__
    const struct rlimit more = { .rlim_cur = descriptors, .rlim_max = descriptors };
    must(descriptors == 0 ? 0 : prlimit(server.pid, RLIMIT_NOFILE, &more, NULL), "prlimit");
#endif
    check(relief ? be_served(fd) : is_waiting(fd), "%s: the peer is %s", test, relief ? "not served" : "served or reset");
    end_server(test, SIGTERM, 0);
    check(relief || is_reset(fd), "%s: the peer is not dropped", test);
    check(server.served == relief && is_short(1) && !is_short(2), "%s: it goes on, having said so once", test);
}

/* SIGINT that was ignored when the server was started goes on being ignored. */
static void test_background(void)
{
    start_server(server_path, "trap '' INT", "0", false);
    must(kill(server.pid, SIGINT), "kill");
    check(be_served(connect_peer()), "background: SIGINT has stopped the server");
    end_server("background", SIGTERM, 0);
    check(server.served == 1, "background: %d served", server.served);
}

/* A FIFO can be sent but once: it is refused, also when it takes the place of the file later. */
static void test_fifo(void)
{
    must(rename("source", "kept"), "source");
    must(mkfifo("source", 0600), "mkfifo");
    start_server(server_path, ":", "0", false);
    check(status_of(server.pid) == 1 && complaints("not a regular file") == 1, "FIFO: not refused");
    close(server.held);
    must(rename("kept", "source"), "source");
    start_server(server_path, ":", "0", false);
    must(rename("source", "kept"), "source");
    must(mkfifo("source", 0600), "mkfifo");
    check(is_reset(connect_peer()) && complaints("no longer a regular file") == 1, "FIFO: not refused later");
    must(rename("kept", "source"), "source");
    check(be_served(connect_peer()), "FIFO: nobody is served after it");
    end_server("FIFO", SIGTERM, 0);
    check(server.served == 1 && server.failed == 1, "FIFO: %d served, %d failed", server.served, server.failed);
}

/* All tests, one after the other. */
static void test_all(void)
{
    test_crowd();
    test_hostile();
    test_replaced();
    test_drain("SIGTERM", SIGTERM, false);
    test_drain("SIGTERM to all", SIGTERM, true);
    test_drain("SIGINT to all", SIGINT, true);
    test_broken_off("SIGTERM twice", SIGTERM);
    test_places();
    test_background();
    test_fifo();
    test_short("short of descriptors", "ulimit -Sn 4", false, 0);
    test_short("short of processes", "export FAULT='fork 1 EAGAIN-forever'", false, 0);
    test_short("no longer short of processes", "export FAULT='fork 1 EAGAIN'", true, 0);
#ifdef __linux__
    test_short("no longer short of descriptors", "ulimit -Sn 4", true, 64);
#else
    skipped++;
    puts("skipped: crowd: no longer short of descriptors (needs prlimit)");
#endif
#if defined __linux__ && !defined PORTABLE
    test_broken_off("SIGKILL", SIGKILL);
#else
    skipped++;
    puts("skipped: crowd: SIGKILL (the processes that serve somebody do not hear of it on this system)");
#endif
}

/* Finds the program NAME, which must be an absolute path since we are going to work elsewhere. */
static void find(const char *name, char path[PATH_MAX])
{
    if (realpath(name, path) == NULL)
        die(name);
}

int main(int argc, char *argv[])
{
    const char *slash = strrchr(argv[0], '/');
    char beside[PATH_MAX];
    int letter;

    tool = "crowd";
    seed = any_seed();
    while ((letter = getopt(argc, argv, "n:j:s:")) != -1)
        if (letter == 'n')
            clients = atoi(optarg);
        else if (letter == 'j')
            at_once = atoi(optarg);
        else if (letter == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            clients = 0;
    if (clients < 1 || at_once < 1 || (argc != optind && argc != optind + 2)) {
        fprintf(stderr, "usage: crowd [-n CLIENTS] [-j AT_ONCE] [-s SEED] [SERVER CLIENT]\n");
        return 2;
    }
    find(optind < argc ? argv[optind] : "server", server_path);
    find(optind < argc ? argv[optind + 1] : "client", client_path);
    snprintf(beside, sizeof beside, "%.*s/server-faults", slash != NULL ? (int)(slash - argv[0]) : 1,
             slash != NULL ? argv[0] : ".");
    find(beside, checked_path);
    printf("crowd: tests/crowd -n %d -j %d -s %" PRIu64 " makes the same plans again\n", clients, at_once, seed);

    make_workplace();
    supervise(SECONDS_LIMIT);
    signal(SIGINT, SIG_IGN); /* those to all are not for us */
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    must(setenv("FAULT", "none", 1), "setenv");
    null = must(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    for (size_t i = 0; i < sizeof versions; i++)
        versions[i / VERSION_LENGTH][i % VERSION_LENGTH] = (char)draw(&seed);
    put_version(0);
    test_all();
    printf(skipped > 0 ? "%d passed, %d failed, %d skipped\n" : "%d passed, %d failed\n", passed, failures, skipped);
    return failures > 0;
}
