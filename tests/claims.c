/*
 * claims.c - every statement this project makes about TCP and sockets, as an experiment you can run.
 *
 *     ./claims                     run them all; exit status 1 if a statement fails on this system
 *     ./claims SLUG...             run only these
 *     ./claims -l                  list them
 *
 * Each prints its claim, what was observed, and whether the claim holds: the verdict is computed from the observations and
 * from nothing else. All traffic stays on 127.0.0.1, on ports the kernel chooses. Each experiment has a process of its own
 * and a watchdog, so one that dies or hangs fails alone.
 *
 * First come the tools, then one function for each claim, then the table of claims and main. "A common explanation" is
 * one that many tutorials on socket buffers repeat, rightly or wrongly. With -DPORTABLE, or on another system, what only
 * Linux shows (TCP_INFO, the length of the send buffer's queue, /proc, splice, packets) is left out and said to be not seen.
 */
#include "tools.h"
#include <sys/ioctl.h>
#if defined __linux__ && !defined PORTABLE
#include "wire.h"
#include <netinet/tcp.h>
#include <sys/syscall.h>
enum { LINUX = 1 };
#else
enum { LINUX = 0 };
#endif
#ifndef SO_REUSEPORT
#define SO_REUSEPORT 0x200  /* of the BSDs and macOS, whose headers hide it from a program that asks for POSIX */
#endif

#ifdef __GNUC__         /* then the compiler checks the arguments of expect, as it does those of printf */
__attribute__((format(printf, 2, 3)))
#endif
static void expect(bool as_claimed, const char *format, ...);

enum { HOLDS, FAILS, SKIPPED = 77 };    /* the verdict on a claim, and the exit status of the experiment's process */

enum {
    WATCHDOG_SECONDS = 10,      /* the longest an experiment may take */
    PATIENCE_MILLISECONDS = 5000,   /* how long to wait for what must happen */
    QUIET_MILLISECONDS = 50,    /* a full buffer in which no space appears for this long is at rest */
    SMALL = 8192,               /* sizes of buffers to ask for: much data does not fit in the small, */
    LARGE = 128 * 1024,         /* DATA bytes do in the large */
    DATA = 64 * 1024,
    UNSEEN = -1                 /* what this system does not show */
};

static char bytes[1024 * 1024]; /* what is sent, and where it is read to; the values do not matter */
static bool all_as_claimed = true;  /* in an experiment's process: no observation contradicts the claim */

/* ---- Tools: saying what was observed ---- */

/* Reports an observation, on which the verdict depends. */
static void expect(bool as_claimed, const char *format, ...)
{
    va_list values;

    printf("    %s ", as_claimed ? "observed:" : "observed AGAINST the claim:");
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    putchar('\n');
    all_as_claimed = all_as_claimed && as_claimed;
}

static void not_seen(const char *what)
{
    printf("    not seen on this system: %s\n", what);
}

/* Ends the experiment without a verdict. */
static _Noreturn void skip(const char *what)
{
    not_seen(what);
    exit(SKIPPED);
}

/* Ends the experiment, which could not even be made. */
static _Noreturn void give_up(const char *why)
{
    printf("    died: %s\n", why);
    exit(FAILS);
}

/* must for calls that count bytes: never more than there are in bytes. */
static size_t must_count(ssize_t result, const char *what)
{
    return (size_t)must((int)result, what);
}

/* ---- Tools: sockets and connections ---- */

static int tcp_socket(void)
{
    return must(socket(AF_INET, SOCK_STREAM, 0), "socket");
}

static void xclose(int fd)
{
    must(close(fd), "close");
}

static void end_output(int fd)
{
    must(shutdown(fd, SHUT_WR), "shutdown");
}

static void set(int fd, int option, int value)
{
    must(setsockopt(fd, SOL_SOCKET, option, &value, sizeof value), "setsockopt");
}

static int get(int fd, int option)
{
    int value = 0;
    socklen_t length = sizeof value;

    must(getsockopt(fd, SOL_SOCKET, option, &value, &length), "getsockopt");
    return value;
}

/* Makes whatever closes `fd`, or a socket that inherits this from it, send a reset instead of an end-of-file. */
static void reset_on_close(int fd)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), "setsockopt SO_LINGER");
}

