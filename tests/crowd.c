/*
 * crowd.c - the test of `server -k`: a crowd of clients at once, hostile ones among them, every limit, and every way
 * to stop the server.
 *
 *     tests/crowd [-n CLIENTS] [-j AT_ONCE] [-s SEED] [SERVER CLIENT]
 *
 * The programs are ./server and ./client unless named. Where it matters that the server does not spin, it is
 * server-faults beside this program, which is aborted if it does (see faults.h). SEED decides what the file holds.
 *
 * A server is a tree of processes. Each has the writing end of a pipe as its standard input, which nobody reads: when
 * we see end-of-file at the other end, all of them are gone. Everything here is one process group, as in a terminal: a
 * signal to the group reaches all of the server's processes. Read main, then test_all.
 */
#include "tools.h"

#include <sys/resource.h>
#include <sys/time.h>

enum {
    SECONDS_LIMIT = 600,            /* for the whole test, */
    PATIENCE = 60,                  /* and for one event: only what is broken takes so long */
    GLANCE = 200,                   /* milliseconds in which something that is wrong would have happened */
    PLACES = 256,                   /* clients that the server serves at once: CLIENTS_MAX there */
    HOSTILE = 10,                   /* peers of each hostile kind */
    VERSION_LENGTH = 100001,        /* bytes of a version of the file, */
    LARGE_LENGTH = 64 << 20,        /* of one that takes seconds with small buffers, */
    TEXT_MAX = 1 << 22,             /* and of all that a server says */
};

static const char thanks[] = "I have recv the data,Thank you";
static const char complaint[] = "cannot serve another client just now: ";
static int clients = 250, at_once = 100, passed, failures, skipped, null;
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
    fflush(stdout); /* now, should it hang later */
    va_end(arguments);
}

/* Lets MILLISECONDS pass between two looks at something that no call can wait for. */
static void pause_for(long milliseconds)
{
    const struct timespec time = { .tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000 };

    nanosleep(&time, NULL); /* cut short: the next look comes sooner */
}

/* ---- Files and what the server says -------------------------------------------------------------------------- */

/* Returns what is in the file NAME as a string, good until the next call. No file is an empty string. */
static const char *text_of(const char *name)
{
    static char text[TEXT_MAX];

    get_file(name, text, sizeof text);
    return text;
}

/* Returns how often TEXT stands in the file NAME. */
static int count(const char *name, const char *text)
{
    int times = 0;

    for (const char *place = text_of(name); (place = strstr(place, text)) != NULL; place += strlen(text))
        times++;
    return times;
}

/* Waits until TEXT stands in the file NAME so many TIMES. Returns false if that does not come in time. */
static bool wait_for(const char *name, const char *text, int times)
{
    for (int64_t until = microseconds() + PATIENCE * INT64_C(1000000); count(name, text) < times; pause_for(2))
        if (microseconds() > until)
            return false;
    return true;
}

/* Makes the file source the version NUMBER, in one step. */
static void put_version(int number)
{
    put_file("next", versions[number], VERSION_LENGTH);
    must(rename("next", "source"), "source");
}

/* Returns true if every line of the transcript is one of those that the server may print. */
static bool is_in_lines(void)
{
    int status = must(system("grep -qvxE 'New client：[0-9]+ , IP 127.0.0.1 , Port [0-9]+|Send data done|"
                             "Start to send data .source. to client [0-9]+|Output stream close|"
                             "[0-9]+：I have recv the data,Thank you|(Send|Recv) buffer length ：[0-9]+|"
                             "Buffer length (left to the kernel|both set to 1025)|"
                             "Waiting for connecting|Server close' out"), "grep");

    return WIFEXITED(status) && WEXITSTATUS(status) == 1; /* it has looked, and found none */
}

/* ---- Programs and peers -------------------------------------------------------------------------------------- */

/* Starts the server PROGRAM with -k and -b BUFFERS, after the shell command FIRST. Its standard error is the file err,
 * its standard output is the file out, or, if PIPED, a pipe through which cat fills that file. Returns once it has
 * said something, which usually is its port. */
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
    server.port = 0;
    check(wait_for("err", "\n", 1), "the server does not say anything");
    sscanf(text_of("err"), "server: listening on %*s port %d", &server.port);
}

/* Waits for the end of the server, after SIGNAL unless that is 0, and checks that it ends with STATUS, says how it
 * went, and leaves no process behind. */
