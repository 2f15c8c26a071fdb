#!/bin/sh
# run.sh - tests the pair: sends files of many kinds and compares what arrives. Run by `make test`.
#
#     sh tests/run.sh              every section
#     sh tests/run.sh wire files   only these
#
# QUICK=1 leaves out the file of more than 4 GiB. Prints what failed and what was skipped, a line for each section, and at
# the end `N passed, N failed`. Ports are the kernel's choice, and everything happens in a directory of its own.
# shellcheck disable=SC2016 # what stands in single quotes is for the inner shell
set -u
export LC_ALL=C

root=$(cd "$(dirname "$0")/.." && pwd)
server=$root/server client=$root/client pair=$root/tests/pair peer=$root/tests/peer
work=$(mktemp -d "${TMPDIR:-/tmp}/half-close.XXXXXX") || exit 1
trap 'cd / && rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
passed=0 failed=0 skipped=0
thanks='I have recv the data,Thank you'

# ---- Helpers ------------------------------------------------------------------------------------------------------

# Counts a test named $1 as passed if the command that follows succeeds. Otherwise shows what the last pair said.
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
    for f in server client; do
        [ ! -f p/$f.out ] || sed "s/^/    $f: /" p/$f.out p/$f.err
    done
}

skip() {
    skipped=$((skipped + 1))
    echo "skipped: $section: $1"
}

# Runs a server and a client; see tests/pair.c. Sets s and c to their statuses.
run() {
    rm -rf p && mkdir p
    "$pair" p "$@" || echo "the pair did not end by itself"
    s=$(cat p/server.status) c=$(cat p/client.status)
}

# Runs one program alone. Sets status; its output is in out and err.
alone() {
    rm -rf p
    "$@" >out 2>err
    status=$?
}

# Runs a command as somebody who is not root: as the user nobody if we are root.
as_nobody() {
    if [ "$(id -u)" = 0 ]; then
        su nobody -s /bin/sh -c 'exec "$0" "$@"' -- "$@"
    else
        "$@"
    fi
}

same() { cmp "$1" "$2"; }
is() { [ "$1" = "$2" ] || { echo "'$1' instead of '$2'"; false; }; }
both() { is "server $s, client $c" "server $1, client $2"; }

# The program that ran alone ended with status $1, and its standard error matches the shell pattern $2: one line, or with status
# 2 the synopsis too.
fails_with() {
    is "$status" "$1" || return
    # shellcheck disable=SC2254 # a pattern
    case $(cat err) in
        $2) ;;
        *) echo "it said: $(cat err)"; return 1 ;;
    esac
    [ "$1" = 2 ] || is "$(wc -l <err | tr -d ' ')" 1
}

# The standard error of $1 (server or client) matches the shell pattern $2.
said() {
    # shellcheck disable=SC2254 # a pattern
    case $(cat p/"$1".err) in
        $2) ;;
        *) echo "$1 said: $(cat p/"$1".err)"; return 1 ;;
    esac
}

# No file is left beside the destination that a client received in the directory $1.
clean() { is "$(find "$1" -name '.client-*' | wc -l | tr -d ' ')" 0; }

# Makes the file $1 of $2 bytes that look random and are the same in every run.
make_file() {
    awk -v n="$2" 'BEGIN { x = 42; for (i = 0; i < n / 8 + 1; i++) { x = (x * 16807) % 2147483647; printf "%08x", x } }' |
        head -c "$2" >"$1"
}

# Sends $1 with -b $2 and receives with -b $3.
crosses() {
    run "$server" -p 0 -b "$2" "$1" @ "$client" -p PORT -b "$3" got
    check "$1 with -b $2 and $3" both 0 0
    check "$1 with -b $2 and $3 is the same" same "$1" got
    rm -f got
}

# ---- Sections -----------------------------------------------------------------------------------------------------

# Files of every kind and size arrive as they were.
files() {
    awk 'BEGIN { for (i = 0; i < 256; i++) printf "\\%03o", i }' >octal
    # shellcheck disable=SC2059 # the format is the data
    printf "$(cat octal)" >bytes
    check 'all 256 byte values' is "$(wc -c <bytes | tr -d ' ')" 256
    printf 'a line\nand one without an end' >text
    make_file random 1100000
    for b in 1 1025 4096 65536 1M 0; do
        crosses bytes $b $b
        crosses text $b $b
    done
    for size in 0 1 1024 1025 1026 2303 2304 2305 4607 4608 4609 9217 65535 65536 65537 131072 131073 262144 1048577; do
        head -c $size random >file-$size
        for b in 1025 8192 64K 0; do
            crosses file-$size $b $b
        done
        rm file-$size
    done
    head -c 200001 random >uneven
    for sb in 1 1025 2305 65536 4M 0; do
        for cb in 1 1025 2305 65536 4M 0; do
            crosses uneven $sb $cb
        done
    done
    make_file block 1048576
    for _ in 1 2 3 4 5 6 7 8; do cat block block block block block block block block; done >large
    # Not a small send buffer and a large receive buffer: every few kB would wait for a delayed acknowledgement of TCP.
    for b in '1025 1025' '0 1025' '64K 1M' '1M 64K' '0 0'; do
        # shellcheck disable=SC2086 # two words
        crosses large $b
    done
    rm -f large block
}

