/*
 * peer.c - the other end of a connection, made to order: it does what its arguments say, one after the other.
 *
 *     peer listen ACTION...           waits for one connection on a port of 127.0.0.1 that it tells on standard error
 *     peer connect PORT ACTION...     connects to that port
 *
 *     get N        reads N bytes, or to the end-of-file          send FILE     sends it in pieces of 1025 bytes
 *     into FILE    reads to the end-of-file, into FILE           put TEXT      sends TEXT; \xNN is the byte NN
 *     eof          reads to the end-of-file and drops it         pieces TEXT   the same, a byte at a time
 *     quiet MS     fails if anything comes within MS             flood N       sends N bytes; it may fail
 *     fin          shutdown(SHUT_WR)                             pad N         sends N NUL bytes
 *     reset        closes with a reset                           close         closes
 *     sh COMMAND   runs COMMAND                                  stay          waits until the other side has closed both
 *     buffers N    sizes of the socket buffers; first only                     directions or reset the connection
 *     say TEXT     prints TEXT on standard error, as a line of a trace (-v)
 *
 *     peer hold COMMAND...            runs COMMAND while a port is taken on which nobody listens; it is what PORT stands for
 *     peer terminal COMMAND...        runs COMMAND with a terminal as its standard error, and copies what it writes there to ours
 *     peer sizes BYTES                prints what SO_SNDBUF and SO_RCVBUF are after both were set to BYTES
 *
 * So "listen send F fin get 1025" is the plainest file server there is, and "connect P into F put '...' pad 995" the client
 * that sends the acknowledgement in a buffer of 1025 bytes. Exits with 0 if all of it worked; a reset while it reads fails.
 */
#define _XOPEN_SOURCE 700 /* posix_openpt, besides POSIX.1-2008 */
#define _FILE_OFFSET_BITS 64

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1025, LIMIT = 100 };

static const char *side; /* server or client */
static int connection;
static bool ended; /* the other side's end-of-file was read */

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void send_all(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t count = write(connection, data, length);
        if (count < 0)
            die("write");
        data += count;
        length -= (size_t)count;
    }
}

/* Reads at most LIMIT_BYTES, or to the end-of-file if that is negative, and writes them to FD unless it is -1. */
static void receive(long limit_bytes, int fd)
{
    char block[PIECE];
    ssize_t count = 1;

    while (limit_bytes != 0 && count > 0) {
        size_t most = limit_bytes < 0 || limit_bytes > PIECE ? PIECE : (size_t)limit_bytes;
        count = read(connection, block, most);
        if (count < 0)
            die("read");
        ended = count == 0;
        if (fd >= 0 && write(fd, block, (size_t)count) != count)
            die("write to file");
        if (limit_bytes > 0)
            limit_bytes -= count;
    }
}

static void send_file(const char *name)
{
    char block[PIECE];
    ssize_t count;
    int fd = open(name, O_RDONLY);

    if (fd < 0)
        die(name);
    while ((count = read(fd, block, sizeof block)) > 0)
        send_all(block, (size_t)count);
    if (count < 0)
        die(name);
    close(fd);
}

/* Sends TEXT with \xNN decoded, in pieces of STEP bytes. */
static void put(const char *text, size_t step)
{
    char bytes[4096];
    size_t length = 0;
    unsigned byte;

    for (; *text != '\0' && length < sizeof bytes; length++)
        if (sscanf(text, "\\x%2x", &byte) == 1) {
            bytes[length] = (char)byte;
            text += 4;
        } else
            bytes[length] = *text++;
    for (size_t done = 0; done < length; done += step)
        send_all(bytes + done, step < length - done ? step : length - done);
}

/* Sends COUNT bytes BYTE for as long as the other side takes them. */
static void flood(long count, int byte)
{
    char block[PIECE];

    memset(block, byte, sizeof block);
    while (count > 0) {
        ssize_t sent = write(connection, block, count < PIECE ? (size_t)count : PIECE);
        if (sent < 0)
            return;
        count -= sent;
    }
}

/* Waits until there is nothing more to expect from the other side: it has closed both directions or reset them. Does
 * not read, so that a full window stays full. */
static void stay(const char *none)
{
    struct pollfd wanted = { .fd = connection };

    (void)none;
    while (poll(&wanted, 1, -1) < 0 || (wanted.revents & (POLLERR | POLLHUP)) == 0)
        ;
}

/* Fails if anything comes within so many MILLISECONDS: data or an end-of-file, or after the end-of-file a reset. */
static void quiet(const char *milliseconds)
{
    struct pollfd wanted = { .fd = connection, .events = ended ? 0 : POLLIN };

    if (poll(&wanted, 1, atoi(milliseconds)) != 0) {
        fprintf(stderr, "peer: the other side spoke before its time\n");
        exit(1);
    }
}

/* Sets SO_LINGER, as common.h of the programs explains: the next close sends a reset. */
static void reset(const char *none)
{
    const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

    (void)none;
    if (setsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) != 0)
        die("SO_LINGER");
    close(connection);
}

static void into(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    if (fd < 0)
        die(name);
    receive(-1, fd);
    if (close(fd) != 0)
        die(name);
}

static void get(const char *count) { receive(atol(count), -1); }
static void eof(const char *none) { (void)none; receive(-1, -1); }
static void put_whole(const char *text) { put(text, 4096); }
static void put_pieces(const char *text) { put(text, 1); }
static void flood_x(const char *count) { flood(atol(count), 'x'); }
static void pad(const char *count) { flood(atol(count), '\0'); }

