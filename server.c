/*
 * server.c - sends a file over TCP, says that this was all by closing only its own half of the connection, and waits
 * until the client says that it has the file.
 *
 *     ./server                     in one terminal: sends client.c to whoever connects to 127.0.0.1, port 8080
 *     ./client                     in another: receives it into log.txt
 *
 * Read from top to bottom: main and serve_client tell the whole story, one call a step, and the functions that take these
 * steps follow in the same order. Two chapters at the end can be skipped: many clients at once (-k), and the options.
 * common.h has what both sides share; client.c is the other side.
 */
#include "common.h"

#include <sys/select.h>
#include <sys/wait.h>
#ifdef __APPLE__
#define st_mtim st_mtimespec
#endif

enum {
    REPLY_MAX = 1025,           /* bytes of a reply that are looked at */
    DRAIN_BYTES = 64 * 1024,    /* after the acknowledgement: how much more of the client is read and dropped, */
    DRAIN_SECONDS = 1,          /* and for how long */
    CLIENTS_MAX = 256,          /* served at the same time with -k; whoever comes then waits in the queue of listen */
    RETRY_MILLISECONDS = 200,   /* with -k: when to try again after there were no descriptors or processes to be had */
    HOST_ROOM = 64,             /* room for an address in numbers, with the name of an interface as in fe80::1%eth0 */
    PORT_ROOM = 8,              /* room for the number of a port */
};

static const char *path;                /* the name of the file to send */
static int source = -1;                 /* that file, open for reading */
static struct stat source_status;       /* what it was when it was opened */
static char client_host[HOST_ROOM], client_port[PORT_ROOM]; /* where the client last accepted comes from */

static void read_options(int argc, char *argv[]);
static void check_source(void);
static int listen_for_clients(void);
static int accept_client(int listener);
static void serve_client(int connection);
static off_t open_source(void);
static void send_file(int connection, off_t length);
static void wait_for_acknowledgement(int connection);
static void close_connection(int connection);
static void serve_many(int listener);

int main(int argc, char *argv[])
{
    int listener, connection;

    start_up("server");
    read_options(argc, argv);
    check_source();

    listener = listen_for_clients();
    print("Waiting for connecting");
    if (keep_serving)
        serve_many(listener);
    else {
        connection = accept_client(listener);
        close(listener); /* nobody else is served: whoever comes now is refused and not left waiting */
        serve_client(connection);
    }
    print("Server close");
    return EXIT_SUCCESS;
}

/* All that passes between one client and the server. Whatever ends the server before the acknowledgement is in, be it an
 * error, a signal or a crash, makes the kernel close the connection with a reset: see reset_unless_finished in
 * listen_for_clients and finish_normally in close_connection. So the client reads end-of-file only if the shutdown in here
 * was reached. */
static void serve_client(int connection)
{
    off_t length;

    trace(connection, "accepted");
    print("New client：%d , IP %s , Port %s", connection, client_host, client_port);
    length = open_source();
    print("Start to send data '%s' to client %d", path, connection);
    send_file(connection, length);
    print("Send data done");

    /* The half-close. It puts a FIN behind the last byte: the client reads the rest of the file and then end-of-file. But
     * the connection stands, and what the client says can still be read. close would give up both directions, and the
     * client's answer would be met with a reset (shutdown(2); RFC 9293, 3.6.1). */
    if (shutdown(connection, SHUT_WR) != 0)
        die(errno, "client %d left before the end of '%s'", connection, path);
    trace(connection, "half-close: FIN behind the last byte");
    print("Output stream close");

    wait_for_acknowledgement(connection);
    print("%d：%s", connection, acknowledgement);
    close_connection(connection);
}

/* ---- The steps of the story ------------------------------------------------------------------------------------ */

/* Writes the address and the port in NAME to HOST and SERVICE, in numbers. */
static void name_to_text(const struct sockaddr_storage *name, socklen_t length, char host[HOST_ROOM],
                         char service[PORT_ROOM])
{
    int problem = getnameinfo((const struct sockaddr *)name, length, host, HOST_ROOM, service, PORT_ROOM,
                              NI_NUMERICHOST | NI_NUMERICSERV);

    if (problem != 0)
        die(problem == EAI_SYSTEM ? errno : 0, "cannot print an address: %s", gai_strerror(problem));
}

