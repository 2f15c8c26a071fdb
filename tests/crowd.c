/*
 * crowd.c - the test of `server -k`: a crowd of clients at once, hostile ones among them, every limit, and every way
 * to end the server.
 *
 *     tests/crowd [-n CLIENTS] [-s SEED] SERVER CLIENT
 *
 * Where it matters that the server does not spin, it is server-faults beside this program, which is aborted if it does
 * (see faults.h). SEED decides what the file holds.
 *
 * A server is a tree of processes. Each has the writing end of a pipe as its standard input, which nobody reads: when
 * we see end-of-file at the other end, all of them are gone. Everything here is one process group, as in a terminal: a
 * signal to the group reaches all of the server's processes. Read main, then test_all.
 */
#define CHECKS
#include "tools.h"

#include <sys/resource.h>
#include <sys/time.h>

enum {
    SECONDS_LIMIT = 600,            /* for the whole test, */
    PATIENCE = 60,                  /* and for one event: only what is broken takes so long */
    GLANCE = 200,                   /* milliseconds in which something that is wrong would have happened */
    AT_ONCE = 100,                  /* clients of the crowd */
    PLACES = 256,                   /* clients that the server serves at once: CLIENTS_MAX there */
    HOSTILE = 10,                   /* peers of each hostile kind */
    VERSION_LENGTH = 100001,        /* bytes of a version of the file, */
    LARGE_LENGTH = 64 << 20,        /* and of one that takes seconds with small buffers */
};

static const char thanks[] = "I have recv the data,Thank you";
static int clients = 250, skipped, null;
static char checked_path[PATH_MAX];
static char versions[2][VERSION_LENGTH];   /* what the server sends: the first one, unless the test replaces it */
static struct {
    pid_t pid;
    int port, held;                 /* our end of the pipe that all its processes hold */
} server;

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
                             "Waiting for connecting' out"), "grep");

    return shell_status(status) == 1; /* it has looked, and found none */
}

/* ---- Programs and peers -------------------------------------------------------------------------------------- */

/* Begins the TEST and starts the server PROGRAM with -k and -b BUFFERS, after the shell command FIRST. Its output is in
 * the files out and err. Returns once it has told its port. */
static void start_server(const char *test, const char *program, const char *first, const char *buffers)
{
    char script[256];
    const char *const words[] = { "sh", "-c", script, program, "-k", "-p", "0", "-b", buffers, "source", NULL };
    int held[2], out = open_output("out"), err = open_output("err");

    begin_test("%s", test);
    snprintf(script, sizeof script, "%s; exec \"$0\" \"$@\"", first);
    make_pipe(held);
    server.pid = start_program((char *const *)words, held[1], out, err);
    close(held[1]);
    close(out);
    close(err);
    server.held = held[0];
    check(wait_for_text("err", "\n", 1) &&
          sscanf(text_of("err"), "server: listening on %*s port %d", &server.port) == 1,
          "the server does not tell its port");
}

/* Starts a client that puts the file into NAME, with -b BUFFERS. A signal to all is not for it. */
static pid_t start_client(char *name, char *buffers)
{
    char port[8], *const words[] = { "sh", "-c", "trap '' INT; exec \"$0\" \"$@\"", pair[CLIENT].path, "-p", port, "-b",
                                     buffers, name, NULL };

    snprintf(port, sizeof port, "%d", server.port);
    return start_program(words, null, null, null);
}

