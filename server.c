/*
 * server.c - sends a file over TCP, says that this was all by closing only its own half of the connection, and waits
 * until the client says that it has the file.
 *
 *     ./server                     in one terminal: sends client.c to whoever connects to 127.0.0.1, port 8080
 *     ./client                     in another: receives it into log.txt
 *
 * Read main at the bottom first, then serve_client above it: they tell the whole story, one call a step, and the other
 * functions stand in the same order. The part on many clients, -k, can wait. common.h has what is not special to this
 * side, client.c is the other side.
 */
#include "common.h"

#include <sys/wait.h>
#if LINUX
#include <sys/prctl.h>
#endif

enum {
    CLIENTS_MAX = 256,          /* served at the same time with -k; whoever comes then waits in the queue of listen */
    PAUSE_MILLISECONDS = 200,   /* with -k: how often to look what is to be done even if nothing happens */
    REPLY_MAX = 1025,           /* bytes of a reply that are looked at */
    CALL_MAX = 1 << 30,         /* bytes sent by one call at the most: what every size_t can count */
    DRAIN_BYTES = 64 * 1024,    /* after the acknowledgement: how much more of the client is read and dropped, */
    DRAIN_MICROSECONDS = 1000000, /* and for how long */
};

static const char *file;        /* what to send */

static struct sockaddr_storage peer;    /* the address of the client */
static socklen_t peer_length;

/* The descriptors the program holds, -1 when it does not: give_back closes them on every way out. */
static int listener = -1;       /* the listening socket */
static int connection = -1;     /* the socket of the connection to the client */
static int source = -1;         /* the file, open for reading */

/* Closes whatever is open. If that is the connection before its time, the client sees a reset. */
static void give_back(void)
{
    close_once(&source);
    close_once(&connection);
    close_once(&listener);
}

/* Reads the command line into the variables above and in common.h. */
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
           "  -t SECONDS  the longest wait for the client to do anything; 0 waits for ever (30)\n"
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
    file = file_operand(argc, argv, "client.c");
}

/* Refuses a file that cannot be sent before anyone has to wait for it. It is opened only when there is a client. */
static void check_file(void)
{
    struct stat status;

    if (stat(file, &status) != 0 || access(file, R_OK) != 0)
        die(errno, "cannot send '%s'", file);
    if (S_ISDIR(status.st_mode) || S_ISSOCK(status.st_mode))
        die(S_ISDIR(status.st_mode) ? EISDIR : ENXIO, "cannot send '%s'", file);
    if (keep_serving && !S_ISREG(status.st_mode))
        die(0, "cannot send '%s' more than once: it is not a regular file", file);
}

/* Writes the address and the port in NAME to HOST and SERVICE, in numbers. */
static void print_name(const struct sockaddr_storage *name, socklen_t length, char host[HOST_ROOM],
                       char service[PORT_ROOM])
{
    int problem = getnameinfo((const struct sockaddr *)name, length, host, HOST_ROOM, service, PORT_ROOM,
                              NI_NUMERICHOST | NI_NUMERICSERV);

    if (problem != 0)
        die(problem == EAI_SYSTEM ? errno : 0, "cannot print an address: %s", gai_strerror(problem));
}

/* Tells on standard error which port the kernel chose. */
static void tell_port(void)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    char host[HOST_ROOM], service[PORT_ROOM];

    if (getsockname(listener, (struct sockaddr *)&name, &length) != 0)
        die(errno, "cannot find out the port");
    print_name(&name, length, host, service);
    warn(0, "listening on %s port %s", host, service);
}

