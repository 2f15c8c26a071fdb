/*
 * errors.h - the names of errors, which C libraries describe with different texts: for faults.h, which makes calls fail
 * with them, and peer.c, which tells the texts.
 */
#ifndef ERRORS_H
#define ERRORS_H

#include <errno.h>
#include <netdb.h>
#include <string.h>

/* Failures of faults.h that are no errors; far from all errno and EAI_ values. */
enum { SHORT = 10001, NOTHING, TIMEOUT, FAILURE };

#define NAMED(error) { #error, error }
static const struct { const char *name; int number; } known_errors[] = {
    NAMED(EACCES), NAMED(EADDRINUSE), NAMED(EADDRNOTAVAIL), NAMED(EAFNOSUPPORT), NAMED(EAGAIN), NAMED(EBADF),
    NAMED(EBUSY), NAMED(ECHILD), NAMED(ECONNABORTED), NAMED(ECONNREFUSED), NAMED(ECONNRESET), NAMED(EEXIST),
    NAMED(EFBIG), NAMED(EINPROGRESS), NAMED(EINTR), NAMED(EINVAL), NAMED(EIO), NAMED(EISDIR), NAMED(ELOOP),
    NAMED(EMFILE), NAMED(ENAMETOOLONG), NAMED(ENETUNREACH), NAMED(ENFILE), NAMED(ENOBUFS), NAMED(ENOENT),
    NAMED(ENOMEM), NAMED(ENOSPC), NAMED(ENOSYS), NAMED(ENOTCONN), NAMED(ENOTDIR), NAMED(ENOTSUP),
    NAMED(EOVERFLOW), NAMED(EPERM), NAMED(EPIPE), NAMED(ETIMEDOUT), NAMED(EAI_AGAIN), NAMED(EAI_FAIL),
    NAMED(EAI_MEMORY), NAMED(EAI_NONAME), NAMED(EAI_SYSTEM),
    { "short", SHORT }, { "nothing", NOTHING }, { "timeout", TIMEOUT }, { "failure", FAILURE },
};

/* Returns the number of the error NAME, of errno or of getaddrinfo; 0 if there is none. */
static inline int error_number(const char *name)
{
    for (size_t i = 0; i < sizeof known_errors / sizeof known_errors[0]; i++)
        if (strcmp(known_errors[i].name, name) == 0)
            return known_errors[i].number;
    return 0;
}

/* Returns the text of the error NAME; that of EAI_SYSTEM is errno's. */
static inline const char *error_text(const char *name)
{
    const int number = error_number(name);

    return number == EAI_SYSTEM ? strerror(errno) :
           strncmp(name, "EAI_", 4) == 0 ? gai_strerror(number) : strerror(number);
}

#endif