# More than 4 GiB, most of it a hole, and no disk needed to receive it.
huge() {
    if [ -n "${QUICK-}" ]; then
        skip 'a file of more than 4 GiB (QUICK is set)'
        return
    fi
    dd if=/dev/null of=huge bs=1048576 seek=4097 2>/dev/null
    echo 'the end' >>huge
    if [ "$(du -k huge | cut -f1)" -gt 1024 ]; then
        skip 'a file of more than 4 GiB (no sparse files here)'
        rm -f huge
        return
    fi
    run "$server" -b 0 -p 0 huge @ sh -c '"$0" -b 0 -p "$1" - | cmp - huge' "$client" PORT
    check 'a file of more than 4 GiB' both 0 0
    rm -f huge
}

# The transcripts are what they promise to be, and standard error stays silent.
transcripts() {
    sizes=$("$peer" sizes 1025)
    run "$server" -p 0 text @ "$client" -p PORT
    check 'both succeed' both 0 0
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
        sed -n 's/^Send buffer length ：[0-9][0-9]*$/number/; s/^Recv buffer length ：[0-9][0-9]*$/number/; 1,2p' \
            p/$side.out >first
        check "$side: the first report" is "$(cat first)" 'number
number'
        sed '1,2d; s/Port [0-9]*$/Port N/' p/$side.out >rest
        check "$side: the rest" diff expected.$side rest
    done
    check 'the server names its port on standard error and nothing else' is "$(sed 's/[0-9]*$/N/' p/server.err)" \
        'server: listening on 127.0.0.1 port N'
    check 'the client has nothing to say there' is "$(cat p/client.err)" ''
    if [ -r /proc/sys/net/ipv4/tcp_wmem ]; then
        check 'the defaults are those of the kernel' is "$(sed -n '1,2s/.*：//p' p/server.out | tr '\n' ' ')" \
            "$(cut -f2 /proc/sys/net/ipv4/tcp_wmem) $(cut -f2 /proc/sys/net/ipv4/tcp_rmem) "
    else
        skip 'the defaults of the kernel (no /proc/sys)'
    fi
    run "$server" -b 0 -p 0 text @ "$client" -b 0 -p PORT
    check '-b 0: the third line' is "$(sed -n 3p p/server.out)$(sed -n 3p p/client.out)" \
        'Buffer length left to the kernelBuffer length left to the kernel'
    run "$server" -p 0 text @ "$client" -p PORT -
    check '-: the file alone on standard output' same text p/client.out
    check '-: the transcript on standard error' is "$(tail -n 1 p/client.err)" 'Client close'
    check '-: and all of it' is "$(wc -l <p/client.err | tr -d ' ')" 11
}

# The second report is what the kernel made of the size asked for.
buffers() {
    for b in 1 1025 1152 1153 2304 2305 4608 8192 64K 1M 100M 2147483647; do
        bytes=$(($(echo $b | sed 's/K/*1024/; s/M/*1048576/')))
        alone "$peer" hold "$client" -b $b -p PORT
        got=$(sed -n '4,5s/.*：//p' out | tr '\n' ' ')
        check "-b $b is what getsockopt says" is "$got" "$("$peer" sizes $bytes) "
        [ $b != 1 ] || floors=$got
        if [ -r /proc/sys/net/core/wmem_max ]; then
            expected=
            for side in 'w 1' 'r 2'; do
                cap=$(cat /proc/sys/net/core/"${side% *}"mem_max)
                floor=$(echo "$floors" | cut -d ' ' -f "${side#* }")
                size=$((bytes < cap ? 2 * bytes : 2 * cap))
                expected="$expected$((size < floor ? floor : size)) "
            done
            check "-b $b follows the rule: capped, doubled, no less than the floor" is "$got" "$expected"
        fi
    done
    [ -r /proc/sys/net/core/wmem_max ] || skip 'the rule for the sizes of buffers (not Linux)'
}

# The options, one by one.
options() {
    run "$server" -p 0 -a localhost text @ "$client" -p PORT -a localhost got
    check '-a with a name' both 0 0
    check '-a with a name: the file' same text got
    check '-a with a name: one report' is "$(grep -c 'both set' p/client.out)" 1
    run "$server" -p 0 -a ::1 text @ "$client" -p PORT -a ::1 got6
    case $(cat p/server.err) in
        *'cannot listen'*) skip 'IPv6 (not on this machine)' ;;
        *)
            check '-a ::1' both 0 0
            check '-a ::1: the file' same text got6
            check '-a ::1: the address is shown' grep -q 'IP ::1 , Port' p/server.out
            if grep -q '^::1.*[[:space:]]localhost' /etc/hosts && grep -q '^127.*[[:space:]]localhost' /etc/hosts; then
                for a in ::1 127.0.0.1; do
                    run "$server" -p 0 -a $a text @ "$client" -p PORT -a localhost got
                    check "a name with two addresses, of which only $a answers" both 0 0
                done
            else
                skip 'a name with two addresses (localhost has one here)'
            fi
            ;;
    esac
    for program in "$server" "$client"; do
        alone "$program" -h
        check "$program -h" is "$status, $(wc -l <err | tr -d ' ')" '0, 0'
        for option in a b h p t; do
            check "$program -h tells of -$option" grep -q "^  -$option" out
        done
    done
    printf 'odd name\n' >-p
    run "$server" -p 0 -- -p @ "$client" -p PORT -- -t
    check '-- ends the options' both 0 0
    check '-- ends the options: the file' same ./-p ./-t
    began=$(date +%s)
    run "$server" -p 0 text @ "$client" -d 2 -p PORT got
    check '-d: the server waits' both 0 0
    check '-d: for so long' [ $(($(date +%s) - began)) -ge 2 ]
    run "$server" -p 0 -t 1 text @ "$client" -d 3 -p PORT got
    check '-d longer than the server has patience' both 1 0
    check '-d longer: the server says why' said server '*client 4 did not acknowledge the file*timed out (-t 1)'
    check '-d longer: the client warns or not, but the file is there' same text got
    alone "$server" -p 0 -t 1 text
    case $(cat err) in
        *'no client came: '*'(-t 1)') check '-t: nobody connects' is "$status" 1 ;;
        *) check '-t: nobody connects' false ;;
    esac
    # Someone else may take the port in the moment between: then another one is tried.
    for _ in 1 2 3; do
        run "$server" -p 0 text @ "$client" -p PORT got
        port=$(sed -n 's/.* port //p' p/server.err)
        alone "$server" -p "$port" -t 1 text
        grep -q 'no client came' err && break
    done
    check 'a server listens where one has just been' grep -q 'no client came' err
    run "$server" -p 0 -t 0 text @ "$client" -t 0 -p PORT got
    check '-t 0' both 0 0
}

