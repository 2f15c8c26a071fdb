/*
 * tamper.c - shows and changes files in ways that a shell cannot, and between any two system calls of a program.
 *
 *     tamper early FILE DEED AFTER COMMAND...   runs COMMAND over and over, and does DEED one moment later each time,
 *                                               until it gives a file its name. Prints each time how it ended and what
 *                                               FILE is then; AFTER puts all back as it was
 *     tamper watch DIRECTORY COMMAND...         runs COMMAND, and prints what the client's temporary file in DIRECTORY
 *                                               is, whenever a system call has changed that
 *     tamper state FILE...                      prints mode, owner and group, and + if there is an access control list
 *     tamper acl FILE                           gives it one: 1234 and 4321 may do all, its group nothing
 *     tamper default DIRECTORY                  gives that to new files there
 *     tamper as UID GID,... COMMAND...          runs COMMAND as this user in these groups
 *     tamper noshare COMMAND...                 runs COMMAND without the right to make namespaces
 *     tamper lease FILE COMMAND...              runs COMMAND; who opens FILE waits until we have let go of it
 *
 * DEED and AFTER are "put A B", which makes B one more name of A; "link TARGET B", the same with a symbolic link;
 * "remove A"; "kill N", which sends COMMAND this signal; or nothing. A race has as many outcomes as there are moments
 * between two system calls, and here each of them is seen. Exits with what COMMAND does, 77 if the system forbids it.
 */
#include "tools.h"

enum { CANNOT = 77 };

#ifdef __linux__
#define ON_LINUX(function) function

#include <endian.h>
#include <glob.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

/* ---- What a file is --------------------------------------------------------------------------------------------- */

/* Returns what the file NAME is, in words that are good until the next call. */
static const char *what_is(const char *name)
{
    static char text[64];
    struct stat file;

    if (lstat(name, &file) != 0)
        return "not there";
    snprintf(text, sizeof text, "%o %u:%u %c", (unsigned)file.st_mode & 07777, file.st_uid, file.st_gid,
             lgetxattr(name, "system.posix_acl_access", NULL, 0) > 0 ? '+' : '-');
    return text;
}

/* Sets the extended attribute ATTRIBUTE of the file NAME to the list (acl(5)), in the form of linux/posix_acl_xattr.h,
 * little-endian everywhere. The mask, 0x10, is what chmod changes then. */
static int set_list(const char *name, const char *attribute)
{
    enum { ALL = 7, NOTHING = 0 };
    const struct {
        uint32_t version;
        struct { uint16_t tag, permissions; uint32_t id; } entries[6];
    } list = { htole32(2), {
        { htole16(0x01), htole16(ALL), UINT32_MAX }, /* the owner */
        { htole16(0x02), htole16(ALL), htole32(1234) }, { htole16(0x02), htole16(ALL), htole32(4321) },
        { htole16(0x04), NOTHING, UINT32_MAX }, { htole16(0x10), htole16(ALL), UINT32_MAX },
        { htole16(0x20), NOTHING, UINT32_MAX }, /* all others */
    } };

    if (setxattr(name, attribute, &list, sizeof list, 0) == 0)
        return 0;
    if (errno != ENOTSUP)
        die(name);
    return CANNOT;
}

static int acl(char **words) { return set_list(words[0], "system.posix_acl_access"); }
static int acl_of_new(char **words) { return set_list(words[0], "system.posix_acl_default"); }

static int state(char **words)
{
    for (; *words != NULL; words++)
        puts(what_is(*words));
    return 0;
}

/* ---- One system call at a time: ptrace(2) ----------------------------------------------------------------------- */

/* Starts COMMAND, which stops before its first system call. It has no standard output: ours is for what it does.
 * Returns its process id. */
static pid_t start_stopped(char *command[])
{
    int status;
    pid_t pid = split();

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 ||
            setenv("ASAN_OPTIONS", "detect_leaks=0", 1) != 0) /* which would need ptrace for itself */
            _exit(CANNOT);
        dup2(must(open("/dev/null", O_WRONLY | O_CLOEXEC), "/dev/null"), STDOUT_FILENO);
        raise(SIGSTOP);
        execvp(command[0], command);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL) != 0)
        exit(CANNOT);
    return pid;
}

/* Lets PID run to its next system call, or back out of one. Returns true, or false when it has ended, with how in
 * *STATUS as a shell says it. */
static bool step(pid_t pid, int *status)
{
    static int pending; /* a signal that PID has to get */

    for (;;) {
        if (ptrace(PTRACE_SYSCALL, pid, NULL, pending) != 0)
            die("ptrace");
        pending = 0;
        must(waitpid(pid, status, 0), "waitpid");
        if (!WIFSTOPPED(*status)) {
            *status = shell_status(*status);
            return false;
        }
        if (WSTOPSIG(*status) == (SIGTRAP | 0x80))
            return true;
        if (*status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8))
            pending = WSTOPSIG(*status);
    }
}

/* Does the DEED. */
static void act(const char *deed, pid_t pid)
{
    char one[PATH_MAX], two[PATH_MAX];
    int number;

    if (sscanf(deed, "kill %d", &number) == 1)
        must(kill(pid, number), deed);
    else if (sscanf(deed, "remove %4095s", one) == 1)
        must(unlink(one) == 0 || errno == ENOENT ? 0 : -1, deed);
    else if ((sscanf(deed, "put %4095s %4095s", one, two) == 2 && link(one, "tamper.new") == 0) ||
             (sscanf(deed, "link %4095s %4095s", one, two) == 2 && symlink(one, "tamper.new") == 0)) {
        must(rename("tamper.new", two), deed);
        unlink("tamper.new"); /* rename leaves it if both are the same file */
    } else if (*deed != '\0')
        die(deed);
}

