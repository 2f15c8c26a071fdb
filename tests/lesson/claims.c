/*
 * claims.c - every statement that the README makes about TCP and sockets, as an experiment.
 *
 *     claims                       runs all of them
 *     claims NAME...               runs these
 *     claims -l                    lists them
 *
 * Each prints its claim, what it observed, and whether the claim holds; only the observations decide that. Each has a
 * process and a limit of time of its own, so one that crashes or hangs fails alone. All traffic stays on 127.0.0.1.
 * What a system does not show (/proc, packets) is skipped, and said. Exits with 0 if no claim failed.
 *
 * First come the tools, then a function for each claim, which names its source, then the table of claims. "A common
 * explanation" is one that many tutorials repeat, rightly or wrongly.
 */
#include "../tools/tools.h"
#include <sys/ioctl.h>
#ifdef __linux__
#define ON_LINUX(run) run
#include "../tools/wire.h"
#include <sys/syscall.h>
enum { IS_LINUX = 1 };
#else
#define ON_LINUX(run) NULL
enum { IS_LINUX = 0 };
#endif
#ifndef SO_REUSEPORT
#define SO_REUSEPORT 0x200  /* of the BSDs and macOS, whose headers hide it from a program that asks for POSIX */
#endif

enum { HOLDS, FAILS, SKIPPED = 77 };    /* the verdict on a claim, and the exit status of the experiment's process */

enum {
    WATCHDOG_SECONDS = 60,          /* the longest an experiment may take */
    TIMEOUT_MILLISECONDS = 30000,   /* how long to look for what must happen */
    QUIET_MILLISECONDS = 100,       /* a full buffer in which no space appears for this long is at rest */
    SMALL = 8192,                   /* sizes of buffers to ask for: much data does not fit in the small, */
    LARGE = 128 * 1024,             /* DATA bytes do in the large */
    DATA = 64 * 1024,
};

static char bytes[1024 * 1024]; /* what is sent, and where it is read to; the values do not matter */
static int here, peer;          /* the ends of a connection: the one that connected, and the one that was accepted */
static int here_port, peer_port; /* known after a close, too */
static bool all_as_claimed = true;  /* in an experiment's process: no observation contradicts the claim */
static bool linux_tcp;          /* Linux's own TCP: what is set for a listening socket goes to the accepted ones. gVisor
                                 * says that it is Linux, but has another */

/* ---- Tools: saying what was observed ---- */

/* Reports an observation, on which the verdict depends. */
__attribute__((format(printf, 2, 3)))
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

/* Ends the experiment without a verdict if this system lacks WHAT. */
static void need(bool there, const char *what)
{
    if (there)
        return;
    printf("    not on this system: %s\n", what);
    exit(all_as_claimed ? SKIPPED : FAILS);
}

/* ---- Tools: connections ---- */

/* Returns a socket that listens on PORT, with OPTION switched on unless it is 0; -1 with errno if it may not. */
static int try_listen(int port, int option)
{
    struct sockaddr_in address = local_address(port);
    int fd = make_socket();

    if (option != 0)
        set_option(fd, option, 1);
    return bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, SOMAXCONN) == 0 ? fd : -1;
}

/* The same on a port that the kernel chooses. */
static int listen_anywhere(int option) { return must(try_listen(0, option), "listen"); }

static int accept_from(int listener) { return must(accept(listener, NULL, NULL), "accept"); }

/* Returns a socket that is connected to this listener. */
static int client_of(int listener)
{
    struct sockaddr_in address = local_address(port_of(listener));
    int fd = make_socket();

    must(connect(fd, (struct sockaddr *)&address, sizeof address), "connect");
    return fd;
}

/* Makes a connection between here and peer. Asks for these sizes of the send buffer here and the receive buffer of the
 * peer; 0 leaves it to the kernel. */
static void connect_both(int send_size, int receive_size)
{
    int listener = listen_anywhere(0);

    if (receive_size != 0) {
        need(linux_tcp, "an accepted socket that inherits its buffer size from the listening one");
        set_option(listener, SO_RCVBUF, receive_size);
    }
    here = client_of(listener);
    peer = accept_from(listener);
    here_port = port_of(here);
    peer_port = port_of(peer);
    if (send_size != 0)
        set_option(here, SO_SNDBUF, send_size);
    must(close(listener), "close");
}