static void end_server(const char *test, int signal_number, int status)
{
    struct pollfd held = { .fd = server.held };
    const char *text;
    int got;

    must(kill(server.pid, signal_number), "kill");
    got = status_of(server.pid);
    check(got == status, "%s: the server ends with status %d", test, got);
    check(poll(&held, 1, PATIENCE * 1000) == 1, "%s: a process of the server is left", test);
    close(server.held);
    if (server.copier != 0)
        check(status_of(server.copier) == 0, "%s: cat failed", test);
    if (status > 1)
        return;
    server.served = server.failed = -1;
    for (text = text_of("err"); (text = strchr(text, '\n')) != NULL;)
        sscanf(++text, "server: %d clients served, %d failed", &server.served, &server.failed);
    check(server.failed >= 0, "%s: the server does not say how many it has served, but:\n%s", test, text_of("err"));
    check(is_in_lines(), "%s: a line of the transcript is torn", test);
    check(count("out", "Server close") == (status == 0), "%s: the last line of the transcript", test);
    check(count("out", "Thank you") == server.served, "%s: %d were served, not so many thanked", test, server.served);
}

/* Starts a client that puts the file into NAME, with -b BUFFERS. */
static pid_t start_client(char *name, char *buffers)
{
    char port[8], *const words[] = { client_path, "-p", port, "-b", buffers, name, NULL };

    snprintf(port, sizeof port, "%d", server.port);
    return start_program(words, null, null, null);
}

/* Returns a connection to the server, or -1 if it was refused. */
static int connect_peer(void)
{
    const struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                      .sin_port = htons((in_port_t)server.port) };
    const struct timeval patience = { .tv_sec = PATIENCE };
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

/* Checks that new clients are refused before long, even if they keep the server busy until it has stopped listening. */
static void check_closed(const char *test)
{
    int64_t until = microseconds() + PATIENCE / 3 * INT64_C(1000000); /* for the machine it is hard work */
    int fd;

    while ((fd = connect_peer()) >= 0 && microseconds() < until)
        close(fd);
    check(fd < 0, "%s: new clients are not refused", test);
}

/* Reads what the server sends to FD. Returns how many bytes it was until the end-of-file, or -1 and the error of read.
 * */
static long receive(int fd)
{
    static char block[64 * 1024];
    long total = 0;
    ssize_t length;

    while ((length = read(fd, block, sizeof block)) > 0)
        total += length;
    return length == 0 ? total : -1;
}

/* Receives the file on FD, sends REPLY and closes. Returns true if all that worked. */
static bool be_served(int fd, const char *reply)
{
    const ssize_t length = (ssize_t)strlen(reply);

    return receive(fd) == VERSION_LENGTH && write(fd, reply, (size_t)length) == length && close(fd) == 0;
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

/* Lets all clients come, at_once at a time, and replaces the file each time one has ended. Checks that each says that
 * it has the file, and has one of the two. */
static void play_crowd(void)
{
    static char text[VERSION_LENGTH + 2];
    pid_t *pids = calloc((size_t)clients, sizeof *pids), pid;
    int begun = 0, spoilt = 0, number, status;
    char name[16];

    if (pids == NULL)
        die("calloc");
    for (int ended = 0; ended < clients; ended++) {
        for (; begun < clients && begun - ended < at_once; begun++) {
            snprintf(name, sizeof name, "got-%d", begun);
            pids[begun] = start_client(name, "0");
        }
        pid = wait(&status);
        for (number = 0; number < begun && pids[number] != pid; number++)
            ;
        if (number == begun)
            die(pid == server.pid ? "the server has ended" : "wait");
        snprintf(name, sizeof name, "got-%d", number);
        spoilt += status != 0 || get_file(name, text, sizeof text) != VERSION_LENGTH ||
                  (memcmp(text, versions[0], VERSION_LENGTH) != 0 && memcmp(text, versions[1], VERSION_LENGTH) != 0);
        put_version(ended % 2);
    }
    free(pids);
    check(spoilt == 0, "crowd: %d of %d clients failed, or have a file that is not what they say", spoilt, clients);
    put_version(0);
}

/* A crowd, among peers that are silent, that leave at once, and that say something else. The server has fewer
 * descriptors than clients: it may keep none. */
static void test_crowd(void)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };
    int silent[HOSTILE], fd;

    start_server(server_path, "ulimit -Sn 64", "0", true);
    for (int i = 0; i < HOSTILE; i++) {
        silent[i] = connect_peer();
        fd = connect_peer();
        must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), "setsockopt");
        close(fd);
        check(be_served(connect_peer(), "nonsense"), "crowd: a liar is not served");
    }
    play_crowd();
    for (int i = 0; i < HOSTILE; i++)
        close(silent[i]);
    end_server("crowd", SIGTERM, 0);
    check(server.served == clients && server.failed >= 2 * HOSTILE && server.failed <= 3 * HOSTILE,
          "crowd: %d served, %d failed", server.served, server.failed);
}

