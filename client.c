/*
 * client.c - receives a file over TCP, puts it in place, and only then tells the server that it has it.
 *
 *     ./server                     in one terminal: sends client.c to whoever connects to 127.0.0.1, port 8080
 *     ./client                     in another: receives it into log.txt
 *
 * main at the bottom tells the whole story, one call a step; the functions above it stand in the same order. Read
 * server.c first; common.h has what both share.
 *
 * A regular file is whole or untouched: it is received into a temporary one beside it, which is flushed to disk and
 * renamed over the destination. Only when that is done does the server hear the acknowledgement.
 */
#include "common.h"

enum {
    LINKS_MAX = 40,                 /* symbolic links to follow before it must be a loop; what Linux takes */
    FLUSH_SIZE = 64 * 1024 * 1024,  /* bytes received after which they are flushed to disk */
    CHANNEL_SIZE = 1024 * 1024,     /* bytes that the pipe for splice holds, where allowed (pipe(7)) */
};

static const char *file;            /* where to put it: the user's words */
static int delay;                   /* -d: seconds from the end of the file to the acknowledgement */

/* What the program holds, to be given back on every way out. Descriptors are -1, and names empty, when there is
 * none. */
static int connection = -1;         /* the socket of the connection to the server */
static int output = -1;             /* what is written to: the temporary file, a device, a pipe */
static int directory = -1;          /* the directory of the destination */
static int channel[2] = { -1, -1 }; /* the pipe that splice needs */
static char destination[PATH_MAX];  /* the file to replace, with symbolic links followed */
static char temporary[PATH_MAX];    /* the name of the temporary file while it exists */

/* Closes whatever is open, which resets a connection before its time, and removes the temporary file. */
static void give_back(void)
{
    close_once(&connection);
    close_once(&output);
    close_once(&directory);
    close_once(&channel[0]);
    close_once(&channel[1]);
    if (temporary[0] != '\0')
        unlink(temporary);
}

/* The handler of every signal that would end the program: removes the temporary file, then lets the signal do what it
 * does without a handler. All calls in here are allowed in a handler (signal-safety(7)). Not SA_RESETHAND: a second
 * signal could be deadly before the first has done its work. */
static void remove_temporary(int signal_number)
{
    const struct sigaction deadly = { .sa_handler = SIG_DFL };
    sigset_t this_one;

    if (temporary[0] != '\0')
        unlink(temporary);
    sigaction(signal_number, &deadly, NULL);
    sigemptyset(&this_one);
    sigaddset(&this_one, signal_number);
    sigprocmask(SIG_UNBLOCK, &this_one, NULL);
    raise(signal_number);
    _exit(128 + signal_number); /* only the first process of a container survives that */
}

/* Has remove_temporary called for SIGNAL_NUMBER, unless that was ignored from the start, as nohup(1) does. */
static void catch_signal(int signal_number)
{
    const struct sigaction action = { .sa_handler = remove_temporary };
    struct sigaction before;

    if (sigaction(signal_number, NULL, &before) != 0 ||
        (before.sa_handler != SIG_IGN && sigaction(signal_number, &action, NULL) != 0))
        die(errno, "cannot catch signal %d", signal_number);
}

/* Catches every signal that would end the program, but SIGKILL, which cannot be caught. */
static void catch_signals(void)
{
    static const int deadly[] = { SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGPROF, SIGQUIT,
                                  SIGSEGV, SIGSYS, SIGTERM, SIGTRAP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
#ifdef SIGPOLL
                                  SIGPOLL,
#endif
#ifdef SIGPWR
                                  SIGPWR, SIGSTKFLT, /* Linux only */
#endif
    };

    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        catch_signal(deadly[i]);
#ifdef SIGRTMIN
    for (int real_time = SIGRTMIN; real_time <= SIGRTMAX; real_time++)
        catch_signal(real_time);
#endif
}

