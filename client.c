/*
 * client.c - receives a file over TCP, puts it in place, and only then tells the server that it has it.
 *
 *     ./server                     in one terminal: sends client.c to whoever connects to 127.0.0.1, port 8080
 *     ./client                     in another: receives it into log.txt
 *
 * Read server.c first, then this from top to bottom: after main come the steps of the story, in the order in which they
 * happen. The last chapter can be skipped: what is written to.
 *
 * A regular file is whole or untouched: it is received into a temporary one beside it, which is flushed to disk and
 * renamed over the destination. Only when that is done does the server hear the acknowledgement.
 */
#define PROGRAM "client"

static const char help[] =
    "usage: client [-v] [-a ADDRESS] [-b BYTES] [-d SECONDS] [-p PORT] [-t SECONDS] [FILE]\n"
    "Receives a file from a server into FILE (log.txt) and acknowledges it.\n"
    "\n"
    "  -a ADDRESS  connect to this address or name, IPv4 or IPv6 (127.0.0.1)\n"
    "  -b BYTES    size asked for both socket buffers, K and M allowed; 0 leaves them to the kernel (1025)\n"
    "  -d SECONDS  wait before acknowledging, to watch the server wait (0)\n"
    "  -h          show this help\n"
    "  -p PORT     connect to this port (8080)\n"
    "  -t SECONDS  give up when the server makes no progress for so long; 0 never does (30)\n"
    "  -v          trace on standard error what happens on the socket\n"
    "\n"
    "A regular file is replaced as a whole, once everything is there; a device, FIFO or pipe is written to\n"
    "directly; - is standard output, and then the transcript goes to standard error.\n"
    "Exit status: 0 the complete file is in place, 1 it is not, 2 usage error.\n";

#include "common.h"

#ifdef __linux__
#include <sys/xattr.h>
#endif

enum {
    FLUSH_SIZE = 64 * 1024 * 1024,  /* bytes received after which they are flushed to disk */
    PIPE_SIZE = 1024 * 1024,        /* bytes that the pipe for splice holds, where allowed (pipe(7)) */
    ACL_MAX = 4096,                 /* bytes of an access control list */
    TRIES = 1000,                   /* how often to look again when somebody else is changing what we look at */
};

static const char *path;            /* where to put the file: the user's words */
static int connection = -1;         /* the socket of the connection to the server */
static int output = -1;             /* what is written to: the temporary file, a device, a pipe */
static int directory = -1;          /* the directory of the destination: our working directory while there is one */
static char name[PATH_MAX];         /* the name of the destination in there */
static char temporary[64];          /* the name of the temporary file in there; empty if there is none */
static off_t old_size;              /* the size of the file to replace, 0 if there is none */

static void open_destination(void);
static void connect_to_server(void);
static void receive_file(void);
static bool put_in_place(void);
static bool acknowledge(void);

int main(int argc, char *argv[])
{
    unsigned delay = 0; /* -d: seconds from the end of the file to the acknowledgement */
    bool safe;

    start_up();
    while (read_options(argc, argv, ":a:b:d:hp:t:v") == 'd')
        delay = (unsigned)parse_number('d', SECONDS_MAX, false);
    path = file_operand(argc, argv, "log.txt");
    open_destination();

    connect_to_server();
    print("Connected to server");
    print("Recving data");
    receive_file();
    safe = put_in_place();
    print("Recv done, data in %s", path);

    while (delay > 0)
        delay = sleep(delay);
    if (safe && acknowledge())
        print("Send to server: %s", acknowledgement);
    close(connection);
    trace(-1, "closed");
    print("Client close");
    return EXIT_SUCCESS;
}

/* ---- The story ------------------------------------------------------------------------------------------------- */

/* Connects to the first of the addresses that -a and -p stand for that answers. */
static void connect_to_server(void)
{
    struct addrinfo *list = resolve();
    bool announced = false;
    int error = 0;
    socklen_t length = sizeof error;

    for (struct addrinfo *where = list; where != NULL && connection < 0; where = where->ai_next) {
        connection = socket(where->ai_family, where->ai_socktype, where->ai_protocol);
        if (connection < 0) {
            error = error != 0 ? error : errno;
            continue;
        }
        set_nonblocking(connection);
        reset_unless_finished(connection); /* a server that waits for a slow pipe learns at once that we are gone */
        set_buffers(connection);
        if (!announced)
            print("Trying to connect server");
        announced = true;

        /* The socket is non-blocking: connect only begins, and the outcome is there when the socket is writable. */
        trace(connection, "connecting");
        error = connect(connection, where->ai_addr, where->ai_addrlen) == 0 ? 0 : errno;
        while (error == EINPROGRESS || error == EINTR) {
            int ready = wait_for_peer(connection, POLLOUT);
            if (ready < 0 || (ready > 0 && getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &length) != 0))
                error = errno;
        }
        note_progress(connection, 0);
        if (error != 0) {
            close(connection);
            connection = -1;
        }
    }
    freeaddrinfo(list);
    if (error == ECONNREFUSED)
        die(0, "cannot connect to %s port %s: %s (start ./server first)", address, port, strerror(error));
    if (error != 0)
        die(error, "cannot connect to %s port %s", address, port);
    trace(connection, "connected");
}