/* Ports stay in network byte order, as the calls want them; 0 asks the kernel to choose. */
static struct sockaddr_in loopback(in_port_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static in_port_t port_of(int fd)
{
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;

    must(getsockname(fd, (struct sockaddr *)&address, &length), "getsockname");
    return address.sin_port;
}

/* Returns a socket that listens on `port`, with `option` switched on unless it is 0; -1 with errno if it may not. */
static int try_listen(in_port_t port, int option)
{
    struct sockaddr_in address = loopback(port);
    int fd = tcp_socket(), why;

    if (option != 0)
        set(fd, option, 1);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    why = errno;
    xclose(fd);
    errno = why;
    return -1;
}

static int xlisten(int option)
{
    return must(try_listen(0, option), "listen");
}

static void xconnect(int fd, in_port_t port)
{
    struct sockaddr_in address = loopback(port);

    must(connect(fd, (struct sockaddr *)&address, sizeof address), "connect");
}

static int xaccept(int listener)
{
    return must(accept(listener, NULL, NULL), "accept");
}

struct pair {           /* a connection: */
    int near;           /* the end that connected, "this side" in what is printed, */
    int far;            /* and the end that was accepted, "the peer" */
    in_port_t port;     /* of the near end, in host byte order */
};

/* Connects a pair with these sizes asked for the near send buffer and the far receive buffer; 0 leaves it to the
 * kernel. */
static struct pair connected(int send_size, int receive_size)
{
    int listener = xlisten(0);
    struct pair pair = {.near = tcp_socket()};

    if (send_size != 0)
        set(pair.near, SO_SNDBUF, send_size);
    if (receive_size != 0)
        set(listener, SO_RCVBUF, receive_size);
    xconnect(pair.near, port_of(listener));
    pair.far = xaccept(listener);
    pair.port = ntohs(port_of(pair.near));
    xclose(listener);
    return pair;
}

/* ---- Tools: sending, receiving, waiting ---- */

/* Says whether poll reports one of `events` in time; errors and hang-ups it always reports. */
static bool ready(int fd, short events, int milliseconds)
{
    struct pollfd waiting = {.fd = fd, .events = events};

    return must(poll(&waiting, 1, milliseconds), "poll") == 1;
}

static void await(int fd, short events)
{
    if (!ready(fd, events, PATIENCE_MILLISECONDS))
        give_up("what poll waited for did not happen");
}

/* A reset: an error is reported unasked. */
static void await_reset(int fd)
{
    await(fd, 0);
}

/* For what cannot be polled: waits a millisecond and says whether to look again. */
static bool look_again(int *looks)
{
    must(poll(NULL, 0, 1), "poll");
    return ++*looks < PATIENCE_MILLISECONDS;
}

/* Bytes that have arrived and wait in the receive buffer. */
static size_t unread(int fd)
{
    int count = 0;

    must(ioctl(fd, FIONREAD, &count), "FIONREAD");
    return (size_t)count;
}

static void await_unread(int fd, size_t count)
{
    for (int looks = 0; unread(fd) < count;)
        if (!look_again(&looks))
            give_up("what was sent did not arrive");
}

/* Sends `count` bytes, which the call must take as a whole. */
static void put(int fd, size_t count)
{
    if (must_count(send(fd, bytes, count, MSG_NOSIGNAL), "send") != count)
        give_up("send took only a part");
}

/* Sends what there is space for now, without waiting, and returns how much that was. */
static size_t put_now(int fd, size_t count)
{
    ssize_t taken = send(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (taken == -1 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    return must_count(taken, "send");
}

/* Sends until nothing more fits and no more space appears, and returns how much that was. */
static size_t fill(int fd)
{
    size_t total = 0, taken;

    do {
        ready(fd, POLLOUT, QUIET_MILLISECONDS);
        taken = put_now(fd, sizeof bytes);
        total += taken;
    } while (taken > 0);
    return total;
}

static size_t take(int fd, size_t most)
{
    return must_count(read(fd, bytes, most), "read");
}

static void take_all(int fd, size_t count)
{
    for (size_t got = 0; got < count; got += take(fd, count - got))
        await(fd, POLLIN);
}

/* Reads all there is, says how much in *count, and returns what came after it: an errno, or 0 for an end-of-file. */
static int read_to_end(int fd, size_t *count)
{
    ssize_t got;

    for (*count = 0; (got = read(fd, bytes, sizeof bytes)) > 0;)
        *count += (size_t)got;
    return got == 0 ? 0 : errno;
}

static const char *ending(int error)
{
    return error == 0 ? "end-of-file" : strerror(error);
}

/* Expects `who` to read `count` bytes and after them `error`, which is 0 for an end-of-file. */
static void expect_to_read(const char *who, int fd, size_t count, int error)
{
    size_t got;
    int end = read_to_end(fd, &got);

    expect(got == count && end == error, "%s read %zu bytes, then: %s", who, got, ending(end));
}

/* Expects sending to fail in this way, or to succeed if that is 0. */
static void expect_to_send(const char *who, int fd, int error)
{
    int result = send(fd, bytes, 1, MSG_NOSIGNAL) == 1 ? 0 : errno;

    expect(result == error, "%s wrote: %s", who, result == 0 ? "taken" : strerror(result));
}

/* Connects a pair of which the far end has 1000 bytes to read and then a reset. */
static struct pair reset_after_1000(void)
{
    struct pair pair = connected(0, 0);

    put(pair.near, 1000);
    await_unread(pair.far, 1000);
    reset_on_close(pair.near);
    xclose(pair.near);
    await_reset(pair.far);
    return pair;
}

/* fork, with a watchdog for the child, which inherits none. */
static pid_t start_child(void)
{
    pid_t child = split();

    if (child == 0)
        alarm(WATCHDOG_SECONDS);
    return child;
}

static void kill_child(pid_t child)
{
    must(kill(child, SIGKILL), "kill");
    status_of(child);
}

/* ---- Tools: what only Linux shows ---- */

/* Returns number `column`, from 0, in a file below /proc/sys/net; UNSEEN where there is no such file. */
static long setting(const char *name, int column)
{
    char path[128], line[128], *at = line;
    long value = UNSEEN;

    snprintf(path, sizeof path, "/proc/sys/net/%s", name);
    if (!LINUX || get_file(path, line, sizeof line) <= 0)
        return UNSEEN;
    for (int i = 0; i <= column; i++)
        value = strtol(at, &at, 10);
    return value;
}

/* Returns how many bytes in the send buffer are not acknowledged yet: tcp(7), SIOCOUTQ, of which TIOCOUTQ is a synonym.
 * That page says "unsent", but the kernel counts those under way as well. */
static long unacknowledged(int fd)
{
    int count = UNSEEN;

    if (LINUX)
        must(ioctl(fd, TIOCOUTQ, &count), "TIOCOUTQ");
    return count;
}

/* Expects a child to fall asleep in the call it makes. */
static void expect_asleep(pid_t child)
{
    char path[64], line[512], state = '?';

    if (!LINUX) {
        not_seen("whether the process that writes is sleeping");
        return;
    }
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)child);
    for (int looks = 0; state != 'S' && look_again(&looks);)
        if (get_file(path, line, sizeof line) <= 0 || sscanf(line, "%*d (%*[^)]) %c", &state) != 1)
            give_up("/proc/PID/stat cannot be read");
    expect(state == 'S', "the process that writes is in state %c (S is sleeping)", state);
}

#if defined __linux__ && !defined PORTABLE

static struct tcp_info info(int fd)
{
    struct tcp_info result = {0};
    socklen_t length = sizeof result;

    must(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &result, &length), "getsockopt TCP_INFO");
    return result;
}

static const char *state_name(unsigned state)
{
    static const char *const names[] = {"none", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
                                        "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING"};

    return state < sizeof names / sizeof *names ? names[state] : "unknown";
}

