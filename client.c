/*
 * client.c - receives a file over TCP, puts it in place, and only then tells the server that it has it. A regular file
 * is whole or untouched: it is received into a temporary one beside it, which is flushed to disk and renamed over it.
 *
 * Read server.c first, which says how to run the two, then this from top to bottom: after main come the steps of the
 * story in their order: socket, connect, read, rename, the reply, close. You can skip the last chapter.
 */
#define PROGRAM "client" /* for common.h: how messages begin */

#include "common.h"

#ifdef __linux__ /* not LINUX: with PORTABLE=1, too, nobody else may read the file */
#include <sys/xattr.h>
#endif

const char help[] =
    "usage: client [-v] [-a ADDRESS] [-b BYTES] [-d SECONDS] [-p PORT] [-t SECONDS]\n"
    "              [FILE]\n"
    "Receives a file from a server into FILE (log.txt) and acknowledges it.\n"
    "\n"
    "  -a ADDRESS  address or name to connect to, IPv4 or IPv6 (127.0.0.1)\n"
    "  -b BYTES    size to ask for, for both buffers (K, M); 0: ask for none (1025)\n"
    "  -d SECONDS  wait before acknowledging, to watch the server wait (0)\n"
    "  -h          show this help\n"
    "  -p PORT     port to connect to (8080)\n"
    "  -t SECONDS  give up after so long without progress; 0 never gives up (30)\n"
    "  -v          trace what happens on the socket, on standard error\n"
    "\n"
    "A regular file is replaced as a whole, once all of the new one is here. Anything\n"
    "else is written to directly; - is standard output.\n"
    "Exit status: 0 if the complete file is in place, 1 if not, 2 usage error.\n";

static const char *path;            /* where to put the file: the user's words */
static int output = -1;             /* what is written to: the temporary file, a device, a pipe */
static char name[PATH_MAX];         /* the name of the destination in its directory, where we are once that is known */
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
    int connection;
    bool safe;

    start_up();
    while (read_options(argc, argv, ":a:b:d:hp:t:v") == 'd')
        delay = (unsigned)parse_number('d', INT_MAX, false);
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
    if (safe && acknowledge(connection)) /* if not safe, close resets, and so tells the server */
        print("Send to server: %s", acknowledgement);
    close(connection);
    trace(-1, "closed");
    print("Client close");
    return EXIT_SUCCESS;
}

/* ---- The story ------------------------------------------------------------------------------------------------- */

/* True if CONNECTION leads to ourselves. When nobody listens on a port that the kernel gives out to clients, it may
 * give us just this one, and then our SYN meets itself (RFC 9293, 3.5, figure 7: simultaneous open). */
static bool is_our_own_end(int connection)
{
    struct sockaddr_storage here = { 0 }, there = { 0 };
    socklen_t length = sizeof here, other_length = sizeof there;

    return getsockname(connection, (struct sockaddr *)&here, &length) == 0 &&
           getpeername(connection, (struct sockaddr *)&there, &other_length) == 0 && memcmp(&here, &there, length) == 0;
}

/* Connects CONNECTION to WHERE. connect only begins that, and poll waits: it is over once the socket is writable. */
static bool connect_in_time(int connection, const struct addrinfo *where)
{
    int error = 0;
    socklen_t length = sizeof error;

    waiting_since = 0;
    if (!reset_on_close(connection) || /* so that a server that waits for a slow pipe learns at once if we die */
        fcntl(connection, F_SETFL, O_NONBLOCK) != 0 ||
        (connect(connection, where->ai_addr, where->ai_addrlen) != 0 && errno != EINPROGRESS && errno != EINTR))
        return false;
    while (!wait_a_tick(connection, POLLOUT, false))
        if (!has_time_left(connection))
            return false;
    if (getsockopt(connection, SOL_SOCKET, SO_ERROR, &error, &length) != 0)
        return false;
    if (error == ECONNRESET || error == EPIPE)
        die(error, "the server did not finish, '%s' is untouched", path); /* told once: read would say end-of-file */
    errno = error == 0 && is_our_own_end(connection) ? ECONNREFUSED : error;
    return errno == 0;
}

