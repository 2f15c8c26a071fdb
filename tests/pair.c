/*
 * pair.c - runs a server and a client together, for the tests and the demonstration.
 *
 *     pair DIRECTORY SERVER [ARGUMENT...] @ CLIENT [ARGUMENT...]
 *
 * Starts the server, waits until it says "listening on ADDRESS port N" on standard error, and starts the client with every
 * argument PORT replaced by N. Leaves in DIRECTORY server.out, server.err, server.status and the same for the client. A
 * status is what the shell would say: the exit status, or 128 plus the number of the signal; it is "none" for a client that
 * was not started because the server ended first. Exits with 0 when both have ended, within LIMIT seconds.
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT = 120 };

static volatile pid_t server_pid, client_pid;

static void kill_both(void)
{
    if (server_pid > 0)
        kill(server_pid, SIGKILL);
    if (client_pid > 0)
        kill(client_pid, SIGKILL);
}

static _Noreturn void die(const char *what)
{
    perror(what);
    kill_both();
    exit(3);
}

/* The handler of what ends this program early, the time limit included: takes both others with it. */
static void stop(int signal_number)
{
    kill_both();
    _exit(128 + signal_number);
}

/* Opens NAME, in the directory that was given, for writing. */
static int create(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    if (fd < 0)
        die(name);
    return fd;
}

/* Starts the program in ARGUMENTS, with OUT, which is closed here, as its standard output and ERROR as its standard
 * error. HERE is the directory to run it in. Returns its process id. */
static pid_t run(char *arguments[], int out, int error, int here)
{
    pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        if (fchdir(here) != 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(error, STDERR_FILENO) < 0)
            _exit(126);
        /* The programs print the numbers of their descriptors: let them find none but the standard ones. */
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        execvp(arguments[0], arguments);
        _exit(127);
    }
    close(out);
    return pid;
}

/* Copies what the server says from FROM to TO, until its first line that names a port, or to the end if PORT is NULL.
 * Puts the port into PORT. Returns true if there was one, false if the server ended without. */
static bool copy(FILE *from, int to, char port[8])
{
    char *line = NULL;
    size_t room = 0;
    bool found = false;

    while (!found && getline(&line, &room, from) > 0) {
        if (dprintf(to, "%s", line) < 0)
            die("server.err");
        found = port != NULL && sscanf(line, "%*[^:]: listening on %*s port %7[0-9]", port) == 1;
    }
    free(line);
    return found;
}

/* Waits for the process *PID, which is 0 if it was never started, and writes its status to the file NAME. */
static void finish(volatile pid_t *pid, const char *name)
{
    int status = 0, fd = create(name);

    if (*pid == 0)
        dprintf(fd, "none\n");
    else {
        while (waitpid(*pid, &status, 0) < 0)
            if (errno != EINTR)
                die("waitpid");
        dprintf(fd, "%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    *pid = 0;
    close(fd);
}

int main(int argc, char *argv[])
{
    const struct sigaction action = { .sa_handler = stop };
    const int deadly[] = { SIGALRM, SIGHUP, SIGINT, SIGTERM };
    int here, err, words[2], at = 3;
    char port[8];

    while (at < argc && strcmp(argv[at], "@") != 0)
        at++;
    if (at + 1 >= argc) {
        fprintf(stderr, "usage: pair DIRECTORY SERVER [ARGUMENT...] @ CLIENT [ARGUMENT...]\n");
        return 2;
    }
    argv[at] = NULL;
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        if (sigaction(deadly[i], &action, NULL) != 0)
            die("sigaction");
    alarm(LIMIT);

    here = open(".", O_RDONLY);
    if (here < 0 || chdir(argv[1]) != 0 || pipe(words) != 0)
        die(argv[1]);
    err = create("server.err");
    server_pid = run(argv + 2, create("server.out"), words[1], here);
    close(words[1]);
    FILE *said = fdopen(words[0], "r");
    if (said == NULL)
        die("fdopen");
    if (copy(said, err, port)) {
        for (int i = at + 1; i < argc; i++)
            if (strcmp(argv[i], "PORT") == 0)
                argv[i] = port;
        int client_err = create("client.err");
        client_pid = run(argv + at + 1, create("client.out"), client_err, here);
        close(client_err);
        copy(said, err, NULL);
    }
    finish(&client_pid, "client.status");
    finish(&server_pid, "server.status");
    return 0;
}
