#!/bin/sh
# run.sh - tests the pair: sends files of many kinds between many kinds of peers, and checks what arrives and what the
# programs print. Run by `make test`, and with LONG=1 by `make torture`.
#
#     sh tests/run.sh                  every section, three at a time: many of them mostly wait
#     sh tests/run.sh wire sources     only these
#     SEED=7 sh tests/run.sh           the same sample of the long tests every time; LONG=1 runs all of them
#
# A line appears as each section ends (tests/tools/run_sections.c runs this file again for each, in a directory of its own), then
# `N passed, N failed`. To add a test, write a section, here or in one of the files beside this one that are read below:
#
#     test_short() {
#         run "$server" -p 0 text @ "$client" -p PORT p/got
#         check 'a short file' arrived text
#     }
#
# It is found by its name. Behind the brace may stand "# early": it takes long and begins first; "# long": make torture
# runs it too. What run, alone and check do is told at "Helpers". No test may pass because of a file that an earlier one
# left: run removes got and p/got, where clients put what they receive. A file that has to be there before the test is
# called kept. What stands in single quotes may use the names exported here.
# shellcheck disable=SC2016 # what stands in single quotes is for the inner shell
set -u
export LC_ALL=C

root=$(cd "${0%/*}/.." && pwd) || exit 1
server=$root/server client=$root/client pair=$root/tests/tools/run_pair peer=$root/tests/tools/peer tamper=$root/tests/tools/tamper
client_faults=$root/tests/faults/client-faults server_faults=$root/tests/faults/server-faults
LONG=${LONG-} SEED=${SEED-$(date +%s)}
work=$PWD passed=0 failed=0 skipped=0 last=''
thanks='I have recv the data,Thank you'
newline='
'
export root server client peer tamper client_faults server_faults LONG SEED work thanks

files='places promises crowd shows readme stopped_programs other_kernels slow_readers hints' # more sections, which need what is above and use what is below
for more in $files; do
    # shellcheck disable=SC1090 # these
    . "$root/tests/sections/$more.sh"
done

# ---- Helpers ------------------------------------------------------------------------------------------------------

# Counts a test named $1 as passed if the command that follows succeeds. Otherwise shows what was said last.
check() {
    name=$1
    shift
    if "$@" >check.out 2>&1; then
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    echo "FAILED: $section: $name"
    echo "    $*"
    sed 's/^/    /' check.out
    for f in $last; do
        head -n 30 "$f" | tr -d '\000-\010\013-\037' | sed "s,^,    ${f##*/}: ,"
    done
}

skip() {
    skipped=$((skipped + 1))
    echo "skipped: $section: $1"
}

# Runs a server and a client; see tests/tools/run_pair.c. What is left of that is in p. Sets s and c to their statuses.
run() {
    [ ! -e got ] || rm -rf got # pair itself removes p/got
    "$pair" p "$@" || {
        failed=$((failed + 1))
        echo "FAILED: $section: the pair did not end by itself: $*"
    }
    look p
}

# The run that is looked at from here on is that in the directory $1.
look() {
    p=$1
    read -r s c <"$p/status"
    read -r milliseconds <"$p/milliseconds" # from the start of the server to the end of both
    last="$p/server.out $p/server.err $p/client.out $p/client.err"
}

# Runs one program alone. Sets status; its output is in out and err.
alone() {
    last='out err'
    "$@" >out 2>err
    status=$?
}

# Runs a command as somebody who is not root: as the user nobody if we are root.
as_nobody() {
    if [ "$(id -u)" = 0 ]; then
        "$tamper" as 65534 65534 "$@"
    else
        "$@"
    fi
}

# This build shows what only Linux does, the states of TCP and the lengths of queues: then it must.
shows_all() { [ "$(uname)" = Linux ] && ! grep -q -e -DPORTABLE "$root/tests/.flags"; }

# The text of the error $1, say EIO, in the words of the C library that the programs are built with.
why() { "$peer" strerror "$1"; }

# The standard descriptors have names here.
standard_names() {
    [ ! -e /dev/stdin ] || [ ! -e /dev/stdout ] || [ ! -e /dev/stderr ] || return 0
    skip 'names of standard input and output (/dev/stdin, /dev/stdout or /dev/stderr is not there)'
    false
}

# Sets text to what is in the file $1, without the newline at the end.
slurp() {
    text=
    while IFS= read -r line || [ -n "$line" ]; do
        text=$text${text:+$newline}$line
    done <"$1"
}

