# many_clients.sh - `server -k`: a crowd of clients at once, hostile ones among them, every limit, and every way to end
# the server.
#
# Where it matters that the server does not spin, it is tests/faults/server-faults, which is aborted if it does.

# Runs the server $3 -k with -b $4, after the shell command $2, and beside it the script $5, which complains on standard
# output. It has the functions of the file beside, $port, and $pid, the server's. Checks that the server was ended by
# the last signal that the script sent, has been thanked $6 times, and has not torn a line. $1 is the name of the test.
# That no process of the server is left is seen by tests/tools/run_pair, which waits for all that have its standard
# error.
crowd() {
    rm -f ended go
    run sh -c 'trap : TERM # a signal to all is not for this shell, but for what it starts
        sh -c "echo \$\$ >pid; '"$2"'; exec \"\$@\"" - "$@"
        echo $(($? % 128)) >ended' - "$3" -k -t 300 -p 0 -b "$4" source @ sh -c 'port=$0
. ./beside
'"$5" PORT
    check "$1: the script" is "$c $(cat p/client.out)" '0 '
    check "$1: how the server ends" same ended signal
    check "$1: how many thanked" is "$(grep -c 'Thank you$' p/server.out)" "$6"
    check "$1: no line of the transcript is torn" is "$(grep -vxE "New client：[0-9]+ , IP 127.0.0.1 , Port [0-9]+|$(:
        )Start to send data 'source' to client [0-9]+|Send data done|Output stream close|[0-9]+：$thanks|$(:
        )(Send|Recv) buffer length ：[0-9]+|Buffer length (left to the kernel|both set to 1025)|$(:
        )Waiting for connecting" p/server.out)" ''
}