/* Returns the state of a connection by the kernel's table, which also has those that no process holds any more. */
static const char *state_in_table(in_port_t from, in_port_t to)
{
    char line[256];
    unsigned local, remote, state, found = 0;
    FILE *table = fopen("/proc/net/tcp", "r");

    if (table == NULL)
        skip("/proc/net/tcp");
    while (fgets(line, sizeof line, table) != NULL)
        if (sscanf(line, " %*d: %*x:%x %*x:%x %x", &local, &remote, &state) == 3 && local == ntohs(from) &&
            remote == ntohs(to))
            found = state;
    fclose(table);
    return state_name(found);
}

/* Like connected, and from then on seen gives out the pair's packets. Where they cannot be seen, the experiment is
 * skipped. */
static struct pair watched_pair(int send_size, int receive_size)
{
    const char *refused = wire.fd < 0 ? open_wire() : NULL;
    char why[128];

    if (refused != NULL) {
        snprintf(why, sizeof why, "packets (no %s: %s)", refused, strerror(errno));
        skip(why);
    }
    return connected(send_size, receive_size);
}

/* Returns the next segment that `side` of the pair sends, CLIENT for the near one, with one of `flags`. */
static struct segment seen(struct pair pair, int side, unsigned flags)
{
    struct segment segment;

    do
        if (!next_segment(&segment, PATIENCE_MILLISECONDS))
            give_up("a segment did not come");
    while (segment.of->port[CLIENT] != pair.port || segment.side != side || (segment.flags & flags) == 0);
    return segment;
}

#endif

/* Expects `fd` to come to a state of RFC 9293, section 3.3.2. */
static void expect_state(const char *who, int fd, const char *wanted)
{
#if defined __linux__ && !defined PORTABLE
    const char *found;
    int looks = 0;

    do
        found = state_name(info(fd).tcpi_state);
    while (strcmp(found, wanted) != 0 && look_again(&looks));
    expect(strcmp(found, wanted) == 0, "%s is in state %s", who, found);
#else
    (void)fd;
    printf("    not seen on this system: whether %s is in state %s\n", who, wanted);
#endif
}

/* ---- Claims about buffers and writing ---- */

/* A common explanation: each socket has an input and an output buffer. tcp(7): their sizes are at first the middle
 * values of tcp_wmem and tcp_rmem. Two sockets are asked; then one is changed. */
static void own_buffers(void)
{
    int one = tcp_socket(), other = tcp_socket(), sending = get(one, SO_SNDBUF), receiving = get(one, SO_RCVBUF);
    long wmem = setting("ipv4/tcp_wmem", 1), rmem = setting("ipv4/tcp_rmem", 1);

    if (wmem == UNSEEN || rmem == UNSEEN)
        not_seen("tcp_wmem and tcp_rmem");
    else
        expect(sending == wmem && receiving == rmem, "a new socket has %d to send, tcp_wmem is %ld; %d to receive, tcp_rmem "
               "is %ld", sending, wmem, receiving, rmem);
    set(one, SO_SNDBUF, 2 * sending);
    expect(get(one, SO_SNDBUF) != sending && get(one, SO_RCVBUF) == receiving,
           "its send buffer set: now %d and %d", get(one, SO_SNDBUF), get(one, SO_RCVBUF));
    expect(get(other, SO_SNDBUF) == sending && get(other, SO_RCVBUF) == receiving,
           "another socket: still %d and %d", get(other, SO_SNDBUF), get(other, SO_RCVBUF));
}

/* A common explanation, and send(2): success does not say that anything was delivered. The peer reads nothing, and in
 * the end has no room for what is written either. */
static void write_returns_early(void)
{
    struct pair pair = connected(LARGE, SMALL);
    size_t written;
    long queued;

    put(pair.near, 1000);
    await_unread(pair.far, 1000);
    expect(unread(pair.far) == 1000, "write returned 1000; the peer has %zu bytes unread", unread(pair.far));
    written = 1000 + fill(pair.near);
    queued = unacknowledged(pair.near);
    expect(unread(pair.far) < written, "%zu bytes written; only %zu have arrived", written, unread(pair.far));
    if (queued == UNSEEN)
        not_seen("how many of them are not acknowledged");
    else
        expect(queued > 0, "%ld of them not acknowledged", queued);
}

/* POSIX, 2.10.6 Socket Types: with SOCK_STREAM, record boundaries are not maintained. A common explanation says that
 * several writes may be sent at once; and one may come in several parts, here because the peer's buffer is smaller. */
static void no_boundaries(void)
{
    struct pair pair = connected(LARGE, SMALL);
    size_t together;
    int reads = 0;

    for (int i = 0; i < 3; i++)
        put(pair.near, 10);
    await_unread(pair.far, 30);
    together = take(pair.far, sizeof bytes);
    expect(together == 30, "3 writes of 10 bytes came as one read of %zu", together);
    put(pair.near, DATA);
    for (size_t got = 0; got < DATA; reads++)
        got += take(pair.far, sizeof bytes);
    expect(reads > 1, "1 write of %d bytes came as %d reads, each with room for %zu", DATA, reads, sizeof bytes);
}

/* send(2), EAGAIN: without blocking, what fits is taken, then nothing until the peer reads. */
static void full_buffer(void)
{
    struct pair pair = connected(DATA, SMALL);
    size_t first = put_now(pair.near, sizeof bytes), more = fill(pair.near), got = 0, again;

    expect(first > 0 && first < sizeof bytes, "a write of %zu bytes took %zu", sizeof bytes, first);
    expect(put_now(pair.near, 1) == 0, "after %zu more, not one: %s", more, strerror(EAGAIN));
    while (!ready(pair.near, POLLOUT, 0)) {
        await(pair.far, POLLIN);
        got += take(pair.far, sizeof bytes);
    }
    again = put_now(pair.near, sizeof bytes);
    expect(got > 0 && again > 0, "when the peer had read %zu, a write took %zu", got, again);
}

