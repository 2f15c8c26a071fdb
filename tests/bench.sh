#!/bin/sh
# bench.sh - measures the pair, side by side with other programs that do the same. Run by `make bench`.
#
#     sh tests/bench.sh                every section: five minutes on a quiet machine
#     sh tests/bench.sh large sweep    only these: large plain small sweep delay disk many
#
# SIZE (512) in the environment is the size of the large file in MiB, ROUNDS (11) how often everything is done, and SEED
# gives the order. The large file and its copy are in memory, /dev/shm or else TMPDIR, and need twice that much there.
#
# How to read it: in every round each of the programs has one turn, in a new random order, because each pays for what
# the one before it left behind. A time runs from the start of the receiver, when the sender is already listening, to
# the end of both. Every row has the median of its rounds, the least, and the spread: how far apart the two middle
# quarters reach, in percent of the median. "/ first" compares median and least with those of the first row. What counts
# are these ratios: the seconds depend on the machine, named at the top, and its load. An MB is 10^6 bytes. KiB are the
# largest resident sizes of sender and receiver. A copy that differs from the original ends the run.
set -u
export LC_ALL=C

rounds=${ROUNDS-11} size=${SIZE-512} seed=${SEED-$(awk 'BEGIN { srand(); print int(rand() * 10000) }')}
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
server=$root/server client=$root/client peer=$root/tests/peer pair=$root/tests/pair
thanks='I have recv the data,Thank you'
steps='1025 4K 16K 64K 256K 1M 4M 0'

# ---- Helpers -------------------------------------------------------------------------------------------------------

running='' work='' disk='' to='' column=1 # 1 is the seconds, 2 those with the start of the sender
finish() {
    [ -z "$running" ] || { kill "$running" && wait "$running"; } # it ends what it has started
    cd / && rm -rf "$work" "$disk"
} 2>/dev/null
trap finish EXIT
trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM

fail() { echo "bench.sh: $*" >&2 && exit 1; }

title() { printf '\n== %s\n\n' "$*"; }

# Prints the type of the file system of the directory $1.
file_system() { df -PT "$1" 2>/dev/null | awk 'NR == 2 { type = $2 } END { print type == "" ? "unknown" : type }'; }

# Makes the file $1 of $2 KiB, which look random.
make_file() {
    dd if=/dev/urandom of="$1" bs=1024 count="$2" 2>/dev/null || fail "no room for a file of $2 KiB: see SIZE"
}

# Sends the file $2 as $1 does it, measures it, and compares the copies, got and what begins like that. The steps b-SIZE
# have files of their own. That others than ours fail does not end the run.
# shellcheck disable=SC2016 # what stands in single quotes is for the inner shell
send() {
    name=$1 file=$2 status=0
    case $1 in
        pair) set -- "$server" -b 0 -p 0 "$file" @ "$client" -b 0 -p PORT "${to}got" ;;
        default) set -- "$server" -p 0 "$file" @ "$client" -p PORT got ;;
        portable) set -- ./server-portable -b 0 -p 0 "$file" @ ./client-portable -b 0 -p PORT got ;;
        unflushed) set -- "$server" -b 0 -p 0 "$file" @ ./client-unflushed -b 0 -p PORT "${to}got" ;;
        plain) set -- "$peer" listen buffers 1025 send "$file" fin eof @ "$peer" connect PORT buffers 1025 into got ;;
        b-*) file=$2-$1 && set -- "$server" -b "${1#b-}" -p 0 "$file" @ "$client" -b "${1#b-}" -p PORT got ;;
        delayed-*) # across a cable of tests/network.sh
            set -- sh -c 'exec $FAR "$@"' sh "$server" -a 10.77.0.2 -b "${1#*-}" -p 0 "$file" @ \
                "$client" -a 10.77.0.2 -b "${1#*-}" -p PORT got '>' client.out ;;
        nc) set -- nc -N -l 127.0.0.1 PORT '<' "$file" @ nc -d 127.0.0.1 PORT '>' got ;;
        socat) set -- socat -u -b262144 "OPEN:$file" TCP-LISTEN:PORT,bind=127.0.0.1 @ \
            socat -u -b262144 TCP:127.0.0.1:PORT OPEN:got,creat,trunc ;;
        ncat) set -- ncat -l --send-only 127.0.0.1 PORT '<' "$file" @ ncat --recv-only 127.0.0.1 PORT '>' got ;;
        cp) set -- cp "$file" got ;;
        pair-k) set -- "$server" -k -p 0 "$file" @ "$peer" connect PORT into got.SLOT put "$thanks" ;;
        client-k) set -- "$server" -k -p 0 "$file" @ "$client" -p PORT got.SLOT ;;
        socat-k) set -- socat -U TCP-LISTEN:PORT,bind=127.0.0.1,fork,backlog=128 "OPEN:$file,rdonly" @ \
            "$peer" connect PORT into got.SLOT ;;
        ncat-k) set -- ncat -l -k 127.0.0.1 PORT --sh-exec "exec cat $file" @ "$peer" connect PORT into got.SLOT ;;
    esac
    case $name in *-k) set -- -k 100 -j 25 "$@" ;; esac
    set -- "$pair" -t "$@"
    case $name in delayed-*) set -- sh "$root/tests/network.sh" run -d10 "$@" ;; esac
    "$@" >figure 2>errors & # in the background, for wait can be interrupted
    running=$!
    wait $running || status=$?
    running=''
    case $status,$name in
        0,*)
            echo "$name $(cat figure)" >>figures
            for copy in "$to"got*; do cmp "$file" "$copy" || fail "$name: the copy differs"; done
            ;;
        *,nc | *,socat* | *,ncat*) echo "$name failed, and this turn does not count" ;;
        *) fail "$name failed ($status): $(cat errors)" ;;
    esac
    rm -f "$to"got* # nobody shall have to remove or overwrite the copy of another
}

