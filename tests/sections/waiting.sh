# waiting.sh - the time limit (-t): who makes no progress is given up, and who makes some is served to the end.
# shellcheck shell=sh disable=SC2016,SC2154 # quotes are for inner shells; run.sh and helpers.sh set the rest

# In the run in the directory w$1, $2 (server or client) gave up after -t, and said $3.
gave_up() {
    look w"$1"
    check "$3: it fails" is "$([ "$2" = server ] && echo "$s" || echo "$c")" 1
    check "$3: no less than -t" at_least "$milliseconds" 4000
    check "$3: it says for how long" said "$2" "$3*$(why ETIMEDOUT) (-t 4)"
}

# The one clock: not before -t is over, and not long after. What nobody reads, says or sends for so long is given up,
# each piece of a reply is not a new beginning. Four seconds, for half of them is more than a slow machine needs for the
# rest. All wait at the same time; if the machine was too slow even so, once more.
test_waits() { # early
    make_file random 9000000
    echo old >kept
    for _ in 1 2 3 4 5; do
        rm -f w8/done
        "$pair" w1 "$server" -t 4 -p 0 text @ true &
        "$pair" w2 "$server" -t 4 -p 0 text @ "$peer" connect PORT eof stay &
        "$pair" w3 "$server" -t 4 -p 0 random @ "$peer" connect PORT stay &
        "$pair" w4 "$server" -t 4 -p 0 random @ "$peer" connect PORT put "$thanks" stay &
        "$pair" w5 "$peer" listen stay @ "$client" -t 4 -p PORT w5/got &
        "$pair" w6 "$peer" listen send text stay @ "$client" -b 0 -t 4 -p PORT kept &
        "$pair" w7 "$server" -t 4 -p 0 text @ "$peer" connect PORT eof drip 700 'I have recv the data' close &
        "$pair" w8 "$peer" full w8/done @ \
            sh -c '"$client" -t 4 -p "$0" w8/got; s=$?; echo >w8/done; exit $s' PORT &
        wait
        slowest=$(cat w?/milliseconds | sort -n | tail -n 1)
        [ "$slowest" -ge 7600 ] || break
    done
    check 'none waits much longer than -t, in one of five tries' less "$slowest" 7600
    gave_up 1 server '*: no client came: '
    gave_up 2 server '*client 4 did not acknowledge the file: '
    gave_up 3 server "*client 4 did not receive all of 'random': "
    gave_up 4 server "*client 4 did not receive all of 'random': "
    gave_up 5 client "client: the server did not finish, 'w5/got' is untouched: "
    gave_up 6 client "client: the server did not finish, 'kept' is untouched: "
    gave_up 7 server "*client 4 did not acknowledge the file, it said 'I*': "
    gave_up 8 client 'client: cannot connect to 127.0.0.1 port *: '
    check 'what was there is still there' is "$(cat kept)" old
}

# Starts, with -t $1, all the transfers of the section below, each of which takes longer than that. They run at the same
# time, in directories that begin with the name of the file to arrive.
start_slow() {
    rm -rf ./*.*/
    # The file, -b of the server, and how much of it a peer reads in the time of -t, before it acknowledges.
    while read -r file b step; do
        "$pair" "$file.$b" "$server" -v -t "$server_patience" -b "$b" -p 0 "$file" @ "$peer" connect PORT \
            buffers 4096 slow $((step / $1)) "$file.$b/file" put "$thanks" close >said 2>&1 &
    done <<'END'
small 1025 180000
small 64K 240000
large 1M 1000000
huge 4M 4400000
larger 0 2200000
END
    # The client's patience: a byte, and again.
    "$pair" abcd.drip "$peer" listen drip $(($1 * 450)) abcd fin get 30 eof @ "$client" -t "$1" -p PORT \
        abcd.drip/file >said 2>&1 &
    # A pipe to send and one to receive into are no business of the other side, and nobody is hurried.
    rm -f source
    mkfifo source
    "$pair" abcd.source sh -c '(printf abc; sleep $(($0 + 1)); printf d) >source & exec "$server" -t "$0" -p 0 source' \
        "$1" @ "$client" -p PORT abcd.source/file >said 2>&1 &
    "$pair" large.output "$server" -p 0 large @ \
        sh -c '"$client" -t "$1" -p "$0" - | (sleep $(($1 + 1)); cat >large.output/file)' PORT "$1" >said 2>&1 &
    # Who has acknowledged before reading may read on, but keeps the server for a second only.
    "$pair" small.thanks "$server" -v -b 256K -p 0 small @ "$peer" connect PORT buffers 4096 put "$thanks" \
        slow 100000 small.thanks/file close >said 2>&1 &
}

# True if all of them ended well. Who waits for the answer knows that the client has everything.
all_arrived() {
    for place in ./*.*/; do
        look "$place"
        arrived "$(basename "${place%.*}")" "${place}file" || return
    done
    is "$(grep 'FIN_WAIT1  *waits' ./*/server.err)" ''
}

# Whoever makes progress is not cut off, however much longer than -t it takes. On a machine that has much else to do a
# peer may pause for longer than it is told: then all are twice as slow and twice as patient.
test_slow() { # early
    printf abcd >abcd
    make_file block 1100000
    cat block block block block block block block block >huge
    head -c 300000 block >small
    cat block block >large
    cat large large block >larger
    # A build that cannot see what its kernel still has to send takes a slow reader with large buffers for a dead one.
    shows_all || skip 'slow readers and large buffers: this build does not see what its kernel still has to send'
    for patience in 2 4 8 16; do
        server_patience=$patience
        shows_all || server_patience=100
        start_slow $patience
        wait
        ! all_arrived >/dev/null 2>&1 || break
    done
    check "all arrive, with -t $patience" all_arrived
    check 'an acknowledgement too early: nobody waits for the rest' grep -q ' no end-of-file' small.thanks/server.err
}