/* Moves what is there from FROM, the connection, into the output, through a block of our own memory. Returns how many
 * bytes, 0 at end-of-file, or -1 with errno set if the connection failed. */
static ssize_t copy_block(int from)
{
    static char block[BLOCK_SIZE];
    ssize_t count;

    while ((count = read(from, block, sizeof block)) < 0)
        if (!try_again(from, POLLIN))
            return -1;
    if (!write_all(output, block, (size_t)count))
        die(errno, "cannot write '%s'", path);
    return count;
}

#if LINUX
/* The same for the connection, but what has arrived goes into a pipe, and from there into the output, and all that the
 * pipe ever holds are references to pages of the kernel (splice(2)). Only bytes that are there are moved like that: what
 * an end-of-file is, only read says. What splice refuses, at either end, is left to read and write. */
static ssize_t receive_block(void)
{
    static int ends[2];
    static bool refused;
    ssize_t count, moved;

    if (!refused && ends[1] == 0) {
        refused = pipe(ends) != 0;
        if (!refused)
            (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE); /* a smaller one will do too */
    }
    if (!refused && receive_queue(connection) == 0)
        (void)wait_for_peer(connection, POLLIN); /* if that fails, so does the wait for read */
    if (refused || receive_queue(connection) <= 0)
        return copy_block(connection);

    count = splice(connection, NULL, ends[1], NULL, PIPE_SIZE, SPLICE_F_NONBLOCK);
    if (count < 0 && (errno == ECONNRESET || errno == ETIMEDOUT || errno == EPIPE))
        return -1; /* the connection's own errors; they are told once, and read would now say end-of-file */
    refused = count <= 0;
    for (ssize_t left = count; left > 0; left -= moved) {
        moved = refused ? -1 : splice(ends[0], NULL, output, NULL, (size_t)left, 0);
        refused = moved <= 0;
        if (refused && (moved = copy_block(ends[0])) < 0) /* what is in the pipe by now has to be written all the same */
            die(errno, "cannot write '%s'", path);
    }
    return count > 0 ? count : copy_block(connection);
}
#else
static ssize_t receive_block(void)
{
    return copy_block(connection);
}
#endif

/* Flushes FD to disk. What has no disk behind it, a pipe say, is fine as it is (fsync(2), EINVAL). */
static bool flush_to_disk(int fd)
{
    int result;

    while ((result = fsync(fd)) != 0 && errno == EINTR)
        ;
    return result == 0 || errno == EINVAL || errno == ENOTSUP;
}

/* Receives until end-of-file. Each read returns what has arrived, at least one byte; how the server cut the data into
 * writes cannot be seen. 0 is the end: the server has closed its half. An error is not: after ECONNRESET, said once, read
 * would return 0 too, therefore nothing may be read after an error. */
static void receive_file(void)
{
    intmax_t flushed = 0;
    ssize_t count;

    begin_transfer(-1);
    while ((count = receive_block()) > 0) {
        note_progress(connection, count);
        /* Not all of it at the end: that could take a slow disk longer than the server has patience. */
        if (transfer.bytes - flushed >= FLUSH_SIZE) {
            if (!flush_to_disk(output))
                die(errno, "cannot write '%s'", path);
            flushed = transfer.bytes;
        }
    }
    if (count < 0)
        die(errno, temporary[0] != '\0' ? "the server did not finish, '%s' is untouched"
                                        : "the server did not finish, '%s' is incomplete", path);
    end_transfer(connection);
    trace(connection, "end-of-file: the server has closed its half");
}

/* Puts the file in place, to stay there even if the power fails now, as far as fsync goes: first its content, then its
 * name. Returns true if that is certain. Returns false, and has warned, if the file is in place but its name may not
 * survive a power cut. */
static bool put_in_place(void)
{
    /* After EINTR the descriptor is closed too (close(2), NOTES), and fsync has already said that all is well. */
    if (!flush_to_disk(output) || (close(output) != 0 && errno != EINTR))
        die(errno, "cannot write '%s'", path);
    if (temporary[0] != '\0') {
        if (rename(temporary, name) != 0)
            die(errno, "cannot put '%s' in place", path);
        temporary[0] = '\0';
        if (old_size > 0 && transfer.bytes == 0)
            warn(0, "the server sent nothing: '%s' is now empty", path);
        if (!flush_to_disk(directory)) {
            warn(errno, "'%s' is complete but not safely on disk, and so not acknowledged", path);
            return false;
        }
    }
    trace(connection, "'%s' is in place", path);
    return true;
}

