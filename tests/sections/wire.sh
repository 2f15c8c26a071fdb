# wire.sh - the bytes on the wire, and other ends than ours: right ones, broken ones and hostile ones.

# The bytes, and their order, with other ends than ours.
test_wire() {
    make_file random 50000
    printf %s "$thanks" >expected
    transfer 'a client that pads its reply to 1025 bytes' random p/got \
        "$server" -p 0 random @ "$peer" connect PORT into p/got put "$thanks" pad 995 close
    transfer 'a server that sends pieces of 1025 bytes' random p/got \
        "$peer" listen send random quiet 200 fin into reply @ "$client" -p PORT p/got
    check 'our reply, after the end-of-file, is 30 bytes and an end-of-file' same expected reply
    # Silence: a server that does not wait would be gone, and the reply would be met with a reset.
    transfer 'the server closes only after the reply' random p/got \
        "$server" -p 0 random @ "$peer" connect PORT into p/got quiet 300 put "$thanks" close
    # Also if that took longer than the server will now wait for more, one second.
    run "$server" -p 0 random @ \
        "$peer" connect PORT into p/got sh 'sleep 1.1' put "$thanks" says p/server.out '4：I have' \
        pad 30000 quiet 200 close
    check 'the server does not answer with a reset what comes after the acknowledgement' arrived random
    # The reply, in 30 pieces, is all here, the client listens on: nothing more is waited for before that is said.
    run "$server" -t 0 -p 0 text @ "$peer" connect PORT eof drip 0 "$thanks" says p/server.out '4：I have' close
    check 'the acknowledgement is told when the last of its bytes is there' both 0 0
    run sh -c '"$server" -t 0 -p 0 text; status=$?; echo >gone; exit $status' @ \
        "$peer" connect PORT eof put "$thanks" wait gone close
    check 'after the acknowledgement, a client that never closes is not waited for' both 0 0
    # All is in the server's buffer, and it has ended, before the client reads: it must not end with a reset.
    rm -f gone
    run sh -c '"$server" -b 4M -p 0 random; status=$?; echo >gone; exit $status' @ \
        "$peer" connect PORT buffers 1 put "$thanks" fin wait gone into p/got
    check 'a client that reads when the server is gone' arrived random
    run "$server" -p 0 text @ "$peer" connect PORT get 1 \
        sh '! "$client" -p PORT got 2>second && grep -q "'"$(why ECONNREFUSED)"'" second' eof put "$thanks" close
    check 'who comes while a client is served is refused' both 0 0
}

# The server sends the file $1 to a peer that does what follows $2. It fails, and says that client 4 did not what $2
# matches.
unheard() {
    file=$1 message=$2
    shift 2
    run "$server" -p 0 "$file" @ "$peer" connect PORT "$@"
    check "$*" is "$s" 1
    check "$*: the message" said server "*${newline}server: client 4 did not $message"
}

# Peers that are broken or mean us harm: each run ends in time, with the right status and a clear message.
test_hostile() {
    make_file random 9000000 # more than all buffers hold, so that the server has to wait for whoever does not read
    head -c 5000 random >small
    unheard random "receive all of 'random': *" get 1 reset
    unheard small 'acknowledge the file' fin into p/got
    check 'a client that half-closes at once still gets the file, and a reset at the end or not' cmp -n 4000 small p/got
    unheard text "acknowledge the file, it said 'x'" put x fin into p/got
    unheard small "acknowledge the file, it said 'I have recv the data, thank you'" \
        eof put 'I have recv the data, thank you' close
    unheard small "acknowledge the file, it said 'I have recv'" eof put 'I have recv' close
    unheard small "acknowledge the file, it said 'no'" eof put 'no' stay # enough: nothing more is waited for
    unheard small "acknowledge the file, it said 'I have'" eof put 'I have' sh 'sleep 0.2' pad 1100 stay
    unheard small "acknowledge the file, it said 'I have*'" eof put 'I have' sh 'sleep 0.2' flood 1100 stay
    said=$(cat p/server.err)
    said=${said#*\'I have}
    check 'a wrong text ends at 1025 bytes' is "${#said}" $((1025 - 6 + 1))
    unheard small "acknowledge the file, it said '?x1b[[]2J?x1b]0;title?x07 ?x01?x7f?x80?xff?x9b31m ?x5c*" \
        eof put '\x1b[2J\x1b]0;title\x07 \x01\x7f\x80\xff\x9b31m \\ and more than thirty bytes' close
    for said in p/server.err p/server.out; do # the only bytes there that are not ASCII are those of the colon
        check "nothing of it reaches the terminal raw: $said" is "$(sed 's/：/:/g' $said | tr -d '\n -~' | wc -c)" 0
    done
    make_hole much 2
    run "$server" -p 0 small @ "$peer" connect PORT buffers 4096 eof put "$thanks" send much close
    check 'the right text and 2 MiB more, of which the server takes little' both 0 1
    unheard small "acknowledge the file, it said '*'" flood 104857600 stay
    transfer 'a client that replies first and reads then' random p/got \
        "$server" -p 0 random @ "$peer" connect PORT put "$thanks" into p/got

    # The reset comes after part of a block, and is not forgotten, as gVisor does with MSG_WAITALL.
    make_hole source 3
    for b in 1025 64K 0; do
        run "$peer" listen send source flood 100000 says p/client.out Recving reset @ "$client" -b $b -p PORT kept
        check "-b $b: a server that resets" \
            kept "client: the server did not finish, 'kept' is untouched: $(why ECONNRESET)"
    done
    run "$peer" listen reset @ "$client" -p PORT kept
    check 'a server that resets at once' kept "client: *: $(why ECONNRESET)"
    rm -f go gone
    run "$peer" listen send small fin wait go reset sh ': >gone' @ env FAULT='write-socket 1 ^DEED' \
        DEED=': >go; until [ -e gone ]; do sleep 0.05; done' "$client_faults" -p PORT got
    check 'a server that is gone before the acknowledgement' \
        ended 0 0 client "client: 'got' is complete, but the server could not be told: *"
    check 'a server that is gone before the acknowledgement: the file is there' same small got
}

# End-of-file is what read says it is, and nothing else: not an urgent byte, which is not part of the file.
test_urgent_bytes() {
    run "$peer" listen put one urgent X put two fin @ "$peer" connect PORT into p/got close
    can 'urgent bytes (to this kernel they are like others)' test "$(cat p/got)" = onetwo || return
    make_file some 300000
    (cat some && printf X && cat some) >long
    printf onetwo >short
    for b in 1025 64K 0; do
        while read -r expected says; do
            # shellcheck disable=SC2086 # words
            transfer "-b $b: $says" "$expected" got "$peer" listen $says fin get 30 eof @ "$client" -b $b -p PORT got
        done <<'END'
short put one urgent X put two
short urgent X put onetwo
short put onetwo urgent X
long send some urgent XY send some
END
        run "$peer" listen put onetwo urgent X reset @ "$client" -b $b -p PORT kept
        check "-b $b: an urgent byte, then a reset" kept '*'
    done
    run "$peer" listen put one urgent X stay @ "$client" -t 1 -b 0 -p PORT kept
    check 'an urgent byte and then nothing' kept '*the server did not finish*(-t 1)'
    run "$server" -p 0 short @ "$peer" connect PORT urgent X eof put "${thanks% *}" urgent Y put " ${thanks##* }" close
    check 'urgent bytes in the reply' both 0 0
    run "$server" -p 0 short @ "$peer" connect PORT eof urgent "$thanks" close
    check 'a reply whose last byte is urgent lacks it' is "$s" 1
}
