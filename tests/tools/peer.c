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
 *     wait FILE        waits until there is such a file, for some minutes at most
 *     says FILE TEXT   the same, until it holds TEXT              sh COMMAND     runs COMMAND
 *     stay             waits until the other side has closed both directions or reset them
 *     gently N RATE    reads N bytes, RATE of them a second
 *     buffers N        sizes of the socket buffers; first only
 *     say TEXT         prints TEXT on standard error, in the form of a line of the trace (-v)
 *
 *     peer full FILE ACTION...        listens until there is FILE, but has no room for one more connection; then does
 *                                     the actions, if there are any, with who comes next
 *     peer input ACTION...            reads from standard input instead of a connection
 *     peer terminal COMMAND...        runs COMMAND with a terminal as its standard error, and copies that to ours; the
 *                                     terminal has as many columns as TERMINAL_COLUMNS says
 *                                     With TERMINAL_STOPS=NAME it takes nothing, as after Ctrl-S, from when there is
 *                                     NAME.stop until there is NAME.go; NAME.stopped says that it does
 *     peer storm SIGNALS COMMAND...   runs COMMAND, and sends it these signals, as STOP,CONT, a thousand times a second
 *                                     until it ends
 *     peer childless COMMAND...       runs COMMAND with SIGCHLD ignored, as not every shell can
 *     peer strerror NAME...           prints the text of each error, as EIO or EAI_NONAME: C libraries have their own
 *     peer sizes BYTES                prints what SO_SNDBUF and SO_RCVBUF are after both were set to BYTES
 *
 * So "listen send F fin get 1025" is the plainest file server there is, and "connect P into F put '...' pad 995" the
 * client that sends the acknowledgement in a buffer of 1025 bytes. With wait and says, scripts and peers take turns.
 * Exits with 0 if all of it worked, 1 if the other side did not do its part (it reset while we read, say), 2 otherwise.
 */
#include "tools.h"

#include "../faults/errors.h"

#include <sys/ioctl.h>
#include <termios.h>

enum { PIECE = 1025, TEXT_ROOM = 4096, LIMIT = 180, READS_A_SECOND = 100 };

static const char *side; /* server or client */
static int connection;
static bool ended; /* the other side's end-of-file was read */

/* Ends the program with status 1: the other side did not do its part. */
static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "peer: %s: %s\n", what, errno != 0 ? strerror(errno) : "the other side spoke before its time");
    exit(1);
}

/* ---- What it can do -------------------------------------------------------------------------------------------- */

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

static void send_file(const char *name)
{
    char block[PIECE];
    ssize_t count;
    int fd = must(open(name, O_RDONLY), name);

    while ((count = read(fd, block, sizeof block)) > 0)
        send_all(block, (size_t)count, 0);
    must((int)count, name);
    close(fd);
}

/* Sends TEXT with \xNN decoded: a byte every so many MILLISECONDS, or, if that is negative, all at once. */
static void send_text(const char *text, int flags, long milliseconds)
{
    char bytes[TEXT_ROOM];
    size_t length = 0, step;
    unsigned byte;

    while (*text != '\0' && length < TEXT_ROOM)
        if (sscanf(text, "\\x%2x", &byte) == 1) {
            bytes[length++] = (char)byte;
            text += 4;
        } else
            bytes[length++] = *text++;
    for (size_t sent = 0; sent < length; sent += step) {
        step = milliseconds < 0 ? length : 1;
        send_all(bytes + sent, step, flags);
        pause_for(milliseconds * 1000);
    }
}

/* Sends so many bytes BYTE for as long as the other side takes them. */
static void repeat(long count, int byte)
{
    char block[PIECE];
    ssize_t sent;

    memset(block, byte, sizeof block);
    for (; count > 0; count -= sent)
        if ((sent = send(connection, block, count < PIECE ? (size_t)count : PIECE, 0)) < 0)
            return;
}

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

/* The form is that of trace in common.h, but for the state, which nobody has looked up. */
static void say(const char *what)
{
    struct timespec now;
    char clock[32];

    must(clock_gettime(CLOCK_REALTIME, &now), "clock_gettime");
    write_clock(clock, &now);
    fprintf(stderr, "%s %s %-11s %s\n", clock, side, "-", what);
}

/* Waits until there is the file NAME and TEXT stands in it. Fails if it does not within 150 s: only what is broken
 * takes so long. Looks often at first and then less often: hundreds of peers may wait at the same time. */
static void wait_for_text(const char *name, const char *text)
{
    static char there[1 << 22];
    const int64_t until = microseconds() + 150 * INT64_C(1000000);
    int64_t nap = 2000;

    while (get_file(name, there, sizeof there) < 0 || strstr(there, text) == NULL) {
        errno = ETIMEDOUT;
        if (microseconds() > until)
            fail(text);
        pause_for(nap);
        nap = nap < 100000 ? nap * 2 : nap;
    }
}