/* Sends the acknowledgement. Returns true, or false, and has warned, if that failed: then the file is here, but the server
 * cannot know. */
static bool acknowledge(void)
{
    size_t sent = 0;
    ssize_t count = finish_normally(connection) ? 0 : -1;

    while (count >= 0 && sent < ACKNOWLEDGEMENT_LENGTH) {
        count = write(connection, acknowledgement + sent, ACKNOWLEDGEMENT_LENGTH - sent);
        if (count < 0 && try_again(connection, POLLOUT))
            count = 0;
        sent += count > 0 ? (size_t)count : 0;
    }
    if (count < 0)
        warn(errno, "'%s' is complete, but the server could not be told", path);
    else
        trace(connection, "acknowledgement sent");
    return count >= 0;
}

/* ---- What is written to ---------------------------------------------------------------------------------------- */

/* Removes the temporary file, if there is one. Also called in a signal handler. */
static void remove_temporary(void)
{
    if (temporary[0] != '\0')
        unlink(temporary);
}

/* The handler of every signal that would end the program: removes the temporary file, then lets the signal do what it
 * does without a handler. All calls in here are allowed in a handler (signal-safety(7)). Not SA_RESETHAND: a second
 * signal could be deadly before the first has done its work. */
static void end_by_signal(int signal_number)
{
    const struct sigaction deadly = { .sa_handler = SIG_DFL };

    remove_temporary();
    sigaction(signal_number, &deadly, NULL);
    raise(signal_number);
    _exit(128 + signal_number); /* only the first process of a container survives that */
}

/* Has end_by_signal called for every signal that would end the program, whatever its name and system, but SIGKILL, which
 * cannot be caught. What was ignored from the start, as nohup(1) does it, stays ignored. */
static void catch_signals(void)
{
    const struct sigaction action = { .sa_handler = end_by_signal, .sa_flags = SA_NODEFER };
    struct sigaction before;
#ifdef SIGRTMAX
    const int last = SIGRTMAX;
#else
    const int last = NSIG - 1;
#endif

    for (int number = 1; number <= last; number++)
        switch (number) {
        case SIGCHLD: case SIGCONT: case SIGTSTP: case SIGTTIN: case SIGTTOU: case SIGURG: case SIGWINCH:
#ifndef __linux__
        case SIGIO: case SIGINFO:
#endif
            break; /* these do not end a program */
        default: /* EINVAL: SIGKILL, SIGSTOP, and what the C library keeps for itself */
            if ((sigaction(number, NULL, &before) != 0 ||
                 (before.sa_handler == SIG_DFL && sigaction(number, &action, NULL) != 0)) && errno != EINVAL)
                die(errno, "cannot catch signal %d", number);
        }
}

/* Creates the temporary file in the directory of the destination, where rename can put it in place in one step, and goes
 * there: it can be removed even if that directory gets another name. No signal may come between the file's creation and
 * the moment its name is known. Not mkstemp: what a new file gets, from umask or a default ACL, depends on MODE. */
static void create_temporary(mode_t mode)
{
    sigset_t all, before;

    if (sigfillset(&all) != 0 || sigprocmask(SIG_SETMASK, &all, &before) != 0)
        die(errno, "cannot hold back signals");
    catch_signals();
    if (atexit(remove_temporary) != 0 || fchdir(directory) != 0)
        die(errno, "cannot write '%s'", path);
    errno = EEXIST;
    for (int i = 0; i < TRIES && output < 0 && errno == EEXIST; i++) {
        snprintf(temporary, sizeof temporary, ".client-%ld-%d", (long)getpid(), i);
        output = open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
    }
    if (output < 0) {
        temporary[0] = '\0';
        die(errno, "cannot write '%s': no temporary file beside it", path);
    }
    if (sigprocmask(SIG_SETMASK, &before, NULL) != 0)
        die(errno, "cannot let signals in again");
}

/* The access control list of the file to replace (acl(5)). It is an extended attribute (xattr(7)). */
static struct {
    char data[ACL_MAX];
    ssize_t length;         /* in bytes; 0 if there is no list, -1 if it cannot be read */
} acl;

/* Reads the list of FILE. */
static void read_acl(int file)
{
#ifdef __linux__
    acl.length = fgetxattr(file, "system.posix_acl_access", acl.data, sizeof acl.data);
    if (acl.length < 0 && (errno == ENODATA || errno == ENOTSUP))
        acl.length = 0;
#else
    (void)file;
#endif
}

