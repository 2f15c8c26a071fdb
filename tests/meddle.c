/*
 * meddle.c - changes a program's files under its feet in ways that a shell cannot, between any two system calls.
 *
 *     meddle each FILE DEEDS AFTER COMMAND...   runs COMMAND over and over; each time DEEDS are done at a later moment,
 *                                               from its first to its last. Prints each time how it ended and what
 *                                               FILE is then; AFTER puts all back as it was
 *     meddle early FILE DEEDS AFTER COMMAND...  the same with the moments before it connects only
 *     meddle watch DIRECTORY COMMAND...         runs COMMAND, and prints what the client's temporary file in DIRECTORY
 *                                               is, whenever a system call has changed that
 *     meddle grow FILE N COMMAND...             runs COMMAND; once it has FILE open, and N calls later, FILE grows by a
 *                                               byte before every call
 *     meddle state FILE...                      prints what each FILE is: mode, owner, group, access control list
 *     meddle acl FILE ENTRY...                  sets that list
 *     meddle default DIRECTORY ENTRY...         sets the one that new files there get
 *     meddle as UID GID,... COMMAND...          runs COMMAND as this user in these groups
 *     meddle many N COMMAND...                  runs COMMAND with all descriptors below N taken
 *     meddle lease FILE COMMAND...              runs COMMAND; whoever else opens FILE has to wait until we have been
 *                                               told so and have let go of it
 *
 * DEEDS and AFTER are "rename A B"; "put A B", which makes B one more name of A in place of what it was; "link TARGET
 * B", the same with a symbolic link; "remove A"; and "kill N", which sends COMMAND this signal; with semicolons between
 * them. An ENTRY is u: g: o: or m:, for a user or a group with its number before the colon, and a digit, as in
 * "u:6 u1234:4 g:0 m:4 o:0"; a file without a list has "-". The programs that are watched have no standard output.
 *
 * A race between COMMAND and others has as many outcomes as there are moments between two of its system calls. Here
 * each of them is seen, in every run. Exits with what COMMAND does, 0 for each, 77 if this system does not let us.
 */
#include "tools.h"

#include <grp.h>
#include <sys/resource.h>

enum { CANNOT = 77, ENTRIES_MAX = 32, CALLS_MAX = 5000 };

#ifdef __linux__

#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

/* ---- Access control lists: acl(5), and the header linux/posix_acl_xattr.h --------------------------------------- */

struct entry { uint16_t tag, permissions; uint32_t id; };
struct list { uint32_t version; struct entry entries[ENTRIES_MAX]; };

static const struct { char letter; uint16_t own, other; } tags[] = { /* of the file's owner or group; of another */
    { 'u', 0x01, 0x02 }, { 'g', 0x04, 0x08 }, { 'm', 0x10, 0x10 }, { 'o', 0x20, 0x20 },
};

/* Writes the list of FILE to TEXT, "-" if it has none. The numbers in it are little-endian everywhere. */
static void acl_to_text(const char *file, char *text, size_t room)
{
    struct list list;
    ssize_t length = lgetxattr(file, "system.posix_acl_access", &list, sizeof list);
    ssize_t count = (length - 4) / (ssize_t)sizeof list.entries[0];

    snprintf(text, room, "-");
    for (ssize_t i = 0; i < count; i++)
        for (size_t t = 0; t < sizeof tags / sizeof tags[0]; t++) {
            struct entry entry = list.entries[i];
            unsigned char *tag = (unsigned char *)&entry.tag, *digit = (unsigned char *)&entry.permissions;
            unsigned char *id = (unsigned char *)&entry.id;
            char number[16] = "";
            if (tag[0] == tags[t].other && tags[t].own != tags[t].other)
                snprintf(number, sizeof number, "%lu",
                         id[0] + 0x100UL * id[1] + 0x10000UL * id[2] + 0x1000000UL * id[3]);
            if (tag[0] == tags[t].own || tag[0] == tags[t].other) {
                size_t used = i == 0 ? 0 : strlen(text);
                snprintf(text + used, room - used, "%s%c%s:%d", i == 0 ? "" : " ", tags[t].letter, number, digit[0]);
            }
        }
}

static void put_number(void *to, size_t bytes, uint32_t number)
{
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)to)[i] = (unsigned char)(number >> 8 * i);
}

