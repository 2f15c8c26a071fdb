#!/bin/sh
# bench.sh - measures the pair, side by side with other programs that do the same. Run by `make bench`.
#
#     sh tests/bench.sh                every section
#     sh tests/bench.sh large sweep    only these: large plain sweep small memory disk delay many
#
# SIZE (1024) in the environment is the size of the large file in MiB and ROUNDS (5) how often everything is done. The large file and
# its copy are in memory, /dev/shm or else TMPDIR, and need twice that much there. WEB says which web server curl
# asks: nginx, darkhttpd or busybox; without it, the first of them that is installed. "pair" stands for our two programs with
# -b 0, "default" for them with the default of 1025, and "portable" for them with -b 0 but without what only Linux has.
#
# How to read it: those compared take turns, round by round, so that a machine that slows down slows all of them down, and every
# figure is the median of its rounds. A time runs from the start of the receiver, when the sender is listening already, to the end of
# both; MB/s are of 10^6 bytes. What counts are the ratios: the seconds belong to the machine, named at the top, and to the load
# it had. Every copy is compared with the original, and one that differs ends the run.
set -u
export LC_ALL=C

rounds=${ROUNDS-5} size=${SIZE-1024}
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
server=$root/server client=$root/client peer=$root/tests/peer timed="$root/tests/pair -t"
steps='1025 2K 4K 8K 16K 32K 64K 128K 256K 512K 1M 2M 4M 0'

# ---- Helpers -------------------------------------------------------------------------------------------------------

running='' work='' disk=''
finish() {
    [ -z "$running" ] || { kill "$running" && wait "$running"; } # it ends what it has started
    cd / && rm -rf "$work" "$disk"
} 2>/dev/null
trap finish EXIT
trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM

fail() { echo "bench.sh: $*" >&2 && exit 1; }

have() { command -v "$1" >/dev/null; }
title() { printf '\n== %s\n\n' "$*"; }
seq_to() { awk -v n="$1" 'BEGIN { for (i = 1; i <= n; i++) print i }'; }

# Prints what the awk expression $1 says, with two digits; a $2 is its format.
calculate() { awk "BEGIN { printf \"${2:-%.2f}\", $1 }"; }

# Prints the type of the file system of the directory $1.
file_system() {
    mount=$(df -P "$1" | awk 'NR == 2 { print $6 }')
    awk -v at="$mount" '$2 == at { type = $3 } END { print type == "" ? "unknown" : type }' /proc/mounts 2>/dev/null
}

# Makes the file $1 of $2 KiB, which look random.
make_file() { dd if=/dev/urandom of="$1" bs=1024 count="$2" 2>/dev/null || fail "no room for a file of $2 KiB: see SIZE"; }

# Measures what tests/pair runs, as one more figure of $1: a line of $1, seconds, seconds with the start of the
# listener, and the two sizes. In the background, for wait can be interrupted. That others fail does not end the run.
measure() {
    name=$1
    shift
    # shellcheck disable=SC2086 # words
    $timed "$@" >figure &
    running=$!
    wait $running
    status=$? running=''
    [ $status -eq 0 ] && echo "$name $(cat figure)" >>figures && return
    case $name in
        nc | curl | *socat | *ncat) echo "$name failed, and this run does not count" && return 1 ;;
        *) fail "$name failed ($status)" ;;
    esac
}

# Checks that the copy $2 is as $1, and removes it: nobody shall have to remove or overwrite the copy of another.
check() {
    cmp "$1" "$2" || fail "the copy differs"
    rm -f "$2"
}

# Prints the median of the figures of $1 in column $2 (1: seconds).
median() {
    awk -v name="$1" -v column="$((${2-1} + 1))" '$1 == name { print $column }' figures | sort -n |
        awk '{ x[NR] = $1 } END { printf "%.6f", NR == 0 ? 0 : NR % 2 ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'
}