# Has each of the names that follow send the file $2, $1 times a round, in every round in another order.
in_rounds() { # TIMES FILE NAME...
    round=0 count=$(($1 * rounds)) what=$2
    shift 2
    : >figures
    while [ $round -lt $count ]; do
        round=$((round + 1)) seed=$((seed + 1))
        for name in $(printf '%s\n' "$@" | awk -v seed=$seed 'BEGIN { srand(seed); rand() } { print rand(), $1 }' |
            sort | cut -d ' ' -f 2); do
            send "$name" "$what"
        done
    done
}

# Prints median, least and spread of column $2 of the figures of $1; 3 and 4 are the sizes of both.
summary() {
    awk -v name="$1" -v column="$(($2 + 1))" '$1 == name { print $column }' figures | sort -n | awk '
        { x[NR] = $1 }
        END { median = NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2
              spread = median > 0 ? (x[int(NR * 0.75 + 0.5)] - x[int(NR * 0.25 + 1)]) / median : 0
              printf "%.6f %.6f %.0f\n", median, x[1], 100 * spread }'
}

# Has the names that follow send the file $2, $1 times a round, and prints a table with a row for each name.
compete() { # TIMES FILE NAME...
    in_rounds "$@"
    bytes=$(wc -c <"$2") first=$3
    shift 2
    case $first in *-k) bytes=$((bytes * 100)) ;; esac
    echo '                  median     least  spread       MB/s     / first           KiB'
    for name in "$@"; do
        echo "$name $(for n in "$name" "$first"; do summary "$n" $column; done; summary "$name" 3; summary "$name" 4)"
    done | paste - - - - | awk -v bytes="$bytes" '$2 > 0 {
        printf "%-12s %8.1f ms %6.1f ms %4d %% %10.1f %5.2f %5.2f %8d %5d\n",
            $1, $2 * 1000, $3 * 1000, $4, bytes / 1e6 / $2, $2 / $5, $3 / $6, $8, $11 }'
}

# Prints how many times the seconds of $2 the fastest of the names $1 takes, and the aim for that.
compare() {
    for name in $1; do
        echo "$(summary "$name" $column) $(summary "$2" $column)"
    done | awk -v what="$1 / $2" -v aim="$3" '
        $1 > 0 && (median == "" || $1 / $4 < median) { median = $1 / $4 }
        $1 > 0 && (least == "" || $2 / $5 < least) { least = $2 / $5 }
        END { if (median != "") printf "%s: %.2f by medians, %.2f by minima; aim: %s\n", what, median, least, aim }'
}

# ---- Sections ------------------------------------------------------------------------------------------------------

# Against everyone, and against cp, which is as far as copying goes.
large() {
    title "A file of $size MiB, -b 0"
    make_file large $((size * 1024))
    # shellcheck disable=SC2086 # names
    compete 1 large pair portable $peers cp
    compare "$peers" pair '2.0 or more'
    compare pair cp '1.2 or less'
    compare portable pair '1.2 or more, or splice is not worth it'
    rm large
}

plain() {
    title 'A file of 8 MiB with buffers of 1025 bytes, and plain programs that write and read 1025 bytes at a time'
    make_file medium 8192
    compete 1 medium default plain
    compare plain default '1.2 or more'
}

# What starting, connecting and closing take.
small() {
    title 'A small file, client.c, with the start of the sender'
    column=2
    # shellcheck disable=SC2086 # names
    compete 5 small default pair $peers
    compare nc default 'more than 1'
    column=1
}

