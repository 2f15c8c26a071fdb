# calls.sh - the system calls of the programs in their order, as tests/faults/faults.h notes them in a book; what
# becomes of those that fail; and other kernels and file systems, which it imitates.

# Nothing is done before what it depends on.
test_order() {
    make_hole large 65
    old_file 604
    transfer 'client' large p/got "$server" -b 0 -p 0 large @ "$client_faults" -b 64K -p PORT p/got
    check 'client: the sizes are set before there is a connection' matches \
        "$(sequence getsockopt setsockopt connect)" 'getsockopt setsockopt getsockopt *connect*'
    # The file is flushed on the way, and once more when all of it is written; only then it gets its name; that is
    # flushed too; only then the server is told.
    check 'client: in this order' matches "$(sequence connect write-file fsync rename write-socket)" \
        '*connect *fsync write-file fsync rename fsync write-file *write-socket*'
    transfer 'server' text p/got "$server_faults" -p 0 text @ "$client" -p PORT p/got
    # The reset is taken back, by the last setsockopt, only when the reply is here.
    check 'server: in this order' matches \
        "$(sequence getsockopt setsockopt bind listen accept send shutdown read-socket close-socket)" \
        '*getsockopt setsockopt getsockopt *bind listen *accept *send *shutdown *read-socket *setsockopt *close-socket*'
    run "$server" -p 0 text @ "$client_faults" -p PORT place/kept
    check 'client: its permissions are flushed, too' is "$(sequence fchmod fsync rename)" 'fchmod fsync rename fsync '
    run "$server_faults" -p 0 text @ "$peer" connect PORT eof sh 'sleep 0.5' put "$thanks" close
    waited=$milliseconds calls=$(grep -c '^call read-socket' book)
    run "$peer" listen sh 'sleep 0.5' send text fin get 30 @ "$client_faults" -p PORT p/got
    check 'nobody spins while he waits: no more than a look in each tick, and some to begin and end with' less \
        $((calls + $(grep -c '^call read-socket' book))) $((20 + (waited + milliseconds) / 50))
}

# Sends text to a client with the arguments $2..., whose calls fail as $1 says. The file kept holds "old".
with_fault() {
    fault=$1
    shift
    run "$server" -p 0 text @ env FAULT="$fault" "$client_faults" -p PORT "$@"
}

