# terminal.sh - what appears on a terminal: how far a transfer is, and no control character of others.

# A transfer of more than half a second shows on a terminal how far it is, and wipes that away before it says more.
test_progress() { # early
    can 'all of it (no terminals here)' "$peer" terminal true || return
    make_file random 4000000
    # The peer reads half of it and waits; there is no room for the rest. run_pair waits for whole lines, which do not
    # come.
    set -- sh -c '"$peer" terminal "$server" -p 0 random 2>&1 >said | tee shown >&2' @ \
        "$peer" connect PORT buffers 8192 get 2000000 says shown MB/s
    : >shown
    run "$@" into rest says shown 'MB in' quiet 300 put "$thanks" close
    check 'the server on a terminal' is "$c, $(tail -n 1 said)" '0, Server close'
    tr '\r' '\n' <shown >lines
    check 'the server: how much, how fast, how much of it, how long still' awk '
        function size(n) { return n < 0 ? -n : n }
        /^server: [0-9.]* MB, [0-9.]* MB\/s, [0-9]* %, [0-9]* s left *$/ {
            lines++
            megabytes = $2; rate = $4; percent = $6; left = $8
            if (megabytes > 4 || size(percent - megabytes * 25) > 2) wrong = 1
            if (megabytes + 0.05 < 0.5 * (rate - 0.05)) wrong = 1 # nothing is shown in the first half second
            if ((4.05 - megabytes) < (left - 0.5) * (rate - 0.05)) wrong = 1
            if ((3.95 - megabytes) > (left + 0.5) * (rate + 0.05)) wrong = 1
        }
        END { exit wrong || !lines }' lines
    check 'the server: the total stays, and is the last' \
        matches "$(grep -v '^ *$' lines | tail -n 1)" 'server: 4.0 MB in * s, * MB/s'
    : >shown
    run env TERMINAL_COLUMNS=36 "$@" reset
    tr '\r' '\n' <shown >lines
    check 'a message: the line is wiped first' grep -q '^server: client 4 did not receive all' lines
    check 'a narrow terminal: no line of progress is as long as it is wide' is \
        "$(grep MB/s lines | grep -v ' in ' | awk 'length >= 36')" ''

    run "$peer" listen send random says p/client.err 'MB/s' send random fin get 30 @ \
        "$peer" terminal "$client" -p PORT p/got
    check 'the client on a terminal' both 0 0
    tr '\r' '\n' <p/client.err >lines
    check 'the client: how much and how fast' grep -q '^client: [0-9.]* MB, [0-9.]* MB/s *$' lines
    check 'the client: the total stays' grep -q '^client: 8.0 MB in [0-9.]* s, [0-9.]* MB/s$' lines
    run "$peer" terminal sh -c 'echo $$ >pid; exec "$server" -k -p 0 random' @ "$peer" connect PORT buffers 8192 \
        get 2000000 sh 'sleep 0.8' eof put "$thanks" close says p/server.out '：I have' sh 'kill $(cat pid)'
    check 'nothing with -k' is "$s, $c, $(grep -c MB p/server.err)" '143, 0, 0'
    while read -r words; do
        run "$peer" listen send text sh 'sleep 0.8' send text fin get 30 @ sh -c "exec $words -p \$0 p/got" PORT
        check "nothing with: $words" is "$c $(grep -c -e 'MB,' -e 'MB in' p/client.err)" '0 0'
    done <<'END'
"$client"
env TERM=dumb "$peer" terminal "$client"
"$peer" terminal "$client" -v
END
}