/* A common explanation: a write "a bit larger" than the free space waits until all of it fits, and only one "much
 * larger" is done by portions. On Linux both put in at once what fits and wait with the rest: the peer has the first
 * bytes of a write that has not returned. The explanation also has writes wait while a buffer is "locked". There is
 * such a lock, but the kernel holds it for moments, never while it sleeps: a second write comes back, though it too
 * must have the lock. */
static void partial_write(void)
{
    size_t room = fill(connected(DATA, SMALL).near), sizes[] = {room + room / 8, 8 * room};

    for (int i = 0; i < 2; i++) {
        struct pair pair = connected(DATA, SMALL);
        pid_t writer = start_child();
        size_t second;

        if (writer == 0)
            _exit(write(pair.near, bytes, sizes[i]) == (ssize_t)sizes[i] ? EXIT_SUCCESS : EXIT_FAILURE);
        await_unread(pair.far, 1);
        expect(unread(pair.far) > 0, "room for %zu, a write of %zu: %zu have arrived", room, sizes[i], unread(pair.far));
        expect_asleep(writer);
        second = put_now(pair.near, 1);
        expect(must(waitpid(writer, NULL, WNOHANG), "waitpid") == 0,
               "it has not returned; a second write of 1 byte that asks not to wait has: %zu taken", second);
        take_all(pair.far, sizes[i] + second);
        expect(status_of(writer) == EXIT_SUCCESS, "when the peer had read, it returned its full size");
    }
}

/* ---- Claims about closing ---- */

/* A common explanation, and RFC 9293, section 3.6: after CLOSE, what was sent before is still delivered. The peer has
 * room for only a part of it when the socket is closed. */
static void close_delivers(void)
{
    struct pair pair = connected(LARGE, SMALL);

    put(pair.near, DATA);
    expect(unread(pair.far) < DATA, "%d bytes written, %zu arrived; now close", DATA, unread(pair.far));
    xclose(pair.near);
    expect_to_read("the peer", pair.far, DATA, 0);
}

/* A common explanation: close loses what is in the input buffer. It loses output too: RFC 9293, section 3.6.1 (SHLD-3),
 * and RFC 2525, section 2.17, want a reset then. Since the peer's buffer is small, there is output on its way. */
static void close_unread(void)
{
    struct pair pair = connected(LARGE, SMALL);
    size_t got;
    int end;

    put(pair.far, 1);
    await_unread(pair.near, 1);
    put(pair.near, DATA);
    xclose(pair.near);
    await_reset(pair.far);
    end = read_to_end(pair.far, &got);
    expect(end == ECONNRESET, "closed with 1 byte unread, the peer's reading ended with: %s", ending(end));
    expect(got < DATA, "of %d bytes written before, it got %zu", DATA, got);
}

/* RFC 9293, section 3.6: having no more data to send, one still receives. POSIX, shutdown: SHUT_WR. */
static void half_close(void)
{
    struct pair pair = connected(0, 0);

    put(pair.near, 1000);
    end_output(pair.near);
    expect_to_read("the peer", pair.far, 1000, 0);
    expect_state("this side", pair.near, "FIN_WAIT2");
    expect_state("the peer", pair.far, "CLOSE_WAIT");
    put(pair.far, 500);
    xclose(pair.far);
    expect_to_read("this side", pair.near, 500, 0);
}

