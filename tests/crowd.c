/*
 * crowd.c - the test of `server -k`: a crowd of clients at once, hostile ones among them, and every way to stop the server.
 *
 *     tests/crowd [-n CLIENTS] [-j AT_ONCE] [-s SEED] [SERVER CLIENT]
 *
 * The programs are ./server and ./client unless named. SEED decides which clients are killed, and when; the first line of the
 * output says how to have the same again. What the scheduler adds to that cannot be repeated.
 *
 * A server is a tree of processes. Each holds the writing end of a pipe as its standard input, which none reads: when our end
 * sees end-of-file, all of them are gone. All processes of a test are one group, as those of a terminal are, and the one that main
 * leaves outside cleans up: when all is done, when it is interrupted, or after SECONDS_LIMIT. Read main, then test_all.
 */
#define _GNU_SOURCE /* prlimit; all else is in POSIX.1-2008 with XSI */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SECONDS_LIMIT = 120,            /* for the whole test; PATIENCE is that for one event, in milliseconds */
    PATIENCE = 10000,
    PLACES = 256,                   /* clients that the server serves at once: CLIENTS_MAX there */
    HOSTILE = 10,                   /* peers of each hostile kind */
    VERSION_LENGTH = 300001,        /* the length of a version of the file, */
    LARGE_LENGTH = 64 << 20,        /* and of one that takes seconds with small buffers */
};

static int clients = 1000, at_once = 200, passed, failures, skipped;
static char *server_path, *client_path;
static char versions[2][VERSION_LENGTH];   /* what the server sends: the first one, unless the test replaces it */
static struct {
    pid_t pid, copier;              /* the server, and the cat behind its standard output or 0 */
    int port, held;                 /* our end of the pipe that all its processes hold */
    int served, failed;             /* what it said at its end */
} server;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
    exit(2);
}

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
    for (int tries = 0; tries < PATIENCE / 2; tries++) {
        if (condition(number))
            return true;
        pause_for(2);
    }
    return false;
}

/* ---- Files --------------------------------------------------------------------------------------------------- */

/* Returns what is in the file NAME as a string, good until the next call; its length is in *LENGTH. No file is an empty
 * string. */
static const char *text_of(const char *name, size_t *length)
{
    static char *text;
    struct stat status = { .st_size = 0 };
    FILE *file = fopen(name, "r");

    if (file != NULL && fstat(fileno(file), &status) != 0)
        die(name);
    text = realloc(text, (size_t)status.st_size + 1);
    if (text == NULL)
        die("realloc");
    *length = file == NULL ? 0 : fread(text, 1, (size_t)status.st_size, file);
    text[*length] = '\0';
    if (file != NULL && fclose(file) != 0)
        die(name);
    return text;
}

/* Makes NAME a file of LENGTH bytes: those of CONTENT, or a hole if it is NULL. It is there as a whole or not at
 * all. */
static void write_file(const char *name, const char *content, size_t length)
{
    FILE *file = fopen("next", "w");

    if (file == NULL || (content != NULL && fwrite(content, 1, length, file) != length) || fflush(file) != 0 ||
        ftruncate(fileno(file), (off_t)length) != 0 || fclose(file) != 0 || rename("next", name) != 0)
        die(name);
}

/* Puts the name of the destination of client NUMBER into NAME. */
static void name_destination(int number, char name[16])
{
    snprintf(name, 16, "got-%d", number);
}

/* True if the destination of client NUMBER holds one of the first COUNT versions, the whole of it. */
static bool is_whole(int number, int count)
{
    char name[16];
    size_t length;
    const char *text;

    name_destination(number, name);
    text = text_of(name, &length);
    for (int i = 0; i < count; i++)
        if (length == VERSION_LENGTH && memcmp(text, versions[i], VERSION_LENGTH) == 0)
            return true;
    return false;
}

/* True if the destination of client NUMBER holds what it held before there was a client. */
static bool is_untouched(int number)
{
    char name[16];
    size_t length;

    name_destination(number, name);
    return strcmp(text_of(name, &length), "old") == 0;
}

