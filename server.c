/*
 * server.c - sends a file over TCP, says that this was all by closing only its own half of the connection, and waits
 * until the client says that it has the file.
 *
 *     ./server                     in one terminal: sends client.c to whoever connects to 127.0.0.1, port 8080
 *     ./client                     in another: receives it into log.txt
 *
 * Read from top to bottom: after main comes the whole story, in the order in which it happens, then the file that is
 * sent. The last chapter can be skipped: many clients at once (-k). common.h has what both sides share; client.c is
 * the other side.
 */
#define PROGRAM "server"

static const char help[] =
    "usage: server [-kv] [-a ADDRESS] [-b BYTES] [-p PORT] [-t SECONDS] [FILE]\n"
    "Sends FILE (client.c) to the first client that connects, and waits for its acknowledgement.\n"
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

#include "common.h"

#include <sys/select.h>
#include <sys/wait.h>
#ifdef __APPLE__
#define st_mtim st_mtimespec /* its name for the time of the last change */
#endif

enum {
    REPLY_MAX = 1025,           /* bytes of a reply that are looked at */
    DRAIN_BYTES = 64 * 1024,    /* after the acknowledgement: how much more of the client is read and dropped, */
    DRAIN_SECONDS = 1,          /* and for how long */
    CLIENTS_MAX = 256,          /* served at the same time with -k; whoever comes then waits in the queue of listen */
    RETRY_MILLISECONDS = 200,   /* with -k: when to try again after there were no descriptors or processes to be had */
};

static const char *path;                /* the name of the file to send */
static int source = -1;                 /* that file, open for reading */
static struct stat source_status;       /* what it was when it was opened */
static off_t unread;                    /* how many bytes of it are still to be read; -1 if it is sent to its end */
static char host[64], service[8];       /* where the client last accepted comes from: address and port in numbers */

static int listen_for_clients(void);
static int accept_client(int listener);
static void serve_client(int connection);
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

    listener = listen_for_clients(); /* whatever ends the server from here on resets every connection */
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

/* ---- The story ------------------------------------------------------------------------------------------------- */

/* Writes address and port of NAME to host and service. */
static void name_to_text(const struct sockaddr_storage *name, socklen_t length)
{
    int problem = getnameinfo((const struct sockaddr *)name, length, host, sizeof host, service, sizeof service,
                              NI_NUMERICHOST | NI_NUMERICSERV);

    if (problem != 0)
        die(problem == EAI_SYSTEM ? errno : 0, "cannot print an address: %s", gai_strerror(problem));
}

/* Returns a listening socket, on the first of the addresses that -a and -p stand for that can be had.
 *
 * Whatever ends the server from now on, be it an error, a signal or a crash, makes the kernel close every
 * connection with a reset, until finish_normally is called. So a client reads end-of-file only if the shutdown
 * below was reached. */
static int listen_for_clients(void)
{
    const int on = 1;
    struct addrinfo *list = resolve();
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
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
        name_to_text(&name, length);
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
        name_to_text(&name, length);
    }
    return connection;
}

/* True if ERROR, of accept or fork, is a want of something that others may give back. After any other error of
 * accept the next client may still come; many are those of a connection that is gone again (accept(2), "Error
 * handling"). */
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
    note_progress(connection, 0);
    return connection;
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