/* Reads the command line into the variables above and in common.h. */
static void read_options(int argc, char *argv[])
{
    int letter;

    synopsis = "usage: client [-v] [-a ADDRESS] [-b BYTES] [-d SECONDS] [-p PORT] [-t SECONDS] [FILE]\n";
    help = "Receives a file from a server into FILE (log.txt) and acknowledges it.\n"
           "\n"
           "  -a ADDRESS  connect to this address or name, IPv4 or IPv6 (127.0.0.1)\n"
           "  -b BYTES    size asked for both socket buffers, K and M allowed; 0 leaves them to the kernel (1025)\n"
           "  -d SECONDS  wait before acknowledging, to watch the server wait (0)\n"
           "  -h          show this help\n"
           "  -p PORT     connect to this port (8080)\n"
           "  -t SECONDS  the longest wait for the server to do anything; 0 waits for ever (30)\n"
           "  -v          trace on standard error what happens on the socket\n"
           "\n"
           "A regular file is replaced as a whole, once everything is there; a device, FIFO or pipe is written to\n"
           "directly; - is standard output, and then the transcript goes to standard error.\n"
           "Exit status: 0 the complete file is in place, 1 it is not, 2 usage error.\n";
    while ((letter = getopt(argc, argv, ":a:b:d:hp:t:v")) != -1)
        if (letter == 'd')
            delay = parse_number(letter, SECONDS_MAX, false);
        else
            shared_option(letter);
    file = file_operand(argc, argv, "log.txt");
}

/* Returns the length of the directory part of PATH, with its last slash: 0 for a name without one. */
static size_t directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

/* Puts the name of what is to be written into destination: FILE, or what it leads to if it is a symbolic link, even if
 * that does not exist yet (realpath would insist). */
static void follow_links(void)
{
    char target[PATH_MAX];
    ssize_t length;
    int links = 0, room = snprintf(destination, sizeof destination, "%s", file);

    while (room < (int)sizeof destination && (length = readlink(destination, target, sizeof target - 1)) >= 0) {
        size_t kept = target[0] == '/' ? 0 : directory_length(destination);
        target[length] = '\0';
        if (++links > LINKS_MAX)
            die(ELOOP, "cannot write '%s'", file);
        room = (int)kept + snprintf(destination + kept, sizeof destination - kept, "%s", target);
    }
    if (room >= (int)sizeof destination)
        die(ENAMETOOLONG, "cannot write '%s'", file);
    if (errno != EINVAL && errno != ENOENT) /* neither "not a symbolic link" nor "not there yet" */
        die(errno, "cannot write '%s'", file);
}

/* Creates the temporary file in the directory of the destination, where rename can put it in place in one step. No
 * signal may come between its creation and the moment its name is known. MODE is its permissions. */
static void create_temporary(mode_t mode)
{
    char name[PATH_MAX];
    sigset_t all, before;
    int length = snprintf(name, sizeof name, "%.*s.client-XXXXXX", (int)directory_length(destination), destination);

    if (length >= (int)sizeof name)
        die(ENAMETOOLONG, "cannot write '%s'", file);
    if (sigfillset(&all) != 0 || sigprocmask(SIG_SETMASK, &all, &before) != 0)
        die(errno, "cannot hold back signals");
    output = mkstemp(name);
    if (output < 0)
        die(errno, "cannot write '%s': no temporary file '%s'", file, name);
    memcpy(temporary, name, sizeof name);
    if (sigprocmask(SIG_SETMASK, &before, NULL) != 0)
        die(errno, "cannot let signals in again");
    if (fchmod(output, mode) != 0)
        die(errno, "cannot set the permissions of '%s'", temporary);
}

