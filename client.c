/*
 * client.c - receives a file over TCP, puts it in place, and only then tells the server so. The file is received into a
 * temporary file beside the destination. The temporary file is flushed to disk, and then renamed over the destination.
 * So a regular destination is whole or untouched.
 *
 * Read server.c first, which says how to run the two, then this from top to bottom. After main come the steps of the
 * story in their order: socket, connect, read, rename, the reply, close. You can skip the last chapter.
 */
#define PROGRAM "client" /* for common.h: how messages begin */

#include "common.h"

#ifdef __linux__ /* also with PORTABLE=1: the new file must not let in anybody whom the old one kept out */
#include <sys/xattr.h>
#endif

const char usage[] =
    "usage: client [-v] [-a ADDRESS] [-b BYTES] [-d SECONDS] [-p PORT] [-t SECONDS]\n"
    "              [FILE]\n";
const char help[] =
    "Receives a file from a server into FILE (default log.txt) and acknowledges it.\n"
    "\n"
    "  -a ADDRESS  connect to this address or name, IPv4 or IPv6 (default 127.0.0.1)\n"
    "  -b BYTES    socket buffer size, K and M allowed (default 1025, for lessons).\n"
    "              To move files use -b 0, which lets the kernel choose\n"
    "  -d SECONDS  wait before acknowledging, to watch the server wait (default 0)\n"
    "  -h          show this help\n"
    "  -p PORT     connect to this port (default 8080)\n"
    "  -t SECONDS  give up after so long without progress (default 30); -t 0: never\n"
    "  -v          trace what happens on the socket, on standard error\n"
    "\n"
    "A regular file is replaced as a whole, once all of the new one is here. Anything\n"
    "else is written to directly; - is standard output.\n"
    "On a terminal, a long transfer shows its progress; TERM=dumb hides it.\n"
    "Exit status: 0 if the complete file is in place, 1 if not, 2 usage error.\n";

static const char *path;            /* the destination, as the user has named it */
static bool replaces;               /* the destination is a regular or new file; anything else is written to directly */
static int output = -1;             /* what is written to: the temporary file, or such a pipe or device */
static char file_name[PATH_MAX];    /* the destination's name in its directory, which becomes our working directory */
static uid_t owner;                 /* the owner of the file to replace */

static void open_destination(void);
static int connect_to_server(void);
static void receive_file(int connection);
static bool put_in_place(void);
static bool acknowledge(int connection);
static void keep_permissions(void);

int main(int argc, char *argv[])
{
    unsigned delay = 0; /* -d: seconds from the end of the file to the acknowledgement */
    int letter, connection;
    bool durable; /* the file is there even after a power cut */

    start_up();
    while ((letter = getopt(argc, argv, ":a:b:d:hp:t:v-:")) != -1)
        if (letter == 'd')
            delay = (unsigned)parse_number(letter, INT_MAX, false);
        else
            shared_option(letter);
    path = file_operand(argc, argv, "log.txt");
    open_destination();

    connection = connect_to_server();
    print("Connected to server");
    print("Recving data");
    receive_file(connection);
    durable = put_in_place();
    trace(connection, "'%s' is in place", path);
    print("Recv done, data in %s", path);

    while (delay > 0)
        delay = sleep(delay);
    /* The file is in place, so we exit with 0 whatever happens now. If it is not durable, close resets the connection,
     * and so tells the server. */
    if (durable && acknowledge(connection))
        print("Send to server: %s", acknowledgement);
    close(connection);
    trace(-1, "closed");
    print("Client close");
    return EXIT_SUCCESS;
}

/* ---- The story ------------------------------------------------------------------------------------------------- */

/* Returns true if CONNECTION leads to itself. The kernel chooses a port for our end. If nobody listens on the port that
 * we connect to, it may choose just that one, and our SYN meets itself (RFC 9293, 3.5, figure 7: simultaneous open). */
static bool is_our_own_end(int connection)
{
    struct sockaddr_storage here = { 0 }, there = { 0 };
    socklen_t length = sizeof here, other_length = sizeof there;

    return getsockname(connection, (struct sockaddr *)&here, &length) == 0 &&
           getpeername(connection, (struct sockaddr *)&there, &other_length) == 0 && memcmp(&here, &there, length) == 0;
}

/* Waits until CONNECTION, which connect has begun to connect, is writable: that is the end of it (connect(2),
 * EINPROGRESS). WAITING is the wait for all addresses together. An address that is not the LAST has 5 seconds of it.
 * Returns true if it is connected, or false with errno set. */