/* Connects to the first address for -a and -p that answers, and returns the connection. */
static int connect_to_server(void)
{
    struct addrinfo *list = resolve();
    int connection = -1, error = 0;
    bool announced = false;

    for (struct addrinfo *where = list; where != NULL && connection < 0; where = where->ai_next) {
        connection = socket(where->ai_family, where->ai_socktype, where->ai_protocol);
        if (connection >= 0) {
            set_buffers(connection);
            if (!announced)
                print("Trying to connect server");
            announced = true;
            trace(connection, "connecting");
        }
        if (connection < 0 || !connect_in_time(connection, where)) {
            error = more_telling(error, errno);
            if (connection >= 0)
                close(connection);
            connection = -1;
        }
    }
    freeaddrinfo(list);
    if (connection < 0)
        die(0, "cannot connect to %s port %s%s%s", address, port, reason(error),
            error == ECONNREFUSED ? " (start ./server first; on another machine, use -a there and here)" : "");
    set_waits(connection);
    trace(connection, "connected");
    return connection;
}

/* Flushes FD to disk, or, if its file system cannot do that, this as a whole. A pipe, with no disk, is no failure. */
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
    if (fd != output || temporary[0] != '\0') /* no pipe or device */
        return syncfs(fd) == 0;
#endif
    return true;
}

/* Flushes what has been received now and then: all of it at the end could take a slow disk longer than the server has
 * patience. The next step follows from how long the last one took; 8 MiB at most, as a cache may hide a slow disk. */
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

/* Receives until end-of-file: 0, the server has closed its half. recv returns what has arrived; where one write of the
 * server ended and the next began cannot be seen. With large buffers it is faster to wait until a block is full, or a
 * tick is over (MSG_WAITALL). After an error we must not go on: it is told once, and then recv returns 0, too. */
static void receive_file(int connection)
{
    static char block[BLOCK_SIZE];
    ssize_t count;

    transfer.began = microseconds();
    while ((count = recv(connection, block, sizeof block, buffer_size == 0 ? MSG_WAITALL : 0)) != 0)
        if (count > 0) {
            if (!write_all(output, block, (size_t)count))
                die(errno, "cannot write '%s'", path);
            note_progress(connection, count);
            flush_in_steps();
        } else if (!may_retry(connection))
            die(errno, "the server did not finish, '%s' is %s", path, temporary[0] ? "untouched" : "incomplete");
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
    output = -1; /* its number may be the directory's next */
    if (temporary[0] == '\0')
        return true;
    if (rename(temporary, name) != 0)
        die(0, "cannot put '%s' in place: %s (client - >FILE writes into it)", path, strerror(errno));
    temporary[0] = '\0';
    directory = open(".", O_RDONLY);
    if (directory < 0 && errno == EACCES) /* we may write there, but not read: then the file is flushed again, */
        directory = open(name, O_RDONLY | O_NOFOLLOW); /* which most file systems do together with its name */
    if (directory < 0 || !flush_to_disk(directory)) {
        warn(errno, "'%s' is complete but not safely on disk, and so not acknowledged", path);
        return false;
    }
    return true;
}

/* Sends the acknowledgement. Returns true, or false, and has warned, if that failed: then the file is here, but the
 * server cannot know. From now on, our close, or our death, must not take back what we say: no reset any more. */
static bool acknowledge(int connection)
{
    bool told = fin_on_close(connection);

    waiting_since = 0;
    for (size_t sent = 0; told && sent < ACKNOWLEDGEMENT_LENGTH;) {
        ssize_t count = write(connection, acknowledgement + sent, ACKNOWLEDGEMENT_LENGTH - sent);
        sent += count > 0 ? (size_t)count : 0;
        told = count >= 0 || may_retry(connection);
    }
    if (told)
        trace(connection, "acknowledgement sent");
    else
        warn(errno, "'%s' is complete, but the server could not be told", path);
    return told;
}