# Bad input gets one clear line and does no harm.
bad_input() {
    echo precious >log.txt
    alone "$server" -p 0 no-such-file
    check 'no such file' fails_with 1 "server: cannot send 'no-such-file': No such file or directory"
    alone "$server" -p 0 .
    check 'a directory to send' fails_with 1 "server: cannot send '.': Is a directory"
    alone "$server" -p 0 ''
    check 'an empty name' fails_with 1 "server: cannot send '': No such file or directory"
    run "$server" -p 0 text @ sh -c '"$0" -p "$2" text; echo $? >second; exec "$1" -p "$2" got' "$server" "$client" PORT
    check 'a port that is taken: the first goes on' both 0 0
    check 'a port that is taken' said client 'server: cannot listen on 127.0.0.1 port [0-9]*: Address already in use *'
    check 'a port that is taken: status' is "$(cat second)" 1
    alone "$peer" hold "$client" -p PORT
    check 'no server' fails_with 1 'client: cannot connect to 127.0.0.1 port [0-9]*: Connection refused (start ./server first)'
    # A label of 64 characters is no name: this is refused without a question to anyone.
    long=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    alone "$client" -a $long -p 1
    check 'a name that does not resolve' fails_with 1 "client: cannot look up '$long': *"
    alone "$server" -a $long -p 0 text
    check 'the same for the server' fails_with 1 "server: cannot look up '$long': *"
    alone "$client" no/such/place
    check 'no such directory' fails_with 1 "client: cannot write 'no/such/place': * No such file or directory"
    alone "$client" text/file
    check 'a file as a directory' fails_with 1 "client: cannot write 'text/file': Not a directory"
    alone "$client" .
    check 'a directory to receive into' fails_with 1 "client: cannot write '.': Is a directory"
    ln -s loop loop
    alone "$client" loop
    check 'a symbolic link that goes round' fails_with 1 "client: cannot write 'loop': Too many *"
    alone "$client" ''
    check 'an empty name to receive into' fails_with 1 "client: cannot write '': No such file or directory"
    alone "$client" $long$long$long$long
    check 'a name that is too long' fails_with 1 "client: cannot write '$long*': File name too long"
    chmod 755 .
    if [ "$(id -u)" != 0 ] || as_nobody "$server" -h >/dev/null 2>&1; then
        mkdir -p closed && echo secret >secret && chmod 0 secret && echo kept >kept && chmod 444 kept && chmod 555 closed
        alone as_nobody "$server" -p 0 secret
        check 'a file that may not be read' fails_with 1 "server: cannot send 'secret': Permission denied"
        alone as_nobody "$client" closed/file
        check 'a directory that may not be written' fails_with 1 "client: cannot write 'closed/file': *Permission denied"
        alone as_nobody "$client" kept
        check 'a file that may not be written' fails_with 1 "client: cannot write 'kept': Permission denied"
        chmod 755 closed
    else
        skip 'what is not permitted (root may do everything, and nobody cannot run our programs)'
    fi
    for wrong in '-p 70000' '-p 8o8o' '-p -1' '-p +1' '-p 0x50' '-b -1' '-b 3G' '-b 2G' '-b K' '-b 1KK' '-b 4096M' \
        '-b 2147483648' '-b 99999999999999999999' '-t 1.5' '-t 99999999' '-t 1K'; do
        for program in server client; do
            # shellcheck disable=SC2086 # an option and its value
            alone "$root/$program" $wrong
            check "$program $wrong" fails_with 2 "$program: ${wrong% *}: '${wrong#* }' is not a number*usage: $program *"
        done
    done
    for program in server client; do
        for option in a b p t; do
            alone "$root/$program" -$option
            check "$program -$option without its value" fails_with 2 "$program: option -$option needs a value*usage: *"
        done
        for option in b p t; do
            alone "$root/$program" -$option ''
            check "$program -$option ''" fails_with 2 "$program: -$option: '' is not a number*usage: *"
            alone "$root/$program" -$option ' 1'
            check "$program -$option ' 1'" fails_with 2 "$program: -$option: ' 1' is not a number*usage: *"
        done
        alone "$root/$program" one two
        check "$program with two files" fails_with 2 "$program: *'two'*usage: $program *"
        alone "$root/$program" -x
        check "$program -x" fails_with 2 "$program: there is no option -x*usage: $program *"
    done
    alone "$client" -d x
    check 'client -d x' fails_with 2 "client: -d: 'x' is not a number*usage: client *"
    alone "$server" -d 1
    check 'server -d' fails_with 2 'server: there is no option -d*usage: server *'
    check 'nothing was harmed' is "$(cat log.txt)" precious
    check 'nothing was left' clean .
    rm -f log.txt
}