bytes() { wc -c <"$1" | tr -d ' '; }
same() { cmp "$1" "$2"; }
is() { [ "$1" = "$2" ] || { echo "'$1' instead of '$2'"; false; }; }
both() { is "server $s, client $c" "server $1, client $2"; }
at_least() { [ "$1" -ge "$2" ] || { echo "$1 is less than $2"; false; }; }
less() { [ "$1" -lt "$2" ] || { echo "$1 is not less than $2"; false; }; }

# The text $1 matches the shell pattern $2.
matches() {
    # shellcheck disable=SC2254 # a pattern
    case $1 in
        $2) ;;
        *) echo "'$1' does not match '$2'"; return 1 ;;
    esac
}

# The standard error of $1 (server or client) matches the shell pattern $2.
said() {
    slurp "$p/$1.err"
    matches "$text" "$2"
}

# The program that ran alone ended with status $1, and its standard error matches the shell pattern $2: one line, or
# with status 2 the synopsis too.
fails_with() {
    slurp err
    is "$status" "$1" && matches "$text" "$2" || return
    [ "$1" = 2 ] || is "${text%"$newline"*}" "$text"
}

# Runs a command alone, which has to fail in that way.
refuses() {
    expected=$1 pattern=$2
    shift 2
    alone "$@"
    check "$*" fails_with "$expected" "$pattern"
}

# Both ended with the statuses $1 and $2, and the standard error of $3 matches the shell pattern $4.
ended() { both "$1" "$2" && said "$3" "$4"; }

# Both ended with status 0, and what the client made is the file $1.
arrived() { both 0 0 && same "$1" "${2-$p/got}"; }

# The client ended with status 1, said what $1 matches, and left what was there before, the line "old" in the file kept.
kept() { is "$c" 1 && said client "$1" && slurp kept && is "$text" old && clean .; }

# No file is left beside the destination that a client received in the directory $1.
clean() {
    for f in "$1"/.client-*; do
        [ ! -e "$f" ] || { echo "there is $f"; return 1; }
    done
}

# Makes the file $1 of $2 bytes, lines with numbers: no part of it is like another.
make_file() { awk -v n="$2" 'BEGIN { while (i * 10 < n) printf "%09d\n", i++ }' | head -c "$2" >"$1"; }

# Makes the file $1, a hole of $2 MiB and then a line.
make_hole() { dd if=/dev/null of="$1" bs=1048576 seek="$2" 2>/dev/null && echo 'the end' >>"$1"; }

