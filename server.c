/*
 * server.c - sends a file over TCP, closes only its own half of the connection to say "that was all", and waits until
 * the client says that it has the file.
 *
 *     ./server                     in one terminal: sends client.c to whoever connects to 127.0.0.1, port 8080
 *     ./client                     in another: receives it into log.txt
 *
 * Read from top to bottom: after main come the steps of the story in their order: socket, bind, listen, accept, write
 * (or send), shutdown, read, close. TCP says SYN to begin a connection, FIN for "that was all", RST (reset) for "lost".
 * You can skip the last two chapters, about the file that is sent (open_source, read_source) and many clients (-k).
 *
 * From common.h, which client.c uses too, come print, for the transcript; trace, for -v; warn and die; the options, as
 * address and port; transfer, which counts the bytes; and the tick, 100 ms, the longest wait in one call on a socket.
 */
#define PROGRAM "server" /* for common.h: how messages begin */

#include "common.h"

#include <sys/wait.h>
#ifdef __APPLE__
#define st_mtim st_mtimespec /* its name for the time of the last change */
#endif

const char help[] =
    "usage: server [-kv] [-a ADDRESS] [-b BYTES] [-p PORT] [-t SECONDS] [FILE]\n"
    "Sends FILE (client.c) to a client, and waits for its acknowledgement.\n"
    "\n"
    "  -a ADDRESS  address or name to listen on, IPv4 or IPv6 (127.0.0.1)\n"
    "  -b BYTES    size to ask for, for both buffers (K, M); 0: ask for none (1025)\n"
    "  -h          show this help\n"
    "  -k          keep serving, many clients at once\n"
    "  -p PORT     port to listen on; with 0 the kernel chooses one (8080)\n"
    "  -t SECONDS  give up after so long without progress; 0 never gives up (30)\n"
    "  -v          trace what happens on the socket, on standard error\n"
    "\n"
    "FILE may also be a FIFO, a device, or - for standard input: these are\n"
    "sent to their end. With -k it must be a regular file.\n"
    "Exit status: 0 if the client acknowledged the file, 1 if not, 2 usage error.\n";

enum {
    REPLY_MAX = 1025,           /* bytes of a reply that we look at: some clients pad theirs to so many */
    CLIENTS_MAX = 256,          /* served at the same time with -k; the next ones wait in the listen queue */
};

static const char *path;                /* the name of the file to send; - is standard input */
static int source = -1;                 /* that file, open for reading */
static struct stat source_status;       /* what it was when it was opened */
static off_t left_in_file;              /* bytes of it that are still to be read; -1 if it is sent to its end */
static long client;                     /* the number of the client in what we print */
static char host[64], service[8];       /* address and port, from address_to_text */
static long times_full;                 /* how often the send buffer was found full, */
static int64_t time_full;               /* and for how long in all */

static int listen_for_clients(void);
static int accept_client(int listener);
static void serve_client(int connection);
static void send_file(int connection);
static void half_close(int connection);
static void hear_acknowledgement(int connection);
static void hang_up(int connection);
static void tell_place(int listener);
static void check_source(void);
static void open_source(void);
static size_t read_source(int connection, char block[BLOCK_SIZE]);
static void compare_source(void);
static void serve_many(int listener);

int main(int argc, char *argv[])
{
    int listener, connection;

    start_up();
    while (read_options(argc, argv, ":a:b:hkp:t:v") == 'k')
        keep_serving = true;
    path = file_operand(argc, argv, "client.c");
    check_source();

    listener = listen_for_clients();
    if (place_was_given)
        tell_place(listener);
    print("Waiting for connecting");
    if (keep_serving)
        serve_many(listener); /* until a signal ends us */
    while ((connection = accept_client(listener)) < 0)
        if (!has_time_left(listener))
            die(errno, "no client came");
    close(listener); /* nobody else is served: the next client is refused, not left waiting */
    client = connection; /* the descriptor is the client's number */
    serve_client(connection);
    print("Server close");
    return EXIT_SUCCESS;
}

