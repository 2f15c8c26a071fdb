#!/bin/sh
# demo.sh - plays the pair in one terminal and draws what happened: the server on the left, the client on the right,
# time downwards. Run by `make demo`, with the word as SHOW.
#
#     sh tests/demo/demo.sh                 the traces of both (-v), with arrows for what must have crossed in between
#     sh tests/demo/demo.sh packets         the same, with every TCP segment that did cross, as the kernel saw it
#     sh tests/demo/demo.sh nobody          what happens if nobody ends his half: both wait
#     sh tests/demo/demo.sh close           what the half-close is for: servers that close instead, and ours
#     sh tests/demo/demo.sh killed          what the reset is for: a sender that is killed half-way, and ours
#     sh tests/demo/demo.sh transcripts     what both print, side by side
#
# tests/tools/packets sees the packets. Where it may not, a line says so, and the pictures show the traces alone. The
# client of the first two waits a second before it acknowledges (-d 1), so that you can see the server wait. The plain
# programs are tests/tools/peer.
# shellcheck disable=SC2016 # what stands in single quotes is for another shell
set -u

# Everything is run in a directory of its own, in which the programs have short names, whatever the paths are.
root=$PWD
cd "${TMPDIR:-/tmp}" && work=$(mktemp -d "$PWD/half-close.XXXXXX") && cd "$work" || exit 1
trap 'cd / && rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
trap 'exit 0' PIPE # whoever reads this has seen enough: make shall not call that an error
for file in server client client.c tests; do ln -s "$root/$file" . || exit 1; done
watch='' guess='' delay=''

tell() { printf '%s\n' "$@" 2>/dev/null || exit 0; }

# Ends the demonstration with a message.
fail() {
    echo "demo: $1" >&2
    exit 1
}

# Says so if the pictures are wider than the terminal. If standard output is a pipe to more(1), standard error knows.
check_width() {
    # In this order, a shell that finds standard error not readable says so to nobody.
    columns=$(stty size 3>&2 2>/dev/null <&3) || return 0
    columns=${columns#* }
    [ "$columns" -eq 0 ] || [ "$columns" -ge 80 ] ||
        tell "This terminal has $columns columns; the pictures need 80." ''
}

# Ends the demonstration if this machine cannot connect to itself. Port 1, on which nobody listens, must refuse.
check_loopback() {
    why=$(./client -t 5 -p 1 log.txt 2>&1 >/dev/null)
    case $why in
        *"$(tests/tools/peer strerror ECONNREFUSED)"*) ;;
        *) fail "nothing connects on this machine; is its loopback interface down? $why" ;;
    esac
}

# ---- Playing ------------------------------------------------------------------------------------------------------

# Sets watch to the words that let a command be watched, or says in a line why nothing is seen.
watch_packets() {
    if why=$(tests/tools/packets wire true 2>&1); then
        watch='tests/tools/packets wire'
        tell 'Arrows are TCP segments, with their flags, the number of their first byte (seq),' \
            'the number they expect next (ack), and their length. Numbers count from the SYN,' \
            'which is 0. The window says for how many bytes, from ack on, its side has room.' ''
    else
        tell "No packets to be seen here: ${why#packets: }" ''
    fi
}

# Plays a server and a client, as tests/tools/run_pair does. Leaves the traces of both and the packets in story, by
# time. Sets said to what they put on standard error besides, and statuses to how they ended.
play() {
    [ -n "$watch" ] || check_loopback
    rm -f client.out client.err server.out server.err
    : >wire
    # shellcheck disable=SC2086 # words
    $watch tests/tools/run_pair . "$@" || fail "the two did not end by themselves: $(cat server.err client.err)"
    port=$(sed -n 's/.*: listening on .* port \([0-9]*\)$/\1/p' server.err)
    # Of those that have the same microsecond, the packets are first, in their own order.
    awk -v port="$port" '$NF == port' wire | cat - server.err client.err >all
    grep '^[0-9][0-9]:' all | sort -s -k 1,1 >story
    said=$(grep -v -e '^[0-9][0-9]:' -e ': listening on ' all)
    statuses=$(sed 's/ / and /' status)
}

# Plays ours, with the option $1 if it is there, and a client that waits if delay is set. Failure ends all.
play_pair() {
    # shellcheck disable=SC2086 # no word where there is no option
    play ./server ${1-} -t 20 -p 0 client.c @ ./client ${delay:+-d 1} ${1-} -t 20 -p PORT log.txt
    [ "$statuses" = '0 and 0' ] || fail "the transfer failed: $(cat server.err client.err)"
}

