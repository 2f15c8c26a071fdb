/*
 * client.c - receives a file over TCP, puts it in place, and only then tells the server that it has it. A regular file
 * is whole or untouched: it is received into a temporary one beside it, which is flushed to disk and renamed over it.
 *
 * Read server.c first, which says how to run the two, then this from top to bottom. After main come the steps of the
 * story in their order: socket, connect, read, rename, the reply, close. You can skip the last chapter.
 */
#define PROGRAM "client" /* for common.h: how messages begin */

#include "common.h"

#ifdef __linux__ /* with PORTABLE=1 too: the new file must not let anybody in whom the old one kept out */
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

static const char *path;            /* where to put the file: the user's words */
static int output = -1;             /* what is written to: the temporary file, a device, a pipe */
static char file_name[PATH_MAX];    /* the destination's name in its directory, which is our working directory then */
static uid_t owner;                 /* the owner of the file to replace, or of any that we make */

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
    bool safe;

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
    safe = put_in_place();
    trace(connection, "'%s' is in place", path);
    print("Recv done, data in %s", path);

    while (delay > 0)
        delay = sleep(delay);
    if (safe && acknowledge(connection)) /* if not safe, close resets the connection, and so tells the server */
        print("Send to server: %s", acknowledgement);
    close(connection);
    trace(-1, "closed");
    print("Client close");
    return EXIT_SUCCESS;
}

/* ---- The story ------------------------------------------------------------------------------------------------- */

/* Returns true if CONNECTION leads to ourselves. When nobody listens on a port that the kernel gives out to clients, it
 * may give us just this one, and then our SYN meets itself (RFC 9293, 3.5, figure 7: simultaneous open). */
static bool is_our_own_end(int connection)
{
    struct sockaddr_storage here = { 0 }, there = { 0 };
    socklen_t length = sizeof here, other_length = sizeof there;

    return getsockname(connection, (struct sockaddr *)&here, &length) == 0 &&
           getpeername(connection, (struct sockaddr *)&there, &other_length) == 0 && memcmp(&here, &there, length) == 0;
}

/* Waits until CONNECTION is connected: connect has only begun that, and it is over once the socket is writable
 * (connect(2), EINPROGRESS). WAITING is the wait for all addresses; one that is not the LAST has a few seconds of it.
 * Returns true, or false with errno set. */
static bool wait_until_connected(int connection, struct waiting *waiting, bool last)
{
    const int64_t end = waiting->waited + (int64_t)5 * SECOND;
    int error = 0;
    socklen_t length = sizeof error;

    while (!wait_a_tick(connection, POLLOUT)) {
        if (!keep_waiting(connection, waiting))
            return false;
        errno = ETIMEDOUT;
        if (!last && waiting->waited >= end)
            return false;
    }
    if (getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        return false;
    errno = error == 0 && is_our_own_end(connection) ? ECONNREFUSED : error;
    return errno == 0;
}

/* Returns a connection to the address WHERE, or -1 with errno set. WAITING and LAST as above. */
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
    if (!set_reset_on_close(connection, true) || /* if we die, a server that waits for a slow pipe learns of it at once */
        fcntl(connection, F_SETFL, O_NONBLOCK) != 0 || /* not every system gives connect a timeout: poll waits */
        (connect(connection, where->ai_addr, where->ai_addrlen) != 0 && errno != EINPROGRESS && errno != EINTR) ||
        !wait_until_connected(connection, waiting, last))
        return close_and_fail(connection);
    return connection;
}

/* Connects to the first address for -a and -p that answers, and returns the connection. All addresses together have the
 * time of -t, and one that is not the last has a few seconds of it. Ends the program if none answers. */