/* send(2), EPIPE: there is SIGPIPE as well, unless MSG_NOSIGNAL is given; signal(7): its default is to kill. */
static void epipe(void)
{
    struct pair pair = connected(0, 0);
    ssize_t result;
    pid_t writer;
    int status;

    end_output(pair.near);
    expect_to_send("this side, with MSG_NOSIGNAL,", pair.near, EPIPE);
    signal(SIGPIPE, SIG_IGN);
    result = write(pair.near, bytes, 1);
    expect(result == -1 && errno == EPIPE, "with SIGPIPE ignored: %s", result == -1 ? strerror(errno) : "taken");
    signal(SIGPIPE, SIG_DFL);
    writer = start_child();
    if (writer == 0)
        _exit(write(pair.near, bytes, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
    status = status_of(writer);
    expect(status == 128 + SIGPIPE, "with neither: signal %d (SIGPIPE is %d)", status > 128 ? status - 128 : 0, SIGPIPE);
}

/* A common explanation: SHUT_RD closes the input. TCP has no message for that, so the peer learns nothing; and Linux
 * still takes what arrives, and gives it out. Only an empty buffer reads as an end-of-file instead of blocking. */
static void shut_rd(void)
{
    struct pair pair = connected(0, 0);

    must(shutdown(pair.near, SHUT_RD), "shutdown");
    expect_to_read("this side", pair.near, 0, 0);
    expect_to_send("the peer", pair.far, 0);
    expect_state("this side", pair.near, "ESTABLISHED");
    expect_state("the peer", pair.far, "ESTABLISHED");
    if (LINUX) {
        await_unread(pair.near, 1);
        expect_to_read("this side", pair.near, 1, 0);
    }
    put(pair.near, 500);
    await_unread(pair.far, 500);
    expect(take(pair.far, sizeof bytes) == 500, "the other direction works");
}

/* SHUT_RDWR is to the peer what close is: an end-of-file, and, since nobody will read what it sends, a reset for that
 * (RFC 2525, section 2.16). But the descriptor remains. */
static void shut_rdwr(void)
{
    struct pair pair = connected(0, 0);

    must(shutdown(pair.near, SHUT_RDWR), "shutdown");
    expect_to_read("this side", pair.near, 0, 0);
    expect_to_send("this side", pair.near, EPIPE);
    expect_to_read("the peer", pair.far, 0, 0);
    expect(fcntl(pair.near, F_GETFD) != -1, "the descriptor is still open");
    expect_to_send("the peer", pair.far, 0);
    if (LINUX) {
        await_reset(pair.far);
        expect_to_send("after a reset the peer", pair.far, EPIPE);
    }
}

/* ---- Claims about sizes ---- */

/* Returns what the kernel makes of a size asked for; it takes it as unsigned, so -1 is very much. */
static long long by_rule(int asked, long cap, int floor)
{
    long long size = (long long)(unsigned)asked < cap ? (long long)(unsigned)asked : cap;

    size = 2 * (size < INT_MAX / 2 ? size : INT_MAX / 2);
    return size > floor ? size : floor;
}

/* socket(7), SO_SNDBUF and SO_RCVBUF: capped at wmem_max and rmem_max, doubled, raised to a floor. The floors in that
 * page are out of date, they depend on the kernel: asking for 0 tells them. */
static void size_rule(void)
{
    static const int sizes[] = {0, 1, 1025, 1152, 2304, 2305, 8192, 65536, -1, INT_MAX};
    long wmem = setting("core/wmem_max", 0), rmem = setting("core/rmem_max", 0);
    int fd = tcp_socket(), send_floor, receive_floor;

    if (wmem == UNSEEN || rmem == UNSEEN)
        skip("wmem_max and rmem_max");
    set(fd, SO_SNDBUF, 0);
    set(fd, SO_RCVBUF, 0);
    send_floor = get(fd, SO_SNDBUF);
    receive_floor = get(fd, SO_RCVBUF);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        set(fd, SO_SNDBUF, sizes[i]);
        set(fd, SO_RCVBUF, sizes[i]);
        expect(get(fd, SO_SNDBUF) == by_rule(sizes[i], wmem, send_floor) &&
               get(fd, SO_RCVBUF) == by_rule(sizes[i], rmem, receive_floor),
               "asked for %d, got %d to send and %d to receive", sizes[i], get(fd, SO_SNDBUF), get(fd, SO_RCVBUF));
    }
}

/* Moves 16 MiB to the far end, which reads a little whenever nothing more fits. */
static void transfer(struct pair pair)
{
    for (size_t got = 0; got < (size_t)16 * 1024 * 1024; got += take(pair.far, DATA)) {
        while (put_now(pair.near, sizeof bytes) > 0)
            continue;
        await(pair.far, POLLIN);
    }
}

/* tcp(7), tcp_wmem, tcp_rmem, tcp_moderate_rcvbuf: the kernel adapts sizes to the connection, unless they were set.
 * When the receive buffer grows depends on the pace of the reader, so that is shown and not judged. */
static void no_tuning(void)
{
    struct pair asked = connected(DATA, DATA), left = connected(0, 0);
    int sending = get(asked.near, SO_SNDBUF), receiving = get(asked.far, SO_RCVBUF), fresh = tcp_socket();

    transfer(asked);
    expect(get(asked.near, SO_SNDBUF) == sending && get(asked.far, SO_RCVBUF) == receiving,
           "set to %d and %d, after 16 MiB %d and %d", sending, receiving, get(asked.near, SO_SNDBUF),
           get(asked.far, SO_RCVBUF));
    sending = get(fresh, SO_SNDBUF);
    receiving = get(fresh, SO_RCVBUF);
    transfer(left);
    expect(!LINUX || get(left.near, SO_SNDBUF) > sending,
           "not set, %d and %d when new, after 16 MiB %d and %d", sending, receiving, get(left.near, SO_SNDBUF),
           get(left.far, SO_RCVBUF));
}

/* tcp(7) has sizes set before listen; accept gives them to the new socket. (What it gives besides, POSIX leaves
 * open.) */
static void inherited(void)
{
    int listener = xlisten(0), fd = tcp_socket(), accepted;

    set(listener, SO_SNDBUF, 20000);
    set(listener, SO_RCVBUF, 30000);
    xconnect(fd, port_of(listener));
    accepted = xaccept(listener);
    expect(get(accepted, SO_SNDBUF) == get(listener, SO_SNDBUF) && get(accepted, SO_RCVBUF) == get(listener, SO_RCVBUF),
           "the listening socket has %d and %d, the accepted %d and %d", get(listener, SO_SNDBUF),
           get(listener, SO_RCVBUF), get(accepted, SO_SNDBUF), get(accepted, SO_RCVBUF));
}

/* RFC 9293, section 3.8.6: the window says what the receiver has room for. The sender could send more, but does not. */
static void window(void)
{
    static const int sizes[] = {1025, SMALL, DATA};

    for (size_t i = 0, before = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct pair pair = connected(4 * LARGE, sizes[i]);
        size_t written = fill(pair.near), arrived = unread(pair.far), size = (size_t)get(pair.far, SO_RCVBUF);

        expect(arrived <= size && arrived < written && arrived > before,
               "receive buffer %zu: of %zu bytes written, %zu arrived", size, written, arrived);
        before = arrived;
    }
}

/* getsockopt(2): optlen is value-result: the room there is, and then the length of the value. */
static void optlen(void)
{
    int room[2] = {-1, -1};
    socklen_t length = sizeof room;

    must(getsockopt(tcp_socket(), SOL_SOCKET, SO_SNDBUF, room, &length), "getsockopt");
    expect(length == sizeof(int) && room[0] > 0 && room[1] == -1,
           "room for %zu bytes, optlen came back as %lu; the two numbers there are %d and %d", sizeof room,
           (unsigned long)length, room[0], room[1]);
}

/* ---- Claims about the killed and the reset ---- */

/* Starts a process that accepts a connection, sends `size` bytes of it, and is killed before the rest; returns the
 * client. */
static int client_of_killed(int listener, size_t size)
{
    int fd = tcp_socket();
    pid_t sender = start_child();

    if (sender == 0) {
        put(xaccept(listener), size);
        pause();
        _exit(EXIT_FAILURE);
    }
    xconnect(fd, port_of(listener));
    await_unread(fd, size);
    kill_child(sender);
    return fd;
}

/* _exit(2): the descriptors of a process that ends are closed, and nothing but that close is what TCP sees. */
static void killed_sender(void)
{
    expect_to_read("the peer of a sender killed after 5000", client_of_killed(xlisten(0), 5000), 5000, 0);
}

/* socket(7), SO_LINGER, on the listening socket; with a time of 0, close is the ABORT of RFC 9293, section 3.10.5. */
static void killed_with_linger(void)
{
    int listener = xlisten(0);

    reset_on_close(listener);
    expect_to_read("the peer of a sender killed after 5000", client_of_killed(listener, 5000), 5000, ECONNRESET);
}

/* In no manual page, but a trap: the error is told once, and whoever reads again sees an end-of-file. */
static void reset_once(void)
{
    struct pair pair = reset_after_1000();

    expect_to_read("the peer", pair.far, 1000, ECONNRESET);
    expect_to_read("trying again, the peer", pair.far, 0, 0);
}

/* With the FIN the peer has the whole stream, and what happens to the connection later takes nothing of it away. */
static void fin_then_reset(void)
{
    struct pair pair = connected(0, 0);

    end_output(pair.near);
    await(pair.far, POLLIN);
    expect(must_count(recv(pair.far, bytes, 1, MSG_PEEK), "recv") == 0, "the end-of-file has arrived, and is left there");
    reset_on_close(pair.near);
    xclose(pair.near);
    await_reset(pair.far);
    expect_to_read("after a reset, the peer", pair.far, 0, 0);
    expect_to_send("the peer", pair.far, EPIPE);
}

/* The kernel completes connections before accept; when nobody can accept them any more, it resets them. */
static void queue_reset(void)
{
    for (int killed = 0; killed <= 1; killed++) {
        int listener = xlisten(0), fd = tcp_socket();
        pid_t owner = killed ? start_child() : -1;

        if (owner == 0) {
            pause();
            _exit(EXIT_FAILURE);
        }
        xconnect(fd, port_of(listener));
        await(listener, POLLIN);
        xclose(listener);               /* with an owner, that one keeps it open until it is killed */
        if (killed)
            kill_child(owner);
        expect_to_read(killed ? "listener killed: the client" : "listener closed: the client", fd, 0, ECONNRESET);
    }
}

/* ---- Claims about sharing ports ---- */

/* setsockopt(2) takes the name of one option, not a set of flags; joined, these two happen to be the name of the
 * second. */
static void reuse_flags(void)
{
    int both = SO_REUSEADDR | SO_REUSEPORT, fd = tcp_socket();

    if (!LINUX)
        skip("the numbers Linux gives these options");
    set(fd, both, 1);
    expect(both == SO_REUSEPORT, "SO_REUSEADDR is %d, SO_REUSEPORT %d, joined %d", SO_REUSEADDR, SO_REUSEPORT, both);
    expect(get(fd, SO_REUSEADDR) == 0 && get(fd, SO_REUSEPORT) == 1, "with that set, SO_REUSEADDR is %d, SO_REUSEPORT %d",
           get(fd, SO_REUSEADDR), get(fd, SO_REUSEPORT));
}

static void expect_listener(const char *who, in_port_t port, int option, int error)
{
    int result = try_listen(port, option) == -1 ? errno : 0;

    expect(result == error, "%s: %s", who, result == 0 ? "listens" : strerror(result));
}

/* socket(7): with SO_REUSEPORT, sockets of one user may listen on one port, and connections are distributed among them;
 * with SO_REUSEADDR, never while there is an active listening socket. */
static void reuse_port(void)
{
    int first = xlisten(SO_REUSEPORT), second = try_listen(port_of(first), SO_REUSEPORT), served[2] = {0, 0};

    must(second, "the second listener");
    for (int i = 0; i < 40; i++) {
        struct pollfd both[2] = {{.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}};
        int who;

        xconnect(tcp_socket(), port_of(first));
        must(poll(both, 2, PATIENCE_MILLISECONDS), "poll");
        who = both[0].revents != 0 ? 0 : 1;
        xaccept(both[who].fd);
        served[who]++;
    }
    expect(!LINUX || (served[0] > 0 && served[1] > 0), "one listener got %d clients, the other %d", served[0], served[1]);
    expect_listener("a second one with SO_REUSEADDR alone", port_of(xlisten(SO_REUSEADDR)), SO_REUSEADDR, EADDRINUSE);
}

/* Serves a client, closes the connection first and stops; returns the port, on which a TIME_WAIT now remains. */
static in_port_t old_server(int option)
{
    int listener = xlisten(option), fd = tcp_socket();
    in_port_t port = port_of(listener);

    xconnect(fd, port);
    xclose(xaccept(listener));
    expect_to_read(option == 0 ? "client of an old server without it" : "client of an old server with it", fd, 0, 0);
    xclose(fd);
    xclose(listener);
    return port;
}

/* socket(7), SO_REUSEADDR. On Linux the old server must have set it too, which that page does not say. */
static void reuse_time_wait(void)
{
    in_port_t port = old_server(SO_REUSEADDR);

    expect_listener("new server without it", port, 0, EADDRINUSE);
    expect_listener("new server with it", port, SO_REUSEADDR, 0);
    if (LINUX)
        expect_listener("new server with it", old_server(0), SO_REUSEADDR, EADDRINUSE);
}

/* ---- Claims of which other systems show nothing ---- */

#if defined __linux__ && !defined PORTABLE

/* RFC 9293, section 3.6.1 (MUST-13): who closes actively, with the first FIN, stays in TIME_WAIT. */
static void time_wait(void)
{
    struct pair pair = connected(0, 0);
    in_port_t near = port_of(pair.near), far = port_of(pair.far);
    const char *there;
    int looks = 0;

    end_output(pair.near);
    expect_to_read("the peer", pair.far, 0, 0);
    xclose(pair.far);
    expect_to_read("this side", pair.near, 0, 0);
    expect_state("this side's descriptor, still open,", pair.near, "CLOSE");
    do
        there = state_in_table(far, near);
    while (strcmp(there, "none") != 0 && look_again(&looks));
    expect(strcmp(state_in_table(near, far), "TIME_WAIT") == 0 && strcmp(there, "none") == 0,
           "in the kernel's table this side is in state %s, the peer in %s", state_in_table(near, far), there);
}

/* tcp(7): sizes take effect only when set before listen or connect. RFC 7323, section 2.2: the scale of the window,
 * which is chosen by the size, is sent in the SYN and never again. Three receivers: size set before, set after, not at
 * all. */
static void window_scale(void)
{
    struct pair before = connected(0, 1025), after = connected(0, 0), never = connected(0, 0);
    int early = info(before.far).tcpi_rcv_wscale, usual = info(never.far).tcpi_rcv_wscale, late;

    if (usual == 0)
        skip("a window with a scale, which is switched off");
    set(after.far, SO_RCVBUF, 1025);
    late = info(after.far).tcpi_rcv_wscale;
    expect(early < usual && late == usual, "scale %d when not set, %d when set before, %d when after", usual, early, late);
    set(before.far, SO_RCVBUF, (int)sizeof bytes);
    early = info(before.far).tcpi_rcv_wscale;
    expect(early < usual, "enlarged later to %d: scale %d, so never a window above %d", get(before.far, SO_RCVBUF), early,
           65535 << early);
}

/* getsockopt(2), EFAULT. A "way 2" often met passes (socklen_t *)sizeof(value), a pointer to address 4, and prints
 * what was in the variable before. By syscall, because a sanitizer's getsockopt looks at the length itself and would
 * crash. */
static void bad_optlen(void)
{
    int fd = tcp_socket(), value = 32767;
    volatile uintptr_t address = sizeof value;  /* volatile hides from the compiler what it would rightly warn of */
    long result = syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_SNDBUF, &value,
                          (socklen_t *)address); /* NOLINT(performance-no-int-to-ptr): this is the mistake */

    expect(result == -1 && errno == EFAULT, "getsockopt returned %ld: %s", result, strerror(errno));
    expect(value == 32767 && get(fd, SO_SNDBUF) != value, "the variable held 32767 and holds %d; the size is %d", value,
           get(fd, SO_SNDBUF));
}

