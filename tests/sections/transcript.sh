# transcript.sh - what the programs print when all goes well: the transcript, and the trace of -v.

# The transcripts are what they promise to be, and standard error stays silent.
test_transcripts() {
    sizes=$("$peer" sizes 1025)
    report="Buffer length both set to 1025
Send buffer length ：${sizes% *}
Recv buffer length ：${sizes#* }"
    transfer 'without a name it is log.txt' text log.txt "$server" -p 0 text @ "$client" -p PORT
    transcript server "$report
Waiting for connecting
New client：4 , IP 127.0.0.1 , Port N
Start to send data 'text' to client 4
Send data done
Output stream close
4：$thanks
Server close"
    transcript client "$report
Trying to connect server
Connected to server
Recving data
Recv done, data in log.txt
Send to server: $thanks
Client close"
    check 'the server names its port on standard error and nothing else' is "$(sed 's/[0-9]*$/N/' p/server.err)" \
        'server: listening on 127.0.0.1 port N'
    check 'the client has nothing to say there' said client ''
    for b in 1 2305 65536 2147483647; do
        alone "$client" -b $b -p 1
        check "-b $b: the second report is what getsockopt says" is "$(sed -n '4,5s/.*：//p' out | tr '\n' ' ')" \
            "$("$peer" sizes $b) "
    done
    run "$server" -b 0 -p 0 text @ "$client" -b 0 -p PORT p/got
    for side in server client; do
        sizes=$(sed 2q p/$side.out)
        check "$side -b 0: nothing is set" is "$(sed 5q p/$side.out)" \
            "$sizes${newline}Buffer length left to the kernel$newline$sizes"
    done
    transfer '-: the file alone on standard output' text p/client.out "$server" -p 0 text @ "$client" -p PORT -
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

# The transcript of $1 begins with the sizes of new sockets, and goes on with $2.
transcript() {
    check "$1: the first report" is "$(sed 's/：[1-9][0-9]*$/：N/; 2q' "p/$1.out")" \
        "Send buffer length ：N${newline}Recv buffer length ：N"
    check "$1: the rest" is "$(sed '1,2d; s/Port [0-9]*$/Port N/' "p/$1.out")" "$2"
}

# The trace (-v) tells the story in order, with the states of TCP, and few lines even for a large file. Its figures are
# right: what is in a queue is said to be there.
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
ESTABLISHED the send buffer is full: N bytes left
ESTABLISHED N more bytes accepted
ESTABLISHED last bytes: N in all
- total: N bytes in N s, N MB/s
FIN_WAIT1 or 2 half-close: FIN behind the last byte
FIN_WAIT2 waits for the answer, and can still hear it
FIN_WAIT2 acknowledgement received
CLOSED end-of-file: the client has closed too
- closed
END
    time=$(grep -v port p/server.err | head -c 5)
    check 'the time of day, at the beginning or the end' matches "$began $(date +%H:%M)" "*$time*"
    check 'the times of two lines are as far apart as the peer has slept' awk -F '[: .]' -v most="$milliseconds" '
        /first bytes/ { first = $3 + $4 / 1e6 }
        /total: / { apart = $3 + $4 / 1e6 - first }
        END { apart += apart < 0 ? 60 : 0; print apart; exit apart < 1.5 || apart * 1000 > most }' p/server.err
    check 'bytes, seconds and rate, and how many bytes had to wait' awk -v most="$milliseconds" '
        / the send buffer is full: / { wait = $9 }
        / more bytes accepted/ { more = $4 > 0 && $4 <= wait }
        $4 == "total:" { off = $5 / $8 / 1e6 - $10; total = $5 == 3000000 && $8 >= 1.5 && $8 * 1000 <= most }
        END { exit !(more && total && off < 0.1 && off > -0.1) }' p/server.err

    transfer 'the client with -v' random p/got "$server" -v -b 64K -p 0 random @ "$client" -v -p PORT p/got
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
    # The answer is here, and so is the acknowledgement of the FIN, before the server looks for them.
    rm -f go
    run sh -c '(until [ -e go ]; do sleep 0.05; done) | "$server" -v -p 0 -' @ \
        "$peer" connect PORT put "$thanks" fin sh ': >go' eof close
    check 'an answer that is here is not waited for' is "$s $(grep -c 'waits for the answer' p/server.err)" '0 0'
}

# The trace of $1 has the lines of the standard input, times and queues apart.
story() {
    sed -n "s/^[0-9][0-9]:[0-9][0-9]:[0-9][0-9]\.[0-9]\{6\} $1 \([A-Z_]*[A-Z12]\|-\)  *\([^ ]\)/\1 \2/
        s/^FIN_WAIT[12] half/FIN_WAIT1 or 2 half/
        s/  (send queue [0-9]*, receive queue [0-9]*)\$//; /listening on/d; s/ [0-9][0-9.]*/ N/g
        s/FIN_WAIT1 or N/FIN_WAIT1 or 2/; p" p/"$1".err >events
    can "the trace of the $1 (gVisor tells other states)" not_gvisor || return
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
