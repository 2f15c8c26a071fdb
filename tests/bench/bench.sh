#!/bin/sh
# bench.sh - measures the pair beside other programs that do the same. Run by `make bench`.
#
#     sh tests/bench/bench.sh                everything: some minutes on a quiet machine
#     sh tests/bench/bench.sh large          only this section; there are large, plain and delay
#
# In the environment: SIZE (512) of the large file in MiB, how many ROUNDS (15), and SEED for the order of the turns.
# The files are in memory: in /dev/shm, or else in TMPDIR. A copy that differs from its original ends the run.
set -u
export LC_ALL=C

rounds=${ROUNDS-15} size=${SIZE-512} seed=${SEED-$(awk 'BEGIN { srand(); print int(rand() * 10000) }')}
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
server=$root/server client=$root/client peer=$root/tests/tools/peer

running='' work=''
finish() {
    [ -z "$running" ] || { kill "$running" && wait "$running"; } # it ends what it has started
    cd / && rm -rf "$work"
} 2>/dev/null
trap finish EXIT
trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM

fail() { echo "bench.sh: $*" >&2 && exit 1; }

title() { printf '\n== %s\n\n' "$*"; }

# Makes the file $1 of $2 KiB, which look random.
make_file() {
    dd if=/dev/urandom of="$1" bs=1024 count="$2" 2>/dev/null || fail "no room for a file of $2 KiB: see SIZE"
}

# Sends the file $2 in the way that $1 names, adds what it took to figures, and compares the copy. If another program
# than ours fails, the run goes on.
# shellcheck disable=SC2016 # what stands in single quotes is for the inner shell
send() {
    name=$1 file=$2 status=0 b=${1#*-}
    case $name in
        pair) set -- "$server" -b 0 -p 0 "$file" @ "$client" -b 0 -p PORT got ;;
        default) set -- "$server" -p 0 "$file" @ "$client" -p PORT got ;;
        plain) set -- "$peer" listen buffers 1025 send "$file" fin eof @ "$peer" connect PORT buffers 1025 into got ;;
        delay-*)
            file=$2-$b
            set -- "$server" -a 10.77.0.1 -b "$b" -p 0 "$file" @ "$client" -a 10.77.0.2 -b "$b" -p PORT got
            ;;
        nc) set -- sh -c 'exec nc -N -l 127.0.0.1 "$0" <large' PORT @ sh -c 'exec nc -d 127.0.0.1 "$0" >got' PORT ;;
        socat) set -- socat -u -b262144 "OPEN:$file" TCP-LISTEN:PORT,bind=127.0.0.1,reuseaddr @ \
            socat -u -b262144 TCP:127.0.0.1:PORT OPEN:got,creat,trunc ;;
        ncat) set -- sh -c 'exec ncat -l --send-only 127.0.0.1 "$0" <large' PORT @ \
            sh -c 'exec ncat --recv-only 127.0.0.1 "$0" >got' PORT ;;
        cp) set -- cp "$file" got @ true ;; # true never starts
    esac
    set -- "$root/tests/tools/run_pair" p "$@"
    case $name in delay-*) set -- "$root/tests/tools/cable" -d 10 "$@" ;; esac
    "$@" 2>errors & # in the background, for wait can be interrupted
    running=$!
    wait $running || status=$?
    running=''
    [ $status != 0 ] || read -r status <p/status
    case $status,$name in
        '0 0,'* | '0 none,cp')
            cmp "$file" got || fail "$name: the copy differs"
            echo "$name $(cat p/milliseconds) $(cat p/processor)" >>figures
            ;;
        *,nc | *,socat | *,ncat) echo "$name failed, and this turn does not count" ;;
        *) fail "$name failed ($status): $(cat errors p/*.err)" ;;
    esac
    rm -f got # nobody shall have to remove or overwrite the copy of another
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

# Has the names that follow send the file $1, and prints a table with a row for each name.
compete() { # FILE NAME...
    in_rounds "$rounds" "$@"
    echo '           time (median)  processor       MB/s  / first: time processor'
    awk -v bytes="$(wc -c <"$1")" 'NR == 1 { time = $2; processor = $4 + !$4 } {
        printf "%-8s %5d (%5d) ms %7d ms %10.1f %14.2f %9.2f\n",
            $1, $2, $3, $4, bytes / 1e3 / $2, $2 / time, $4 / processor }' results
}

# ---- Sections ------------------------------------------------------------------------------------------------------

large() {
    title "A file of $size MiB, -b 0. cp, which has no network to cross, is as fast as copying goes."
    make_file large $((size * 1024))
    # shellcheck disable=SC2086 # names
    compete large pair $peers cp
    rm large
}

plain() {
    title 'A file of 8 MiB with -b 1025. plain: programs that just write and read 1025 bytes at a time.'
    make_file medium 8192
    compete medium default plain
}

delay() {
    title 'Speed against -b with a round trip of 20 ms. No more than a window can cross in each.'
    why=$("$root/tests/tools/cable" true 2>&1) || { echo "skipped: $why" && return; }
    set --
    for kib in 1 4 16 64 256 1024 0; do # the file is fifty times as large, so that there are many round trips
        case $kib in 1) b=1025 ;; 1024) b=1M ;; 0) b=0 ;; *) b=${kib}K ;; esac
        make_file "part-$b" $((kib > 0 ? kib * 50 : 64000))
        set -- "$@" delay-$b
    done
    in_rounds $(((rounds + 4) / 5)) part "$@"
    echo '   asked     MB/s'
    while read -r name least _; do
        echo "${name#*-} $(wc -c <"part-${name#*-}") $least"
    done <results | awk '{ printf "%8s %8.2f\n", $1, $2 / 1e3 / $3 }'
    rm part-*
}

# ---- Main ----------------------------------------------------------------------------------------------------------

[ $# -gt 0 ] || set -- large plain delay
for section in "$@"; do
    case $section in large | plain | delay) ;; *) fail "no section '$section'" ;; esac
done
[ -w /dev/shm ] && memory=/dev/shm || memory=${TMPDIR:-/tmp}
work=$(mktemp -d "$memory/half-close.XXXXXX") && cd "$work" || exit 1
peers=$(for tool in socat ncat; do command -v $tool >/dev/null && printf ' %s' $tool; done)
! nc -h 2>&1 | grep -q OpenBSD || peers="nc$peers"
cat <<END
machine:   $(uname -srm), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | sed 1q), \
$(getconf _NPROCESSORS_ONLN) cores, load$(uptime | sed 's/.*average[^:]*://')
files in:  $memory; $rounds rounds, SEED=$seed
rows:      pair: our two programs with -b 0; default: with -b 1025
           others: ${peers:-none, without OpenBSD nc, socat, ncat} (socat with -b262144)
time:      from the start of the sender to the end of both
processor: user and system time of both. An MB is 10^6 bytes.

In each round every program has one turn, in a new random order, because each pays for what the one before left behind.
Compare the least times. What else the machine does only adds to them, and when the scheduler puts both sides on one
core, the median doubles. Seconds depend on the machine: what counts are the ratios.
END
for section in "$@"; do $section; done
