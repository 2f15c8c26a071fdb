/*
 * server.c - sends a file over TCP, closes only its own half of the connection to say "that was all", and waits until
 * the client says that it has the file.
 *
 *     ./server                     in one terminal: sends client.c to whoever connects to 127.0.0.1, port 8080
 *     ./client                     in another: receives it into log.txt
 *
 * Read from top to bottom. After main come the steps of the story in their order: socket, bind, listen, accept, write,
 * shutdown, read, close. You can skip the last two chapters: the file that is sent, and many clients (-k).
 * TCP opens a connection with SYN. FIN says "that was all", RST (a reset) says "this connection is lost".
 *
 * From common.h, which client.c uses too, come print, for the transcript; trace, for -v; warn and die; and the options,
 * as address and port. No call on a socket waits longer than a tick, 100 ms. keep_waiting and may_retry then say whether
 * the other side still has time.
 */
#define PROGRAM "server" /* for common.h: how messages begin */

#include "common.h"

#include <sys/wait.h>
#ifdef __APPLE__
#define st_mtim st_mtimespec /* its name for the time of the last change */
#endif

const char usage[] =
    "usage: server [-kv] [-a ADDRESS] [-b BYTES] [-p PORT] [-t SECONDS] [FILE]\n";
const char help[] =
    "Sends FILE (default client.c) to a client and waits for its acknowledgement.\n"
    "\n"
    "  -a ADDRESS  listen on this address or name, IPv4 or IPv6 (default 127.0.0.1)\n"
    "  -b BYTES    socket buffer size, K and M allowed (default 1025, for lessons).\n"
    "              To move files use -b 0, which lets the kernel choose\n"
    "  -h          show this help\n"
    "  -k          keep serving, many clients at once\n"
    "  -p PORT     listen on this port (default 8080); -p 0: the kernel chooses it\n"
    "  -t SECONDS  give up after so long without progress (default 30); -t 0: never\n"
    "  -v          trace what happens on the socket, on standard error\n"
    "\n"
    "FILE may be a FIFO, a device, or - for standard input: these are read until\n"
    "end-of-file. With -k it must be a regular file.\n"
    "On a terminal, a long transfer shows its progress; TERM=dumb hides it.\n"
    "Exit status: 0 if the client acknowledged the file, 1 if not, 2 usage error.\n";

enum {
    REPLY_MAX = 1025,           /* bytes of a reply that we look at: the first clients padded theirs to so many */
    EXTRA_MAX = 64 * 1024,      /* bytes that we read and drop after the acknowledgement */
    CLIENTS_MAX = 256,          /* served at the same time with -k; the next ones wait in the listen queue */
};

static const char *path;                /* the name of the file to send; - is standard input */
static int source = -1;                 /* that file, open for reading */
static struct stat source_status;       /* what it was when it was opened */
static off_t left_in_file;              /* bytes of it that are still to be read; -1: it is read until end-of-file */
static long client;                     /* the number of the client in what we print */
static char host[64], service[8];       /* an address and port, from address_to_text */
static long times_full;                 /* how often the send buffer was found full, */
static int64_t time_full;               /* and for how long in all */

static int listen_for_clients(void);
static int accept_client(int listener);
static void serve_client(int connection);
static void send_file(int connection);
static void half_close(int connection);
static void read_acknowledgement(int connection);
static void close_connection(int connection);
static void print_place(int listener);
static void check_source(void);
static void open_source(void);
static size_t read_source(int connection, char *block, size_t most);
static void compare_source(void);
static void serve_many(int listener);

