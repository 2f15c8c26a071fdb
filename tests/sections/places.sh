# places.sh - tests the pair on machines, disks and networks that are not as others are. Read by tests/run.sh, whose
# helpers it uses.
#
# What a machine with root and a dozen file systems would show is imitated by tests/faults/faults.h (PLACE and FAULT there), so
# that everybody sees it; what the kernel lets anybody do in a namespace of his own is done there.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # quotes are for inner shells; run.sh sets and uses the rest

# There is a directory to receive into, and its only file holds "old" and has the mode $1.
old_file() {
    rm -rf place && mkdir place && echo old >place/kept && chmod "$1" place/kept
}

# The client ended with status 1 before the server was bothered, and said $1; the file is still the old one.
refused() {
    is "$c $s" '1 none' && said client "$1" && is "$(cat place/kept)" old && clean place
}

# Runs a client that no server waits for. Sets c, and s to none.
client_alone() {
    mkdir -p p
    "$@" >p/client.out 2>p/client.err
    c=$? s=none p=p last='p/client.out p/client.err'
}

# Prints the number of the last call in the book that has the name $1.
last_call() { awk -v name="$1" '$1 == "call" && $2 == name { n = $3 } END { print n }' book; }

# ---- Disks and file systems ---------------------------------------------------------------------------------------

# A disk of 1 MB/s and one of 100: what a flush takes is never long, and on a fast disk there are few.
test_slow_disk() {
    make_hole large 65
    for rate in 1000000 100000000; do
        rm -f book
        run "$server" -b 0 -p 0 large @ env FAULT_BOOK="$work/book" PLACE=disk=$rate "$client_faults" -b 0 -p PORT p/got
        check "a disk of $rate bytes a second" arrived large
        sed -n 's/^flushed \([0-9]*\) bytes$/\1/p' book >flushes
        check "a disk of $rate bytes a second: nobody waits longer than two seconds for it" \
            awk -v rate=$rate '{ print; most = $1 > most ? $1 : most } END { exit !NR || most > 2 * rate }' flushes
    done
    check 'a fast disk is not flushed all the time' less "$(wc -l <flushes)" 20
    # As memory cards do it, and disks of virtual machines.
    rm -f book
    run "$server" -b 0 -p 0 large @ env FAULT_BOOK="$work/book" PLACE='disk=1000000 cache=34000000' \
        "$client_faults" -b 0 -p PORT p/got
    check 'a disk that is fast at first' arrived large
    check 'a disk that is fast at first: nobody waits longer than ten seconds for it later' is "$(
        sed -n 's/^flushed \([0-9]*\) bytes$/\1/p' book | awk '$1 > 10000000')" ''
}

# What a file system refuses to change although it is right is no reason to fail, and what it is counts.
test_refusals() {
    for error in EPERM ENOSYS; do
        old_file 600
        run "$server" -p 0 text @ env FAULT="fchmod 1 $error-forever,fchown 1 $error-forever" \
            "$client_faults" -p PORT place/kept
        check "$error to every chmod and chown" arrived text place/kept
        old_file 644
        run "$server" -p 0 text @ env FAULT="fchmod 1 $error-forever" "$client_faults" -p PORT place/kept
        check "$error to every chmod: narrower will do" arrived text place/kept
        old_file 644
        run "$server" -p 0 text @ env FAULT="fchown 1 $error-forever" "$client_faults" -p PORT place/kept
        check "$error to every chown" arrived text place/kept
        check "$error to every chown: the mode stays" is "$(find place -type f -perm 644)" place/kept
        old_file 755
        run "$server" -p 0 text @ env PLACE=world FAULT="fchmod 1 $error-forever" "$client_faults" -p PORT place/kept
        check "$error to chmod where all files have one mode" arrived text place/kept
        old_file 600
        run "$server" -p 0 text @ env PLACE=world FAULT="fchmod 1 $error-forever" "$client_faults" -p PORT place/kept
        check "$error to chmod where that lets others in" is "$s $c $(cat place/kept)" '1 1 old'
        check "$error to chmod where that lets others in: the message" \
            said client "client: cannot set the permissions of 'place/kept'*"
    done
    rm -f book
    run "$server" -p 0 text @ env FAULT_BOOK="$work/book" "$client_faults" -p PORT p/got
    for error in EBADF EINVAL ENOTSUP ENOSYS; do
        old_file 644
        rm -f flushed
        run "$server" -p 0 text @ env FAULT_BOOK="$work/flushed" FAULT="fsync $(last_call fsync) $error" \
            "$client_faults" -p PORT place/kept
        check "a directory that cannot be flushed, $error" arrived text place/kept
        ! shows_all || check "a directory that cannot be flushed, $error: all of it is" grep -q '^flushed all' flushed
        check "a directory that cannot be flushed, $error: no word about it" said client ''
    done
    if grep -q lgetxattr book; then
        old_file 664
        run "$server" -p 0 text @ env FAULT='lgetxattr 1 EIO' "$client_faults" -p PORT place/kept
        check 'a list that cannot be seen: only the owner stays' is "$s $c $(find place -perm 600)" '0 0 place/kept'
    fi
}