/* Opens the listening socket on the first of the addresses that -a and -p stand for that can be had. */
static void listen_for_clients(void)
{
    const int on = 1;
    struct addrinfo *list = resolve();
    int error = 0;

    for (struct addrinfo *where = list; where != NULL && listener < 0; where = where->ai_next) {
        /* SO_REUSEADDR: the connections of an earlier run, which linger in TIME_WAIT, do not keep the port taken. Not
         * SO_REUSEPORT: with it a second server could take this port too, and some of our clients (socket(7)). */
        if (open_socket(where, &listener) &&
            setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            bind(listener, where->ai_addr, where->ai_addrlen) == 0 &&
            listen(listener, SOMAXCONN) == 0)
            break;
        error = errno;
        close_once(&listener);
    }
    freeaddrinfo(list);
    if (listener < 0)
        die(0, "cannot listen on %s port %s: %s%s", address, port, strerror(error),
            error == EADDRINUSE ? " (-p chooses another port)" : "");
    if (strtoul(port, NULL, 10) == 0)
        tell_port();
    trace(listener, "listening");
}

/* True if accept failed with ERROR only because there is no client yet, or because a connection was already gone again,
 * so that it is worth waiting for the next (accept(2), "Error handling"). */
static bool may_accept_again(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ECONNABORTED || error == EPROTO ||
#ifdef ENONET
           error == ENONET ||
#endif
           error == ENOPROTOOPT || error == EHOSTDOWN || error == EOPNOTSUPP || error == ENETDOWN ||
           error == ENETUNREACH || error == EHOSTUNREACH;
}

/* Accepts a connection if there is one, as connection, and sees to it that an early end is a reset: Linux and the BSDs
 * let it inherit that from the listening socket, but POSIX does not promise it. Keeps the address of the client, since
 * getpeername fails once the client is gone. Returns true, or false with errno set. */
static bool accept_connection(void)
{
    int error;

    peer_length = sizeof peer;
    connection = accept(listener, (struct sockaddr *)&peer, &peer_length);
    if (connection >= 0 && set_nonblocking(connection) && reset_on_close(connection, true))
        return true;
    error = errno;
    close_once(&connection);
    errno = error;
    return false;
}

/* Waits for a client and accepts its connection. */
static void accept_client(void)
{
    int64_t until = deadline();

    while (!accept_connection()) {
        if (!may_accept_again(errno))
            die(errno, "cannot accept a connection");
        if (!wait_until(listener, POLLIN, until))
            die(errno, "no client came");
    }
}

/* Says who the new client is. */
static void welcome_client(void)
{
    char host[HOST_ROOM], service[PORT_ROOM];

    print_name(&peer, peer_length, host, service);
    trace(connection, "accepted");
    say("New client：%d , IP %s , Port %s\n", connection, host, service);
}

/* Opens the file. Returns how many bytes to send: a regular file is sent as long as it is now. Returns -1 if it has to
 * be sent to its end: a pipe, a device, or one of the files of /proc, which say that they are empty and are not. */
static off_t open_file(void)
{
    struct stat status;

    /* O_NONBLOCK: opening a FIFO does not wait for its writer. send_file does, and sees meanwhile if the client
     * leaves. */
    source = open(file, O_RDONLY | O_NONBLOCK);
    if (source < 0 || fstat(source, &status) != 0)
        die(errno, "cannot open '%s'", file);
    if (keep_serving && !S_ISREG(status.st_mode))
        die(0, "'%s' is no longer a regular file", file);
    return S_ISREG(status.st_mode) && status.st_size > 0 ? status.st_size : -1;
}

/* Waits, for as long as it takes, until the file has something to read or has ended: only a pipe or a device makes us
 * wait. Ends the program if the connection is reset meanwhile. */
static void wait_for_file(void)
{
    /* For the connection no event is asked for: a reset is always reported (poll(2), POLLERR). */
    struct pollfd wanted[] = { { .fd = source, .events = POLLIN }, { .fd = connection } };

    while (wanted[0].revents == 0) {
        if (poll(wanted, 2, -1) < 0 && errno != EINTR)
            die(errno, "cannot wait for '%s'", file);
        if ((wanted[1].revents & (POLLERR | POLLHUP)) != 0)
            die(ECONNRESET, "client %d left before the end of '%s'", connection, file);
    }
}