/* ---- What the server says ------------------------------------------------------------------------------------ */

/* The lines of its transcript; # is a number. */
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
    for (const char *line = text_of("out", &length); *line != '\0'; line += length + (line[length] == '\n')) {
        length = strcspn(line, "\n");
        for (i = 0; i < FORMS && !has_form(line, length, forms[i]); i++)
            ;
        *(i < FORMS ? &counts[i] : &strange) += 1;
    }
    return strange;
}

/* Conditions for eventually: the server has begun to serve, or has half-closed to, so many clients. */
static bool has_started(int number) { int counts[FORMS]; read_transcript(counts); return counts[START] >= number; }
static bool has_sent(int number) { int counts[FORMS]; read_transcript(counts); return counts[FIN] >= number; }

/* Returns how many lines of the server's standard error have TEXT in them. */
static int complaints(const char *text)
{
    size_t length;
    int count = 0;

    for (const char *place = text_of("err", &length); (place = strstr(place, text)) != NULL; place++)
        count++;
    return count;
}

/* A condition: the server is short of descriptors and has said so. */
static bool is_short(int number) { return complaints("cannot serve another client just now: ") >= number; }

/* A condition: the server has told its port. */
static bool has_port(int number)
{
    size_t length;
    const char *text = text_of("err", &length);

    return strchr(text, '\n') != NULL && sscanf(text, "server: listening on %*s port %d", &server.port) == number;
}

/* ---- Programs and peers -------------------------------------------------------------------------------------- */

/* Forks, and lets nothing be printed twice. */
static pid_t split(void)
{
    pid_t pid = fflush(stdout) == 0 ? fork() : -1;

    if (pid < 0)
        die("fork");
    return pid;
}

/* Makes a pipe that no program inherits unless it is told to. */
static void make_pipe(int ends[2])
{
    if (pipe(ends) != 0 || fcntl(ends[0], F_SETFD, FD_CLOEXEC) != 0 || fcntl(ends[1], F_SETFD, FD_CLOEXEC) != 0)
        die("pipe");
}

/* Opens the file NAME, emptied, for a program to write its output to. */
static int open_output(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);

    if (fd < 0)
        die(name);
    return fd;
}

/* Becomes the program PATH with these three descriptors, and no other that we may have inherited: it prints the numbers of
 * its own. */
static _Noreturn void become(const char *path, char *arguments[], int in, int out, int err)
{
    if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0) {
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
        execvp(path, arguments);
    }
    _exit(127);
}

/* Starts a server with -b BUFFERS that may have so many DESCRIPTORS, 0 for any number. Its standard error is the file
 * err, its standard output is the file out, or a pipe through which cat fills that file. */
static void start_server(char *buffers, rlim_t descriptors, bool through_pipe)
{
    char *arguments[] = { "server", "-k", "-p", "0", "-b", buffers, "source", NULL }, *cat[] = { "cat", NULL };
    int held[2], between[2] = { -1, -1 }, out = open_output("out"), err = open_output("err");
    struct rlimit limit;

    server.copier = 0;
    make_pipe(held);
    if (through_pipe) {
        make_pipe(between);
        server.copier = split();
        if (server.copier == 0)
            become("cat", cat, between[0], out, STDERR_FILENO);
        if (close(between[0]) != 0 || close(out) != 0)
            die("close");
        out = between[1];
    }
    server.pid = split();
    if (server.pid == 0) {
        if (signal(SIGINT, SIG_DFL) == SIG_ERR || getrlimit(RLIMIT_NOFILE, &limit) != 0)
            _exit(126);
        limit.rlim_cur = descriptors > 0 ? descriptors : limit.rlim_cur;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            _exit(126);
        become(server_path, arguments, held[1], out, err);
    }
    if (close(held[1]) != 0 || close(out) != 0 || close(err) != 0)
        die("close");
    server.held = held[0];
    if (!eventually(has_port, 1))
        die("the server does not tell its port");
}