/* Gives FILE the list NAME of the entries in WORDS. */
static int set_acl(const char *file, const char *name, char **words)
{
    struct list list;
    size_t count = 0;

    put_number(&list.version, 4, 2);
    for (; *words != NULL && count < ENTRIES_MAX; words++, count++) {
        const char *colon = strchr(*words, ':');
        struct entry *entry = &list.entries[count];
        for (size_t t = 0; t < sizeof tags / sizeof tags[0]; t++)
            if (colon != NULL && **words == tags[t].letter)
                put_number(&entry->tag, 2, colon == *words + 1 ? tags[t].own : tags[t].other);
        put_number(&entry->permissions, 2, colon == NULL ? 0 : (uint32_t)atoi(colon + 1));
        put_number(&entry->id, 4, colon == NULL || colon == *words + 1 ? UINT32_MAX : (uint32_t)atol(*words + 1));
    }
    if (setxattr(file, name, &list, 4 + count * sizeof list.entries[0], 0) == 0)
        return 0;
    if (errno != ENOTSUP)
        die(file);
    return CANNOT;
}

/* Writes to TEXT what the file NAME is: its mode, owner, group and access control list. */
static void file_to_text(const char *name, char *text, size_t room)
{
    char list[1024];
    struct stat file;

    if (lstat(name, &file) != 0) {
        snprintf(text, room, "not there");
        return;
    }
    acl_to_text(name, list, sizeof list);
    snprintf(text, room, "%o %u:%u %s", (unsigned)file.st_mode & 07777, file.st_uid, file.st_gid, list);
}

static int state(char **words)
{
    char text[2048];

    for (; *words != NULL; words++) {
        file_to_text(*words, text, sizeof text);
        puts(text);
    }
    return 0;
}

/* ---- One system call at a time: ptrace(2) ----------------------------------------------------------------------- */

/* Starts COMMAND, which stops before its first system call. It has no standard output: ours is for what it does.
 * Returns its process id. */
static pid_t start_stopped(char *command[])
{
    int null = must(open("/dev/null", O_WRONLY), "/dev/null"), status;
    pid_t pid = split();

    if (pid == 0) {
        dup2(null, STDOUT_FILENO);
        close(null);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(CANNOT);
        if (setenv("ASAN_OPTIONS", "detect_leaks=0", 1) != 0) /* which would need ptrace for itself */
            _exit(CANNOT);
        raise(SIGSTOP);
        execvp(command[0], command);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
        ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL) != 0)
        exit(CANNOT);
    close(null);
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
            *status = WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
            return false;
        }
        if (WSTOPSIG(*status) == (SIGTRAP | 0x80))
            return true;
        if (*status >> 8 != (SIGTRAP | PTRACE_EVENT_EXEC << 8))
            pending = WSTOPSIG(*status);
    }
}

/* Does the DEEDS, which semicolons divide. */
static void act(const char *deeds, pid_t pid)
{
    char one[PATH_MAX], two[PATH_MAX];
    int number;

    for (const char *deed = deeds; deed != NULL; deed = strchr(deed, ';')) {
        deed += strspn(deed, "; ");
        if (sscanf(deed, "kill %d", &number) == 1)
            must(kill(pid, number), deed);
        else if (sscanf(deed, "rename %4095s %4095[^; ]", one, two) == 2)
            must(rename(one, two), deed);
        else if (sscanf(deed, "remove %4095[^; ]", one) == 1) {
            if (unlink(one) != 0 && errno != ENOENT)
                die(deed);
        } else if (sscanf(deed, "put %4095s %4095[^; ]", one, two) == 2) {
            must(link(one, "meddle.new"), deed);
            must(rename("meddle.new", two), deed);
            unlink("meddle.new"); /* rename leaves it if both are the same file */
        } else if (sscanf(deed, "link %4095s %4095[^; ]", one, two) == 2) {
            must(symlink(one, "meddle.new"), deed);
            must(rename("meddle.new", two), deed);
        } else if (*deed != '\0') {
            errno = EINVAL;
            die(deed);
        }
    }
}

/* Returns the number of the system call that PID is about to make, -1 if that cannot be told (proc(5)). */
static long next_call(pid_t pid)
{
    char name[64], text[256];

    snprintf(name, sizeof name, "/proc/%ld/syscall", (long)pid);
    return get_file(name, text, sizeof text) > 0 ? atol(text) : -1;
}

/* All moments of COMMAND, or those before it connects if EARLY is true. But not those before it sets up its first
 * signal, when it has not begun yet, and not those between two signals that it sets up, of which one is as good as
 * the next. */
static int each(char **words, bool early)
{
    char text[2048];
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
                over = early && call == SYS_connect;
                acted = begun && !over && (call != previous || call != SYS_rt_sigaction) && moment++ == at;
            }
        if (acted)
            act(words[1], pid);
        if (acted || over) {
            if (ptrace(PTRACE_DETACH, pid, NULL, 0) != 0)
                die("ptrace");
            status = status_of(pid);
        }
        file_to_text(words[0], text, sizeof text);
        printf("%d %s\n", status, text);
        act(words[2], pid);
    }
    return 0;
}