# Prints the MB/s at which $1 moved $2 MiB.
rate() { calculate "$2 * 1.048576 / $(median "$1")" "${3-%.0f}"; }

# Sends $2 with $1 into the file got.
send() {
    case $1 in
        pair) measure "$1" "$server" -b 0 -p 0 "$2" @ "$client" -b 0 -p PORT got ;;
        default) measure "$1" "$server" -p 0 "$2" @ "$client" -p PORT got ;;
        portable) measure "$1" ./server-portable -b 0 -p 0 "$2" @ ./client-portable -b 0 -p PORT got ;;
        nc) measure "$1" nc -N -l 127.0.0.1 PORT '<' "$2" @ nc -d 127.0.0.1 PORT '>' got ;;
        socat) measure "$1" socat -u -b262144 "OPEN:$2" TCP-LISTEN:PORT,bind=127.0.0.1 @ \
            socat -u -b262144 TCP:127.0.0.1:PORT OPEN:got,creat,trunc ;;
        ncat) measure "$1" ncat -l --send-only 127.0.0.1 PORT '<' "$2" @ ncat --recv-only 127.0.0.1 PORT '>' got ;;
        curl) measure "$1" -k 1 sh -c "$(web_server PORT)" @ curl -s -f -o got "http://127.0.0.1:PORT/$2" ;;
        cp) measure "$1" cp "$2" got ;;
    esac && check "$2" got
    rm -f got
}

# Prints the command for the web server $web on port $1.
web_server() {
    case $web in
        nginx)
            echo "echo 'daemon off; master_process off; pid nginx.pid; events { } http { access_log off; sendfile on;" \
                "$(printf '%s_temp_path .; ' client_body proxy fastcgi uwsgi scgi) server { listen 127.0.0.1:$1;" \
                "root $work; } }' >nginx.conf; exec nginx -p $work -e /dev/null -c nginx.conf" ;;
        darkhttpd) echo "exec darkhttpd $work --addr 127.0.0.1 --port $1" ;;
        busybox) echo "exec busybox httpd -f -p 127.0.0.1:$1 -h $work" ;;
    esac
}

# Finds out who else can send a file here: sets peers, and web to a web server. Says who is missing.
find_peers() {
    web=${WEB-} peers='' missing=''
    for tool in nginx darkhttpd; do [ -n "$web" ] || ! have $tool || web=$tool; done
    [ -n "$web" ] || ! busybox httpd --help 2>/dev/null || web=busybox
    for tool in nc socat ncat curl; do
        case $tool in
            nc) nc -h 2>&1 | grep -q OpenBSD ;;
            curl) have curl && [ -n "$web" ] ;;
            *) have $tool ;;
        esac && peers="$peers $tool" || missing="$missing $tool"
    done
    echo "compared with:$peers (curl from ${web:-no web server})${missing:+; not here:$missing}"
}

describe_machine() {
    echo "kernel:        $(uname -srm)"
    echo "processor:     $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | sed 1q), $(getconf _NPROCESSORS_ONLN) cores"
    echo "memory:        $(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo 2>/dev/null)"
    echo "load:         $(uptime | sed 's/.*average[^:]*://')"
    echo "files in:      $memory ($(file_system "$memory")), $size MiB, $rounds rounds"
}

# ---- Sections ------------------------------------------------------------------------------------------------------

# A large file, against everyone and against cp, which is as far as copying goes.
large() {
    title "A file of $size MiB" && best=0
    for _ in $(seq_to "$rounds"); do
        for who in pair portable $peers cp; do send "$who" large; done
    done
    echo '              seconds    MB/s   time/pair   time/cp'
    for who in pair portable $peers cp; do
        t=$(median "$who")
        printf '%-10s %10.3f %7s %11s %9s\n' "$who" "$t" "$(rate "$who" "$size")" "$(calculate "$t / $(median pair)")" \
            "$(calculate "$t / $(median cp)")"
        case " $peers " in *" $who "*) best=$(calculate "($best == 0 || $t < $best) ? $t : $best" %.6f) ;; esac
    done
    printf '\nfastest other / pair: %s (aim: 1.30 or more)    pair / cp: %s (aim: 1.25 or less)\n' \
        "$(calculate "$best / $(median pair)")" "$(calculate "$(median pair) / $(median cp)")"
}