static void fin(const char *none)
{
    (void)none;
    if (shutdown(connection, SHUT_WR) != 0)
        die("shutdown");
}

static void close_it(const char *none)
{
    (void)none;
    if (close(connection) != 0 && errno != ECONNRESET) /* which FreeBSD says of one that was reset */
        die("close");
}

static void shell(const char *command)
{
    if (system(command) != 0) {
        fprintf(stderr, "peer: '%s' failed\n", command);
        exit(1);
    }
}

/* The form is that of trace in common.h, but for the state, which nobody has looked up. */
static void say(const char *text)
{
    struct timespec now;
    struct tm parts;
    char clock[16];

    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || localtime_r(&now.tv_sec, &parts) == NULL ||
        strftime(clock, sizeof clock, "%H:%M:%S", &parts) == 0)
        die("the time");
    fprintf(stderr, "%s.%06ld %s %-11s %s\n", clock, now.tv_nsec / 1000, side, "-", text);
}

static const struct action {
    const char *name;
    bool argument;
    void (*function)(const char *argument);
} actions[] = {
    { "get", true, get },      { "into", true, into },         { "eof", false, eof },       { "quiet", true, quiet },
    { "send", true, send_file }, { "put", true, put_whole },   { "pieces", true, put_pieces }, { "flood", true, flood_x },
    { "pad", true, pad },      { "fin", false, fin },          { "reset", false, reset },   { "close", false, close_it },
    { "stay", false, stay },   { "sh", true, shell },       { "say", true, say },
};

/* Does the first of WORDS, which ends with a NULL. Returns the words that follow. */
static char **act(char **words)
{
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
        if (strcmp(words[0], actions[i].name) == 0 && (!actions[i].argument || words[1] != NULL)) {
            actions[i].function(words[1]);
            return words + (actions[i].argument ? 2 : 1);
        }
    fprintf(stderr, "peer: '%s': no such action, or its argument is missing\n", words[0]);
    exit(2);
}

/* Binds FD to a port that the kernel chooses. Returns its number. */
static int take_port(int fd)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof name;

    if (bind(fd, (struct sockaddr *)&name, length) != 0 || getsockname(fd, (struct sockaddr *)&name, &length) != 0)
        die("bind");
    return ntohs(name.sin_port);
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

/* Runs COMMAND with a terminal as its standard error, copies what comes out of that, and returns COMMAND's exit
 * status. */
static int on_terminal(char *command[])
{
    int master = posix_openpt(O_RDWR | O_NOCTTY), status;
    char text[1024];
    ssize_t count;
    pid_t pid;

    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0)
        die("terminal");
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0 || (pid = fork()) < 0)
        die("terminal");
    if (pid == 0) {
        dup2(slave, STDERR_FILENO);
        close(slave);
        close(master);
        execvp(command[0], command);
        _exit(127);
    }
    close(slave);
    while ((count = read(master, text, sizeof text)) > 0) /* -1 with EIO when nobody has the terminal open any more */
        if (write(STDERR_FILENO, text, (size_t)count) != count)
            die("copy");
    if (waitpid(pid, &status, 0) < 0)
        die("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void print_sizes(int fd, const char *bytes)
{
    int value = atoi(bytes), sizes[2];
    socklen_t length = sizeof value;

    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, length) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &value, length) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sizes[0], &length) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &sizes[1], &length) != 0)
        die("socket buffers");
    printf("%d %d\n", sizes[0], sizes[1]);
}

/* Does the action "buffers" if it is the first of WORDS: it has to be done before there is a connection. Returns the
 * others. */
static char **set_buffers(int fd, char **words)
{
    int bytes;

    if (words[0] == NULL || strcmp(words[0], "buffers") != 0 || words[1] == NULL)
        return words;
    bytes = atoi(words[1]);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) != 0)
        die("socket buffers");
    return words + 2;
}

int main(int argc, char *argv[])
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const char *role = argc > 2 ? argv[1] : "";
    char **words = argv + 2;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0)
        die("socket");
    if (strcmp(role, "hold") == 0)
        hold(fd, words);
    if (strcmp(role, "terminal") == 0)
        return on_terminal(words);
    signal(SIGPIPE, SIG_IGN);
    alarm(LIMIT);
    if (strcmp(role, "sizes") == 0) {
        print_sizes(fd, words[0]);
        return 0;
    }
    side = strcmp(role, "listen") == 0 ? "server" : "client";
    if (strcmp(role, "listen") == 0) {
        int port = take_port(fd);
        words = set_buffers(fd, words);
        if (listen(fd, 1) != 0)
            die("listen");
        fprintf(stderr, "peer: listening on 127.0.0.1 port %d\n", port);
        connection = accept(fd, NULL, NULL);
        if (connection < 0)
            die("accept");
        close(fd);
    } else if (strcmp(role, "connect") == 0) {
        name.sin_port = htons((in_port_t)atoi(*words++));
        words = set_buffers(fd, words);
        if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0)
            die("connect");
        connection = fd;
    } else {
        fprintf(stderr, "usage: peer listen ACTION... | connect PORT ACTION... |\n"
                        "       peer hold COMMAND... | terminal COMMAND... | sizes BYTES\n");
        return 2;
    }
    while (*words != NULL)
        words = act(words);
    return 0;
}
