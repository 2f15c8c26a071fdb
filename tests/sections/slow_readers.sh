# slow_readers.sh - tests who is waited for, and how long: readers that are slow, dead addresses, a reply in pieces, a
# terminal that takes nothing. Read by tests/run.sh, whose helpers it uses.
# shellcheck shell=sh disable=SC2016,SC2154 # quotes are for inner shells; run.sh sets the rest

# All at the same time: they mostly wait.
test_patience() { # early
    make_file random 9000000
    head -c 1100000 random >large
    # On gVisor nothing tells how long the send queue is.
    if shows_all; then
        for b in 64K 4M; do
            begin_pair noqueue.$b env PLACE=noqueue "$server_faults" -v -t 2 -b $b -p 0 large @ \
                "$peer" connect PORT buffers 4096 slow 250000 noqueue.$b/file put "$thanks" close
        done
        for deeds in 'get 1' eof; do
            # shellcheck disable=SC2086 # words
            begin_pair "noqueue.$deeds" env PLACE=noqueue "$server_faults" -t 2 -b 4M -p 0 large @ \
                "$peer" connect PORT buffers 4096 $deeds stay
        done
    else
        skip 'a slow reader where the send queue is unknown: no system call tells this build'
    fi
    # What takes 1 MiB in 5 s takes something all the time.
    begin_pair pipe "$server" -b 0 -t 4 -p 0 random @ sh -c '"$client" -b 0 -t 4 -p $0 - |
        "$peer" input gently 1100000 200000 into pipe/rest' PORT
    # Addresses from which no answer comes, in front of one that is good, and after a while.
    begin_pair dead.1 "$server" -t 15 -p 0 text @ env PLACE=dead=1 "$client_faults" -p PORT dead.1/got
    begin_pair slow "$peer" full slow.room send text fin get 30 @ sh -c '(sleep 5; : >slow.room) &
        PLACE=dead=1 exec "$client_faults" -t 20 -p $0 slow/got' PORT
    begin_pair dead.5 "$peer" full dead.ended @ sh -c 'PLACE="dead=5 nobody" "$client_faults" -t 4 -p $0 got
        status=$?; : >dead.ended; exit $status' PORT
    # The reply, in 30 pieces that come within a tick, has -t.
    begin_pair reply "$server" -t 1 -p 0 text @ "$peer" connect PORT eof drip 90 "$thanks" stay
    wait
    if shows_all; then
        for b in 64K 4M; do
            look noqueue.$b
            check "the send queue is unknown, -b $b: slow" arrived large noqueue.$b/file
            check "the send queue is unknown, -b $b: who waits for the answer knows that the client has everything" \
                is "$(grep -e 'ESTABLISHED  *waits for' -e 'FIN_WAIT1  *waits for' "$p/server.err")" ''
        done
        for deeds in 'get 1' eof; do
            look "noqueue.$deeds"
            check "the send queue is unknown: $deeds, and no answer" is "$s $(tail -n 1 "$p/server.err" | tail -c 7)" '1 (-t 2)'
        done
    fi
    look pipe
    check 'a slow pipe' is "$s $c $(bytes pipe/rest)" '0 0 7900000'
    look dead.1
    check 'a dead address first' arrived text
    look slow
    check 'a dead address first, and the other one is slow' arrived text
    look dead.5
    check 'five dead addresses have -t together' is "$c $((milliseconds >= 4000)) $((milliseconds < 12000))" '1 1 1'
    check 'five dead addresses: the reason' said client 'client: cannot connect to *(-t 4)'
    look reply
    check 'the whole reply has -t' is "$s" 1
    check 'the whole reply has -t: the reason' said server '*: client 4 did not acknowledge *(-t 1)'
}

# After Ctrl-S the terminal takes nothing, and the transfer goes on. The peer only lets the terminal go on after that.
test_terminal() { # early
    make_file random 9000000
    rm -f keys.*
    : >shown
    run "$peer" listen send random says shown MB/s sh ': >keys.stop' wait keys.stopped sh 'sleep 0.3' \
        send random send random sh ': >keys.go' fin get 30 @ env TERMINAL_STOPS=keys \
        sh -c 'exec "$0" terminal "$0" limit 20 "$client" -p $1 p/got 2>shown' "$peer" PORT
    check 'Ctrl-S while the client receives' is "$s $c $(bytes p/got)" '0 0 27000000'
    rm -f keys.*
    run env TERMINAL_STOPS=keys sh -c '"$0" terminal "$0" limit 20 "$server" -p 0 random 2>&1 >said | tee shown >&2' \
        "$peer" @ "$peer" connect PORT buffers 8192 get 2000000 says shown MB/s sh ': >keys.stop' \
        wait keys.stopped sh 'sleep 0.3' get 5000000 sh ': >keys.go' eof put "$thanks" close
    check 'Ctrl-S while the server sends' is "$c $(tail -n 1 said)" '0 Server close'
    run "$peer" listen send random sh 'sleep 0.8' send random fin get 30 @ \
        env TERM=dumb "$peer" terminal "$client" -p PORT p/got
    check 'TERM=dumb: no line' is "$s $c $(cat p/client.err)" '0 0 '
    # A pipe that is sent may be silent, and the line is there. It goes on when it was seen.
    : >shown
    run sh -c '(cat random; until grep -q MB/s shown; do [ -e said.go ] && exit; sleep 0.1; done; cat random) |
        "$0" terminal "$0" limit 20 "$server" -p 0 - 2>&1 >said | tee shown >&2; : >said.go' "$peer" @ \
        "$client" -p PORT p/got
    check 'progress of a silent pipe' is "$c $(bytes p/got)" '0 18000000'
}
