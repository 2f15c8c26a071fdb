#!/bin/sh
# network.sh - server and client across a network that misbehaves: packets that are lost, late, doubled, damaged or in
# the wrong order, small packets, a slow line, and a cable that is cut. Either the whole file arrives, or the side that
# can know says that it did not.
#
#     sh tests/network.sh [-s SEED]                  LONG=1 in the environment: larger files, more seeds, more cuts
#     sh tests/network.sh run 'OPTION...' COMMAND    runs COMMAND at the near end of a cable with options of tests/link
#
# Needs server, client, tests/pair and tests/link, which is the cable; see there what it does to packets. COMMAND finds
# in FAR what to put before a command for the far end. To try a round trip of 20 ms (10 there and 10 back):
#
#     sh tests/network.sh run '-d 10' tests/pair DIRECTORY sh -c 'exec $FAR ./server -a 10.77.0.2 -b 64K -p 0 FILE' @ \
#         ./client -a 10.77.0.2 -b 64K -p PORT /dev/null
#
# In that form it prints a line about the cable and exits with the status of COMMAND, or with 77 where this cannot be
# done.
#
# The two ends are network namespaces with no way in or out, in user, mount and process namespaces of their own. So it
# needs no root where the kernel lets users make these, and everything, cables and processes, is gone when the first
# process in there ends, however it ends. Several cables are in use at a time. Every test shows which packets were hit.
# The same SEED (or -s SEED) hits the same ones again, as far as the kernel's timers allow.
set -u
[ "${1-}" != -s ] || { SEED=${2?-s needs a number} && shift 2; }
export SEED="${SEED-1}"
root=$(cd "$(dirname "$0")/.." && pwd) || exit 1
inside='' running=''

give_up() { # WHY: nothing can be done here
    [ "$running" != run ] || { echo "network.sh: $1" >&2 && exit 77; }
    echo "skip: all of it: $1"
    echo '0 passed, 0 failed, 1 skipped'
    exit 0
}

# ---- Outside: a directory, the namespaces, and their end -------------------------------------------------------------

if [ "${1-}" != inside ]; then
    running=${1-}
    enter() {
        [ "$(id -u)" -eq 0 ] || set -- --map-root-user "$@"
        exec unshare --mount --pid --fork --mount-proc --kill-child "$@"
    }
    why=$( (enter sh -c 'ip -V && nsenter -V') 2>&1) || give_up "no namespaces: $why"
    work=$(mktemp -d "${TMPDIR:-/tmp}/network.XXXXXX") || exit 1
    trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM # a second signal must not interrupt what follows from the first
    # Whoever is inside may just be creating a file, until the kernel has ended the last of them.
    trap '[ -z "$inside" ] || kill -KILL "$inside"; until rm -rf "$work" 2>/dev/null; do :; done' EXIT
    enter sh "$root/tests/network.sh" inside "$work" "$@" & # in the background, for wait can be interrupted
    inside=$!
    wait $inside
    status=$? inside=
    exit $status
fi

# ---- Inside: a cable, and a transfer across it -----------------------------------------------------------------------

work=$2 at=$2 && shift 2 && running=${1-}

# Lays a new cable with these options between new namespaces: sets link, near and far.
cable() {
    [ -p "$at/line" ] || mkfifo "$at/line" || exit 1
    "$root/tests/link" -s "$SEED" "$@" >"$at/line" 2>"$at/link" &
    link=$!
    read -r near far <"$at/line" || { wait $link; no_cable $?; }
    set_up "$near" near 10.77.0.1/24 fd77::1/64
    set_up "$far" far 10.77.0.2/24 fd77::2/64
}

no_cable() { # STATUS of link
    [ "$1" -ne 77 ] || give_up "$(cat "$at/link")"
    cat "$at/link" >&2 && exit 1
}