/* All that passes between one client and the server. Ends the program if anything goes wrong. */
static void serve_client(int connection)
{
    static char block[BLOCK_SIZE];
    char reply[REPLY_MAX] = "";
    size_t in_block, length = 0, dropped = 0;
    ssize_t count = 0;

    trace(connection, "accepted");
    print("New client：%d , IP %s , Port %s", connection, host, service);
    open_source();
    print("Start to send data '%s' to client %d", path, connection);

    /* write returns when the kernel has the bytes in the send buffer of the socket, long before the client has
     * them, and takes only what there is room for. */
    transfer.began = microseconds();
    transfer.expected = unread;
    while ((in_block = read_source(connection, block)) > 0)
        for (size_t sent = 0; sent < in_block; sent += (size_t)count) {
            while ((count = write(connection, block + sent, in_block - sent)) < 0)
                if (!try_again(connection, POLLOUT))
                    die(errno, "client %d did not take all of '%s'", connection, path);
            note_progress(connection, count);
        }
    compare_source();
    end_transfer(connection);
    print("Send data done");

    /* The half-close. It puts a FIN behind the last byte: the client reads the rest of the file and then
     * end-of-file. But the connection stands, and what the client says can still be read. close would give up both
     * directions, and the client's answer would be met with a reset (shutdown(2); RFC 9293, 3.6.1). */
    if (shutdown(connection, SHUT_WR) != 0)
        die(errno, "client %d left before the end of '%s'", connection, path);
    trace(connection, "half-close: FIN behind the last byte");
    print("Output stream close");

    /* Until the client's kernel has everything, FIN included, every byte that it acknowledges is progress. From then on
     * the whole reply has -t. */
    while (send_queue(connection) > 0 && wait_for_peer(connection, POLLIN) == 0)
        ;
    trace(connection, "waits for the answer, and can still hear it");
    while (length < ACKNOWLEDGEMENT_LENGTH && memcmp(reply, acknowledgement, length) == 0) {
        count = read(connection, reply + length, sizeof reply - length);
        if (count == 0 || (count < 0 && !try_again(connection, POLLIN)))
            break;
        length += count > 0 ? (size_t)count : 0;
    }
    if (length < ACKNOWLEDGEMENT_LENGTH || memcmp(reply, acknowledgement, ACKNOWLEDGEMENT_LENGTH) != 0)
        die(count < 0 ? errno : 0, "client %d did not acknowledge the file%s%s%s", connection,
            length > 0 ? ", it said '" : "", reply_to_text(reply, length), length > 0 ? "'" : "");
    trace(connection, "acknowledgement received");
    print("%d：%s", connection, acknowledgement);

    /* The end in good order. To close while there is something to read would send a reset even so (RFC 2525, 2.17),
     * hence the rest of what the client sends is read and dropped first: other clients may pad their reply, or end
     * it with a newline. Within limits: this is a courtesy. */
    if (!finish_normally(connection))
        warn(errno, "client %d may see a reset", connection);
    patience = DRAIN_SECONDS;
    note_progress(connection, 0);
    do {
        count = read(connection, block, sizeof block);
        dropped += count > 0 ? (size_t)count : 0;
    } while (dropped < DRAIN_BYTES && (count > 0 || (count < 0 && try_again(connection, POLLIN))));
    trace(connection, count == 0 ? "end-of-file: the client has closed too" : "no end-of-file from the client");
    close(connection);
    trace(-1, "closed");
}

/* ---- The file that is sent ------------------------------------------------------------------------------------- */

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

/* Opens the file. A regular file is sent as long as it is now; anything else to its end: a pipe, a device, or a file of
 * /proc, which says that it is empty and is not. */
static void open_source(void)
{
    char byte;

    /* O_NONBLOCK: opening a FIFO does not wait for its writer. read_source does, and sees meanwhile if the client
     * leaves. But open has to wait while somebody has a lease on the file (fcntl(2), F_SETLEASE). */
    source = open(path, O_RDONLY | O_NONBLOCK);
    if (source < 0 && errno == EAGAIN)
        source = open(path, O_RDONLY);
    if (source < 0 || fstat(source, &source_status) != 0)
        die(errno, "cannot open '%s'", path);
    if (keep_serving && !S_ISREG(source_status.st_mode))
        die(0, "'%s' is no longer a regular file", path);
    unread = S_ISREG(source_status.st_mode) ? source_status.st_size : -1;
    if (unread == 0 && pread(source, &byte, 1, 0) != 0 && fstat(source, &source_status) == 0)
        unread = source_status.st_size > 0 ? source_status.st_size : -1;
}

/* Reads the next bytes of the file into BLOCK. A pipe may be silent, and is waited for as long as it takes. Returns how
 * many bytes, 0 at the end of the file. Ends the program if the connection is reset meanwhile. */
static size_t read_source(int connection, char block[BLOCK_SIZE])
{
    /* For the connection no event is asked for: a reset is always reported (poll(2), POLLERR). */
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
        count = read(source, block, unread >= 0 && unread < BLOCK_SIZE ? (size_t)unread : BLOCK_SIZE);
        if (count < 0 && errno != EAGAIN && errno != EINTR)
            die(errno, "cannot read '%s'", path);
        wait = true;
    }
    if (unread > 0)
        unread -= count;
    return (size_t)count;
}

/* Looks whether what was sent is the file as it was when it was opened. Ends the program if there is less of it now. */
static void compare_source(void)
{
    const intmax_t size = source_status.st_size;
    struct stat now;

    if (unread < 0)
        return;
    if (fstat(source, &now) != 0)
        die(errno, "cannot tell whether '%s' has changed", path);
    if (unread > 0)
        die(0, now.st_size == size ? "'%s' lacks %jd of the %jd bytes that it claims to have: send it through a pipe"
                                   : "'%s' is shorter than it was: %jd of its %jd bytes are missing",
            path, (intmax_t)unread, size);
    if (now.st_size != size || now.st_mtim.tv_sec != source_status.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != source_status.st_mtim.tv_nsec)
        warn(0, "'%s' was written to while it was being sent", path);
}