/* Gives the temporary file this list, or none, whatever the directory wants new files to have, if there is none. */
static bool write_acl(void)
{
#ifdef __linux__
    if (acl.length > 0)
        return fsetxattr(output, "system.posix_acl_access", acl.data, (size_t)acl.length, 0) == 0;
    if (fremovexattr(output, "system.posix_acl_access") != 0 && errno != ENODATA && errno != ENOTSUP)
        return false;
#endif
    return acl.length == 0;
}

/* Gives the temporary file, which is open to nobody else yet, owner, group and permissions of the OLD file it will
 * replace, as far as the system lets us, and never more than these: where the group or the access control list cannot be
 * kept, group permissions go, and those of others as far as that would let in somebody whom the old ones kept out. (The
 * group permissions of a file with such a list are the list's mask.) */
static void keep_permissions(const struct stat *old)
{
    mode_t mode = old->st_mode & 0777, others = acl.length == 0 ? mode & mode >> 3 & 07 : 0;

    /* Only root can give a file away; its owner can give it to a group of his. */
    if ((fchown(output, old->st_uid, old->st_gid) != 0 && fchown(output, (uid_t)-1, old->st_gid) != 0) || !write_acl())
        mode = (mode & 0700) | others;
    if (fchmod(output, mode) != 0)
        die(errno, "cannot set the permissions of '%s'", path);
}

/* True if ONE and OTHER are of the same file, with the same permissions. */
static bool same_file(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino && one->st_mode == other->st_mode &&
           one->st_gid == other->st_gid;
}

/* Opens the directory that FILE is in, and notes its name there. Returns true and its status in THERE if it exists; a
 * symbolic link is not followed. */
static bool look_into_directory(const char *file, struct stat *there)
{
    const char *slash = strrchr(file, '/');
    char folder[PATH_MAX] = ".";
    bool found;

    if (slash != NULL)
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - file) + 1, file);
    snprintf(name, sizeof name, "%s", slash != NULL ? slash + 1 : file);
    if (directory >= 0)
        close(directory);
    directory = open(folder, O_RDONLY | O_DIRECTORY);
    if (directory < 0)
        die(errno, "cannot write '%s': directory '%s'", path, folder);
    found = fstatat(directory, name, there, AT_SYMLINK_NOFOLLOW) == 0;
    if (!found && (errno != ENOENT || name[0] == '\0'))
        die(errno, "cannot write '%s'", path);
    return found;
}

/* Opens what path leads to, which it is the kernel's right to decide: it may refuse to follow a link that somebody has
 * planted (proc_sys_fs(5), protected_symlinks). Returns true, or false if somebody is changing it just now. */
static bool try_to_open_destination(void)
{
    static struct stat link;
    struct stat old, there;
    char target[PATH_MAX];
    int file;
    bool exists, found;

    while ((file = open(path, O_WRONLY)) < 0 && errno == EINTR)
        ;
    if (file < 0 && errno == ETXTBSY) /* a program that is running may not be written to, but replaced */
        file = open(path, O_RDONLY);
    exists = file >= 0;
    if (exists ? fstat(file, &old) != 0 : errno != ENOENT)
        die(errno, "cannot write '%s'", path);

    /* What is not a file to replace is written to: a device, a pipe, or a FIFO, which open makes wait for its reader. */
    if (exists && !S_ISREG(old.st_mode)) {
        output = file;
        return true;
    }
    if (exists) {
        read_acl(file);
        close(file);
    }

    /* In which directory is it, and under which name? If path is a link, realpath says where it leads, but that counts only
     * if it is what the kernel has opened. */
    found = look_into_directory(path, &there);
    if (found && S_ISLNK(there.st_mode)) {
        if (!exists && same_file(&there, &link)) /* it was there before we tried, and is still there */
            die(0, "cannot write '%s': it is a symbolic link to nothing", path);
        link = there;
        if (realpath(path, target) == NULL || !look_into_directory(target, &there))
            return false;
    }
    if (found != exists || (found && !same_file(&old, &there)))
        return false;
    create_temporary(found ? 0600 : 0666);
    if (found)
        keep_permissions(&there);
    old_size = found ? there.st_size : 0;
    return true;
}

/* Opens what is to be written to, before the server is bothered. */
static void open_destination(void)
{
    struct stat status, standard;

    /* Standard output, also by one of its other names. With a device, as when both are /dev/null, no harm is done. */
    if (strcmp(path, "-") == 0 || (stat(path, &status) == 0 && !S_ISCHR(status.st_mode) &&
                                   fstat(STDOUT_FILENO, &standard) == 0 && same_file(&status, &standard))) {
        if (output_was_closed)
            die(EBADF, "cannot write '%s'", path);
        output = STDOUT_FILENO;
        transcript = STDERR_FILENO;
        return;
    }
    for (int i = 0; i < TRIES; i++)
        if (try_to_open_destination())
            return;
    die(0, "cannot write '%s': it changes all the time", path);
}