/* splice(2) moves bytes that the program never sees; that a reset is told only once is no different. */
static void splice_reset(void)
{
    struct pair pair = reset_after_1000();
    int tube[2];
    ssize_t moved[3];

    make_pipe(tube);
    moved[0] = splice(pair.far, NULL, tube[1], NULL, sizeof bytes, 0);
    moved[1] = splice(pair.far, NULL, tube[1], NULL, sizeof bytes, 0);
    expect(moved[0] == 1000 && moved[1] == -1 && errno == ECONNRESET, "splice moved %zd, then %zd: %s", moved[0], moved[1],
           strerror(errno));
    moved[2] = splice(pair.far, NULL, tube[1], NULL, sizeof bytes, 0);
    expect(moved[2] == 0, "then %zd", moved[2]);
}

/* RFC 9293, section 3.4: SYN and FIN take a sequence number each, as if they were a byte. So a FIN that is lost is sent
 * again like data, and its acknowledgement says that everything before it has arrived. */
static void fin_number(void)
{
    struct segment syn, fin, answer;
    struct pair pair = watched_pair(0, 0);

    put(pair.near, 1000);
    end_output(pair.near);
    syn = seen(pair, CLIENT, SYN);
    fin = seen(pair, CLIENT, FIN);
    expect(syn.seq + 1 + 1000 == fin.seq + fin.length, "SYN is number %u, 1000 bytes follow, FIN is number %u", syn.seq,
           fin.seq + fin.length);
    do
        answer = seen(pair, SERVER, ACK);
    while (answer.ack < 1002);
    expect(answer.ack == 1002, "the peer acknowledges all, and expects %u next", answer.ack);
    put(pair.far, 500);
    do
        answer = seen(pair, CLIENT, ACK);
    while (answer.ack < 501);
    expect(answer.seq == 1002, "this side, which has nothing more to send, is at number %u", answer.seq);
}

