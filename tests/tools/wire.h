/*
 * wire.h - sees the TCP segments that cross the loopback interface, for packets.c and claims.c. cable.c shows it those
 * that cross a cable.
 *
 * open_wire goes into a network namespace of its own, where nobody else's connections are (network_namespaces(7),
 * user_namespaces(7)). It opens a packet socket there, whose kernel writes what it sees into a ring of memory, with the
 * time (packet(7)). So looking does not disturb what is looked at. IPv4 only. Include tools.h first.
 */
#ifndef WIRE_H
#define WIRE_H

#include <net/if.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };   /* flags (RFC 9293, 3.1) */
enum { SERVER, CLIENT };                                           /* the client is who sends the first SYN */
enum { FRAMES = 16384, FRAME_SIZE = 256, BLOCK_SIZE = 65536, NO_SCALE = 15 };

/* From linux/if_packet.h, which not every C library brings along: what a ring is asked for, and the head of each frame
 * in it. */
struct ring_request { unsigned block_size, blocks, frame_size, frames; };
struct frame {
    volatile uint32_t status;
    uint32_t length, kept;
    uint16_t link, network;
    uint32_t seconds, nanoseconds, more[2];
};
enum { RING = 5, VERSION = 10, VERSION_2 = 1, FOR_KERNEL = 0, FOR_USER = 1 };

/* The latest connection, as far as it was seen. All by side: SERVER or CLIENT. */
struct conversation {
    in_port_t port[2];
    uint32_t first[2];      /* the initial sequence numbers */
    unsigned scale[2];      /* shift counts of the windows (RFC 7323, 2.2), NO_SCALE if this side sent none */
};

/* One segment. Sequence numbers count from the SYN, which is number 0, as in most tools. */
struct segment {
    struct timespec time;
    int side;               /* whose it is */
    unsigned flags;
    uint32_t seq, ack, length, window; /* the window in bytes, scaled: all but that of a SYN */
};

static struct {
    int fd;
    unsigned char *ring;
    unsigned next;          /* the frame to be looked at next */
    struct conversation seen;
} wire = { .fd = -1 };

/* Writes TEXT to a file of /proc, with the numeric id ID where %lu stands. */
static inline bool write_to(const char *path, const char *text, unsigned long id)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && dprintf(fd, text, id, id) > 0;

    return fd >= 0 && close(fd) == 0 && written;
}

/* Moves this process into a network namespace whose loopback interface is up. Who may not do that makes a user
 * namespace too, in which he may, and stays in it who he is. Returns false, with errno, where any of that fails: then
 * this process may be in a namespace in which nothing works. */
static inline bool enter_namespace(void)
{
    struct ifreq loopback = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    unsigned long user = geteuid(), group = getegid();

    if (unshare(CLONE_NEWNET) != 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0 || !write_to("/proc/self/setgroups", "deny", 0) ||
         !write_to("/proc/self/gid_map", "%lu %lu 1", group) || !write_to("/proc/self/uid_map", "%lu %lu 1", user)))
        return false;
    return ioctl(make_socket(), SIOCSIFFLAGS, &loopback) == 0; /* the request needs a socket, no matter which */
}

/* Begins to record what crosses the loopback interface. Returns NULL, or what was not allowed, with errno set. */
static inline const char *open_wire(void)
{
    const struct ring_request room = { BLOCK_SIZE, FRAMES / (BLOCK_SIZE / FRAME_SIZE), FRAME_SIZE, FRAMES };
    const uint16_t all = 0x0003; /* ETH_P_ALL: another protocol than this sees no outgoing packets */
    const int version = VERSION_2;
    struct sockaddr_ll name = { .sll_family = AF_PACKET, .sll_protocol = htons(all) };
    void *ring;

    if (!enter_namespace())
        return "network namespace";
    name.sll_ifindex = (int)if_nametoindex("lo");
    wire.fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* protocol 0: nothing yet */
    if (wire.fd < 0)
        return "packet socket";
    if (setsockopt(wire.fd, SOL_PACKET, VERSION, &version, sizeof version) != 0 ||
        setsockopt(wire.fd, SOL_PACKET, RING, &room, sizeof room) != 0)
        return "ring of packets";
    ring = mmap(NULL, (size_t)FRAMES * FRAME_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, wire.fd, 0);
    if (ring == MAP_FAILED)
        return "memory for packets";
    wire.ring = ring;
    if (bind(wire.fd, (struct sockaddr *)&name, sizeof name) != 0)
        return "loopback interface";
    return NULL;
}