static int connect_to_server(void)
{
    struct addrinfo *list = resolve();
    struct waiting waiting = { 0 };
    int connection = -1, error = 0;

    for (struct addrinfo *where = list; where != NULL && connection < 0; where = where->ai_next) {
        connection = connect_to(where, &waiting, where->ai_next == NULL);
        if (connection < 0 && (error == 0 || errno == ECONNREFUSED))
            error = errno; /* of several errors the first is told, or that nobody listens there */
    }
    freeaddrinfo(list);
    if (connection < 0)
        die(0, "cannot connect to %s port %s%s%s", address, port, reason(error),
            error == ECONNREFUSED ? " (is the server running? For clients on other machines it needs -a)" : "");
    set_timeouts(connection);
    set_keepalive(connection);
    trace(connection, "connected");
    return connection;
}

/* Flushes FD to disk. If its file system cannot do that, the file system is flushed as a whole. A pipe or a device,
 * which has no disk, is no failure. Returns false, with errno set, if bytes may not be on disk. */
static bool flush_to_disk(int fd)
{
    int result;

#ifdef F_FULLFSYNC /* macOS: fsync does not flush the drive itself (fsync(2) there) */
    while ((result = fcntl(fd, F_FULLFSYNC)) != 0 && errno == EINTR)
        ;
    if (result == 0 || errno == EIO)
        return result == 0;
#endif
    while ((result = fsync(fd)) != 0 && errno == EINTR)
        ;
    if (result == 0 || (errno != EINVAL && errno != EBADF && errno != ENOTSUP && errno != ENOSYS))
        return result == 0;
#ifdef LINUX
    struct stat status;
    if (fstat(fd, &status) != 0)
        return false;
    if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
        return syncfs(fd) == 0;
#endif
    return true;
}

/* Flushes what has been received now and then. If all of it were flushed at the end, a slow disk could take longer for
 * that than the server waits. A step doubles while flushing is quick, to 8 MiB at most: a cache may hide a slow disk.
 * It shrinks to what can be flushed in a second. */
static void flush_in_steps(void)
{
    static intmax_t flushed, step = 256L * 1024; /* bytes */
    int64_t began = microseconds(), took;

    if (transfer.bytes - flushed < step)
        return;
    if (!flush_to_disk(output))
        die(errno, "cannot write '%s'", path);
    took = microseconds() - began;
    flushed = transfer.bytes;
    if (took > SECOND)
        step = step * SECOND / took + 16L * 1024;
    else if (took < SECOND / 4 && step < 8L * 1024 * 1024)
        step *= 2;
}

/* Receives until end-of-file: read returns 0, the server has closed its half. read returns what has arrived: where one
 * write of the server ended and the next began cannot be seen. After an error we must not go on: it is told once, and
 * then read returns 0, too. */
static void receive_file(int connection)
{
    static char block[BLOCK_SIZE];
    const int half = sizeof block / 2;
    struct waiting waiting = { 0 };
    size_t most = sizeof block;
    ssize_t count;

    /* Being woken for every segment costs more than the copying. So a read shall wait until half a block is here, or
     * the tick is over (socket(7), SO_RCVLOWAT). A system that cannot do that is only slower. */
    if (buffer_size == 0 && temporary_name[0] != '\0')
        (void)setsockopt(connection, SOL_SOCKET, SO_RCVLOWAT, &half, sizeof half);
    if (temporary_name[0] == '\0')
        most = 64L * 1024; /* bytes: while a slow pipe takes a block, the server sees no progress */
    transfer.began = microseconds();
    while ((count = read(connection, block, most)) != 0)
        if (count > 0) {
            if (!write_all(output, block, (size_t)count))
                die(errno, "cannot write '%s'", path);
            note_progress(connection, count);
            flush_in_steps();
            waiting = (struct waiting){ 0 };
        } else if (!may_retry(connection, &waiting))
            die(errno, "the server did not finish, '%s' is %s", path, temporary_name[0] ? "untouched" : "incomplete");
    if (transfer.bytes == 0)
        warn(0, "the server sent nothing: is it the right one?");
    end_transfer(connection);
    trace(connection, "end-of-file: the server has closed its half");
}