test_crowd() { # early long
    can 'all of it (gVisor itself may end)' not_gvisor || return
    exec 3>&- 4>&- # the first client's connection is descriptor 4
    cat >beside <<'END'
pid=$(cat pid)
trap '' TERM

# Waits until the command is true; run_pair does not let that take for ever.
await() {
    until "$@"; do sleep 0.05; done
}

# Waits until the server has said $2 $1 times.
has_said() { [ "$(cat p/server.out p/server.err | grep -c "$2")" -ge "$1" ]; }
heard() { await has_said "$@"; }

# Lets $1 peers come, which thank for the file once the file $2 is there.
come() {
    n=0
    while [ $((n += 1)) -le "$1" ]; do
        { "$peer" connect "$port" eof wait "$2" put "$thanks" close || echo 'a peer is not served to the end'; } &
    done
}

# Lets a peer come that must see a reset, once the file $1 is there.
come_in_vain() {
    ! "$peer" connect "$port" wait "$1" eof 2>/dev/null || echo 'a peer sees no reset'
}

# Sends the signal of number $1 to the server or, if $2 is 0, to all its processes, as Ctrl-C in a terminal does. The
# server ends by it at once, whoever is being served, and takes no new clients.
stop() {
    echo "$1" >signal
    kill "-$1" "$2"
    await [ -s ended ]
    ! "$peer" connect "$port" close 2>/dev/null || echo 'new clients are not refused'
}
END
    make_file one 100001
    tr 0-4 5-9 <one >two
    cp one source
    export clients=60
    [ -z "$LONG" ] || clients=1000

    # Among peers that are silent, that leave at once, and that say something else. The file is replaced all the time.
    # The server has fewer descriptors than clients: it may keep none.
    crowd crowd 'ulimit -Sn 64' "$server" 0 '
        n=0
        while [ $((n += 1)) -le 10 ]; do
            "$peer" connect $port wait go close &
            "$peer" connect $port reset
            "$peer" connect $port eof put nonsense close || echo "a liar is not served"
        done
        n=0
        while [ $((n += 1)) -le $clients ]; do
            { "$client" -b 0 -p $port got.$n >said.$n 2>&1 || echo "client $n failed: $(cat said.$n)"; } &
            case $n in *[02468]) cp one next ;; *) cp two next ;; esac
            mv next source
            case $n in *00 | $clients) heard $n "Thank you$" ;; esac # so many at once
        done
        : >go
        wait
        cksum one two got.* | awk "NR < 3 { good[\$1 \$2]; next }
            !((\$1 \$2) in good) { print \$3, \"is neither version\" }
            END { if (NR != 2 + $clients) print NR - 2, \"files\" }"
        stop 15 $pid' $clients
    check 'crowd: all liars and silent ones are complained of' at_least "$(grep -c '^server: client ' p/server.err)" 20
    cp one source

    # A signal to the server alone: who is being served is served to the end, even if the server is killed.
    for signal in 2 9 15; do
        crowd "signal $signal" : "$server" 0 '
            come 6 go
            heard 6 "Output stream close"
            stop '$signal' $pid
            : >go
            wait' 6
    done

    # Everything ends, in the middle of a large file, and to the clients that is a reset.
    make_hole source 64
    crowd 'to all' : "$server" 1025 '
        for n in 1 2 3; do come_in_vain ended & done
        heard 3 "Start to send"
        "$client" -p $port kept >said 2>&1 & client=$!
        heard 4 "Start to send"
        stop 15 0
        wait $client
        echo $? >status
        wait' 0
    check 'to all: the client' is "$(cat status kept)" "1${newline}old"
    cp one source

    # One client more than the server has places for: it waits for one, and the server does not spin.
    crowd places : "$server_faults" 0 '
        rm -f first served
        come 1 first
        come 255 go
        heard 256 "Output stream close"
        { "$peer" connect $port get 1 sh ": >served" eof put "$thanks" close || echo "one more is not served"; } &
        sleep 0.2
        [ ! -e served ] || echo "one more is served at once"
        : >first
        await [ -e served ]
        : >go
        wait
        stop 15 $pid' 257
    check 'places: the clients are numbers 4 to 260' is \
        "$(sed -n 's/^New client：\([0-9]*\) .*/\1/p' p/server.out | sort -n)" \
        "$(awk 'BEGIN { for (n = 4; n <= 260; n++) print n }')"

    # There is no process for one client: it is reset, and that is said. The others are served.
    export FAULT='fork 2 EAGAIN'
    crowd 'no process' : "$server_faults" 0 '
        come 1 go
        heard 1 "Output stream close"
        come_in_vain pid
        come 1 go
        heard 2 "Output stream close"
        : >go
        wait
        stop 15 $pid' 2
    unset FAULT
    check 'no process: it is said' grep -q '^server: no process for client 5, which is turned away: ' p/server.err
}

# The processes of -k, and what a server -k gets from whoever starts it.
test_children() {
    beside '"$client" -p $port got && "$client" -p $port got' "$server" -k -v -p 0 text
    for number in 4 5; do
        check "the trace tells whose line it is: $number" \
            is "$(grep -c " server.$number.  *[A-Z0-9_-]*  *half-close" p/server.err)" 1
    done
    # One that a signal ends, which its handler must not hide, where SIGCHLD is ignored when the server starts; and one
    # that ends by itself.
    beside '! "$peer" connect $port eof && "$peer" input says p/server.err "by signal 15"' \
        env FAULT='child-send 1 ^TERM' "$peer" childless "$server_faults" -k -p 0 text
    check 'a child that a signal ends is told of' is "$s $c $(grep -c 'by signal' p/server.err)" '143 0 1'
    beside '"$peer" connect $port reset
        "$peer" connect $port eof put no close says p/server.err "client 5 did not"' "$server" -k -p 0 text
    check 'one that ends by itself is not' is "$s $(grep -c 'by signal' p/server.err)" '143 0'
    # A child that was there before the program became a server is no client.
    beside '"$client" -p $port p/got' sh -c 'true & exec "$server" -k -p 0 text'
    check 'a child of somebody else' both 143 0
    beside 'for i in 1 2 3; do "$client" -p $port got.$i; done' \
        sh -c 'ulimit -n 8; exec env ASAN_OPTIONS=detect_leaks=0 "$server" -k -p 0 text'
    check 'few descriptors: each client has its number' is \
        "$(sed -n 's/^New client：\([0-9]*\) .*/\1/p' p/server.out | sort -u | wc -l | tr -d ' ')" 3
    # Signals that were ignored when the server started stay ignored.
    for ignored in INT TERM; do
        beside 'kill -'$ignored' $pid; "$client" -p $port got; s=$?; kill -INT $pid; (exit $s)' \
            sh -c "trap '' $ignored; "'exec "$server" -k -p 0 text'
        check "a server that shall ignore SIG$ignored" is "$s $c" "$([ $ignored = INT ] && echo 143 || echo 130) 0"
    done
}
