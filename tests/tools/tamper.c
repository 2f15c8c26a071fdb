/*
 * tamper.c - gives files access control lists, and programs other rights: what POSIX has no utility for.
 *
 *     tamper acl FILE                           gives it a list: 1234 and 4321 may do all, its group nothing
 *     tamper default DIRECTORY                  gives that to new files there
 *     tamper as UID GID,... COMMAND...          runs COMMAND as this user in these groups
 *     tamper noshare COMMAND...                 runs COMMAND without the right to make namespaces
 *
 * Exits with what COMMAND does, 77 if the system forbids it.
 */
#include "tools.h"

#ifdef __linux__
#define ON_LINUX(function) function

#include <endian.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

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
    return NOT_HERE;
}

static int acl(char **words) { return set_list(words[0], "system.posix_acl_access"); }
static int acl_of_new(char **words) { return set_list(words[0], "system.posix_acl_default"); }

static int as(char **words)
{
    gid_t groups[16] = { 0 };
    size_t count = 0;

    for (char *group = strtok(words[1], ","); group != NULL && count < 16; group = strtok(NULL, ","))
        groups[count++] = (gid_t)atol(group);
    if (setgroups(count, groups) != 0 || setgid(groups[0]) != 0 || setuid((uid_t)atol(words[0])) != 0) {
        perror("tamper: as");
        return NOT_HERE;
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
        return NOT_HERE;
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
        { "acl", 1, ON_LINUX(acl) }, { "default", 1, ON_LINUX(acl_of_new) }, { "as", 3, ON_LINUX(as) },
        { "noshare", 1, ON_LINUX(noshare) },
    };

    begin("tamper");
    for (size_t i = 0; argc > 1 && i < ELEMENTS(modes); i++)
        if (strcmp(argv[1], modes[i].name) == 0 && argc - 2 >= modes[i].least)
            return modes[i].function != NULL ? modes[i].function(argv + 2) : NOT_HERE;
    fputs("tamper: what may be asked for stands at the beginning of tests/tools/tamper.c\n", stderr);
    return 2;
}