/* Returns a listening socket, on the first of the addresses that -a and -p stand for that can be had. */
static int listen_for_clients(void)
{
    const int on = 1;
    struct addrinfo *list = resolve();
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    char host[HOST_ROOM], service[PORT_ROOM];
    int listener = -1, error = 0;

    for (struct addrinfo *where = list; where != NULL && listener < 0; where = where->ai_next) {
        listener = socket(where->ai_family, where->ai_socktype, where->ai_protocol);
        if (listener < 0) {
            error = errno;
            continue;
        }
        set_nonblocking(listener);
        reset_unless_finished(listener); /* every connection that is accepted inherits this, */
        set_buffers(listener);           /* and this */

        /* SO_REUSEADDR: the connections of an earlier run, which linger in TIME_WAIT, do not keep the port taken. Not
         * SO_REUSEPORT: with it a second server could take this port too, and some of our clients (socket(7)). */
        if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
            bind(listener, where->ai_addr, where->ai_addrlen) != 0 ||
            listen(listener, SOMAXCONN) != 0) {
            error = errno;
            close(listener);
            listener = -1;
        }
    }
    freeaddrinfo(list);
    if (listener < 0)
        die(0, "cannot listen on %s port %s: %s%s", address, port, strerror(error),
            error == EADDRINUSE ? " (-p chooses another port)" : "");
    if (strtoul(port, NULL, 10) == 0) { /* which one has the kernel chosen? */
        if (getsockname(listener, (struct sockaddr *)&name, &length) != 0)
            die(errno, "cannot find out the port");
        name_to_text(&name, length, host, service);
        warn(0, "listening on %s port %s", host, service);
    }
    trace(listener, "listening");
    return listener;
}

/* Accepts a connection if there is one, and notes where it comes from: getpeername would fail once the client is gone.
 * Returns it, or -1 with errno set. */
static int accept_connection(int listener)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    int connection = accept(listener, (struct sockaddr *)&name, &length);

    if (connection >= 0) {
        set_nonblocking(connection);
        reset_unless_finished(connection); /* Linux and the BSDs let it inherit that, but POSIX does not promise it */
        name_to_text(&name, length, client_host, client_port);
    }
    return connection;
}

/* True if ERROR, of accept or fork, is a want of something that others may give back. After any other error of accept the
 * next client may still come; many are those of a connection that is gone again (accept(2), "Error handling"). */
static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Waits for a client, for -t at most. Returns the connection. */
static int accept_client(int listener)
{
    int connection;

    while ((connection = accept_connection(listener)) < 0) {
        if (is_shortage(errno))
            die(errno, "cannot accept a connection");
        if (wait_for_peer(listener, POLLIN) < 0)
            die(errno, "no client came");
    }
    stop_clock();
    return connection;
}

/* Opens the file. Returns how many bytes to send: a regular file is sent as long as it is now. Returns -1 if it is to be
 * sent to its end: a pipe, a device, or a file of /proc, which says that it is empty and is not. */
static off_t open_source(void)
{
    char byte;

    /* O_NONBLOCK: opening a FIFO does not wait for its writer. read_source does, and sees meanwhile if the client
     * leaves. */
    source = open(path, O_RDONLY | O_NONBLOCK);
    if (source < 0 || fstat(source, &source_status) != 0)
        die(errno, "cannot open '%s'", path);
    if (keep_serving && !S_ISREG(source_status.st_mode))
        die(0, "'%s' is no longer a regular file", path);
    if (!S_ISREG(source_status.st_mode))
        return -1;
    if (source_status.st_size == 0 && pread(source, &byte, 1, 0) == 1 && fstat(source, &source_status) == 0 &&
        source_status.st_size == 0)
        return -1;
    return source_status.st_size;
}

/* Reads at most MOST bytes of the file into BLOCK. A pipe may be silent, and is waited for as long as it takes. Returns how
 * many bytes, 0 at the end of the file. Ends the program if the connection is reset meanwhile. */