/* Returns a connection to the server, or -1 if it was refused. */
static int connect_peer(void)
{
    const struct sockaddr_in name = local_address(server.port);
    const struct timeval patience = { .tv_sec = PATIENCE };
    int fd = make_socket();

    must(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), "setsockopt");
    if (connect(fd, (const struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    if (errno != ECONNREFUSED && errno != ECONNRESET)
        die("connect");
    close(fd);
    return -1;
}

/* Sends the server a signal, or, if TO_ALL, all of its processes, as Ctrl-C in a terminal does. Checks that the server
 * ends by it at once, whoever is being served, and takes no new clients. */
static void stop_server(int signal_number, bool to_all)
{
    int status;

    must(kill(to_all ? 0 : server.pid, signal_number), "kill");
    status = status_of(server.pid);
    check(status == 128 + signal_number, "the server ends with status %d", status);
    check(connect_peer() < 0, "new clients are not refused");
}

/* Checks that all processes of the stopped server end, and that so many clients were THANKED. */
static void end_server(int thanked)
{
    struct pollfd held = { .fd = server.held };

    check(poll(&held, 1, PATIENCE * 1000) == 1, "a process of the server is left");
    close(server.held);
    check(is_in_lines(), "a line of the transcript is torn");
    check(count("out", "Thank you") == thanked, "not %d thanked", thanked);
}

/* Connects so many PEERS, and waits until the server has said LINE of so many clients. */
static void connect_peers(int peers[], int number, const char *line)
{
    for (int i = 0; i < number; i++)
        peers[i] = connect_peer();
    check(wait_for_text("out", line, number), "not all of %d are being served at once", number);
}

/* Reads what the server sends to FD. Returns how many bytes it was until the end-of-file; -1 with errno if read
 * fails. */
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

/* Checks that the NUMBER of PEERS are served to the end. */
static void check_served(const int peers[], int number)
{
    int unserved = 0;

    for (int i = 0; i < number; i++)
        unserved += !be_served(peers[i], thanks);
    check(unserved == 0, "%d peers are not served to the end", unserved);
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

/* Lets all clients come, AT_ONCE at a time, and replaces the file each time one has ended. Checks that each says that
 * it has the file, and has one of the two. */
static void play_crowd(void)
{
    int begun = 0, unhappy = 0, spoilt = 0, status;
    char name[16];

    for (int ended = 0; ended < clients; ended++) {
        for (; begun < clients && begun - ended < AT_ONCE; begun++) {
            snprintf(name, sizeof name, "got-%d", begun);
            start_client(name, "0");
        }
        pid_t pid = must(wait(&status), "wait");
        if (pid == server.pid)
            die("the server has ended");
        unhappy += status != 0;
        put_version(ended % 2);
    }
    for (int i = 0; i < clients; i++) {
        snprintf(name, sizeof name, "got-%d", i);
        spoilt += !holds(name, versions[0], VERSION_LENGTH) && !holds(name, versions[1], VERSION_LENGTH);
    }
    check(unhappy == 0, "%d of %d clients failed", unhappy, clients);
    check(spoilt == 0, "%d of %d clients have a file that is neither version", spoilt, clients);
    put_version(0);
}

/* A crowd, among peers that are silent, that leave at once, and that say something else. The server has fewer
 * descriptors than clients: it may keep none. */
static void test_crowd(void)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };
    int silent[HOSTILE], fd;

    start_server("crowd", pair[SERVER].path, "ulimit -Sn 64", "0");
    for (int i = 0; i < HOSTILE; i++) {
        silent[i] = connect_peer();
        fd = connect_peer();
        must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), "setsockopt");
        close(fd);
        check(be_served(connect_peer(), "nonsense"), "a liar is not served");
    }
    play_crowd();
    for (int i = 0; i < HOSTILE; i++)
        close(silent[i]);
    stop_server(SIGTERM, false);
    end_server(clients);
    check(count("err", "server: client ") >= 2 * HOSTILE, "not all liars and silent ones were complained of");
}

/* A signal to the server alone: who is being served is served to the end, even if the server is killed. */
static void test_alone(const char *test, int signal_number)
{
    int peers[6];

    start_server(test, pair[SERVER].path, ":", "0");
    connect_peers(peers, 6, "Output stream close");
    stop_server(signal_number, false);
    check_served(peers, 6);
    end_server(6);
}

/* Ctrl-C: everything ends, in the middle of a large file, and to the clients that is a reset. */
static void test_all_stopped(void)
{
    int peers[3], dropped = 0, status;
    pid_t client;

    must(truncate("source", LARGE_LENGTH), "source");
    put_file("got", "old", 3);
    start_server("SIGINT to all", pair[SERVER].path, ":", "1025");
    connect_peers(peers, 3, "Start to send");
    client = start_client("got", "1025");
    check(wait_for_text("out", "Start to send", 4), "the client is not being served");
    stop_server(SIGINT, true);
    end_server(0);
    for (int i = 0; i < 3; i++)
        dropped += is_reset(peers[i]);
    check(dropped == 3, "only %d of 3 peers see a reset", dropped);
    status = status_of(client);
    check(status == 1, "the client ends with status %d", status);
    check(holds("got", "old", 3), "the client has touched its destination");
    put_version(0);
}