/* RFC 9293, section 3.8.6: the window is how many bytes after the acknowledged ones the receiver takes. A sender that
 * has used it up may only ask, from time to time, whether it has opened (3.8.6.1). */
static void zero_window(void)
{
    struct segment shut, update, data;
    struct pair pair = watched_pair(LARGE, SMALL);

    fill(pair.near);
    do
        shut = seen(pair, SERVER, ACK);
    while (shut.window > 0);
    expect(unread(pair.far) == shut.ack - 1, "the peer has %zu bytes unread, acknowledges as many, and tells a window of "
           "%u", unread(pair.far), shut.window);
    expect(unacknowledged(pair.near) > 0, "this side has %ld more to send", unacknowledged(pair.near));
    take_all(pair.far, shut.ack - 1);
    do
        update = seen(pair, SERVER, ACK);
    while (update.window == 0);
    do
        data = seen(pair, CLIENT, ACK);
    while (data.length == 0);
    expect(update.ack == shut.ack && data.seq == shut.ack, "when that is read, the peer tells a window of %u, and only "
           "then comes number %u", update.window, data.seq);
}

/* RFC 9293, section 3.6.1, and RFC 2525, section 2.16: after close nobody will read what comes, and TCP says so. */
static void data_after_close(void)
{
    for (int closed = 0; closed <= 1; closed++) {
        struct pair pair = watched_pair(0, 0);
        struct segment answer;
        bool reset;

        must(closed ? close(pair.far) : shutdown(pair.far, SHUT_WR), "close");
        expect_to_read(closed ? "close: this side" : "shutdown(SHUT_WR): this side", pair.near, 0, 0);
        put(pair.near, 1);
        seen(pair, CLIENT, PSH);
        answer = seen(pair, SERVER, RST | ACK);
        reset = (answer.flags & RST) != 0;
        expect(closed ? reset : !reset && answer.ack == 2, "its byte is answered with %s", reset ? "RST" : "ACK");
        if (!closed)
            continue;
        await_reset(pair.near);
        expect_to_send("then this side", pair.near, EPIPE);
        expect(!next_segment(&answer, QUIET_MILLISECONDS), "and no packet follows any more");
    }
}

#else

static void only_linux(void)
{
    skip("all of this, which only Linux shows");
}

