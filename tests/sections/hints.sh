# hints.sh - tests what is said, and to whom, and what is refused because nobody could tell what is what. Read by
# tests/run.sh, whose helpers it uses.
# shellcheck shell=sh disable=SC2016,SC2154 # quotes are for inner shells; run.sh sets the rest

# The client failed, said one line, and this is not about writing to standard output instead.
without_hint() { is "$c $(wc -l <p/client.err | tr -d ' ') $(grep -c -e '- >' p/client.err)" '1 1 0'; }

test_hints() {
    mkdir there && echo old >there/kept
    for error in EISDIR ENOENT; do
        run "$server" -p 0 text @ env FAULT="rename 1 $error" "$client_faults" -p PORT there/kept
        check "$error from rename" without_hint
    done
    run "$peer" listen put abc says p/client.out Recving sh 'rm -r there' put def fin eof @ "$client" -p PORT there/got
    check 'a directory that is removed' without_hint
    mkdir there
    run "$peer" listen put abc says p/client.out Recving sh 'rm -r there' reset @ "$client" -p PORT there/got
    check 'a directory that is removed, and a reset' without_hint
    run "$peer" listen put abc says p/client.out Recving sh 'mkdir folder' put def fin eof @ "$client" -p PORT folder
    check 'a directory in the place of the file' without_hint
    run env FAULT='shutdown 1 ENOTCONN' "$server_faults" -p 0 text @ "$peer" connect PORT reset # as a port scan does it
    check 'a port scan' ended 1 0 server '*server: client 4 did not *'
    check 'a port scan: the reason' is "$(grep -c "$(why ENOTCONN)" p/server.err)" 0
    run "$peer" listen fin reset @ env PLACE=late "$client_faults" -p PORT p/got
    check 'an end-of-file and a reset before the client looks' is "$c $(grep -c Recving p/client.out)" '1 0'

    # The trace and the file may not go to one place.
    mkfifo fifo
    ln -s /dev/null hole
    alone sh -c '{ "$client" -v -p 1 fifo 2>fifo; echo $? >status; } & cat fifo; wait'
    check 'a FIFO that is standard error too' \
        is "$(cat status) $(cat out)" "1 client: cannot write 'fifo': standard error goes there too"
    run "$server" -p 0 text @ sh -c 'exec "$client" -v -p $0 hole 2>/dev/null' PORT
    check '/dev/null by another name, and standard error' both 0 0
    if standard_names; then
        alone sh -c '{ "$client" -v -p 1 /dev/stderr; echo $? >status; } 2>&1 | cat'
        check '/dev/stderr, a pipe' \
            is "$(cat status) $(cat out)" "1 client: cannot write '/dev/stderr': standard error goes there too"
    fi
    # A byte of C1 that is no part of a character of UTF-8.
    refuses 1 'client: cannot write ?a?x9b31m?x80m?x9f/x?: *' "$client" -p 1 "$(printf 'a\23331m\200m\237/x')"
}

# The processes of -k: whose line it is, and one that is killed. SIGCHLD is ignored when the server starts.
test_children() {
    run sh -c 'echo $$ >pid; exec "$@"' - "$server" -k -v -p 0 text @ \
        sh -c 'for i in 1 2; do "$client" -p $0 got; done; kill $(cat pid)' PORT
    for number in 4 5; do
        check "the trace tells whose line it is: $number" \
            is "$(grep -c " server.$number.  *[A-Z0-9_-]*  *half-close" p/server.err)" 1
    done
    run sh -c 'echo $$ >pid; exec env FAULT="child-send 1 ^KILL" "$@"' - "$peer" childless "$server_faults" -k -p 0 text @ \
        sh -c '! "$peer" connect $0 eof && n=0 &&
            until grep "by signal 9" p/server.err; do [ $((n += 1)) -lt 300 ] && sleep 0.1 || break; done
            kill $(cat pid)' PORT
    check 'a child that is killed is told of' is "$s $(wc -l <p/client.out | tr -d ' ')" '143 1'
    run sh -c 'echo $$ >pid; exec "$@"' - "$server" -k -p 0 text @ sh -c '"$peer" connect $0 reset
        "$peer" connect $0 eof put no close says p/server.err "client 5 did not"; kill $(cat pid)' PORT
    check 'one that ends by itself is not' is "$s $(grep -c 'by signal' p/server.err)" '143 0'
    for t in 2147483647 0; do
        rm -f book
        run env FAULT_BOOK="$work/book" "$server_faults" -t $t -p 0 text @ "$client" -p PORT p/got
        check "-t $t: as many questions as Linux can count" matches "$(grep options book)" '* 1 15 15 127'
    done
}