enum {
    GET, INTO, SLOW, GENTLY, TO_EOF, SEND, PUT, DRIP, URGENT, FLOOD, PAD, QUIET, FIN, RESET, CLOSE, STAY, SH, WAIT,
    SAYS, SAY
};
static const struct { const char *name; int words; } actions[] = {
    [GET] = { "get", 1 },     [INTO] = { "into", 1 },     [SLOW] = { "slow", 2 },     [TO_EOF] = { "eof", 0 },
    [SEND] = { "send", 1 },   [PUT] = { "put", 1 },       [DRIP] = { "drip", 2 },     [URGENT] = { "urgent", 1 },
    [FLOOD] = { "flood", 1 }, [PAD] = { "pad", 1 },       [QUIET] = { "quiet", 1 },   [FIN] = { "fin", 0 },
    [RESET] = { "reset", 0 }, [CLOSE] = { "close", 0 },   [STAY] = { "stay", 0 },     [SH] = { "sh", 1 },
    [WAIT] = { "wait", 1 },   [SAYS] = { "says", 2 },     [SAY] = { "say", 1 },       [GENTLY] = { "gently", 2 },
};

/* Does the ACTION with its arguments ONE and TWO, as far as it has them. */
static void act(size_t action, const char *one, const char *two)
{
    struct pollfd wanted = { .fd = connection };

    switch (action) {
    case GET: receive(atol(one), 0, NULL); break;
    case INTO: receive(LONG_MAX, 0, one); break;
    case SLOW: receive(LONG_MAX, atol(one), two); break;
    case GENTLY: receive(atol(one), atol(two), NULL); break;
    case TO_EOF: receive(LONG_MAX, 0, NULL); break;
    case SEND: send_file(one); break;
    case PUT: send_text(one, 0, -1); break;
    case DRIP: send_text(two, 0, atol(one)); break;
    case URGENT: send_text(one, MSG_OOB, -1); break;
    case FLOOD: repeat(atol(one), 'x'); break;
    case PAD: repeat(atol(one), '\0'); break;
    case QUIET: /* what must not come: data or an end-of-file, or after the end-of-file a reset */
        wanted.events = ended ? 0 : POLLIN;
        errno = 0;
        if (poll(&wanted, 1, atoi(one)) != 0)
            fail("quiet");
        break;
    case FIN:
        if (shutdown(connection, SHUT_WR) != 0)
            fail("shutdown");
        break;
    case RESET: /* as the programs do it */
        reset_on_close(connection);
        /* fall through */
    case CLOSE:
        if (close(connection) != 0 && errno != ECONNRESET) /* which FreeBSD says of one that was reset */
            die("close");
        break;
    case STAY: /* does not read, so that a full window stays full */
        while (poll(&wanted, 1, -1) < 0 || (wanted.revents & (POLLERR | POLLHUP)) == 0)
            ;
        break;
    case SH:
        errno = ECANCELED;
        must(system(one) == 0 ? 0 : -1, one);
        break;
    case WAIT: wait_for_text(one, ""); break;
    case SAYS: wait_for_text(one, two); break;
    default: say(one);
    }
}

/* Does the actions in WORDS, which end with a NULL. */
static void act_all(char **words)
{
    while (*words != NULL) {
        size_t i = 0;
        int given = 0;
        while (i < ELEMENTS(actions) && strcmp(words[0], actions[i].name) != 0)
            i++;
        while (given < 3 && words[given] != NULL)
            given++;
        if (i == ELEMENTS(actions) || given <= actions[i].words) {
            fprintf(stderr, "peer: '%s': no such action, or its arguments are missing\n", words[0]);
            exit(2);
        }
        act(i, given > 1 ? words[1] : "", given > 2 ? words[2] : "");
        words += 1 + actions[i].words;
    }
}

/* ---- The connection, and other things to be had for a test ----------------------------------------------------- */

static void set_sizes(int fd, const char *bytes)
{
    set_option(fd, SO_SNDBUF, atoi(bytes));
    set_option(fd, SO_RCVBUF, atoi(bytes));
}

static void tell_port(int port) { fprintf(stderr, "peer: listening on 127.0.0.1 port %d\n", port); }

/* Makes the connection, as a server if LISTENS is true, and does what WORDS say. */
static int converse(bool listens, char **words)
{
    struct sockaddr_in name = local_address(listens ? 0 : atoi(*words++));
    int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");

    side = listens ? "server" : "client";
    if (words[0] != NULL && strcmp(words[0], "buffers") == 0 && words[1] != NULL) {
        set_sizes(fd, words[1]); /* before there is a connection: see tcp(7) */
        words += 2;
    }
    if (listens) {
        const int port = take_port(fd);
        must(listen(fd, 1), "listen");
        tell_port(port);
        connection = must(accept(fd, NULL, NULL), "accept");
        close(fd);
    } else {
        if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0)
            fail("connect");
        connection = fd;
    }
    act_all(words);
    return 0;
}

static int be_server(char **words) { return converse(true, words); }
static int be_client(char **words) { return converse(false, words); }

