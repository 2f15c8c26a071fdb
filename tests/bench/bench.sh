#!/bin/sh
# bench.sh - measures the pair, beside other programs that do the same, and says how to read it. Run by `make bench`.
#
#     sh tests/bench/bench.sh                everything: ten minutes on a quiet machine
#     sh tests/bench/bench.sh large sweep    only these: large plain small sweep delay disk many
#
# In the environment: SIZE (512) of the large file in MiB, how many ROUNDS (15), and SEED for the order of the turns.
# That file and its copy are in memory, /dev/shm or else TMPDIR. A copy that differs from the original ends the run.
set -u
export LC_ALL=C

rounds=${ROUNDS-15} size=${SIZE-512} seed=${SEED-$(awk 'BEGIN { srand(); print int(rand() * 10000) }')}
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
server=$root/server client=$root/client peer=$root/tests/tools/peer pair=$root/tests/tools/run_pair

running='' work='' disk=''
finish() {
    [ -z "$running" ] || { kill "$running" && wait "$running"; } # it ends what it has started
    cd / && rm -rf "$work" "$disk"
} 2>/dev/null
trap finish EXIT
trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM

fail() { echo "bench.sh: $*" >&2 && exit 1; }

title() { printf '\n== %s\n\n' "$*"; }

# Makes the file $1 of $2 KiB, which look random.
make_file() {
    dd if=/dev/urandom of="$1" bs=1024 count="$2" 2>/dev/null || fail "no room for a file of $2 KiB: see SIZE"
}

# Sends the file $2 as $1 does it, measures it, and compares the copies, got and what begins like that. The steps have
# files of their own. That others than ours fail does not end the run.
# shellcheck disable=SC2016 # what stands in single quotes is for the inner shell
send() {
    name=$1 file=$2 status=0 b=${1#*-}
    case $1 in
        pair) set -- "$server" -b 0 -p 0 "$file" @ "$client" -b 0 -p PORT got ;;
        default) set -- "$server" -p 0 "$file" @ "$client" -p PORT got ;;
        unflushed) set -- "$server" -b 0 -p 0 "$file" @ ./client-unflushed -b 0 -p PORT got ;;
        plain) set -- "$peer" listen buffers 1025 send "$file" fin eof @ "$peer" connect PORT buffers 1025 into got ;;
        sweep-*) file=$2-$b && set -- "$server" -b "$b" -p 0 "$file" @ "$client" -b "$b" -p PORT got ;;
        delay-*) # across a cable of tests/tools/network.sh
            file=$2-$b && set -- sh -c 'exec $FAR "$@"' sh "$server" -a 10.77.0.2 -b "$b" -p 0 "$file" @ \
                "$client" -a 10.77.0.2 -b "$b" -p PORT got ;;
        nc) set -- nc -N -l 127.0.0.1 PORT '<' "$file" @ nc -d 127.0.0.1 PORT '>' got ;;
        socat) set -- socat -u -b262144 "OPEN:$file" TCP-LISTEN:PORT,bind=127.0.0.1 @ \
            socat -u -b262144 TCP:127.0.0.1:PORT OPEN:got,creat,trunc ;;
        ncat) set -- ncat -l --send-only 127.0.0.1 PORT '<' "$file" @ ncat --recv-only 127.0.0.1 PORT '>' got ;;
        cp) set -- cp "$file" got ;;
        pair-k) set -- "$server" -k -p 0 "$file" @ \
            "$peer" connect PORT into got.SLOT put 'I have recv the data,Thank you' ;;
        client-k) set -- "$server" -k -p 0 "$file" @ "$client" -p PORT got.SLOT ;;
        socat-k) set -- socat -U TCP-LISTEN:PORT,bind=127.0.0.1,fork,backlog=128 "OPEN:$file,rdonly" @ \
            "$peer" connect PORT into got.SLOT ;;
    esac
    case $name in *-k) set -- -k 100 -j 25 "$@" ;; esac
    set -- "$pair" -t "$@"
    case $name in delay-*) set -- sh "$root/tests/tools/network.sh" run -d10 "$@" ;; esac
    "$@" >figure 2>errors & # in the background, for wait can be interrupted
    running=$!
    wait $running || status=$?
    running=''
    case $status,$name in
        0,*)
            echo "$name $(cat figure)" >>figures
            for copy in got*; do cmp "$file" "$copy" || fail "$name: the copy differs"; done
            ;;
        *,nc | *,socat* | *,ncat*) echo "$name failed, and this turn does not count" ;;
        *) fail "$name failed ($status): $(cat errors)" ;;
    esac
    rm -f got* # nobody shall have to remove or overwrite the copy of another
}