/* SIGNAL to the server, or TO_ALL, as ^C in a terminal sends it: who is being served is served to the end, even if the
 * server is killed. */
static void test_drain(const char *test, int signal_number, bool to_all)
{
    int peers[6];

    start_server(server_path, ":", "0", !to_all); /* cat would end too */
    for (int i = 0; i < 6; i++)
        peers[i] = connect_peer();
    check(wait_for("out", "Output stream close", 6), "%s: six clients at once", test);
    must(kill(to_all ? 0 : server.pid, signal_number), "kill");
    check_closed(test);
    for (int i = 0; i < 6; i++)
        check(be_served(peers[i], thanks), "%s: peer %d is not served to the end", test, i);
    end_server(test, 0, signal_number == SIGKILL ? 128 + SIGKILL : 0);
    check(count("out", "Thank you") == 6, "%s: not all were served", test);
}

/* SIGTERM twice breaks off in the middle. */
static void test_broken_off(void)
{
    int peers[3], status;
    char text[8];
    pid_t client;

    must(truncate("source", LARGE_LENGTH), "source");
    put_file("got", "old", 3);
    start_server(server_path, ":", "1025", true);
    for (int i = 0; i < 3; i++)
        peers[i] = connect_peer();
    client = start_client("got", "1025");
    check(wait_for("out", "Start to send", 4), "SIGTERM twice: four clients at once");
    must(kill(server.pid, SIGTERM), "kill");
    check_closed("SIGTERM twice");
    end_server("SIGTERM twice", SIGTERM, 1);
    for (int i = 0; i < 3; i++)
        check(is_reset(peers[i]), "SIGTERM twice: peer %d sees no reset", i);
    status = status_of(client);
    check(status == 1, "SIGTERM twice: the client ends with status %d", status);
    check(get_file("got", text, sizeof text) == 3, "SIGTERM twice: the client has touched its destination");
    put_version(0);
}

/* One client more than the server has places for: it waits for one, and the server does not spin. */
static void test_places(void)
{
    bool seen[8 * PLACES] = { false };
    int peers[PLACES + 1], number, twice = 0, unserved = 0;

    start_server(checked_path, ":", "0", true);
    for (int i = 0; i < PLACES; i++)
        peers[i] = connect_peer();
    check(wait_for("out", "Output stream close", PLACES), "places: not all are taken");
    for (const char *line = text_of("out"); (line = strstr(line, "New client：")) != NULL; line++)
        if (sscanf(line, "New client：%d", &number) == 1 && number >= 0 && number < 8 * PLACES) {
            twice += seen[number];
            seen[number] = true;
        }
    check(twice == 0, "places: %d times two clients have the same number", twice);
    peers[PLACES] = connect_peer();
    check(is_waiting(peers[PLACES]), "places: one more is refused, or served at once");
    unserved += !be_served(peers[0], thanks);
    check(be_served(peers[PLACES], thanks), "places: one more is not served once there is a place");
    for (int i = 1; i < PLACES; i++)
        unserved += !be_served(peers[i], thanks);
    check(unserved == 0, "places: %d peers are not served", unserved);
    end_server("places", SIGTERM, 0);
    check(server.served == PLACES + 1 && server.failed == 0, "places: %d served", server.served);
}

/* A client that waits for a process, while another one is being served, is dropped when the server is told to stop. */
static void test_no_process(void)
{
    int peers[2];

    start_server(checked_path, "export FAULT='fork 2 EAGAIN-forever'", "0", false);
    peers[0] = connect_peer();
    check(wait_for("out", "Output stream close", 1), "no process: the first client is not served");
    peers[1] = connect_peer();
    check(wait_for("err", complaint, 1), "no process: the server does not say so");
    check(is_waiting(peers[1]), "no process: the peer does not wait");
    must(kill(server.pid, SIGTERM), "kill");
    check(is_reset(peers[1]), "no process: the peer is not dropped");
    check(be_served(peers[0], thanks), "no process: the first client is not served to the end");
    end_server("no process", 0, 0);
    check(server.served == 1 && count("err", complaint) == 1, "no process: the server goes on, having said so once");
}

/* After the command FIRST the server cannot serve its first client, for want of something: it says so once, goes on,
 * and does not spin. With RELIEF it gets it and serves the client; otherwise it drops the client when it is told to
 * stop. DESCRIPTORS, unless 0, are the relief. */
