# calls.sh - the system calls of the programs in their order, as tests/faults/faults.h notes them in a book, and what
# becomes of those that fail.
# shellcheck shell=sh disable=SC2016,SC2154 # quotes are for inner shells; run.sh and helpers.sh set the rest

# Nothing is done before what it depends on.
test_order() {
    make_hole large 65
    echo old >kept
    chmod 604 kept
    FAULT_BOOK=$work/book
    export FAULT_BOOK
    run "$server" -b 0 -p 0 large @ "$client_faults" -b 64K -p PORT p/got
    check 'client' arrived large
    check 'client: the sizes are set before there is a connection' matches \
        "$(sequence getsockopt setsockopt connect)" 'getsockopt setsockopt getsockopt *connect*'
    # The file is flushed on the way, and once more when all of it is written; only then it gets its name; that is
    # flushed too; only then the server is told.
    check 'client: in this order' matches "$(sequence connect write-file fsync rename write-socket)" \
        '*connect *fsync write-file fsync rename fsync write-file *write-socket*'
    rm book
    run "$server_faults" -p 0 text @ "$client" -p PORT p/got
    check 'server' arrived text
    # The reset is taken back, by the last setsockopt, only when the reply is here.
    check 'server: in this order' matches \
        "$(sequence getsockopt setsockopt bind listen accept send shutdown read-socket close-socket)" \
        '*getsockopt setsockopt getsockopt *bind listen *accept *send *shutdown *read-socket *setsockopt *close-socket*'
    rm book
    run "$server" -p 0 text @ "$client_faults" -p PORT kept
    check 'client: its permissions are flushed, too' is "$(sequence fchmod fsync rename)" 'fchmod fsync rename fsync '
    rm book
    run "$server_faults" -p 0 text @ "$peer" connect PORT eof sh 'sleep 0.5' put "$thanks" close
    waited=$milliseconds
    run "$peer" listen sh 'sleep 0.5' send text fin get 30 @ "$client_faults" -p PORT p/got
    check 'nobody spins while he waits: no more than a look in each tick, and some to begin and end with' less \
        "$(grep -c -e '^call read-socket' -e '^call recv' book)" $((20 + (waited + milliseconds) / 50))
}

# Sends text to a client of which the call $1 fails and which has the arguments that follow. The file kept holds "old".
with_fault() {
    fault=$1
    shift
    echo old >kept
    run "$server" -p 0 text @ env FAULT="$fault" "$client_faults" -p PORT "$@"
}

# What becomes of some failures, beside what make torture, which makes every call fail, can know about all of them.
test_failures() {
    make_hole large 65
    echo old >kept
    run "$server" -p 0 text @ env FAULT_BOOK="$work/book" "$client_faults" -p PORT kept
    flushes=$(grep -c '^call fsync' book)
    echo old >kept
    run "$server" -b 0 -p 0 large @ env FAULT='fsync 1 EIO' "$client_faults" -b 64K -p PORT kept
    check 'a flush on the way that fails' kept "client: cannot write 'kept': $(why EIO)"
    check 'a flush on the way that fails: the server learns of it' said server '*client 4 did not *'
    for fault in "fsync $((flushes - 1)) EIO" 'rename 1 EIO'; do
        with_fault "$fault" kept
        check "$fault: nothing has happened, and nothing else was said" kept "client: cannot *'kept'*: $(why EIO)*"
        check "$fault: not acknowledged" is "$s $(grep -c 'Recv done' p/client.out)" '1 0'
    done
    with_fault "fsync $flushes EIO" kept
    check 'the last flush fails: the file is there, and not acknowledged' is "$s $(cmp text kept)" '1 '
    check 'the last flush fails: the client warns' \
        said client "client: 'kept' is complete but not safely on disk, *: $(why EIO)"
    with_fault 'sleep 1 EINTR' -d 1 kept
    check 'an interrupted -d' arrived text kept
    check 'an interrupted -d: the rest is made up for' at_least "$milliseconds" 1000
    for error in EMFILE ENFILE ENOBUFS ENOMEM; do
        run env FAULT="accept 1 $error" "$server_faults" -p 0 text @ "$peer" connect PORT eof
        check "$error from accept: the server says so and gives up" \
            said server "*server: cannot accept a connection: $(why $error)"
    done
    run sh -c 'echo $$ >pid; FAULT="accept 1 EPERM-forever" exec "$server_faults" -k -p 0 text' @ \
        sh -c '"$client" -t 2 -p "$0" p/got; status=$?; kill $(cat pid); exit $status' PORT
    check 'accept may fail for ever, and -k does not spin' both 143 1
    run "$peer" listen put abc says p/client.out Recving reset @ env FAULT='unlink 1 EIO' "$client_faults" -p PORT p/got
    check 'a temporary file that cannot be removed' said client "client: the server did not finish, *
client: cannot remove '.client-*' beside 'p/got': $(why EIO)"
    run "$peer" listen send text fin get 30 @ env FAULT='read-socket 1 ETIMEDOUT' "$client_faults" -t 0 -p PORT p/got
    check 'a time-out that is not ours' said client "client: the server did not finish, * $(why ETIMEDOUT)"
    for fault in 'poll 1 EINTR' 'poll 2 EINTR' 'read-pipe 1 EAGAIN'; do
        rm -f book
        run sh -c 'cat text | FAULT_BOOK=$work/book FAULT=$0 "$server_faults" -p 0 -' "$fault" @ \
            "$client" -p PORT p/got
        check "a pipe, $fault" arrived text
        check "a pipe, $fault: it happened" grep -q '^failed' book
    done
    rm -f book
    run "$server" -p 0 text @ sh -c '
        FAULT_BOOK=$work/book FAULT="write-pipe 1 EAGAIN" "$client_faults" -p $0 - | cat >p/got' PORT
    check 'a pipe that is full' arrived text
    check 'a pipe that is full: it happened' grep -q '^failed' book
    with_fault 'write-socket 1 short-forever' kept
    check 'an acknowledgement in thirty pieces' arrived text kept
    with_fault 'write-file 1 short-forever' kept
    check 'writes that take one byte at a time' arrived text kept
    check 'writes that take one byte at a time: no word is lost' is \
        "$(grep -c -e '^Recving data$' -e '^Client close$' p/client.out)" 2
    with_fault 'write-file 1 nothing' kept
    check 'a write that takes nothing' ended 0 0 client \
        "client: cannot write the transcript, going on without: $(why ENOSPC)"
}

# Every call that may fail is made to fail, and before every call the programs are ended by a signal.
test_torture() { # early long
    [ -n "$LONG" ] || set -- -n 450 # there are about 400 kinds of failure, and each comes once
    exec "$root/tests/faults/torture" -j 12 "$@" -s "$SEED" "$server_faults" "$client_faults"
}

# What is said about TCP is tried out.
test_claims() { exec "$root/tests/lesson/claims"; }
