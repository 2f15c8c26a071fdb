/*
 * packets.c - runs a command and writes down every TCP segment that its programs send to each other.
 *
 *     packets FILE COMMAND [ARGUMENT...]
 *
 * COMMAND runs in a network namespace of its own. FILE gets a line for each segment, in the order of sending:
 *
 *     13:45:35.991567 server sends PSH+ACK seq 1 ack 1 length 1152 window 1152 port 40001
 *
 * The time is the kernel's, on the clock of the traces (-v). The server is the side that was connected to, and port is
 * its port. seq and ack count from the SYN, which is number 0; ack is 0 without the flag ACK. window is in bytes.
 * Exits with the status of COMMAND, or with 77, and a line that says why, where packets cannot be seen. Of several
 * connections, those that begin while another one is open end it here. There is room for some 8000 packets.
 */
#include "tools.h"

#ifndef __linux__
int main(void)
{
    fputs("packets: not on this system\n", stderr);
    return NOT_HERE;
}
#else
#include "wire.h"

/* COMMAND has ended, and for so long nothing came: then its kernel has no more to say. It sends again within 200. */
enum { QUIET_MILLISECONDS = 400 };

static volatile pid_t command;

/* What would end this program early ends COMMAND, and so this program. */
static void pass_on(int signal_number)
{
    if (command == 0 || kill(command, signal_number) != 0)
        _exit(128 + signal_number);
}

/* Writes the names of FLAGS to TEXT, and returns that. */
static const char *names(unsigned flags, char text[32])
{
    static const struct { unsigned flag; const char *name; } known[] = {
        { SYN, "SYN" }, { FIN, "FIN" }, { RST, "RST" }, { PSH, "PSH" }, { URG, "URG" }, { ACK, "ACK" },
    };
    int length = 0;

    for (size_t i = 0; i < ELEMENTS(known); i++)
        if ((flags & known[i].flag) != 0)
            length += snprintf(text + length, 32 - (size_t)length, "%s%s", length == 0 ? "" : "+", known[i].name);
    return length == 0 ? "none" : text;
}

static void print(FILE *file, const struct segment *segment)
{
    char clock[32], flags[32];

    write_clock(clock, &segment->time);
    if (fprintf(file, "%s %s sends %s seq %lu ack %lu length %lu window %lu port %u\n", clock,
                segment->side == SERVER ? "server" : "client", names(segment->flags, flags),
                (unsigned long)segment->seq, (unsigned long)segment->ack, (unsigned long)segment->length,
                (unsigned long)segment->window, (unsigned)wire.seen.port[SERVER]) < 0)
        die("write");
}

int main(int argc, char *argv[])
{
    static const int deadly[] = { SIGHUP, SIGINT, SIGTERM };
    const struct sigaction action = { .sa_handler = pass_on, .sa_flags = SA_RESTART };
    struct segment segment;
    const char *refused;
    FILE *file;
    int status;

    begin("packets");
    if (argc < 3) {
        fputs("usage: packets FILE COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    refused = open_wire();
    if (refused != NULL) {
        fprintf(stderr, "packets: no %s: %s\n", refused, strerror(errno));
        return NOT_HERE;
    }
    file = fopen(argv[1], "w");
    if (file == NULL)
        die(argv[1]);
    command = start_program(argv + 2, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
    for (size_t i = 0; i < ELEMENTS(deadly); i++)
        must(sigaction(deadly[i], &action, NULL), "sigaction");
    status = status_of(command);
    command = 0;
    while (next_segment(&segment, QUIET_MILLISECONDS))
        print(file, &segment);
    if (fclose(file) != 0)
        die(argv[1]);
    return status;
}
#endif
