/*
 * peer.c - the other end of a connection, made to order: it does what its arguments say, one after the other.
 *
 *     peer listen ACTION...           waits for one connection on a port of 127.0.0.1 that it tells on standard error
 *     peer connect PORT ACTION...     connects to that port
 *
 *     get N            reads N bytes, or to the end-of-file       send FILE      sends it in pieces of 1025 bytes
 *     into FILE        reads to the end-of-file, into FILE        put TEXT       sends TEXT; \xNN is the byte NN
 *     slow RATE FILE   the same, RATE bytes a second              drip MS TEXT   the same, a byte every MS milliseconds
 *     eof              reads to the end-of-file and drops it      urgent TEXT    the same, the last byte with MSG_OOB
 *     quiet MS         fails if anything comes within MS          flood N        sends N bytes while they are taken
 *     fin              shutdown(SHUT_WR)                          pad N          the same, of NUL bytes
 *     reset            closes with a reset                        close          closes
 *     wait FILE        waits until there is such a file           touch FILE     makes it
 *     says FILE TEXT   waits until FILE holds TEXT, for a minute at most
 *     sh COMMAND       runs COMMAND                               stay           waits until the other side has closed
 *     buffers N        sizes of the socket buffers; first only                   both directions or reset them
 *     say TEXT         prints TEXT on standard error, in the form of a line of the trace (-v)
 *
 *     peer full FILE                  listens until there is FILE, but has no room for one more connection
 *     peer hold COMMAND...            runs COMMAND while a port is taken on which nobody listens: PORT stands for it
 *     peer terminal COMMAND...        runs COMMAND with a terminal as its standard error, and copies that to ours
 *     peer socket FILE                makes FILE, a socket
 *     peer sizes BYTES                prints what SO_SNDBUF and SO_RCVBUF are after both were set to BYTES
 *
 * So "listen send F fin get 1025" is the plainest file server there is, and "connect P into F put '...' pad 995" the
 * client that sends the acknowledgement in a buffer of 1025 bytes. With wait and touch, scripts and peers take turns.
 * Exits with 0 if all of it worked, 1 if the other side did not do its part (it reset while we read, say), 2 otherwise.
 */
#include "tools.h"

#include <sys/un.h>

enum { PIECE = 1025, TEXT_ROOM = 4096, LIMIT = 100, READS_A_SECOND = 100 };

static const char *side; /* server or client */
static int connection;
static bool ended; /* the other side's end-of-file was read */

/* Ends the program with status 1: the other side did not do its part. */
static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "peer: %s: %s\n", what, errno != 0 ? strerror(errno) : "the other side spoke before its time");
    exit(1);
}