# What can be sent.
sources() {
    make_file random 300000
    # shellcheck disable=SC2002 # a pipe is what this is about
    cat random | run "$server" -p 0 /dev/stdin @ "$client" -p PORT got
    # The function ran in the pipe's subshell: its s and c are in the files.
    s=$(cat p/server.status) c=$(cat p/client.status)
    check 'a pipe' both 0 0
    check 'a pipe: the file' same random got
    mkfifo fifo
    cat random >fifo &
    run "$server" -p 0 fifo @ "$client" -p PORT got
    wait $!
    check 'a FIFO' both 0 0
    check 'a FIFO: the file' same random got
    run "$server" -p 0 fifo @ "$client" -p PORT got &
    launched=$!
    until grep -q '^Start to send' p/server.out 2>/dev/null; do
        kill -0 $launched 2>/dev/null || break
    done
    cat random >fifo
    wait $launched
    s=$(cat p/server.status) c=$(cat p/client.status)
    check 'a FIFO whose writer comes late' both 0 0
    check 'a FIFO whose writer comes late: the file' same random got
    run "$server" -p 0 fifo @ "$peer" connect PORT reset
    check 'a FIFO without a writer, and the client leaves' both 1 0
    check 'a FIFO without a writer: the message' said server "*client 4 left before the end of 'fifo'*"
    : | run "$server" -p 0 /dev/stdin @ "$client" -p PORT got
    s=$(cat p/server.status) c=$(cat p/client.status)
    check 'an empty pipe' both 0 0
    check 'an empty pipe: the file' same /dev/null got
    run "$server" -p 0 /dev/null @ "$client" -p PORT got
    check '/dev/null' both 0 0
    if [ -r /proc/version ]; then
        run "$server" -p 0 /proc/version @ "$client" -p PORT got
        check 'a file of /proc, of length 0 and not empty' same /proc/version got
    else
        skip 'a file of /proc'
    fi
    ln -s random link
    run "$server" -p 0 link @ "$client" -p PORT got
    check 'a symbolic link' same random got
    # The peer's window is full long before the end: the server is still at it when the file changes.
    make_file grows 9000000
    cp grows shrinks
    cp grows before
    echo old >got
    run "$server" -p 0 grows @ "$peer" connect PORT get 1 sh 'echo more >>grows' into got put "$thanks"
    check 'a file that grows' both 0 0
    tail -c +2 before >rest
    check 'a file that grows: sent as long as it was' same rest got
    run "$server" -p 0 shrinks @ "$peer" connect PORT get 1 sh ': >shrinks' into got
    check 'a file that shrinks: the client sees a reset' both 1 1
    check 'a file that shrinks: the message' said server "*'shrinks' is shorter than it was: *"
    run "$server" -p 0 shrinks @ sh -c 'rm shrinks; exec "$0" -p "$1" got' "$client" PORT
    check 'a file that is gone by the time there is a client' both 1 1
    check 'a file that is gone: the message' said server "*cannot open 'shrinks': No such file*"
    rm -f grows shrinks before
}

# Where it can be put.
destinations() {
    make_file random 100000
    mkdir -p there
    echo old >there/target
    ln -sf there/target link
    ln -sf link chain
    run "$server" -p 0 random @ "$client" -p PORT chain
    check 'a symbolic link to a symbolic link' both 0 0
    check 'a symbolic link: its target' same random there/target
    check 'a symbolic link: it still is one' test -L chain -a -L link
    ln -sf there/new dangling
    run "$server" -p 0 random @ "$client" -p PORT dangling
    check 'a symbolic link to nothing yet' same random there/new
    check 'a symbolic link to nothing yet: it still is one' test -L dangling
    run "$server" -p 0 random @ "$client" -p PORT "$work/there/absolute"
    check 'an absolute name' same random there/absolute
    (umask 027 && run "$server" -p 0 random @ "$client" -p PORT there/fresh)
    check 'a new file has the permissions that umask leaves' is "$(find there/fresh -perm 640)" there/fresh
    echo old >there/modes && chmod 604 there/modes
    run "$server" -p 0 random @ "$client" -p PORT there/modes
    check 'a replaced file keeps its permissions' is "$(find there/modes -perm 604)" there/modes
    run "$server" -p 0 random @ "$client" -p PORT /dev/null
    check '/dev/null' both 0 0
    check '/dev/null is still a device' test -c /dev/null
    mkfifo pipe
    cat pipe >got &
    run "$server" -p 0 random @ "$client" -p PORT pipe
    wait $!
    check 'a FIFO' both 0 0
    check 'a FIFO: the data' same random got
    check 'a FIFO is still one' test -p pipe
    run "$server" -p 0 random @ sh -c '"$0" -p "$1" /dev/stderr 2>&1 >/dev/null | cat >got' "$client" PORT
    check '/dev/stderr, a pipe' same random got
    run "$server" -p 0 random @ sh -c '"$0" -p "$1" - | cat >got' "$client" PORT
    check '- into a pipe' same random got
    run "$server" -p 0 random @ sh -c '"$0" -p "$1" /dev/stdout | cat >got' "$client" PORT
    check '/dev/stdout, a pipe: nothing but the file' same random got
    run "$server" -p 0 random @ sh -c 'exec "$0" -p "$1" /dev/stdout >there/stdout' "$client" PORT
    check '/dev/stdout, a file: nothing but the file' same random there/stdout
    check 'nothing is left' clean .
}

