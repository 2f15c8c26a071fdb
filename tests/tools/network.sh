#!/bin/sh
# network.sh - server and client across a network: a slow line, a long silence, and a cable that is cut. Either the
# whole file arrives, or the side that can know says that it did not. What gets lost, doubled, damaged or out of order
# on the way is mended below our programs, and not tried here.
#
#     sh tests/tools/network.sh                            with LONG=1 also what takes two and a half minutes
#     sh tests/tools/network.sh run 'OPTION...' COMMAND    runs COMMAND at the near end of a cable with options
#
# Needs server, client, tests/tools/run_pair and tests/tools/cable; see there what it does to packets. COMMAND finds in
# FAR what to put before a command for the far end. To try a round trip of 20 ms (10 there and 10 back):
#
#     sh tests/tools/network.sh run '-d 10' tests/tools/run_pair DIRECTORY \
#         sh -c 'exec $FAR ./server -a 10.77.0.2 -p 0 FILE' @ ./client -a 10.77.0.2 -p PORT /dev/null
#
# In that form it exits with the status of COMMAND, or with 77 where this cannot be done.
#
# The two ends are network namespaces with no way in or out, in user, mount and process namespaces of their own. So it
# needs no root where the kernel lets users make these, and everything, cables and processes, is gone when the first
# process in there ends, however it ends. Every test has a cable of its own, and all run at the same time: mostly they
# wait.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd) || exit 1

give_up() { # WHY: nothing can be done here
    [ "$running" != run ] || { echo "network.sh: $1" >&2 && exit 77; }
    echo "skip: all of it: $1"
    echo '0 passed, 0 failed, 1 skipped'
    exit 0
}

# ---- Outside: a directory, the namespaces, and their end -------------------------------------------------------------

if [ "${1-}" != inside ]; then
    running=${1-} inside=''
    enter() {
        [ "$(id -u)" -eq 0 ] || set -- --map-root-user "$@"
        exec unshare --mount --pid --fork --mount-proc --kill-child "$@"
    }
    why=$( (enter sh -c 'ip -V && nsenter -V') 2>&1) || give_up "no namespaces: $(echo "$why" | sed 1q)"
    work=$(mktemp -d "${TMPDIR:-/tmp}/network.XXXXXX") || exit 1
    trap 'trap "" HUP INT TERM; exit 130' HUP INT TERM # a second signal must not interrupt what follows from the first
    # Whoever is inside may just be creating a file, until the kernel has ended the last of them.
    trap '[ -z "$inside" ] || kill -KILL "$inside"; until rm -rf "$work" 2>/dev/null; do :; done' EXIT
    enter sh "$root/tests/tools/network.sh" inside "$work" "$@" & # in the background, for wait can be interrupted
    inside=$!
    wait $inside
    status=$? inside=
    exit $status
fi

# ---- Inside: a cable, and a transfer across it -----------------------------------------------------------------------

work=$2 at=$2 && shift 2 && running=${1-}

# Lays a cable with these options between new namespaces: sets link, near and far. What link says is read from 3.
cable() {
    mkfifo "$at/line" || exit 1
    "$root/tests/tools/cable" "$@" >"$at/line" 2>"$at/link" &
    link=$!
    exec 3<"$at/line"
    read -r near far <&3 || {
        wait $link
        [ $? -ne 77 ] || give_up "$(cat "$at/link")"
        cat "$at/link" >&2 && exit 1
    }
    set_up "$near" near 10.77.0.1/24
    set_up "$far" far 10.77.0.2/24
}

# Puts the device $2 of the namespace $1 to work, with the address $3, and with room for bursts, of which nothing is to
# be lost by chance.
set_up() {
    nsenter --net="$1" ip address add "$3" dev "$2" && nsenter --net="$1" ip link set "$2" txqueuelen 10000 up || exit 1
}

# True if the server and the client ended with the statuses $1; the file is whole, or untouched if the client failed,
# and no other is left there; who failed says at what; and the cable, with the options $2, was cut, or so slow that all
# took longer than -t.
as_promised() {
    case $1 in *0) content=$work/file ;; *) content=$work/old ;; esac
    [ "$(cat "$at/p/status")" = "$1" ] && [ "$(ls -A "$at/in")" = file ] && cmp -s "$content" "$at/in/file" &&
        { [ "${1% *}" = 0 ] || grep -q '^server: client ' "$at/p/server.err"; } &&
        { [ "${1#* }" = 0 ] || grep -q '^client: the server ' "$at/p/client.err"; } &&
        case $2 in *-x*) grep -q 'cut off' "$at/link" ;; *) [ "$(cat "$at/p/milliseconds")" -gt 5000 ] ;; esac
}