# Sends $1 with -b $2 and receives with -b $3, into $4 (p/got). It must be in $5 then, once process $6 has ended.
crosses() {
    run "$server" -p 0 -b "$2" "$1" @ "$client" -p PORT -b "$3" "${4-p/got}"
    [ $# -lt 6 ] || wait "$6"
    check "$1 with -b $2 and $3 into ${4-p/got}" arrived "$1" "${5-${4-p/got}}"
}

# ---- What arrives -------------------------------------------------------------------------------------------------

# A file of any size, around those of blocks and buffers too, arrives as it was, through buffers of all sizes.
test_files() { # long
    make_file random 1200000
    for size in 0 1 1025 4609 65536 524287 524288 524289 1048577; do
        head -c $size random >file-$size
        crosses file-$size 1025 1025
        crosses file-$size 0 0
    done
    crosses "$server" 1025 1025 # a program has bytes of all values
    # Not a small send buffer and a large receive buffer: every few kB would wait for a delayed acknowledgement of TCP.
    for b in '1 1' '1025 2305' '64K 64K' '64K 1' '4M 1025' '1M 4M' '0 8192'; do
        # shellcheck disable=SC2086 # two words
        crosses random $b
    done
    [ -n "$LONG" ] || return 0
    # More than 4 GiB, most of it a hole, and no disk needed to receive it.
    make_hole large 4097
    run "$server" -b 0 -p 0 large @ sh -c '"$0" -b 0 -p "$1" - | cmp - large' "$client" PORT
    check 'a file of more than 4 GiB' both 0 0
}

# ---- What is said -------------------------------------------------------------------------------------------------

# The transcripts are what they promise to be, and standard error stays silent.
test_transcripts() {
    sizes=$("$peer" sizes 1025)
    run "$server" -p 0 text @ "$client" -p PORT
    check 'without a name it is log.txt' arrived text log.txt
    cat >expected.server <<END
Buffer length both set to 1025
Send buffer length ：${sizes% *}
Recv buffer length ：${sizes#* }
Waiting for connecting
New client：4 , IP 127.0.0.1 , Port N
Start to send data 'text' to client 4
Send data done
Output stream close
4：$thanks
Server close
END
    cat >expected.client <<END
Buffer length both set to 1025
Send buffer length ：${sizes% *}
Recv buffer length ：${sizes#* }
Trying to connect server
Connected to server
Recving data
Recv done, data in log.txt
Send to server: $thanks
Client close
END
    for side in server client; do
        check "$side: the first report" is "$(sed 's/：[1-9][0-9]*$/：N/; 2q' p/$side.out)" \
            "Send buffer length ：N${newline}Recv buffer length ：N"
        sed '1,2d; s/Port [0-9]*$/Port N/' p/$side.out >rest
        check "$side: the rest" diff expected.$side rest
    done
    check 'the server names its port on standard error and nothing else' is "$(sed 's/[0-9]*$/N/' p/server.err)" \
        'server: listening on 127.0.0.1 port N'
    check 'the client has nothing to say there' said client ''
    for b in 1 2305 65536 2147483647; do
        alone "$peer" hold "$client" -b $b -p PORT
        check "-b $b: the second report is what getsockopt says" is "$(sed -n '4,5s/.*：//p' out | tr '\n' ' ')" \
            "$("$peer" sizes $b) "
    done
    run "$server" -b 0 -p 0 text @ "$client" -b 0 -p PORT p/got
    for side in server client; do
        slurp p/$side.out
        sizes=${text%%"${newline}Buffer"*}
        check "$side -b 0: nothing is set" matches "$text" \
            "$sizes${newline}Buffer length left to the kernel$newline$sizes$newline*"
    done
    run "$server" -p 0 text @ "$client" -p PORT -
    check '-: the file alone on standard output' arrived text p/client.out
    check '-: the transcript on standard error' is "$(wc -l <p/client.err | tr -d ' ') $(tail -n 1 p/client.err)" \
        '11 Client close'

    # Every line is there as soon as what it tells of has happened, although nothing here is a terminal.
    run "$server" -p 0 text @ "$peer" connect PORT says p/server.out 'Start to send' eof \
        says p/server.out 'Output stream' put "$thanks" says p/server.out '4：I have' close
    check 'the server says what happens when it happens' both 0 0
    run "$peer" listen says p/client.out 'Recving' send text fin \
        says p/client.out 'Recv done' get 30 @ "$client" -d 1 -p PORT p/got
    check 'the client says what happens when it happens' both 0 0
}

# The trace (-v) tells the story in order, with the states of TCP, and few lines even for a large file. Its figures are
# right: of a client that pauses, the server was blocked for at least as long; what is in a queue is said to be there.
test_traces() {
    make_file random 3000000
    began=$(date +%H:%M)
    run "$server" -v -b 64K -p 0 random @ "$peer" connect PORT says p/server.err 'buffer is full' sh 'sleep 1.5' \
        into p/got says p/server.err 'waits for the answer' put "$thanks" \
        says p/server.err 'acknowledgement received' close
    check 'the server with -v' arrived random
    story server <<'END'
LISTEN listening
ESTABLISHED accepted
ESTABLISHED first bytes: N
ESTABLISHED the send buffer is full: N bytes wait
ESTABLISHED N more are in, after N microseconds
ESTABLISHED last bytes: N in all
- total: N bytes in N s, N MB/s
- waits for room: N, N s in all
FIN_WAIT1 or 2 half-close: FIN behind the last byte
FIN_WAIT2 waits for the answer, and can still hear it
FIN_WAIT2 acknowledgement received
CLOSED end-of-file: the client has closed too
- closed
END
    time=$(grep -v port p/server.err | head -c 5)
    check 'the time of day, at the beginning or the end' matches "$began $(date +%H:%M)" "*$time*"
    check 'the times of two lines are as far apart as they say' awk -F '[: .]' '
        /first bytes/ { first = $3 + $4 / 1e6 }
        /total: / { apart = $3 + $4 / 1e6 - first; sub(/.* bytes in /, ""); apart -= $0 + 0 }
        END { apart += apart < -30 ? 60 : 0; print apart; exit apart < -0.4 || apart > 0.4 }' p/server.err
    number='\([0-9.]*\)'
    sed -n "s/^.*total: $number bytes in $number s, $number MB.s\$/total \1 \2 \3/p
        s/^.*waits for room: $number, $number s in all\$/waited \1 \2/p
        s/^.*the send buffer is full: $number bytes wait.*/full \1/p
        s/^.* $number more are in, after $number microseconds.*/more \1 \2/p" p/server.err >totals
    check 'bytes, seconds, rate, and how long the server was blocked' awk -v most="$milliseconds" '
        function size(n) { return n < 0 ? -n : n }
        { print }
        $1 == "full" { wait = $2 }
        $1 == "more" { good = $2 > 0 && $2 <= wait && $3 >= 1000; blocked = $3 / 1e6 }
        $1 == "total" { good = good && $2 == 3000000 && $3 >= 1.5 && $3 * 1000 <= most; seconds = $3
                        good = good && size($2 / $3 / 1e6 - $4) < 0.1 }
        $1 == "waited" { good = good && $2 >= 1 && $3 >= 1.5 && $3 <= seconds && blocked <= $3 }
        END { exit NR != 4 || !good }' totals

    run "$server" -v -b 64K -p 0 random @ "$client" -v -p PORT p/got
    check 'the client with -v' arrived random
    check 'the buffer is full even if the client reads all the time' grep -q 'the send buffer is full' p/server.err
    story client <<'END'
CLOSED connecting
ESTABLISHED connected
ESTABLISHED first bytes: N
CLOSE_WAIT last bytes: N in all
- total: N bytes in N s, N MB/s
CLOSE_WAIT end-of-file: the server has closed its half
CLOSE_WAIT 'p/got' is in place
CLOSE_WAIT acknowledgement sent
- closed
END
    check 'the client reads what a small buffer holds, and does not wait for more' \
        less "$(sed -n 's/.*first bytes: \([0-9]*\).*/\1/p' p/client.err)" 100000

    shows_all || return
    head -c 100000 random >piece # fits, on every Linux, even in small segments
    mkfifo fifo
    run "$server" -v -b 1M -p 0 fifo @ "$peer" connect PORT buffers 1 put "$thanks" sh 'cat piece >fifo' \
        says p/server.err 'half-close' into p/got close
    check 'a client that reads late' arrived piece
    check 'a client that reads late: its file is in one queue, its reply in the other' awk '/half-close/ {
            sub(/.*send queue /, "")
            good = $1 + 0 > 10000 && $1 + 0 <= 100001 && $4 + 0 == 30
        } END { exit !good }' p/server.err
}

# The trace of $1 has the lines of the standard input, times and queues apart.
story() {
    sed -n "s/^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]\.[0-9]\{6\} $1 \([A-Z_]*[A-Z12]\|-\)  *\([^ ]\)/\1 \2/
        s/^FIN_WAIT[12] half/FIN_WAIT1 or 2 half/
        s/  (send queue [0-9]*, receive queue [0-9]*)\$//; /listening on/d; s/ [0-9][0-9.]*/ N/g
        s/FIN_WAIT1 or N/FIN_WAIT1 or 2/; p" p/"$1".err >events
    if shows_all; then
        check "the trace of the $1" diff - events
        check "the trace of the $1: the queues of every connection" is \
            "$(grep -e ' ESTABLISHED ' -e _WAIT p/"$1".err | grep -v 'send queue [0-9]*, receive queue [0-9]*)$')" ''
    else
        skip "the states of TCP (the $1 of this build cannot see them)"
        sed 's/^FIN_WAIT1 or 2/-/; s/^[A-Z_2]* /- /' >expected
        check "the trace of the $1" diff expected events
    fi
}

# A transfer of more than half a second shows on a terminal how far it is, and wipes that away before it says more.
test_progress() { # early
    make_file random 4000000
    # The peer reads half of it and waits; there is no room for the rest. pair waits for whole lines, which do not come.
    set -- sh -c '"$0" terminal "$1" -p 0 random 2>&1 >said | tee shown >&2' "$peer" "$server" @ \
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
    run "$@" reset
    tr '\r' '\n' <shown >lines
    check 'a message: the line is wiped first' grep -q '^server: client 4 did not take all' lines

    run "$peer" listen send random says p/client.err 'MB/s' send random fin get 30 @ \
        "$peer" terminal "$client" -p PORT p/got
    check 'the client on a terminal' both 0 0
    tr '\r' '\n' <p/client.err >lines
    check 'the client: how much and how fast' grep -q '^client: [0-9.]* MB, [0-9.]* MB/s *$' lines
    check 'the client: the total stays' grep -q '^client: 8.0 MB in [0-9.]* s, [0-9.]* MB/s$' lines
    run "$peer" terminal sh -c 'echo $$ >pid; exec "$0" -k -p 0 random' "$server" @ "$peer" connect PORT buffers 8192 \
        get 2000000 sh 'sleep 0.8' eof put "$thanks" close says p/server.out '：I have' sh 'kill $(cat pid)'
    check 'nothing with -k' is "$s, $c, $(grep -c MB p/server.err)" '143, 0, 0'
    set -- "$peer" listen send text sh 'sleep 0.8' send text fin get 30 @
    run "$@" "$client" -p PORT p/got
    check 'not into a file' said client ''
    run "$@" "$peer" terminal "$client" -v -p PORT p/got
    check 'not with -v' is "$c, $(grep -c 'client: [0-9.]* MB' p/client.err)" '0, 0'
}

# ---- The command line ---------------------------------------------------------------------------------------------

# The options, one by one.
test_options() {
    run "$server" -p 0 -a localhost text @ "$client" -p PORT -a localhost p/got
    check '-a with a name' arrived text
    run "$server" -p 0 -a ::1 text @ "$client" -p PORT -a ::1 p/got
    case $s,$(grep -c ' lo$' /proc/net/if_inet6 2>/dev/null) in
        0,* | *,[1-9])
            check '-a ::1' arrived text
            check '-a ::1: the address is shown' grep -q 'IP ::1 , Port' p/server.out
            check '-a ::1: the address is told' said server 'server: listening on ::1 port [1-9]*'
            for a in ::1 127.0.0.1; do # to client-faults, localhost has both addresses on every system
                run "$server" -p 0 -a $a text @ "$client_faults" -p PORT -a localhost p/got
                check "a name with two addresses, of which only $a answers" arrived text
                check 'a name with two addresses: one story' is "$(grep -c -e 'both set' -e '^Trying' p/client.out)" 2
            done
            ;;
        *) skip 'IPv6 (not on this machine)' ;;
    esac
    for program in "$server" "$client"; do
        alone "$program" -h
        check "$program -h" is "$status, $(cat err)" '0, '
        check "$program -h tells of each option" is "$(grep -c '^  -[abhptv]' out)" 6
        check "$program -h: no wider than 80 columns" is "$(awk 'length > 80' out)" ''
        cp out help
        alone "$program" --help
        check "$program --help" is "$status, $(cat err)$(cmp out help)" '0, '
    done
    printf 'odd name\n' >-p
    run "$server" -p 0 -- -p @ "$client" -p PORT -- -t
    check '-- ends the options' arrived ./-p ./-t
    run "$server" -p 0 -t 2147483647 text @ "$client" -t 2147483647 -b 2097151K -d 1 -p PORT p/got
    check 'the largest numbers' arrived text
    check '-d: the server waits for so long' at_least "$milliseconds" 1000
    check '2097151K' grep -q '^Buffer length both set to 2147482624$' p/client.out
    alone "$peer" hold "$client" -p PORT -b 2047M
    check '2047M' grep -q '^Buffer length both set to 2146435072$' out
    run "$peer" listen send text sh 'sleep 1' fin get 30 @ "$client" -t 0 -p PORT p/got
    check '-t 0: for as long as it takes' arrived text
    # Someone else may take the port in the moment between: then another one is tried.
    for _ in 1 2 3; do
        run "$server" -p 0 text @ "$client" -p PORT p/got
        port=$(sed -n 's/.* port //p' p/server.err)
        alone "$server" -p "$port" -t 1 text
        grep -q 'no client came' err && break
    done
    check 'a server listens where one has just been' is "$status $(cat err)" \
        "1 server: listening on 127.0.0.1 port $port${newline}server: no client came: $(why ETIMEDOUT) (-t 1)"
}

