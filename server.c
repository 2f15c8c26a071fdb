/*
 * server.c - sends a file over TCP, closes only its own half of the connection to say "that was all", and waits until
 * the client says that it has the file.
 *
 *     ./server                     in one terminal: sends client.c to whoever connects to 127.0.0.1, port 8080
 *     ./client                     in another: receives it into log.txt
 *
 * Read from top to bottom. After main comes the whole story, in the order in which it happens: socket, bind and listen
 * (listen_for_clients), accept (accept_client), then write, shutdown, read and close (serve_client). You can skip the
 * last chapter, many clients at once (-k). common.h has what both sides share; client.c is the other side.
 */
#define PROGRAM "server"

static const char help[] =
    "usage: server [-kv] [-a ADDRESS] [-b BYTES] [-p PORT] [-t SECONDS] [FILE]\n"
    "Sends FILE (client.c) to the first client that connects, and waits for its acknowledgement.\n"
    "\n"
    "  -a ADDRESS  listen on this address or name, IPv4 or IPv6 (127.0.0.1)\n"
    "  -b BYTES    size to ask for both socket buffers, K and M allowed; 0 leaves them to the kernel (1025)\n"
    "  -h          show this help\n"
    "  -k          keep serving, many clients at once, until SIGINT or SIGTERM\n"
    "  -p PORT     listen on this port; 0 lets the kernel choose, and prints which on standard error (8080)\n"
    "  -t SECONDS  give up when the client makes no progress for this long; 0 never gives up (30)\n"
    "  -v          trace what happens on the socket, on standard error\n"
    "\n"
    "FILE may be a regular file, or a pipe, FIFO or device, which is sent to its end. With -k it must be a regular\n"
    "file, and SIGINT or SIGTERM lets the clients being served finish; a second signal cuts them off.\n"
    "Exit status: 0 if the client acknowledged the file (with -k: if nobody was cut off), 1 if not, 2 usage error.\n";

#include "common.h"

#include <sys/select.h>
#include <sys/wait.h>
#ifdef __APPLE__
#define st_mtim st_mtimespec /* its name for the time of the last change */
#endif

enum {
    REPLY_MAX = 1025,           /* bytes of a reply that we look at, as many as a plain client may pad it to */
    DRAIN_BYTES = 64 * 1024,    /* after the acknowledgement: how many more bytes are read and dropped, */
    DRAIN_SECONDS = 1,          /* and for how long */
    CLIENTS_MAX = 256,          /* served at the same time with -k; the next ones wait in the listen queue */
    RETRY_MILLISECONDS = 200,   /* with -k: when to try again after a failure */
};

static const char *path;                /* the name of the file to send */
static int source = -1;                 /* that file, open for reading */
static struct stat source_status;       /* what it was when it was opened */
static off_t left_in_file;              /* bytes of it that are still to be read; -1 if it is sent to its end */
static char host[64], service[8];       /* address and port, in numbers, from address_to_text */

static int listen_for_clients(void);
static void tell_port(int listener);
static int accept_client(int listener);
static void serve_client(int connection);
static void check_source(void);
static void open_source(void);
static size_t read_source(int connection, char block[BLOCK_SIZE]);
static void compare_source(void);
static void prepare_for_many(int listener);
static void serve_many(int listener);

int main(int argc, char *argv[])
{
    int listener, connection;

    start_up();
    while (read_options(argc, argv, ":a:b:hkp:t:v") == 'k')
        keep_serving = true;
    path = file_operand(argc, argv, "client.c");
    check_source();

    listener = listen_for_clients(); /* whatever ends this process from here on resets its connections */
    if (keep_serving)
        prepare_for_many(listener);
    tell_port(listener);
    print("Waiting for connecting");
    if (keep_serving)
        serve_many(listener);
    else {
        connection = accept_client(listener);
        close(listener); /* nobody else is served: the next client is refused, not left waiting */
        serve_client(connection);
    }
    print("Server close");
    return EXIT_SUCCESS;
}

/* ---- The story ------------------------------------------------------------------------------------------------- */