# The bytes on the wire, and their order, with other ends than ours.
wire() {
    make_file random 50000
    echo old >got
    run "$server" -p 0 random @ "$peer" connect PORT into got put "$thanks" pad 995 close
    check 'a client that pads its reply to 1025 bytes' both 0 0
    check 'a client that pads its reply: the file' same random got
    run "$peer" listen send random fin get 1025 close @ "$client" -p PORT got
    check 'a server that sends pieces of 1025 bytes' both 0 0
    check 'a server that sends pieces of 1025 bytes: the file' same random got
    run "$peer" listen send random fin into reply @ "$client" -p PORT got
    printf %s "$thanks" >expected
    check 'our reply is 30 bytes and an end-of-file' both 0 0
    check 'our reply is these 30 bytes' same expected reply
    run "$peer" listen send random quiet 200 fin into reply @ "$client" -p PORT got
    check 'the client replies only after the end-of-file' both 0 0
    check 'the client replies only after the end-of-file: all of it' same expected reply
    # Half a second of silence: a server that does not wait would be gone, and the reply would be met with a reset.
    run "$server" -p 0 random @ "$peer" connect PORT into got quiet 500 put "$thanks" close
    check 'the server closes only after the reply' is "$s" 0
    check 'the server says what it was told' grep -q "^4：$thanks\$" p/server.out
    run "$server" -p 0 random @ "$peer" connect PORT into got put "$thanks" pad 30000 quiet 500 close
    check 'the server does not answer with a reset what comes after the acknowledgement' both 0 0
    run "$server" -p 0 random @ "$peer" connect PORT into got drip 0 "$thanks" close
    check 'a reply in 30 pieces' both 0 0
    case $(nc -h 2>&1) in
        *-N*) ;;
        *)
            skip 'nc (not installed, or without -N)'
            return
            ;;
    esac
    run "$server" -p 0 random @ sh -c 'echo "$1" | nc 127.0.0.1 "$0" >got' PORT "$thanks"
    check 'nc as the client' is "$s" 0
    check 'nc as the client: the file' same random got
    # nc does not let the kernel choose: it is given a port that was free a moment ago, and another if it no longer is.
    for _ in 1 2 3 4 5; do
        port=$("$peer" hold sh -c 'echo "$0"' PORT)
        nc -N -l 127.0.0.1 "$port" <random >reply 2>nc.err &
        nc=$!
        until alone "$client" -t 5 -p "$port" got && [ "$status" = 0 ]; do
            kill -0 $nc 2>/dev/null || break # it is not there yet, or it never will be
        done
        wait $nc && break
    done
    check 'nc as the server' is "$status" 0
    check 'nc as the server: the file' same random got
    check 'nc as the server: the reply' same expected reply
}

# The client ended with status 1, said what $1 matches, and left what was there before.
kept() { is "$c" 1 && said client "$1" && is "$(cat got)" old && clean .; }

# Nothing in the file $1 could command a terminal: the only bytes that are not ASCII are those of the colon.
printable() {
    if sed 's/：/:/g' "$1" | grep -q '[^ -~]'; then
        echo "$1 has bytes that are not printable"
        return 1
    fi
}