/* Sends the server SIGNAL, unless that is 0. */
static void tell_server(int signal_number)
{
    if (signal_number != 0 && kill(server.pid, signal_number) != 0)
        die("kill");
}

/* Returns the exit status of the child PID once it has ended, or 128 and the signal that killed it. */
static int status_of(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Waits for the end of the server, after SIGNAL, and checks that it ends with STATUS, says how it went, and leaves no
 * process behind. */
static void end_server(const char *test, int signal_number, int status)
{
    struct pollfd held = { .fd = server.held };
    size_t length;
    const char *text;
    int counts[FORMS], got;

    tell_server(signal_number);
    got = status_of(server.pid);
    check(got == status, "%s: the server ends with status %d", test, got);
    check(poll(&held, 1, PATIENCE) == 1, "%s: a process of the server is left", test);
    if (close(server.held) != 0)
        die("close");
    if (server.copier != 0)
        check(status_of(server.copier) == 0, "%s: cat failed", test);
    if (status > 1)
        return;
    text = text_of("err", &length);
    while ((text = strchr(text, '\n')) != NULL && sscanf(++text, "server: %d clients served, %d failed", &server.served,
                                                        &server.failed) != 2)
        ;
    check(text != NULL, "%s: the server does not say how many it has served", test);
    check(read_transcript(counts) == 0, "%s: a line of the transcript is torn", test);
    check(counts[CLOSE] == (status == 0), "%s: the last line of the transcript", test);
    check(counts[THANKS] == server.served, "%s: %d were served and %d thanked", test, server.served, counts[THANKS]);
}

/* Starts a client of NUMBER, with -b BUFFERS and -d DELAY. */
static pid_t start_client(int number, char *buffers, char *delay)
{
    char port[8], name[16], *arguments[] = { "client", "-p", port, "-b", buffers, "-d", delay, name, NULL };
    int null;
    pid_t pid;

    snprintf(port, sizeof port, "%d", server.port);
    name_destination(number, name);
    pid = split();
    if (pid == 0) {
        null = open("/dev/null", O_RDWR);
        become(client_path, arguments, null, null, null);
    }
    return pid;
}

/* Starts a client of NUMBER that is going to be killed: between us and it stands a process that does it, which has its
 * status. */
static pid_t start_victim(int number)
{
    const int signal_number = random() % 2 == 0 ? SIGKILL : SIGTERM;
    const long delay = random() % 60; /* milliseconds: half of them are somewhere in the middle */
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
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0)
        die("socket");
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

/* Reads what the server sends to FD. Returns how many bytes it was until the end-of-file, or -1 and the error of
 * read. */
static long receive(int fd)
{
    static char block[64 * 1024];
    long total = 0;
    ssize_t count;

    while ((count = read(fd, block, sizeof block)) > 0)
        total += count;
    return count == 0 ? total : -1;
}

/* Receives the file on FD, acknowledges it, and waits for the server to close. Returns true if all that worked. */
static bool be_served(int fd)
{
    static const char thanks[] = "I have recv the data,Thank you";

    return receive(fd) == VERSION_LENGTH && write(fd, thanks, sizeof thanks - 1) == sizeof thanks - 1 && close(fd) == 0;
}

/* ---- The tests ----------------------------------------------------------------------------------------------- */

/* Lets COUNT clients come, at_once at a time, of which every tenth is killed if KILLING. Replaces the file each time
 * one has ended if REPLACING. Returns how many say that they have it, and checks that they, and only they, do. */
static int play_crowd(const char *test, int count, bool killing, bool replacing)
{
    pid_t *pids = calloc((size_t)count, sizeof *pids), pid;
    int begun = 0, ended = 0, happy = 0, spoilt = 0, number, status;

    if (pids == NULL)
        die("calloc");
    for (number = 0; number < count; number++) {
        char name[16];
        name_destination(number, name);
        write_file(name, "old", 3);
    }
    while (ended < count) {
        for (; begun < count && begun - ended < at_once; begun++)
            pids[begun] = killing && begun % 10 == 0 ? start_victim(begun) : start_client(begun, "0", "0");
        pid = wait(&status);
        for (number = 0; number < begun && pids[number] != pid; number++)
            ;
        if (number == begun)
            die(pid == server.pid ? "the server has ended" : "wait");
        bool whole = is_whole(number, replacing ? 2 : 1), victim = killing && number % 10 == 0;
        happy += status == 0;
        spoilt += !(status == 0 ? whole : victim && (whole || is_untouched(number)));
        ended++;
        if (replacing)
            write_file("source", versions[ended % 2], VERSION_LENGTH);
    }
    free(pids);
    check(spoilt == 0, "%s: %d of %d clients failed, or have a file that is not what they say", test, spoilt, count);
    return happy;
}

/* A crowd, and nobody to disturb it. */
static void test_crowd(void)
{
    int counts[FORMS];

    start_server("0", 3 * PLACES / 2, true); /* fewer descriptors than clients: none may be kept */
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
    const int count = clients / 2;
    int silent[HOSTILE], fd, happy;

    start_server("0", 0, false);
    for (int i = 0; i < HOSTILE; i++) {
        silent[i] = connect_peer();
        fd = connect_peer();
        if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) != 0 || close(fd) != 0)
            die("reset");
        fd = connect_peer();
        check(receive(fd) == VERSION_LENGTH && write(fd, "nonsense", 8) == 8 && close(fd) == 0, "hostile: a liar is not served");
    }
    happy = play_crowd("hostile", count, true, false);
    for (int i = 0; i < HOSTILE; i++)
        close(silent[i]);
    end_server("hostile", SIGTERM, 0);
    check(server.served >= happy && server.served <= count && server.failed >= 2 * HOSTILE &&
          server.served + server.failed >= count - count / 10 - 1 + 2 * HOSTILE &&
          server.served + server.failed <= count + 3 * HOSTILE,
          "hostile: of %d clients %d are happy, and %d served, %d failed", count, happy, server.served, server.failed);
}