/* ---- Tools: sending, receiving, waiting ---- */

/* Returns whether poll reports one of EVENTS in time; -1 is as long as the watchdog allows. */
static bool ready(int fd, short events, int milliseconds)
{
    struct pollfd waiting = { .fd = fd, .events = events };

    return must(poll(&waiting, 1, milliseconds), "poll") == 1;
}

static void await_reset(int fd) { ready(fd, 0, -1); /* an error is reported unasked */ }

/* For what cannot be polled: looks every millisecond, and not for ever. */
#define AWAIT(condition) \
    for (int looks = 0; !(condition) && looks < TIMEOUT_MILLISECONDS; looks++) \
        pause_for(1000)

/* Bytes that have arrived and wait in the receive buffer. */
static size_t unread(int fd)
{
    int count = 0;

    must(ioctl(fd, FIONREAD, &count), "FIONREAD");
    return (size_t)count;
}

static void await_unread(int fd, size_t count)
{
    AWAIT(unread(fd) >= count);
    if (unread(fd) < count)
        die("what was sent did not arrive");
}

/* Sends what there is space for now, without waiting, and returns how much that was. */
static size_t put_now(int fd, size_t count)
{
    ssize_t taken = send(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);

    return taken == -1 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : (size_t)must((int)taken, "send");
}

/* Sends COUNT bytes, for which there must be space. */
static void put(int fd, size_t count)
{
    if (put_now(fd, count) != count)
        die("send took only a part");
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
    return (size_t)must((int)read(fd, bytes, most), "read");
}

/* Reads COUNT bytes, and returns how many reads that took. */
static int take_all(int fd, size_t count)
{
    int reads = 0;

    for (size_t got = 0; got < count; reads++)
        got += take(fd, count - got);
    return reads;
}

static const char *who(int fd)
{
    return fd == here ? "this side" : fd == peer ? "the peer" : "the client";
}

/* Expects the program at FD to read COUNT bytes and after them ERROR, which is 0 for an end-of-file. */
static void expect_to_read(int fd, size_t count, int error)
{
    size_t total = 0;
    ssize_t got;
    int end;

    while ((got = read(fd, bytes, sizeof bytes)) > 0)
        total += (size_t)got;
    end = got == 0 ? 0 : errno;
    expect(total == count && end == error, "%s read %zu bytes, then: %s", who(fd), total,
           end == 0 ? "end-of-file" : strerror(end));
}

/* Expects that there is nothing to read at FD for a while, not even an end-of-file. */
static void expect_silence(int fd)
{
    expect(!ready(fd, POLLIN, QUIET_MILLISECONDS), "%s has nothing to read, and no end-of-file", who(fd));
}

/* Expects sending to fail in this way, or to succeed if that is 0. */
static void expect_to_send(int fd, int error)
{
    int result = send(fd, bytes, 1, MSG_NOSIGNAL) == 1 ? 0 : errno;

    expect(result == error, "%s wrote: %s", who(fd), result == 0 ? "taken" : strerror(result));
}

/* Expects a server on PORT, with OPTION, to fail because that is taken, or to listen if it is FREE. */
static void expect_listener(const char *what, int port, int option, bool is_free)
{
    const int fd = try_listen(port, option);

    expect(is_free ? fd >= 0 : fd < 0 && errno == EADDRINUSE, "%s: %s", what, fd >= 0 ? "listens" : strerror(errno));
}

static void expect_sizes(const char *what, int fd, int sending, int receiving)
{
    const int send_size = get_option(fd, SO_SNDBUF), receive_size = get_option(fd, SO_RCVBUF);

    expect(send_size == sending && receive_size == receiving, "%s: %d to send and %d to receive", what, send_size,
           receive_size);
}

/* Returns the state of a side, here or peer, in the kernel's table, as RFC 9293, section 3.3.2, calls it. The table has
 * those, too, that no process holds any more. What is not there is in the state "none". */
