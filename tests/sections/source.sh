# source.sh - what can be sent.

# The file $1 arrives, sent with -b $2 and received with -b $3.
crosses() {
    transfer "$(bytes "$1") bytes with -b $2 and $3" "$1" p/got \
        "$server" -p 0 -b "$2" "$1" @ "$client" -p PORT -b "$3" p/got
}

# A file of any size, around those of blocks and buffers too, arrives as it was, through buffers of all sizes.
test_files() { # long
    make_file random 1200000
    for size in 0 1 1025 65536 524288 1048577; do
        head -c $size random >file
        crosses file 1025 1025
        crosses file 0 0
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
    run "$server" -b 0 -p 0 large @ sh -c '"$client" -b 0 -p "$0" - | cmp - large' PORT
    check 'a file of more than 4 GiB' both 0 0
}

# A file of any kind, as long as it was when sending began, and if it became something else meanwhile, that is said.
test_sources() {
    make_file random 300000
    head -c 9000000 /dev/zero >zeros
    mkfifo fifo
    transfer 'a pipe' random p/got sh -c 'cat random | "$server" -p 0 -' @ "$client" -p PORT p/got
    tail -c +6 text >rest
    transfer 'standard input, a file of which something was read' rest p/got \
        sh -c '(dd bs=1 count=5 of=beginning 2>said && exec "$server" -p 0 -) <text' @ "$client" -p PORT p/got
    cat random >fifo &
    transfer 'a FIFO' random p/got "$server" -p 0 fifo @ "$client" -p PORT p/got
    wait $!
    if can 'a FIFO without a writer (to gVisor it has ended)' not_gvisor; then
        transfer 'a FIFO whose writer comes late' random p/got "$server" -p 0 fifo @ "$peer" connect PORT \
            says p/server.out 'Start to send' sh 'cat random >fifo &' into p/got put "$thanks" close
        run "$server" -p 0 fifo @ "$peer" connect PORT says p/server.out 'Start to send' reset
        check 'a FIFO without a writer, and the client leaves' \
            ended 1 0 server "*client 4 did not receive all of 'fifo': *"
    fi
    exec 7<>fifo # a writer that says no more
    printf abc >&7
    run "$server" -p 0 fifo @ "$peer" connect PORT get 3 reset
    exec 7>&-
    check 'a FIFO whose writer is silent, and the client leaves' both 1 0
    echo regular >turns
    beside 'rm turns; mkfifo turns; "$client" -p $port p/got' "$server" -k -p 0 turns
    check '-k, and a FIFO in the place of the file' ended 143 1 server "*server: 'turns' is no longer a regular file"
    transfer 'a device that is ready and has nothing yet' /dev/null p/got \
        env FAULT='read-device 1 EAGAIN-while' "$server_faults" -p 0 /dev/null @ "$client" -p PORT p/got
    # A transfer that brings nothing is most often a mistake somewhere before the server: the client says so.
    : >nothing
    for to in kept - /dev/null; do
        run "$server" -p 0 nothing @ "$client" -p PORT $to
        check "nothing, to $to: it is said" \
            ended 0 0 client '*client: the server sent nothing: is it the right one?*'
        [ $to != kept ] || check 'nothing: the file is empty' same nothing kept
    done
    # Files that claim to be empty, of which one is not, and one cannot be read.
    if can 'files of /proc' test -r /proc/version -a -e /proc/self/mem; then
        beside '"$client" -b 0 -p $port got.one; "$client" -p $port got.two' "$server" -k -p 0 /proc/version
        check 'a file of /proc' is "$s $(cat got.one got.two)" "143 $(cat /proc/version /proc/version)"
        run "$server" -p 0 /proc/self/mem @ "$client" -p PORT kept
        check 'a file that cannot be read is not an empty one' ended 1 1 server "*cannot read '/proc/self/mem': *"
        check 'a file that cannot be read: nothing has happened' kept '*'
    fi

    # The file changes while it is sent: the peer's window is full long before the end.
    for deed in 'echo new | dd of=changes conv=notrunc 2>/dev/null' 'echo new >>changes' \
        'echo new | dd of=changes bs=9000000 seek=1 2>/dev/null'; do
        cp zeros changes
        run "$server" -b 64K -p 0 changes @ "$peer" connect PORT get 1 sh "$deed" into p/got put "$thanks" close
        check "written to ($deed): sent as long as it was" is "$s $c $(bytes p/got)" '0 0 8999999'
        check "written to ($deed): it is said, once" said server "*
server: 'changes' was written to while it was being sent"
    done
    cp zeros changes
    run "$server" -b 64K -p 0 changes @ "$peer" connect PORT get 1 sh 'mv changes old; cp random changes' \
        eof put "$thanks" close
    check 'replaced: this is another file' is "$s $(wc -l <p/server.err | tr -d ' ')" '0 1'
    cp zeros shrinks
    make_hole hole 4097 # more than 32 bits can count
    while read -r file lacks size deed; do
        run "$server" -b 64K -p 0 "$file" @ "$peer" connect PORT get 1 sh "$deed" into p/got
        check "shrinks ($deed)" ended 1 1 server "*: '$file' is $lacks bytes short of its $size (*"
    done <<'END'
shrinks 1000000 9000000 dd if=/dev/null of=shrinks bs=1000000 seek=8
hole 42[0-9]* 4296015880 : >hole
END
    run "$server" -p 0 shrinks @ sh -c 'rm shrinks; exec "$client" -p "$0" p/got' PORT
    check 'a file that is gone by the time there is a client' \
        ended 1 1 server "*cannot open 'shrinks': $(why ENOENT)"
    # All of it is in the send buffer, and the server has said that it has sent it, when the file changes.
    for deed in 'dd if=/dev/null of=cut bs=90001 seek=1' 'dd if=zeros of=cut count=9 conv=notrunc'; do
        head -c 100000 random | tee cut >whole
        run "$server" -b 1M -p 0 cut @ "$peer" connect PORT says p/server.out 'Send data done' sh "$deed 2>/dev/null" \
            into got put "$thanks" close
        check "changed when it was sent ($deed)" arrived whole got
        check "changed when it was sent ($deed): nothing to say" is "$(wc -l <p/server.err | tr -d ' ')" 1
    done
}
