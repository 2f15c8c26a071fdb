/*
 * cable.c - runs a command beside a network cable that can be slow, long, or cut.
 *
 *     cable [-b BITS] [-d MS] [-x EVENT] [-y MS] COMMAND [ARGUMENT...]
 *
 * COMMAND runs in a network namespace of its own. A server there listens on 10.77.0.1, a client connects to 10.77.0.2,
 * and the cable is between them. BITS cross it in a second in each direction, and every packet is MS late. It is cut
 * just before EVENT, which makes the file "cut", and mended -y MS later. EVENT is a number N, for the N-th packet with
 * data from the server; fin, for its FIN; reply, for the first packet with data from the client; or alive, for the
 * first keepalive: a packet without data after ten seconds of silence (RFC 9293, 3.8.4).
 *
 * How: 10.77.0.1 is a tun device, and what is sent to 10.77.0.2 comes out of it. The cable exchanges the two addresses,
 * which changes no checksum, and puts that back. So each end takes the other one for 10.77.0.2. IPv4 only, and of
 * several connections only the latest. To try a round trip of 20 ms (10 there and 10 back):
 *
 *     cable -d 10 run_pair DIRECTORY server -a 10.77.0.1 -p 0 FILE @ client -a 10.77.0.2 -p PORT COPY
 *
 * Exits with the status of COMMAND, or with 77, and a line that says why, where this cannot be done.
 */
#include "tools.h"

#ifndef __linux__
int main(void)
{
    fputs("cable: not on this system\n", stderr);
    return NOT_HERE;
}
#else
#include "wire.h"

/* From linux/if_tun.h, which not every C library brings along. */
#ifndef TUNSETIFF
#define TUNSETIFF _IOW('T', 202, int)
enum { IFF_TUN = 0x0001, IFF_NO_PI = 0x1000 };
#endif

enum {
    GRACE = 3,                          /* seconds for COMMAND to end what it has started */
    PACKETS = 10000, PACKET_SIZE = 1500,
    SOURCE = 12, DESTINATION = 16, ADDRESS_SIZE = 4, /* where the addresses are in a packet (RFC 791, 3.1) */
};

/* What is on its way from SERVER and from CLIENT. Times are in microseconds. */
static struct direction {
    int64_t busy;                       /* until then, what was sent before takes up the cable */
    unsigned long sent, delivered;      /* how many packets */
    struct packet {
        int64_t due;                    /* when it arrives */
        size_t length;
        unsigned char bytes[PACKET_SIZE];
    } packets[PACKETS];
} directions[2];

static int device;
static double rate;                     /* -b; 0 is as fast as it goes */
static int64_t late, mending;           /* -d and -y */
static const char *event = "";          /* -x; empty again when it has happened */
static int64_t cut_until;

/* Ends the program, for lack of WHAT, unless that is there. */
static void need(bool there, const char *what)
{
    if (there)
        return;
    fprintf(stderr, "cable: no %s: %s\n", what, strerror(errno));
    exit(NOT_HERE);
}

/* Makes the device. Its queue loses no burst if root makes it; for others it has 500 packets, which is all that the
 * tests send. */
static void make_device(void)
{
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    struct sockaddr_in name = local_address(0);
    int any;

    need(enter_namespace(), "network namespace");
    device = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    need(device >= 0 && ioctl(device, TUNSETIFF, &request) == 0, "/dev/net/tun");
    any = make_socket();
    name.sin_addr.s_addr = inet_addr("10.77.0.1");
    memcpy(&request.ifr_addr, &name, sizeof name);
    must(ioctl(any, SIOCSIFADDR, &request), "address");
    name.sin_addr.s_addr = inet_addr("10.77.0.2");
    memcpy(&request.ifr_dstaddr, &name, sizeof name);
    must(ioctl(any, SIOCSIFDSTADDR, &request), "the other end's address");
    request.ifr_qlen = PACKETS;
    (void)ioctl(any, SIOCSIFTXQLEN, &request);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    must(ioctl(any, SIOCSIFFLAGS, &request), "device");
}