/* ---- Many clients at once: -k ---------------------------------------------------------------------------------- */

static pid_t children[CLIENTS_MAX];     /* the processes that serve a client; 0 is a free place */
static int active;                      /* how many there are */
static int served, failed;              /* how many have ended with status 0, and how many with another */
static sigset_t let_in;                 /* the signals that are blocked while we wait: those from before */
static volatile sig_atomic_t stops;     /* how many times SIGINT or SIGTERM came */

/* The handler of SIGINT and SIGTERM, and of SIGCHLD, which only has to end the wait. */
static void note_signal(int signal_number)
{
    if (signal_number != SIGCHLD)
        stops++;
}

/* Has the signals that matter here noted, but blocks them: only wait_for_event lets them in, and a child never
 * does. Ctrl-C in a terminal sends SIGINT to all of us, but it is the parent that decides when its children end.
 * What was ignored from the start, as a shell has SIGINT in the background, stays ignored. */
static void block_signals(void)
{
    static const int numbers[] = { SIGCHLD, SIGINT, SIGTERM };
    const struct sigaction note = { .sa_handler = note_signal };
    struct sigaction before;
    sigset_t noted;

    sigemptyset(&noted);
    for (int i = 0; i < 3; i++) {
        sigaddset(&noted, numbers[i]);
        if (sigaction(numbers[i], NULL, &before) != 0 ||
            ((before.sa_handler != SIG_IGN || i == 0) && sigaction(numbers[i], &note, NULL) != 0))
            die(errno, "cannot handle signal %d", numbers[i]);
    }
    if (sigprocmask(SIG_BLOCK, &noted, &let_in) != 0)
        die(errno, "cannot block signals");
    for (int i = 0; i < 3; i++)
        sigdelset(&let_in, numbers[i]); /* also if whoever started us had blocked them */
}

/* Waits until a client connects to LISTENER, unless that is -1, or a signal comes, for MILLISECONDS at most, -1 for
 * ever. Then takes note of the children that have ended. Returns true if a client is there. */
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
    ready = pselect(listener + 1, &readable, NULL, NULL, milliseconds < 0 ? NULL : &limit, &let_in);
    if (ready < 0 && errno != EINTR)
        die(errno, "cannot wait for clients");
    /* When a client is there at once, Linux does not let a signal in: one could wait for ever. */
    if (sigprocmask(SIG_SETMASK, &let_in, &blocked) != 0 || sigprocmask(SIG_SETMASK, &blocked, NULL) != 0)
        die(errno, "cannot let signals in");
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
        for (int place = 0; place < CLIENTS_MAX; place++)
            if (children[place] == ended) { /* and not one that we inherited from whoever became this program */
                children[place] = 0;
                active--;
                *(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS ? &served : &failed) += 1;
            }
    return ready > 0;
}

/* Has a new process serve CONNECTION, just as the server for a single client does. Returns true, or false with
 * errno set if there is no process to be had. */
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
        /* Each client gets a number of its own, so that its lines can be told from those of the others. */
        if (place > 0 && (number = fcntl(connection, F_DUPFD, connection + place)) >= 0) {
            close(connection);
            connection = number;
        }
        close(listener);
        serve_client(connection);
        exit(EXIT_SUCCESS);
    }
    active++;
    close(connection);
    return true;
}

/* Serves clients until SIGINT or SIGTERM, and then those that are being served to the end. On a second signal ends
 * these at once, which each of their clients sees as a reset. */
static void serve_many(int listener)
{
    int connection = -1; /* accepted, and not yet in the hands of a child */
    bool complained = false, cut_off = false;

    if (listener >= FD_SETSIZE)
        die(EMFILE, "cannot wait for clients");
    block_signals();
    while (stops == 0) {
        bool shortage;

        if (connection < 0 && !wait_for_event(active < CLIENTS_MAX ? listener : -1, -1))
            continue;
        if (connection < 0)
            connection = accept_connection(listener);
        if (connection >= 0 && fork_child(listener, connection)) {
            connection = -1;
            complained = false;
            continue;
        }
        shortage = connection >= 0 || is_shortage(errno);
        if (shortage && !complained) {
            complained = true;
            warn(errno, "cannot serve another client just now");
        }
        if (shortage || errno == EAGAIN) /* in spite of what the wait has promised */
            wait_for_event(-1, RETRY_MILLISECONDS);
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
        wait_for_event(-1, -1);
    }
    warn(0, "%d clients served, %d failed", served, failed);
    if (cut_off)
        die(0, "stopped before all had finished");
}