/* True if ONE and OTHER are of the same file. */
static bool same_file(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* True if FILE, of which STATUS tells, is standard output by one of its other names, /dev/stdout say. With a device, as
 * when both are /dev/null, no harm is done, and it does not count. */
static bool is_standard_output(const struct stat *status)
{
    struct stat standard;

    return fstat(STDOUT_FILENO, &standard) == 0 && same_file(status, &standard) && !S_ISCHR(status->st_mode);
}

/* Opens a temporary file to replace the regular file FILE, or to become it if it does not exist, and its directory, so
 * that what is wrong with them shows before the transfer. MODE is its permissions. */
static void open_replacement(mode_t mode)
{
    size_t length = directory_length(destination);
    char folder[PATH_MAX] = ".";

    if (length > 0) {
        memcpy(folder, destination, length);
        folder[length] = '\0';
    }
    directory = open(folder, O_RDONLY | O_DIRECTORY);
    if (directory < 0)
        die(errno, "cannot write '%s': directory '%s'", file, folder);
    create_temporary(mode);
}

/* Opens what is to be written to, before the server is bothered. */
static void open_destination(void)
{
    struct stat status, target;
    int error = stat(file, &status) == 0 ? 0 : errno;

    if (strcmp(file, "-") == 0 || (error == 0 && is_standard_output(&status)))
        output = STDOUT_FILENO, transcript = stderr;
    else if (error == 0 && !S_ISREG(status.st_mode)) {
        while ((output = open(file, O_WRONLY)) < 0) /* not a directory; of a FIFO it waits for the reader */
            if (errno != EINTR)
                die(errno, "cannot write '%s'", file);
    } else if (error == 0) {
        if (access(file, W_OK) != 0) /* rename would replace it all the same, against its owner's wish */
            die(errno, "cannot write '%s'", file);
        follow_links();
        if (stat(destination, &target) != 0)
            die(errno, "cannot write '%s': '%s'", file, destination);
        if (!same_file(&status, &target)) /* a name in /proc of a file that was removed */
            die(ENOENT, "cannot write '%s'", file);
        open_replacement(status.st_mode & 0777);
    } else if (error == ENOENT && file[0] != '\0') {
        mode_t mask = umask(0); /* there is no way to read it but to set it */
        umask(mask);
        follow_links();
        open_replacement(0666 & ~mask);
    } else
        die(error, "cannot write '%s'", file);
}

/* Connects to the first of the addresses that -a and -p stand for that answers. */
static void connect_to_server(void)
{
    struct addrinfo *list = resolve();
    bool announced = false;
    int error = 0;

    for (struct addrinfo *where = list; where != NULL && connection < 0; where = where->ai_next) {
        socklen_t length = sizeof error;
        if (!open_socket(where, &connection)) {
            error = error != 0 ? error : errno;
            continue;
        }
        if (!announced)
            say("Trying to connect server\n");
        announced = true;

        /* The socket is non-blocking: connect only begins, and the outcome is there when the socket becomes
         * writable. */
        error = 0;
        trace(connection, "connecting");
        if (connect(connection, where->ai_addr, where->ai_addrlen) != 0 &&
            ((errno != EINPROGRESS && errno != EINTR) || !wait_until(connection, POLLOUT, deadline()) ||
             getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &length) != 0))
            error = errno;
        if (error != 0)
            close_once(&connection);
    }
    freeaddrinfo(list);
    if (error == ECONNREFUSED)
        die(0, "cannot connect to %s port %s: %s (start ./server first)", address, port, strerror(error));
    if (error != 0)
        die(error, "cannot connect to %s port %s", address, port);
    trace(connection, "connected");
}

/* Receives what is there into the output, through a block of our own memory. Returns how many bytes, 0 at the
 * end-of-file, or -1 with errno set if the connection failed. */
static ssize_t receive_block(void)
{
    static char block[BLOCK_SIZE];
    ssize_t count = read_some(connection, block, sizeof block, deadline());

    if (count > 0 && !write_all(output, block, (size_t)count))
        die(errno, "cannot write '%s'", file);
    return count;
}

#if LINUX
/* The same without our memory: splice moves what has arrived into a pipe, and from there into the output, and all the
 * pipe ever holds are references to pages of the kernel (splice(2)). What splice refuses, a terminal for output say, is
 * left to receive_block, but what is in the pipe by then has to be written first. */