static const char *state_of(int side)
{
    static const char *const names[] = { "none", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
                                         "TIME_WAIT", "CLOSED", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING" };
    const int state = state_in_table(side == here ? here_port : peer_port, side == here ? peer_port : here_port);

    need(state >= 0, "the state of a connection");
    return names[state];
}

static void expect_state(int side, const char *wanted)
{
    AWAIT(strcmp(state_of(side), wanted) == 0);
    expect(strcmp(state_of(side), wanted) == 0, "%s is in state %s", who(side), state_of(side));
}

/* Returns a setting of the kernel: the number in this file that stands where FORMAT says. */
static int setting(const char *path, const char *format)
{
    char line[128] = "";
    int number = 0;

    need(linux_tcp && get_file(path, line, sizeof line) > 0 && sscanf(line, format, &number) == 1, path);
    return number;
}

#ifdef __linux__

/* Like connect_both, for seen to look at. Skips the experiment where packets cannot be seen. */
static void connect_watched(int send_size, int receive_size)
{
    const char *refused = wire.fd < 0 ? open_wire() : NULL;

    if (refused != NULL)
        printf("    no %s: %s\n", refused, strerror(errno));
    need(refused == NULL, "packets");
    connect_both(send_size, receive_size);
}

/* Returns the next segment with one of FLAGS from SIDE, which acknowledges ACK or more: CLIENT is here, SERVER the
 * peer. */
static struct segment seen(int side, unsigned flags, uint32_t ack)
{
    struct segment segment;

    do
        if (!next_segment(&segment, TIMEOUT_MILLISECONDS))
            die("a segment did not come");
    while (wire.seen.port[CLIENT] != here_port || segment.side != side || (segment.flags & flags) == 0 ||
           segment.ack < ack);
    return segment;
}

#endif

/* ---- Claims about buffers and writing ---- */

/* A common explanation. tcp(7): the sizes are at first the middle values of tcp_wmem and tcp_rmem; those set before
 * listen go to the accepted sockets. (What else these get from the listening one, POSIX leaves open.) */
static void own_buffers(void)
{
    const int one = make_socket(), other = make_socket(), listener = listen_anywhere(0);
    const int wmem = setting("/proc/sys/net/ipv4/tcp_wmem", "%*d%d");
    const int rmem = setting("/proc/sys/net/ipv4/tcp_rmem", "%*d%d");

    set_option(one, SO_SNDBUF, 20000);
    expect_sizes("one socket is set to another size", one, 40000, rmem);
    expect_sizes("another still has what tcp_wmem and tcp_rmem say", other, wmem, rmem);
    set_option(listener, SO_SNDBUF, 20000);
    set_option(listener, SO_RCVBUF, 30000);
    client_of(listener);
    expect_sizes("an accepted one has what was set for the listening one", accept_from(listener), 40000, 60000);
}

/* POSIX, 2.10.6 Socket Types: with SOCK_STREAM, record boundaries are not maintained. */
static void no_boundaries(void)
{
    size_t together;
    int reads;

    connect_both(LARGE, SMALL);
    for (int i = 0; i < 3; i++)
        put(here, 10);
    await_unread(peer, 30);
    together = take(peer, sizeof bytes);
    put(here, DATA);
    reads = take_all(peer, DATA);
    expect(together == 30 && reads > 1, "3 writes of 10 bytes came as one read of %zu, 1 write of %d as %d reads",
           together, DATA, reads);
}

/* A common explanation: a write "a bit larger" than the free space waits until all of it fits, and only one "much
 * larger" is done by portions. On Linux both put in at once what fits. The explanation also has writes wait while a
 * buffer is "locked". The kernel holds that lock for moments, never while it sleeps: a second write, which must have
 * the lock too, comes back. */
static void partial_write(void)
{
    size_t room, size, second;
    pid_t writer;

    connect_both(DATA, SMALL);
    room = fill(here);
    for (int large = 0; large <= 1; large++) {
        size = large ? 8 * room : room + room / 8;
        connect_both(DATA, SMALL);
        writer = split();
        if (writer == 0)
            _exit(write(here, bytes, size) == (ssize_t)size ? EXIT_SUCCESS : EXIT_FAILURE);
        await_unread(peer, 1);
        second = put_now(here, 1);
        expect(must(waitpid(writer, NULL, WNOHANG), "waitpid") == 0, "room for %zu: a write of %zu has not returned, "
               "%zu have arrived, and a second one, which does not wait, took %zu", room, size, unread(peer), second);
        take_all(peer, size + second);
        expect(status_of(writer) == EXIT_SUCCESS, "when the peer had read, it returned its full size");
    }
}

/* ---- Claims about closing ---- */

/* RFC 9293, section 3.6: close delivers what was written. A common explanation has it lose what is in the input
 * buffer. Then it loses output too: section 3.6.1 (SHLD-3), and RFC 2525, section 2.17, want a reset. The peer has room
 * for only a part of it when this side closes. */
static void close_unread(void)
{
    for (size_t input = 0; input <= 1; input++) {
        connect_both(LARGE, SMALL);
        put(peer, input);
        await_unread(here, input);
        put(here, DATA);
        expect(unread(peer) < DATA, "%d bytes written, %zu arrived; close with %zu unread", DATA, unread(peer), input);
        must(close(here), "close");
        if (input == 1)
            await_reset(peer);
        expect_to_read(peer, input == 0 ? DATA : unread(peer), input == 0 ? 0 : ECONNRESET);
    }
}

/* RFC 9293, section 3.6; POSIX, shutdown; send(2), EPIPE. Section 3.3.2: CLOSE_WAIT waits "for a connection termination
 * request from the local user". Section 3.6.1 (MUST-13): TIME_WAIT. */
static void half_close(void)
{
    connect_both(0, 0);
    put(here, 1000);
    must(shutdown(here, SHUT_WR), "shutdown");
    expect_to_read(peer, 1000, 0);
    expect_to_send(here, EPIPE);
    put(peer, 500);
    await_unread(here, 500);
    expect_state(here, "FIN_WAIT2");
    expect_state(peer, "CLOSE_WAIT");
    must(close(peer), "close");
    expect_to_read(here, 500, 0);
    expect_state(here, "TIME_WAIT");
    expect_state(peer, "none");
}

/* read(2) on a connection waits for a byte or for FIN. That all has been said is no event. */
static void no_shutdown(void)
{
    connect_both(0, 0);
    put(here, 1000);
    take_all(peer, 1000);
    expect_silence(peer); /* which reads on */
    expect_silence(here); /* which waits for the answer */
    must(shutdown(here, SHUT_WR), "shutdown");
    expect_to_read(peer, 0, 0);
}

/* close(2): it is the last descriptor of a socket, in whichever process, whose close ends the connection. shutdown
 * is about the socket. */
static void dup_close(void)
{
    pid_t child;
    int copy;

    connect_both(0, 0);
    copy = must(dup(here), "dup");
    must(close(here), "close");
    expect_silence(peer);
    child = split(); /* which has a descriptor, too */
    if (child == 0)
        _exit(pause());
    must(close(copy), "close");
    expect_silence(peer);
    must(kill(child, SIGKILL), "kill");
    expect_to_read(peer, 0, 0);

    connect_both(0, 0);
    must(dup(here), "dup");
    must(shutdown(here, SHUT_WR), "shutdown"); /* for both descriptors */
    expect_to_read(peer, 0, 0);
}

/* TCP has no message for this. Linux still takes what arrives, and gives it out: only an empty buffer reads as an
 * end-of-file. */
static void shut_rd(void)
{
    connect_both(0, 0);
    must(shutdown(here, SHUT_RD), "shutdown");
    expect_to_read(here, 0, 0);
    expect_to_send(peer, 0);
    expect_state(here, "ESTABLISHED");
    expect_state(peer, "ESTABLISHED");
    if (IS_LINUX) {
        await_unread(here, 1);
        expect_to_read(here, 1, 0);
    }
    put(here, 500);
    await_unread(peer, 500);
    expect(take(peer, sizeof bytes) == 500, "the other direction works");
}

/* RFC 2525, section 2.16: since nobody will read what the peer sends, it gets a reset for that. */
static void shut_rdwr(void)
{
    connect_both(0, 0);
    must(shutdown(here, SHUT_RDWR), "shutdown");
    expect_to_read(here, 0, 0);
    expect_to_send(here, EPIPE);
    expect_to_read(peer, 0, 0);
    expect(fcntl(here, F_GETFD) != -1, "the descriptor is still open");
    expect_to_send(peer, 0);
    if (IS_LINUX) {
        await_reset(peer);
        expect_to_send(peer, EPIPE);
    }
}

/* ---- Claims about sizes ---- */

/* Returns what the kernel makes of a size asked for, by the rule. */
static int by_rule(int asked, int cap, int floor)
{
    const int size = 2 * (asked < cap ? asked : cap < INT_MAX / 2 ? cap : INT_MAX / 2);

    return size > floor ? size : floor;
}

/* socket(7), SO_SNDBUF and SO_RCVBUF: capped at wmem_max and rmem_max. The floors in that page are out of date, they
 * depend on the kernel: asking for 0 tells them. */
static void size_rule(void)
{
    static const int sizes[] = { 0, 1025, 2305, 65536, INT_MAX };
    const int wmem = setting("/proc/sys/net/core/wmem_max", "%d"), rmem = setting("/proc/sys/net/core/rmem_max", "%d");
    int fd = make_socket(), send_floor = 0, receive_floor = 0;
    char asked[32];

    for (size_t i = 0; i < ELEMENTS(sizes); i++) {
        set_option(fd, SO_SNDBUF, sizes[i]);
        set_option(fd, SO_RCVBUF, sizes[i]);
        send_floor = i == 0 ? get_option(fd, SO_SNDBUF) : send_floor;
        receive_floor = i == 0 ? get_option(fd, SO_RCVBUF) : receive_floor;
        snprintf(asked, sizeof asked, "asked for %d, got", sizes[i]);
        expect_sizes(asked, fd, by_rule(sizes[i], wmem, send_floor), by_rule(sizes[i], rmem, receive_floor));
    }
}

/* tcp(7), tcp_wmem, tcp_rmem, tcp_moderate_rcvbuf. When the receive buffer grows depends on the pace of the reader, so
 * that is shown and not judged. */
static void no_tuning(void)
{
    for (int size = DATA; size >= 0; size -= DATA) {
        int sending, receiving, sent, received;

        connect_both(size, size);
        sending = get_option(size == 0 ? make_socket() : here, SO_SNDBUF); /* connect may already tune */
        receiving = get_option(peer, SO_RCVBUF);
        for (size_t got = 0; got < (size_t)16 * 1024 * 1024; got += take(peer, DATA))
            while (put_now(here, sizeof bytes) > 0)
                continue;
        sent = get_option(here, SO_SNDBUF);
        received = get_option(peer, SO_RCVBUF);
        expect(size == 0 ? !linux_tcp || sent > sending : sent == sending && received == receiving,
               "%s, %d and %d; after 16 MiB, %d and %d", size == 0 ? "not set" : "set", sending, receiving, sent,
               received);
    }
}

/* A common explanation, and send(2): success does not say that anything was delivered. RFC 9293, section 3.8.6: the
 * sender could send more, but does not. */
static void window(void)
{
    static const int sizes[] = { 1025, SMALL, DATA };
    size_t before = 0;

    for (size_t i = 0; i < ELEMENTS(sizes); i++) {
        size_t written, arrived, size, got = 0;

        connect_both(DATA, sizes[i]);
        written = fill(here);
        arrived = unread(peer);
        size = (size_t)get_option(peer, SO_RCVBUF);
        expect(arrived <= size && arrived < written && arrived > before && put_now(here, 1) == 0,
               "receive buffer %zu: of %zu bytes written, %zu arrived; not one more is taken", size, written, arrived);
        while (!ready(here, POLLOUT, 0))
            got += take(peer, sizeof bytes);
        expect(got > 0 && put_now(here, 1) == 1, "when the peer had read %zu, one more was taken", got);
        before = arrived;
    }
}

/* getsockopt(2): optlen is value-result: the room there is, and then the length of the value. */
static void optlen(void)
{
    int room[2] = { -1, -1 };
    socklen_t length = sizeof room;

    must(getsockopt(make_socket(), SOL_SOCKET, SO_SNDBUF, room, &length), "getsockopt");
    expect(length == sizeof(int) && room[0] > 0 && room[1] == -1,
           "room for %zu bytes, optlen came back as %lu; the two numbers there are %d and %d", sizeof room,
           (unsigned long)length, room[0], room[1]);
}

/* ---- Claims about the killed and the reset ---- */

/* _exit(2): the descriptors of a process that ends are closed, and nothing but that close is what TCP sees. socket(7),
 * SO_LINGER: with a time of 0, it is the ABORT of RFC 9293, section 3.10.5. */
static void killed(void)
{
    need(linux_tcp, "an accepted socket that inherits SO_LINGER from the listening one");
    for (int linger = 0; linger <= 1; linger++) {
        int listener = listen_anywhere(0), fd;
        pid_t server;

        if (linger)
            reset_on_close(listener);
        fd = client_of(listener);
        server = split();
        if (server == 0) {
            put(accept_from(listener), 5000);
            _exit(pause());
        }
        must(close(listener), "close");
        await_unread(fd, 5000);
        must(kill(server, SIGKILL), "kill");
        printf("    a server with%s SO_LINGER is killed:\n", linger ? "" : "out");
        expect_to_read(fd, 5000, linger ? ECONNRESET : 0);
    }
}

/* In no manual page, but a trap: whoever reads again sees an end-of-file. What the FIN has told, that the peer has the
 * whole stream, a later reset does not take away. */
static void reset_once(void)
{
    for (int ended = 0; ended <= 1; ended++) {
        connect_both(0, 0);
        put(here, 1000);
        await_unread(peer, 1000);
        if (ended) {
            must(shutdown(here, SHUT_WR), "shutdown");
            expect_state(peer, "CLOSE_WAIT");
        }
        reset_on_close(here);
        must(close(here), "close");
        await_reset(peer);
        expect_to_read(peer, 1000, ended ? 0 : ECONNRESET);
        expect_to_read(peer, 0, 0);
        expect_to_send(peer, EPIPE);
    }
}

/* ---- Claims about sharing ports ---- */

/* setsockopt(2) takes the name of one option, not a set of flags. */
static void reuse_flags(void)
{
    int both = SO_REUSEADDR | SO_REUSEPORT, fd = make_socket();

    need(IS_LINUX, "the numbers that Linux gives these options");
    set_option(fd, both, 1);
    expect(both == SO_REUSEPORT && get_option(fd, SO_REUSEADDR) == 0 && get_option(fd, SO_REUSEPORT) == 1,
           "SO_REUSEADDR is %d, SO_REUSEPORT %d, joined %d", SO_REUSEADDR, SO_REUSEPORT, both);
}

/* socket(7): with SO_REUSEPORT, sockets of one user; with SO_REUSEADDR, never while there is a listening socket. */
static void reuse_port(void)
{
    const int one = listen_anywhere(SO_REUSEPORT), two = must(try_listen(port_of(one), SO_REUSEPORT), "the second");

    for (int i = 0; i < 40; i++)
        client_of(one);
    expect(!linux_tcp || (ready(one, POLLIN, -1) && ready(two, POLLIN, -1)), "of 40 clients, both get some");
    expect_listener("one with SO_REUSEADDR alone, too", port_of(listen_anywhere(SO_REUSEADDR)), SO_REUSEADDR, false);
}

/* socket(7), SO_REUSEADDR. On Linux the old server must have set it too, which that page does not say. */
static void reuse_time_wait(void)
{
    for (int set = 0; set <= 1; set++) {
        const int listener = listen_anywhere(set ? SO_REUSEADDR : 0), fd = client_of(listener);
        const int port = port_of(listener);

        must(close(accept_from(listener)), "close"); /* the server is the first to close */
        expect_to_read(fd, 0, 0);
        must(close(fd), "close");
        must(close(listener), "close");
        printf("    the server that has ended had%s set SO_REUSEADDR:\n", set ? "" : " not");
        expect_listener("a new one without it", port, 0, false);
        if (set || IS_LINUX)
            expect_listener("a new one with it", port, SO_REUSEADDR, set);
    }
}

/* ---- Claims of which other systems show nothing ---- */

#ifdef __linux__

/* getsockopt(2), EFAULT. A "way 2" often met passes (socklen_t *)sizeof(value), a pointer to address 4, and prints
 * what was in the variable before. By syscall: a sanitizer's getsockopt looks at the length itself and would crash. */
static void bad_optlen(void)
{
    int fd = make_socket(), value = 32767;
    volatile uintptr_t address = sizeof value;  /* volatile hides from the compiler what it would rightly warn of */
    long result = syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_SNDBUF, &value,
                          (socklen_t *)address); /* NOLINT(performance-no-int-to-ptr): this is the mistake */

    expect(result == -1 && errno == EFAULT, "getsockopt returned %ld: %s", result, strerror(errno));
    expect(value == 32767 && get_option(fd, SO_SNDBUF) != value,
           "the variable held 32767 and holds %d; the size is %d", value, get_option(fd, SO_SNDBUF));
}