static void pause_for(int64_t duration) /* microseconds */
{
    struct timespec left = { .tv_sec = (time_t)(duration / 1000000), .tv_nsec = (long)(duration % 1000000 * 1000) };

    while (duration > 0 && nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* ---- What it can do; WORDS are the arguments of the action ----------------------------------------------------- */

static void send_all(const char *data, size_t length, int flags)
{
    while (length > 0) {
        ssize_t count = send(connection, data, length, flags);
        if (count < 0)
            fail("send");
        data += count;
        length -= (size_t)count;
    }
}

static void send_file(char **words)
{
    char block[PIECE];
    ssize_t count;
    int fd = must(open(words[0], O_RDONLY), words[0]);

    while ((count = read(fd, block, sizeof block)) > 0)
        send_all(block, (size_t)count, 0);
    if (count < 0)
        die(words[0]);
    close(fd);
}

/* Writes TEXT to BYTES with \xNN decoded. Returns how many bytes they are. */
static size_t decode(const char *text, char bytes[TEXT_ROOM])
{
    size_t length = 0;
    unsigned byte;

    for (; *text != '\0' && length < TEXT_ROOM; length++)
        if (sscanf(text, "\\x%2x", &byte) == 1) {
            bytes[length] = (char)byte;
            text += 4;
        } else
            bytes[length] = *text++;
    return length;
}

static void put_with(const char *text, int flags)
{
    char bytes[TEXT_ROOM];

    send_all(bytes, decode(text, bytes), flags);
}

static void put(char **words) { put_with(words[0], 0); }
static void urgent(char **words) { put_with(words[0], MSG_OOB); }

static void drip(char **words)
{
    char bytes[TEXT_ROOM];
    size_t length = decode(words[1], bytes);

    for (size_t i = 0; i < length; i++) {
        send_all(bytes + i, 1, 0);
        pause_for(atol(words[0]) * 1000);
    }
}

/* Sends COUNT bytes BYTE for as long as the other side takes them. */
static void repeat(long count, int byte)
{
    char block[PIECE];

    memset(block, byte, sizeof block);
    while (count > 0) {
        ssize_t sent = send(connection, block, count < PIECE ? (size_t)count : PIECE, 0);
        if (sent < 0)
            return;
        count -= sent;
    }
}

static void flood(char **words) { repeat(atol(words[0]), 'x'); }
static void pad(char **words) { repeat(atol(words[0]), '\0'); }

/* Reads MOST bytes, or to the end-of-file, RATE in a second or, if that is 0, as they come. Writes them to the file
 * NAME unless that is NULL. */
static void receive(long most, long rate, const char *name)
{
    char block[PIECE];
    long step = rate > 0 && rate / READS_A_SECOND < PIECE ? rate / READS_A_SECOND + 1 : PIECE;
    ssize_t count = 1;
    int fd = name == NULL ? -1 : open_output(name);
    int64_t due = microseconds(), now;

    while (most > 0 && count > 0) {
        count = read(connection, block, (size_t)(most < step ? most : step));
        if (count < 0)
            fail("read");
        ended = count == 0;
        if (fd >= 0 && write(fd, block, (size_t)count) != count)
            die(name);
        most -= count;
        if (rate > 0) { /* what was not there in time is not made up for */
            now = microseconds();
            due = (due > now ? due : now) + count * 1000000 / rate;
            pause_for(due - now);
        }
    }
    if (fd >= 0 && close(fd) != 0)
        die(name);
}

static void get(char **words) { receive(atol(words[0]), 0, NULL); }
static void eof(char **words) { (void)words; receive(LONG_MAX, 0, NULL); }
static void into(char **words) { receive(LONG_MAX, 0, words[0]); }
static void slow(char **words) { receive(LONG_MAX, atol(words[0]), words[1]); }

/* Waits until there is nothing more to expect from the other side. Does not read, so that a full window stays full. */
static void stay(char **words)
{
    struct pollfd wanted = { .fd = connection };

    (void)words;
    while (poll(&wanted, 1, -1) < 0 || (wanted.revents & (POLLERR | POLLHUP)) == 0)
        ;
}

/* What must not come: data or an end-of-file, or after the end-of-file a reset. */
static void quiet(char **words)
{
    struct pollfd wanted = { .fd = connection, .events = ended ? 0 : POLLIN };

    errno = 0;
    if (poll(&wanted, 1, atoi(words[0])) != 0)
        fail("quiet");
}

static void fin(char **words)
{
    (void)words;
    if (shutdown(connection, SHUT_WR) != 0)
        fail("shutdown");
}

static void close_it(char **words)
{
    (void)words;
    if (close(connection) != 0 && errno != ECONNRESET) /* which FreeBSD says of one that was reset */
        die("close");
}

/* The form is that of trace in common.h, but for the state, which nobody has looked up. */
static void say(char **words)
{
    struct timespec now;
    struct tm parts;
    char clock[16];

    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || localtime_r(&now.tv_sec, &parts) == NULL ||
        strftime(clock, sizeof clock, "%H:%M:%S", &parts) == 0)
        die("the time");
    fprintf(stderr, "%s.%06ld %s %-11s %s\n", clock, now.tv_nsec / 1000, side, "-", words[0]);
}

/* Sets SO_LINGER, as the programs do: the next close sends a reset. */
static void reset(char **words)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    must(setsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), "SO_LINGER");
    close_it(words);
}

static void wait_for(char **words)
{
    while (access(words[0], F_OK) != 0)
        pause_for(1000);
}

static void says(char **words)
{
    char text[1 << 16];

    for (int64_t end = microseconds() + 60 * INT64_C(1000000);
         get_file(words[0], text, sizeof text) < 0 || strstr(text, words[1]) == NULL; pause_for(2000)) {
        errno = ETIMEDOUT;
        if (microseconds() > end)
            fail(words[1]);
    }
}

static void touch(char **words) { put_file(words[0], "", 0); }

static void shell(char **words)
{
    if (system(words[0]) != 0) {
        errno = ECANCELED;
        die(words[0]);
    }
}

static const struct action {
    const char *name;
    int words;
    void (*function)(char **words);
} actions[] = {
    { "get", 1, get },         { "into", 1, into },   { "slow", 2, slow },     { "eof", 0, eof },
    { "quiet", 1, quiet },     { "put", 1, put },     { "drip", 2, drip },     { "urgent", 1, urgent },
    { "send", 1, send_file },  { "flood", 1, flood }, { "pad", 1, pad },       { "fin", 0, fin },
    { "reset", 0, reset },     { "stay", 0, stay },   { "close", 0, close_it }, { "sh", 1, shell },
    { "wait", 1, wait_for },   { "touch", 1, touch }, { "says", 2, says }, { "say", 1, say },
};

/* Does the first action of WORDS, which end with a NULL. Returns the words that follow it. */
static char **act(char **words)
{
    int given = 0;

    while (given < 3 && words[given] != NULL)
        given++;
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(words[0], actions[i].name) == 0 && given > actions[i].words) {
            actions[i].function(words + 1);
            return words + 1 + actions[i].words;
        }
    fprintf(stderr, "peer: '%s': no such action, or its arguments are missing\n", words[0]);
    exit(2);
}

