/*
 * link.c - a bad cable between two networks of its own: what crosses it is slow, lost, late, doubled, damaged or out of
 * order, as the options say, and it can be cut.
 *
 *     link [OPTION...]        as root, or as the root of a user namespace; network.sh shows how it is used
 *
 *     -b BITS      cross it in a second, in each direction. QUEUE bytes wait for their turn, what comes then is lost
 *     -d MS        every packet is so late, in both directions: the round trip takes twice as long
 *     -j MS        and by up to so much later, each by another time; so some overtake others
 *     -l PERCENT   get lost
 *     -r PERCENT   are held back for HOLD more milliseconds, while those behind them overtake
 *     -u PERCENT   arrive twice
 *     -c PERCENT   arrive with one bit changed, in the TCP header or in the data
 *     -m MTU       bytes of the largest packet (1500)
 *     -x EVENT     cuts the cable just before it: N, the N-th packet with data from the far end; fin, the FIN from
 *                  there; or reply, the first packet with data from the near end
 *     -y MS        mends it so long after that
 *     -s SEED      another seed (1): what becomes of the N-th TCP packet of a direction follows from SEED and N alone
 *
 * Makes two network namespaces, with the tun device "near" in one and "far" in the other, and prints one line, such as
 * "/proc/71/fd/3 /proc/71/fd/5": where nsenter(1) finds the one and the other, for giving the devices addresses and for
 * running programs there. A packet sent to a tun device is read here, and written into the other device (Linux's
 * Documentation/networking/tuntap.rst). SIGTERM ends the program, and it tells on standard error what it did. The
 * devices go with it, and the namespaces with the last that runs in them. Exits with 77 where it cannot have all that.
 */
#include "tools.h"