/* RFC 9293, section 3.4: each takes one, as if it were a byte. So a FIN that is lost is sent again like data. */
static void fin_number(void)
{
    struct segment syn, fin, answer;

    connect_watched(0, 0);
    put(here, 1000);
    must(shutdown(here, SHUT_WR), "shutdown");
    syn = seen(CLIENT, SYN, 0);
    fin = seen(CLIENT, FIN, 0);
    expect(syn.seq + 1 + 1000 == fin.seq + fin.length, "SYN is number %u, 1000 bytes follow, FIN is number %u", syn.seq,
           fin.seq + fin.length);
    answer = seen(SERVER, ACK, 1002);
    expect(answer.ack == 1002, "the peer acknowledges all, and expects %u next", answer.ack);
    put(peer, 500);
    answer = seen(CLIENT, ACK, 501);
    expect(answer.seq == 1002, "this side, which has nothing more to send, is at number %u", answer.seq);
}

/* RFC 9293, section 3.8.6: the window is how many bytes after the acknowledged ones the receiver takes. A sender that
 * has used it up may only ask, from time to time, whether it has opened (3.8.6.1). */
static void zero_window(void)
{
    struct segment shut, update, data;
    size_t written;

    connect_watched(LARGE, SMALL);
    written = fill(here);
    while ((shut = seen(SERVER, ACK, 0)).window > 0)
        ;
    expect(unread(peer) == shut.ack - 1 && written > unread(peer), "of %zu bytes written the peer has %zu unread, "
           "acknowledges as many, and tells a window of %u", written, unread(peer), shut.window);
    take_all(peer, shut.ack - 1);
    while ((update = seen(SERVER, ACK, 0)).window == 0)
        ;
    while ((data = seen(CLIENT, ACK, 0)).length == 0)
        ;
    expect(update.ack == shut.ack && data.seq == shut.ack, "when that is read, the peer tells a window of %u, and only "
           "then comes number %u", update.window, data.seq);
}