static void test_short(const char *test, const char *first, bool relief, rlim_t descriptors)
{
    int fd;

    start_server(checked_path, first, "0", false);
    fd = connect_peer();
    check(wait_for("err", complaint, 1), "%s: the server does not say so", test);
#ifdef __linux__
    const struct rlimit more = { .rlim_cur = descriptors, .rlim_max = descriptors };
    must(descriptors == 0 ? 0 : prlimit(server.pid, RLIMIT_NOFILE, &more, NULL), "prlimit");
#endif
    check(relief ? be_served(fd, thanks) : is_waiting(fd), "%s: the peer is neither served nor waiting", test);
    end_server(test, SIGTERM, 0);
    check(relief || is_reset(fd), "%s: the peer is not dropped", test);
    check(server.served == relief && count("err", complaint) == 1, "%s: it goes on, having said so once", test);
}

/* SIGINT that was ignored when the server was started goes on being ignored. */
static void test_background(void)
{
    start_server(server_path, "trap '' INT", "0", false);
    must(kill(server.pid, SIGINT), "kill");
    check(be_served(connect_peer(), thanks), "background: SIGINT has stopped the server");
    end_server("background", SIGTERM, 0);
}

/* A FIFO can be sent but once: it is refused, also when it takes the place of the file later. */
static void test_fifo(void)
{
    must(rename("source", "kept"), "source");
    must(mkfifo("source", 0600), "mkfifo");
    start_server(server_path, ":", "0", false);
    if (server.port != 0) /* it listens, and would for ever */
        kill(server.pid, SIGKILL);
    check(status_of(server.pid) == 1 && count("err", "not a regular file") == 1, "FIFO: not refused");
    close(server.held);
    must(rename("kept", "source"), "source");
    start_server(server_path, ":", "0", false);
    must(rename("source", "kept"), "source");
    must(mkfifo("source", 0600), "mkfifo");
    check(is_reset(connect_peer()) && count("err", "no longer a regular file") == 1, "FIFO: not refused later");
    must(rename("kept", "source"), "source");
    check(be_served(connect_peer(), thanks), "FIFO: nobody is served after it");
    end_server("FIFO", SIGTERM, 0);
    check(server.served == 1 && server.failed == 1, "FIFO: %d served, %d failed", server.served, server.failed);
}

/* All tests, one after the other. */
static void test_all(void)
{
    test_crowd();
    test_drain("SIGTERM", SIGTERM, false);
    test_drain("SIGTERM to all", SIGTERM, true);
    test_drain("SIGINT to all", SIGINT, true);
    test_drain("SIGKILL", SIGKILL, false);
    test_broken_off();
    test_places();
    test_background();
    test_fifo();
    test_no_process();
    test_short("no descriptor", "ulimit -Sn 4", false, 0);
    test_short("a process again", "export FAULT='fork 1 EAGAIN'", true, 0);
#ifdef __linux__
    test_short("a descriptor again", "ulimit -Sn 4", true, 64);
#else
    skipped++;
    puts("skipped: crowd: a descriptor again (needs prlimit)");
#endif
}

int main(int argc, char *argv[])
{
    char beside[PATH_MAX];
    uint64_t state = any_seed();
    int letter, slash = (int)(strrchr(argv[0], '/') == NULL ? 0 : strrchr(argv[0], '/') - argv[0] + 1);

    tool = "crowd";
    while ((letter = getopt(argc, argv, "n:j:s:")) != -1)
        if (letter == 'n')
            clients = atoi(optarg);
        else if (letter == 'j')
            at_once = atoi(optarg);
        else if (letter == 's')
            state = strtoull(optarg, NULL, 10);
        else
            clients = 0;
    if (clients < 1 || at_once < 1 || (argc != optind && argc != optind + 2)) {
        fprintf(stderr, "usage: crowd [-n CLIENTS] [-j AT_ONCE] [-s SEED] [SERVER CLIENT]\n");
        return 2;
    }
    snprintf(beside, sizeof beside, "%.*sserver-faults", slash, argv[0]);
    if (realpath(optind < argc ? argv[optind] : "server", server_path) == NULL ||
        realpath(optind < argc ? argv[optind + 1] : "client", client_path) == NULL ||
        realpath(beside, checked_path) == NULL)
        die("server, client or server-faults");
    for (int fd = 3; fd < 1024; fd++)
        close(fd); /* what we have inherited: the server's own get other numbers by it */
    make_workplace();
    supervise(SECONDS_LIMIT);
    signal(SIGINT, SIG_IGN); /* those to all are not for us */
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    must(setenv("FAULT", "none", 1), "setenv");
    null = must(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    for (size_t i = 0; i < sizeof versions; i++)
        versions[i / VERSION_LENGTH][i % VERSION_LENGTH] = (char)draw(&state);
    put_version(0);
    test_all();
    printf(skipped > 0 ? "%d passed, %d failed, %d skipped\n" : "%d passed, %d failed\n", passed, failures, skipped);
    return failures > 0;
}