# What would fail at the rename is refused before there is a transfer, where that can be known; if not, it is said what
# to do.
test_rename() {
    old_file 644
    run "$server" -p 0 text @ env FAULT='rename 1 EBUSY' "$client_faults" -p PORT place/kept
    check 'a rename that fails' is "$s $c $(cat place/kept)" '1 1 old'
    check 'a rename that fails: the message' \
        said client "client: cannot put 'place/kept' in place: $(why EBUSY) (client - >FILE writes into it)"
    check 'a rename that fails: nothing is left' clean place
    user=--map-root-user
    [ "$(id -u)" != 0 ] || user=--mount
    if unshare --mount $user sh -c 'mount --bind place/kept place/kept' 2>/dev/null; then
        run "$server" -p 0 text @ unshare --mount $user sh -c \
            'mount --bind place/kept place/kept && exec "$client" -p $0 place/kept' PORT
        check 'a mount point' is "$s $c $(cat place/kept)" '1 1 old'
        check 'a mount point: the message' said client "*(client - >FILE writes into it)"
    else
        skip 'a destination that is a mount point (no mount namespaces)'
    fi
    client_alone env FAULT_BOOK="$work/book" "$client_faults" -p 1 place/kept
    if grep -q statx book; then
        client_alone env PLACE=grows "$client_faults" -p 1 place/kept
        check 'a directory that only grows' refused "client: cannot *'place/kept'*client - >FILE*"
    else
        skip 'a directory that only grows (this build does not ask)'
    fi
    # Only owners may remove what is there, and the file is not ours. The first is what somebody may have planted; so is
    # the second to a kernel that has set fs.protected_regular to 2, as on Debian.
    for mode in 1777 1775; do
        chmod $mode place
        client_alone env PLACE=foreign "$client_faults" -p 1 place/kept
        check "somebody else's file in a directory with $mode" refused "client: cannot *'place/kept', somebody else's *"
    done
    chmod 1777 place
    set -- "$tamper" as 65534 65534 "$client"
    if [ "$(id -u)" = 0 ] && "$@" -h >/dev/null 2>&1; then
        chmod 755 . && chmod 666 place/kept
        client_alone "$@" -p 1 place/kept
        check "root's file in a sticky directory" refused "client: cannot *'place/kept'*client - >FILE*"
    fi
    # A FIFO, and its reader waits for root's file.
    mkfifo place/fifo
    cat place/fifo >stolen &
    client_alone env PLACE=foreign "$client_faults" -p 1 place/fifo
    wait $!
    check 'a FIFO that somebody has planted' is "$c $(sed 's/: .*//' p/client.err)$(cat stolen)" '1 client'
    check 'a FIFO that somebody has planted: the reason' said client "client: cannot *'place/fifo', somebody else's *"
    # Who may write and search, but not read.
    mkdir box && chmod 733 box
    set -- "$tamper" as 65534 65534
    [ "$(id -u)" = 0 ] || { chmod 333 box && set -- env; }
    rm -f book && : >book && chmod 666 book
    if "$@" "$client_faults" -h >/dev/null 2>&1; then
        run "$server" -p 0 text @ "$@" env FAULT_BOOK="$work/book" "$client_faults" -p PORT box/got
        chmod 755 box
        check 'a directory that cannot be read' arrived text box/got
        check 'a directory that cannot be read: the file is flushed once more' matches \
            "$(sequence rename fsync)" '*rename fsync '
    else
        skip 'a directory that cannot be read (others cannot run our programs)'
    fi
}

