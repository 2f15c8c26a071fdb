# network.sh - addresses, the options of a connection, and a network that fails.

# Several addresses, a port that is taken, and a connection to oneself.
test_addresses() {
    alone env PLACE=itself "$client_faults" -t 2 -p 1 got
    check 'connected to itself is refused' \
        fails_with 1 "client: cannot connect to *: $(why ECONNREFUSED) (is the server running*"
    check 'connected to itself: not said to be connected' is "$(grep -c Connected out)" 0
    run "$peer" listen reset @ env PLACE=late "$client_faults" -p PORT p/got
    check 'a server that is gone before the client looks' said client "client: cannot connect to *: $(why ECONNRESET)"
    run "$peer" listen fin reset @ env PLACE=late "$client_faults" -p PORT p/got
    check 'an end-of-file and a reset before the client looks' is "$c $(grep -c Recving p/client.out)" '1 0'
    has_ipv6 || return
    for first in 1 2; do # localhost has two addresses to client-faults and server-faults
        for error in EADDRNOTAVAIL ENETUNREACH; do
            refuses 1 "client: cannot connect to localhost port [0-9]*: $(why ECONNREFUSED) (is the server running*" \
                env FAULT="connect $first $error" "$client_faults" -a localhost -p 1
            refuses 1 "server: cannot listen on localhost port 0: $(why EADDRINUSE) *" \
                env FAULT="bind $first EADDRINUSE,bind $((3 - first)) $error" \
                "$server_faults" -t 1 -a localhost -p 0 text
        done
    done
    # A port that is taken is not passed over; an address that is not here is.
    refuses 1 "server: cannot listen on localhost port 0: $(why EADDRINUSE) *" \
        env FAULT='bind 1 EADDRINUSE' "$server_faults" -t 1 -a localhost -p 0 text
    transfer 'an address that is not here is passed over' text p/got \
        env FAULT='bind 1 EADDRNOTAVAIL' "$server_faults" -a localhost -p 0 text @ \
        "$client_faults" -a localhost -p PORT p/got
}

# What is needed of a connection is set for the connection itself, and kept alive it is.
test_connection() {
    make_file random 3000000
    mkfifo go
    run sh -c 'echo $$ >pid; exec env PLACE=forgets "$server_faults" -p 0 random' @ sh -c '
        (until grep -q Recving p/client.out; do sleep 0.05; done; kill -9 $(cat pid); echo >go) &
        "$client" -p $0 kept & read -r _ <go; wait $!' PORT
    check 'accept hands nothing on, and the server is killed' is "$s $c $(bytes kept)" '137 1 4'
    # As many questions as -t has time for, but no more than Linux can count.
    while read -r t questions; do
        transfer "accept hands nothing on, -t $t" text p/got \
            env PLACE=forgets "$server_faults" -t "$t" -p 0 text @ "$client" -p PORT p/got
        check "the server with -t $t: sizes, reset, keepalive" matches "$(grep options book) " \
            "options $("$peer" sizes 1025) 1 1 15 15 $questions "
    done <<'END'
300 21
2147483647 127
0 127
END
    run "$server" -p 0 text @ "$client_faults" -p PORT p/got
    check 'the client: sizes, reset, keepalive' matches "$(grep options book) " \
        "options $("$peer" sizes 1025) 1 1 15 15 9 "
    # shellcheck disable=SC2013 # words
    for n in $(awk '/EINVAL/ && $2 == "setsockopt" { print $3 }' book); do
        transfer "an option that a system does not know, setsockopt $n" text p/got \
            "$server" -p 0 text @ env FAULT="setsockopt $n EINVAL" "$client_faults" -p PORT p/got
    done
}

# Begins a row of test_network: NAME 'STATUS-OF-SERVER STATUS-OF-CLIENT' OF-CABLE OF-SERVER OF-CLIENT [WAIT]. What is
# sent replaces a file that holds "old". With WAIT it is a pipe, open until that command succeeds or all is over.
begin_row() {
    row=$((row + 1))
    mkdir -p "$row/in" && cp kept "$row/in/file"
    (
        cd "$row" || exit
        if [ $# = 5 ]; then
            cp ../whole source
        else
            mkfifo source
            { cat ../whole && until eval "$6" || [ -s p/status ]; do sleep 0.1; done; } >source &
        fi
        # shellcheck disable=SC2086 # words
        exec "$cable" $3 "$pair" p "$server" -a 10.77.0.1 -p 0 $4 source @ "$client" -a 10.77.0.2 -p PORT $5 in/file
    ) >"$row/said" 2>&1 &
}

# Looks at that row.
look_row() {
    row=$((row + 1))
    look "$row/p"
    last="$last $row/said"
    check "$1" as_promised "$2" "$3"
}

# Server and client ended with the statuses $1. The file is whole, or untouched if the client failed, and no other is
# left there. Who failed says at what. The cable, with the options $2, was cut, or so slow that all took longer than -t.
as_promised() {
    case $c in 0) content=whole ;; *) content=kept ;; esac
    is "$s $c" "$1" && is "$(ls -A "$row/in")" file && same $content "$row/in/file" &&
        { [ "$s" = 0 ] || said server "*${newline}server: client *"; } &&
        { [ "$c" = 0 ] || said client 'client: the server *'; } &&
        case $2 in *-x*) [ -e "$row/cut" ] ;; *) at_least "$milliseconds" 5000 ;; esac
}

# A network that is slow, silent or cut: all at the same time, for mostly they wait. Either the whole file arrives, or
# the side that can know says that it did not. What gets lost, doubled, damaged or out of order on the way is mended
# below our programs, and not tried here.
test_network() { # early long
    large='4M 0'
    can 'a network that fails (no network namespaces, or no /dev/net/tun)' sh -c '"$cable" true; [ $? != 77 ]' || return
    can 'slow lines with large buffers (this build does not see what its kernel has to send)' shows_all || large=''
    echo old >kept
    make_file whole 300000
    for step in begin_row look_row; do
        row=0
        # A cable that is cut for good: nobody waits long for what will not come. Or for a moment: nobody minds.
        $step 'cut before packet 40' '1 1' '-x 40' '-t 5' '-t 5'
        $step 'cut before packet 40, large buffers' '1 1' '-x 40' '-t 5 -b 0' '-t 5 -b 0'
        $step 'cut before packet 40, and mended' '0 0' '-x 40 -y 300' '' ''
        $step 'cut before the FIN' '1 1' '-x fin' '-t 5' '-t 5' 'cmp -s ../whole in/.client-*'
        $step 'cut before the acknowledgement' '1 0' '-x reply' '-t 5' ''
        # Its kernel goes on without the client.
        $step 'cut before the acknowledgement, and mended' '0 0' '-x reply -y 300' '' ''
        # A slow line takes longer than -t: no reason to give up, however much of the file waits in the buffers.
        for b in 1025 $large; do
            $step "-b $b at 256000 bits a second" '0 0' '-b 256000' "-t 5 -b $b" "-t 5 -b $b"
        done
        # Silence: after 15 s the kernels ask each other whether they are still there, nine times before they give up.
        $step 'the pipe that is sent is silent' '0 0' '-x alive -y 300' '' '' 'test -e cut'
        $step 'the client takes long over its file' '0 0' '-x alive -y 300' '' '-d 17'
        [ -z "$LONG" ] ||
            $step 'cut while the pipe that is sent is silent' '1 1' '-x alive' '-t 5' '-t 155' false
        wait
    done
}