/* Ends the program because the connection no longer takes what we send; errno says why. */
static _Noreturn void lost_client(void)
{
    die(errno, "client %d did not take all of '%s'", connection, file);
}

/* Sends at most MOST bytes of the file, through a block of our own memory. Returns how many, 0 at the end of the
 * file. */
static ssize_t send_block(size_t most)
{
    static char block[BLOCK_SIZE];
    ssize_t length, count;

    while ((length = read(source, block, most < sizeof block ? most : sizeof block)) < 0)
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            wait_for_file();
        else if (errno != EINTR)
            die(errno, "cannot read '%s'", file);
    for (ssize_t sent = 0; sent < length; sent += count) {
        count = write_some(connection, block + sent, (size_t)(length - sent));
        if (count < 0)
            lost_client();
        count_bytes(connection, count);
    }
    return length;
}

#if LINUX
/* The same without our memory: the kernel hands the pages of the file to the socket (sendfile(2)). Whatever it refuses,
 * a file it cannot read included, is left to send_block, which can do it or say what is wrong. */
static ssize_t send_some(size_t most)
{
    static bool refused;
    ssize_t count;

    while (large_buffers() && !refused) {
        count = sendfile(connection, source, NULL, most);
        if (count > 0)
            count_bytes(connection, count);
        if (count >= 0)
            return count;
        if (errno == EPIPE || errno == ECONNRESET || (errno == EAGAIN && !wait_for_room(connection)))
            lost_client();
        refused = errno != EAGAIN && errno != EINTR;
    }
    return send_block(most);
}
#else
#define send_some send_block
#endif

/* Sends LENGTH bytes of the file, or all until its end if LENGTH is -1. Whether by write or by sendfile, the call
 * returns when the kernel has the bytes in the send buffer of the socket, long before the client has them, and when
 * that is full we wait. */
static void send_file(off_t length)
{
    off_t left = length;
    ssize_t count;

    while (left > 0) {
        count = send_some(left < CALL_MAX ? (size_t)left : CALL_MAX);
        if (count == 0)
            die(0, "'%s' is shorter than it was: %jd of its %jd bytes are missing", file, (intmax_t)left,
                (intmax_t)length);
        left -= count;
    }
    if (length < 0)
        do
            wait_for_file();
        while (send_block(BLOCK_SIZE) > 0);
}

/* The half-close. shutdown(SHUT_WR) puts a FIN behind the last byte: the client reads the rest of the file and then
 * end-of-file, but the connection stands, and what the client says can still be read. close would give up both
 * directions, and the client's answer would be met with a reset (shutdown(2); RFC 9293, 3.6.1). */
static void half_close(void)
{
    if (shutdown(connection, SHUT_WR) != 0)
        die(errno, "client %d left before the end of '%s'", connection, file);
    trace(connection, "half-close: FIN behind the last byte");
}

/* For the trace: waits, UNTIL at most, for the client's kernel to acknowledge the FIN, or for the reply. No call
 * reports that moment, hence the look at the state every millisecond. */
static void watch_fin(int64_t until)
{
    while (strcmp(tcp_state(connection), "FIN_WAIT1") == 0 && microseconds() < until &&
           !wait_until(connection, POLLIN, microseconds() + 1000))
        ;
    trace(connection, "waits for the answer, and can still hear it");
}

/* Copies LENGTH bytes from REPLY to SHOWN, which has room for four times as much and a NUL, with everything that is not
 * printable ASCII as \xNN: what comes from the network must not command the terminal. Returns SHOWN. */
static const char *escape(char *shown, const char *reply, size_t length)
{
    char *end = shown;

    *end = '\0';
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)reply[i];
        end += sprintf(end, byte < ' ' || byte > '~' || byte == '\\' ? "\\x%02x" : "%c", byte);
    }
    return shown;
}

