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
 * print writes the transcript: the story in a few lines, on standard output. Its wording is kept as it always was, odd
 * as it is in places. trace writes what happens on the socket, on standard error, if the user wants that (-v). Both
 * come from common.h, which client.c uses too, and so do warn, die, and the options, such as address and port. No call
 * on a socket waits longer than a tick, 100 ms. keep_waiting and may_retry then say whether the other side still has
 * time.
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
    REPLY_MAX = 1025,           /* bytes of a reply that we look at: the oldest clients padded theirs to this length */
    EXTRA_MAX = 64 * 1024,      /* bytes that we read and drop after the acknowledgement */
    CLIENTS_MAX = 256,          /* served at the same time with -k; the next ones wait in the listen queue */
};

static const char *path;                /* the name of the file to send; - is standard input */
static int source = -1;                 /* that file, open for reading */
static struct stat source_status;       /* its size and date when it was opened */
static off_t left_in_file;              /* bytes of it that are still to be read; -1: it is read until end-of-file */
static long client_number;              /* in what we print; 0: there was no client yet */
static char host[64], service[8];       /* address_to_text writes an address and a port here */

static int listen_for_clients(void);
static int accept_client(int listener);
static void serve_client(int connection);
static void send_file(int connection);
static void half_close(int connection);
static void read_acknowledgement(int connection);
static void close_connection(int connection);
static void print_address(int listener);
static void check_source(void);
static void open_source(void);
static size_t read_source(int connection, char *block, size_t size);
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
    if (address_was_given)
        print_address(listener);
    print("Waiting for connecting");
    if (keep_serving)
        serve_many(listener); /* until a signal ends us */
    while ((connection = accept_client(listener)) < 0)
        if (!keep_waiting(listener, &waiting))
            die(errno, "no client came");
    close(listener); /* nobody else is served: the next client is refused, not left waiting */
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

    /* On most systems, an accepted socket inherits this. So if this program ends early, its kernel resets the
     * connection to each client. A client reads end-of-file only if we get as far as shutdown, which sends FIN without
     * closing. Some systems do not hand it on, so serve_client sets it again. */
    if (!set_reset_on_close(listener, true))
        return close_and_fail(listener);

    /* Old connections in TIME_WAIT must not block the port. Not SO_REUSEPORT: a second server could then take this port
     * as well, and get some of our clients (socket(7)). */
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return close_and_fail(listener);
    if (where->ai_family == AF_INET6) /* the address :: shall take clients that come over IPv4, too (ipv6(7)) */
        (void)setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* OpenBSD cannot */

    if (bind(listener, where->ai_addr, where->ai_addrlen) != 0 || listen(listener, SOMAXCONN) != 0 ||
        fcntl(listener, F_SETFL, O_NONBLOCK) != 0) /* accept must not wait: accept_client does, with poll */
        return close_and_fail(listener);
    return listener;
}

/* Returns a socket that listens on the first address for -a and -p that works. Ends the program if none does. If the
 * port is taken on one address (EADDRINUSE), the next one is not tried: a client tries the taken address first, and
 * would reach the program that holds it. */
static int listen_for_clients(void)
{
    struct addrinfo *list = resolve();
    int listener = -1, error = 0;

    for (struct addrinfo *where = list; where != NULL && listener < 0 && error != EADDRINUSE; where = where->ai_next) {
        listener = listen_on(where);
        /* We tell that the port is taken, or else the first error: the best address comes first (RFC 6724). */
        if (listener < 0 && (error == 0 || errno == EADDRINUSE))
            error = errno;
    }
    freeaddrinfo(list);
    if (listener < 0)
        die(0, "cannot listen on %s port %s%s%s", address, port, reason(error),
            error == EADDRINUSE ? " (-p chooses another port)" : "");
    trace(listener, "listening");
    return listener;
}