static size_t read_source(int connection, char *block, size_t most)
{
    /* For the connection no event is asked for: a reset is always reported (poll(2), POLLERR). */
    struct pollfd wanted[] = { { .fd = source, .events = POLLIN }, { .fd = connection } };
    ssize_t count = -1;

    while (count < 0) {
        /* Without the wait, a FIFO that nobody has opened for writing yet would seem to be at its end. */
        while (!S_ISREG(source_status.st_mode) && wanted[0].revents == 0) {
            if (poll(wanted, 2, -1) < 0 && errno != EINTR)
                die(errno, "cannot wait for '%s'", path);
            if ((wanted[1].revents & (POLLERR | POLLHUP)) != 0)
                die(ECONNRESET, "client %d left before the end of '%s'", connection, path);
        }
        count = read(source, block, most);
        if (count < 0 && errno != EAGAIN && errno != EINTR)
            die(errno, "cannot read '%s'", path);
        wanted[0].revents = 0;
    }
    return (size_t)count;
}

/* Sends LENGTH bytes of the file, or all until its end if LENGTH is -1. write returns when the kernel has the bytes in the
 * send buffer of the socket, long before the client has them, and takes only what there is room for. */
static void send_file(int connection, off_t length)
{
    static char block[BLOCK_SIZE];
    struct stat now;
    off_t left = length;
    size_t in_block = 1;

    begin_transfer(length);
    while (left != 0 && in_block > 0) {
        in_block = read_source(connection, block, left > 0 && left < BLOCK_SIZE ? (size_t)left : BLOCK_SIZE);
        for (size_t sent = 0; sent < in_block;) {
            ssize_t count = send_some(connection, block + sent, in_block - sent);
            if (count < 0)
                die(errno, "client %d did not take all of '%s'", connection, path);
            sent += (size_t)count;
            count_bytes(connection, count);
        }
        if (length > 0)
            left -= (off_t)in_block;
    }
    if (length >= 0 && fstat(source, &now) != 0)
        die(errno, "cannot tell whether '%s' has changed", path);
    if (left > 0)
        die(0, now.st_size == length ? "'%s' lacks %jd of the %jd bytes that it claims to have: send it through a pipe"
                                     : "'%s' is shorter than it was: %jd of its %jd bytes are missing",
            path, (intmax_t)left, (intmax_t)length);
    if (length >= 0 && (now.st_size != length || now.st_mtim.tv_sec != source_status.st_mtim.tv_sec ||
                        now.st_mtim.tv_nsec != source_status.st_mtim.tv_nsec))
        warn(0, "'%s' was written to while it was being sent", path);
    end_transfer(connection);
}

/* Returns the LENGTH bytes of REPLY as text, with everything that is not printable ASCII as \xNN: what comes from the
 * network must not command the terminal. The text is good until the next call. */
static const char *reply_to_text(const char *reply, size_t length)
{
    static char text[4 * REPLY_MAX + 1];
    char *end = text;

    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)reply[i];
        end += sprintf(end, byte < ' ' || byte > '~' || byte == '\\' ? "\\x%02x" : "%c", byte);
    }
    *end = '\0';
    return text;
}

/* Waits for the acknowledgement. Any other reply, or none, ends the program. */
static void wait_for_acknowledgement(int connection)
{
    char reply[REPLY_MAX];
    size_t length = 0;
    ssize_t count = 1;
    int ready;

    /* Until the client's kernel has all, FIN included: every byte that it acknowledges is progress. From then on the whole
     * reply has -t. */
    do
        ready = wait_for_peer(connection, POLLIN);
    while (ready == 0 && send_queue(connection) > 0);
    if (ready >= 0)
        trace(connection, "waits for the answer, and can still hear it");

    while (count > 0 && length < ACKNOWLEDGEMENT_LENGTH && memcmp(reply, acknowledgement, length) == 0) {
        count = receive(connection, reply + length, sizeof reply - length);
        if (count > 0)
            length += (size_t)count;
    }
    if (length < ACKNOWLEDGEMENT_LENGTH || memcmp(reply, acknowledgement, ACKNOWLEDGEMENT_LENGTH) != 0)
        die(count < 0 ? errno : 0, "client %d did not acknowledge the file%s%s%s", connection,
            length > 0 ? ", it said '" : "", reply_to_text(reply, length), length > 0 ? "'" : "");
    trace(connection, "acknowledgement received");
}