# Peers that are broken or mean us harm: each run ends in time, with the right status and a clear message.
hostile() {
    make_file random 9000000 # more than all buffers hold, so that the server has to wait for whoever does not read
    head -c 5000 random >small
    run "$server" -t 1 -p 0 small @ "$peer" connect PORT eof stay
    check 'a client that says nothing' is "$s" 1
    check 'a client that says nothing: the message' said server '*client 4 did not acknowledge the file*(-t 1)'
    run "$server" -t 1 -p 0 random @ "$peer" connect PORT stay
    check 'a client that reads nothing' is "$s" 1
    check 'a client that reads nothing: the message' said server "*client 4 did not take all of 'random'*(-t 1)"
    run "$server" -t 5 -p 0 random @ "$peer" connect PORT get 1 reset
    check 'a client that reads one byte and resets' is "$s" 1
    check 'a client that resets: the message' said server "*client 4 did not take all of 'random'*"
    run "$server" -t 5 -p 0 small @ "$peer" connect PORT fin into got
    check 'a client that half-closes at once' is "$s" 1
    check 'a client that half-closes at once: the message' said server '*client 4 did not acknowledge the file'
    check 'a client that half-closes at once still gets the file, and a reset at the end or not' cmp -n 4000 small got
    run "$server" -t 5 -p 0 random @ "$peer" connect PORT put "$thanks" into got
    check 'a client that replies first and reads then' both 0 0
    check 'a client that replies first and reads then: the file' same random got
    run "$server" -t 1 -p 0 random @ "$peer" connect PORT put "$thanks" stay
    check 'a client that replies and never reads' is "$s" 1
    run "$server" -t 5 -p 0 small @ "$peer" connect PORT eof put 'I have recv the data, thank you' close
    check 'the wrong text' is "$s" 1
    check 'the wrong text is shown' said server "*it said 'I have recv the data, thank you'"
    run "$server" -t 5 -p 0 small @ "$peer" connect PORT eof put 'I have recv' close
    check 'half of the right text' is "$s" 1
    check 'half of the right text is shown' said server "*it said 'I have recv'"
    # In 20 MB of memory, where the build allows that (not with the address sanitizer).
    limit='ulimit -v 20000;'
    sh -c "$limit"' exec "$0" -h' "$server" >/dev/null 2>&1 || limit=
    run sh -c "$limit"' exec "$0" -t 5 -p 0 small' "$server" @ "$peer" connect PORT eof put "$thanks" flood 104857600 close
    check 'the right text and 100 MiB more' is "$s" 0
    run sh -c "$limit"' exec "$0" -t 5 -p 0 small' "$server" @ "$peer" connect PORT eof flood 104857600
    check '100 MiB of the wrong text' is "$s" 1
    check '100 MiB of the wrong text: what is shown is bounded' test "$(wc -c <p/server.err)" -lt 1300
    run "$server" -t 5 -p 0 small @ "$peer" connect PORT flood 104857600 stay
    check 'a client that speaks and does not listen' is "$s" 1
    run "$server" -t 5 -p 0 small @ "$peer" connect PORT eof \
        put '\x1b[2J\x1b]0;title\x07 \x00\x00\x01\x7f\x80\xff\x9b31m \\ and more than thirty bytes' close
    check 'control sequences, NUL, bytes over 127' is "$s" 1
    check 'they are shown escaped' said server '*it said '\''\\x1b\[2J\\x1b\]0;title\\x07 \\x00\\x00\\x01\\x7f\\x80\\xff\\x9b31m \\x5c*'
    check 'nothing of it reaches the terminal' printable p/server.err
    check 'nor in the transcript' printable p/server.out

    for b in 1025 0; do
        echo old >got
        run "$peer" listen send random reset @ "$client" -b $b -t 5 -p PORT got
        check "-b $b: a server that resets" kept 'client: the server did not finish, '\''got'\'' is untouched: Connection reset*'
        run "$peer" listen send small stay @ "$client" -b $b -t 1 -p PORT got
        check "-b $b: a server that stalls half-way" kept 'client: the server did not finish, *timed out (-t 1)'
    done
    run "$peer" listen stay @ "$client" -t 1 -p PORT got
    check 'a server that sends nothing' kept 'client: the server did not finish, *timed out (-t 1)'
    run "$peer" listen reset @ "$client" -t 5 -p PORT got
    check 'a server that resets at once' kept 'client: *: Connection reset by peer'
    run "$peer" listen close @ "$client" -t 5 -p PORT got
    check 'a server that closes at once has sent an empty file: nothing on the wire tells otherwise' is "$c" 0
    check 'the empty file is there' same /dev/null got
    rm -f random small
}

# Full disks and closed doors. Whatever fails, no acknowledgement is sent for a file that is not in place.
doors() {
    make_file random 300000
    echo old >got
    run "$server" -t 5 -p 0 random @ sh -c 'ulimit -f 100; exec "$0" -p "$1" got' "$client" PORT
    check 'no space left' kept "client: cannot write 'got': File too large"
    check 'no space left: the server knows' is "$s" 1
    if [ -c /dev/full ]; then
        run "$server" -t 5 -p 0 random @ "$client" -p PORT /dev/full
        check 'a device that is full' both 1 1
        check 'a device that is full: the message' said client "client: cannot write '/dev/full': No space left on device"
        run "$server" -t 5 -p 0 random @ sh -c 'exec "$0" -p "$1" - >/dev/full' "$client" PORT
        check '- into what is full' both 1 1
        run sh -c 'exec "$0" -p 0 random >/dev/full' "$server" @ sh -c 'exec "$0" -p "$1" got >/dev/full' "$client" PORT
        check 'no space for the transcripts' both 0 0
        check 'no space for the transcripts: the file is there' same random got
        for side in server client; do
            check "no space for the transcripts: the $side says so once" is \
                "$(grep -c 'cannot write the transcript, going on without: No space left' p/$side.err)" 1
        done
        echo old >got
    else
        skip '/dev/full (not on this system)'
    fi
    mkdir -p goes
    run "$peer" listen send random sh 'rm -r goes' fin get 30 @ "$client" -t 5 -p PORT goes/got
    check 'the directory is gone before the end' is "$c" 1
    check 'the directory is gone: the message' said client "client: cannot rename 'goes/.client-*' to 'goes/got': No such file*"
    check 'the directory is gone: no acknowledgement' is "$s" 1
    for closed in '>&-' '<&-' '2>&-' '<&- >&-' '<&- >&- 2>&-'; do
        run "$server" -p 0 random @ sh -c "exec '$client' -p \$0 got $closed" PORT
        check "the client with $closed" both 0 0
        check "the client with $closed: the file" same random got
        run sh -c "exec '$server' -p 0 random ${closed%2>&-}" @ "$client" -p PORT got
        check "the server with ${closed%2>&-}" both 0 0
        check "the server with ${closed%2>&-}: the file" same random got
    done
    run "$server" -t 5 -p 0 random @ sh -c 'exec "$0" -p "$1" - >&-' "$client" PORT
    check '- when standard output is closed' both 1 1
    for n in 4 5 6 7 8; do # with 3 not even the C library would be found
        echo old >got
        run "$server" -t 1 -p 0 random @ sh -c "ulimit -n $n; exec '$client' -p \$0 got" PORT
        [ "$c" = 0 ] || check "the client with $n descriptors" kept 'client: *: Too many open files'
        check "the client with $n descriptors: both agree" is "$s" "$c"
        run sh -c "ulimit -n $n; exec '$server' -t 1 -p 0 random" @ "$client" -p PORT got
        case $s,$c in
            0,0) ;;
            1,none | 1,1) check "the server with $n descriptors" said server '*server: *: Too many open files' ;;
            *) check "the server with $n descriptors: both agree" is "$s" "$c" ;;
        esac
    done
    check 'with 8 descriptors all goes well' both 0 0
}

