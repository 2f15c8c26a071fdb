# waiting.sh - the time limit (-t): who makes no progress is given up, and who makes some is served to the end. In each
# section all wait at the same time.

# In the run in the directory $1, $2 (server or client) gave up after -t $3, and said $4.
gave_up() {
    look "$1"
    check "$1: it fails" is "$([ "$2" = server ] && echo "$s" || echo "$c")" 1
    check "$1: no less than -t" at_least "$milliseconds" $(($3 * 1000))
    check "$1: it says for how long" said "$2" "$4$(why ETIMEDOUT) (-t $3)"
}

# Begins runs in which nobody comes, answers, reads, sends or lets in a program with -t $2, which runs as words of $3...
# Their places end with .$1.
begin_waits() {
    end=$1 t=$2
    shift 2
    begin "client.$end" "$@" "$server_faults" -t "$t" -p 0 text @ true
    begin "answer.$end" "$@" "$server_faults" -t "$t" -p 0 text @ "$peer" connect PORT eof stay
    begin "room.$end" "$@" "$server_faults" -b 4M -t "$t" -p 0 random @ "$peer" connect PORT buffers 4096 stay
    begin "data.$end" "$peer" listen send text stay @ "$@" "$client_faults" -b 0 -t "$t" -p PORT kept
    begin "connection.$end" "$peer" full "connection.$end/ended" @ sh -c '"$@"
        status=$?; : >"$0/ended"; exit $status' "connection.$end" "$@" "$client_faults" -t "$t" -p PORT got
}

# Those of $1 have given up after -t $2, and said at what.
check_waits() {
    gave_up "client.$1" server "$2" '*: no client came: '
    gave_up "answer.$1" server "$2" '*client 4 did not acknowledge the file: '
    gave_up "room.$1" server "$2" "*client 4 did not receive all of 'random': "
    gave_up "data.$1" client "$2" "client: the server did not finish, 'kept' is untouched: "
    gave_up "connection.$1" client "$2" 'client: cannot connect to 127.0.0.1 port *: '
    check 'what was there is still there' is "$(cat kept)" old
}

# The one clock: not before -t is over, and not long after. If the machine was too slow for that, it is tried again.
test_waits() { # early
    most=7600 # milliseconds: a bit less than two times -t
    make_file random 9000000
    echo old >kept
    for _ in 1 2 3 4 5; do
        rm -rf ./*.*/
        begin_waits calm 4 env
        begin_waits noqueue 4 env PLACE=noqueue # nothing tells how long the send queue is
        begin thanked.calm "$server" -t 4 -p 0 random @ "$peer" connect PORT put "$thanks" stay
        begin dead.calm "$peer" full dead.calm/ended @ sh -c 'PLACE="dead=5 nobody" "$client_faults" -t 4 -p $0 got
            status=$?; : >dead.calm/ended; exit $status' PORT
        # The reply, in pieces that come within a tick, has -t.
        begin pieces.calm "$server" -t 1 -p 0 text @ "$peer" connect PORT eof drip 90 "$thanks" stay
        wait
        slowest=$(cat ./*.*/milliseconds | sort -n | tail -n 1)
        [ "$slowest" -ge $most ] || break
    done
    check 'none waits much longer than -t, in one of five tries' less "$slowest" $most
    check_waits calm 4
    check_waits noqueue 4
    gave_up thanked.calm server 4 "*client 4 did not receive all of 'random': "
    gave_up dead.calm client 4 'client: cannot connect to *' # all addresses have -t together
    gave_up pieces.calm server 1 "*client 4 did not acknowledge the file*: "
}

# Nothing that a program hears all the time keeps its -t from passing.
test_storms() { # early
    can 'all of it (gVisor is too slow with signals)' not_gvisor || return
    make_file random 9000000
    echo old >kept
    export ASAN_OPTIONS=detect_leaks=0 # that stops the program too, and a storm does not let it
    for signals in STOP,CONT CONT WINCH; do
        begin_waits $signals 2 "$peer" storm $signals
    done
    wait
    for signals in STOP,CONT CONT WINCH; do
        check_waits $signals 2
    done
}