/* The file is replaced while it is being sent. */
static void test_replaced(void)
{
    start_server("0", 0, true);
    play_crowd("replaced", 60, false, true);
    end_server("replaced", SIGTERM, 0);
    check(server.served == 60, "replaced: %d served", server.served);
    write_file("source", versions[0], VERSION_LENGTH);
}

/* SIGTERM to the server, or SIGINT TO_ALL as ^C in a terminal sends it: who is being served is served to the end. */
static void test_drain(const char *test, bool to_all)
{
    int peers[5];
    pid_t slow;

    start_server("0", 0, true);
    for (int i = 0; i < 5; i++)
        peers[i] = connect_peer();
    slow = start_client(0, "0", "1");
    check(eventually(has_sent, 6), "%s: six clients at once", test);
    if (to_all ? kill(0, SIGINT) != 0 : kill(server.pid, SIGTERM) != 0)
        die("kill");
    check(eventually(is_closed, 0), "%s: new clients are not refused", test);
    for (int i = 0; i < 5; i++)
        check(be_served(peers[i]), "%s: peer %d is not served to the end", test, i);
    check(status_of(slow) == 0 && is_whole(0, 1), "%s: the client is not served to the end", test);
    end_server(test, 0, 0);
    check(server.served == 6, "%s: %d served", test, server.served);
}

