/*
 * client.c - receives a file over TCP, puts it in place, and only then tells the server that it has it.
 *
 *     ./server                     in one terminal: sends client.c to whoever connects to 127.0.0.1, port 8080
 *     ./client                     in another: receives it into log.txt
 *
 * Read server.c first, then this from top to bottom: after main come the steps of the story, in the order in which they
 * happen. What opens the destination, which comes first, is in the last chapter; you can skip that.
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
    "  -b BYTES    size to ask for both socket buffers, K and M allowed; 0 leaves them to the kernel (1025)\n"
    "  -d SECONDS  wait this long before acknowledging, to watch the server wait (0)\n"
    "  -h          show this help\n"
    "  -p PORT     connect to this port (8080)\n"
    "  -t SECONDS  give up when the server makes no progress for this long; 0 never gives up (30)\n"
    "  -v          trace what happens on the socket, on standard error\n"
    "\n"
    "A regular file is replaced as a whole, once all of the new one is here. A device, FIFO or pipe is written to\n"
    "directly. - is standard output, and the transcript then goes to standard error.\n"
    "Exit status: 0 if the complete file is in place, 1 if it is not, 2 for a usage error.\n";

#include "common.h"

#ifdef __linux__ /* not LINUX: with PORTABLE=1, too, nobody else may read the file */
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
static int directory = -1;          /* the directory of the destination: once there is a temporary file, also our own */
static char name[PATH_MAX];         /* the name of the destination in there */
static char temporary[64];          /* the name of the temporary file in there; empty if there is none */
static uid_t owner;                 /* the owner of the file to replace, or of any that we make */
static off_t old_size;              /* the size of the file to replace, 0 if there is none */

static void open_destination(void);
static void connect_to_server(void);
static void receive_file(void);
static void keep_permissions(void);
static bool put_in_place(void);
static bool acknowledge(void);

int main(int argc, char *argv[])
{
    unsigned delay = 0; /* -d: seconds from the end of the file to the acknowledgement */
    bool safe;

    start_up();
    while (read_options(argc, argv, ":a:b:d:hp:t:v") == 'd')
        delay = (unsigned)parse_number('d', INT_MAX, false);
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
    if (safe && acknowledge()) /* if not, close resets, and the server knows that it has no acknowledgement */
        print("Send to server: %s", acknowledgement);
    close(connection);
    trace(-1, "closed");
    print("Client close");
    return EXIT_SUCCESS;
}

/* ---- The story ------------------------------------------------------------------------------------------------- */

/* Connects to the first address for -a and -p that answers. */
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
        reset_on_close(connection); /* so that a server that waits for a slow pipe learns at once if we die */
        set_buffers(connection);
        if (!announced)
            print("Trying to connect server");
        announced = true;

        /* The socket is non-blocking: connect only starts, and has succeeded or failed once the socket is writable. */
        trace(connection, "connecting");
        error = connect(connection, where->ai_addr, where->ai_addrlen) == 0 ? 0 : errno;
        while (error == EINPROGRESS || error == EINTR) {
            int ready = wait_for_peer(connection, POLLOUT);
            if (ready < 0 || (ready > 0 && getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &length) != 0))
                error = errno;
        }
        restart_clock();
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

/* Moves what is there from FROM, the connection or the pipe, into the output, through a block of our own memory.
 * Returns how many bytes, 0 at end-of-file, or -1 with errno set if the connection failed. */
static ssize_t copy_block(int from)
{
    static char block[BLOCK_SIZE];
    ssize_t count;

    while ((count = read(from, block, sizeof block)) < 0)
        if (!wait_to_retry(from, POLLIN))
            return -1;
    if (!write_all(output, block, (size_t)count))
        die(errno, "cannot write '%s'", path);
    return count;
}

/* Moves what has arrived into the output, and returns as copy_block does. On Linux splice moves it into a pipe, and
 * from there into the output, and all that the pipe ever holds are references to pages of the kernel (splice(2)).
 * It only moves bytes: what an end-of-file is, only read says. What splice refuses, at either end, is copied. */
static ssize_t receive_block(void)
{
#if LINUX
    static int ends[2];
    static bool refused;
    ssize_t count = 0, moved;

    if (!refused && ends[1] == 0) {
        refused = pipe(ends) != 0;
        if (!refused)
            (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_SIZE); /* a smaller one will do too */
    }
    if (!refused) {
        (void)wait_for_peer(connection, POLLIN); /* if that fails, so does the wait for read */
        count = splice(connection, NULL, ends[1], NULL, PIPE_SIZE, SPLICE_F_NONBLOCK);
        if (count < 0 && errno != EAGAIN && errno != EINTR && errno != EINVAL && errno != ENOMEM && errno != ENOSYS &&
            errno != EPERM)
            return -1; /* the connection's own error: it is reported once, and read would now say end-of-file */
        refused = count < 0 && errno != EAGAIN && errno != EINTR;
    }
    for (ssize_t left = count; left > 0; left -= moved) {
        moved = refused ? -1 : splice(ends[0], NULL, output, NULL, (size_t)left, 0);
        refused = moved <= 0;
        if (refused && (moved = copy_block(ends[0])) < 0) /* what is in the pipe has to be written all the same */
            die(errno, "cannot write '%s'", path);
    }
    if (count > 0)
        return count;
#endif
    return copy_block(connection);
}