# The trace (-v) tells the story in order, with the states of TCP, and few lines even for a large file.
traces() {
    make_file random 3000000
    run "$server" -v -p 0 random @ "$client" -v -d 1 -p PORT got
    check '-v' both 0 0
    for side in server client; do
        grep "^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]\.[0-9]\{6\} $side [A-Z_0-9-]* *[^ ]" p/$side.err |
            sed 's/^[^ ]* *[^ ]* *//; s/  (send queue [0-9]*, receive queue [0-9]*)$//; s/[0-9][0-9.]*/N/g' >events
        check "$side: nothing but the trace" is "$(grep -vc 'listening on' p/$side.err)" "$(wc -l <events | tr -d ' ')"
        sed 's/^[A-Z_N-]* *//' events | grep -v -e '^the send buffer' -e '^there is room' >story
        check "$side: the events" diff - story <<END
$(if [ $side = server ]; then
            echo 'listening
accepted
first bytes: N
last bytes: N in all
half-close: FIN behind the last byte
waits for the answer, and can still hear it
acknowledgement received
end-of-file: the client has closed too
closed
total: N bytes in N s, N MB/s; waited N times for room, N s in all'
        else
            echo "connecting
connected
first bytes: N
last bytes: N in all
end-of-file: the server has closed its half
'got' is in place
acknowledgement sent
closed
total: N bytes in N s, N MB/s; waited N times for room, N s in all"
        fi)
END
        mv events events.$side
    done
    if grep -q LISTEN events.server; then
        check 'the server still hears in FIN_WAIT2' grep -q '^FIN_WAITN *waits for the answer' events.server
        check 'the client speaks in CLOSE_WAIT' grep -q '^CLOSE_WAIT *acknowledgement sent' events.client
        check 'the server was blocked, and says for how long' grep -q 'there is room again, after N microseconds' events.server
    else
        skip 'the states of TCP (this build cannot see them)'
    fi
}

# A slow transfer shows how far it is, on a terminal, and wipes it away at the end. Nowhere else.
progress() {
    make_file random 2000000
    # The peer reads a byte, pauses with its window full long enough for the line to appear, and reads on.
    run "$peer" terminal "$server" -p 0 random @ "$peer" connect PORT get 1 sh 'sleep 1' into got put "$thanks" close
    check 'the server on a terminal' both 0 0
    tr '\r' '\n' <p/server.err >lines
    check 'the server: bytes, rate, percent, time left' grep -q '^server: [0-9.]* MB, [0-9.]* MB/s, [0-9]* %, [0-9]* s left *$' lines
    check 'the server: gone at the end' is "$(tail -n 1 lines | tr -d ' ')" ''
    run "$peer" listen send random sh 'sleep 1' send random fin get 30 @ "$peer" terminal "$client" -p PORT got
    check 'the client on a terminal' both 0 0
    tr '\r' '\n' <p/client.err >lines
    check 'the client: bytes and rate' grep -q '^client: [0-9.]* MB, [0-9.]* MB/s *$' lines
    check 'the client: gone at the end' is "$(tail -n 1 lines | tr -d ' ')" ''
    run "$peer" listen send random sh 'sleep 1' send random fin get 30 @ "$client" -p PORT got
    check 'not into a file' is "$(cat p/client.err)" ''
    run "$peer" listen send random sh 'sleep 1' send random fin get 30 @ "$peer" terminal "$client" -v -p PORT got
    check 'not with -v' is "$(grep -c 'client: [0-9.]* MB' p/client.err)" 0
}

# $1 and what follows is a test program that ends with a line of counts: adds these to ours, and shows the rest.
tally() {
    "$@" >tally.out 2>&1
    add_counts tally.out
}

# The last line of the file $1 is `N passed, N failed` or `N passed, N failed, N skipped`. A program that died is a failure.
add_counts() {
    sed '$d' "$1"
    # shellcheck disable=SC2046 # words
    set -- "$1" $(tail -n 1 "$1" | tr -d ,)
    if [ "${3-} ${5-}" = 'passed failed' ]; then
        passed=$((passed + $2)) failed=$((failed + $4)) skipped=$((skipped + ${6:-0}))
    else
        tail -n 1 "$1"
        failed=$((failed + 1))
    fi
}

# What is said about TCP, tried out. One line each; `tests/claims` tells what was observed.
claims() { tally sh -c '"$0" >claims.out; grep -B 9 FAILS claims.out; tail -n 1 claims.out' "$root/tests/claims"; }