# Has each of the names that follow send the file $2 in $1 rounds, in every round in another order. Leaves a line for
# each in results: name, least time, median of the times, least processor time.
in_rounds() { # ROUNDS FILE NAME...
    count=$1 what=$2
    shift 2
    : >figures
    for name in $(echo "$*" | awk -v count="$count" -v seed="$seed" '{
        srand(seed)
        for (split($0, a); count > 0; count--)
            for (n = NF; n > 0; n--) { i = 1 + int(rand() * n); name = a[i]; a[i] = a[n]; a[n] = name; print name } }')
    do
        send "$name" "$what"
    done
    sort -n -k 2 figures | awk -v names="$*" '
        { time[$1, ++n[$1]] = $2 }
        n[$1] == 1 || $3 < processor[$1] { processor[$1] = $3 }
        END { for (split(names, a, " "); (k = a[++i]) != "";)
            if (k in n) print k, time[k, 1], time[k, int((n[k] + 1) / 2)], processor[k] }' >results
}

# Has the names that follow send the file $2 in $1 rounds, and prints a table with a row for each name.
compete() { # ROUNDS FILE NAME...
    in_rounds "$@"
    echo '               time (median)    processor         MB/s    / first: time processor'
    awk -v bytes="$(wc -c <"$2")" 'NR == 1 { time = $2; processor = $4; if ($1 ~ /-k$/) bytes *= 100 } {
        printf "%-9s %7.1f (%6.1f) ms %9.1f ms %12.1f %15.2f %9.2f\n",
            $1, $2 * 1e3, $3 * 1e3, $4 * 1e3, bytes / 1e6 / $2, $2 / time, $4 / processor }' results
}

# Prints how many times the time (or processor time) of the name $3 the least of the names $2 is, and the aim for that.
aim() { # time|processor NAMES NAME AIM
    awk -v what="$1" -v names=" $2 " -v name="$3" -v aim="$4" '
        { value = what == "time" ? $2 : $4 }
        $1 == name { own = value }
        index(names, " " $1 " ") > 0 && (best == "" || value < least) { best = $1; least = value }
        END { if (best != "") printf "%s, %s / %s: %.2f (aim: %s)\n", what, best, name, least / own, aim }' results
}

# ---- Sections ------------------------------------------------------------------------------------------------------

large() {
    title "A file of $size MiB, -b 0. cp, which has no network to cross, is as fast as copying goes."
    make_file large $((size * 1024))
    # shellcheck disable=SC2086 # names
    compete "$rounds" large pair $peers cp
    aim time "$peers" pair 'at least 1.15'
    aim processor "$peers" pair 'at least 1'
    aim time pair cp 'at most 1.2'
    rm large
}

plain() {
    title 'A file of 8 MiB with buffers of 1025 bytes. plain: programs that just write and read 1025 bytes at a time.'
    make_file medium 8192
    compete "$rounds" medium default plain
    aim time plain default 'at least 1'
}

small() {
    title 'A small file, client.c: what starting, connecting and closing take. With default, also many small segments.'
    # shellcheck disable=SC2086 # names
    compete $((5 * rounds)) small default pair $peers
    aim time nc pair 'more than 1'
}

sweep() {
    title 'Speed against the size asked for both socket buffers (-b).'
    steps sweep "$rounds" 4096
}