# Bad input gets one clear line and does no harm.
test_bad_input() {
    echo precious >log.txt
    mkfifo fifo
    "$peer" socket socket
    refuses 1 "server: cannot send 'no-such-file': $(why ENOENT)" "$server" -p 0 no-such-file
    refuses 1 "server: cannot send '': $(why ENOENT)" "$server" -p 0 ''
    refuses 1 "server: cannot send '.': $(why EISDIR)" "$server" -p 0 .
    refuses 1 "server: cannot send 'socket': $(why ENXIO)" "$server" -p 0 socket
    for name in fifo -; do
        refuses 1 "server: cannot send '$name' with -k, which needs the name of a regular file" "$server" -k -p 0 $name
    done
    run "$server" -p 0 text @ sh -c '"$0" -p "$2" text; echo $? >second; exec "$1" -p "$2" p/got' \
        "$server" "$client" PORT
    check 'a port that is taken: the first goes on' arrived text
    check 'a port that is taken' said client \
        "server: cannot listen on 127.0.0.1 port [0-9]*: $(why EADDRINUSE) (-p chooses another port)"
    check 'a port that is taken: status' is "$(cat second)" 1
    refuses 1 "server: cannot listen on 192.0.2.1 port 0: $(why EADDRNOTAVAIL)" "$server" -a 192.0.2.1 -p 0 text
    refuses 1 "client: cannot connect to 127.0.0.1 port [0-9]*: $(why ECONNREFUSED) (start ./server first*)" \
        "$peer" hold "$client" -p PORT
    # A label of 64 characters is no name: this is refused without a question to anyone.
    long=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    refuses 1 "client: cannot look up '$long': *" "$client" -a $long -p 1
    refuses 1 "server: cannot look up '$long': *" "$server" -a $long -p 0 text
    ln -s loop loop
    refuses 1 "client: cannot write 'no/such/place': * $(why ENOENT)" "$client" no/such/place
    refuses 1 "client: cannot write 'text/file': $(why ENOTDIR)" "$client" text/file
    refuses 1 "client: cannot write '.': $(why EISDIR)" "$client" .
    refuses 1 "client: cannot write 'loop': $(why ELOOP)" "$client" loop
    refuses 1 "client: cannot write '': $(why ENOENT)" "$client" ''
    refuses 1 "client: cannot write '$long*': $(why ENAMETOOLONG)" "$client" $long$long$long$long
    if [ "$(id -u)" != 0 ] || as_nobody "$server" -h >/dev/null 2>&1; then
        mkdir closed && echo secret >secret && chmod 0 secret && echo kept >kept && chmod 444 kept && chmod 555 closed
        refuses 1 "server: cannot send 'secret': $(why EACCES)" as_nobody "$server" -p 0 secret
        refuses 1 "client: cannot write 'closed/file': *$(why EACCES)" as_nobody "$client" closed/file
        refuses 1 "client: cannot write 'kept': $(why EACCES)" as_nobody "$client" kept
        chmod 755 closed
    else
        skip 'what is not permitted (root may do everything, and nobody cannot run our programs)'
    fi
    for program in server client; do
        usage="*usage: $program *"
        for wrong in '-p 65536' '-p 8o8o' '-p -1' '-p +1' '-p 0x50' '-b -1' '-b 3G' '-b K' '-b 1KK' '-b 2048M' \
            '-b 2097152K' '-b 2147483648' '-b 99999999999999999999' '-t 1.5' '-t 2147483648' '-t 1K' \
            '-p ' '-b ' '-t ' '-p  1'; do
            refuses 2 "$program: ${wrong%% *}: '${wrong#* }' is not a number from 0 to $usage" \
                "$root/$program" "${wrong%% *}" "${wrong#* }"
        done
        refuses 2 "$program: option -p needs a value$usage" "$root/$program" -p
        refuses 2 "$program: one FILE at most, after the options; not also 'two'$usage" "$root/$program" one two
        refuses 2 "$program: one FILE at most, after the options; not also '-p'$usage" "$root/$program" one -p 0
        refuses 2 "$program: there is no option -x$usage" "$root/$program" -x
    done
    refuses 2 "client: -d: '2147483648' is not a number from 0 to 2147483647$usage" "$client" -d 2147483648
    refuses 2 'server: there is no option -d*' "$server" -d 1
    slurp log.txt
    check 'nothing was harmed' is "$text" precious
    check 'nothing was left' clean .
}