# Every call that may fail is made to fail. STEP=5 takes only each fifth.
torture() { tally "$root/tests/torture" -s "${STEP:-1}" "$root/tests/server-faults" "$root/tests/client-faults"; }

# Signals at random moments. RUNS and SEED are yours to set.
kills() { tally sh -c 'cd "$0" && exec tests/kill "$@"' "$root" -n "${RUNS:-120}" ${SEED:+-s "$SEED"}; }

# Many clients at once (-k), and every way to stop the server. CROWD and SEED are yours to set.
crowd() { tally "$root/tests/crowd" -n "${CROWD:-1000}" ${SEED:+-s "$SEED"} "$server" "$client"; }

# A signal that comes more than once, as from timeout(1), finds no moment in which it leaves the temporary file behind.
twice() {
    i=0
    while [ $i -lt 150 ]; do
        i=$((i + 1))
        run "$peer" listen send text stay @ sh -c '"$0" -p "$1" got >said & client=$!
            until grep -q Recving said || ! kill -0 $client; do :; done
            kill $client $client $client $client; wait $client' "$client" PORT
        if [ "$c" != 143 ] || ! clean .; then break; fi
    done
    check "SIGTERM again and again, $i times" is "$c" 143
    check 'SIGTERM again and again: nothing is left' clean .
    rm -f .client-*
}

# When there is no process to be had, server -k says so once, goes on, and serves the next client that comes in better times.
shortage() {
    other='setpriv --reuid 65534 --regid 65534 --clear-groups' # a user with few processes; root has no limit
    poor="$other prlimit --nproc=1:"
    if [ "$(id -u)" != 0 ] || ! $poor "$server" -h >/dev/null 2>&1; then
        skip 'too few processes (needs root, setpriv and prlimit)'
        return
    fi
    chmod 755 .
    rm -f got
    run sh -c 'echo $$ >pid; exec $0 "$1" -k -p 0 text' "$poor" "$server" @ sh -c '
        "$0" -t 1 -p "$1" got
        [ $? = 1 ] && [ ! -e got ] && $2 prlimit --pid "$(cat pid)" --nproc=4096: && "$0" -t 5 -p "$1" got
        status=$?
        kill "$(cat pid)"
        exit $status' "$client" PORT "$other"
    check 'no process for the first client, one for the second' both 0 0
    check 'no process: the file is there' same text got
    check 'no process: the server says so once' is "$(grep -c 'cannot serve another client just now: Resource' p/server.err)" 1
}

# A network that loses, delays, doubles, reorders and damages packets, and a cable that is cut.
network() { tally sh -c 'sh "$0" | grep -v "^ok"' "$root/tests/network.sh"; }

# No memory lost, none used before it was written, no descriptor left open: where all goes well and where it does not.
memory() {
    if ! valgrind --error-exitcode=9 "$server" -h >/dev/null 2>&1; then
        skip 'valgrind (not installed, or not with this build)'
        return
    fi
    head -c 300000 "$server" >random
    check_memory 'a transfer' "$server" -p 0 text @ "$client" -p PORT got
    check_memory 'large buffers' "$server" -b 0 -p 0 random @ "$client" -b 0 -p PORT got
    check_memory 'the trace' "$server" -v -p 0 text @ "$client" -v -p PORT got
    check_memory 'by name, to standard output' "$server" -a localhost -p 0 text @ "$client" -a localhost -p PORT -
    check_memory 'a client that leaves' "$server" -p 0 random @ "$peer" connect PORT get 1 reset
    check_memory 'a client that says something else' "$server" -p 0 text @ "$peer" connect PORT eof put nonsense close
    check_memory 'a server that breaks off' "$peer" listen send text reset @ "$client" -p PORT got
    check_memory 'no room' "$server" -t 5 -p 0 text @ "$client" -p PORT /dev/full
}

# Runs a pair like run, with each of our own programs under valgrind, which must have nothing to say.
check_memory() {
    name=$1
    shift
    rm -f valgrind.*
    for word in "$@"; do # before each of our programs, valgrind and its options
        shift
        case $word in
            "$server" | "$client")
                set -- "$@" valgrind --quiet --leak-check=full --track-fds=yes --log-file="$work/valgrind.%p"
                ;;
        esac
        set -- "$@" "$word"
    done
    run "$@"
    # A descriptor that one of our calls opened and nobody closed is followed by a line that says at which place.
    cat valgrind.* | sed 's/^==[0-9]*== *//' |
        grep -vE '^$|^FILE DESCRIPTORS|^Open file descriptor|^<inherited from parent>' >errors
    check "$name" is "$(cat errors)" ''
}

# shellcheck source=tests/promises.sh
. "$root/tests/promises.sh"

# ---- The run ------------------------------------------------------------------------------------------------------

printf 'a line\nand one without an end' >text
if [ $# -gt 0 ]; then
    for section in "$@"; do
        before=$((passed + failed))
        $section
        echo "$section: $((passed + failed - before)) checks"
    done
else # everything, in two halves at once
    cd "$root" || exit 1
    sh tests/run.sh files huge claims memory network crowd shortage >"$work/half" 2>&1 &
    half=$!
    trap 'kill $half; exit 1' HUP INT TERM
    sh tests/run.sh transcripts buffers options bad_input sources destinations wire hostile doors twice traces progress kills torture \
        >"$work/other" 2>&1
    wait $half
    add_counts "$work/other"
    add_counts "$work/half"
fi
if [ $skipped -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ $failed = 0 ]