/* ---- The connection, and other things to be had for a test ----------------------------------------------------- */

/* Binds FD to a port that the kernel chooses. Returns its number. */
static int take_port(int fd)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof name;

    must(bind(fd, (struct sockaddr *)&name, length), "bind");
    must(getsockname(fd, (struct sockaddr *)&name, &length), "getsockname");
    return ntohs(name.sin_port);
}

/* Tells the PORT on which we listen. */
static void tell(int port)
{
    fprintf(stderr, "peer: listening on 127.0.0.1 port %d\n", port);
}

/* Runs COMMAND, with the port that FD keeps taken in the place of the word PORT. */
static _Noreturn void hold(int fd, char *command[])
{
    char port[8];

    snprintf(port, sizeof port, "%d", take_port(fd));
    for (char **word = command + 1; *word != NULL; word++)
        if (strcmp(*word, "PORT") == 0)
            *word = port;
    execvp(command[0], command);
    die(command[0]);
}

/* Runs COMMAND with a terminal as its standard error and copies what comes out of that. Returns COMMAND's status. */
static int on_terminal(char *command[])
{
    int master = must(posix_openpt(O_RDWR | O_NOCTTY), "terminal"), slave;
    char text[1024];
    ssize_t count;
    pid_t pid;

    must(fcntl(master, F_SETFD, FD_CLOEXEC), "fcntl");
    must(grantpt(master), "grantpt");
    must(unlockpt(master), "unlockpt");
    slave = must(open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC), "terminal");
    pid = start_program(command, STDIN_FILENO, STDOUT_FILENO, slave);
    close(slave);
    while ((count = read(master, text, sizeof text)) > 0) /* -1 with EIO when nobody has the terminal open any more */
        if (write(STDERR_FILENO, text, (size_t)count) != count)
            die("copy");
    return status_of(pid);
}

static void set_sizes(int fd, const char *bytes)
{
    int value = atoi(bytes);

    must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value), "SO_SNDBUF");
    must(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, sizeof value), "SO_RCVBUF");
}

static int size_of(int fd, int option)
{
    int value;
    socklen_t length = sizeof value;

    must(getsockopt(fd, SOL_SOCKET, option, &value, &length), "getsockopt");
    return value;
}

int main(int argc, char *argv[])
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const char *role = argc > 2 ? argv[1] : "";
    bool listens = strcmp(role, "listen") == 0;
    side = listens ? "server" : "client";
    char **words = argv + 2;
    int fd;

    tool = "peer";
    fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
    if (strcmp(role, "hold") == 0)
        hold(fd, words);
    if (strcmp(role, "terminal") == 0) {
        close(fd); /* COMMAND need not have it */
        return on_terminal(words);
    }
    if (strcmp(role, "sizes") == 0) {
        set_sizes(fd, words[0]);
        printf("%d %d\n", size_of(fd, SO_SNDBUF), size_of(fd, SO_RCVBUF));
        return 0;
    }
    if (strcmp(role, "socket") == 0) {
        struct sockaddr_un place = { .sun_family = AF_UNIX };
        snprintf(place.sun_path, sizeof place.sun_path, "%s", words[0]);
        must(bind(must(socket(AF_UNIX, SOCK_STREAM, 0), "socket"), (struct sockaddr *)&place, sizeof place), words[0]);
        return 0;
    }
    if (!listens && strcmp(role, "connect") != 0 && strcmp(role, "full") != 0) {
        fprintf(stderr, "usage: peer listen ACTION... | connect PORT ACTION... |\n"
                        "       peer full FILE | hold COMMAND... | terminal COMMAND... | socket FILE | sizes BYTES\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    alarm(LIMIT);
    if (strcmp(role, "full") == 0) { /* whoever comes gets no answer (listen(2), backlog) */
        int place = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
        name.sin_port = htons((in_port_t)take_port(fd));
        must(listen(fd, 0), "listen");
        must(connect(place, (struct sockaddr *)&name, sizeof name), "connect");
        tell(ntohs(name.sin_port));
        wait_for(words);
        return 0;
    }
    if (!listens) /* connect */
        name.sin_port = htons((in_port_t)atoi(*words++));
    if (words[0] != NULL && strcmp(words[0], "buffers") == 0 && words[1] != NULL) {
        set_sizes(fd, words[1]); /* before there is a connection: see tcp(7) */
        words += 2;
    }
    if (listens) {
        int port = take_port(fd);
        must(listen(fd, 1), "listen");
        tell(port);
        connection = must(accept(fd, NULL, NULL), "accept");
        close(fd);
    } else {
        if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0)
            fail("connect");
        connection = fd;
    }
    while (*words != NULL)
        words = act(words);
    return 0;
}