#ifndef __linux__
int main(void)
{
    fputs("link: not on this system\n", stderr);
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

enum { NOT_HERE = 77, NEAR = 0, FAR = 1, HOLD = 5, PACKET_MAX = 65536, QUEUE = 32 * 1024 };

/* One packet on the cable. */
struct packet {
    struct packet *next;
    int64_t due;            /* when it arrives, in microseconds */
    int to;                 /* NEAR or FAR */
    long number;            /* among those of its direction */
    size_t length;
    unsigned char bytes[];
};

/* What matters here of a packet. */
struct view {
    size_t tcp;             /* where its TCP header begins; 0 if it has none */
    bool data, fin;
};

/* The two ends, and what has been sent there. */
static struct end {
    int device, namespace;
    uint64_t random;        /* the state of the generator for packets from here */
    long sent, newest;      /* the number of the packet sent last from here; of the newest that has arrived here */
    int64_t busy;           /* until then the cable is busy with what came from here; in microseconds */
} ends[2];

static double rate;                                 /* -b; 0 is as fast as it goes */
static double late, jitter, mending;                /* -d, -j and -y, in microseconds */
static double losing, doubling, damaging, holding;  /* -l, -u, -c and -r: from 0 to 1 */
static const char *event = "";                      /* -x; empty again when it has happened */
static struct packet *queue, *last;                 /* what is on the cable, by the time it arrives */
static int64_t mended;                              /* when the cable will be mended; 0 if nobody knows */
static bool severed;                                /* the cable is cut */
static volatile sig_atomic_t ending;

/* What was done to how many packets. */
enum fate { PACKETS, LATE, LOST, DROPPED, DOUBLED, DAMAGED, OVERTAKEN, CUT_OFF, FATES };
static const char *const fates[] = { "packets", "late", "lost", "dropped", "doubled", "damaged", "overtaken",
                                     "cut off" };
static long counts[FATES];

static _Noreturn void not_here(const char *what)
{
    fprintf(stderr, "link: %s: %s\n", what, strerror(errno));
    exit(NOT_HERE);
}

static void end(int signal_number)
{
    ending = signal_number;
}

/* Returns the next random number, from 0 to less than 1: 53 bits of it, as many as a double holds. */
static double chance(uint64_t *state)
{
    return (double)(draw(state) >> 11) / 9007199254740992.0;
}

/* Moves this process into a new network namespace and makes device NAME there, with packets of at most MTU bytes. The
 * kernel may not leave checksums to this device, as it does with better ones: so they are right when a packet comes
 * here, and verified when it has been written to the other end. */
static struct end make_end(const char *name, int mtu, uint64_t seed)
{
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    struct end made = { .random = seed };
    int any;

    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    if (unshare(CLONE_NEWNET) != 0)
        not_here("no network namespace");
    made.namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (made.namespace < 0)
        not_here("/proc/self/ns/net");
    made.device = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (made.device < 0 || ioctl(made.device, TUNSETIFF, &request) != 0)
        not_here("/dev/net/tun");
    any = must(socket(AF_INET, SOCK_DGRAM, 0), "socket"); /* this request needs one, no matter which */
    request.ifr_mtu = mtu;
    must(ioctl(any, SIOCSIFMTU, &request), "-m");
    must(close(any), "close");
    return made;
}

/* Looks into the packet of LENGTH bytes at B, of IPv4 or IPv6 (RFC 791, RFC 8200, RFC 9293, 3.1). */
static struct view look(const unsigned char *b, size_t length)
{
    bool four = length >= 20 && b[0] >> 4 == 4 && b[9] == 6, six = length >= 40 && b[0] >> 4 == 6 && b[6] == 6;
    size_t tcp = four ? (size_t)(b[0] & 15) * 4 : six ? 40 : 0;

    if (tcp == 0 || length < tcp + 20)
        return (struct view){ 0 };
    return (struct view){ tcp, length > tcp + (size_t)(b[tcp + 12] >> 4) * 4, (b[tcp + 13] & 1) != 0 };
}

/* True if the packet that came from FROM is what -x waits for. */
static bool is_event(int from, struct view view)
{
    static long data;

    if (strcmp(event, "fin") == 0)
        return from == FAR && view.fin;
    if (strcmp(event, "reply") == 0)
        return from == NEAR && view.data;
    return from == FAR && view.data && ++data == strtol(event, NULL, 10);
}

/* Puts the packet of LENGTH bytes at BYTES on the cable, to arrive at TO at the time DUE. */
static void enqueue(const unsigned char *bytes, size_t length, int to, int64_t due)
{
    struct packet *packet = malloc(sizeof *packet + length), **where = &queue;

    if (packet == NULL)
        die("malloc");
    *packet = (struct packet){ .due = due, .to = to, .number = ends[!to].sent, .length = length };
    memcpy(packet->bytes, bytes, length);
    if (queue != NULL && last->due <= due) /* nearly always */
        where = &last->next;
    while (*where != NULL && (*where)->due <= due)
        where = &(*where)->next;
    packet->next = *where;
    *where = packet;
    if (packet->next == NULL)
        last = packet;
}

/* Reads a packet from the end FROM and decides what becomes of it. */
static void take(int from)
{
    static unsigned char bytes[PACKET_MAX];
    struct end *end = &ends[from];
    ssize_t length = read(end->device, bytes, sizeof bytes);
    int64_t now = microseconds();

    if (length < 0)
        die("read");
    struct view view = look(bytes, (size_t)length);
    if (is_event(from, view)) {
        severed = true;
        mended = mending > 0 ? now + (int64_t)mending : 0;
        event = "";
    }
    if (mended > 0 && now >= mended)
        severed = false, mended = 0;
    if (severed) {
        counts[CUT_OFF]++;
        return;
    }
    if (view.tcp == 0) { /* the kernel's own business, whose time nobody knows: it would make runs differ */
        enqueue(bytes, (size_t)length, !from, now + (int64_t)late);
        return;
    }

    /* All is drawn for every packet, so that what one of the options does, does not depend on the others. */
    bool lose = chance(&end->random) < losing, twice = chance(&end->random) < doubling;
    bool damage = chance(&end->random) < damaging, hold = chance(&end->random) < holding;
    double place = chance(&end->random), more = chance(&end->random) * jitter;
    int64_t start = end->busy > now ? end->busy : now;

    end->sent++;
    counts[PACKETS]++;
    if (lose) {
        counts[LOST]++;
        return;
    }
    if (rate > 0 && (double)(start - now) * rate / 8e6 + (double)length > QUEUE) {
        counts[DROPPED]++;
        return;
    }
    end->busy = start + (rate > 0 ? (int64_t)((double)length * 8e6 / rate) : 0);
    int64_t due = end->busy + (int64_t)(late + more) + (hold ? HOLD * 1000 : 0);
    if (damage) {
        size_t bit = (size_t)(place * (double)((size_t)length - view.tcp) * 8);
        bytes[view.tcp + bit / 8] ^= (unsigned char)(1U << bit % 8);
        counts[DAMAGED]++;
    }
    enqueue(bytes, (size_t)length, !from, due);
    if (twice) {
        enqueue(bytes, (size_t)length, !from, due);
        counts[DOUBLED]++;
    }
    counts[LATE] += due > now;
}

/* Delivers what is due. Returns how many microseconds there are until the next, or -1 if the cable is empty. */
static int64_t deliver(void)
{
    int64_t now = queue != NULL ? microseconds() : 0;

    while (queue != NULL && queue->due <= now) {
        struct packet *packet = queue;
        struct end *end = &ends[packet->to];
        if (write(end->device, packet->bytes, packet->length) < 0 && errno != EIO) /* that: the device is not up yet */
            die("write");
        counts[OVERTAKEN] += packet->number < end->newest;
        if (packet->number > end->newest)
            end->newest = packet->number;
        queue = packet->next;
        free(packet);
    }
    return queue != NULL ? queue->due - now : -1;
}

/* Reads the value of option LETTER, a number from 0 to MOST. */
static double number(int letter, double most)
{
    char *after = optarg;
    double value = strtod(optarg, &after);

    if (after != optarg && *after == '\0' && value >= 0 && value <= most)
        return value;
    fprintf(stderr, "link: -%c: '%s' is not a number from 0 to %.0f\n", letter, optarg, most);
    exit(2);
}

int main(int argc, char *argv[])
{
    const struct sigaction stop = { .sa_handler = end };
    sigset_t term, none;
    uint64_t seed = 1;
    int letter, mtu = 1500;

    tool = "link";
    while ((letter = getopt(argc, argv, "b:c:d:j:l:m:r:s:u:x:y:")) != -1)
        switch (letter) {
        case 'b': rate = number(letter, 1e12); break;
        case 'c': damaging = number(letter, 100) / 100; break;
        case 'd': late = number(letter, 60000) * 1000; break;
        case 'j': jitter = number(letter, 60000) * 1000; break;
        case 'l': losing = number(letter, 100) / 100; break;
        case 'm': mtu = (int)number(letter, 65535); break;
        case 'r': holding = number(letter, 100) / 100; break;
        case 's': seed = (uint64_t)number(letter, UINT32_MAX); break;
        case 'u': doubling = number(letter, 100) / 100; break;
        case 'x': event = optarg; break;
        case 'y': mending = number(letter, 60000) * 1000; break;
        default: return 2;
        }

    /* SIGTERM comes only while ppoll waits, so that it cannot come between the look at ending and the waiting. */
    sigemptyset(&none);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    must(sigprocmask(SIG_BLOCK, &term, NULL), "sigprocmask");
    must(sigaction(SIGTERM, &stop, NULL), "sigaction");
    ends[NEAR] = make_end("near", mtu, seed << 1);
    ends[FAR] = make_end("far", mtu, (seed << 1) + 1);
    if (printf("/proc/%ld/fd/%d /proc/%ld/fd/%d\n", (long)getpid(), ends[NEAR].namespace, (long)getpid(),
               ends[FAR].namespace) < 0 || fflush(stdout) != 0)
        die("standard output");

    while (!ending) {
        struct pollfd wanted[] = { { ends[NEAR].device, POLLIN, 0 }, { ends[FAR].device, POLLIN, 0 } };
        int64_t left = deliver();
        struct timespec wait = { .tv_sec = (time_t)(left / 1000000), .tv_nsec = (long)(left % 1000000 * 1000) };
        int ready = ppoll(wanted, 2, left < 0 ? NULL : &wait, &none);
        if (ready < 0 && errno != EINTR)
            die("ppoll");
        for (int from = NEAR; from <= FAR && ready > 0; from++)
            if ((wanted[from].revents & POLLIN) != 0)
                take(from);
            else if (wanted[from].revents != 0)
                die("a device is gone");
    }
    fprintf(stderr, "seed %ju", (uintmax_t)seed);
    for (int i = 0; i < FATES; i++)
        if (counts[i] > 0)
            fprintf(stderr, ", %ld %s", counts[i], fates[i]);
    fprintf(stderr, "\n");
    return 0;
}
#endif