# The default -b against the plainest programs that do the same: blocking, 1025 bytes at a time.
plain() {
    title 'Buffers of 1025 bytes: the pair, and plain programs that write and read 1025 bytes at a time'
    make_file medium 8192
    for _ in $(seq_to "$rounds"); do
        send default medium
        measure plain "$peer" listen buffers 1025 send medium fin eof @ "$peer" connect PORT buffers 1025 into got
        check medium got
    done
    printf 'pair %s MB/s, plain %s MB/s; pair / plain: %s (aim: 1.00 or more)\n' "$(rate default 8 %.1f)" \
        "$(rate plain 8 %.1f)" "$(calculate "$(median plain) / $(median default)")"
}

# Sends the file part-$2, of $2 MiB, with -b $1.
step() {
    measure "b$1" "$server" -b "$1" -p 0 "part-$2" '>' server.out @ "$client" -b "$1" -p PORT got '>' client.out
    check "part-$2" got
}

# The speed against -b. Each step gets a file, a power of two of MiB, that takes some tenths of a second.
sweep() {
    title 'Speed against the size asked for both socket buffers (-b)'
    mib=1 most=$((size / 2)) plan=''
    for b in $steps; do
        while [ -e part-$mib ] || make_file part-$mib $((mib * 1024)); do
            step "$b" $mib
            [ "$(tail -n 1 figures | awk -v most=$most -v mib=$mib '{ print $2 < 0.2 && 2 * mib <= most }')" = 1 ] || break
            mib=$((mib * 2))
        done
        plan="$plan $b:$mib:$(sed -n 's/^Send.*：//p' server.out | sed -n 2p):$(sed -n 's/^Recv.*：//p' client.out | sed -n 2p)"
    done
    : >figures # those were only to find the sizes
    for _ in $(seq_to "$rounds"); do
        for p in $plan; do
            p=${p%:*:*} && step "${p%:*}" "${p#*:}"
        done
    done
    for p in $plan; do
        mib=${p#*:} && echo "$p:$(rate "b${p%%:*}" "${mib%%:*}" %.1f)"
    done | tr : ' ' >sweep
    echo '  asked     send  receive     MB/s   four # more are twice the speed'
    awk '{ bar = ""; for (n = 4 * log($5) / log(2); n >= 1; n--) bar = bar "#"
           printf "%7s %8s %8s %8.1f %s\n", $1, $3, $4, $5, bar }' sweep
    printf '\nsend, receive: what getsockopt says of sender and receiver at the start; with 0 the kernel goes on from there\n'
}

# The sweep as a diagram for a page of Markdown.
diagram() {
    title 'The sweep for a page of Markdown'
    awk 'function list(text, item) { return text == "" ? item : text ", " item }
         { x = list(x, "\"" $1 "\""); y = list(y, sprintf("%.0f", $5)) }
         END { print "```mermaid\nxychart-beta\n    title \"Loopback: speed against the buffer size asked for with -b\""
               print "    x-axis \"-b (0: left to the kernel)\" [" x "]\n    y-axis \"MB/s\"\n    bar [" y "]\n```" }' sweep
}

# A small file: what starting, connecting and closing take.
small() {
    title "A small file (client.c, $(wc -c <"$root/client.c" | tr -d ' ') bytes), end to end, $((rounds * 20)) rounds"
    cp "$root/client.c" small
    for _ in $(seq_to $((rounds * 20))); do
        for who in default pair $peers; do send "$who" small; done
    done
    echo '            receiver   both      time/default    (ms; both: with the start of the sender)'
    for who in default pair $peers; do
        printf '%-10s %9s %6s %17s\n' "$who" "$(calculate "1000 * $(median "$who")")" "$(calculate "1000 * $(median "$who" 2)")" \
            "$(calculate "$(median "$who") / $(median default)")"
    done
}