/* ---- What is written to ---------------------------------------------------------------------------------------- */

/* True if ONE and OTHER are of the same file. */
static bool same_file(const struct stat *one, const struct stat *other)
{
    return one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

/* If path is standard output, also by one of its other names, prepares that for the file alone: the transcript goes to
 * standard error. Returns false if it is not, or if it is /dev/null by that name. */
static bool use_standard_output(void)
{
    struct stat out, err, there;
    bool known = fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0;
    bool is_null = known && stat("/dev/null", &there) == 0 && same_file(&out, &there);

    if (strcmp(path, "-") != 0 && (!known || is_null || stat(path, &there) != 0 || !same_file(&out, &there)))
        return false;
    if (was_closed[STDOUT_FILENO])
        die(EBADF, "cannot write '%s'", path);
    if (known && same_file(&out, &err) && !is_null && !isatty(STDOUT_FILENO))
        die(0, "cannot write '%s': standard error goes there too", path);
    output = STDOUT_FILENO;
    transcript = STDERR_FILENO;
    return true;
}

/* Removes the temporary file, if there is one, when the program exits. */
static void remove_temporary(void)
{
    if (temporary[0] != '\0' && unlink(temporary) != 0)
        warn(errno, "cannot remove '%s' beside '%s'", temporary, path);
}

/* Creates the temporary file beside the destination. Its name must be ours alone: end_by_signal removes what has it.
 * Not mkstemp: what a new file gets, from umask or a default access control list, depends on MODE. */
static void create_temporary(mode_t mode)
{
    if (atexit(remove_temporary) != 0)
        die(errno, "cannot write '%s'", path);
    snprintf(temporary, sizeof temporary, ".client-%ld-%jd", (long)getpid(), (intmax_t)microseconds());
    output = open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (output < 0) {
        temporary[0] = '\0';
        die(errno, "cannot write '%s': no temporary file beside it", path);
    }
}

/* True if an access control list (acl(5); it is an extended attribute, xattr(7)) has a say in FILE, or if we cannot
 * tell. Other systems have them too, but nothing in the C library that all of them share tells. */
static bool has_list(const char *file)
{
    (void)file;
#ifdef __linux__
    return lgetxattr(file, "system.posix_acl_access", NULL, 0) >= 0 || (errno != ENODATA && errno != ENOTSUP);
#endif
    return false;
}

/* Gives the temporary file owner, group and permissions of the file that it is about to replace. What counts is what
 * it then is: it must let in nobody whom the old file kept out. So it is no failure if a file system refuses to change
 * what need not be changed. Where the group cannot be kept, or a list has a say (the permissions of the group are its
 * mask then), only the owner's permissions stay; and only these if somebody has put something else there meanwhile. */
static void keep_permissions(void)
{
    struct stat old = { 0 }, new = { 0 }, again;
    mode_t mode = S_IRUSR | S_IWUSR;

    if (temporary[0] == '\0' || (lstat(name, &old) != 0 && errno == ENOENT))
        return; /* nothing is replaced */
    if (S_ISREG(old.st_mode) && old.st_uid == owner) {
        /* Only root can give a file away; its owner can give it to a group that he belongs to. */
        if (fchown(output, old.st_uid, old.st_gid) != 0)
            (void)!fchown(output, (uid_t)-1, old.st_gid);
        mode = old.st_mode & 0777;
    }
    if (fstat(output, &new) != 0 || old.st_gid != new.st_gid || has_list(name) || has_list(temporary) ||
        lstat(name, &again) != 0 || !same_file(&old, &again) || old.st_mode != again.st_mode) /* it changes just now */
        mode &= S_IRWXU;
    errno = 0;
    if ((new.st_mode & 0777) != mode)
        (void)!fchmod(output, mode);
    if (fstat(output, &new) != 0 || (new.st_mode & (S_IRWXG | S_IRWXO) & ~mode) != 0)
        die(errno, "cannot set the permissions of '%s'", path);
}

/* Goes to the directory of what path leads to, and notes its name there: so the temporary file is found even if the
 * directory gets another name. OLD is what the kernel has opened by that path, or NULL if there is nothing. The kernel
 * may refuse to follow a planted link (proc_sys_fs(5), protected_symlinks): we follow one only to the same file. We
 * refuse what rename would refuse after the whole transfer, and what may be planted where all may write but only owners
 * may remove (a sticky directory, as /tmp). The kernel's rule about that is only for open with O_CREAT
 * (protected_regular, protected_fifos), which is not how we open it. */
static void enter_directory(const struct stat *old)
{
    const uid_t me = geteuid();
    static char folder[PATH_MAX];
    struct stat there = { 0 };
    char *slash;
    bool is_foreign;

    if (lstat(path, &there) != 0 && (old != NULL || errno != ENOENT))
        die(errno, "cannot write '%s'", path);
    snprintf(folder, sizeof folder, "%s", path);
    if (S_ISLNK(there.st_mode) && old == NULL)
        die(0, "cannot write '%s': it is a symbolic link to nothing", path);
    if (S_ISLNK(there.st_mode) &&
        (realpath(path, folder) == NULL || stat(folder, &there) != 0 || !same_file(old, &there))) {
        if (!S_ISREG(old->st_mode))
            return; /* a pipe without a name */
        die(0, "cannot write '%s': the kernel opens it, but its name cannot be found", path);
    }
    slash = strrchr(folder, '/');
    snprintf(name, sizeof name, "%s", slash != NULL ? slash + 1 : folder);
    if (slash != NULL)
        slash[1] = '\0';
    else
        snprintf(folder, sizeof folder, ".");
    if (name[0] == '\0')
        die(ENOENT, "cannot write '%s'", path);
    if (chdir(folder) != 0 || stat(".", &there) != 0)
        die(errno, "cannot write '%s': directory '%s'", path, folder);

    is_foreign = old != NULL && (there.st_mode & S_ISVTX) != 0 && old->st_uid != me;
    if (is_foreign && (there.st_mode & (S_IWGRP | S_IWOTH)) != 0 && old->st_uid != there.st_uid)
        die(EACCES, "cannot write '%s', somebody else's in a directory where others may write", path);
    if (old != NULL && !S_ISREG(old->st_mode))
        return;
    if (is_foreign && there.st_uid != me && me != 0)
        die(EPERM, "cannot replace '%s', somebody else's in a sticky directory (client - >FILE writes into it)", path);
#ifdef STATX_ATTR_APPEND
    struct statx status;
    if (statx(AT_FDCWD, ".", 0, 0, &status) == 0 && (status.stx_attributes & STATX_ATTR_APPEND) != 0)
        die(EPERM, "cannot replace '%s' in a directory that can only grow (client - >FILE writes into it)", path);
#endif
}

/* Opens what is to be written to, before the server is bothered. */
static void open_destination(void)
{
    struct stat old;
    bool exists;

    if (use_standard_output())
        return;
    while ((output = open(path, O_WRONLY | O_NOCTTY)) < 0 && errno == EINTR)
        ;
    if (output < 0 && errno == ETXTBSY) /* a program that is running may not be written to, but replaced */
        output = open(path, O_RDONLY);
    exists = output >= 0;
    if (exists ? fstat(output, &old) != 0 : errno != ENOENT)
        die(errno, "cannot write '%s'", path);

    if (!exists || S_ISREG(old.st_mode)) {
        enter_directory(exists ? &old : NULL);
        owner = exists ? old.st_uid : geteuid();
        if (exists)
            close(output);
        create_temporary(exists ? 0600 : 0666); /* keep_permissions opens the former to others */
    } else if (S_ISFIFO(old.st_mode)) /* for which open has waited for a reader */
        enter_directory(&old);
}
