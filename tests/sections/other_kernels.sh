# other_kernels.sh - tests the pair on kernels and file systems that do not do as Linux does: gVisor, FreeBSD, FUSE. What
# they do is imitated by PLACE and FAULT, see tests/faults/faults.h. Read by tests/run.sh, whose helpers it uses.
# shellcheck shell=sh disable=SC2016,SC2154 # quotes are for inner shells; run.sh sets the rest

test_kernels() {
    # gVisor's MSG_WAITALL forgets a reset.
    make_hole source 3
    for b in 64K 0; do
        echo old >kept
        run "$peer" listen send source flood 100000 says p/client.out Recving reset @ \
            env PLACE=waitall "$client_faults" -b $b -p PORT kept
        check "-b $b: a reset that comes after part of a block" kept 'client: the server did not finish, *'
    done
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
    run env PLACE=setuid "$server_faults" -p 0 text @ "$client" -p PORT p/got
    check 'who may read the file is the effective user' arrived text
    # A listener that blocks would wait for the next client.
    run "$peer" limit 20 env PLACE=gone "$server_faults" -t 2 -p 0 text @ sh -c '! "$peer" connect $0 eof' PORT
    check 'a client that has gone before it is accepted' ended 1 0 server '*: no client came: *(-t 2)'

    # Where a file cannot be flushed, its file system is, whatever the name by which it was opened.
    for error in EINVAL EBADF ENOTSUP ENOSYS; do
        for to in p/got '- >p/got'; do
            rm -f book
            run "$server" -p 0 text @ env FAULT_BOOK="$work/book" FAULT="fsync 1 $error" \
                sh -c 'exec "$client_faults" -p $0 '"$to" PORT
            check "$error from fsync, into $to" arrived text
            ! shows_all || check "$error from fsync, into $to: all is flushed" grep -q '^flushed all' book
        done
    done
    rm -f book
    run "$server" -p 0 text @ sh -c 'FAULT_BOOK=$work/book "$client_faults" -p $0 - | cat >p/got' PORT
    check 'a pipe' arrived text
    check 'a pipe: no file system is flushed' is "$(grep -c '^flushed all' book)" 0

    # Where everybody can read every file, nothing may be in the temporary one while that is so.
    old_file 600
    run "$peer" listen says p/client.out Recving sh 'ls -l place/.client-* >mode' put abc fin get 30 @ \
        env PLACE=world "$client_faults" -p PORT place/kept
    check 'a file system with one mode: narrowed before the first byte' matches "$(cat mode)" '-rw-------*'
}

# What others do meanwhile, between two calls.
test_meanwhile() {
    # The permissions are narrowed during the flush.
    echo old >kept && chmod 644 kept
    run "$server" -p 0 text @ env PLACE=narrows "$client_faults" -p PORT kept
    check 'narrowed while the new file is flushed' is "$s $c $(find kept -perm 600)" '0 0 kept'
    rm -f book
    run "$server" -p 0 text @ env FAULT_BOOK="$work/book" "$client_faults" -p PORT p/got
    opened=$(last_call open) # the directory
    for error in EMFILE EIO; do
        run "$server" -p 0 text @ env FAULT="open $opened $error" "$client_faults" -p PORT p/got
        check "$error for the directory: not acknowledged" is "$s $(cmp text p/got)" '1 '
        check "$error for the directory: it is said" said client "client: 'p/got' is complete but not *: $(why $error)"
    done
    # In a directory that may not be read, a FIFO takes the place of the new file: opening it must not wait.
    run "$server" -p 0 text @ "$peer" limit 20 env PLACE=slipped FAULT="open $opened EACCES" "$client_faults" -p PORT got
    check 'a FIFO in the place of the new file' less "$c" 2
    # A FIFO without a reader, where the file should be.
    mkdir sticky && chmod 1777 sticky && mkfifo sticky/fifo
    client_alone "$peer" limit 20 env PLACE=foreign "$client_faults" -p 1 sticky/fifo
    check 'a FIFO that somebody has planted, and nobody reads' \
        is "$c $(sed "s/'sticky.*//" p/client.err)" '1 client: cannot write '
}