int main(int argc, char *argv[])
{
    struct waiting waiting = { 0 };
    int letter, listener, connection;

    start_up();
    while ((letter = getopt(argc, argv, ":a:b:hkp:t:v-:")) != -1)
        if (letter == 'k')
            keep_serving = true;
        else
            shared_option(letter);
    path = file_operand(argc, argv, "client.c");
    check_source();

    listener = listen_for_clients();
    if (place_was_given)
        print_place(listener);
    print("Waiting for connecting");
    if (keep_serving)
        serve_many(listener); /* until a signal ends us */
    while ((connection = accept_client(listener)) < 0)
        if (!keep_waiting(listener, &waiting))
            die(errno, "no client came");
    close(listener); /* nobody else is served: the next client is refused, not left waiting */
    client = connection; /* the descriptor is the client's number */
    serve_client(connection);
    print("Server close");
    return EXIT_SUCCESS;
}

/* ---- The story ------------------------------------------------------------------------------------------------- */

/* Returns a socket that listens on the address WHERE, or -1 with errno set. */
static int listen_on(const struct addrinfo *where)
{
    const int on = 1, off = 0;
    int listener = socket(where->ai_family, where->ai_socktype, where->ai_protocol);

    if (listener < 0)
        return -1;
    set_buffers(listener);

    /* From now on, an early end of this program resets the connections. So a client reads end-of-file only if we got as
     * far as shutdown, which sends FIN without closing. serve_client asks again: not every system hands it on.
     * Connections that the kernel still remembers (TIME_WAIT) shall not block the port. Not SO_REUSEPORT: a second
     * server could then take this port too, and get some of our clients (socket(7)). */
    if (!set_reset_on_close(listener, true) ||
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return close_and_fail(listener);
    if (where->ai_family == AF_INET6) /* the address :: shall take clients that come over IPv4, too (ipv6(7)) */
        (void)setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* OpenBSD cannot */
    if (bind(listener, where->ai_addr, where->ai_addrlen) == 0 && listen(listener, SOMAXCONN) == 0 &&
        fcntl(listener, F_SETFL, O_NONBLOCK) == 0) /* accept_client waits with poll */
        return listener;
    return close_and_fail(listener);
}

/* Returns a socket that listens on the first address for -a and -p that works. Ends the program if none does, and also
 * if the port is taken: a client that tries the addresses in the same order would find another server. */
static int listen_for_clients(void)
{
    struct addrinfo *list = resolve();
    int listener = -1, error = 0;

    for (struct addrinfo *where = list; where != NULL && listener < 0 && error != EADDRINUSE; where = where->ai_next) {
        listener = listen_on(where);
        if (listener < 0 && (error == 0 || errno == EADDRINUSE))
            error = errno; /* of several errors the first is told: getaddrinfo puts the best address first (RFC 6724) */
    }
    freeaddrinfo(list);
    if (listener < 0)
        die(0, "cannot listen on %s port %s%s%s", address, port, reason(error),
            error == EADDRINUSE ? " (-p chooses another port)" : "");
    trace(listener, "listening");
    return listener;
}

/* Writes the address and port in NAME to host and service, in numbers. */
static void address_to_text(const struct sockaddr_storage *name, socklen_t length)
{
    if (getnameinfo((const struct sockaddr *)name, length, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        host[0] = service[0] = '\0';
}

/* Returns the connection of the next client, and its address in host and service, or -1 if after a tick there is none. */
static int accept_client(int listener)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int connection;

    if (!wait_a_tick(listener, POLLIN))
        return -1;
    connection = accept(listener, (struct sockaddr *)&peer, &length);
    if (connection >= 0)
        address_to_text(&peer, length);
    else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        warn(errno, "cannot accept a connection");
        if (!keep_serving)
            exit(EXIT_FAILURE);
        sleep(1); /* others may give some back */
    } else /* the client has already gone (accept(2), "Error handling"), or a firewall refuses: we must not spin */
        (void)wait_a_tick(-1, 0);
    return connection;
}

/* Everything that passes between one client and the server. Ends the program if anything goes wrong. */
static void serve_client(int connection)
{
    (void)set_reset_on_close(connection, true); /* if it fails, the client has already gone */
    set_buffers(connection); /* not every system hands these on either */
    set_timeouts(connection);
    set_keepalive(connection);
    trace(connection, "accepted");
    print("New client：%ld , IP %s , Port %s", client, host, service);
    open_source();
    print("Start to send data '%s' to client %ld", path, client);
    send_file(connection);
    print("Send data done");
    half_close(connection);
    print("Output stream close");
    read_acknowledgement(connection);
    print("%ld：%s", client, acknowledgement);
    close_connection(connection);
}

/* Ends the program, because the connection is lost: ERROR is what the system says about it. */
static _Noreturn void lose_client(int error)
{
    if (error == EPIPE || error == ENOTCONN)
        error = ECONNRESET; /* write and shutdown have names of their own for a connection that was reset */
    die(error, "client %ld did not receive all of '%s'", client, path);
}

/* Writes the LENGTH bytes of DATA to CONNECTION, whose send buffer is full. write waits until there is room for some,
 * and for the rest until a tick is over. Returns how many went in. Ends the program if the client is lost. */
static ssize_t wait_for_room(int connection, const char *data, size_t length)
{
    struct waiting waiting = { 0 };
    int64_t began = microseconds();
    ssize_t count;

    if (times_full++ == 0)
        trace(connection, "the send buffer is full: %zu bytes wait", length);
    while ((count = write(connection, data, length)) < 0)
        if (!may_retry(connection, &waiting))
            lose_client(errno);
    time_full += microseconds() - began;
    if (times_full == 1)
        trace(connection, "%zd more bytes accepted, after %jd microseconds", count, (intmax_t)time_full);
    return count;
}

/* Sends the file. A write returns once the bytes are in the socket's send buffer, long before the client has them. We
 * could leave everything to write: what fits goes in at once, and the writer waits with the rest. To see that happen,
 * we first send what fits without waiting (MSG_DONTWAIT), and wait only when nothing does. */
static void send_file(int connection)
{
    static char block[BLOCK_SIZE];
    size_t most = sizeof block, length;

    /* A write of many times the send buffer would be woken for every acknowledgement, and take half as long again. With
     * -b 0 the kernel lets that buffer grow. */
    if (buffer_size > 0 && buffer_size_of(connection, SO_SNDBUF) < BLOCK_SIZE)
        most = (size_t)buffer_size_of(connection, SO_SNDBUF);
    transfer.began = microseconds();
    transfer.expected = left_in_file;
    while ((length = read_source(connection, block, most)) > 0)
        for (size_t sent = 0; sent < length;) {
            ssize_t count = send(connection, block + sent, length - sent, MSG_DONTWAIT);
            if (count < 0 && (errno == EAGAIN || errno == EINTR)) /* full, or a signal came */
                count = wait_for_room(connection, block + sent, length - sent);
            else if (count < 0)
                lose_client(errno);
            sent += (size_t)count;
            note_progress(connection, count);
        }
    compare_source();
    end_transfer(connection);
    trace(-1, "waits for room: %ld, %.6f s in all", times_full, (double)time_full / 1e6);
}

/* The half-close. It puts a FIN behind the last byte: the client reads the rest of the file and then end-of-file. The
 * other direction stays open, and we can still read what the client says. Nothing else sends FIN before that is here. A
 * plain close would give up both directions, and the reply would meet a reset (shutdown(2); RFC 9293, 3.6.1). */
static void half_close(int connection)
{
    if (shutdown(connection, SHUT_WR) != 0)
        lose_client(errno);
    trace(connection, "half-close: FIN behind the last byte");
}

/* Reads the client's acknowledgement. Until the client's kernel has everything, FIN included, each byte that it
 * acknowledges is progress. After that the client has the time of -t for its whole reply, not for each piece of it.
 * Ends the program if the reply is another, or does not come. */
static void read_acknowledgement(int connection)
{
    struct waiting waiting = { 0 };
    char reply[REPLY_MAX + 1] = "";
    size_t length = 0;
    ssize_t count = -1;
    int error = 0;
    bool has_everything = false; /* the client's kernel */

    while (error == 0 && count != 0 && length < ACKNOWLEDGEMENT_LENGTH && memcmp(reply, acknowledgement, length) == 0) {
        count = read(connection, reply + length, REPLY_MAX - length);
        if (count > 0)
            length += (size_t)count;
        else if (count < 0 && errno != EAGAIN && errno != EINTR)
            error = errno;
        if (!has_everything && unacknowledged(connection) <= 0) { /* also if the system does not tell */
            has_everything = true;
            waiting = (struct waiting){ 0 };
            if (count < 0) /* or the answer, or its beginning, is already here */
                trace(connection, "waits for the answer, and can still hear it");
        }
        if (error == 0 && !keep_waiting(connection, &waiting))
            error = errno;
    }
    if (memcmp(reply, acknowledgement, ACKNOWLEDGEMENT_LENGTH) != 0) {
        print_line(STDERR_FILENO, true, PROGRAM ": ", reason(error), length == 0 ?
                   "client %ld did not acknowledge the file" : "client %ld did not acknowledge the file, it said '%s'",
                   client, reply); /* up to its first NUL */
        exit(EXIT_FAILURE);
    }
    trace(connection, "acknowledgement received");
}

/* Closes CONNECTION. All has been said and heard, so close need not reset it any more. With something unread it still
 * would (RFC 2525, 2.17), so we first read and drop what else the client sends: other programs may pad their reply, or
 * end it with a newline. This courtesy takes a second at most, however much progress the client makes. */
static void close_connection(int connection)
{
    const int64_t end = microseconds() + SECOND;
    char extra[4096];
    size_t dropped = 0;
    ssize_t count = -1;

    (void)set_reset_on_close(connection, false); /* if that fails, the client sees a reset, too late to matter */
    while (count != 0 && dropped < EXTRA_MAX && microseconds() < end) {
        count = read(connection, extra, sizeof extra);
        if (count < 0 && errno != EAGAIN && errno != EINTR)
            break;
        if (count > 0)
            dropped += (size_t)count;
    }
    trace(connection, count == 0 ? "end-of-file: the client has closed too" : "no end-of-file from the client");
    close(connection);
    trace(-1, "closed");
}

/* Says where LISTENER listens: the kernel may have chosen the port. */
static void print_place(int listener)
{
    struct sockaddr_storage here;
    socklen_t length = sizeof here;

    if (getsockname(listener, (struct sockaddr *)&here, &length) != 0)
        die(errno, "cannot find out the port");
    address_to_text(&here, length);
    warn(0, "listening on %s port %s", host, service);
}

/* ---- The file that is sent ------------------------------------------------------------------------------------- */

/* Refuses a file that cannot be sent before anybody waits for it. What it is may be known without opening it: a FIFO's
 * writer would see it opened and closed again. */
static void check_source(void)
{
    struct stat status;
    bool found;

    if (strcmp(path, "-") == 0)
        source = STDIN_FILENO;
    if (source == STDIN_FILENO && was_closed[STDIN_FILENO])
        die(EBADF, "cannot send '%s'", path);
    if (source == STDIN_FILENO)
        found = fstat(source, &status) == 0;
    else /* may we read it, as the user for whom open will look (faccessat(2), AT_EACCESS)? */
        found = stat(path, &status) == 0 && faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;
    if (!found)
        die(errno, "cannot send '%s'", path);
    if (S_ISDIR(status.st_mode))
        die(EISDIR, "cannot send '%s'", path);
    if (S_ISSOCK(status.st_mode) && source != STDIN_FILENO)
        die(ENXIO, "cannot send '%s'", path);
    if (keep_serving && (!S_ISREG(status.st_mode) || source == STDIN_FILENO))
        die(0, "cannot send '%s' with -k, which needs the name of a regular file", path);
}

/* Opens the file, only now that there is a client. A regular file is sent at its present length. Anything else is read
 * until end-of-file: a pipe, a device, standard input, or a file in /proc, which claims to be empty but is not. */
static void open_source(void)
{
    /* O_NONBLOCK: opening a FIFO does not wait for its writer. read_source waits, and notices if the client leaves
     * meanwhile. But open has to wait while somebody has a lease on the file (fcntl(2), F_SETLEASE). */
    if (source < 0)
        source = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (source < 0 && errno == EAGAIN)
        source = open(path, O_RDONLY | O_NOCTTY);
    if (source < 0 || fstat(source, &source_status) != 0)
        die(errno, "cannot open '%s'", path);
    if (keep_serving && !S_ISREG(source_status.st_mode))
        die(0, "'%s' is no longer a regular file", path);
    left_in_file = -1;
    if (S_ISREG(source_status.st_mode) && source_status.st_size > 0 && source != STDIN_FILENO)
        left_in_file = source_status.st_size;
}

/* Reads the next bytes of the file into BLOCK, MOST of them at most, and waits for a silent pipe as long as it takes.
 * Returns how many, 0 at the end of the file. Ends the program if CONNECTION is lost meanwhile. */
static size_t read_source(int connection, char *block, size_t most)
{
    ssize_t count = -1;
    bool ready = false;

    if (left_in_file >= 0 && left_in_file < (off_t)most)
        most = (size_t)left_in_file;
    while (count < 0) {
        ready = wait_a_tick(source, POLLIN); /* without this, a FIFO without a writer would seem to be at its end */
        if (ready)
            count = read(source, block, most);
        if (ready && count < 0 && errno != EAGAIN && errno != EINTR)
            die(errno, "cannot read '%s'", path);
        if (ready && count < 0)
            (void)wait_a_tick(-1, 0); /* poll said ready in vain: we must not spin */
        /* Is the connection still there? A send of 0 bytes sends nothing, but after a reset it fails. */
        if (!ready && send(connection, block, 0, MSG_DONTWAIT) < 0 && errno != EAGAIN)
            lose_client(errno);
        show_progress();
    }
    if (left_in_file > 0)
        left_in_file -= count;
    return (size_t)count;
}

/* Ends the program if the file had fewer bytes than it claimed to have. Warns if it was written to meanwhile. */
static void compare_source(void)
{
    const intmax_t size = source_status.st_size;
    struct stat now;

    if (left_in_file < 0)
        return;
    if (left_in_file > 0)
        die(0, "'%s' is %jd bytes short of its %jd (if its size is not real, pipe it in)", path,
            (intmax_t)left_in_file, size);
    if (fstat(source, &now) != 0)
        die(errno, "cannot tell whether '%s' has changed", path);
    if (now.st_size != size || now.st_mtim.tv_sec != source_status.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != source_status.st_mtim.tv_nsec)
        warn(0, "'%s' was written to while it was being sent", path);
}

/* ---- Many clients at once: -k ---------------------------------------------------------------------------------- */

/* Serves each client in a process of its own, which does just what the server for one client does. A signal to this
 * process alone ends it, and its children finish; Ctrl-C in a terminal goes to all of them. */
static void serve_many(int listener)
{
    int children = 0, connection, status;
    pid_t child;

    for (;;) {
        while (children > 0 && waitpid(-1, &status, children < CLIENTS_MAX ? WNOHANG : 0) > 0) {
            children--;
            if (WIFSIGNALED(status)) /* any other end a child can tell itself */
                warn(0, "a client's process was ended by signal %d: %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
        }
        connection = accept_client(listener);
        if (connection < 0)
            continue; /* nobody has come: look after the children again */
        client = client == 0 ? connection : client + 1; /* each has a number of its own */
        child = fork();
        if (child == 0) {
            close(listener);
            snprintf(trace_name, sizeof trace_name, PROGRAM "[%ld]", client);
            serve_client(connection);
            exit(EXIT_SUCCESS);
        }
        if (child < 0) {
            warn(errno, "no process for client %ld, which is turned away", client);
            (void)set_reset_on_close(connection, true);
        } else
            children++;
        close(connection); /* a child still has it open */
    }
}