delay() {
    title 'The same with a round trip of 20 ms. In each, no more than a window can cross: that is what -b asks for.'
    sh "$root/tests/tools/network.sh" run -d10 true 2>/dev/null || { echo 'skipped: no network namespaces' && return; }
    steps delay $(((rounds + 4) / 5)) 50
}

# Measures what becomes of -b in so many rounds, with files of FACTOR times what it asks for, up to half of SIZE.
steps() { # sweep|delay ROUNDS FACTOR
    for b in 1025 4K 16K 64K 256K 1M 4M 0; do
        case $b in 1025) kib=1 ;; *K) kib=${b%K} ;; *M) kib=$((${b%M} * 1024)) ;; *) kib=1280 ;; esac
        kib=$((kib * $3))
        make_file "part-$b" $((kib < size * 512 ? kib : size * 512))
    done
    in_rounds "$2" part "$1-1025" "$1-4K" "$1-16K" "$1-64K" "$1-256K" "$1-1M" "$1-4M" "$1-0"
    echo '   asked     MB/s  two # more are twice the speed'
    while read -r name least _; do echo "${name#*-} $least $(wc -c <"part-${name#*-}")"; done <results | awk '{
        bar = ""; for (speed = 1e4; speed * 1.4142 < $3 / $2; speed *= 1.4142) bar = bar "#"
        printf "%8s %8.2f  %s\n", $1, $3 / 1e6 / $2, bar }'
    rm part-*
}

disk() {
    title '128 MiB onto the disk with the sources. unflushed: without fsync before the acknowledgement.'
    disk=$(mktemp -d "$root/half-close.XXXXXX") || { echo 'skipped: not writable' && return; }
    cd "$disk" || exit 1
    echo 'int no_fsync(int fd); int no_fsync(int fd) { return fd < 0; }' >no_fsync.c
    # shellcheck disable=SC2086 # words
    ${CC:-cc} -O2 -Dfsync=no_fsync -o client-unflushed "$root/client.c" no_fsync.c || fail 'no compiler'
    make_file medium 131072
    compete "$rounds" medium pair unflushed
    cd "$work" && rm -r "$disk" || exit 1
}

many() {
    title 'A hundred clients of client.c, 25 at a time, the plainest there are. client-k: our own, which flush to disk.'
    case $peers in *socat*) set -- socat-k ;; *) set -- ;; esac
    compete "$rounds" small pair-k client-k "$@"
}

# ---- Main ----------------------------------------------------------------------------------------------------------

[ $# -gt 0 ] || set -- large plain small sweep delay disk many
for section in "$@"; do
    case $section in large | plain | small | sweep | delay | disk | many) ;; *) fail "no section '$section'" ;; esac
done
[ -w /dev/shm ] && memory=/dev/shm || memory=${TMPDIR:-/tmp}
work=$(mktemp -d "$memory/half-close.XXXXXX") && cd "$work" && cp "$root/client.c" small || exit 1
peers=$(for tool in socat ncat; do command -v $tool >/dev/null && printf ' %s' $tool; done)
! nc -h 2>&1 | grep -q OpenBSD || peers="nc$peers"
cat <<EOF
machine:   $(uname -srm), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | sed 1q), \
$(getconf _NPROCESSORS_ONLN) cores, load$(uptime | sed 's/.*average[^:]*://')
files in:  $memory; $rounds rounds, SEED=$seed
rows:      pair: our two programs with -b 0; default: with -b 1025; NAME-k: the same, as a server of many clients
           beside them: ${peers:-nobody, without nc of OpenBSD, socat, ncat} (socat with -b262144)
time:      from the start of the receiver, when the sender already listens, to the end of both
processor: what both sides take of it, user and system. An MB is 10^6 bytes.

In every round each has one turn, in a new random order, because each pays for what the one before it left behind.
Compared is the least of all rounds: what else the machine does only adds to that. Not the median, in parentheses: when
the scheduler puts both sides on one core, the time is the sum of their processor times, often twice as long, and it is
chance how often that happens. Seconds depend on the machine: what counts are the ratios.
EOF
for section in "$@"; do $section; done