/* Waits for the acknowledgement, -t in all. Any other reply, or none, ends the program. */
static void read_acknowledgement(void)
{
    char reply[REPLY_MAX] = "", shown[4 * REPLY_MAX + 1];
    size_t length = 0;
    ssize_t count = 0;
    int64_t until = deadline();

    if (tracing)
        watch_fin(until);
    while (length < ACKNOWLEDGEMENT_LENGTH && memcmp(reply, acknowledgement, length) == 0) {
        count = read_some(connection, reply + length, sizeof reply - length, until);
        if (count <= 0)
            break;
        length += (size_t)count;
    }
    if (length >= ACKNOWLEDGEMENT_LENGTH && memcmp(reply, acknowledgement, ACKNOWLEDGEMENT_LENGTH) == 0) {
        trace(connection, "acknowledgement received");
        return;
    }
    if (length > 0)
        die(count < 0 ? errno : 0, "client %d did not acknowledge the file, it said '%s'", connection,
            escape(shown, reply, length));
    die(count < 0 ? errno : 0, "client %d did not acknowledge the file", connection);
}

/* Ends the connection in good order. Everything has been said, so closing may send an ordinary FIN again. But closing
 * while there is something to read sends a reset even so (RFC 2525, 2.17), hence the rest of what the client sends is
 * read and dropped first: other clients may pad their reply, or end it with a newline. Within limits: this is a
 * courtesy. */
static void close_connection(void)
{
    char block[1024];
    size_t dropped = 0;
    ssize_t count;
    int64_t until = microseconds() + DRAIN_MICROSECONDS;

    if (!reset_on_close(connection, false))
        warn(errno, "client %d may see a reset", connection);
    while (dropped < DRAIN_BYTES && (count = read_some(connection, block, sizeof block, until)) > 0)
        dropped += (size_t)count;
    trace(connection, count == 0 ? "end-of-file: the client has closed too" : "no end-of-file from the client");
    close_once(&connection);
    trace(-1, "closed");
}

/* Everything between a client and the server, from the first line to the last. */
static void serve_client(void)
{
    off_t length;

    welcome_client();
    length = open_file();
    say("Start to send data '%s' to client %d\n", file, connection);
    begin_transfer(length);
    send_file(length);
    end_transfer(connection);
    say("Send data done\n");
    half_close();
    say("Output stream close\n");

    read_acknowledgement();
    say("%d：%s\n", connection, acknowledgement);
    close_connection();
    trace_total();
}

/* ---- Many clients at once: -k ---------------------------------------------------------------------------------- */

static pid_t children[CLIENTS_MAX];     /* the processes that serve a client; 0 is a free place */
static int served, failed;              /* how many of those that have ended had status 0, and how many another */
static volatile sig_atomic_t stops;     /* how many times SIGINT or SIGTERM came */

static void count_stop(int signal_number)
{
    (void)signal_number;
    stops++;
}

/* The handler of SIGCHLD: nothing to do but to end the wait. */
static void wake(int signal_number)
{
    (void)signal_number;
}

/* Has ACTION called for SIGNAL_NUMBER. Calls that the signal interrupts go on, all but poll. */
static void on_signal(int signal_number, void (*action)(int))
{
    const struct sigaction handler = { .sa_handler = action, .sa_flags = SA_RESTART };

    if (sigaction(signal_number, &handler, NULL) != 0)
        die(errno, "cannot handle signal %d", signal_number);
}

/* From now on the signals that tell serve_many what to do are noted, also those that come before it begins. */
static void catch_stops(void)
{
    on_signal(SIGINT, count_stop);
    on_signal(SIGTERM, count_stop);
    on_signal(SIGCHLD, wake);
}

/* Takes note of the children that have ended: of all those there are if WAIT, else of those that have already. Returns
 * how many are left. */