/* True if PID has the file that STATUS is of open. */
static bool has_open(pid_t pid, const struct stat *status)
{
    struct stat open;
    char name[64];

    for (int fd = 3; fd < 16; fd++) {
        snprintf(name, sizeof name, "/proc/%ld/fd/%d", (long)pid, fd);
        if (stat(name, &open) == 0 && open.st_dev == status->st_dev && open.st_ino == status->st_ino)
            return true;
    }
    return false;
}

static int grow(char **words)
{
    pid_t pid = start_stopped(words + 2); /* before we have the file open: it would have it too */
    int fd = must(open(words[0], O_WRONLY | O_APPEND), words[0]), left = atoi(words[1]), calls = 0, status;
    struct stat file;

    must(fstat(fd, &file), words[0]);
    for (bool entering = true; step(pid, &status); entering = !entering)
        if (entering && (calls > 0 || has_open(pid, &file)) && ++calls > left) {
            if (calls == CALLS_MAX)
                kill(pid, SIGKILL);
            if (write(fd, "x", 1) != 1)
                die(words[0]);
        }
    return status;
}

static int watch(char **words)
{
    char now[2048], before[sizeof now] = "", name[PATH_MAX];
    int status;
    pid_t pid = start_stopped(words + 1);

    while (step(pid, &status)) {
        DIR *here = opendir(words[0]);
        for (struct dirent *entry; here != NULL && (entry = readdir(here)) != NULL;)
            if (strncmp(entry->d_name, ".client-", 8) == 0) {
                snprintf(name, sizeof name, "%s/%s", words[0], entry->d_name);
                file_to_text(name, now, sizeof now);
                if (strcmp(now, before) != 0)
                    puts(now);
                memcpy(before, now, sizeof now);
            }
        if (here != NULL)
            closedir(here);
    }
    return status;
}

static int leased = -1;

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

#endif

static int many(char **words)
{
    int least = atoi(words[0]);
    struct rlimit limit;

    must(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_max < (rlim_t)least + 32 || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return CANNOT;
    while (must(dup(STDIN_FILENO), "dup") < least - 1)
        ;
    execvp(words[1], words + 1);
    die(words[1]);
}

static int as(char **words)
{
    gid_t groups[16] = { 0 };
    size_t count = 0;

    for (char *group = strtok(words[1], ","); group != NULL && count < 16; group = strtok(NULL, ","))
        groups[count++] = (gid_t)atol(group);
    if (setgroups(count, groups) != 0 || setgid(groups[0]) != 0 || setuid((uid_t)atol(words[0])) != 0) {
        perror("meddle: as");
        return CANNOT;
    }
    execvp(words[2], words + 2);
    die(words[2]);
}

int main(int argc, char *argv[])
{
    static const struct { const char *name; int least; } modes[] = {
        { "each", 4 }, { "early", 4 }, { "grow", 3 }, { "watch", 2 }, { "state", 1 }, { "acl", 2 },
        { "default", 2 }, { "as", 3 }, { "many", 2 }, { "lease", 2 },
    };
    enum { MODES = sizeof modes / sizeof modes[0] };
    size_t mode = 0;

    tool = "meddle";
    while (mode < MODES && (argc < 2 || strcmp(argv[1], modes[mode].name) != 0))
        mode++;
    if (mode == MODES || argc - 2 < modes[mode].least) {
        fprintf(stderr, "usage: meddle each|early FILE DEEDS AFTER COMMAND... | watch DIRECTORY COMMAND... |\n"
                        "       meddle grow FILE N COMMAND... | state FILE... | acl FILE ENTRY... |\n"
                        "       meddle default DIRECTORY ENTRY... | as UID GID,... COMMAND... |\n"
                        "       meddle many N COMMAND... | lease FILE COMMAND...\n");
        return 2;
    }
    argv += 2;
    switch (mode) {
#ifdef __linux__
    case 0: return each(argv, false);
    case 1: return each(argv, true);
    case 2: return grow(argv);
    case 3: return watch(argv);
    case 4: return state(argv);
    case 5: return set_acl(argv[0], "system.posix_acl_access", argv + 1);
    case 6: return set_acl(argv[0], "system.posix_acl_default", argv + 1);
    case 9: return lease(argv);
#endif
    case 7: return as(argv);
    case 8: return many(argv);
    default: return CANNOT;
    }
}