# After Ctrl-S the terminal takes nothing, and the transfer goes on. The peer only lets the terminal go on after that.
test_terminal() { # early
    can 'all of it (no terminals here)' "$peer" terminal true || return
    can 'all of it (gVisor has no Ctrl-S)' not_gvisor || return
    make_file random 9000000
    rm -f keys.*
    : >shown
    run "$peer" listen send random says shown MB/s sh ': >keys.stop' wait keys.stopped sh 'sleep 0.3' \
        send random send random sh ': >keys.go' fin get 30 @ env TERMINAL_STOPS=keys \
        sh -c 'exec "$0" terminal "$client" -p $1 p/got 2>shown' "$peer" PORT
    check 'Ctrl-S while the client receives' is "$s $c $(bytes p/got)" '0 0 27000000'
    rm -f keys.*
    run env TERMINAL_STOPS=keys sh -c '"$0" terminal "$server" -p 0 random 2>&1 >said | tee shown >&2' \
        "$peer" @ "$peer" connect PORT buffers 8192 get 2000000 says shown MB/s sh ': >keys.stop' \
        wait keys.stopped sh 'sleep 0.3' get 5000000 sh ': >keys.go' eof put "$thanks" close
    check 'Ctrl-S while the server sends' is "$c $(tail -n 1 said)" '0 Server close'
    # The rate sinks while a pipe that is sent is silent. It goes on, or gives up, when that was seen.
    : >shown
    run sh -c '{
        cat random
        n=0
        until [ "$(tr "\r" "\n" <shown | grep " 9.0 MB, " | sort -u | wc -l)" -ge 3 ] || [ $n = 100 ]; do
            n=$((n + 1))
            sleep 0.1
        done
    } | "$peer" terminal "$server" -b 0 -p 0 - 2>&1 >said | tee shown >&2' @ "$client" -b 0 -p PORT p/got
    check 'progress of a silent pipe' is \
        "$c, $(tr '\r' '\n' <shown | grep ' 9.0 MB, ' | sort -u | awk 'END { print (NR > 2) }')" '0, 1'
}

# What a name may hold: newlines and control sequences, among them one of C1 in UTF-8, and letters that are to be
# read. A message is one line, and nothing in it commands a terminal; but letters are letters.
test_one_line() {
    odd=$(printf 'a\nb\033[31m\r\302\233m\177\tżółć')
    shown=$(printf 'a\\x0ab\\x1b[31m\\x0d\\xc2\\x9bm\\x7f\\x09żółć')
    long=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa # no name, whoever would be asked
    mkdir -p "$odd.d/sub" && chmod 755 "$odd.d"
    ln -s "$odd.d/sub/none" innocent
    for program in "$server" "$client"; do
        for option in "-a$long$odd" "-b$odd" "-p$odd" "-t$odd" one; do # one: a second operand follows
            shows "$shown" "$program" "$option" "$odd"
        done
        shows 'unknown option -\x1b' "$program" "-$(printf '\033')"
    done
    shows "$shown" "$server" -p 0 "$odd"
    shows "$shown" "$client" -p 1 "$odd/there"
    # Of C1 in UTF-8 the first, the last, and two that are not; bytes that are no part of a character; and letters.
    if can 'names that are not UTF-8 (this shell cannot hold them)' test -n "$(printf '\302')"; then
        shows "$(printf "'\\\\xc2\\\\x80\\\\xc2\\\\x9f\302\240\302/x'")" \
            "$client" -p 1 "$(printf '\302\200\302\237\302\240\302/x')"
        shows 'a\x9b31m\x80m\x9f/x' "$client" -p 1 "$(printf 'a\23331m\200m\237/x')"
    fi
    shows "'ě€𝄞가/x'" "$client" -p 1 'ě€𝄞가/x'
    shows innocent "$client" -p 1 innocent
    cp text "$odd"
    transfer 'a transfer' "$odd" "$odd.got" "$server" -v -p 0 "$odd" @ "$client" -v -p PORT "$odd.got"
    for side in server client; do
        check "a transfer: the $side" plain p/$side.out "$shown"
        check "a transfer: the trace of the $side" plain p/$side.err "$side "
    done
    check 'a transfer: each line is one' is "$(cat p/server.out p/client.out | wc -l | tr -d ' ')" 23
    run "$peer" listen put abc says p/client.out Recving reset @ "$client" -p PORT "$odd.got"
    check 'a transfer that fails' is "$(cat p/client.err)" \
        "client: the server did not finish, '$shown.got' is untouched: $(why ECONNRESET)"
}

# The program $2 fails, and says $1 on standard error: nothing there commands a terminal.
shows() {
    message=$1
    shift
    alone "$@"
    check "$*" plain err "$message"
    [ "$status" = 2 ] || check "$*: one line" is "$(wc -l <err | tr -d ' ')" 1
}

# The file $1 has the text $2, and no control byte, of ASCII or of UTF-8, but the ends of its lines.
plain() {
    printf '[[:cntrl:]]\n\302[\200-\237]\n' >control
    ! grep -qf control "$1" && grep -qF -e "$2" "$1"
}