# The largest resident sizes.
memory() {
    title "Memory: largest resident size in KiB, sender / receiver (aim: under 3072, the same for all)"
    make_file kib 1 && make_file mib 1024
    printf '%-10s %15s %15s %15s\n' '' '1 KiB' '1 MiB' "$size MiB"
    for who in default pair portable $peers cp; do
        printf '%-10s' "$who"
        for f in kib mib large; do
            [ "$who$f" != defaultlarge ] || break # it would take a minute
            : >figures
            send "$who" $f
            printf ' %15s' "$(median "$who" 3 | cut -d . -f 1) / $(median "$who" 4 | cut -d . -f 1)"
        done
        echo
    done
    measure timed true
    echo "(A size below $(median timed 3 | cut -d . -f 1) cannot be seen.)"
}

# What it costs that the file is on disk before it is acknowledged: the same client without fsync as the contrast.
disk() {
    disk=$(mktemp -d "${TMPDIR:-/tmp}/half-close.XXXXXX") || exit 1
    [ "$(file_system "$disk")" != tmpfs ] || { rmdir "$disk" && disk=$(mktemp -d "$root/half-close.XXXXXX"); } || exit 1
    title "Onto a disk ($disk, $(file_system "$disk")), with and without fsync before the acknowledgement"
    echo 'int no_fsync(int fd); int no_fsync(int fd) { return fd < 0; }' >no_fsync.c
    "${CC:-cc}" -O2 -Dfsync=no_fsync -o client-no-fsync "$root/client.c" no_fsync.c || fail 'no compiler'
    make_file kib 1 && make_file quarter $((size * 256))
    for f in kib quarter; do
        for _ in $(seq_to "$rounds"); do
            for who in "$client" ./client-no-fsync; do
                sync # what the round before has left
                measure "$f-${who##*/}" "$server" -b 0 -p 0 $f @ "$who" -b 0 -p PORT "$disk/got"
                check $f "$disk/got"
            done
        done
        with=$(median "$f-client") without=$(median "$f-client-no-fsync")
        printf '%9s KiB: %s ms with, %s ms without, ratio %s\n' "$(($(wc -c <$f) / 1024))" "$(calculate "1000 * $with")" \
            "$(calculate "1000 * $without")" "$(calculate "$with / $without")"
    done
}

# Sends the file $2 with -b $1 across a cable of tests/network.sh with a round trip of 20 ms, into the file got, and sets
# seconds. Fails with 77 where there are no such cables.
delayed_pair() {
    # shellcheck disable=SC2016 # $FAR is for the inner shell
    sh "$root/tests/network.sh" run '-d 10' "$root/tests/pair" -t sh -c 'exec $FAR "$@"' sh "$server" -a 10.77.0.2 -b "$1" -p 0 "$2" \
        '>' server.out @ "$client" -a 10.77.0.2 -b "$1" -p PORT got '>' client.out >figure 2>network.err &
    running=$!
    wait $running
    status=$? running=''
    [ $status -eq 0 ] || { [ $status -eq 77 ] && return 77; } || fail "$(cat network.err)"
    check "$2" got
    seconds=$(cut -d ' ' -f 1 figure)
}