# ---- Drawing ------------------------------------------------------------------------------------------------------

# Both transcripts, side by side on 80 columns: a line that is too long on the right begins further left. The wide colon
# takes the room of two others, so these stand in for it when columns are counted.
transcripts() {
    for side in server client; do
        tell "\$ ./$side" >$side.said
        cat $side.out $side.err | sed '/ listening on /d; s/：/::/g' >>$side.said
    done
    paste server.said client.said | awk -F '\t' '{
        column = length($2) > 36 ? 80 - length($2) : 44
        line = sprintf("%-" column "s%s", $1, $2)
        sub(/ +$/, "", line)
        print line
    }' | sed 's/::/：/g'
}

# Draws the story: the events of both sides, and an arrow for each packet. Beside an event stand the states: in capitals
# that of the side that acts, in small letters the last known one of the other side; nothing where a program does not
# tell. Beside a packet stands the window of its sender. $1 is how many packets of a long run are shown before the rest
# is only counted, and $2 a text: the picture begins with the first event that has it. With guess, there are arrows for
# what must have crossed where no packets were seen.
draw() {
    awk -v guess="$guess" -v delay="$delay" -v first="$1" -v from="${2-}" -v known=told '
        function seconds(clock, part) { split(clock, part, ":"); return part[1] * 3600 + part[2] * 60 + part[3] }
        function dashes(n) { return substr("-----------------------------------------", 1, n) }
        function put(rows) { if (from == "") printf "%s", rows }
        function row(time, left, text, right) {
            text = sprintf("%8s %-11s |%-45s| %s", time, left, text, right)
            sub(/ +$/, "", text)
            return text "\n"
        }
        function arrow(label, to_the_right, n) {
            n = 41 - length(label)
            label = dashes(int(n / 2)) " " label " " dashes(n - int(n / 2))
            return to_the_right ? label "->" : "<-" label
        }
        # Puts TEXT below a row, on the side it is about; one with a TOPIC only once in all pictures.
        function note(text, on_the_right, topic) {
            if (from != "" || topic in told) return
            if (topic != "") { told[topic]; print topic >>known }
            put(row("", "", sprintf(on_the_right ? "%44s " : " %s", "(" text ")"), ""))
        }

        # A packet of a run waits in kept until it is known whether it is shown. Its note waits with it.
        function keep(rows, has_data, length_of_new) {
            kept[++run] = rows
            data[run] = has_data
            bytes[run] = length_of_new
            remark[run] = ""
        }
        function annotate(text, on_the_right, topic) {
            remark[run] = text
            right_side[run] = on_the_right
            about[run] = topic
        }
        function put_kept(i) {
            put(kept[i])
            if (remark[i] != "" && (about[i] != "open" || "shut" in told)) note(remark[i], right_side[i], about[i])
        }
        # A long run of packets with nothing special is shown by its first few, a line about the rest, and its last two.
        function end_run(i, hidden, full, sum) {
            for (i = 1; i <= run; i++) {
                if (run < first + 5 || i <= first || i > run - 2) { put_kept(i); continue }
                hidden++
                full += data[i]
                sum += bytes[i]
                if (i == run - 2)
                    put(row("", "...", sprintf("   %d more: %d with %d bytes, %d ACKs", hidden, full, sum,
                        hidden - full), "..."))
            }
            run = 0
        }

        # A packet: TIME SIDE sends FLAGS seq N ack N length N window N port N
        function packet(label, window, right, end, fresh) {
            right = side == "server"
            end = $6 + $10 + ($4 ~ /SYN|FIN/)
            fresh = end - ($6 > reached[side] ? $6 : reached[side])
            if (end > reached[side]) reached[side] = end
            label = $4 "  seq " $6 ($4 ~ /ACK/ ? "  ack " $8 : "") ($10 > 0 ? "  " $10 " bytes" : "")
            if (length(label) > 41) gsub(/  /, " ", label)
            window = $4 ~ /RST/ ? "" : length($12) < 5 ? "window " $12 : "win " $12
            if ($4 ~ /SYN|FIN|RST/) end_run()
            keep(row(time, right ? window : "", arrow(label, right), right ? "" : window), $10 > 0,
                fresh > 0 ? fresh : 0)
            if (end > $6 && fresh <= 0) annotate("sent again, as no ACK has come", right)
            if (!right && $4 ~ /ACK/ && $4 !~ /RST/) {
                if (sent > 0 && sent == edge && $8 + $12 > edge)
                    annotate("it opens again: " ($8 + $12 - edge) " more bytes", 1, "open")
                else if ($8 > 1)
                    annotate("window counts from ack: up to " ($8 + $12 - 1), 1, "window")
                if ($8 + $12 > edge) edge = $8 + $12
            }
            if (right && $6 + $10 > sent) {
                sent = $6 + $10
                if (sent == edge) annotate("the client has no more room: stop", 0, "shut")
            }
            if ($4 ~ /SYN|FIN|RST/) end_run()
            if ($4 ~ /RST/) note("reset: the connection is gone", right)
            if (right && $4 ~ /FIN/) { fin = end; fin_time = time }
            if (!right && fin > 0 && $8 == fin && !all++) {
                end_run()
                note("ack counts SYN, " ($8 - 2) " bytes and FIN", 1)
                if (time - fin_time > 20 && $10 == 0)
                    note(sprintf("delayed ACK: held %d ms for data to join", time - fin_time), 1)
            }
        }

        # An event, and what its state means when that is seen for the first time. A side that has not been connected
        # yet is not called closed beside what the other side does.
        function event(text, shown, why) {
            shown = $3 != "-" ? $3 : text == "closed" && state[side] != "" ? "no socket" : ""
            why = shown == "CLOSED" && state[side] != "" ? ending[side] : meaning[shown]
            state[side] = shown == "CLOSED" && state[side] == "" ? "" : tolower(shown)
            if (side == "server") put(row(time, shown, " " text, state["client"]))
            else put(row(time, state["server"], sprintf("%44s ", text), shown))
            if (why != "") note(shown ": " why, side == "client", why)
        }
        # A program logs an event when its call has returned. The other side may already have logged the effect.
        function note_late(text, words, what) {
            split(text, words, " ")
            what = side " " words[1]
            happened[what]
            happened[side " " $3]
            if (text != "listening") happened[side " is connected"]
            if (effect[what] in happened) note("logged late: its effect stands above", side == "client")
        }
        # Draws what must have crossed before this event, which proves it; each once.
        function must_be(label, to_the_right) {
            if (guess && !drawn[label]++) put(row("", "", arrow(label, to_the_right), ""))
        }

        BEGIN {
            meaning["LISTEN"] = "waits for connections"
            meaning["ESTABLISHED"] = "connected, both can send"
            meaning["FIN_WAIT1"] = "FIN queued or sent, no ACK yet"
            meaning["FIN_WAIT2"] = "FIN acknowledged; can receive"
            meaning["CLOSE_WAIT"] = "FIN received; can still send"
            meaning["LAST_ACK"] = "both FINs sent; no ACK of ours"
            meaning["CLOSING"] = "both FINs sent; no ACK of ours"
            meaning["TIME_WAIT"] = "both FINs acknowledged"
            meaning["CLOSED"] = "not connected yet"
            meaning["no socket"] = "the program has closed it"
            ending["server"] = "both directions have ended"
            ending["client"] = "ended by the reset"
            effect["client connected"] = "server is connected"
            effect["client write()"] = "server read()"
            effect["server first"] = "client first"
            effect["server last"] = "client last"
            effect["server half-close:"] = effect["server close()"] = "client CLOSE_WAIT"
            effect["client acknowledgement"] = "server acknowledgement"
            effect["client closed"] = "server end-of-file:"
            while ((getline line <known) > 0) told[line]
            close(known)
            printf "%s", row("ms", "server", "", "client")
        }
        {
            if (NR == 1) start = seconds($1)
            time = sprintf("%.3f", (seconds($1) - start) * 1000)
            side = $2
        }
        $3 == "sends" { packet(); next }
        {
            text = $0
            sub(/^[^ ]+ +[^ ]+ +[^ ]+ +/, "", text)
            sub(/ +\(send queue.*/, "", text)
            text = substr(text, 1, 44)
            if (text ~ /^total:/) next
            end_run()
            if (from != "" && text ~ from) from = ""
        }
        text ~ /^(connected|accepted)/ { must_be("SYN", 0); must_be("SYN+ACK", 1) }
        text == "accepted" { must_be("ACK", 0) }
        side == "client" && /first bytes/ { must_be("the first bytes", 1) }
        /last bytes/ { total = $6 }
        (side == "client" && /last bytes/) || $3 == "FIN_WAIT2" { must_be("the last of " total " bytes, and FIN", 1) }
        side == "server" && $3 == "FIN_WAIT2" && guess && !drawn["ACK of the FIN"] {
            must_be("ACK of the FIN", 0)
            note("delayed ACK: held some 40 ms for data", 1)
        }
        side == "server" && ($3 == "CLOSED" || /acknowledgement received/) {
            must_be("\"I have recv the data,Thank you\"", 0)
        }
        side == "server" && ($3 == "CLOSED" || /end-of-file/) { must_be("FIN", 0) }
        { event(text); note_late(text) }
        text ~ / is in place$/ && delay { note("-d 1: it waits a second before it answers", 1) }
        text ~ /^waits for the answer/ { note("the server looks only every 100 ms", 0, "waits") }
        END { end_run() }' story
}

# Draws the story as draw does, and below it how both ended and what they had to say.
draw_all() {
    draw "$1" "$2"
    tell '' "Exit status of the server and of the client: $statuses"
    [ -z "$said" ] || tell "$said" | fold -s -w 76 | sed 's/ *$//; /^[a-z]*: /!s/^/    /'
}

# ---- What is shown ------------------------------------------------------------------------------------------------

show_pair() {
    [ -n "$watch" ] || guess=yes
    delay=yes
    play_pair -v
    draw 4
    echo
    sed -n 's/^[^ ]* \([a-z]*\) .* total: \(.*\)/\1: \2/p' story
    cmp client.c log.txt || exit 1
    tell '' 'client.c and log.txt are identical.'
}

show_nobody() {
    tell 'A server that sends the file, forgets shutdown(SHUT_WR), and waits for the' \
        'answer. Every byte arrives, but no FIN, so our client waits, too. Without -t 1,' \
        'after which it gives up, both would wait for ever.' ''
    play tests/tools/peer listen send client.c say 'write() took all the bytes' say 'read() waits for the answer' \
        get 30 say 'has the answer' @ ./client -v -t 1 -p PORT log.txt
    draw_all 1 ''
}

show_close() {
    tell 'A server that closes at once instead of shutdown(SHUT_WR). Its FIN looks the' \
        'same, and our client gets the file and answers. But close gave up both' \
        'directions: nobody can hear it.' ''
    play tests/tools/peer listen send client.c say 'write() took all the bytes' \
        close say 'close() returns 0; it exits' @ ./client -v -t 20 -p PORT log.txt
    draw_all 1 ''
    tell 'The server is content and knows nothing.' '' \
        'Ours, from its last bytes on. It hears the answer, and only then does it close:' ''
    play_pair -v
    draw_all 1 'last bytes'
}

show_killed() {
    head -c $(($(wc -c <client.c) / 2)) client.c >half
    tell 'A plain sender is killed half-way. Its kernel closes the connection, with FIN,' \
        'as if all had been said, and a plain receiver takes half a file for the whole:' ''
    play tests/tools/peer listen send half say 'half is written, and now: kill -KILL' sh 'kill -KILL $PPID' @ \
        tests/tools/peer connect PORT into plain say 'read() returns 0: end-of-file' close say 'close() returns 0'
    draw_all 2 ''
    tell "The client's file has $(wc -c <plain | tr -d ' ') of the $(wc -c <client.c | tr -d ' ') bytes of client.c."
    tell '' 'Our server is killed half-way, just above the RST, while it sends what comes' \
        'from a pipe. No receiver can take the reset for the end of a file:' ''
    echo 'the old file' >log.txt
    mkfifo pipe
    play sh -c './server -v -t 20 -p 0 pipe & server=$!
        exec 3<>pipe
        cat half >&3
        n=0
        until grep -qs "first bytes" client.err || [ $((n += 1)) -gt 2000 ]; do :; done
        kill -KILL $server
        { wait $server; } 2>/dev/null' @ ./client -v -t 20 -p PORT log.txt
    draw_all 2 ''
    [ "$(cat log.txt)" = 'the old file' ] || fail 'log.txt has changed'
    tell 'log.txt is still what it was: the old file.'
}

check_width
case ${1-} in
    transcripts) play_pair; transcripts; cmp client.c log.txt || exit 1 ;;
    packets) watch_packets; show_pair ;;
    close) watch_packets; show_close ;;
    killed) watch_packets; show_killed ;;
    nobody) watch_packets; show_nobody ;;
    '') show_pair ;;
    *) echo "demo: SHOW is packets, nobody, close, killed or transcripts, not '$1'" >&2; exit 2 ;;
esac
[ ! -t 1 ] || tell '' "To read it from the beginning: make demo${1:+ SHOW=$1} | more"