# ---- Networks -----------------------------------------------------------------------------------------------------

# What is needed of a connection is set for the connection itself, and kept alive it is.
test_connection() {
    make_file random 3000000
    echo old >kept
    run sh -c 'echo $$ >pid; exec env PLACE=forgets "$0" -p 0 random' "$server_faults" @ \
        sh -c 'mkfifo go; (read -r _ <go; kill -9 $(cat pid)) & "$client" -p $0 kept & wait $!' PORT &
    launched=$!
    until [ -p go ] && grep -qs Recving p/client.out || ! kill -0 $launched 2>/dev/null; do sleep 0.05; done
    echo >go
    wait $launched
    look p
    check 'accept hands nothing on, and the server is killed' is "$s $c $(bytes kept)" '137 1 4'
    rm -f book
    run env FAULT_BOOK="$work/book" PLACE=forgets "$server_faults" -t 300 -p 0 text @ "$client" -p PORT p/got
    check 'accept hands nothing on' arrived text
    check 'the server: sizes, reset, keepalive' matches "$(grep options book) " \
        "options $("$peer" sizes 1025) 1 1 15 15 2[0-9] "
    rm -f book
    run "$server" -p 0 text @ env FAULT_BOOK="$work/book" "$client_faults" -p PORT p/got
    check 'the client: sizes, reset, keepalive' matches "$(grep options book) " \
        "options $("$peer" sizes 1025) 1 1 15 15 9 "
    # shellcheck disable=SC2013 # words
    for n in $(awk '/EINVAL/ && $2 == "setsockopt" { print $3 }' book); do
        run "$server" -p 0 text @ env FAULT="setsockopt $n EINVAL" "$client_faults" -p PORT p/got
        check "an option that a system does not know, setsockopt $n" arrived text
    done
}

# Several addresses, a port that is taken, and a connection to oneself.
test_addresses() {
    client_alone env PLACE=itself "$client_faults" -t 2 -p 1 p/got
    check 'connected to itself is refused' is "$c $(grep -c Connected p/client.out)" '1 0'
    check 'connected to itself: the message' said client "client: cannot connect to *: $(why ECONNREFUSED) (start *"
    run "$peer" listen reset @ env PLACE=late "$client_faults" -p PORT p/got
    check 'a server that is gone before the client looks' said client "client: the server did not finish, *"
    case $(grep -c ' lo$' /proc/net/if_inet6 2>/dev/null) in
        [1-9]*) ;;
        *) skip 'several addresses (no IPv6 on this machine)' && return ;;
    esac
    for first in 1 2; do # localhost has two there
        for error in EADDRNOTAVAIL ENETUNREACH; do
            client_alone "$peer" hold env FAULT="connect $first $error" "$client_faults" -a localhost -p PORT
            check "address $first: $error, the other: refused" \
                said client "client: cannot connect to localhost port [0-9]*: $(why ECONNREFUSED) (start *"
            alone env FAULT="bind $first EADDRINUSE,bind $((3 - first)) $error" \
                "$server_faults" -t 1 -a localhost -p 0 text
            check "address $first: taken, the other: $error" fails_with 1 \
                "server: cannot listen on localhost port 0: $(why EADDRINUSE) *"
        done
    done
    alone env FAULT='bind 1 EADDRINUSE' "$server_faults" -t 1 -a localhost -p 0 text
    check 'a port that is taken is not passed over' fails_with 1 \
        "server: cannot listen on localhost port 0: $(why EADDRINUSE) *"
    run env FAULT='bind 1 EADDRNOTAVAIL' "$server_faults" -a localhost -p 0 text @ \
        "$client_faults" -a localhost -p PORT p/got
    check 'an address that is not here is' arrived text
}

# Nothing is a warning, wherever it goes.
test_nothing() {
    for to in p/got - /dev/null; do
        run "$peer" listen close @ "$client" -p PORT $to
        check "nothing, to $to" said client '*client: the server sent nothing: *'
    done
}

# ---- Sources, destinations, and what a program is given ------------------------------------------------------------