# Begins, with -t $1, all the transfers of the section below, each of which takes longer than that. Their directories
# begin with the name of the file to arrive.
begin_slow() {
    rm -rf ./*.*/ source late
    # The file, -b of the server, how much of it a peer reads in the time of -t before it acknowledges, and the machine:
    # noqueue is one where nothing tells how long the send queue is.
    while read -r file b step machine; do
        place=$file.$b.$machine
        begin "$place" env PLACE="$machine" "$server_faults" -v -t "$server_timeout" -b "$b" -p 0 "$file" @ \
            "$peer" connect PORT buffers 4096 slow $((step / $1)) "$place/file" put "$thanks" close
    done <<'END'
small 1025 180000 any
small 64K 240000 any
block 64K 500000 noqueue
large 1M 1000000 any
block 4M 500000 noqueue
huge 4M 4400000 any
larger 0 2200000 any
END
    # The timeout of the client: a byte, and again.
    begin abcd.drip "$peer" listen drip $(($1 * 450)) abcd fin get 30 eof @ "$client" -t "$1" -p PORT abcd.drip/file
    # A pipe to send and one to receive into are no business of the other side, and nobody is hurried.
    mkfifo source
    begin abcd.source sh -c '(printf abc; sleep $(($0 + 1)); printf d) >source & exec "$server" -t "$0" -p 0 source' \
        "$1" @ "$client" -p PORT abcd.source/file
    begin large.output "$server" -p 0 large @ \
        sh -c '"$client" -t "$1" -p "$0" - | (sleep $(($1 + 1)); cat >large.output/file)' PORT "$1"
    # What takes a block of the client in more than -t takes something all the time.
    begin rest.pipe "$server" -b 0 -t "$1" -p 0 huge @ sh -c '"$client" -b 0 -t "$1" -p "$0" - |
        "$peer" input gently 1100000 $((800000 / $1)) into rest.pipe/file' PORT "$1"
    # Who has acknowledged before reading may read on, but keeps the server for a second only.
    begin small.thanks "$server" -v -b 256K -p 0 small @ "$peer" connect PORT buffers 4096 put "$thanks" \
        slow 100000 small.thanks/file close
    # An address from which no answer comes, which gets 5 seconds, in front of one that is good, and of one that is good
    # after more than 5 seconds more.
    begin abcd.dead "$server" -t 15 -p 0 abcd @ env PLACE=dead=1 "$client_faults" -p PORT abcd.dead/file
    begin abcd.late "$peer" full late send abcd fin get 30 @ sh -c '(sleep 11; : >late) &
        PLACE=dead=1 exec "$client_faults" -p $0 abcd.late/file' PORT
}

# True if all of them ended well. Who waits for the answer knows that the client has everything.
all_arrived() {
    for place in ./*.*/; do
        look "$place"
        arrived "$(basename "${place%%.[!/]*}")" "${place}file" || return # the name up to its first dot
    done
    is "$(grep -e 'FIN_WAIT1  *waits for' -e 'ESTABLISHED  *waits for' ./*/server.err)" ''
}

# Whoever makes progress is not cut off, however much longer than -t it takes. On a machine that has much else to do a
# peer may pause for longer than it is told: then all are twice as slow, and -t is twice as long.
test_slow() { # early
    printf abcd >abcd
    make_file block 1100000
    cat block block block block block block block block >huge
    tail -c +1100001 huge >rest
    head -c 300000 block >small
    cat block block >large
    cat large large block >larger
    # A build that cannot see what its kernel still has to send takes a slow reader with large buffers for a dead one.
    shows_all || skip 'slow readers and large buffers: this build does not see what its kernel still has to send'
    for timeout in 2 4 8 16; do
        server_timeout=$timeout
        shows_all || server_timeout=100
        begin_slow $timeout
        wait
        ! all_arrived >/dev/null 2>&1 || break
    done
    check "all arrive, with -t $timeout" all_arrived
    check 'an acknowledgement too early: nobody waits for the rest' grep -q ' no end-of-file' small.thanks/server.err
}

# Begins the run $w of a server that is to be stopped, as it sends $1 to what $2... says.
sends() {
    what=$1
    shift
    begin "$w" sh -c "echo \$\$ >$w.pid"'; exec "$@"' - "$server" -b 64K -t 4 -p 0 "$what" @ "$@"
}

# Begins the run $w of a client that is to be stopped, as it receives from a peer that does $*.
receives() { begin "$w" "$peer" "$@" @ sh -c "echo \$\$ >$w.pid"'; exec "$@"' - "$client" -t 4 -p PORT "$w/got"; }

# Time in which a program is stopped (Ctrl-Z) is not time in which it waits: what it waits for may have come meanwhile,
# or comes a moment after it goes on. Each of these is stopped for longer than -t while it waits.
test_stopped() { # early
    make_file random 9000000
    for w in client answer room pipe data end connection; do
        for when in meanwhile afterwards; do
            w=${w%.*}.$when
            stop="until [ -s $w.pid ]; do sleep 0.05; done; sleep 0.5; kill -STOP \$(cat $w.pid); sleep 4.5"
            go="kill -CONT \$(cat $w.pid)"
            [ $when = meanwhile ] || stop="$stop; $go; sleep 0.5" go=:
            case $w in
                client*)
                    sends text sh -c "$stop"'; exec "$@"' - "$peer" connect PORT sh "$go" eof put "$thanks" close
                    ;;
                answer*) sends text "$peer" connect PORT eof sh "$stop" put "$thanks" sh "$go" close ;;
                room*) sends random "$peer" connect PORT get 1 sh "$stop" get 50000 sh "$go" eof put "$thanks" close ;;
                pipe*)
                    mkfifo "$w.pipe"
                    (printf abc && until [ -e "$w.end" ]; do sleep 0.1; done) >"$w.pipe" &
                    sends "$w.pipe" "$peer" connect PORT get 3 sh "$stop; : >$w.end" sh "$go" eof put "$thanks" close
                    ;;
                data*) receives listen send text sh "$stop" send text sh "$go" fin get 30 ;;
                end*) receives listen send text sh "$stop" fin sh "$go" get 30 ;;
                connection*) # the client's kernel asks again after a second, and then now and then
                    [ $when = afterwards ] || stop="${stop%; sleep 4.5}" go="sleep 4.5; $go"
                    sh -c "$stop; : >$w.room" &
                    receives full "$w.room" sh "$go" send text fin get 30
                    ;;
            esac
        done
    done
    wait
    for w in *.meanwhile *.afterwards; do
        look "$w"
        check "stopped while it waits: $w" both 0 0
    done
}