/* Returns the number of the system call that PID is about to make, -1 if that cannot be told (proc(5)). */
static long next_call(pid_t pid)
{
    char name[64], text[256];

    snprintf(name, sizeof name, "/proc/%ld/syscall", (long)pid);
    return get_file(name, text, sizeof text) > 0 ? atol(text) : -1;
}

/* What the C library makes of rename: the oldest call that there is. */
#ifdef SYS_rename
enum { RENAME = SYS_rename };
#elif defined SYS_renameat
enum { RENAME = SYS_renameat };
#else
enum { RENAME = SYS_renameat2 };
#endif

/* All moments of COMMAND before it gives a file its name. But not those before it sets up its first signal, when it has
 * not begun yet, and not those between two signals that it sets up, of which one is as good as the next. */
static int early(char **words)
{
    bool acted = true;
    int status;

    for (int at = 0; acted; at++) {
        pid_t pid = start_stopped(words + 3);
        long call = -1, previous;
        bool begun = false, over = false;
        int moment = 0;
        acted = false;
        for (bool entering = true; !acted && !over && step(pid, &status); entering = !entering)
            if (entering) {
                previous = call;
                call = next_call(pid);
                begun = begun || call == SYS_rt_sigaction;
                over = call == RENAME;
                acted = begun && !over && (call != previous || call != SYS_rt_sigaction) && moment++ == at;
            }
        if (acted)
            act(words[1], pid);
        if (acted || over) {
            if (ptrace(PTRACE_DETACH, pid, NULL, 0) != 0)
                die("ptrace");
            status = status_of(pid);
        }
        printf("%d %s\n", status, what_is(words[0]));
        act(words[2], pid);
    }
    return 0;
}

static int watch(char **words)
{
    char before[64] = "", pattern[PATH_MAX];
    int status;
    pid_t pid = start_stopped(words + 1);

    snprintf(pattern, sizeof pattern, "%s/.client-*", words[0]);
    while (step(pid, &status)) {
        glob_t found = { 0 };
        if (glob(pattern, 0, NULL, &found) == 0 && strcmp(what_is(found.gl_pathv[0]), before) != 0) { /* the only one */
            snprintf(before, sizeof before, "%s", what_is(found.gl_pathv[0]));
            puts(before);
        }
        globfree(&found);
    }
    return status;
}

static int leased;

static void let_go(int signal_number)
{
    (void)signal_number;
    fcntl(leased, F_SETLEASE, F_UNLCK);
}

static int lease(char **words)
{
    leased = must(open(words[0], O_RDWR | O_CLOEXEC), words[0]);
    signal(SIGIO, let_go);
    if (fcntl(leased, F_SETLEASE, F_WRLCK) != 0)
        return CANNOT;
    return status_of(start_program(words + 1, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO));
}

static int as(char **words)
{
    gid_t groups[16] = { 0 };
    size_t count = 0;

    for (char *group = strtok(words[1], ","); group != NULL && count < 16; group = strtok(NULL, ","))
        groups[count++] = (gid_t)atol(group);
    if (setgroups(count, groups) != 0 || setgid(groups[0]) != 0 || setuid((uid_t)atol(words[0])) != 0) {
        perror("tamper: as");
        return CANNOT;
    }
    become(words + 2, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
}

/* A program for the kernel, which runs it ahead of each system call (seccomp(2)): unshare fails with EPERM, all else is
 * let through. The constants are from linux/filter.h and linux/seccomp.h, which not every C library brings along. */
static int noshare(char **words)
{
    enum { LOAD = 0x20, JUMP_IF_EQUAL = 0x15, RETURN = 0x06, ALLOW = 0x7fff0000, FAIL = 0x00050000, FILTER = 2 };
    const struct { uint16_t code; uint8_t if_true, if_false; uint32_t value; } filter[] = {
        { LOAD, 0, 0, 0 }, /* the number of the call */
        { JUMP_IF_EQUAL, 0, 1, SYS_unshare },
        { RETURN, 0, 0, FAIL | EPERM },
        { RETURN, 0, 0, ALLOW },
    };
    const struct { unsigned short length; const void *filter; } program = { ELEMENTS(filter), filter };

    /* Only who is not root has to promise that nothing he runs is set-user-ID. */
    if (prctl(PR_SET_SECCOMP, FILTER, &program) != 0 &&
        (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, FILTER, &program) != 0)) {
        perror("tamper: noshare");
        return CANNOT;
    }
    become(words, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
}

#else
#define ON_LINUX(function) NULL
#endif

int main(int argc, char *argv[])
{
    static const struct {
        const char *name;
        int least; /* words */
        int (*function)(char **words);
    } modes[] = {
        { "early", 4, ON_LINUX(early) }, { "watch", 2, ON_LINUX(watch) }, { "state", 1, ON_LINUX(state) },
        { "acl", 1, ON_LINUX(acl) }, { "default", 1, ON_LINUX(acl_of_new) }, { "lease", 2, ON_LINUX(lease) },
        { "as", 3, ON_LINUX(as) }, { "noshare", 1, ON_LINUX(noshare) },
    };

    begin("tamper");
    for (size_t i = 0; argc > 1 && i < ELEMENTS(modes); i++)
        if (strcmp(argv[1], modes[i].name) == 0 && argc - 2 >= modes[i].least)
            return modes[i].function != NULL ? modes[i].function(argv + 2) : CANNOT;
    fputs("tamper: what may be asked for stands at the beginning of tests/tools/tamper.c\n", stderr);
    return 2;
}