static int reap(bool wait)
{
    int left = 0, status = 0;

    for (int i = 0; i < CLIENTS_MAX; i++) {
        pid_t ended = 0;
        if (children[i] == 0)
            continue;
        do
            ended = waitpid(children[i], &status, wait ? 0 : WNOHANG);
        while (ended < 0 && errno == EINTR);
        if (ended == 0)
            left++;
        else {
            children[i] = 0;
            if (ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS)
                served++;
            else
                failed++;
        }
    }
    return left;
}

/* What a child of the process PARENT does: serves its client just as the server for a single one does, and ends. PLACE
 * is its place among the children. */
static _Noreturn void be_child(pid_t parent, int place)
{
    int number;

    /* Ctrl-C in a terminal sends SIGINT to all of us, but it is the parent that decides when we end, with SIGKILL.
     * And if the parent itself is killed, Linux sends us that. Elsewhere we end when our client is served. */
    on_signal(SIGINT, SIG_IGN);
    on_signal(SIGTERM, SIG_IGN);
#if LINUX
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        die(errno, "cannot ask to end with the server");
#endif
    if (getppid() != parent) /* too late to ask */
        exit(EXIT_FAILURE);

    /* Each client gets a number of its own, so that its lines can be told from those of the others. */
    if (place > 0 && (number = fcntl(connection, F_DUPFD, connection + place)) >= 0) {
        close_once(&connection);
        connection = number;
    }
    close_once(&listener);
    serve_client();
    exit(EXIT_SUCCESS);
}

/* Accepts a connection, unless one is still waiting for a process, and has a new process serve it. Returns true, or
 * false with errno set if that failed for want of something, mostly descriptors or processes, and may work a little
 * later. */
static bool accept_and_fork(void)
{
    const pid_t parent = getpid();
    int place = 0;

    if (connection < 0 && !accept_connection())
        return may_accept_again(errno);

    while (children[place] != 0)
        place++;
    children[place] = fork();
    if (children[place] == 0)
        be_child(parent, place);
    if (children[place] < 0) {
        children[place] = 0;
        return false;
    }
    close_once(&connection);
    return true;
}

/* Serves clients until it is told to stop, and then those that are being served to the end. On the second SIGINT or
 * SIGTERM ends these at once, which each of their clients sees as a reset. */
static void serve_many(void)
{
    bool lacking = false; /* descriptors or processes */
    int active;

    while ((active = reap(false)) > 0 || stops == 0) {
        struct pollfd wanted = { .fd = -1, .events = POLLIN };
        if (stops > 1)
            break;
        if (stops > 0 && listener >= 0) {
            close_once(&connection);
            close_once(&listener);
            if (active > 0)
                warn(0, "%d clients are still being served, and another signal ends them", active);
        } else if (stops == 0 && active < CLIENTS_MAX && !lacking)
            wanted.fd = listener;
        /* Not for ever: a signal that comes just before poll does not end its wait. */
        if (poll(&wanted, 1, PAUSE_MILLISECONDS) < 0 && errno != EINTR)
            die(errno, "cannot wait for clients");
        if (stops > 0 || active == CLIENTS_MAX || (wanted.revents == 0 && !lacking))
            continue;
        bool done = accept_and_fork();
        if (!done && !lacking)
            warn(errno, "cannot serve another client just now");
        lacking = !done;
    }
    for (int i = 0; i < CLIENTS_MAX; i++)
        if (children[i] != 0)
            kill(children[i], SIGKILL);
    reap(true);
    warn(0, "%d clients served, %d failed", served, failed);
    if (active > 0)
        die(0, "stopped before all had finished");
}

int main(int argc, char *argv[])
{
    start("server");
    if (atexit(give_back) != 0)
        die(0, "cannot prepare for the end");
    read_options(argc, argv);
    check_file();

    if (keep_serving)
        catch_stops();
    listen_for_clients();
    say("Waiting for connecting\n");
    if (keep_serving)
        serve_many();
    else {
        accept_client();
        close_once(&listener); /* nobody else is served: whoever comes now is refused and not left waiting */
        serve_client();
    }
    say("Server close\n");
    return EXIT_SUCCESS;
}