/* RFC 9293, section 3.6.1, and RFC 2525, section 2.16: after close nobody will read what comes, and TCP says so. */
static void data_after_close(void)
{
    for (int closed = 0; closed <= 1; closed++) {
        struct segment answer;
        bool reset;

        connect_watched(0, 0);
        must(closed ? close(peer) : shutdown(peer, SHUT_WR), "close");
        expect_to_read(here, 0, 0);
        put(here, 1);
        seen(CLIENT, PSH, 0);
        answer = seen(SERVER, RST | ACK, 0);
        reset = (answer.flags & RST) != 0;
        expect(closed ? reset : !reset && answer.ack == 2, "its byte is answered with %s", reset ? "RST" : "ACK");
        if (!closed)
            continue;
        await_reset(here);
        expect_to_send(here, EPIPE);
        expect(!next_segment(&answer, QUIET_MILLISECONDS), "and no packet follows any more");
    }
}

#endif

/* ---- The table of claims, and main ---- */

static const struct experiment {
    const char *name;
    const char *claim;
    void (*run)(void);
} experiments[] = {
    { "own-buffers", "Every socket has two buffers of its own; an accepted one inherits their sizes.", own_buffers },
    { "write-returns-early", "write returns when the kernel has the bytes, not when the peer has.", window },
    { "no-boundaries", "TCP keeps no boundaries: many writes may be one read, one write many reads.", no_boundaries },
    { "full-buffer", "When the buffers are full, nothing more is taken until the peer reads.", window },
    { "partial-write", "A write puts in what fits, and waits with the rest for room, not for a lock.", partial_write },
    { "close-unread", "close delivers what was written; with unread input it resets, and loses it.", close_unread },
    { "half-close", "shutdown(SHUT_WR) gives the peer an end-of-file; the other direction works on.", half_close },
    { "no-shutdown", "If nobody ends its half, both wait for ever: silence is no end-of-file.", no_shutdown },
    { "dup-close", "close sends no FIN while dup or fork has left another descriptor; shutdown does.", dup_close },
    { "close-wait", "CLOSE_WAIT is over when one's own program closes; the other side has long done so.", half_close },
    { "fin-number", "FIN takes a sequence number, as SYN does: its ACK says that all arrived.", ON_LINUX(fin_number) },
    { "data-after-close", "What comes after close is answered with a reset, and nothing else; after a half-close it is "
      "acknowledged.", ON_LINUX(data_after_close) },
    { "shut-rd", "shutdown(SHUT_RD) ends one's own waiting for input; the peer notices nothing.", shut_rd },
    { "shut-rdwr", "shutdown(SHUT_RDWR) is a close to the peer, but leaves the descriptor open.", shut_rdwr },
    { "time-wait", "The side that sends its FIN first ends in TIME_WAIT.", half_close },
    { "size-rule", "A buffer size asked for is capped, doubled and raised to a floor; it never fails.", size_rule },
    { "no-tuning", "Setting a size switches off the kernel's tuning of it.", no_tuning },
    { "window", "No more is under way than the peer's receive buffer has room for.", window },
    { "zero-window", "A window of zero stops the sender, and a window update starts it again.", ON_LINUX(zero_window) },
    { "optlen", "getsockopt sets optlen to the length of the value.", optlen },
    { "bad-optlen", "With a length for a pointer, getsockopt fails and leaves the value alone.", ON_LINUX(bad_optlen) },
    { "killed-sender", "A sender that is killed looks as if it had finished.", killed },
    { "killed-with-linger", "With SO_LINGER {1,0} on the listener, a killed sender is a reset.", killed },
    { "reset-once", "A reset is told once, after what came before it, if that was no end-of-file.", reset_once },
    { "reuse-flags", "On Linux SO_REUSEADDR | SO_REUSEPORT is 15, which is SO_REUSEPORT.", reuse_flags },
    { "reuse-port", "With SO_REUSEPORT two servers share a port and its clients; SO_REUSEADDR refuses.", reuse_port },
    { "reuse-time-wait", "SO_REUSEADDR lets a server start while an old connection is in TIME_WAIT.", reuse_time_wait },
};