# What becomes of some failures, beside what make torture, which makes every call fail, can know about all of them.
test_failures() {
    make_hole large 65
    run "$server" -p 0 text @ "$client_faults" -p PORT kept
    flushes=$(last_call fsync) opened=$(last_call open) # of the directory
    run "$server" -b 0 -p 0 large @ env FAULT='fsync 1 EIO' "$client_faults" -b 64K -p PORT kept
    check 'a flush on the way that fails' kept "client: cannot write 'kept': $(why EIO)"
    check 'a flush on the way that fails: the server learns of it' said server '*client 4 did not *'
    for fault in "fsync $((flushes - 1)) EIO" 'rename 1 EIO'; do
        with_fault "$fault" kept
        check "$fault: nothing has happened, and nothing else was said" kept "client: cannot *'kept'*: $(why EIO)"
        check "$fault: not acknowledged" is "$s $(grep -c 'Recv done' p/client.out)" '1 0'
    done
    for fault in "fsync $flushes EIO" "open $opened EMFILE" "open $opened EIO"; do
        with_fault "$fault" kept
        check "$fault, of the directory: the file is there, and not acknowledged" is "$s $(cmp text kept)" '1 '
        check "$fault, of the directory: the client warns" \
            said client "client: 'kept' is complete but not safely on disk, *: $(why "${fault##* }")"
    done
    # In a directory that may not be read, a FIFO takes the place of the new file: opening it must not wait.
    run "$server" -p 0 text @ env FAULT="open $opened ^DEED,open $opened EACCES" \
        DEED='rm got; mkfifo got' "$client_faults" -p PORT got
    check 'a FIFO in the place of the new file' less "$c" 2
    with_fault 'sleep 1 EINTR' -d 1 kept
    check 'an interrupted -d' arrived text kept
    check 'an interrupted -d: the rest is made up for' at_least "$milliseconds" 1000
    for error in EMFILE ENFILE ENOBUFS ENOMEM; do
        run env FAULT="accept 1 $error" "$server_faults" -p 0 text @ "$peer" connect PORT eof
        check "$error from accept: the server says so and gives up" \
            said server "*server: cannot accept a connection: $(why $error)"
    done
    beside '"$client" -t 2 -p $port p/got' env FAULT='accept 1 EPERM-forever' "$server_faults" -k -p 0 text
    check 'accept may fail for ever, and -k does not spin' both 143 1
    run "$peer" listen put abc says p/client.out Recving reset @ env FAULT='unlink 1 EIO' "$client_faults" -p PORT p/got
    check 'a temporary file that cannot be removed' said client "client: the server did not finish, *
client: cannot remove '.client-*' beside 'p/got': $(why EIO)"
    run "$peer" listen send text fin get 30 @ env FAULT='read-socket 1 ETIMEDOUT' "$client_faults" -t 0 -p PORT p/got
    check 'a time-out that is not ours' said client "client: the server did not finish, * $(why ETIMEDOUT)"
    for fault in 'write-socket 1 short-forever' 'write-file 1 short-forever'; do
        with_fault "$fault" kept
        check "$fault" arrived text kept
        check "$fault: no word is lost" is "$(grep -c -e '^Recving data$' -e '^Client close$' p/client.out)" 2
    done
    with_fault 'write-file 1 nothing' kept
    check 'a write that takes nothing' \
        ended 0 0 client "client: cannot write the transcript, going on without: $(why ENOSPC)"
}

# What other kernels, file systems and people do. PLACE imitates it.
test_kernels() {
    if grep -q ' lo$' /proc/net/if_inet6 2>/dev/null; then # in a network of its own: "::" is open to everybody
        alone "$root/tests/tools/packets" wire "$pair" p env PLACE=v6only "$server_faults" -a :: -p 0 text @ \
            "$client" -p PORT p/got
        if [ "$status" = 77 ]; then
            skip "an IPv4 client of \"::\" ($(cat err))"
        else
            look p
            check 'an IPv4 client of "::", where such a listener is for IPv6' arrived text
        fi
    else
        skip 'an IPv4 client of "::" (no IPv6 on this machine)'
    fi
    for place in setuid once; do # setuid: who may read the file is the effective user
        transfer "$place" text p/got env PLACE=$place "$server_faults" -p 0 text @ \
            env PLACE=$place "$client_faults" -p PORT p/got
    done
    # A listener that blocks would wait for the next client.
    if can 'a client that has gone before it is accepted (gVisor does not hand on SO_LINGER)' not_gvisor; then
        run env PLACE=gone "$server_faults" -t 2 -p 0 text @ sh -c '! "$peer" connect $0 eof' PORT
        check 'a client that has gone before it is accepted' ended 1 0 server '*: no client came: *(-t 2)'
    fi

    # Where a file cannot be flushed, its file system is, whatever the name by which it was opened.
    for error in EINVAL EBADF ENOTSUP ENOSYS; do
        for to in p/got '- >p/got'; do
            transfer "$error from fsync, into $to" text p/got "$server" -p 0 text @ \
                env FAULT="fsync 1 $error" sh -c 'exec "$client_faults" -p $0 '"$to" PORT
            ! shows_all || check "$error from fsync, into $to: all is flushed" grep -q '^flushed all' book
        done
    done
    transfer 'a pipe' text p/got "$server" -p 0 text @ sh -c '"$client_faults" -p $0 - | cat >p/got' PORT
    check 'a pipe: no file system is flushed' is "$(grep -c '^flushed all' book)" 0

    # Where everybody can read every file, nothing may be in the temporary one while that is so.
    old_file 600
    run "$peer" listen says p/client.out Recving sh 'find place -name ".client-*" -perm 600 >narrow' \
        put abc fin get 30 @ env PLACE=world "$client_faults" -p PORT place/kept
    check 'a file system with one mode: narrowed before the first byte' is "$(wc -l <narrow | tr -d ' ')" 1
    # The permissions are narrowed by somebody else during the flush.
    chmod 644 kept
    run "$server" -p 0 text @ env FAULT='fsync 1 ^DEED' DEED='chmod 600 kept' "$client_faults" -p PORT kept
    check 'narrowed while the new file is flushed' is "$s $c $(find kept -perm 600)" '0 0 kept'
}

# A disk of $1 bytes a second, with what else $2 says of it: no flush is of more than $3 bytes after the first ones.
slow_disk() {
    transfer "a disk of $1 bytes a second $2" large p/got "$server" -b 0 -p 0 large @ \
        env PLACE="disk=$1 $2" "$client_faults" -b 0 -p PORT p/got
    sed -n 's/^flushed \([0-9]*\) bytes$/\1/p' book >flushes
    check "a disk of $1 bytes a second $2: no flush takes long" awk -v most="$3" '
        { print }
        $1 > most { exit 1 }
        END { if (!NR) exit 1 }' flushes
}

# A disk of 1 MB/s and one of 100: what a flush takes is never long, and on a fast disk there are few. Memory cards, and
# disks of virtual machines, are fast at first.
test_slow_disk() {
    make_hole large 65
    slow_disk 1000000 '' 2000000
    slow_disk 1000000 cache=34000000 10000000
    slow_disk 100000000 '' 200000000
    check 'a fast disk is not flushed all the time' less "$(wc -l <flushes)" 20 # of 260 steps of 256 KiB
}

# Every call that may fail is made to fail, and before every call the programs are ended by a signal.
test_torture() { # early long
    can 'all of it (who dies on gVisor may send no reset)' not_gvisor || return
    [ -n "$LONG" ] || set -- -s "$SEED" # there are about 400 kinds of failure, and each comes once
    exec "$root/tests/faults/torture" "$@" "$server_faults" "$client_faults"
}

# What is said about TCP is tried out.
test_claims() { exec "$root/tests/lesson/claims"; }