static ssize_t receive_some(void)
{
    static bool refused;
    char block[4096];
    ssize_t count, moved;

    if (!refused && channel[0] < 0) {
        refused = !large_buffers() || pipe(channel) != 0;
        if (!refused)
            (void)fcntl(channel[1], F_SETPIPE_SZ, CHANNEL_SIZE); /* a smaller one will do too */
    }
    if (refused)
        return receive_block();

    while ((count = splice(connection, NULL, channel[1], NULL, CHANNEL_SIZE, SPLICE_F_NONBLOCK)) < 0)
        if (errno == EAGAIN) {
            if (!wait_until(connection, POLLIN, deadline()))
                return -1;
        } else if (errno != EINTR)
            return -1;

    for (ssize_t left = count; left > 0; left -= moved) {
        moved = refused ? 0 : splice(channel[0], NULL, output, NULL, (size_t)left, 0);
        if (moved < 0 && errno == EINTR)
            moved = 0;
        else if (moved <= 0) {
            refused = true;
            moved = read_some(channel[0], block, sizeof block, INT64_MAX);
            if (moved <= 0 || !write_all(output, block, (size_t)moved))
                die(errno, "cannot write '%s'", file);
        }
    }
    return count;
}
#else
#define receive_some receive_block
#endif

/* Flushes FD to disk. Returns true, or false with errno set. What has no disk behind it, a pipe say, is fine as it is
 * (fsync(2), EINVAL). */
static bool flush(int fd)
{
    int result;

    while ((result = fsync(fd)) != 0 && errno == EINTR)
        ;
    return result == 0 || errno == EINVAL || errno == ENOTSUP;
}

/* Receives until end-of-file. Whether by read or by splice, each call returns what has arrived, at least one byte; how
 * the server cut the data into writes cannot be seen. 0 is the end: the server has closed its half. An error is not:
 * after ECONNRESET, said once, read would return 0 too, therefore nothing may be read after an error. */
static void receive_file(void)
{
    intmax_t flushed = 0;
    ssize_t count;

    while ((count = receive_some()) > 0) {
        count_bytes(connection, count);
        /* Not all of it at the end: that could take a slow disk longer than the server has patience. */
        if (transfer.bytes - flushed >= FLUSH_SIZE) {
            if (!flush(output))
                die(errno, "cannot write '%s'", file);
            flushed = transfer.bytes;
        }
    }
    if (count < 0)
        die(errno, "the server did not finish%s%s%s", temporary[0] != '\0' ? ", '" : "",
            temporary[0] != '\0' ? file : "", temporary[0] != '\0' ? "' is untouched" : "");
}

/* Puts the file in place, to stay there even if the power fails now, as far as fsync goes: first its content, then its
 * name. Returns true if that is certain. Returns false, and has warned, if the file is in place but its name may not
 * survive a power cut. */
static bool put_in_place(void)
{
    if (!flush(output) || close_once(&output) != 0)
        die(errno, "cannot write '%s'", file);
    if (temporary[0] == '\0')
        return true;
    if (rename(temporary, destination) != 0)
        die(errno, "cannot rename '%s' to '%s'", temporary, destination);
    temporary[0] = '\0';
    if (flush(directory))
        return true;
    warn(errno, "'%s' is complete but not safely on disk, and so not acknowledged", file);
    return false;
}

/* Sends the acknowledgement, and lets close send an ordinary FIN. Returns true, or false with errno set: then the file
 * is here, but the server cannot know. */
static bool acknowledge(void)
{
    return reset_on_close(connection, false) && write_all(connection, acknowledgement, ACKNOWLEDGEMENT_LENGTH);
}

int main(int argc, char *argv[])
{
    start("client");
    if (atexit(give_back) != 0)
        die(0, "cannot prepare for the end");
    catch_signals();
    read_options(argc, argv);
    open_destination();

    connect_to_server();
    say("Connected to server\n");
    say("Recving data\n");
    begin_transfer(-1);
    receive_file();
    end_transfer(connection);
    trace(connection, "end-of-file: the server has closed its half");
    bool certain = put_in_place();
    trace(connection, "'%s' is in place", file);
    say("Recv done, data in %s\n", file);

    for (unsigned left = (unsigned)delay; left > 0; left = sleep(left))
        ;
    if (certain) {
        if (acknowledge()) {
            trace(connection, "acknowledgement sent");
            say("Send to server: %s\n", acknowledgement);
        } else
            warn(errno, "'%s' is complete, but the server could not be told", file);
    }
    close_once(&connection);
    trace(-1, "closed");
    trace_total();
    say("Client close\n");
    return EXIT_SUCCESS;
}