/* One client more than the server has places for: it waits for one, and the server does not spin. */
static void test_places(void)
{
    bool seen[PLACES + 1] = { false };
    int peers[PLACES + 1], number, numbers = 0;

    start_server("places", checked_path, ":", "0");
    connect_peers(peers, PLACES, "Output stream close");
    peers[PLACES] = connect_peer();
    check(is_waiting(peers[PLACES]), "one more is refused, or served at once");
    check_served(peers, 1);
    check(be_served(peers[PLACES], thanks), "one more is not served once there is a place");
    check_served(peers + 1, PLACES - 1);
    stop_server(SIGTERM, false);
    end_server(PLACES + 1);
    for (const char *line = text_of("out"); (line = strstr(line, "New client：")) != NULL; line++)
        if (sscanf(line, "New client：%d", &number) == 1 && number >= 4 && number <= 4 + PLACES) {
            numbers += !seen[number - 4];
            seen[number - 4] = true;
        }
    check(numbers == PLACES + 1, "the clients are not numbers 4 to %d", 4 + PLACES);
}

/* There is no process for one client: it is reset, and that is said. The others are served. */
static void test_no_process(void)
{
    int before, after;

    start_server("no process", checked_path, "export FAULT='fork 2 EAGAIN'", "0");
    connect_peers(&before, 1, "Output stream close");
    check(is_reset(connect_peer()), "the peer is not turned away");
    connect_peers(&after, 1, "Output stream close");
    check(count("err", "no process for client 5") == 1, "the server does not say so, but:\n%s", text_of("err"));
    check_served(&before, 1);
    check_served(&after, 1);
    stop_server(SIGTERM, false);
    end_server(2);
}

/* There is no descriptor for the next client: the server says so, and does not spin. With RELIEF it gets some more and
 * serves the client; otherwise that is reset when the server ends. */
static void test_no_descriptor(const char *test, bool relief)
{
    int fd;

    start_server(test, checked_path, "ulimit -Sn 4", "0");
    fd = connect_peer();
    check(wait_for_text("err", "cannot accept a connection", 1), "the server does not say so");
#ifdef __linux__
    const struct rlimit more = { .rlim_cur = 64, .rlim_max = 64 };
    must(relief ? prlimit(server.pid, RLIMIT_NOFILE, &more, NULL) : 0, "prlimit");
#endif
    check(relief ? be_served(fd, thanks) : is_waiting(fd), "the peer is neither served nor waiting");
    stop_server(SIGTERM, false);
    check(relief || is_reset(fd), "the peer is not dropped");
    end_server(relief);
}

/* All tests, one after the other. */
static void test_all(void)
{
    test_crowd();
    test_alone("SIGTERM", SIGTERM);
    test_alone("SIGINT", SIGINT);
    test_alone("SIGKILL", SIGKILL);
    test_all_stopped();
    test_places();
    test_no_process();
    test_no_descriptor("no descriptor", false);
#ifdef __linux__
    test_no_descriptor("a descriptor again", true);
#else
    skipped++;
    puts("skipped: crowd: a descriptor again (needs prlimit)");
#endif
}

int main(int argc, char *argv[])
{
    char beside[PATH_MAX];
    uint64_t seed = any_seed();
    int letter, slash = (int)(strrchr(argv[0], '/') == NULL ? 0 : strrchr(argv[0], '/') - argv[0] + 1);

    begin("crowd");
    while ((letter = getopt(argc, argv, "n:s:")) != -1)
        if (letter == 'n')
            clients = atoi(optarg);
        else if (letter == 's')
            seed = strtoull(optarg, NULL, 10);
        else
            clients = 0;
    if (clients < 1 || argc != optind + 2) {
        fprintf(stderr, "usage: crowd [-n CLIENTS] [-s SEED] SERVER CLIENT\n");
        return 2;
    }
    find_program(SERVER, argv[optind]);
    find_program(CLIENT, argv[optind + 1]);
    snprintf(beside, sizeof beside, "%.*sserver-faults", slash, argv[0]);
    if (realpath(beside, checked_path) == NULL)
        die(beside);
    for (int fd = 3; fd < 1024; fd++)
        close(fd); /* what we have inherited: the server's own get other numbers by it */
    make_workplace();
    supervise(SECONDS_LIMIT);
    signal(SIGINT, SIG_IGN); /* those to all are not for us */
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    must(setenv("FAULT", "none", 1), "setenv");
    null = must(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    draw_bytes(versions[0], sizeof versions, seed);
    put_version(0);
    test_all();
    printf(skipped > 0 ? "%d passed, %d failed, %d skipped\n" : "%d passed, %d failed\n", passed, failed, skipped);
    return failed > 0;
}