/* ---- The story ------------------------------------------------------------------------------------------------- */

/* Tries the addresses for -a and -p in turn, and returns a socket that listens on the first that works. A port that is
 * taken is an error: a client that tries the addresses in the same order would find another server.
 * When a program dies, its kernel closes its connections, and to the client that looks like the end of the file. We
 * have every close send a reset instead, until fin_on_close is called. So the client reads end-of-file only if we got
 * as far as shutdown, which sends FIN without closing. After an error, a signal or a crash it sees an error. */
static int listen_for_clients(void)
{
    const int on = 1;
    struct addrinfo *list = resolve();
    int listener = -1, error = 0;

    for (struct addrinfo *where = list; where != NULL && listener < 0 && error != EADDRINUSE; where = where->ai_next) {
        listener = socket(where->ai_family, where->ai_socktype, where->ai_protocol);
        if (listener >= 0)
            set_buffers(listener);

        /* SO_REUSEADDR: old connections that the kernel still remembers (TIME_WAIT) do not block the port. Not
         * SO_REUSEPORT: a second server could then take this port too, and get some of our clients (socket(7)). */
        if (listener < 0 ||
            !reset_on_close(listener) || /* on most systems accept hands this on to the connection */
            fcntl(listener, F_SETFL, O_NONBLOCK) != 0 || /* accept_client waits with poll */
            setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
            bind(listener, where->ai_addr, where->ai_addrlen) != 0 ||
            listen(listener, SOMAXCONN) != 0) {
            error = errno == EADDRINUSE ? errno : more_telling(error, errno);
            if (listener >= 0)
                close(listener);
            listener = -1;
        }
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

/* Returns the connection of the next client, with its address in host and service, or -1 if after a tick there is
 * none. Most errors of accept say that the client has already gone (accept(2), "Error handling"). */
static int accept_client(int listener)
{
    static bool again; /* poll has said that a client is there, but accept did not get one */
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int connection;

    again = wait_a_tick(listener, POLLIN, again);
    if (!again)
        return -1;
    connection = accept(listener, (struct sockaddr *)&peer, &length);
    again = connection < 0;
    if (!again) {
        (void)reset_on_close(connection); /* if accept did not hand it on; it fails if the client has gone */
        address_to_text(&peer, length);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        warn(errno, "cannot accept a connection");
        if (!keep_serving)
            exit(EXIT_FAILURE);
        sleep(1); /* others may give some back */
    }
    return connection;
}

/* Everything that passes between one client and the server. Ends the program if anything goes wrong. */
static void serve_client(int connection)
{
    set_buffers(connection); /* again, in case accept does not hand it on */
    set_waits(connection);
    trace(connection, "accepted");
    print("New client：%ld , IP %s , Port %s", client, host, service);
    open_source();
    print("Start to send data '%s' to client %ld", path, client);
    send_file(connection);
    print("Send data done");
    half_close(connection);
    print("Output stream close");
    hear_acknowledgement(connection);
    print("%ld：%s", client, acknowledgement);
    hang_up(connection);
}

/* Writes the LENGTH bytes of DATA to CONNECTION, whose send buffer is full: waits in write until some have gone in, and
 * for the rest until the end of a tick. Returns how many went in, or -1 with errno set. */
static ssize_t wait_for_room(int connection, const char *data, size_t length)
{
    int64_t began = microseconds();
    ssize_t count;

    if (times_full++ == 0)
        trace(connection, "the send buffer is full: %zu bytes wait", length);
    while ((count = write(connection, data, length)) < 0)
        if (!may_retry(connection))
            return -1;
    time_full += microseconds() - began;
    if (times_full == 1)
        trace(connection, "%zd more are in, after %jd microseconds", count, (intmax_t)time_full);
    return count;
}

/* Sends the file. A write returns once the bytes are in the socket's send buffer, long before the client has them. We
 * could leave everything to write: what fits goes in at once, and the writer waits with the rest. To see that happen,
 * we first ask send for what fits (MSG_DONTWAIT), and only when nothing does we wait. */
static void send_file(int connection)
{
    static char block[BLOCK_SIZE];
    size_t length;
    ssize_t count;

    transfer.began = microseconds();
    transfer.expected = left_in_file;
    while ((length = read_source(connection, block)) > 0)
        for (size_t sent = 0; sent < length; sent += (size_t)count) {
            count = send(connection, block + sent, length - sent, MSG_DONTWAIT);
            if (count < 0 && (errno == EAGAIN || errno == EINTR)) /* full, or a signal came */
                count = wait_for_room(connection, block + sent, length - sent);
            if (count < 0)
                die(errno, "client %ld did not take all of '%s'", client, path);
            note_progress(connection, count);
        }
    compare_source();
    end_transfer(connection);
    trace(-1, "waits for room: %ld, %.6f s in all", times_full, (double)time_full / 1e6);
}

/* The half-close. It puts a FIN behind the last byte: the client reads the rest of the file and then end-of-file. The
 * other direction stays open, and we can still read what the client says. Nothing else sends FIN before that is heard.
 * A plain close would give up both directions, and the answer would meet a reset (shutdown(2); RFC 9293, 3.6.1). */
static void half_close(int connection)
{
    if (shutdown(connection, SHUT_WR) != 0)
        die(errno, "client %ld did not take all of '%s'", client, path);
    trace(connection, "half-close: FIN behind the last byte");
}

/* Returns once the client's acknowledgement is here. Until the client's kernel has everything, FIN included, every byte
 * that it confirms is progress. After that the client has -t for its whole reply. */
static void hear_acknowledgement(int connection)
{
    char reply[REPLY_MAX + 1] = "";
    size_t length = 0;
    ssize_t count = 0;
    bool has_everything = false; /* the client's kernel */

    while (length < ACKNOWLEDGEMENT_LENGTH && memcmp(reply, acknowledgement, length) == 0) { /* not wrong yet */
        count = read(connection, reply + length, REPLY_MAX - length);
        if (count > 0)
            length += (size_t)count;
        else if (count == 0 || !may_retry(connection))
            break;
        else if (!has_everything && send_queue(connection) <= 0) {
            has_everything = true;
            waiting_since = 0;
            trace(connection, "waits for the answer, and can still hear it");
        }
    }
    if (length < ACKNOWLEDGEMENT_LENGTH || memcmp(reply, acknowledgement, ACKNOWLEDGEMENT_LENGTH) != 0) {
        print_line(STDERR_FILENO, true, PROGRAM ": ", reason(count < 0 ? errno : 0), length == 0 ?
                   "client %ld did not acknowledge the file" : "client %ld did not acknowledge the file, it said '%s'",
                   client, reply); /* up to its first NUL */
        exit(EXIT_FAILURE);
    }
    trace(connection, "acknowledgement received");
}

/* Closes CONNECTION. All has been said and heard, so close need not reset it any more. With something unread it still
 * would (RFC 2525, 2.17), so we first read and drop what else the client sends: other programs may pad their reply, or
 * end it with a newline. This courtesy takes a second at most, however much progress the client makes. */
static void hang_up(int connection)
{
    static char rest[64 * 1024];
    int64_t end = microseconds() + SECOND;
    size_t dropped = 0;
    ssize_t count;

    (void)fin_on_close(connection); /* if it fails, the client sees a reset, too late to matter */
    waiting_since = 0;
    do {
        count = read(connection, rest, sizeof rest - dropped);
        dropped += count > 0 ? (size_t)count : 0;
    } while (dropped < sizeof rest && microseconds() < end && (count > 0 || (count < 0 && may_retry(connection))));
    trace(connection, count == 0 ? "end-of-file: the client has closed too" : "no end-of-file from the client");
    close(connection);
    trace(-1, "closed");
}

/* Says where LISTENER listens: the kernel may have chosen the port. */
static void tell_place(int listener)
{
    struct sockaddr_storage here;
    socklen_t length = sizeof here;

    if (getsockname(listener, (struct sockaddr *)&here, &length) != 0)
        die(errno, "cannot find out the port");
    address_to_text(&here, length);
    warn(0, "listening on %s port %s", host, service);
}

/* ---- The file that is sent ------------------------------------------------------------------------------------- */

/* Refuses a file that cannot be sent before anybody waits for it. */
static void check_source(void)
{
    struct stat status;

    if (strcmp(path, "-") == 0)
        source = STDIN_FILENO;
    if (source >= 0 && was_closed[STDIN_FILENO])
        die(EBADF, "cannot send '%s'", path);
    if (source >= 0 ? fstat(source, &status) != 0 : stat(path, &status) != 0 || access(path, R_OK) != 0)
        die(errno, "cannot send '%s'", path);
    if (S_ISDIR(status.st_mode) || (S_ISSOCK(status.st_mode) && source < 0))
        die(S_ISDIR(status.st_mode) ? EISDIR : ENXIO, "cannot send '%s'", path);
    if (keep_serving && (!S_ISREG(status.st_mode) || source >= 0))
        die(0, "cannot send '%s' with -k, which needs the name of a regular file", path);
}

/* Opens the file, only now that there is a client. A regular file is sent at its present length; anything else to its
 * end: a pipe, a device, standard input, or a file in /proc, which claims to be empty but is not. */
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

/* Reads the next bytes of the file into BLOCK, and waits for a silent pipe as long as it takes. Returns how many, 0 at
 * the end of the file. Ends the program if CONNECTION is lost meanwhile. */
static size_t read_source(int connection, char block[BLOCK_SIZE])
{
    size_t most = left_in_file >= 0 && left_in_file < BLOCK_SIZE ? (size_t)left_in_file : BLOCK_SIZE;
    ssize_t count = -1;
    bool ready = false;

    while (count < 0) {
        ready = wait_a_tick(source, POLLIN, ready); /* or a FIFO without a writer would seem to be at its end */
        if (ready)
            count = read(source, block, most);
        else if (send(connection, block, 0, MSG_DONTWAIT) < 0 && errno != EAGAIN)
            die(errno, "client %ld did not take all of '%s'", client, path);
        if (ready && count < 0 && errno != EAGAIN && errno != EINTR)
            die(errno, "cannot read '%s'", path);
        show_progress();
    }
    if (left_in_file > 0)
        left_in_file -= count;
    return (size_t)count;
}

/* Warns if the file was written to meanwhile, and ends the program if it had fewer bytes than it claimed to have. */
static void compare_source(void)
{
    const intmax_t size = source_status.st_size;
    struct stat now;

    if (left_in_file < 0)
        return;
    if (fstat(source, &now) != 0)
        die(errno, "cannot tell whether '%s' has changed", path);
    if (left_in_file > 0)
        die(0, "'%s' lacks %jd of its %jd bytes (if it never had them, a pipe can send it)", path,
            (intmax_t)left_in_file, size);
    if (now.st_size != size || now.st_mtim.tv_sec != source_status.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != source_status.st_mtim.tv_nsec)
        warn(0, "'%s' was written to while it was being sent", path);
}

/* ---- Many clients at once: -k ---------------------------------------------------------------------------------- */

/* Serves each client in a process of its own, which does just what the server for one client does. A signal to this
 * process alone ends it, and its children finish; Ctrl-C in a terminal goes to all of them. */
static void serve_many(int listener)
{
    int children = 0, connection;
    pid_t child;

    for (;;) {
        while (children > 0 && waitpid(-1, NULL, children < CLIENTS_MAX ? WNOHANG : 0) > 0)
            children--;
        connection = accept_client(listener);
        if (connection < 0)
            continue; /* nobody has come: look after the children again */
        client = client == 0 ? connection : client + 1; /* each has a number of its own */
        child = fork();
        if (child == 0) {
            close(listener);
            serve_client(connection);
            exit(EXIT_SUCCESS);
        }
        if (child < 0)
            warn(errno, "no process for client %ld, which is turned away", client);
        else
            children++;
        close(connection); /* the child still has it open; without a child this is a reset */
    }
}
