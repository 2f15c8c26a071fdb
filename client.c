/*
 * client.c - receives a file over TCP, puts it in place, and only then tells the server that it has it.
 *
 *     ./server                     in one terminal: sends client.c to whoever connects to 127.0.0.1, port 8080
 *     ./client                     in another: receives it into log.txt
 *
 * main at the bottom tells the whole story, one call a step; the functions above it stand in the same order. Read server.c
 * first; common.h has what both share.
 *
 * A destination is whole or untouched. A file is received into a temporary one beside it, which is flushed to disk and
 * renamed over the destination, and only when that is done the server hears the acknowledgement.
 */
#include "common.h"

enum { LINKS_MAX = 40 };            /* symbolic links to follow before it must be a loop; what Linux takes */

static const char *file;            /* where to put it: the user's words */
static int delay;                   /* -d: seconds from the end of the file to the acknowledgement */

/* What the program holds, to be given back on every way out. Descriptors are -1, and names empty, when there is none. */
static int connection = -1;         /* the socket of the connection to the server */
static int output = -1;             /* what is written to: the temporary file, a device, a pipe */
static int directory = -1;          /* the directory of the destination */
static char destination[PATH_MAX];  /* the file to replace, with symbolic links followed */
static char temporary[PATH_MAX];    /* the name of the temporary file while it exists */

/* Closes whatever is open, which resets a connection before its time, and removes the temporary file. */
static void give_back(void)
{
    close_once(&connection);
    close_once(&output);
    close_once(&directory);
    if (temporary[0] != '\0')
        unlink(temporary);
}

/* The handler of every signal that would end the program: removes the temporary file, then lets the signal do what it does
 * without a handler. unlink and raise are safe here (signal-safety(7)). */
static void remove_temporary(int signal_number)
{
    if (temporary[0] != '\0')
        unlink(temporary);
    raise(signal_number); /* blocked while its handler runs, then deadly: SA_RESETHAND */
}

/* Has remove_temporary called for the signals that end a program, but for SIGKILL, which nobody can catch, and for those
 * that were ignored from the start, as nohup(1) does. */
static void catch_signals(void)
{
    static const int deadly[] = { SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGQUIT, SIGSEGV, SIGSYS,
                                  SIGTERM, SIGTRAP, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU };
    struct sigaction action = { .sa_handler = remove_temporary, .sa_flags = (int)SA_RESETHAND }, before;

    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        if (sigaction(deadly[i], NULL, &before) != 0 ||
            (before.sa_handler != SIG_IGN && sigaction(deadly[i], &action, NULL) != 0))
            die(errno, "cannot catch signal %d", deadly[i]);
}

/* Reads the command line into the variables above and in common.h. */
static void read_options(int argc, char *argv[])
{
    int letter;

    synopsis = "usage: client [-a ADDRESS] [-b BYTES] [-d SECONDS] [-p PORT] [-t SECONDS] [FILE]\n";
    help = "Receives a file from a server into FILE (log.txt) and acknowledges it.\n"
           "\n"
           "  -a ADDRESS  connect to this address or name, IPv4 or IPv6 (127.0.0.1)\n"
           "  -b BYTES    ask for this size of both socket buffers, K and M allowed; 0 leaves them to the kernel (1025)\n"
           "  -d SECONDS  wait before acknowledging, to watch the server wait (0)\n"
           "  -h          show this help\n"
           "  -p PORT     connect to this port (8080)\n"
           "  -t SECONDS  the longest wait for the server to do anything; 0 waits for ever (30)\n"
           "\n"
           "A regular file is replaced as a whole, once everything is there; a device, FIFO or pipe is written to\n"
           "directly; - is standard output, and then the transcript goes to standard error.\n"
           "Exit status: 0 the complete file is in place, 1 it is not, 2 usage error.\n";
    while ((letter = getopt(argc, argv, ":a:b:d:hp:t:")) != -1)
        if (letter == 'd')
            delay = parse_number(letter, SECONDS_MAX, false);
        else
            shared_option(letter);
    file = file_operand(argc, argv, "log.txt");
    if (strcmp(file, "-") == 0)
        transcript = stderr;
}