/* Makes the server break off in the middle: by SIGTERM twice, or by SIGKILL. */
static void test_broken_off(const char *test, int signal_number)
{
    int peers[3], status;
    pid_t client;

    write_file("source", NULL, LARGE_LENGTH);
    write_file("got-0", "old", 3);
    start_server("1025", 0, true);
    for (int i = 0; i < 3; i++)
        peers[i] = connect_peer();
    client = start_client(0, "1025", "0");
    check(eventually(has_started, 4), "%s: four clients at once", test);
    if (signal_number == SIGTERM) {
        tell_server(SIGTERM);
        check(eventually(is_closed, 0), "%s: new clients are not refused", test);
    }
#if !defined __linux__ || defined PORTABLE
    if (signal_number == SIGKILL) { /* whoever was being served when the server died still is, unless it leaves */
        for (int i = 0; i < 3; i++)
            close(peers[i]);
        kill(client, SIGKILL);
        status_of(client);
        end_server(test, SIGKILL, 128 + SIGKILL);
        skipped++;
        printf("skipped: crowd: %s: who is being served (not on this system)\n", test);
        write_file("source", versions[0], VERSION_LENGTH);
        return;
    }
#endif
    end_server(test, signal_number, signal_number == SIGTERM ? 1 : 128 + SIGKILL);
    for (int i = 0; i < 3; i++) {
        check(receive(peers[i]) < 0 && errno == ECONNRESET, "%s: peer %d sees no reset", test, i);
        close(peers[i]);
    }
    status = status_of(client);
    check(status == 1 && is_untouched(0), "%s: the client ends with status %d", test, status);
    write_file("source", versions[0], VERSION_LENGTH);
}

/* More clients than the server has places for: they wait for one. */
static void test_places(void)
{
    bool seen[8 * PLACES] = { false };
    int peers[PLACES + 1], number, twice = 0, unserved = 0;
    size_t length;

    start_server("0", 0, true);
    for (int i = 0; i < PLACES; i++)
        peers[i] = connect_peer();
    check(eventually(has_sent, PLACES), "places: not all are taken");
    for (const char *line = text_of("out", &length); (line = strstr(line, "New client：")) != NULL; line++)
        if (sscanf(line, "New client：%d", &number) == 1 && number >= 0 && number < 8 * PLACES) {
            twice += seen[number];
            seen[number] = true;
        }
    check(twice == 0, "places: %d times two clients have the same number", twice);
    peers[PLACES] = connect_peer();
    check(peers[PLACES] >= 0, "places: one more is refused");
    struct pollfd last = { .fd = peers[PLACES], .events = POLLIN };
    check(poll(&last, 1, 200) == 0, "places: one more is served at once");
    for (int i = 0; i <= PLACES; i++)
        unserved += !be_served(peers[i]);
    check(unserved == 0, "places: %d peers are not served", unserved);
    end_server("places", SIGTERM, 0);
    check(server.served == PLACES + 1 && server.failed == 0, "places: %d served, %d failed", server.served, server.failed);
}

/* Returns how many microseconds of the processor our children have used that have ended. */
static long used(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_CHILDREN, &usage) != 0)
        die("getrusage");
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* Four descriptors are just enough to listen: the server cannot accept, says so, and waits. With RELIEF it gets
 * more. */
static void test_short(const char *test, bool relief)
{
    const long before = used();
    int fd;

    start_server("0", 4, false);
    fd = connect_peer();
    check(eventually(is_short, 1), "%s: the server does not say so", test);
    struct pollfd peer = { .fd = fd, .events = POLLIN };
    check(poll(&peer, 1, 600) == 0, "%s: the peer is served or reset", test);
#ifdef __linux__
    if (relief) {
        const struct rlimit more = { .rlim_cur = 64, .rlim_max = 64 };
        check(prlimit(server.pid, RLIMIT_NOFILE, &more, NULL) == 0 && be_served(fd), "%s: relief does not help", test);
    }
#endif
    end_server(test, SIGTERM, 0);
    check(server.served == relief && complaints("cannot serve another") == 1, "%s: it goes on, having said so once", test);
    check(used() - before < 120000, "%s: it spins: %ld microseconds of the processor", test, used() - before);
    if (!relief)
        close(fd);
}

/* All tests, one after the other. */
static void test_all(void)
{
    test_crowd();
    test_hostile();
    test_replaced();
    test_drain("SIGTERM", false);
    test_drain("SIGINT to all", true);
    test_broken_off("SIGTERM twice", SIGTERM);
    test_broken_off("SIGKILL", SIGKILL);
    test_places();
    test_short("short of descriptors", false);
#ifdef __linux__
    test_short("no longer short of descriptors", true);
#else
    skipped++;
    puts("skipped: crowd: no longer short of descriptors (needs prlimit)");
#endif
}