/* Writes the address and the port of WHERE, as numbers, to host and service. */
static void address_to_text(const struct sockaddr_storage *where, socklen_t length)
{
    if (getnameinfo((const struct sockaddr *)where, length, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        host[0] = service[0] = '\0';
}

/* Returns the connection of the next client, and sets its number, host and service. Returns -1 if nobody came for a
 * tick, or if accept failed. Without -k, ends the program if there are no descriptors or no memory for a client. */
static int accept_client(int listener)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int connection;

    if (!ready_within_a_tick(listener, POLLIN))
        return -1;
    connection = accept(listener, (struct sockaddr *)&peer, &length);
    if (connection >= 0) {
        /* The first has the number of its descriptor: 0 to 2 are the standard ones, and 3 is the listener. */
        client_number = client_number == 0 ? connection : client_number + 1;
        address_to_text(&peer, length);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        warn(errno, "cannot accept a connection");
        if (!keep_serving)
            exit(EXIT_FAILURE);
        sleep(1); /* others may give some back */
    } else
        pause_a_tick(); /* the client has gone again, or a firewall refuses it (accept(2), "Error handling") */
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
    print("New client：%ld , IP %s , Port %s", client_number, host, service);
    open_source();
    print("Start to send data '%s' to client %ld", path, client_number);
    send_file(connection);
    print("Send data done");
    half_close(connection);
    print("Output stream close");
    read_acknowledgement(connection);
    print("%ld：%s", client_number, acknowledgement);
    close_connection(connection);
}

/* Ends the program because the connection is lost. ERROR is the errno value of the call that noticed. */
static _Noreturn void lose_client(int error)
{
    if (error == EPIPE || error == ENOTCONN)
        error = ECONNRESET; /* what write and shutdown call EPIPE and ENOTCONN is a reset as well */
    die(error, "client %ld did not receive all of '%s'", client_number, path);
}

/* send_file, below, calls this when the send buffer of CONNECTION is full and LENGTH bytes of DATA are left. Repeats
 * write until at least one byte has gone in, and returns how many did. One write waits a tick at most, and fails with
 * EAGAIN if nothing has gone in by then. Ends the program if the client is lost. */
static ssize_t wait_for_room(int connection, const char *data, size_t length)
{
    static bool traced; /* the first time is enough */
    struct waiting waiting = { 0 };
    ssize_t count;

    if (!traced)
        trace(connection, "the send buffer is full: %zu bytes left", length);
    while ((count = write(connection, data, length)) < 0)
        if (!may_retry(connection, &waiting))
            lose_client(errno);
    if (!traced)
        trace(connection, "%zd more bytes accepted", count);
    traced = true;
    return count;
}

/* Sends the file. A write returns once the bytes are in the socket's send buffer, long before the client has them. We
 * could leave everything to write: what fits goes in at once, and the writer waits with the rest. To see that happen,
 * we first use send. It is a write with flags, and with MSG_DONTWAIT it returns at once. Only when nothing fits, we
 * wait. */
static void send_file(int connection)
{
    static char block[BLOCK_SIZE];
    size_t block_size = sizeof block, length;

    /* With -b 0 the kernel lets the send buffer grow. With a small one that does not, a write of a large block would be
     * woken for every ACK. A block of twice the buffer was the fastest when it was measured for many sizes. */
    if (buffer_size > 0 && buffer_size_of(connection, SO_SNDBUF) < BLOCK_SIZE / 2)
        block_size = 2 * (size_t)buffer_size_of(connection, SO_SNDBUF);
    transfer.began = microseconds();
    transfer.expected = left_in_file;
    while ((length = read_source(connection, block, block_size)) > 0)
        for (size_t sent = 0; sent < length;) {
            ssize_t count = send(connection, block + sent, length - sent, MSG_DONTWAIT);
            if (count < 0 && (errno == EAGAIN || errno == EINTR)) /* full, or a signal came */
                count = wait_for_room(connection, block + sent, length - sent);
            else if (count < 0)
                lose_client(errno);
            sent += (size_t)count;
            note_progress(connection, count);
        }
    end_transfer(connection);
    compare_source(); /* before the half-close: if the file was too short, the client must see a reset */
}

/* The half-close. It puts a FIN behind the last byte: the client reads the rest of the file and then end-of-file. The
 * other direction stays open, and we can still read the client's answer (shutdown(2); RFC 9293, 3.6.1). Until the
 * answer is here, nothing but this shutdown sends FIN. A close would send RST, and so does our kernel if we crash. */
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
    ssize_t count;
    int error = 0;
    bool all_delivered = false; /* to the client's kernel */

    while (length < ACKNOWLEDGEMENT_LENGTH && memcmp(reply, acknowledgement, length) == 0) {
        count = read(connection, reply + length, REPLY_MAX - length);
        if (count < 0 && errno != EAGAIN && errno != EINTR)
            error = errno;
        if (count == 0 || error != 0)
            break;
        if (count > 0)
            length += (size_t)count;
        if (!all_delivered && unacknowledged(connection) <= 0) { /* -1, too: the system does not tell */
            all_delivered = true;
            waiting = (struct waiting){ 0 };
            if (count < 0) /* the answer has not come together with the ACK of the FIN */
                trace(connection, "waits for the answer, and can still hear it");
        }
        if (!keep_waiting(connection, &waiting)) {
            error = errno;
            break;
        }
    }
    if (memcmp(reply, acknowledgement, ACKNOWLEDGEMENT_LENGTH) != 0) {
        print_line(STDERR_FILENO, true, PROGRAM ": ", reason(error), length == 0 ?
                   "client %ld did not acknowledge the file" : "client %ld did not acknowledge the file, it said '%s'",
                   client_number, reply); /* up to its first NUL */
        exit(EXIT_FAILURE);
    }
    trace(connection, "acknowledgement received");
}

/* Closes CONNECTION. All has been said and heard, so close need not send RST any more. With unread bytes it still would
 * (RFC 2525, 2.17). So we first read and drop what follows the acknowledgement: other programs may pad their reply, or
 * end it with a newline. This takes a second at most, however much the client sends. */