static bool wait_until_connected(int connection, struct waiting *waiting, bool last)
{
    const int64_t limit = waiting->waited + (int64_t)5 * SECOND;
    int error = 0;
    socklen_t length = sizeof error;

    while (!ready_within_a_tick(connection, POLLOUT)) {
        if (!keep_waiting(connection, waiting))
            return false;
        if (!last && waiting->waited >= limit) {
            errno = ETIMEDOUT;
            return false;
        }
    }
    if (getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        return false;
    errno = error == 0 && is_our_own_end(connection) ? ECONNREFUSED : error;
    return errno == 0;
}

/* Returns a connection to the address WHERE, or -1 with errno set. WAITING and LAST are for wait_until_connected. */
static int connect_to(const struct addrinfo *where, struct waiting *waiting, bool last)
{
    const bool first = !sizes_are_printed;
    int connection = socket(where->ai_family, where->ai_socktype, where->ai_protocol);

    if (connection < 0)
        return -1;
    set_buffers(connection);
    if (first)
        print("Trying to connect server");
    trace(connection, "connecting");
    if (!set_reset_on_close(connection, true) || /* if we die, the probe in the server's read_source fails */
        fcntl(connection, F_SETFL, O_NONBLOCK) != 0 || /* connect must not wait: wait_until_connected does, with poll */
        (connect(connection, where->ai_addr, where->ai_addrlen) != 0 && errno != EINPROGRESS && errno != EINTR) ||
        !wait_until_connected(connection, waiting, last))
        return close_and_fail(connection);
    return connection;
}

/* Returns a connection to the first address for -a and -p that answers. All addresses together have the time of -t.
 * Ends the program if none answers. */
static int connect_to_server(void)
{
    struct addrinfo *list = resolve();
    struct waiting waiting = { 0 };
    int connection = -1, error = 0;

    for (struct addrinfo *where = list; where != NULL && connection < 0; where = where->ai_next) {
        connection = connect_to(where, &waiting, where->ai_next == NULL);
        if (connection < 0 && (error == 0 || errno == ECONNREFUSED))
            error = errno; /* of several errors, "connection refused" or else the first is told */
    }
    freeaddrinfo(list);
    if (connection < 0)
        die(0, "cannot connect to %s port %s%s%s", address, port, reason(error),
            error == ECONNREFUSED ? " (is the server running? Between two machines, both need -a)" : "");
    set_timeouts(connection);
    set_keepalive(connection);
    trace(connection, "connected");
    return connection;
}

/* Flushes FD to disk. A file system that cannot flush one file or directory is flushed as a whole. A pipe or a device
 * has nothing to flush. Returns true, or false with errno set if bytes may not be on disk. */
static bool flush_to_disk(int fd)
{
    struct stat status;
    int result;

#ifdef F_FULLFSYNC /* macOS: fsync does not flush the drive itself (fsync(2) there) */
    while ((result = fcntl(fd, F_FULLFSYNC)) != 0 && errno == EINTR)
        ;
    if (result == 0 || errno == EIO)
        return result == 0;
#endif
    while ((result = fsync(fd)) != 0 && errno == EINTR)
        ;
    /* These errors say that there is no fsync here. Some systems say EBADF for a directory that is open for reading. */
    if (result == 0 || (errno != EINVAL && errno != EBADF && errno != ENOTSUP && errno != ENOSYS))
        return result == 0;
    if (fstat(fd, &status) != 0)
        return false;
    if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
        return true;
#ifdef LINUX
    return syncfs(fd) == 0;
#else
    sync(); /* it may return before the disk has everything (POSIX), but there is nothing safer */
    return true;
#endif
}

/* Flushes what has been received now and then. If all of it were flushed at the end, a slow disk could take longer for
 * that than the server waits. The step doubles while a flush is quick, to 8 MiB at most: a cache may hide a slow disk.
 * It shrinks to what can be flushed in half a second: one more read may be added to that. */
static void flush_in_steps(void)
{
    static intmax_t flushed, step = 256L * 1024; /* bytes */
    const intmax_t amount = transfer.bytes - flushed, smallest = 16L * 1024, largest = 8L * 1024 * 1024;
    int64_t began, took;

    if (amount < step)
        return;
    began = microseconds();
    if (!flush_to_disk(output))
        die(errno, "cannot write '%s'", path);
    took = microseconds() - began;
    flushed = transfer.bytes;
    if (took > SECOND)
        step = amount * SECOND / took / 2 + smallest;
    else if (took < SECOND / 4)
        step *= 2;
    if (step > largest)
        step = largest;
}

/* Receives until end-of-file: read returns 0, because the server has closed its half. Until then it returns what has
 * arrived. Where one write of the server ended and the next began cannot be seen. Ends the program if the connection is
 * lost. After an error we must not read on: it is told once, and then read returns 0, too. */
static void receive_file(int connection)
{
    static char block[BLOCK_SIZE];
    struct waiting waiting = { 0 };
    size_t size = sizeof block;
    ssize_t count;

#ifdef LINUX
    /* To wake us for every segment costs more than to copy it. So read waits until it can return half a block, or a
     * tick is over (socket(7), SO_RCVLOWAT). Other systems would not return what is there when the tick is over. Not
     * with a size of -b: meanwhile the server would use up the window, and wait. */
    const int low_water = BLOCK_SIZE / 2;
    if (buffer_size == 0)
        (void)setsockopt(connection, SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof low_water);
#endif
    if (!replaces)
        size = 64L * 1024; /* bytes: while a slow pipe takes a block, the server sees no progress */
    transfer.began = microseconds();
    while ((count = read(connection, block, size)) != 0)
        if (count > 0) {
            if (!write_all(output, block, (size_t)count))
                die(errno, "cannot write '%s'", path);
            note_progress(connection, count);
            flush_in_steps();
            waiting = (struct waiting){ 0 };
        } else if (!may_retry(connection, &waiting))
            die(errno, "the server did not finish, '%s' is %s", path, replaces ? "untouched" : "incomplete");
    if (transfer.bytes == 0)
        warn(0, "the server sent nothing: is it the right one?");
    end_transfer(connection);
    trace(connection, "end-of-file: the server has closed its half");
}

/* Puts the file in place, to stay there even if the power fails now: first its content, then its name. Returns false,
 * and has warned, if the file is in place but its name may not survive a power cut. */
static bool put_in_place(void)
{
    /* The temporary file stays open: its name is flushed later. close tells of errors that must be known before. */
    const int temporary = replaces ? dup(output) : -1;
    int directory;

    keep_permissions();
    if (!flush_to_disk(output))
        die(errno, "cannot write '%s'", path);
    keep_permissions(); /* again: somebody may have narrowed the old file's permissions during the flush */
    if (close(output) != 0 && errno != EINTR) /* after EINTR it is closed, too (close(2), NOTES) */
        die(errno, "cannot write '%s'", path);
    if (!replaces)
        return true;
    if (rename(temporary_name, file_name) != 0) {
        const bool hint = errno == EBUSY || errno == EPERM || errno == EACCES;
        die(0, "cannot put '%s' in place%s%s", path, reason(errno), hint ? " (client - >FILE writes into it)" : "");
    }
    temporary_name[0] = '\0';
    directory = open(".", O_RDONLY);
    /* A directory that we may write but not read cannot be opened. Most systems flush a file's name with the file. */
    if (directory < 0 && errno == EACCES)
        directory = temporary;
    if (directory >= 0 && flush_to_disk(directory))
        return true;
    warn(errno, "'%s' is complete but not safely on disk, and so not acknowledged", path);
    return false;
}

/* Sends the acknowledgement. From now on a close, even a crash, must not reset the connection: that could throw away
 * what we have sent. Returns true, or warns and returns false: then the file is here, but the server cannot know. */
static bool acknowledge(int connection)
{
    struct waiting waiting = { 0 };
    bool told = set_reset_on_close(connection, false);

    for (size_t sent = 0; told && sent < ACKNOWLEDGEMENT_LENGTH;) {
        ssize_t count = write(connection, acknowledgement + sent, ACKNOWLEDGEMENT_LENGTH - sent);
        if (count > 0)
            sent += (size_t)count;
        else
            told = may_retry(connection, &waiting);
    }
    if (told)
        trace(connection, "acknowledgement sent");
    else
        warn(errno, "'%s' is complete, but the server could not be told", path);
    return told;
}

/* ---- What is written to ---------------------------------------------------------------------------------------- */

/* Returns true if ONE and OTHER are of the same file. */
static bool same_file(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* Returns true if STATUS is of the null device, by any of its names. */
static bool is_null(const struct stat *status)
{
    struct stat null;

    return S_ISCHR(status->st_mode) && stat("/dev/null", &null) == 0 && status->st_rdev == null.st_rdev;
}

/* Ends the program if FILE, which is written to directly, is also standard error: messages would lie in the data. On a
 * terminal one wants to see both. */
static void refuse_standard_error(const struct stat *file)
{
    struct stat error;

    if (fstat(STDERR_FILENO, &error) == 0 && same_file(file, &error) && !is_null(file) && !isatty(STDERR_FILENO))
        die(0, "cannot write '%s': standard error goes there too", path);
}

/* Returns true if path is standard output: "-", or another name of it, such as /dev/stdout. Then the file goes there,
 * and the transcript to standard error. Returns false for anything else, also for /dev/null by its name. Ends the
 * program if standard output cannot be used. */
static bool use_standard_output(void)
{
    struct stat out, there;
    bool known = fstat(STDOUT_FILENO, &out) == 0;

    if (strcmp(path, "-") != 0 && (!known || is_null(&out) || stat(path, &there) != 0 || !same_file(&out, &there)))
        return false;
    if (!known || was_closed[STDOUT_FILENO])
        die(known ? EBADF : errno, "cannot write '%s'", path);
    refuse_standard_error(&out);
    output = STDOUT_FILENO;
    transcript = STDERR_FILENO;
    return true;
}

/* Removes the temporary file, if there is one. exit calls this. */
static void remove_temporary(void)
{
    if (temporary_name[0] != '\0' && unlink(temporary_name) != 0 && errno != ENOENT)
        warn(errno, "cannot remove '%s' beside '%s'", temporary_name, path);
}

/* Gives the temporary file the permissions MODE, if it has others. A file system may refuse that (chmod(2)): what
 * counts is the permissions that the file has then. Ends the program if they let group or others do more than ALLOWED
 * says. */
static void set_permissions(mode_t mode, mode_t allowed)
{
    struct stat now = { 0 };

    errno = 0; /* a file system may also ignore chmod, without an error to tell */
    if (fstat(output, &now) == 0 && (now.st_mode & 0777) != mode)
        (void)fchmod(output, mode);
    if (fstat(output, &now) != 0 || (now.st_mode & (S_IRWXG | S_IRWXO) & ~allowed) != 0)
        die(errno, "cannot set the permissions of '%s'", path);
}

/* Creates the temporary file beside the destination. OLD is the file to replace: then only we can read the temporary
 * file until keep_permissions. Without one OLD is NULL, and the temporary file gets what any new file gets. Not
 * mkstemp: what umask and a default ACL give depends on the mode in open. The process number and the time make the name
 * ours alone: end_by_signal removes any file with this name. */
static void create_temporary(const struct stat *old)
{
    if (atexit(remove_temporary) != 0)
        die(errno, "cannot write '%s'", path);
    snprintf(temporary_name, sizeof temporary_name, ".client-%ld-%jd", (long)getpid(), (intmax_t)microseconds());
    output = open(temporary_name, O_WRONLY | O_CREAT | O_EXCL, old != NULL ? 0600 : 0666);
    if (output < 0) {
        temporary_name[0] = '\0';
        die(errno, "cannot write '%s': no temporary file beside it", path);
    }
    if (old != NULL) /* some file systems give every file the same permissions, whatever mode open gets */
        set_permissions(0600, old->st_mode);
}

/* Returns true if FILE has an access control list (ACL, acl(5)), or if we cannot tell. On Linux an ACL is an extended
 * attribute (xattr(7)). Other systems have no call in common that tells: there we return false. */
static bool has_acl(const char *file)
{
#ifdef __linux__
    return lgetxattr(file, "system.posix_acl_access", NULL, 0) >= 0 || (errno != ENODATA && errno != ENOTSUP);
#else
    (void)file;
    return false;
#endif
}

/* Gives the temporary file the owner, group and permissions of the file that it is about to replace. It must let in
 * nobody whom the old file kept out. So it only gets the owner's permissions if
 * - the group cannot be kept;
 * - there is an ACL, for then the group's permissions are really the mask of the ACL;
 * - somebody changes the old file just now. */
static void keep_permissions(void)
{
    struct stat old = { 0 }, new = { 0 }, later;
    mode_t mode = S_IRUSR | S_IWUSR; /* in case somebody has put another file there meanwhile */

    if (!replaces || (lstat(file_name, &old) != 0 && errno == ENOENT))
        return;
    if (S_ISREG(old.st_mode) && old.st_uid == owner) {
        /* Only root can give a file to another owner. The owner can give it to a group of his own (chown(2)). */
        if (fchown(output, old.st_uid, old.st_gid) != 0)
            (void)!fchown(output, (uid_t)-1, old.st_gid); /* without ! gcc warns of the unused result */
        mode = old.st_mode & 0777;
    }
    if (fstat(output, &new) != 0 || old.st_gid != new.st_gid || has_acl(file_name) || has_acl(temporary_name) ||
        lstat(file_name, &later) != 0 || !same_file(&old, &later) || old.st_mode != later.st_mode)
        mode &= S_IRWXU;
    set_permissions(mode, mode);
}

/* Ends the program if the destination OLD, in our working directory, is somebody else's and this is a sticky directory:
 * one in which only owners may remove a file, such as /tmp.
 * If others can write to the directory, somebody may have planted OLD to read what we write. The kernel refuses such a
 * file, too, but only if open gets O_CREAT (proc_sys_fs(5), protected_regular and protected_fifos).
 * If not, rename could not replace the file. It is better to say so before the transfer. */
static void refuse_foreign(const struct stat *old)
{
    const uid_t me = geteuid();
    struct stat directory;

    if (stat(".", &directory) != 0)
        die(errno, "cannot write '%s'", path);
    if ((directory.st_mode & S_ISVTX) == 0 || old->st_uid == me)
        return;
    if ((directory.st_mode & (S_IWGRP | S_IWOTH)) != 0 && old->st_uid != directory.st_uid)
        die(EACCES, "cannot write '%s', somebody else's in a directory where others may write", path);
    if (S_ISREG(old->st_mode) && directory.st_uid != me && me != 0)
        die(EPERM, "cannot replace '%s', somebody else's in a sticky directory (client - >FILE writes into it)", path);
}

/* Writes to NAME, which has room for PATH_MAX bytes, the name of the destination: path, or what path links to. OLD is
 * the file that the kernel finds there, or NULL. Returns false if that is a pipe without a name. Ends the program if
 * the name leads to another file: then the kernel may have refused to follow a link (proc_sys_fs(5),
 * protected_symlinks). */
static bool find_name(const struct stat *old, char *name)
{
    struct stat there = { 0 };

    if (lstat(path, &there) != 0 && (old != NULL || errno != ENOENT))
        die(errno, "cannot write '%s'", path);
    if (S_ISLNK(there.st_mode) && old == NULL)
        die(0, "cannot write '%s': it is a symbolic link to nothing", path);
    if (!S_ISLNK(there.st_mode)) {
        snprintf(name, PATH_MAX, "%s", path);
        return true;
    }
    if (realpath(path, name) != NULL && stat(name, &there) == 0 && same_file(old, &there))
        return true;
    if (S_ISREG(old->st_mode))
        die(0, "cannot write '%s': the kernel opens it, but its name cannot be found", path);
    return false;
}

/* Makes the directory of the file NAME our working directory, and writes its name there to file_name. So we find the
 * temporary file even if somebody renames the directory. Changes NAME. Ends the program if that fails. */
static void enter_directory(char *name)
{
    char *slash = strrchr(name, '/');

    snprintf(file_name, sizeof file_name, "%s", slash != NULL ? slash + 1 : name);
    if (file_name[0] == '\0')
        die(ENOENT, "cannot write '%s'", path);
    if (slash == NULL)
        return;
    slash[1] = '\0';
    if (chdir(name) != 0)
        die(errno, "cannot write '%s': directory '%s'", path, name);
}

/* Opens what is written to, or ends the program, before the server is bothered. A file that will be replaced is not
 * opened, but we must have the right to write to it. */
static void open_destination(void)
{
    static char name[PATH_MAX];
    struct stat old, opened;
    bool exists;

    if (use_standard_output())
        return;
    exists = stat(path, &old) == 0;
    /* With AT_EACCESS, faccessat(2) asks for the effective user, as open does. */
    if ((!exists && errno != ENOENT) || (exists && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0))
        die(errno, "cannot write '%s'", path);
    if (exists && S_ISDIR(old.st_mode))
        die(EISDIR, "cannot write '%s'", path);
    replaces = !exists || S_ISREG(old.st_mode);
    if ((replaces || S_ISFIFO(old.st_mode)) && find_name(exists ? &old : NULL, name)) {
        enter_directory(name);
        if (exists)
            refuse_foreign(&old);
    }
    owner = exists ? old.st_uid : geteuid();
    if (replaces) {
        create_temporary(exists ? &old : NULL);
        return;
    }
    refuse_standard_error(&old);
    while ((output = open(file_name[0] != '\0' ? file_name : path, O_WRONLY)) < 0 && errno == EINTR)
        ; /* open waits until a FIFO has a reader */
    if (output < 0 || fstat(output, &opened) != 0)
        die(errno, "cannot write '%s'", path);
    if (!same_file(&old, &opened))
        die(0, "cannot write '%s': it was replaced just now", path);
}