static inline uint32_t number(const unsigned char *at, int length)
{
    return length == 2 ? (uint32_t)at[0] << 8 | at[1] : number(at, 2) << 16 | number(at + 2, 2);
}

/* Returns the shift count among the options of a SYN (RFC 9293, 3.2; RFC 7323, 2.2), from AT to END. */
static inline unsigned scale_in(const unsigned char *at, const unsigned char *end)
{
    enum { END_OF_OPTIONS, NOTHING, SCALE = 3 };

    while (end - at >= 3 && *at != END_OF_OPTIONS && *at != SCALE)
        at += *at == NOTHING ? 1 : at[1] >= 2 ? at[1] : end - at;
    return end - at < 3 || *at != SCALE ? NO_SCALE : at[2] < 14 ? at[2] : 14;
}

/* Takes apart the IPv4 packet at P, of which KEPT bytes are there and LENGTH were (RFC 791, 3.1; RFC 9293, 3.1).
 * Returns false if it is no TCP segment, or not of the connection whose begin was seen last. */
static inline bool look(const unsigned char *p, size_t kept, size_t length, struct segment *segment)
{
    size_t ip = kept >= 20 ? (size_t)(p[0] & 15) * 4 : 0, tcp;
    const unsigned char *t = p + ip;
    struct conversation *const of = &wire.seen;
    in_port_t from, to;
    int side;

    if (ip < 20 || p[0] >> 4 != 4 || p[9] != 6 || kept < ip + 20)
        return false;
    tcp = (size_t)(t[12] >> 4) * 4;
    if (tcp < 20 || kept < ip + tcp || length < ip + tcp)
        return false;
    segment->flags = t[13];
    from = (in_port_t)number(t, 2);
    to = (in_port_t)number(t + 2, 2);
    if ((segment->flags & (SYN | ACK)) == SYN && (from != of->port[CLIENT] || of->first[CLIENT] != number(t + 4, 4)))
        *of = (struct conversation){ .port = { to, from } };
    side = from == of->port[CLIENT] ? CLIENT : SERVER;
    if (from != of->port[side] || to != of->port[!side])
        return false;
    if ((segment->flags & SYN) != 0) {
        of->first[side] = number(t + 4, 4);
        of->scale[side] = scale_in(t + 20, t + tcp);
    }
    segment->side = side;
    segment->seq = number(t + 4, 4) - of->first[side];
    segment->ack = (segment->flags & ACK) != 0 ? number(t + 8, 4) - of->first[!side] : 0;
    segment->length = (uint32_t)(length - ip - tcp);
    segment->window = number(t + 14, 2);
    if ((segment->flags & SYN) == 0 && of->scale[SERVER] != NO_SCALE && of->scale[CLIENT] != NO_SCALE)
        segment->window <<= of->scale[side];
    return true;
}

/* Takes the next segment out of the ring. Returns false if none comes within so many MILLISECONDS. */
static inline bool next_segment(struct segment *segment, int milliseconds)
{
    int64_t until = microseconds() + (int64_t)milliseconds * 1000, left;
    unsigned char *const ring = wire.ring;
    bool found = false;

    if (ring == NULL)
        return false;
    while (!found) {
        unsigned char *at = ring + (size_t)wire.next * FRAME_SIZE;
        struct frame *frame = (struct frame *)(void *)at;
        const struct sockaddr_ll *name = (struct sockaddr_ll *)(void *)(at + sizeof *frame);
        struct pollfd wanted = { .fd = wire.fd, .events = POLLIN };

        if ((frame->status & FOR_USER) == 0) {
            left = until - microseconds();
            if (left <= 0)
                return false;
            if (poll(&wanted, 1, (int)(left / 1000) + 1) < 0 && errno != EINTR)
                die("poll");
            continue;
        }
        atomic_thread_fence(memory_order_seq_cst); /* what the kernel wrote before the status is read after it */
        segment->time = (struct timespec){ .tv_sec = (time_t)frame->seconds, .tv_nsec = (long)frame->nanoseconds };
        /* Each packet is seen twice on the loopback interface, as it goes and as it comes. */
        found = name->sll_pkttype == PACKET_OUTGOING && look(at + frame->network, frame->kept, frame->length, segment);
        atomic_thread_fence(memory_order_seq_cst);
        frame->status = FOR_KERNEL;
        wire.next = (wire.next + 1) % FRAMES;
    }
    return true;
}

#endif