# The sweep with a delay: no more than a window can be on its way, so the speed is one window in a round trip. The files are of
# fifty windows, as predicted: a second.
delay() {
    title 'Speed against -b with a round trip of 20 ms, and what a window in each would be'
    make_file probe 1
    { [ -x "$root/tests/link" ] && delayed_pair 0 probe; } || {
        echo 'skipped: needs tests/network.sh, tests/link and network namespaces'
        return
    }
    echo '  asked   window KiB  predicted MB/s   measured MB/s   measured/predicted'
    for b in $steps; do
        delayed_pair "$b" probe # for the sizes it reports; half of each is for the kernel's bookkeeping
        window=$(sed -n 's/^Recv.*：//p' client.out | awk 'NR == 2 { print $1 / 2 }')
        [ "$b" != 0 ] || window=1310720 # unknown, it grows; this makes a file of 64 MiB
        make_file delayed "$(calculate "$window * 50 / 1024" %.0f)"
        delayed_pair "$b" delayed
        awk -v b="$b" -v window="$window" -v seconds="$seconds" 'BEGIN {
            measured = 50 * window / 1e6 / seconds; predicted = window / 0.02 / 1e6
            if (b == 0) printf "%7s %12s %15s %15.2f\n", b, "it grows", "-", measured
            else printf "%7s %12.1f %15.2f %15.2f %20.2f\n", b, window / 1024, predicted, measured, measured / predicted }'
    done
}

# server -k: many clients of a small file, and some of a large one.
many() {
    title 'Many clients: 500 of client.c, 50 at a time' && cp "$root/client.c" small
    for _ in $(seq_to "$rounds"); do
        measure many-client -k 500 -j 50 "$server" -k -p 0 small @ "$client" -p PORT got.SLOT
        for f in got.*; do check small "$f"; done
        set -- -k 500 -j 50
        measure many-server "$@" "$server" -k -p 0 small @ \
            "$peer" connect PORT into got.SLOT put 'I have recv the data,Thank you'
        for f in got.*; do check small "$f"; done
        ! have socat || measure many-socat "$@" socat -U TCP-LISTEN:PORT,bind=127.0.0.1,fork,backlog=128 OPEN:small,rdonly @ \
            "$peer" connect PORT into got.SLOT
        ! have ncat || measure many-ncat "$@" ncat -l -k 127.0.0.1 PORT --sh-exec 'exec cat small' @ \
            "$peer" connect PORT into got.SLOT
        rm -f got.*
    done
    echo 'clients a second; server, socat and ncat with the plainest client, which writes to no disk and waits for nothing'
    for who in client server socat ncat; do
        ! grep -q "^many-$who " figures || printf '%10s %6s\n' "$who" "$(calculate "500 / $(median many-$who)" %.0f)"
    done
    title "Many clients: 8 at once of $((size / 8)) MiB"
    make_file eighth $((size * 128))
    for _ in $(seq_to "$rounds"); do
        for n in 1 8; do
            measure large-$n -k $n -j $n "$server" -k -b 0 -p 0 eighth @ "$client" -b 0 -p PORT got.SLOT
            for f in got.*; do check eighth "$f"; done
        done
    done
    printf 'one client %s MB/s, eight together %s MB/s; eight / one: %s\n' "$(rate large-1 $((size / 8)))" \
        "$(rate large-8 "$size")" "$(calculate "8 * $(median large-1) / $(median large-8)")"
}

# ---- Main ----------------------------------------------------------------------------------------------------------

[ $# -gt 0 ] || set -- large plain sweep small memory disk delay many
for section in "$@"; do
    case $section in large | plain | sweep | small | memory | disk | delay | many) ;; *) fail "no section '$section'" ;; esac
done
[ -w /dev/shm ] && memory=/dev/shm || memory=${TMPDIR:-/tmp}
work=$(mktemp -d "$memory/half-close.XXXXXX") && cd "$work" || exit 1
describe_machine
find_peers
for program in server client; do
    "${CC:-cc}" -O2 -std=c11 -DPORTABLE -o $program-portable "$root/$program.c" || fail 'no compiler'
done
case " $* " in *' large '* | *' memory '*) make_file large $((size * 1024)) ;; esac
for section in "$@"; do
    : >figures
    $section
done
[ ! -e sweep ] || diagram