/* True if SEGMENT, at the time NOW, is what -x waits for. */
static bool is_event(const struct segment *segment, int64_t now)
{
    static int64_t heard;               /* when the segment before this one came */
    static long packets;                /* with data, from the server */
    const bool silence = heard > 0 && now - heard >= 10000000, data = segment->length > 0;

    heard = now;
    if (strcmp(event, "alive") == 0)
        return silence && !data;
    if (segment->side == CLIENT)
        return data && strcmp(event, "reply") == 0;
    if (strcmp(event, "fin") == 0)
        return (segment->flags & FIN) != 0;
    return data && ++packets == strtol(event, NULL, 10);
}

/* Takes a packet out of the device and puts it on the cable, unless that is cut, or full. */
static void take(void)
{
    unsigned char bytes[PACKET_SIZE];
    const size_t length = (size_t)must((int)read(device, bytes, sizeof bytes), "read");
    const int64_t now = microseconds();
    struct segment segment;
    struct direction *direction;
    struct packet *packet;

    if (!look(bytes, length, length, &segment))
        return;
    if (is_event(&segment, now)) {
        cut_until = mending > 0 ? now + mending : INT64_MAX;
        event = "";
        must(close(open_output("cut")), "close");
    }
    direction = &directions[segment.side];
    if (now < cut_until || direction->sent - direction->delivered == PACKETS)
        return;
    direction->busy = (direction->busy > now ? direction->busy : now) +
                      (rate > 0 ? (int64_t)((double)length * 8e6 / rate) : 0);
    packet = &direction->packets[direction->sent++ % PACKETS];
    packet->due = direction->busy + late;
    packet->length = length;
    memcpy(packet->bytes, bytes, length);
    memcpy(packet->bytes + SOURCE, bytes + DESTINATION, ADDRESS_SIZE);
    memcpy(packet->bytes + DESTINATION, bytes + SOURCE, ADDRESS_SIZE);
}

/* Delivers what is due in DIRECTION. Returns the microseconds until the next is due, or MOST if that is less. */
static int64_t deliver(struct direction *direction, int64_t most)
{
    for (; direction->delivered < direction->sent; direction->delivered++) {
        const struct packet *packet = &direction->packets[direction->delivered % PACKETS];
        const int64_t left = packet->due - microseconds();
        if (left > 0)
            return left < most ? left : most;
        must((int)write(device, packet->bytes, packet->length), "write");
    }
    return most;
}

int main(int argc, char *argv[])
{
    struct pollfd wanted = { .events = POLLIN };
    int letter, status;
    pid_t command;

    begin("cable");
    while ((letter = getopt(argc, argv, "+b:d:x:y:")) != -1)
        switch (letter) {
        case 'b': rate = atof(optarg); break;
        case 'd': late = (int64_t)(atof(optarg) * 1000); break;
        case 'x': event = optarg; break;
        case 'y': mending = (int64_t)(atof(optarg) * 1000); break;
        default: argc = 0;
        }
    if (optind >= argc) {
        fputs("usage: cable [-b BITS] [-d MS] [-x EVENT] [-y MS] COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    supervise(0, GRACE);
    make_device();
    wanted.fd = device;
    command = start_program(argv + optind, STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO);
    signal(SIGTERM, SIG_IGN); /* COMMAND gets it too, and we end when that has */
    while (must(waitpid(command, &status, WNOHANG), "waitpid") == 0) { /* we look every 20 ms, or more often */
        const int64_t left = deliver(&directions[SERVER], deliver(&directions[CLIENT], 20000));
        const struct timespec wait = { .tv_nsec = (long)(left * 1000) };
        if (must(ppoll(&wanted, 1, &wait, NULL), "ppoll") > 0)
            take();
    }
    return shell_status(status);
}
#endif