/* Ends the connection in good order. Closing while there is something to read would send a reset even so (RFC 2525,
 * 2.17), hence the rest of what the client sends is read and dropped first: other clients may pad their reply, or end it
 * with a newline. Within limits: this is a courtesy. */
static void close_connection(int connection)
{
    static char block[DRAIN_BYTES];
    size_t dropped = 0;
    ssize_t count = 1;

    if (!finish_normally(connection))
        warn(errno, "client %d may see a reset", connection);
    patience = DRAIN_SECONDS;
    stop_clock();
    while (count > 0 && dropped < sizeof block) {
        count = receive(connection, block, sizeof block - dropped);
        dropped += count > 0 ? (size_t)count : 0;
    }
    trace(connection, count == 0 ? "end-of-file: the client has closed too" : "no end-of-file from the client");
    close(connection);
    trace(-1, "closed");
}

/* ---- Many clients at once: -k ---------------------------------------------------------------------------------- */

static pid_t children[CLIENTS_MAX];     /* the processes that serve a client; 0 is a free place */
static int active;                      /* how many there are */
static int served, failed;              /* how many have ended with status 0, and how many with another */
static volatile sig_atomic_t stops;     /* how many times SIGINT or SIGTERM came */

/* The handler of SIGINT and SIGTERM, and of SIGCHLD, which only has to end the wait. */
static void note_signal(int signal_number)
{
    if (signal_number != SIGCHLD)
        stops++;
}

/* Has the signals that matter to serve_many noted, but only while it waits; at all other times they are noted back. SIGINT
 * stays ignored if it was from the start, as a shell has it in the background. Returns the signals that wait_for_event
 * lets in. */
static sigset_t hold_back_signals(void)
{
    static const int wanted[] = { SIGINT, SIGTERM, SIGCHLD };
    const struct sigaction note = { .sa_handler = note_signal };
    struct sigaction before;
    sigset_t noted, let_in;

    sigemptyset(&noted);
    for (int i = 0; i < 3; i++) {
        sigaddset(&noted, wanted[i]);
        if (sigaction(wanted[i], NULL, &before) != 0 ||
            ((before.sa_handler != SIG_IGN || wanted[i] == SIGCHLD) && sigaction(wanted[i], &note, NULL) != 0))
            die(errno, "cannot handle signal %d", wanted[i]);
    }
    if (sigprocmask(SIG_BLOCK, &noted, &let_in) != 0)
        die(errno, "cannot hold back signals");
    for (int i = 0; i < 3; i++)
        sigdelset(&let_in, wanted[i]);
    return let_in;
}

/* Waits until a client connects to LISTENER, unless that is -1, or a signal comes, for MILLISECONDS at most, -1 for ever.
 * Then takes note of the children that have ended. */
static void wait_for_event(int listener, int milliseconds, const sigset_t *let_in)
{
    const struct timespec limit = { .tv_nsec = milliseconds * 1000000L };
    fd_set readable;
    int status;
    pid_t ended;

    FD_ZERO(&readable);
    if (listener >= 0)
        FD_SET((unsigned)listener, &readable);
    if (pselect(listener + 1, &readable, NULL, NULL, milliseconds < 0 ? NULL : &limit, let_in) < 0 && errno != EINTR)
        die(errno, "cannot wait for clients");
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int place = 0; place < CLIENTS_MAX; place++)
            if (children[place] == ended)
                children[place] = 0;
        active--;
        *(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? &served : &failed) += 1;
    }
}

/* What a child does: serves its client just as the server for a single one does, and ends. */
static _Noreturn void be_child(int listener, int connection, int place, const sigset_t *let_in)
{
    const struct sigaction ignore = { .sa_handler = SIG_IGN };
    int number;

    /* Ctrl-C in a terminal sends SIGINT to all of us, but it is the parent that decides when we end, with SIGKILL. */
    if (sigaction(SIGINT, &ignore, NULL) != 0 || sigaction(SIGTERM, &ignore, NULL) != 0 ||
        sigprocmask(SIG_SETMASK, let_in, NULL) != 0)
        die(errno, "cannot set up signals");

    /* Each client gets a number of its own, so that its lines can be told from those of the others. */
    if (place > 0 && (number = fcntl(connection, F_DUPFD, connection + place)) >= 0) {
        close(connection);
        connection = number;
    }
    close(listener);
    serve_client(connection);
    exit(EXIT_SUCCESS);
}