/* Makes an experiment in a process of its own and returns the verdict. */
static int judge(const struct experiment *experiment)
{
    const pid_t child = split();
    int status;

    if (child == 0) {
        alarm(WATCHDOG_SECONDS);
        need(experiment->run != NULL, "all of this, which only Linux shows");
        experiment->run();
        exit(all_as_claimed ? HOLDS : FAILS);
    }
    status = status_of(child);
    printf("    %s\n", status == HOLDS ? "holds" : status == SKIPPED ? "skipped" : "FAILS");
    return status == HOLDS || status == SKIPPED ? status : FAILS;
}

int main(int argc, char *argv[])
{
    const bool lists = argc == 2 && strcmp(argv[1], "-l") == 0;
    int count[SKIPPED + 1] = { 0 }, known = lists, listener;

    begin("claims");
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* what an experiment said before it died is kept */
    if (!lists) {
        supervise((ELEMENTS(experiments) + 1) * WATCHDOG_SECONDS, 0); /* no child of an experiment outlives the run */
        listener = listen_anywhere(0);
        set_option(listener, SO_RCVBUF, SMALL);
        client_of(listener);
        linux_tcp = IS_LINUX && get_option(accept_from(listener), SO_RCVBUF) == get_option(listener, SO_RCVBUF);
    }
    for (const struct experiment *this = experiments; this < experiments + ELEMENTS(experiments); this++) {
        bool wanted = argc == 1 || lists;
        for (char **word = argv + 1; *word != NULL; word++)
            if (strcmp(this->name, *word) == 0) {
                wanted = true;
                known++;
            }
        if (wanted)
            printf("`%s`: %s\n", this->name, this->claim);
        if (wanted && !lists)
            count[judge(this)]++;
    }
    if (known < argc - 1) {
        fprintf(stderr, "claims: not every name is that of a claim\nusage: claims [-l | NAME...]\n");
        return 2;
    }
    if (!lists)
        printf(count[SKIPPED] > 0 ? "%d passed, %d failed, %d skipped\n" : "%d passed, %d failed\n", count[HOLDS],
               count[FAILS], count[SKIPPED]);
    return count[FAILS] == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