/* Puts the file in place, to stay there even if the power fails now: first its content, then its name. Returns false,
 * and has warned, if the file is in place but its name may not survive a power cut. */
static bool put_in_place(void)
{
    int directory;

    keep_permissions();
    if (!flush_to_disk(output))
        die(errno, "cannot write '%s'", path);
    keep_permissions(); /* again, for what somebody may have changed about the old file during the flush */
    if (close(output) != 0 && errno != EINTR) /* after EINTR it is closed, too (close(2), NOTES) */
        die(errno, "cannot write '%s'", path);
    if (temporary_name[0] == '\0')
        return true;
    if (rename(temporary_name, file_name) != 0)
        die(0, "cannot put '%s' in place: %s%s", path, strerror(errno), errno == EBUSY || errno == EPERM ||
            errno == EACCES ? " (client - >FILE writes into it)" : "");
    temporary_name[0] = '\0';
    directory = open(".", O_RDONLY);
    if (directory < 0 && errno == EACCES) /* we may write there, but not read. Then the file is flushed once more: */
        directory = open(file_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK); /* most systems flush its name with it */
    if (directory >= 0 && flush_to_disk(directory))
        return true;
    warn(errno, "'%s' is complete but not safely on disk, and so not acknowledged", path);
    return false;
}

/* Sends the acknowledgement. From now on our close, or our death, must not take back what we say: no reset any more.
 * Returns false, and has warned, if that failed: then the file is here, but the server cannot know. */