/* Removes the directory WORKPLACE and its files. */
static void remove_workplace(const char *workplace)
{
    DIR *listing = opendir(".");
    struct dirent *entry;

    if (listing == NULL)
        die(workplace);
    while ((entry = readdir(listing)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlink(entry->d_name) != 0)
            die(entry->d_name);
    closedir(listing);
    if (rmdir(workplace) != 0)
        die(workplace);
}

/* The handler of SIGCHLD, which must have one for sigwait to see it. */
static void ignore(int signal_number)
{
    (void)signal_number;
}

int main(int argc, char *argv[])
{
    static const int awaited[] = { SIGHUP, SIGINT, SIGTERM, SIGALRM, SIGCHLD };
    const struct sigaction child = { .sa_handler = ignore, .sa_flags = SA_NOCLDSTOP };
    unsigned seed = ((unsigned)time(NULL) ^ (unsigned)getpid()) % 1000000;
    char workplace[1024];
    struct rlimit limit;
    sigset_t set, before;
    int letter, came;
    pid_t pid;

    while ((letter = getopt(argc, argv, "n:j:s:")) != -1)
        if (letter == 'n')
            clients = atoi(optarg);
        else if (letter == 'j')
            at_once = atoi(optarg);
        else if (letter == 's')
            seed = (unsigned)strtoul(optarg, NULL, 10);
        else
            clients = 0;
    if (clients < 1 || at_once < 1 || (argc != optind && argc != optind + 2)) {
        fprintf(stderr, "usage: crowd [-n CLIENTS] [-j AT_ONCE] [-s SEED] [SERVER CLIENT]\n");
        return 2;
    }
    server_path = realpath(optind < argc ? argv[optind] : "server", NULL);
    client_path = realpath(optind < argc ? argv[optind + 1] : "client", NULL);
    snprintf(workplace, sizeof workplace, "%s/crowd-XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    if (server_path == NULL || client_path == NULL || mkdtemp(workplace) == NULL || chdir(workplace) != 0)
        die("server, client, or a directory to work in");
    printf("crowd: tests/crowd -n %d -j %d -s %u makes the same plans again\n", clients, at_once, seed);

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof awaited / sizeof awaited[0]; i++)
        sigaddset(&set, awaited[i]);
    if (sigaction(SIGCHLD, &child, NULL) != 0 || sigprocmask(SIG_BLOCK, &set, &before) != 0)
        die("signals");
    pid = split();
    if (pid == 0) {
        if (setpgid(0, 0) != 0 || signal(SIGCHLD, SIG_DFL) == SIG_ERR || sigprocmask(SIG_SETMASK, &before, NULL) != 0 ||
            signal(SIGINT, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR || getrlimit(RLIMIT_NOFILE, &limit) != 0)
            die("signals");
        limit.rlim_cur = limit.rlim_max < 1024 ? limit.rlim_max : 1024;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            die("descriptors");
        srandom(seed);
        for (size_t i = 0; i < sizeof versions; i++)
            versions[i / VERSION_LENGTH][i % VERSION_LENGTH] = (char)random();
        write_file("source", versions[0], VERSION_LENGTH);
        test_all();
        printf(skipped > 0 ? "%d passed, %d failed, %d skipped\n" : "%d passed, %d failed\n", passed, failures, skipped);
        return failures > 0;
    }
    if (setpgid(pid, pid) != 0 && errno != EACCES) /* both do it: whoever comes first */
        die("setpgid");
    alarm(SECONDS_LIMIT);
    if (sigwait(&set, &came) != 0)
        die("sigwait");
    if (came != SIGCHLD) {
        printf("FAILED: crowd: stopped by signal %d\n", came);
        kill(-pid, SIGKILL);
    }
    letter = status_of(pid);
    kill(-pid, SIGKILL);
    remove_workplace(workplace);
    return letter;
}
