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

# A network that is slow, silent or cut.
test_network() { # early long
    exec sh "$root/tests/tools/network.sh"
}