test_odd_files() {
    run env PLACE=once "$server_faults" -p 0 text @ "$client" -p PORT p/got
    check 'a file that can be read once' arrived text
    printf abc >abc
    mkfifo fifo
    run env FAULT='read-device 1 EAGAIN-while' "$server_faults" -p 0 /dev/null @ "$client" -p PORT p/got
    check 'a device that is ready and has nothing yet' arrived /dev/null
    cat fifo >drained &
    run "$server" -p 0 text @ env FAULT='write-pipe 1 EAGAIN-while' "$client_faults" -p PORT fifo
    wait $!
    check 'a pipe that is ready and has no room yet' arrived text drained
    if standard_names && [ -c /dev/zero ]; then
        run "$server" -p 0 text @ sh -c '"$client" -p $0 /dev/stdout >/dev/zero' PORT
        check '/dev/stdout, a device' both 0 0
        check '/dev/stdout, a device: the transcript is elsewhere' is "$(wc -l <p/client.err | tr -d ' ')" 11
    fi
    client_alone sh -c '"$client" -p 1 - >mixed 2>&1'
    check '- where messages go, too' is "$c $(cat mixed)" "1 client: cannot write '-': standard error goes there too"
    run sh -c '"$server" -p 0 - <text' @ "$client" -p PORT p/got
    check 'server -' arrived text
    alone sh -c '"$server" -k -p 0 - <text'
    check 'server -k -' fails_with 1 "server: cannot send '-' with -k*"
    run env PLACE=nounix "$server_faults" -p 0 text @ env PLACE=nounix "$client_faults" -p PORT p/got
    check 'no AF_UNIX' arrived text
    run sh -c 'echo $$ >pid; ulimit -n 8; exec env ASAN_OPTIONS=detect_leaks=0 "$server" -k -p 0 text' @ \
        sh -c 'for i in 1 2 3; do "$client" -p $0 got.$i; done; kill $(cat pid)' PORT
    check 'few descriptors: each client has its number' is "$(sed -n 's/^New client：\([0-9]*\) .*/\1/p' p/server.out |
        sort -u | wc -l | tr -d ' ')" 3
    make_file random 4000000
    rm -f shown
    run env TERMINAL_COLUMNS=36 sh -c '"$0" terminal "$@" 2>&1 >/dev/null | tee shown >&2' \
        "$peer" "$server" -p 0 random @ "$peer" connect PORT buffers 8192 get 2000000 says shown MB/s into p/got \
        put "$thanks" close
    check 'a narrow terminal: no line is as long as it is wide' is "$(tr '\r' '\n' <shown | grep MB/s |
        grep -v ' in ' | grep ....................................)" ''
}

test_words() {
    client_alone "$peer" hold "$client" -p PORT
    check 'refused: what to do' said client "client: *$(why ECONNREFUSED) (start ./server*-a*)"
    run "$server" -p 0 text @ "$client" -p PORT p/got
    check '-p: where it listens' said server 'server: listening on 127.0.0.1 port [1-9]*'
    if [ -r /proc/net/tcp ]; then # where pair sees who listens
        run sh -c '"$server" -a 127.0.0.1 -p $0 text' PORT @ "$client" -p PORT p/got
        check '-a and -p: where it listens' said server 'server: listening on 127.0.0.1 port [1-9]*'
    fi
    alone "$client" file -p 1
    check 'options after the file' fails_with 2 'client: *options*'
    for program in server client; do
        alone "$root/$program" --help
        "$root/$program" -h >help
        check "$program --help" is "$status $(cmp out help) $(cat err)" '0  '
    done
    # Alone in a namespace of processes, where only who has a handler hears a signal.
    user=--map-root-user
    [ "$(id -u)" != 0 ] || user=--fork
    if ! unshare --pid --fork --kill-child $user true 2>/dev/null; then
        skip 'process 1 of a container (no namespaces of processes)'
        return
    fi
    for signal in INT TERM; do
        alone unshare --pid --fork --kill-child $user sh -c '
            (until grep -q Waiting out; do sleep 0.1; done; kill -$0 1) & exec "$server" -t 9 -p 0 text' $signal
        check "process 1, the server: SIG$signal" matches "$status" 1[34][03]
        rm -f go
        run "$peer" listen put abc says p/client.err Recving sh ': >go' eof @ \
            unshare --pid --fork --kill-child $user sh -c '
            (until [ -e go ]; do sleep 0.1; done; kill -$0 1) & exec "$client" -t 9 -p $1 -' $signal PORT
        check "process 1, the client: SIG$signal" matches "$c" 1[34][03]
    done
}