#define time_wait only_linux
#define window_scale only_linux
#define bad_optlen only_linux
#define splice_reset only_linux
#define fin_number only_linux
#define zero_window only_linux
#define data_after_close only_linux

#endif

/* ---- The table of claims, and main ---- */

static const struct experiment {
    const char *slug;   /* its name on the command line */
    const char *claim;
    void (*run)(void);
} experiments[] = {
    {"own-buffers", "Every socket has a send buffer and a receive buffer of its own.", own_buffers},
    {"write-returns-early", "write returns when the kernel has the bytes, not when the peer has.", write_returns_early},
    {"no-boundaries", "TCP keeps no boundaries: several writes may be one read, one write several reads.", no_boundaries},
    {"full-buffer", "When the buffers are full, nothing more is taken until the peer reads.", full_buffer},
    {"partial-write", "A blocking write puts in what fits, and waits with the rest for room, not for a lock.", partial_write},
    {"close-delivers", "close still delivers what is in the send buffer.", close_delivers},
    {"close-unread", "close with unread input resets the connection and loses output as well.", close_unread},
    {"half-close", "shutdown(SHUT_WR) gives the peer an end-of-file; the other direction works on.", half_close},
    {"fin-number", "FIN takes a sequence number, as SYN does: its acknowledgement tells that all has arrived.", fin_number},
    {"data-after-close", "What comes after close is answered with a reset, and nothing else; after a half-close it is "
     "acknowledged.", data_after_close},
    {"epipe", "After shutdown(SHUT_WR) a write fails with EPIPE, or SIGPIPE kills.", epipe},
    {"shut-rd", "shutdown(SHUT_RD) ends one's own waiting for input; the peer notices nothing.", shut_rd},
    {"shut-rdwr", "shutdown(SHUT_RDWR) is a close to the peer, but leaves the descriptor open.", shut_rdwr},
    {"time-wait", "The side that sends its FIN first ends in TIME_WAIT.", time_wait},
    {"size-rule", "A buffer size asked for is capped, doubled and raised to a floor; it never fails.", size_rule},
    {"no-tuning", "Setting a size switches off the kernel's tuning of it.", no_tuning},
    {"inherited", "An accepted socket inherits the sizes of the listening one.", inherited},
    {"window", "No more is under way than the peer's receive buffer has room for.", window},
    {"zero-window", "A window of zero stops the sender, and a window update starts it again.", zero_window},
    {"window-scale", "Only a size set before listen or connect counts for the scale of the window.", window_scale},
    {"optlen", "getsockopt sets optlen to the length of the value.", optlen},
    {"bad-optlen", "With a length for a pointer, getsockopt fails and leaves the value alone.", bad_optlen},
    {"killed-sender", "A sender that is killed looks as if it had finished.", killed_sender},
    {"killed-with-linger", "With SO_LINGER {1,0} on the listening socket, a killed sender is a reset.", killed_with_linger},
    {"reset-once", "A reset is told once, after what came before it; from then on read returns 0.", reset_once},
    {"fin-then-reset", "An end-of-file that arrived before a reset stays an end-of-file.", fin_then_reset},
    {"splice-reset", "splice tells of a reset as read does: once.", splice_reset},
    {"queue-reset", "A client that was not accepted yet is reset when the listener goes away.", queue_reset},
    {"reuse-flags", "On Linux SO_REUSEADDR | SO_REUSEPORT is 15, which is SO_REUSEPORT.", reuse_flags},
    {"reuse-port", "With SO_REUSEPORT two servers share a port and its clients; SO_REUSEADDR refuses.", reuse_port},
    {"reuse-time-wait", "SO_REUSEADDR lets a server start while an old connection is in TIME_WAIT.", reuse_time_wait},
};

enum { EXPERIMENTS = sizeof experiments / sizeof *experiments };

static void print_claim(int number)
{
    printf("%d `%s`: %s\n", number + 1, experiments[number].slug, experiments[number].claim);
}

/* Makes an experiment in a process of its own and returns the verdict. */
static int judge(int number)
{
    int verdict;
    pid_t child;

    print_claim(number);
    child = start_child();
    if (child == 0) {
        experiments[number].run();
        exit(all_as_claimed ? HOLDS : FAILS);
    }
    verdict = status_of(child);
    if (verdict > 128)
        printf("    died: signal %d%s\n", verdict - 128, verdict - 128 == SIGALRM ? ", the watchdog" : "");
    if (verdict != HOLDS && verdict != SKIPPED)
        verdict = FAILS;
    printf("    %s\n", verdict == HOLDS ? "holds" : verdict == FAILS ? "FAILS" : "skipped");
    return verdict;
}

/* Returns the number of the experiment called `slug`, or ends the program. */
static int find(const char *slug)
{
    for (int i = 0; i < EXPERIMENTS; i++)
        if (strcmp(experiments[i].slug, slug) == 0)
            return i;
    fprintf(stderr, "claims: no experiment '%s'\nusage: claims [-l | SLUG...]\n", slug);
    exit(2);
}

int main(int argc, char *argv[])
{
    int count[SKIPPED + 1] = {0};
    bool list = argc == 2 && strcmp(argv[1], "-l") == 0;

    tool = "claims";
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);      /* what an experiment said before it died is kept */
    signal(SIGALRM, SIG_DFL);                   /* whoever started us may have ignored these */
    signal(SIGCHLD, SIG_DFL);
    for (int i = 1; !list && i < argc; i++)
        find(argv[i]);
    for (int i = 0; list && i < EXPERIMENTS; i++)
        print_claim(i);
    if (list)
        return EXIT_SUCCESS;
    for (int i = 0; i < (argc > 1 ? argc - 1 : EXPERIMENTS); i++)
        count[judge(argc > 1 ? find(argv[i + 1]) : i)]++;
    printf("%d passed, %d failed", count[HOLDS], count[FAILS]);
    if (count[SKIPPED] > 0)
        printf(", %d skipped", count[SKIPPED]);
    putchar('\n');
    return count[FAILS] == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
