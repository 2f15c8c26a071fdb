# stopped_programs.sh - tests what becomes of programs that are stopped, as by Ctrl-Z, and that get signals all the time.
# Read by tests/run.sh, whose helpers it uses.
# shellcheck shell=sh disable=SC2016,SC2154 # quotes are for inner shells; run.sh sets the rest

# Starts a pair in the directory $1; its first word there is the name of that, the others are what it runs.
begin_pair() {
    place=$1
    shift
    "$pair" "$place" "$@" >said 2>&1 &
}

# Time in which a program is stopped is not time in which it waits: what it waits for may have come meanwhile, or comes
# a moment after it goes on. Each of these is stopped for longer than -t while it waits. All at the same time.
test_stopped() { # early
    make_file random 9000000
    note='echo $$ >"$0.pid"; exec "$@"' # $0 is the name of the place
    for when in meanwhile afterwards; do
        for wait in client answer room data end pipe connection; do
            w=$wait.$when
            stop="until [ -s $w.pid ]; do sleep 0.05; done; sleep 0.5; kill -STOP \$(cat $w.pid); sleep 5"
            go="kill -CONT \$(cat $w.pid)"
            [ $when = meanwhile ] || stop="$stop; $go; sleep 0.5" go=:
            case $wait in
                client)
                    begin_pair $w sh -c "$note" $w "$server" -t 4 -p 0 text @ sh -c "$stop; exec \"\$@\"" - \
                        "$peer" connect PORT sh "$go" eof put "$thanks" close
                    ;;
                answer)
                    begin_pair $w sh -c "$note" $w "$server" -t 4 -p 0 text @ \
                        "$peer" connect PORT eof sh "$stop" put "$thanks" sh "$go" close
                    ;;
                room)
                    begin_pair $w sh -c "$note" $w "$server" -b 64K -t 4 -p 0 random @ \
                        "$peer" connect PORT get 1 sh "$stop" get 50000 sh "$go" eof put "$thanks" close
                    ;;
                data)
                    begin_pair $w "$peer" listen send text sh "$stop" send text sh "$go" fin get 30 @ \
                        sh -c "$note" $w "$client" -t 4 -p PORT $w/got
                    ;;
                end)
                    begin_pair $w "$peer" listen send text sh "$stop" fin sh "$go" get 30 @ \
                        sh -c "$note" $w "$client" -t 4 -p PORT $w/got
                    ;;
                pipe)
                    begin_pair $w sh -c '(printf abc; until [ -e "$0.end" ]; do sleep 0.1; done) |
                        { sh -c '"'$note'"' "$0" "$@"; }' $w "$server" -t 4 -p 0 - @ \
                        "$peer" connect PORT get 3 sh "$stop; : >$w.end" sh "$go" eof put "$thanks" close
                    ;;
                connection) # the client's kernel asks again after 1, 3 and 7 seconds
                    [ $when = afterwards ] || stop="${stop%; sleep 5}" go="sleep 5; $go"
                    begin_pair $w "$peer" full $w.room sh "$go" send text fin get 30 @ \
                        sh -c "($stop; : >$w.room) & $note" $w "$client" -t 4 -p PORT $w/got
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

# Nothing that a program hears all the time keeps its -t from passing.
test_storms() { # early
    make_file random 9000000
    export ASAN_OPTIONS=detect_leaks=0 # that stops the program too, and a storm does not let it
    for signals in STOP,CONT CONT WINCH; do
        set -- "$peer" storm $signals
        begin_pair client.$signals "$@" "$server" -t 2 -p 0 text @ true
        begin_pair answer.$signals "$@" "$server" -t 2 -p 0 text @ "$peer" connect PORT eof stay
        begin_pair room.$signals "$@" "$server" -t 2 -p 0 random @ "$peer" connect PORT stay
        begin_pair data.$signals "$peer" listen send text stay @ "$@" "$client" -t 2 -p PORT data.$signals/got
        begin_pair connection.$signals "$peer" full connection.$signals.ended @ \
            sh -c '"$@"; status=$?; : >"$0.ended"; exit $status' connection.$signals "$@" "$client" -t 2 -p PORT got
    done
    wait
    for w in *.STOP,CONT *.CONT *.WINCH; do
        look "$w"
        side=server status=$s
        case $w in data* | connection*) side=client status=$c ;; esac
        check "a storm of signals: $w" is "$status" 1
        check "a storm of signals: $w: the reason" said $side '*(-t 2)'
    done
}
