# start_and_end.sh - what a program is given by whoever starts it, and the signals that end it.

# Standard descriptors that are closed do no harm, and are no file, by none of their names.
test_closed_descriptors() {
    make_file random 300000
    for closed in '>&-' '<&-' '2>&-' '<&- >&- 2>&-'; do
        transfer "the client with $closed" random p/got "$server" -p 0 random @ \
            sh -c 'exec "$client" -v -p $0 p/got '"$closed" PORT
        [ ! -r /proc/net/tcp ] || transfer "the server with $closed" random p/got \
            sh -c 'exec "$server" -v -p $0 random '"$closed" PORT @ "$client" -p PORT p/got # run_pair sees who listens
    done
    transfer 'the client with nowhere to say anything' random p/got "$server" -p 0 random @ \
        sh -c '"$client" -p "$0" - 2>&- >p/got' PORT
    standard_names || return
    can 'names of closed descriptors (no /proc or no /dev/fd)' \
        test -e /proc/thread-self/fd/0 -a -e /dev/fd/0 || return
    ln -s /dev/stdout out-link
    ln -s /proc/self/fd/0 in-link
    beside '
        for case in "- >&-" "/dev/stdout >&-" "/dev/fd/1 >&-" "/proc/self/fd/1 >&-" "out-link >&-" "/dev/stdin <&-" \
            "in-link <&-" "- <&- >&-" "/dev/stdout <&- >&-" "/dev/stdin <&- >&-" "/dev/stderr 2>&-" \
            "/dev/stdin <&- 2>&-" "/dev/fd/1 <&- >&- 2>&-" "- <&- >&- 2>&-"; do
            sh -c "exec \"\$client\" -p $port $case" >>closed.out 2>>closed.err
            echo "$? $case"
        done' "$server" -k -v -p 0 text
    check 'nothing closed is written to' is "$(cut -c 1 p/client.out | sort | uniq -c | tr -s ' ')" ' 14 1'
    check 'nothing closed is written to: no server was bothered' is "$(grep -c accepted p/server.err)" 0
    check 'nothing closed is written to: who can say so does' is \
        "$(grep -c '^client: cannot write ' closed.err) $(wc -l <closed.err | tr -d ' ')" '10 10'
    for case in '/dev/stdin <&-' '/dev/fd/0 <&-' 'in-link <&-' '/dev/stdout >&-' '/dev/fd/2 2>&-' \
        '/dev/stdin <&- >&- 2>&-' '- <&-' '-k - <&-'; do
        alone sh -c "exec \"\$server\" -t 1 -p 0 $case"
        check "server $case" is "$status $(cat err out | grep -c -e listening -e Waiting)" '1 0'
    done
}

# Signals that end a program, and those that do not. And what else comes from whoever starts it.
test_stops() {
    run "$peer" listen put abc \
        sh 'for s in HUP INT QUIT TERM USR1 CHLD CONT URG WINCH STOP CONT; do kill -$s $(cat pid); done' \
        put def fin get 30 @ sh -c 'echo $$ >pid; trap "" HUP INT QUIT TERM USR1; exec "$client" -p "$0" got' PORT
    check 'signals that the client shall ignore, and those that end no program' is "$s $c $(cat got)" '0 0 abcdef'
    # Those with which people and systems end programs, once and again and again, with little stack: then the client
    # leaves no temporary file. A sanitizer shall leave them to us.
    for signal in HUP INT QUIT ABRT BUS SEGV ALRM TERM USR1 USR2 XCPU VTALRM PROF; do
        for times in 1 300; do
            run "$peer" listen put abc says p/client.out Recving \
                sh "pid=\$(cat pid) n=0; while [ \$((n += 1)) -le $times ]; do kill -$signal \$pid; done" eof @ \
                sh -c 'echo $$ >pid; ulimit -c 0; ulimit -Ss 100
                    ASAN_OPTIONS=handle_segv=0:handle_sigbus=0 exec "$client" -p "$0" kept' PORT
            check "SIG$signal, $times times" is "$((c > 128)) $(cat kept) $(clean)" '1 old '
        done
    done
    # A terminal that is sent does not become the program's own: its Ctrl-C is not for us. (One that is only written to
    # never does.)
    can 'whose terminal it is (needs /proc, terminals and setsid)' \
        sh -c 'test -r /proc/self/stat && setsid true && "$peer" terminal true' || return
    standard_names || return
    run "$peer" terminal setsid sh -c 'echo $$ >pid; exec "$server" -p 0 /dev/stderr' @ \
        "$peer" connect PORT says p/server.out 'Start to send' \
        sh 'until cut -d " " -f 7 /proc/"$(cat pid)"/stat >terminal; do :; done 2>/dev/null' reset
    check 'the server does not take the terminal' is "$s $c $(cat terminal)" '1 0 0'
}

# Alone in a namespace of processes, where only who has a handler hears a signal, both programs do.
test_process_1() {
    user=--map-root-user
    [ "$(id -u)" != 0 ] || user=--fork
    set -- unshare --pid --fork --kill-child $user
    can 'process 1 of a container (no namespaces of processes)' "$@" true || return
    for signal in 2 15; do
        alone "$@" sh -c \
            '(until grep -q Waiting out; do sleep 0.1; done; kill -$0 1) & exec "$server" -p 0 text' $signal
        check "the server: signal $signal" is "$status" $((128 + signal))
        rm -f go
        run "$peer" listen put abc says p/client.err Recving sh ': >go' eof @ \
            "$@" sh -c '(until [ -e go ]; do sleep 0.1; done; kill -$0 1) & exec "$client" -p $1 -' $signal PORT
        check "the client: signal $signal" is "$c" $((128 + signal))
    done
}