static bool acknowledge(int connection)
{
    struct waiting waiting = { 0 };
    bool told = set_reset_on_close(connection, false);

    for (size_t sent = 0; told && sent < ACKNOWLEDGEMENT_LENGTH;) {
        ssize_t count = write(connection, acknowledgement + sent, ACKNOWLEDGEMENT_LENGTH - sent);
        sent += count > 0 ? (size_t)count : 0;
        told = count >= 0 || may_retry(connection, &waiting);
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

/* Ends the program if FILE, which is written to directly, is also where messages go: they would lie in the data. On a
 * terminal one wants to see both. */
static void refuse_standard_error(const struct stat *file)
{
    struct stat error;

    if (fstat(STDERR_FILENO, &error) == 0 && same_file(file, &error) && !is_null(file) && !isatty(STDERR_FILENO))
        die(0, "cannot write '%s': standard error goes there too", path);
}

/* If path is standard output, also by one of its other names, prepares that for the file alone: the transcript goes to
 * standard error. Returns false if path is something else, or the null device by a name. */
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

/* Removes the temporary file, if there is one, when the program exits. */
static void remove_temporary(void)
{
    if (temporary_name[0] != '\0' && unlink(temporary_name) != 0 && errno != ENOENT)
        warn(errno, "cannot remove '%s' beside '%s'", temporary_name, path);
}

/* Gives the temporary file the permissions MODE, where it has others. What counts is what it then is: a file system
 * that refuses chmod(2), or does not need it, is no obstacle. Ends the program if others could do more to it than MOST
 * says. */
static void set_permissions(mode_t mode, mode_t most)
{
    struct stat now = { 0 };

    errno = 0;
    if (fstat(output, &now) == 0 && (now.st_mode & 0777) != mode)
        (void)!fchmod(output, mode);
    if (fstat(output, &now) != 0 || (now.st_mode & (S_IRWXG | S_IRWXO) & ~most) != 0)
        die(errno, "cannot set the permissions of '%s'", path);
}

/* Creates the temporary file beside the destination, which is OLD, or NULL if there is none. If it replaces a file,
 * only its owner can read it until keep_permissions. Its name must be ours alone: end_by_signal removes what has it.
 * Not mkstemp: what a new file gets, from umask or a default ACL, depends on the mode that open gets. */
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
    if (old != NULL) /* some file systems give every file the same permissions, whatever is asked */
        set_permissions(0600, old->st_mode);
}

/* Returns true if FILE has an access control list (acl(5)), or if we cannot tell. On Linux that is an extended
 * attribute (xattr(7)). Other systems have such lists too, but nothing that their C libraries share tells. */
static bool has_acl(const char *file)
{
    (void)file;
#ifdef __linux__
    return lgetxattr(file, "system.posix_acl_access", NULL, 0) >= 0 || (errno != ENODATA && errno != ENOTSUP);
#endif
    return false;
}

/* Gives the temporary file owner, group and permissions of the file that it is about to replace. It must let in nobody
 * whom the old file kept out. So only the owner's permissions stay where the group cannot be kept; where there is an
 * ACL, whose mask then stands in place of the group's permissions; and where somebody changes the old file just now. */
static void keep_permissions(void)
{
    struct stat old = { 0 }, new = { 0 }, later;
    mode_t mode = S_IRUSR | S_IWUSR; /* if somebody has put another file there meanwhile */

    if (temporary_name[0] == '\0' || (lstat(file_name, &old) != 0 && errno == ENOENT))
        return; /* nothing is replaced */
    if (S_ISREG(old.st_mode) && old.st_uid == owner) {
        /* Only root can give a file away. Its owner can give it to a group that he belongs to (chown(2)). */
        if (fchown(output, old.st_uid, old.st_gid) != 0)
            (void)!fchown(output, (uid_t)-1, old.st_gid);
        mode = old.st_mode & 0777;
    }
    if (fstat(output, &new) != 0 || old.st_gid != new.st_gid || has_acl(file_name) || has_acl(temporary_name) ||
        lstat(file_name, &later) != 0 || !same_file(&old, &later) || old.st_mode != later.st_mode)
        mode &= S_IRWXU;
    set_permissions(mode, mode);
}

/* Ends the program if the destination OLD is somebody else's file or FIFO that may have been planted where many may
 * write but only owners may remove: in a sticky directory, as /tmp. The kernel has the same rule for open with O_CREAT
 * (proc_sys_fs(5), protected_regular and protected_fifos), which is not how we open it. Also refuses now what rename
 * would refuse after the whole transfer. We are in its directory. */
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

/* Writes to NAME, which has room for PATH_MAX bytes, the name of the destination: path, or where that links to. OLD is
 * the file there, or NULL. We follow a link only to the file that the kernel finds by it: the kernel may refuse to follow
 * one that somebody has planted (proc_sys_fs(5), protected_symlinks). Returns false if a pipe has no name. */
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

/* Goes to the directory of the file NAME, and notes its name there in file_name: so the temporary file is found even if
 * somebody renames the directory. Changes NAME. */
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

/* Opens what is to be written to, before the server is bothered. A regular file is only looked at: may we write to it,
 * as the user for whom open would look (faccessat(2), AT_EACCESS)? */
static void open_destination(void)
{
    static char name[PATH_MAX];
    struct stat old, opened;
    bool exists;

    if (use_standard_output())
        return;
    exists = stat(path, &old) == 0;
    if (exists ? faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) != 0 : errno != ENOENT)
        die(errno, "cannot write '%s'", path);
    if (exists && S_ISDIR(old.st_mode))
        die(EISDIR, "cannot write '%s'", path);
    if ((!exists || S_ISREG(old.st_mode) || S_ISFIFO(old.st_mode)) && find_name(exists ? &old : NULL, name)) {
        enter_directory(name);
        if (exists)
            refuse_foreign(&old);
    }
    owner = exists ? old.st_uid : geteuid();
    if (!exists || S_ISREG(old.st_mode)) {
        create_temporary(exists ? &old : NULL);
        return;
    }
    refuse_standard_error(&old);
    while ((output = open(file_name[0] != '\0' ? file_name : path, O_WRONLY)) < 0 && errno == EINTR)
        ; /* a FIFO is waited for until it has a reader */
    if (output < 0 || fstat(output, &opened) != 0)
        die(errno, "cannot write '%s'", path);
    if (!same_file(&old, &opened))
        die(0, "cannot write '%s': it was replaced just now", path);
}