# ---- Files --------------------------------------------------------------------------------------------------------

# Where it can be put.
test_destinations() {
    make_file random 100000
    mkdir -p there/deep
    echo old >there/target
    ln -s ../target there/deep/link
    ln -s "$work/there/deep/link" chain
    crosses random 64K 64K chain there/target
    check 'symbolic links, absolute and relative: they still are' test -L chain -a -L there/deep/link
    (umask 027 && run "$server" -p 0 random @ "$client" -p PORT "$work/there/fresh")
    check 'a new file has the permissions that umask leaves' is "$(find there/fresh -perm 640)" there/fresh
    for mode in 604:604 755:755 6754:754 1640:640; do
        echo old >there/$mode && chmod ${mode%:*} there/$mode
        run "$server" -p 0 random @ "$client" -p PORT there/$mode
        check "a replaced file keeps permissions $mode" is "$(find there/$mode -perm ${mode#*:})" there/$mode
    done
    for out in p/got /dev/null; do # also if standard output is the same: the transcript still goes there
        run "$server" -p 0 random @ sh -c 'exec "$0" -p "$1" /dev/null >$2' "$client" PORT $out
        check "/dev/null, and standard output $out" both 0 0
        check "/dev/null, and standard output $out: nothing elsewhere" said client ''
    done
    check '/dev/null is still a device' test -c /dev/null
    mkfifo pipe
    cat pipe >piped & # not got, which run removes
    crosses random 64K 64K pipe piped $!
    check 'a FIFO is still one' test -p pipe
    run "$server" -p 0 random @ sh -c '"$0" -p "$1" - | cat >p/got' "$client" PORT
    check '- into a pipe' arrived random
    check 'nothing is left' is "$(find . -name '.client-*')" ''
    alone sh -c '"$client" -p 1 - 2>&1 | cat'
    check '- where standard error goes too' is "$(cat out)" "client: cannot write '-': standard error goes there too"
    standard_names || return
    run "$server" -p 0 random @ sh -c '"$0" -p "$1" /dev/stderr 2>&1 >/dev/null | cat >p/got' "$client" PORT
    check '/dev/stderr, a pipe' arrived random
    run "$server" -p 0 random @ sh -c '"$0" -p "$1" /dev/stdout | cat >p/got' "$client" PORT
    check '/dev/stdout, a pipe: nothing but the file' arrived random
    run "$server" -p 0 random @ sh -c 'exec "$0" -p "$1" /dev/stdout >p/got' "$client" PORT
    check '/dev/stdout, a file: nothing but the file' arrived random
}