/* Whoever comes gets no answer: the only place is taken (listen(2), backlog). */
static int be_full(char **words)
{
    int fd = make_socket(), place = make_socket(), port = take_port(fd);
    struct sockaddr_in name = local_address(port);

    must(listen(fd, 0), "listen");
    must(connect(place, (struct sockaddr *)&name, sizeof name), "connect");
    tell_port(port); /* not earlier: whoever reads it comes at once */
    wait_for_text(words[0], "");
    if (words[1] != NULL) {
        must(close(must(accept(fd, NULL, NULL), "accept")), "close"); /* that was the one place */
        connection = must(accept(fd, NULL, NULL), "accept");
        side = "server";
        act_all(words + 1);
    }
    return 0;
}

static int be_reader(char **words)
{
    connection = STDIN_FILENO;
    act_all(words);
    return 0;
}

static int childless(char **words)
{
    signal(SIGCHLD, SIG_IGN);
    alarm(0);
    become(words, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
}

static int storm(char **words)
{
    static const struct { const char *name; int number; } known[] = {
        { "STOP", SIGSTOP }, { "CONT", SIGCONT }, { "WINCH", SIGWINCH },
    };
    pid_t pid = start_program(words + 1, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        for (size_t i = 0; i < ELEMENTS(known); i++) /* STOP comes before CONT */
            if (strstr(words[0], known[i].name) != NULL)
                must(kill(pid, known[i].number), "kill"); /* at least its zombie is there */
        pause_for(1000);
    }
    return shell_status(status);
}

/* Stops the output on the terminal when there is the file NAME.stop, and lets it go on when there is NAME.go. */
static void press_keys(int terminal, const char *name)
{
    char file[PATH_MAX];

    snprintf(file, sizeof file, "%s.stop", name);
    wait_for_text(file, "");
    must(tcflow(terminal, TCOOFF), "terminal");
    snprintf(file, sizeof file, "%s.stopped", name);
    must(close(open_output(file)), file);
    snprintf(file, sizeof file, "%s.go", name);
    wait_for_text(file, "");
    must(tcflow(terminal, TCOON), "terminal");
}

static int on_terminal(char **words)
{
    struct winsize size = { .ws_row = 24 };
    const char *columns = getenv("TERMINAL_COLUMNS"), *stops = getenv("TERMINAL_STOPS");
    int master = must(posix_openpt(O_RDWR | O_NOCTTY), "terminal"), slave;
    struct pollfd wanted = { .fd = master, .events = POLLIN };
    siginfo_t info = { .si_pid = 0 };
    char text[1024];
    bool over, silent = false;
    ssize_t count;
    pid_t pid, keys = 0;

    must(fcntl(master, F_SETFD, FD_CLOEXEC), "fcntl");
    must(grantpt(master), "grantpt");
    must(unlockpt(master), "unlockpt");
    slave = must(open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC), "terminal");
    if (columns != NULL) {
        size.ws_col = (unsigned short)atoi(columns);
        must(ioctl(slave, TIOCSWINSZ, &size), "terminal");
    }
    pid = start_program(words, STDIN_FILENO, STDOUT_FILENO, slave);
    if (stops != NULL && (keys = split()) == 0) {
        press_keys(slave, stops);
        exit(0);
    }
    close(slave);
    /* When nobody has the terminal open any more, read fails with EIO. Not on gVisor, nor while keys are still to be
     * pressed: there the end of COMMAND and then some silence are the end. */
    while (!silent) {
        over = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0;
        silent = poll(&wanted, 1, 200) == 0 && over;
        if (wanted.revents == 0)
            continue;
        count = read(master, text, sizeof text);
        if (count <= 0)
            break;
        if (write(STDERR_FILENO, text, (size_t)count) != count)
            die("copy");
    }
    if (keys != 0)
        kill(keys, SIGKILL);
    return status_of(pid);
}

static int print_sizes(char **words)
{
    int fd = make_socket();

    set_sizes(fd, words[0]);
    printf("%d %d\n", get_option(fd, SO_SNDBUF), get_option(fd, SO_RCVBUF));
    return 0;
}

static int print_errors(char **words)
{
    for (; *words != NULL; words++) {
        errno = EINVAL;
        must(error_number(*words) != 0 ? 0 : -1, *words);
        puts(error_text(*words));
    }
    return 0;
}

int main(int argc, char *argv[])
{
    static const struct { const char *name; int (*function)(char **words); } roles[] = {
        { "listen", be_server }, { "connect", be_client }, { "full", be_full }, { "input", be_reader },
        { "storm", storm }, { "childless", childless }, { "terminal", on_terminal }, { "sizes", print_sizes },
        { "strerror", print_errors },
    };

    begin("peer");
    signal(SIGPIPE, SIG_IGN);
    alarm(LIMIT);
    for (size_t i = 0; argc > 2 && i < ELEMENTS(roles); i++)
        if (strcmp(argv[1], roles[i].name) == 0)
            return roles[i].function(argv + 2);
    fputs("peer: what may be asked for stands at the beginning of tests/tools/peer.c\n", stderr);
    return 2;
}