/* Writes the address and port in NAME to host and service. */
static void address_to_text(const struct sockaddr_storage *name, socklen_t length)
{
    int problem = getnameinfo((const struct sockaddr *)name, length, host, sizeof host, service, sizeof service,
                              NI_NUMERICHOST | NI_NUMERICSERV);

    if (problem != 0)
        die(problem == EAI_SYSTEM ? errno : 0, "cannot print an address: %s", gai_strerror(problem));
}

/* Tries the addresses for -a and -p in turn, and returns a socket that listens on the first that works.
 *
 * When a program dies, its kernel closes its connections, and to the client that looks like the end of the file. So we
 * have every close send a reset instead, until fin_on_close is called. If the process that serves a client ends before
 * that, by an error, a signal or a crash, the client sees an error. It reads end-of-file only if serve_client got as
 * far as shutdown, which sends FIN without closing. */
static int listen_for_clients(void)
{
    const int on = 1;
    struct addrinfo *list = resolve();
    int listener = -1, error = 0;

    for (struct addrinfo *where = list; where != NULL && listener < 0; where = where->ai_next) {
        listener = socket(where->ai_family, where->ai_socktype, where->ai_protocol);
        if (listener < 0) {
            error = errno;
            continue;
        }
        set_nonblocking(listener);
        /* The connections that are accepted from it inherit what these two set, on Linux, macOS and the BSDs. */
        reset_on_close(listener);
        set_buffers(listener);

        /* SO_REUSEADDR: old connections that the kernel still remembers (TIME_WAIT) do not block the port. Not
         * SO_REUSEPORT: a second server could then take this port too, and get some of our clients (socket(7)). */
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
    trace(listener, "listening");
    return listener;
}

/* With -p 0, tells which port the kernel has chosen. */
static void tell_port(int listener)
{
    struct sockaddr_storage here;
    socklen_t length = sizeof here;

    if (strtoul(port, NULL, 10) != 0)
        return;
    if (getsockname(listener, (struct sockaddr *)&here, &length) != 0)
        die(errno, "cannot find out the port");
    address_to_text(&here, length);
    warn(0, "listening on %s port %s", host, service);
}

/* True if ERROR, from accept, means that we ran out of something that others may give back. After any other error the
 * next client may still come: often the last one has already gone (accept(2), "Error handling"). */
static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* Waits for a client, for -t at most. Returns the connection. accept itself does not wait: while there is no client it
 * fails with EAGAIN. */
static int accept_client(int listener)
{
    int connection;

    while ((connection = accept(listener, NULL, NULL)) < 0) {
        if (is_shortage(errno))
            die(errno, "cannot accept a connection");
        if (wait_for_peer(listener, POLLIN) < 0)
            die(errno, "no client came");
    }
    restart_clock();
    return connection;
}

/* Returns the LENGTH bytes of REPLY as text, with everything that is not printable ASCII as \xNN: nothing from the
 * network may control the terminal. The text is valid until the next call. */
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

/* Everything that passes between one client and the server. Ends the program if anything goes wrong. */
static void serve_client(int connection)
{
    static char block[BLOCK_SIZE];
    char reply[REPLY_MAX] = "";
    size_t in_block, length = 0, dropped = 0;
    ssize_t count = 0;
    int64_t end;
    struct sockaddr_storage peer;
    socklen_t peer_length = sizeof peer;

    set_nonblocking(connection);
    if (getpeername(connection, (struct sockaddr *)&peer, &peer_length) != 0)
        die(errno, "client %d left before the end of '%s'", connection, path);
    address_to_text(&peer, peer_length);
    trace(connection, "accepted");
    print("New client：%d , IP %s , Port %s", connection, host, service);
    open_source();
    print("Start to send data '%s' to client %d", path, connection);

    /* write returns once the bytes are in the socket's send buffer, long before the client has them. It takes only as
     * many as there is room for, and we try again with the rest. */
    transfer.began = microseconds();
    transfer.expected = left_in_file;
    while ((in_block = read_source(connection, block)) > 0)
        for (size_t sent = 0; sent < in_block; sent += (size_t)count) {
            while ((count = write(connection, block + sent, in_block - sent)) < 0)
                if (!wait_to_retry(connection, POLLOUT))
                    die(errno, "client %d did not take all of '%s'", connection, path);
            note_progress(connection, count);
        }
    compare_source();
    end_transfer(connection);
    print("Send data done");

    /* The half-close. It puts a FIN behind the last byte: the client reads the rest of the file and then end-of-file.
     * The other direction stays open, and we can still read what the client says. close would give up both, and the
     * client's answer would be met with a reset (shutdown(2); RFC 9293, 3.6.1). */
    if (shutdown(connection, SHUT_WR) != 0)
        die(errno, "client %d left before the end of '%s'", connection, path);
    trace(connection, "half-close: FIN behind the last byte");
    print("Output stream close");

    /* Until the client's kernel has everything, FIN included, every byte that it acknowledges is progress. After that
     * the client has -t for its whole reply, however slowly it sends it. If -t is over in this loop, the wait after
     * read says so. */
    while (send_queue(connection) > 0 && wait_for_peer(connection, POLLIN) == 0)
        ;
    trace(connection, "waits for the answer, and can still hear it");
    while (length < ACKNOWLEDGEMENT_LENGTH && memcmp(reply, acknowledgement, length) == 0) { /* not wrong yet */
        count = read(connection, reply + length, sizeof reply - length);
        if (count == 0 || (count < 0 && !wait_to_retry(connection, POLLIN)))
            break;
        length += count > 0 ? (size_t)count : 0;
    }
    if (length < ACKNOWLEDGEMENT_LENGTH || memcmp(reply, acknowledgement, ACKNOWLEDGEMENT_LENGTH) != 0)
        die(count < 0 ? errno : 0, "client %d did not acknowledge the file%s%s%s", connection,
            length > 0 ? ", it said '" : "", reply_to_text(reply, length), length > 0 ? "'" : "");
    trace(connection, "acknowledgement received");
    print("%d：%s", connection, acknowledgement);

    /* Now close may send FIN. But with something unread it would still send a reset (RFC 2525, 2.17), so we first
     * read and drop what else the client sends: other programs may pad their reply, or end it with a newline. This
     * courtesy has a limit of its own, however much progress the client makes. */
    if (!fin_on_close(connection) && errno != EINVAL) /* macOS: both halves are closed, so there is nothing to reset */
        warn(errno, "client %d will see a reset", connection);
    restart_clock();
    end = microseconds() + (int64_t)DRAIN_SECONDS * SECOND;
    do {
        count = read(connection, block, sizeof block);
        dropped += count > 0 ? (size_t)count : 0;
    } while (dropped < DRAIN_BYTES && microseconds() < end &&
             (count > 0 || (count < 0 && wait_to_retry(connection, POLLIN))));
    trace(connection, count == 0 ? "end-of-file: the client has closed too" : "no end-of-file from the client");
    close(connection);
    trace(-1, "closed");
}

/* ---- The file that is sent ------------------------------------------------------------------------------------- */

/* Refuses a file that cannot be sent before anybody waits for it. The file is opened only when there is a client. */
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

/* Opens the file. A regular file is sent at its present length; anything else to its end: a pipe, a device, or a file
 * in /proc, which claims to be empty but is not. */
static void open_source(void)
{
    char byte;

    /* O_NONBLOCK: opening a FIFO does not wait for its writer. read_source waits, and notices if the client leaves
     * meanwhile. But open has to wait while somebody has a lease on the file (fcntl(2), F_SETLEASE). */
    source = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (source < 0 && errno == EAGAIN)
        source = open(path, O_RDONLY | O_NOCTTY);
    if (source < 0 || fstat(source, &source_status) != 0)
        die(errno, "cannot open '%s'", path);
    if (keep_serving && !S_ISREG(source_status.st_mode))
        die(0, "'%s' is no longer a regular file", path);
    left_in_file = S_ISREG(source_status.st_mode) ? source_status.st_size : -1;
    /* Is a file that claims to be empty like that, or has it just grown? */
    if (left_in_file == 0 && pread(source, &byte, 1, 0) != 0 && fstat(source, &source_status) == 0)
        left_in_file = source_status.st_size > 0 ? source_status.st_size : -1;
}

/* Reads the next bytes of the file into BLOCK. Waits for a silent pipe as long as it takes. Returns how many bytes it
 * read, 0 at the end of the file. Ends the program if the connection is reset meanwhile. */
static size_t read_source(int connection, char block[BLOCK_SIZE])
{
    /* We ask for no event on the connection: poll reports a reset anyway (poll(2), POLLERR). */
    struct pollfd wanted[] = { { .fd = source, .events = POLLIN }, { .fd = connection } };
    bool wait = !S_ISREG(source_status.st_mode);
    ssize_t count = -1;

    while (count < 0) {
        /* Without the wait, a FIFO that nobody has opened for writing yet would seem to be at its end. */
        while (wait && poll(wanted, 2, -1) < 0)
            if (errno != EINTR)
                die(errno, "cannot wait for '%s'", path);
        if (wanted[1].revents != 0)
            die(ECONNRESET, "client %d left before the end of '%s'", connection, path);
        count = read(source, block, left_in_file >= 0 && left_in_file < BLOCK_SIZE ? (size_t)left_in_file : BLOCK_SIZE);
        if (count < 0 && errno != EAGAIN && errno != EINTR)
            die(errno, "cannot read '%s'", path);
        wait = true;
    }
    if (left_in_file > 0)
        left_in_file -= count;
    return (size_t)count;
}

/* Compares size and time of last change of the file with those at the start. Warns if it was written to, and ends the
 * program if fewer bytes could be read than it had, or claimed to have. */
static void compare_source(void)
{
    const intmax_t size = source_status.st_size;
    struct stat now;

    if (left_in_file < 0)
        return;
    if (fstat(source, &now) != 0)
        die(errno, "cannot tell whether '%s' has changed", path);
    if (left_in_file > 0)
        die(0, now.st_size == size ? "'%s' lacks %jd of the %jd bytes that it claims to have: send it through a pipe"
                                   : "'%s' is shorter than it was: %jd of its %jd bytes are missing",
            path, (intmax_t)left_in_file, size);
    if (now.st_size != size || now.st_mtim.tv_sec != source_status.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != source_status.st_mtim.tv_nsec)
        warn(0, "'%s' was written to while it was being sent", path);
}

/* ---- Many clients at once: -k ---------------------------------------------------------------------------------- */

static pid_t children[CLIENTS_MAX];     /* the processes that serve a client; 0 is a free place */
static int active;                      /* how many there are */
static int served, failed;              /* how many have ended with status 0, and how many with another */
static bool cut_off;                    /* some have ended because we killed them */
static sigset_t mask_while_waiting;     /* what stays blocked while we wait: none of the three signals below */
static volatile sig_atomic_t stops;     /* how many times SIGINT or SIGTERM came */

/* The handler of SIGINT, SIGTERM and SIGCHLD. The last only has to end the wait. */
static void note_signal(int signal_number)
{
    if (signal_number != SIGCHLD)
        stops++;
}

/* Makes sure that LISTENER can be waited for, and blocks the three signals that matter here. wait_for_event lets them
 * in. A child never does: Ctrl-C in a terminal sends SIGINT to all of us, but the parent decides when its children end.
 * A signal that was ignored at the start, as SIGINT is in a shell's background jobs, stays ignored. */
static void prepare_for_many(int listener)
{
    static const int numbers[] = { SIGCHLD, SIGINT, SIGTERM };
    const struct sigaction note = { .sa_handler = note_signal };
    struct sigaction before;
    sigset_t noted;

    if (listener >= FD_SETSIZE)
        die(EMFILE, "cannot wait for clients");
    sigemptyset(&noted);
    for (int i = 0; i < 3; i++) {
        sigaddset(&noted, numbers[i]);
        if (sigaction(numbers[i], NULL, &before) != 0 ||
            ((before.sa_handler != SIG_IGN || i == 0) && sigaction(numbers[i], &note, NULL) != 0))
            die(errno, "cannot handle signal %d", numbers[i]);
    }
    if (sigprocmask(SIG_BLOCK, &noted, &mask_while_waiting) != 0)
        die(errno, "cannot block signals");
    for (int i = 0; i < 3; i++)
        sigdelset(&mask_while_waiting, numbers[i]); /* also if whoever started us had blocked them */
}

/* Waits for a client on LISTENER (none if it is -1) or a signal, for MILLISECONDS, less than 1000, at most (-1: for
 * ever). Then collects the children that have ended. Returns true if a client is there. */
static bool wait_for_event(int listener, int milliseconds)
{
    const struct timespec limit = { .tv_nsec = milliseconds * 1000000L };
    fd_set readable;
    sigset_t blocked;
    int status, ready;
    pid_t ended;

    FD_ZERO(&readable);
    if (listener >= 0)
        FD_SET((unsigned)listener, &readable);
    ready = pselect(listener + 1, &readable, NULL, NULL, milliseconds < 0 ? NULL : &limit, &mask_while_waiting);
    if (ready < 0 && errno != EINTR)
        die(errno, "cannot wait for clients");
    /* On Linux, pselect lets no signal in if a client is there already: many clients could keep it out for ever. */
    if (sigprocmask(SIG_SETMASK, &mask_while_waiting, &blocked) != 0 || sigprocmask(SIG_SETMASK, &blocked, NULL) != 0)
        die(errno, "cannot let signals in");
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
        for (int place = 0; place < CLIENTS_MAX; place++)
            if (children[place] == ended) { /* ours, not one from before this program began */
                children[place] = 0;
                active--;
                if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
                    served++;
                else
                    failed++;
                cut_off = cut_off || (stops > 1 && WIFSIGNALED(status));
            }
    return ready > 0;
}

/* Starts a process that serves CONNECTION just as the server for one client does. Returns true, or false with errno
 * set if there is no process to be had. */
static bool fork_child(int listener, int connection)
{
    int place = 0, number;

    while (children[place] != 0)
        place++;
    children[place] = fork();
    if (children[place] < 0) {
        children[place] = 0;
        return false;
    }
    if (children[place] == 0) {
        /* Each client gets its own number, so that you can tell its lines from those of the others. */
        if (place > 0 && (number = fcntl(connection, F_DUPFD, connection + place)) >= 0) {
            close(connection);
            connection = number;
        }
        close(listener);
        serve_client(connection);
        exit(EXIT_SUCCESS);
    }
    active++;
    close(connection); /* the child still has it open, and only the last close resets */
    return true;
}

/* Serves clients until SIGINT or SIGTERM, then lets those being served finish. A second signal ends these at once, and
 * their clients see a reset. */
static void serve_many(int listener)
{
    int connection = -1; /* accepted, but no process serves it yet */
    bool complained = false;

    while (stops == 0) {
        if (connection < 0 && !wait_for_event(active < CLIENTS_MAX ? listener : -1, -1))
            continue;
        if (connection < 0)
            connection = accept(listener, NULL, NULL);
        if (connection >= 0 && fork_child(listener, connection)) {
            connection = -1;
            complained = false;
            continue;
        }
        if ((connection >= 0 || is_shortage(errno)) && !complained) { /* no process, or no descriptor */
            complained = true;
            warn(errno, "cannot serve another client just now");
        }
        wait_for_event(-1, RETRY_MILLISECONDS); /* whatever it was: nothing spins */
    }

    close(listener);
    if (connection >= 0)
        close(connection);
    if (active > 0 && stops == 1)
        warn(0, "clients still being served: %d (another signal cuts them off)", active);
    while (active > 0) {
        for (int place = 0; place < CLIENTS_MAX && stops > 1; place++)
            if (children[place] != 0)
                kill(children[place], SIGKILL);
        wait_for_event(-1, -1);
    }
    warn(0, "clients served: %d, failed: %d", served, failed);
    if (cut_off)
        die(0, "stopped before all had finished");
}