# ---- Peers --------------------------------------------------------------------------------------------------------

# The bytes on the wire, and their order, with other ends than ours.
test_wire() {
    make_file random 50000
    printf %s "$thanks" >expected
    run "$server" -p 0 random @ "$peer" connect PORT into p/got put "$thanks" pad 995 close
    check 'a client that pads its reply to 1025 bytes' arrived random
    run "$peer" listen send random quiet 200 fin into reply @ "$client" -p PORT p/got
    check 'a server that sends pieces of 1025 bytes' arrived random
    check 'our reply, after the end-of-file, is 30 bytes and an end-of-file' same expected reply
    # Silence: a server that does not wait would be gone, and the reply would be met with a reset.
    run "$server" -p 0 random @ "$peer" connect PORT into p/got quiet 300 put "$thanks" close
    check 'the server closes only after the reply' arrived random
    # Also if that took longer than the server will now wait for more, one second.
    run "$server" -p 0 random @ \
        "$peer" connect PORT into p/got sh 'sleep 1.1' put "$thanks" quiet 200 pad 30000 quiet 200 close
    check 'the server does not answer with a reset what comes after the acknowledgement' arrived random
    # The reply, in 30 pieces, is all here, the client listens on: nothing more is waited for before that is said.
    run "$server" -t 0 -p 0 text @ "$peer" connect PORT eof drip 0 "$thanks" says p/server.out '4：I have' close
    check 'the acknowledgement is told when the last of its bytes is there' both 0 0
    run sh -c '"$0" -t 0 -p 0 text; status=$?; echo >gone; exit $status' "$server" @ \
        "$peer" connect PORT eof put "$thanks" wait gone close
    check 'after the acknowledgement, a client that never closes is not waited for' both 0 0
    # All is in the server's buffer, and it has ended, before the client reads: it must not end with a reset.
    rm -f gone
    run sh -c '"$0" -b 4M -p 0 random; status=$?; echo >gone; exit $status' "$server" @ \
        "$peer" connect PORT buffers 1 put "$thanks" fin wait gone into p/got
    check 'a client that reads when the server is gone' arrived random
    run "$server" -p 0 text @ "$peer" connect PORT get 1 \
        sh '! "$client" -p PORT got 2>second && grep -q "'"$(why ECONNREFUSED)"'" second' eof put "$thanks" close
    check 'who comes while a client is served is refused' both 0 0
    case $(nc -h 2>&1) in
        *-N*) ;;
        *) skip 'nc (not installed, or without -N)' && return ;;
    esac
    run "$server" -p 0 random @ sh -c 'echo "$1" | nc 127.0.0.1 "$0" >p/got' PORT "$thanks"
    check 'nc as the client' arrived random
    # nc does not let the kernel choose: it is given a port that was free a moment ago, and another if it no longer is.
    run nc -N -l 127.0.0.1 PORT @ "$client" -p PORT p/got <random
    check 'nc as the server' arrived random
    check 'nc as the server: the reply' same expected p/server.out
}

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
            sh -c '"$0" -t 4 -p "$1" w8/got; s=$?; echo >w8/done; exit $s' "$client" PORT &
        wait
        slowest=$(cat w?/milliseconds | sort -n | tail -n 1)
        [ "$slowest" -ge 7600 ] || break
    done
    check 'none waits much longer than -t, in one of five tries' less "$slowest" 7600
    gave_up 1 server '*: no client came: '
    gave_up 2 server '*client 4 did not acknowledge the file: '
    gave_up 3 server "*client 4 did not take all of 'random': "
    gave_up 4 server "*client 4 did not take all of 'random': "
    gave_up 5 client "client: the server did not finish, 'w5/got' is untouched: "
    gave_up 6 client "client: the server did not finish, 'kept' is untouched: "
    gave_up 7 server "*client 4 did not acknowledge the file, it said 'I*': "
    gave_up 8 client 'client: cannot connect to 127.0.0.1 port *: '
    check 'what was there is still there' is "$(cat kept)" old
}