# Puts the device $2 of the namespace $1 to work, with the addresses $3 and $4, and with room for bursts, of which
# nothing is to be lost by chance. $4 cannot be had where there is no IPv6, and with packets under 1280 bytes, the least
# that IPv6 wants.
set_up() {
    nsenter --net="$1" ip address add "$3" dev "$2" && nsenter --net="$1" ip link set "$2" txqueuelen 10000 up || exit 1
    nsenter --net="$1" ip address add "$4" dev "$2" nodad 2>/dev/null
}

# True if the server and the client ended with the statuses $1; the file is whole, or untouched if the client failed,
# and no other is left there; who failed says at what; and the cable has done $2 to one packet or more.
as_promised() {
    case $1 in *0) content=$from ;; *) content=$work/old ;; esac
    [ "$(cat "$at/p/status")" = "$1" ] && [ "$(ls -A "$at/in")" = file ] && cmp -s "$content" "$at/in/file" &&
        { [ "${1% *}" = 0 ] || grep -q '^server: client ' "$at/p/server.err"; } &&
        { [ "${1#* }" = 0 ] || grep -q '^client: the server ' "$at/p/client.err"; } &&
        grep -q " [1-9][0-9]* $2" "$at/link"
}

# Sends the file $from over one that holds "old", across a cable with these options. Those of both programs are in
# $both, more for the server in $serve, and its address in $address. Only names the test if we are $counting.
try() { # NAME 'STATUS-OF-SERVER STATUS-OF-CLIENT' HIT [LINK-OPTION...]
    [ -z "$counting" ] || { echo "$1" && return; }
    name=$1 statuses=$2 hit=$3 result=FAILED
    shift 3
    rm -rf "$at/in" && mkdir "$at/in" && cp "$work/old" "$at/in/file" || exit 1
    cable "$@"
    # shellcheck disable=SC2086 # options are words
    "$root/tests/pair" "$at/p" nsenter --net="$far" "$root/server" -a $address -p 0 $both $serve "$from" @ \
        nsenter --net="$near" "$root/client" -a $address -p PORT $both "$at/in/file"
    kill $link && wait $link # which leaves in the file link what happened to the packets
    ! as_promised "$statuses" "$hit" || result=ok
    echo "$result" >>"$work/results"
    done=$(wc -l <"$work/results") left=$((($(date +%s) - began) * (total - done) / done))
    echo "$result: $name: $(cat "$at/link") ($done of $total done, $left s left)"
    [ $result = ok ] || {
        echo "wanted: statuses $statuses, the file whole or untouched, a word from who failed, and a packet $hit; but:"
        tail -n 3 "$at/p/status" "$at"/p/*.err && ls -lA "$at/in"
    }
}

# ---- The tests -------------------------------------------------------------------------------------------------------

# What a cable does that is bad, with the seed $SEED: it may slow the transfer down but not hinder it.
bad_cables() {
    both='-t 20 -b 0'
    try 'a good cable' '0 0' packets
    try 'packets of 576 bytes' '0 0' packets -m 576
    try 'one packet in twenty lost' '0 0' lost -l 5
    try 'packets out of order' '0 0' late -r 10
    try 'packets doubled' '0 0' doubled -u 10
    try 'packets late, by 20 to 30 ms' '0 0' late -d 20 -j 10
    try 'packets damaged' '0 0' damaged -c 3
    [ -z "${LONG-}" ] || try 'everything at once' '0 0' late -d 20 -j 10 -l 5 -r 5 -u 5 -c 2
    [ -e /proc/net/if_inet6 ] || return
    address=fd77::2
    try 'IPv6' '0 0' packets
    try 'IPv6, packets of 1280 bytes' '0 0' packets -m 1280
    try 'IPv6, packets damaged' '0 0' damaged -c 3
    address=10.77.0.2
}

more_bad_cables() { for SEED in $((SEED + 1)) $((SEED + 2)) $((SEED + 3)) $((SEED + 4)); do bad_cables; done; }

# A cable that is cut: for good, and nobody waits long for what will not come, or for a moment.
cut_cables() {
    for n in 1 40 ${LONG:+2 3 100 150}; do
        both='-t 1' && try "cut before packet $n" '1 1' 'cut off' -x "$n"
        both='-t 20' && try "cut before packet $n, and mended" '0 0' 'cut off' -x "$n" -y 300
    done
    both='-t 1 -b 0' && try 'cut before packet 40, large buffers' '1 1' 'cut off' -x 40
}

cut_ends() {
    # Here the FIN comes alone, when the client has all that was sent before.
    both='-t 1' from=$at/pipe
    [ -n "$counting" ] || mkfifo "$from" || exit 1
    [ -n "$counting" ] || { cat "$work/file" && until cmp -s "$work/file" "$at"/in/.client-*; do :; done; } >"$from" &
    try 'cut before the FIN' '1 1' 'cut off' -x fin
    both='-t 20' from=$work/file
    try 'cut before the FIN, and mended' '0 0' 'cut off' -x fin -y 300
    serve='-t 2' && try 'cut before the acknowledgement' '1 0' 'cut off' -x reply
    serve='' # the client has ended when the cable is mended: its kernel goes on
    try 'cut before the acknowledgement, and mended' '0 0' 'cut off' -x reply -y 300
}

# A line of $1 bits a second takes several times -t, $2, for the file $4: that is no reason to give up, however much of
# it waits in the buffers, whose size is $3.
slow_line() {
    both="-t $2 -b $3" from=$4
    try "-b $3 at $1 bits a second" '0 0' late -b "$1"
}

# Starts the tests $1 with what follows it, in a directory of their own. Or names them, if we are $counting.
start() {
    at=$work/$1-${2-}-${4-}
    [ -z "$counting" ] || { "$@" && return; }
    mkdir "$at" || exit 1
    "$@" &
}

all() {
    start bad_cables
    start cut_cables
    start cut_ends
    [ -z "${LONG-}" ] || start more_bad_cables
    start slow_line 512000 $patience 1025 "$work/part" # a round trip for every packet makes this slower still
    for b in ${sees:+64K 1M 4M 0}; do
        start slow_line 512000 $patience "$b" "$work/file"
        [ -z "${LONG-}" ] || start slow_line 256000 $patience "$b" "$work/part"
    done
}

echo old >"$work/old" || exit 1
if [ "$running" = run ]; then
    # shellcheck disable=SC2086 # options are words
    cable $2
    shift 2
    FAR="nsenter --net=$far" nsenter --net="$near" "$@"; status=$?
    kill $link && wait $link && cat "$at/link" >&2
    exit $status
fi

dd if=/dev/urandom of="$work/file" bs=1024 count=${LONG:+5}300 2>/dev/null
dd if="$work/file" of="$work/part" bs=1024 count=${LONG:+15}50 2>/dev/null
address=10.77.0.2 from=$work/file serve='' patience=2 counting=1
[ -z "${LONG-}" ] || patience=5
# Whether this build of the server sees what its kernel still has to send: without that, large buffers need a larger -t.
sees=$(grep -c FIN_WAIT1 "$root/server") || sees='' # the same builds show the states of TCP, by their names
total=$(all | wc -l) counting='' began=$(date +%s)
cable && kill $link && wait $link # here it shows if there are none
echo "seed $SEED, $total tests"
all
wait
passed=$(grep -c ok "$work/results") skipped=0
skip() { skipped=$((skipped + 1)) && echo "skip: $1"; }
[ -e /proc/net/if_inet6 ] || skip 'IPv6: not on this machine'
[ -n "$sees" ] || skip 'slow lines with large buffers: this build does not see what its kernel still has to send'
echo "$passed passed, $((total - passed)) failed$([ $skipped -eq 0 ] || echo ", $skipped skipped")"
[ "$passed" -eq "$total" ]