# Each step gets a file, a power of two of MiB, that takes some tenths of a second.
sweep() {
    title 'Speed against the size asked for both socket buffers (-b)'
    names='' mib=1
    for b in $steps; do
        names="$names b-$b"
        while make_file "part-b-$b" $((mib * 1024)); do
            : >figures
            send "b-$b" part
            [ $mib -le $((size / 4)) ] || break
            summary "b-$b" 1 | awk '{ exit $1 >= 0.2 }' || break
            mib=$((mib * 2))
        done
    done
    # shellcheck disable=SC2086 # names
    in_rounds 1 part $names
    echo '   asked     MB/s   four # more are twice the speed'
    for name in $names; do echo "${name#b-} $(wc -c <"part-$name") $(summary "$name" 1)"; done | awk '
        { speed = $2 / 1e6 / $3; bar = ""; for (n = 4 * log(speed) / log(2); n >= 1; n--) bar = bar "#"
          printf "%8s %8.1f %s\n", $1, speed, bar }'
    rm part-*
}

# The sweep with a delay: no more than a window can be on its way, so the speed is one window in a round trip. The files
# are of fifty windows, as predicted: a second each, and once is enough.
delay() {
    title 'Speed against -b with a round trip of 20 ms, and a window in each round trip'
    sh "$root/tests/network.sh" run -d10 true 2>/dev/null || { echo 'skipped: no network namespaces' && return; }
    make_file probe 1
    echo '   asked   window, KiB   window / round trip, MB/s   measured, MB/s'
    for b in $steps; do
        send "delayed-$b" probe # for the sizes it reports; half of each is for the kernel's bookkeeping
        window=$(sed -n 's/^Recv.*：//p' client.out | awk 'NR == 2 { print $1 / 2 }')
        [ "$b" != 0 ] || window=1310720 # unknown, it grows; this makes a file of 64 MiB
        make_file delayed $((window * 50 / 1024 + 1))
        : >figures
        send "delayed-$b" delayed
        summary "delayed-$b" 1 | awk -v b="$b" -v window="$window" -v bytes="$(wc -c <delayed)" '
            b == 0 { printf "%8s %13s %27s", b, "it grows", "-" }
            b != 0 { printf "%8s %13.1f %27.2f", b, window / 1024, window / 20e3 }
            { printf "%17.2f\n", bytes / 1e6 / $1 }'
    done
}

disk() {
    disk=$(mktemp -d "${TMPDIR:-/tmp}/half-close.XXXXXX") || exit 1
    [ "$(file_system "$disk")" != tmpfs ] || { rmdir "$disk" && disk=$(mktemp -d "$root/half-close.XXXXXX"); } || exit 1
    title "128 MiB onto a disk ($disk, $(file_system "$disk")), and without fsync before the acknowledgement"
    echo 'int no_fsync(int fd); int no_fsync(int fd) { return fd < 0; }' >no_fsync.c
    "${CC:-cc}" -O2 -Dfsync=no_fsync -o client-unflushed "$root/client.c" no_fsync.c || fail 'no compiler'
    make_file medium 131072
    to=$disk/
    compete 1 medium pair unflushed
    to=''
}

many() {
    title 'A hundred clients of client.c, 25 at a time: the plainest there are; client-k: our own, which flush to disk'
    set -- pair-k client-k
    for tool in ${peers#nc}; do set -- "$@" "$tool-k"; done
    compete 1 small "$@"
}

# ---- Main ----------------------------------------------------------------------------------------------------------

[ $# -gt 0 ] || set -- large plain small sweep delay disk many
for section in "$@"; do
    case $section in large | plain | sweep | small | disk | delay | many) ;; *) fail "no section '$section'" ;; esac
done
[ -w /dev/shm ] && memory=/dev/shm || memory=${TMPDIR:-/tmp}
work=$(mktemp -d "$memory/half-close.XXXXXX") && cd "$work" || exit 1
peers=$(for tool in socat ncat; do command -v $tool >/dev/null && echo $tool; done | paste -s -d ' ' -)
! nc -h 2>&1 | grep -q OpenBSD || peers="nc $peers"
echo "machine:  $(uname -srm), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | sed 1q)," \
    "$(getconf _NPROCESSORS_ONLN) cores, load$(uptime | sed 's/.*average[^:]*://')"
echo "files in: $memory ($(file_system "$memory")); $rounds rounds, SEED=$seed"
echo "beside:   ${peers:-nobody: nc (of OpenBSD), socat and ncat are not installed} (socat with -b262144)"
echo 'pair:     our two programs with -b 0; default: with -b 1025; portable: without what only Linux has'
echo 'NAME-k:   the same as a server of many clients'
echo 'columns:  spread: of the middle half of the rounds, in % of the median; / first: median and least, compared with'
echo '          those of the first row; KiB: memory of the sender and of the receiver'
for program in server client; do
    "${CC:-cc}" -O2 -std=c11 -DPORTABLE -o $program-portable "$root/$program.c" || fail 'no compiler'
done
cp "$root/client.c" small
for section in "$@"; do $section; done