# Sends the file over one that holds "old", across a cable with these options. WRITER writes it into a pipe, to be sent.
transfer() { # NAME 'STATUS-OF-SERVER STATUS-OF-CLIENT' OF-LINK OF-SERVER OF-CLIENT [WRITER]
    mkdir "$at" "$at/in" && cp "$work/old" "$at/in/file" || exit 1
    # shellcheck disable=SC2086 # options are words
    cable $3
    what=$work/file
    [ $# -lt 6 ] || { what=$at/pipe && mkfifo "$what" && { $6 >"$what" & }; }
    # shellcheck disable=SC2086 # options are words
    "$root/tests/tools/run_pair" "$at/p" nsenter --net="$far" "$root/server" -a 10.77.0.2 -p 0 $4 "$what" @ \
        nsenter --net="$near" "$root/client" -a 10.77.0.2 -p PORT $5 "$at/in/file"
    kill $link && wait $link
    result=FAILED
    ! as_promised "$2" "$3" || result=ok
    echo $result >>"$work/results"
    echo "$result: $1"
    [ $result = ok ] || {
        echo "wanted: statuses $2, the file whole or untouched, a word from who failed, and what the cable does; but:"
        tail -n 3 "$at/p/status" "$at/p/milliseconds" "$at"/p/*.err && ls -lA "$at/in"
    }
}

# Starts a test, in a directory of its own.
try() {
    total=$((total + 1)) at=$work/$total
    transfer "$@" &
}

if [ "$running" = run ]; then
    # shellcheck disable=SC2086 # options are words
    cable $2
    shift 2
    FAR="nsenter --net=$far" nsenter --net="$near" "$@"; status=$?
    kill $link && wait $link
    exit $status
fi

# ---- The tests -------------------------------------------------------------------------------------------------------

# Writers: the FIN comes alone, when the client has all that was sent before; silence, until the cable is cut; and
# silence for ever.
fin_alone() { cat "$work/file" && until cmp -s "$work/file" "$at"/in/.client-*; do sleep 1; done; }
until_cut() { cat "$work/file" && read -r _ <&3; }
for_ever() { until_cut && read -r _ <&3; }

skipped=0 total=0
echo old >"$work/old" && dd if=/dev/urandom of="$work/file" bs=1024 count=300 2>/dev/null || exit 1
mkdir "$work/0" && at=$work/0 && cable && kill "$link" && wait "$link" # here it shows if there are none

# A cable that is cut for good: nobody waits long for what will not come. Or for a moment: nobody minds.
try 'cut before packet 40' '1 1' '-x 40' '-t 5' '-t 5'
try 'cut before packet 40, large buffers' '1 1' '-x 40' '-t 5 -b 0' '-t 5 -b 0'
try 'cut before packet 40, and mended' '0 0' '-x 40 -y 300' '' ''
try 'cut before the FIN' '1 1' '-x fin' '-t 5' '-t 5' fin_alone
try 'cut before the acknowledgement' '1 0' '-x reply' '-t 5' ''
try 'cut before the acknowledgement, and mended' '0 0' '-x reply -y 300' '' '' # its kernel goes on without the client

# A slow line takes longer than -t: that is no reason to give up, however much of the file waits in the buffers.
try '-b 1025 at 256000 bits a second' '0 0' '-b 256000' '-t 5' '-t 5'
if "$root/client" -v -a 10.77.0.2 -p 1 /dev/null 2>&1 | grep -q CLOSE; then
    for b in 4M 0; do try "-b $b at 256000 bits a second" '0 0' '-b 256000' "-t 5 -b $b" "-t 5 -b $b"; done
else
    skipped=1
    echo 'skip: slow lines with large buffers: this build does not see what its kernel still has to send'
fi

# Silence: after 15 s the kernels ask each other whether they are still there, nine times before they give up.
try 'the pipe that is sent is silent' '0 0' '-x alive -y 300' '' '' until_cut
try 'the client takes long over its file' '0 0' '-x alive -y 300' '' '-d 20'
[ -z "${LONG-}" ] || try 'cut while the pipe that is sent is silent' '1 1' '-x alive' '-t 5' '-t 155' for_ever

wait
passed=$(grep -c ok "$work/results")
echo "$passed passed, $((total - passed)) failed$([ $skipped -eq 0 ] || echo ", $skipped skipped")"
[ "$passed" -eq "$total" ]
