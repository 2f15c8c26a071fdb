/*
 * cable.c - a cable between two network namespaces of its own. It can be slow, long, or cut.
 *
 *     cable [-b BITS] [-d MS] [-x EVENT] [-y MS]       as root, or as the root of a user namespace: see network.sh
 *
 * BITS cross it in a second in each direction, and every packet is MS late. It is cut just before EVENT, which prints
 * the line "cut", and mended -y MS later. EVENT is a number N, for the N-th packet with data from the far end; fin, for
 * the FIN from there; reply, for the first packet with data from the near end; or alive, for the first keepalive: a
 * packet without data after ten seconds of silence (RFC 9293, 3.8.4).
 *
 * The first line printed tells nsenter(1) where the two namespaces are: "/proc/71/fd/3 /proc/71/fd/5". In one is the
 * tun device "near", in the other "far"; what is sent to one comes out of the other. When the first packet comes to a
 * cut cable, standard error says so. SIGTERM ends the program. It exits with 77 where it cannot have all that.
 */
#include "tools.h"

#ifndef __linux__
int main(void)
{
    fputs("cable: not on this system\n", stderr);
    return 77;
}
#else

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

/* From linux/if_tun.h, which not every C library brings along. */
#ifndef TUNSETIFF
#define TUNSETIFF _IOW('T', 202, int)
enum { IFF_TUN = 0x0001, IFF_NO_PI = 0x1000 };
#endif

enum { NOT_HERE = 77, NEAR = 0, FAR = 1, PACKET_MAX = 65536, SECOND = 1000000 };

/* One packet on the cable. */
struct packet {
    struct packet *next;
    int64_t due;                        /* when it arrives, in microseconds */
    size_t length;
    unsigned char bytes[];
};

/* The two ends, and what is on its way from there. */
static struct end {
    int device, namespace;
    int64_t busy;                       /* until then the cable is busy with what came from here; in microseconds */
    struct packet *first, *last;
} ends[2];

static double rate;                     /* -b; 0 is as fast as it goes */
static int64_t late, mending;           /* -d and -y, in microseconds */
static const char *event = "";          /* -x; empty again when it has happened */
static int64_t mended;                  /* when the cable will be mended; 0 if never */
static bool severed;                    /* the cable is cut */

static void leave(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

/* Ends the program, for lack of WHAT, unless that is there. */
static void need(bool there, const char *what)
{
    if (there)
        return;
    fprintf(stderr, "cable: %s: %s\n", what, strerror(errno));
    exit(NOT_HERE);
}

/* Moves this process into a new network namespace and makes device NAME there. */
static struct end make_end(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    struct end made = { .busy = 0 };

    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    need(unshare(CLONE_NEWNET) == 0, "no network namespace");
    made.namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    need(made.namespace >= 0, "/proc/self/ns/net");
    made.device = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    need(made.device >= 0 && ioctl(made.device, TUNSETIFF, &request) == 0, "/dev/net/tun");
    return made;
}

/* True if the packet of LENGTH bytes at B, of IPv4 or IPv6, that came from FROM at the time NOW is what -x waits for
 * (RFC 791, RFC 8200, RFC 9293, 3.1). */
static bool is_event(int from, const unsigned char *b, size_t length, int64_t now)
{
    static int64_t heard;               /* when the packet before this one came */
    static long packets;                /* with data, from the far end */
    const bool four = length >= 20 && b[0] >> 4 == 4 && b[9] == 6, six = length >= 40 && b[0] >> 4 == 6 && b[6] == 6;
    const size_t tcp = four ? (size_t)(b[0] & 15) * 4 : 40;

    if ((!four && !six) || length < tcp + 20)
        return false;
    const bool data = length > tcp + (size_t)(b[tcp + 12] >> 4) * 4, fin = (b[tcp + 13] & 1) != 0;
    const bool silence = heard > 0 && now - heard >= 10L * SECOND;

    heard = now;
    packets += from == FAR && data;
    if (strcmp(event, "alive") == 0)
        return silence && !data;
    if (strcmp(event, "reply") == 0)
        return from == NEAR && data;
    if (strcmp(event, "fin") == 0)
        return from == FAR && fin;
    return from == FAR && data && packets == strtol(event, NULL, 10);
}

/* Reads a packet from the end FROM and puts it on the cable, unless that is cut. */
static void take(int from)
{
    static unsigned char bytes[PACKET_MAX];
    static bool told;
    struct end *end = &ends[from];
    const ssize_t length = read(end->device, bytes, sizeof bytes);
    const int64_t now = microseconds();
    struct packet *packet;

    if (length < 0)
        die("read");
    if (is_event(from, bytes, (size_t)length, now)) {
        severed = true;
        mended = mending > 0 ? now + mending : 0;
        event = "";
        puts("cut");
    }
    if (mended > 0 && now >= mended)
        severed = false;
    if (severed) {
        if (!told)
            fputs("packets were cut off\n", stderr);
        told = true;
        return;
    }
    end->busy = (end->busy > now ? end->busy : now) + (rate > 0 ? (int64_t)((double)length * 8e6 / rate) : 0);
    packet = malloc(sizeof *packet + (size_t)length);
    if (packet == NULL)
        die("malloc");
    *packet = (struct packet){ .due = end->busy + late, .length = (size_t)length };
    memcpy(packet->bytes, bytes, packet->length);
    if (end->first == NULL)
        end->first = packet;
    else
        end->last->next = packet;
    end->last = packet;
}

/* Delivers what is due of what came from the end FROM. Returns how many microseconds there are until the next, or MOST
 * if that is less. */
static int64_t deliver(int from, int64_t most)
{
    struct packet *packet;

    while ((packet = ends[from].first) != NULL) {
        const int64_t left = packet->due - microseconds();
        if (left > 0)
            return left < most ? left : most;
        if (write(ends[!from].device, packet->bytes, packet->length) < 0 && errno != EIO) /* that: it is not up yet */
            die("write");
        ends[from].first = packet->next;
        free(packet);
    }
    return most;
}

int main(int argc, char *argv[])
{
    const int64_t hour = INT64_C(3600) * SECOND;
    const long own = (long)getpid();
    int letter;

    tool = "cable";
    while ((letter = getopt(argc, argv, "b:d:x:y:")) != -1)
        switch (letter) {
        case 'b': rate = atof(optarg); break;
        case 'd': late = (int64_t)(atof(optarg) * 1000); break;
        case 'x': event = optarg; break;
        case 'y': mending = (int64_t)(atof(optarg) * 1000); break;
        default: return 2;
        }
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    signal(SIGTERM, leave);
    ends[NEAR] = make_end("near");
    ends[FAR] = make_end("far");
    printf("/proc/%ld/fd/%d /proc/%ld/fd/%d\n", own, ends[NEAR].namespace, own, ends[FAR].namespace);

    for (;;) {
        struct pollfd wanted[] = { { ends[NEAR].device, POLLIN, 0 }, { ends[FAR].device, POLLIN, 0 } };
        const int64_t left = deliver(FAR, deliver(NEAR, hour));
        const struct timespec wait = { .tv_sec = (time_t)(left / SECOND), .tv_nsec = (long)(left % SECOND * 1000) };
        const int ready = ppoll(wanted, 2, &wait, NULL);
        if (ready < 0 && errno != EINTR)
            die("ppoll");
        for (int from = NEAR; from <= FAR && ready > 0; from++)
            if ((wanted[from].revents & POLLIN) != 0)
                take(from);
            else if (wanted[from].revents != 0)
                die("a device is gone");
    }
}
#endif