/* Flushes FD to disk. What has no disk behind it, a pipe say, is fine as it is (fsync(2), EINVAL). */
static bool flush_to_disk(int fd)
{
    int result;

    while ((result = fsync(fd)) != 0 && errno == EINTR)
        ;
    return result == 0 || errno == EINVAL || errno == ENOTSUP;
}

/* Receives until end-of-file. Each read returns what has arrived, at least one byte; how the server cut the data
 * into writes cannot be seen. 0 is the end: the server has closed its half. After an error nothing may be read any
 * more: ECONNRESET is reported once, and then read would return 0, too. */
static void receive_file(void)
{
    intmax_t flushed = 0;
    ssize_t count;

    transfer.began = microseconds();
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
    if (!flush_to_disk(output))
        die(errno, "cannot write '%s'", path);
    /* Late, after the flush that may take long: what somebody changes about the old file before this counts. */
    if (temporary[0] != '\0')
        keep_permissions();
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

/* Sends the acknowledgement. Returns true, or false, and has warned, if that failed: then the file is here, but the
 * server cannot know. */
static bool acknowledge(void)
{
    bool told = fin_on_close(connection);

    for (size_t sent = 0; told && sent < ACKNOWLEDGEMENT_LENGTH;) {
        ssize_t count = write(connection, acknowledgement + sent, ACKNOWLEDGEMENT_LENGTH - sent);
        sent += count > 0 ? (size_t)count : 0;
        told = count >= 0 || wait_to_retry(connection, POLLOUT);
    }
    if (told)
        trace(connection, "acknowledgement sent");
    else
        warn(errno, "'%s' is complete, but the server could not be told", path);
    return told;
}

/* ---- What is written to ---------------------------------------------------------------------------------------- */

/* Removes the temporary file, if there is one, when the program exits. */
static void remove_temporary(void)
{
    if (temporary[0] != '\0' && unlink(temporary) != 0)
        warn(errno, "cannot remove '%s' beside '%s'", temporary, path);
}

/* The handler of every signal that would end the program: removes the temporary file, then lets the signal do what it
 * does without a handler. All signals are held back in here, and all calls are allowed in a handler
 * (signal-safety(7)). Not SA_RESETHAND: that gives up the handler before signals are held back, and a second one could
 * be deadly just then. */
static void end_by_signal(int signal_number)
{
    sigset_t this_one;

    if (temporary[0] != '\0')
        unlink(temporary);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
    sigemptyset(&this_one);
    sigaddset(&this_one, signal_number);
    sigprocmask(SIG_UNBLOCK, &this_one, NULL);
    _exit(128 + signal_number); /* only process 1 of a container survives that */
}

/* Has end_by_signal called for every signal that would end the program, whatever its name and system, but SIGKILL,
 * which cannot be caught. What was ignored from the start, as nohup(1) does it, stays ignored. */
static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = end_by_signal }, before;
#ifdef SIGRTMAX
    const int last = SIGRTMAX;
#else
    const int last = NSIG - 1;
#endif

    sigfillset(&action.sa_mask);
    for (int number = 1; number <= last; number++)
        switch (number) {
        case SIGCHLD: case SIGCONT: case SIGTSTP: case SIGTTIN: case SIGTTOU: case SIGURG: case SIGWINCH:
#ifndef __linux__
        case SIGIO: case SIGINFO:
#endif
#ifdef __NetBSD__
        case SIGPWR:
#endif
            break; /* these do not end a program */
        default: /* which fails only for SIGKILL, SIGSTOP, and what the C library keeps for itself */
            if (sigaction(number, NULL, &before) == 0 && before.sa_handler == SIG_DFL)
                (void)sigaction(number, &action, NULL);
        }
}

/* Creates the temporary file in the directory of the destination, where rename can put it in place in one step, and
 * goes there: it can be removed even if that directory gets another name. No signal may come before we know that the
 * file of that name is ours: it would be removed. Not mkstemp: what a new file gets, from umask or a default ACL,
 * depends on MODE. */
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

/* Gives the temporary file the access control list of OLD (acl(5); it is an extended attribute, xattr(7)), if
 * ALLOWED, or none if that has none, whatever the directory wants new files to have. Returns false if there may be one
 * that the temporary file does not have. */
static bool copy_acl(int old, bool allowed)
{
#ifdef __linux__
    static const char list[] = "system.posix_acl_access";
    char data[ACL_MAX];
    ssize_t length = fgetxattr(old, list, data, sizeof data);

    if (length >= 0)
        return allowed && fsetxattr(output, list, data, (size_t)length, 0) == 0;
    return (errno == ENODATA || errno == ENOTSUP) &&
           (fremovexattr(output, list) == 0 || errno == ENODATA || errno == ENOTSUP);
#else
    (void)old;
    (void)allowed;
    return true;
#endif
}