/* Has a new process serve CONNECTION. Returns true, or false with errno set if there is none to be had. */
static bool fork_child(int listener, int connection, const sigset_t *let_in)
{
    int place = 0;
    pid_t child;

    while (children[place] != 0)
        place++;
    child = fork();
    if (child == 0)
        be_child(listener, connection, place, let_in);
    if (child < 0)
        return false;
    children[place] = child;
    active++;
    close(connection);
    return true;
}

/* Serves clients until it is told to stop, and then those that are being served to the end. On the second SIGINT or
 * SIGTERM ends these at once, which each of their clients sees as a reset. */
static void serve_many(int listener)
{
    const sigset_t let_in = hold_back_signals();
    int connection = -1; /* one that waits for a process */
    bool lacking = false, cut_off = false; /* of descriptors or processes; and some clients, by a second signal */

    while (stops == 0) {
        bool full = active == CLIENTS_MAX;
        wait_for_event(full || lacking ? -1 : listener, lacking ? RETRY_MILLISECONDS : -1, &let_in);
        if (full || stops > 0)
            continue;
        if (connection < 0)
            connection = accept_connection(listener);
        bool done = connection >= 0 ? fork_child(listener, connection, &let_in) : !is_shortage(errno);
        if (done)
            connection = -1;
        else if (!lacking)
            warn(errno, "cannot serve another client just now");
        lacking = !done;
    }

    close(listener);
    if (connection >= 0)
        close(connection);
    if (active > 0 && stops == 1)
        warn(0, "%d clients are still being served, and another signal ends them", active);
    while (active > 0) {
        for (int place = 0; place < CLIENTS_MAX && stops > 1; place++)
            if (children[place] != 0)
                cut_off = kill(children[place], SIGKILL) == 0;
        wait_for_event(-1, -1, &let_in);
    }
    warn(0, "%d clients served, %d failed", served, failed);
    if (cut_off)
        die(0, "stopped before all had finished");
}

/* ---- The command line ------------------------------------------------------------------------------------------ */

/* Reads the command line into path and the variables of common.h. */
static void read_options(int argc, char *argv[])
{
    int letter;

    synopsis = "usage: server [-kv] [-a ADDRESS] [-b BYTES] [-p PORT] [-t SECONDS] [FILE]\n";
    help = "Sends FILE (client.c) to the first client that connects, and waits for its acknowledgement.\n"
           "\n"
           "  -a ADDRESS  listen on this address or name, IPv4 or IPv6 (127.0.0.1)\n"
           "  -b BYTES    size asked for both socket buffers, K and M allowed; 0 leaves them to the kernel (1025)\n"
           "  -h          show this help\n"
           "  -k          keep serving, many clients at once, until SIGINT or SIGTERM\n"
           "  -p PORT     listen on this port; 0 lets the kernel choose one, told on standard error (8080)\n"
           "  -t SECONDS  give up when the client makes no progress for so long; 0 never does (30)\n"
           "  -v          trace on standard error what happens on the socket\n"
           "\n"
           "FILE may be a regular file, or a pipe, FIFO or device, which is sent to its end.\n"
           "With -k only a regular file. SIGINT or SIGTERM lets those being served finish, a second one does not.\n"
           "Exit status: 0 the client has acknowledged the file, 1 it has not, 2 usage error.\n";
    while ((letter = getopt(argc, argv, ":a:b:hkp:t:v")) != -1)
        if (letter == 'k')
            keep_serving = true;
        else
            shared_option(letter);
    path = file_operand(argc, argv, "client.c");
}

/* Refuses a file that cannot be sent before anyone has to wait for it. It is opened only when there is a client. */
static void check_source(void)
{
    struct stat status;

    if (stat(path, &status) != 0 || access(path, R_OK) != 0)
        die(errno, "cannot send '%s'", path);
    if (S_ISDIR(status.st_mode) || S_ISSOCK(status.st_mode))
        die(S_ISDIR(status.st_mode) ? EISDIR : ENXIO, "cannot send '%s'", path);
    if (keep_serving && !S_ISREG(status.st_mode))
        die(0, "cannot send '%s' more than once: it is not a regular file", path);
}