/* Returns the length of the directory part of PATH, with its last slash: 0 for a name without one. */
static size_t directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

/* Puts the name of what is to be written into destination: FILE, or what it leads to if it is a symbolic link, even if that
 * does not exist yet (realpath would insist). */
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
}

/* Creates the temporary file in the directory of the destination, where rename can put it in place in one step. No signal may
 * come between its creation and the moment its name is known. MODE is its permissions. */
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

/* Opens what is to be written to, before the server is bothered. */
static void open_destination(void)
{
    struct stat status;
    mode_t mode;

    if (strcmp(file, "-") == 0) {
        output = STDOUT_FILENO;
        return;
    }
    if (stat(file, &status) == 0) {
        if (!S_ISREG(status.st_mode)) { /* written to directly; open refuses a directory */
            output = open(file, O_WRONLY);
            if (output < 0)
                die(errno, "cannot write '%s'", file);
            return;
        }
        if (access(file, W_OK) != 0) /* rename would replace it all the same, against its owner's wish */
            die(errno, "cannot write '%s'", file);
        mode = status.st_mode & 0777;
    } else if (errno == ENOENT) {
        mode_t mask = umask(0); /* there is no way to read it but to set it */
        umask(mask);
        mode = 0666 & ~mask;
    } else
        die(errno, "cannot write '%s'", file);

    follow_links();
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

/* Connects to the first of the addresses that -a and -p stand for that answers. */
static void connect_to_server(void)
{
    struct addrinfo *list = resolve();
    bool announced = false;
    int error = 0;

    for (struct addrinfo *where = list; where != NULL && connection < 0; where = where->ai_next) {
        socklen_t length = sizeof error;
        if (!open_socket(where, &connection)) {
            error = errno;
            continue;
        }
        if (!announced)
            say("Trying to connect server\n");
        announced = true;

        /* The socket is non-blocking: connect only begins, and the outcome is there when the socket becomes writable. */
        error = 0;
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
}

/* Receives until end-of-file. read returns what has arrived, at least one byte; how the server cut the data into writes
 * cannot be seen. 0 is the end: the server has closed its half. An error is not: after ECONNRESET, said once, read would
 * return 0 too, therefore nothing may be read after an error. */
static void receive_file(void)
{
    static char block[BLOCK_SIZE];
    ssize_t count;

    while ((count = read_some(connection, block, sizeof block, deadline())) > 0)
        if (!write_all(output, block, (size_t)count))
            die(errno, "cannot write '%s'", file);
    if (count < 0)
        die(errno, "the server did not finish%s%s%s", temporary[0] != '\0' ? ", '" : "",
            temporary[0] != '\0' ? file : "", temporary[0] != '\0' ? "' is left as it was" : "");
}

/* Flushes FD to disk. Returns true, or false with errno set. What has no disk behind it, a pipe say, is fine as it is
 * (fsync(2), EINVAL). */
static bool flush(int fd)
{
    int result;

    while ((result = fsync(fd)) != 0 && errno == EINTR)
        ;
    return result == 0 || errno == EINVAL || errno == ENOTSUP;
}

/* Puts the file in place, to stay there even if the power fails now: first its content to disk, then its name. Returns true
 * if that is certain. Returns false, and has warned, if the file is in place but its name may not survive a power cut. */
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

/* Waits for -d seconds. */
static void wait_for_delay(void)
{
    struct timespec left = { .tv_sec = delay };

    while (nanosleep(&left, &left) != 0)
        if (errno != EINTR)
            die(errno, "cannot sleep");
}

/* Sends the acknowledgement and closes with an ordinary FIN. Returns true, or false with errno set: then the file is here,
 * but the server cannot know. */
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
    receive_file();
    bool certain = put_in_place();
    say("Recv done, data in %s\n", file);

    wait_for_delay();
    if (certain) {
        if (acknowledge())
            say("Send to server: %s\n", acknowledgement);
        else
            warn(errno, "'%s' is complete, but the server could not be told", file);
    }
    close_once(&connection);
    say("Client close\n");
    return EXIT_SUCCESS;
}