/* Gives the temporary file owner, group and permissions of the file that it is about to replace, as far as the system
 * lets us, and never more than these. Where the group cannot be kept, its permissions go, and others keep no more than
 * it had: its members are now among them. Where an access control list cannot be kept, only the owner's permissions
 * stay: those of the group are the list's mask. And only these if we cannot tell, or if somebody has put a file of
 * another owner there. */
static void keep_permissions(void)
{
    const int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int old = open(name, O_RDONLY | flags);
    struct stat before, after;
    mode_t mode = 0600;

    if (old < 0 && errno == EACCES)
        old = open(name, O_WRONLY | flags);
    if (old < 0 && errno == ENOENT)
        return; /* nothing to replace */
    if (old >= 0 && fstat(old, &before) == 0 && S_ISREG(before.st_mode) && before.st_uid == owner) {
        /* Only root can give a file away; its owner can give it to a group that he belongs to. */
        bool kept = fchown(output, owner, before.st_gid) == 0 || fchown(output, (uid_t)-1, before.st_gid) == 0;
        mode = copy_acl(old, kept) ? 0777 : 0700;
        if (fstat(old, &after) != 0)
            die(errno, "cannot read the permissions of '%s'", path);
        mode &= before.st_mode & after.st_mode; /* somebody may have changed them just now, and the list */
        if (!kept)
            mode &= 0700 | (mode >> 3 & 07);
    }
    if (fchmod(output, mode) != 0)
        die(errno, "cannot set the permissions of '%s'", path);
    if (old >= 0)
        close(old);
}

/* True if ONE and OTHER are of the same file. */
static bool same_file(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* Opens the directory of what path leads to, and notes its name there: of the file whose status is OLD, or of a new one
 * if that is NULL. What realpath says counts only if it names the file that the kernel has opened. Returns false if it
 * does not: path is a symbolic link to nothing, or somebody is changing it just now. */
static bool open_directory(const struct stat *old)
{
    struct stat there;
    char where[PATH_MAX];
    char *slash;
    const char *folder = ".";
    bool found;

    snprintf(where, sizeof where, "%s", path);
    if (old != NULL && lstat(path, &there) == 0 && S_ISLNK(there.st_mode) && realpath(path, where) == NULL)
        return false;
    slash = strrchr(where, '/');
    snprintf(name, sizeof name, "%s", slash != NULL ? slash + 1 : where);
    if (slash != NULL) {
        slash[1] = '\0';
        folder = where;
    }
    if (directory >= 0)
        close(directory);
    directory = open(folder, O_RDONLY | O_DIRECTORY);
    if (directory < 0)
        die(errno, "cannot write '%s': directory '%s'", path, folder);
    found = fstatat(directory, name, &there, AT_SYMLINK_NOFOLLOW) == 0;
    if (!found && (errno != ENOENT || name[0] == '\0'))
        die(errno, "cannot write '%s'", path);
    return old != NULL ? found && same_file(old, &there) : !found;
}

/* Opens what is to be written to, before the server is bothered. What path leads to it is the kernel's right to
 * decide: it may refuse to follow a link that somebody has planted (proc_sys_fs(5), protected_symlinks). */
static void open_destination(void)
{
    struct stat old, standard;
    int file;

    /* Standard output, also by one of its other names. With a device, as when both are /dev/null, no harm is done. */
    if (strcmp(path, "-") == 0 || (stat(path, &old) == 0 && !S_ISCHR(old.st_mode) &&
                                   fstat(STDOUT_FILENO, &standard) == 0 && same_file(&old, &standard))) {
        if (output_was_closed)
            die(EBADF, "cannot write '%s'", path);
        output = STDOUT_FILENO;
        transcript = STDERR_FILENO;
    }
    for (int i = 0; output < 0; i++) {
        if (i == TRIES)
            die(0, "cannot write '%s': it is a symbolic link to nothing, or changes all the time", path);
        while ((file = open(path, O_WRONLY | O_NOCTTY)) < 0 && errno == EINTR)
            ;
        if (file < 0 && errno == ETXTBSY) /* a program that is running may not be written to, but replaced */
            file = open(path, O_RDONLY);
        if (file < 0 ? errno != ENOENT : fstat(file, &old) != 0)
            die(errno, "cannot write '%s'", path);

        if (file >= 0 && !S_ISREG(old.st_mode))
            output = file; /* a device, a pipe, or a FIFO, for which open has waited for a reader */
        else if (open_directory(file >= 0 ? &old : NULL)) {
            create_temporary(file >= 0 ? 0600 : 0666); /* keep_permissions opens the former to others */
            owner = file >= 0 ? old.st_uid : geteuid();
            old_size = file >= 0 ? old.st_size : 0;
        }
        if (file >= 0 && output != file)
            close(file);
    }
}