static void close_connection(int connection)
{
    const int64_t end = microseconds() + SECOND;
    char extra[4096];
    size_t dropped = 0;
    ssize_t count = -1;

    (void)set_reset_on_close(connection, false); /* if this fails, the client sees a reset, too late to matter */
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
static void print_address(int listener)
{
    struct sockaddr_storage here;
    socklen_t length = sizeof here;

    if (getsockname(listener, (struct sockaddr *)&here, &length) != 0)
        die(errno, "cannot find out the port");
    address_to_text(&here, length);
    warn(0, "listening on %s port %s", host, service);
}

/* ---- The file that is sent ------------------------------------------------------------------------------------- */

/* Ends the program if the file cannot be sent, before any client waits for it. Does not open the file: the writer of a
 * FIFO would see it opened and closed again. */
static void check_source(void)
{
    struct stat status;

    if (strcmp(path, "-") == 0) {
        source = STDIN_FILENO;
        if (was_closed[STDIN_FILENO])
            die(EBADF, "cannot send '%s'", path);
        if (fstat(source, &status) != 0)
            die(errno, "cannot send '%s'", path);
    } else if (stat(path, &status) != 0 || faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0) /* as open asks */
        die(errno, "cannot send '%s'", path);
    else if (S_ISSOCK(status.st_mode))
        die(ENXIO, "cannot send '%s'", path);
    if (S_ISDIR(status.st_mode))
        die(EISDIR, "cannot send '%s'", path);
    if (keep_serving && (source == STDIN_FILENO || !S_ISREG(status.st_mode)))
        die(0, "cannot send '%s' with -k, which needs the name of a regular file", path);
}

/* Opens the file, now that there is a client. A regular file is sent at its present length. Anything else is read until
 * end-of-file: a pipe, a device, standard input, or a file in /proc, which claims to be empty but is not. Ends the
 * program if that fails. */
static void open_source(void)
{
    /* With O_NONBLOCK, opening a FIFO does not wait for its writer. read_source waits, and watches the client. */
    if (source < 0)
        source = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (source < 0 && errno == EAGAIN) /* somebody has a lease on the file, which ends soon (fcntl(2), F_SETLEASE) */
        source = open(path, O_RDONLY | O_NOCTTY);
    if (source < 0 || fstat(source, &source_status) != 0)
        die(errno, "cannot open '%s'", path);
    if (keep_serving && !S_ISREG(source_status.st_mode))
        die(0, "'%s' is no longer a regular file", path);
    left_in_file = -1;
    if (S_ISREG(source_status.st_mode) && source_status.st_size > 0 && source != STDIN_FILENO)
        left_in_file = source_status.st_size;
}

/* Reads the next bytes of the file into BLOCK, SIZE of them at most, and waits for a silent pipe as long as it takes.
 * Returns how many, 0 at the end of the file. Ends the program if the file cannot be read, or CONNECTION is lost. */
static size_t read_source(int connection, char *block, size_t size)
{
    ssize_t count = -1;

    if (left_in_file >= 0 && left_in_file < (off_t)size)
        size = (size_t)left_in_file;
    while (count < 0) {
        show_progress();
        if (!ready_within_a_tick(source, POLLIN)) { /* a read of a FIFO that has had no writer yet would return 0 */
            /* A probe: a send of 0 bytes sends nothing, but fails if the connection has been reset. */
            if (send(connection, block, 0, MSG_DONTWAIT) < 0 && errno != EAGAIN)
                lose_client(errno);
        } else if ((count = read(source, block, size)) < 0) {
            if (errno != EAGAIN && errno != EINTR)
                die(errno, "cannot read '%s'", path);
            pause_a_tick(); /* poll said ready in vain */
        }
    }
    if (left_in_file > 0)
        left_in_file -= count;
    return (size_t)count;
}

/* Compares a regular file with what it was when it was opened. Ends the program if it had fewer bytes. Warns if
 * somebody has written to it meanwhile. */
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

/* Serves each client in a child process, which does what the server for one client does. Never returns: a signal ends
 * it. A signal to this process alone lets the children finish. Ctrl-C in a terminal goes to the children, too. */
static void serve_many(int listener)
{
    int children = 0, connection, status;
    pid_t child;

    for (;;) {
        /* Forget the children that have ended. If there are too many, wait until one has. */
        while (waitpid(-1, &status, children < CLIENTS_MAX ? WNOHANG : 0) > 0) {
            children--;
            if (WIFSIGNALED(status)) /* of any other end, the child itself tells */
                warn(0, "a child process was ended by signal %d: %s", WTERMSIG(status), strsignal(WTERMSIG(status)));
        }
        connection = accept_client(listener);
        if (connection < 0)
            continue; /* nobody has come: look after the children again */
        child = fork();
        if (child == 0) {
            close(listener);
            snprintf(trace_name, sizeof trace_name, PROGRAM "[%ld]", client_number);
            serve_client(connection);
            exit(EXIT_SUCCESS);
        }
        if (child < 0) {
            warn(errno, "no process for client %ld, which is turned away", client_number);
            (void)set_reset_on_close(connection, true);
        } else
            children++;
        close(connection); /* a child still has it open */
    }
}