# ---- What cannot be seen from outside -----------------------------------------------------------------------------

# The calls of the programs in their order, as tests/faults/faults.h notes them; and what becomes of some failures, beside
# what make torture, which makes every call fail, can know about all of them.
test_order() {
    make_hole large 65
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
    echo old >kept
    chmod 604 kept
    run "$server" -p 0 text @ "$client_faults" -p PORT kept
    check 'client: its permissions are flushed, too' is "$(sequence fchmod fsync rename)" 'fchmod fsync rename fsync '
    flushes=$(grep -c '^call fsync' book)
    rm book
    run "$server_faults" -p 0 text @ "$peer" connect PORT eof sh 'sleep 0.5' put "$thanks" close
    run "$peer" listen sh 'sleep 0.5' send text fin get 30 @ "$client_faults" -p PORT p/got
    check 'nobody spins while he waits' less "$(grep -c -e '^call read-socket' -e '^call recv' book)" 40

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
    run sh -c 'echo $$ >pid; FAULT="accept 1 EPERM-forever" exec "$@"' - "$server_faults" -k -p 0 text @ \
        sh -c '"$0" -t 2 -p "$1" p/got; status=$?; kill $(cat pid); exit $status' "$client" PORT
    check 'accept may fail for ever, and -k does not spin' both 143 1
    run "$peer" listen put abc says p/client.out Recving reset @ env FAULT='unlink 1 EIO' "$client_faults" -p PORT p/got
    check 'a temporary file that cannot be removed' said client "client: the server did not finish, *
client: cannot remove '.client-*' beside 'p/got': $(why EIO)"
    run "$peer" listen send text fin get 30 @ env FAULT='recv 1 ETIMEDOUT' "$client_faults" -t 0 -p PORT p/got
    check 'a time-out that is not ours' said client "client: the server did not finish, * $(why ETIMEDOUT)"
    for fault in 'poll 1 EINTR' 'poll 2 EINTR' 'read-pipe 1 EAGAIN'; do
        rm -f book
        run sh -c 'cat text | FAULT=$0 "$1" -p 0 -' "$fault" "$server_faults" @ "$client" -p PORT p/got
        check "a pipe, $fault" arrived text
        check "a pipe, $fault: it happened" grep -q '^failed' book
    done
    rm -f book
    run "$server" -p 0 text @ sh -c 'FAULT="write-pipe 1 EAGAIN" "$client_faults" -p $0 - | cat >p/got' PORT
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

# Sends text to a client of which the call $1 fails and which has the arguments that follow. The file kept holds "old".
with_fault() {
    fault=$1
    shift
    echo old >kept
    run "$server" -p 0 text @ env FAULT="$fault" "$client_faults" -p PORT "$@"
}

# Prints those of the calls in the book that are among the words, in their order; the same one again is not printed.
sequence() {
    awk -v wanted=" $* " '$1 == "call" && index(wanted, " " $2 " ") && $2 != last { printf "%s ", $2; last = $2 }' book
}

# ---- Programs of their own, which see for themselves what is right -------------------------------------------------

# What is said about TCP, tried out.
test_claims() { exec "$root/tests/lesson/claims"; }

# Every call that may fail is made to fail, and before every call the programs are ended by a signal.
test_torture() { # early long
    [ -n "$LONG" ] || set -- -n 450 # there are about 400 kinds of failure, and each comes once
    exec "$root/tests/faults/torture" -j 12 "$@" -s "$SEED" "$server_faults" "$client_faults"
}

# A network that loses, delays, doubles, reorders and damages packets, and a cable that is cut.
test_network() { # early long
    exec sh "$root/tests/tools/network.sh"
}

# ---- The run ------------------------------------------------------------------------------------------------------

# Prints the names of the sections, in the order of the files, but for those that the sed commands $1 delete.
sections() {
    for more in run $(printf "sections/%s " $files); do
        sed -n "/^test_/!d; $1; s/() .*//; s/^test_//p" "$root/tests/$more.sh"
    done
}

if [ "${1-}" != -s ]; then
    if [ $# -gt 0 ]; then
        :
    elif [ -n "$LONG" ]; then
        # shellcheck disable=SC2046 # words, here and below
        set -- $(sections '/ # .*long$/!d')
    else
        # shellcheck disable=SC2046
        set -- $(sections '/ # early/!d') $(sections '/ # early/d')
    fi
    echo "SEED=$SEED repeats what is left to chance"
    # Nobody reads standard input, and if it is closed, no section shall find something else there.
    echo "$@";    exec </dev/null "$root/tests/tools/run_sections" -j "${LANES-3}" -t "$([ -n "$LONG" ] && echo 0 || echo 600)" \
        "$root/tests/run.sh" "$@"
fi

section=$2
printf 'a line\nand one without an end' >text
"test_$section"
[ $((passed + failed + skipped)) -gt 0 ] || exit 2 # there is no such section, or it does nothing
if [ $skipped -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ $failed = 0 ]
