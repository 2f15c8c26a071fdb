# demonstration.sh - tests `make demo`. First comes tests/tools/packets, and then each picture, by the numbers in it:
# with packets and without, as the user nobody as well, and several at once.
#
#     sh tests/run.sh demonstration
# shellcheck shell=sh disable=SC2154,SC2016 # see run.sh: what is set there, and single quotes

# Sums up the segments that tests/tools/packets wrote to the file $1: what begins or ends something, the bytes of each
# side, whether the numbers add up, whether the server respected the window, and whether the time goes on.
sum_up() {
    awk '
        { other = $2 == "server" ? "client" : "server"; end = $6 + $10 }
        $4 ~ /SYN|FIN|RST/ {
            name = $4
            sub(/\+PSH/, "", name)
            if (name != "SYN+ACK") sub(/\+ACK/, "", name)
            # FIN may be sent again, and whatever still comes after a reset is answered with RST again.
            if (name == "RST") end = ""
            if (name !~ /FIN|RST/ || !again[$2 name end]++) special = special " " $2 ":" name
        }
        $4 ~ /SYN/ { next_of[$2] = 1 }
        $4 !~ /SYN|RST/ {
            if ($6 > next_of[$2]) wrong = wrong " gap before " $6
            if (end > next_of[$2]) next_of[$2] = end
            if ($10 > 0) bytes[$2] = next_of[$2] - 1
            if ($2 == "server" && end > edge) wrong = wrong " beyond the window at " $6
            if ($4 ~ /FIN/) next_of[$2]++
        }
        $4 ~ /ACK/ && $8 > next_of[other] { wrong = wrong " ack of what was not sent: " $8 }
        $2 == "client" && $4 ~ /ACK/ { edge = $8 + $12 }
        $1 < last { wrong = wrong " time goes back at " $1 }
        { last = $1; acked[$2] = $8 }
        END {
            printf "%s; %d and %d bytes; acknowledged %d and %d;%s\n", substr(special, 2), bytes["server"],
                bytes["client"], acked["client"], acked["server"], (wrong == "" ? " all adds up" : wrong)
        }' "$1"
}

# What sum_up says of a connection in which the server sent $1 bytes and the client $2, and both ended it well.
good() {
    echo "client:SYN server:SYN+ACK server:FIN client:FIN; $1 and $2 bytes;" \
        "acknowledged $(($1 + 2)) and $(($2 + 2)); all adds up"
}

# Sums up picture number $1 in the file show: turns it into lines like those of tests/tools/packets, without the time.
# What is only counted there becomes one segment that is as long as all of them, and an ACK that lets it pass.
picture() {
    awk -v wanted="$1" '
        function after(word, i) { for (i = 1; i < NF; i++) if ($i == word) return $(i + 1); return 0 }
        $1 == "ms" { number++ }
        number != wanted { next }
        / more: .* bytes, .* ACKs/ {
            hidden = after("with")
            print "- client sends ACK seq 1 ack", at, "length 0 window", hidden + 1000000
            print "- server sends PSH+ACK seq", at, "ack 1 length", hidden, "window 0"
            at += hidden
        }
        $1 ~ /^[0-9]/ && / seq [0-9]/ {
            side = /->\|/ ? "server" : "client"
            flags = $0
            sub(/ *seq [0-9].*/, "", flags)
            sub(/.*[ -]/, "", flags)
            size = / bytes / ? $0 : 0
            sub(/ bytes .*/, "", size)
            sub(/.* /, "", size)
            print "-", side, "sends", flags, "seq", after("seq"), "ack", after("ack"), "length", size, "window", \
                after("window") + after("win")
            if (side == "server" && size > 0) at = after("seq") + size
        }' show | sum_up -
}

# Picture number $1 shows this: what begins or ends something.
shows_flags() { is "$(picture "$1" | sed 's/;.*//')" "$2"; }

# Runs the demonstration $2 in the tree $1, with a directory of its own for what it leaves behind: which is nothing. $3
# is what runs it as somebody else, if anything. Checks what has to be true of each.
demo() {
    mkdir -p shown && chmod 777 shown
    began=$(date +%s)
    (cd "$1" && ${3-} env LC_ALL=C.UTF-8 TMPDIR="$work/shown" sh tests/demo/demo.sh "$2") >show 2>&1
    status=$?
    took=$(($(date +%s) - began))
    ends=$(sed -n 's/^Exit status .*: //p' show | tr '\n' ';')
    played="demo ${2:-(plain)}${3:+, $3}"
    [ "$1" = "$root" ] || played="$played without packets"
    check "$played: ends well" is "$status" 0
    check "$played: nothing waits for ever" at_least 300 $took
    check "$played: leaves no files" is "$(ls -A shown)" ''
    check "$played: no tool complains" is "$(grep -e '^ *grep: ' -e '^ *[a-z]*awk: ' -e '^ *[a-z/.]*sh: ' show)" ''
    # A state in capitals beside an event is explained: in this picture or in one before.
    awk '/^ *[0-9.]+ / { for (i = 2; i <= NF; i++) if ((i == 2 || i == NF) && $i ~ /^[A-Z][A-Z_0-9]+$/) used[$i] }
        { for (state in used) if (index($0, "(" state ": ")) told[state] }
        END { for (state in used) if (!(state in told)) print state }' show >unexplained
    check "$played: every state is explained" is "$(cat unexplained)" ''
    check "$played: and once" is "$(sed -n 's/^ *| *(\([A-Z_0-9-]*: .*\)).*/\1/p' show | sort | uniq -d)" ''
    check "$played: who shows no state has an empty column" is "$(grep -e '^ *[0-9.]* -  *|' -e '| -$' show)" ''
    # A client that is connected after the server has accepted it was logged late, and the picture says so.
    check "$played: a late row says so" is "$(awk '
        /^ *ms server/ { accepted = 0 }
        / accepted  *\|/ { accepted = 1 }
        late && !/\| *\(/ { print late }
        late && !/\| *\([A-Z]/ { late = "" }
        / connected \|/ && accepted { late = $0 }
        /logged late/ { late = "" }' show)" ''
    # The wide colon has three bytes and takes two columns.
    check "$played: no wider than 80 columns" is "$(sed 's/：/::/g' show | awk 'length > 80')" ''
    check "$played: nobody is called closed who has not been connected yet" is \
        "$(awk '/^ *ms server/ { up = 0 } /ESTABLISHED$/ { up = 1 } / closed$/ && !up' show)" ''
    case $2 in
        '' | packets) check "$played: the files are the same" grep -q 'are identical' show ;;
        close)
            check "$played: how they end" is "$ends" '0 and 0;0 and 0;0 and 1;'
            check "$played: a part of the file" grep -q "^The client's file has [0-9]* of the $whole bytes" show
            ;;
        nobody)
            check "$played: how they end" is "$ends" '1 and 1;'
            check "$played: time is up" grep -q '(-t 1)$' show
            ;;
        killed)
            check "$played: how they end" is "$ends" '137 and 0;137 and 1;'
            check "$played: half a file for a whole" grep -q "^The client's file has $half of the $whole bytes" show
            check "$played: ours says so" grep -q "^client: the server did not finish, 'log.txt' is untouched" show
            check "$played: ours leaves the old file" grep -q 'log.txt is still what it was: the old file' show
            ;;
    esac
}

# The pair with its packets, in the tree $root. $1 is what runs it as somebody else, if anything. Returns 1 where there
# are none to be seen.
show_packets() {
    demo "$root" packets "${1-}"
    if grep -q '^No packets' show; then
        skip "$played ($(grep '^No packets' show))"
        return 1
    fi
    check "$played: the segments add up" is "$(picture 1)" "$(good "$whole" 30)"
}

# The other pictures that have packets.
show_all_packets() {
    demo "$root" nobody
    check "$played: no FIN" shows_flags 1 'client:SYN server:SYN+ACK client:RST'
    demo "$root" close
    check "$played: data after close is reset" matches "$(picture 1)" \
        'client:SYN server:SYN+ACK server:FIN* server:RST*'
    check "$played: after ours is none" shows_flags 2 'server:FIN client:FIN'
    check "$played: closed with something unread" shows_flags 3 'client:SYN server:SYN+ACK server:RST'
    demo "$root" killed
    check "$played: the plain one" is "$(picture 1)" "$(good "$half" 0)"
    check "$played: ours" shows_flags 2 'client:SYN server:SYN+ACK server:RST'
}

# tests/tools/packets by itself.
packets() {
    watched() { alone "$root/tests/tools/packets" wire "$@"; }
    watched sh -c 'exit 7'
    if [ "$status" = 77 ]; then
        skip "packets ($(cat err))"
        check 'no packets: one line why' matches "$(cat err)" 'packets: no *'
        return
    fi
    check 'packets: the status of the command' is "$status" 7
    check 'packets: nothing happened' is "$(cat wire)" ''
    watched sh -c 'kill -TERM $PPID; kill -KILL $$'
    check 'packets: a command that is killed' less 128 "$status"
    watched ./no-such-program
    check 'packets: no such program' is "$status" 127
    watched
    check 'packets: no command' is "$status" 2
    for b in 1025 8192 0; do
        watched "$pair" . "$server" -b $b -p 0 random @ "$client" -b $b -p PORT got
        check "packets: -b $b" same random got
        check "packets: -b $b: the segments add up" is "$(sum_up wire)" "$(good 100000 30)"
    done
    check 'packets: as large as the buffers allow' is "$(awk '$10 > 10000 { print "large"; exit }' wire)" large
    watched "$pair" . "$peer" listen send random stay @ "$peer" connect PORT get 100000 reset
    check 'packets: a reset' is "$(sum_up wire | sed 's/;.*//')" 'client:SYN server:SYN+ACK client:RST'
    check 'packets: all were seen' is "$(cat err)" ''
    make_hole zeros 6
    watched "$pair" . "$server" -p 0 zeros @ "$client" -p PORT /dev/null
    check 'packets: more than there is room for' grep -q '^packets: [0-9]* packets are missing' err
}

test_demonstration() {
    whole=$(wc -c <"$root/client.c" | tr -d ' ') half=$(($(wc -c <"$root/client.c") / 2))
    make_file random 100000
    packets

    # The pictures.
    demo "$root" ''
    sed -n 's/^ *|<*--* \(.*[^-]\) --*>*|$/\1/p' show | tr '\n' ';' >arrows
    if grep -q LISTEN show; then
        check 'plain: the arrows' is "$(sed 's/ACK of the FIN;//' arrows)" \
            "SYN;SYN+ACK;ACK;the first bytes;the last of $whole bytes, and FIN;\"$thanks\";FIN;"
    fi
    ! show_packets || show_all_packets
    chmod 755 .
    if [ "$(id -u)" = 0 ] && as_nobody "$server" -h >/dev/null 2>&1; then
        show_packets as_nobody || :
    fi
    demo "$root" transcripts

    # The same where packets cannot be seen.
    mkdir -p stage/tests/tools stage/tests/demo
    for f in server client client.c tests/tools/run_pair tests/tools/peer tests/demo/demo.sh; do
        ln -sf "$root/$f" "stage/$f"
    done
    printf '#!/bin/sh\necho "packets: no packet socket: not today" >&2\nexit 77\n' >stage/tests/tools/packets
    chmod 755 stage/tests/tools/packets
    for mode in packets nobody close killed; do
        demo stage $mode
        check "$played: says so in one line" is "$(grep -n '^No packets.*today$' show | sed 's/:.*//')" 1
        check "$played: draws none" is "$(grep -c ' seq ' show)" 0
    done

    # Cut off, several at once, on a narrow terminal, without a network, and with a wrong word.
    (
        cd "$root" && LC_ALL=C.UTF-8 TMPDIR=$work/shown sh tests/demo/demo.sh killed 2>/dev/null
        echo $? >"$work/cut"
    ) | head -n 1 >show
    check 'cut off: something was shown' [ -s show ]
    check 'cut off: no files are left' is "$(ls -A shown)" ''
    check 'cut off: no error' is "$(cat cut)" 0
    for i in 1 2 3; do
        (cd "$root" && LC_ALL=C.UTF-8 exec sh tests/demo/demo.sh packets) >"show.$i" 2>&1 &
    done
    wait
    check 'three at once' is "$(grep -l 'are identical' show.* | wc -l | tr -d ' ')" 3
    alone env TERMINAL_COLUMNS=60 "$peer" terminal sh -c 'stty size <&2'
    if [ "$status" = 0 ]; then
        (cd "$root" && TERMINAL_COLUMNS=60 "$peer" terminal sh tests/demo/demo.sh transcripts) >show 2>&1
        check 'a narrow terminal' grep -q '^This terminal has 60 columns; the pictures need 80' show
    else
        skip 'a narrow terminal (no terminal or no stty)'
    fi
    set -- unshare --net
    [ "$(id -u)" = 0 ] || set -- "$@" --map-root-user
    if "$@" true 2>/dev/null; then
        refuses 1 'demo: nothing connects on this machine*' "$@" \
            sh -c 'cd "$0" && LC_ALL=C.UTF-8 exec sh tests/demo/demo.sh' "$root"
    else
        skip 'a loopback interface that is down (no network namespaces)'
    fi
    refuses 2 "demo: *not 'nonsense'" sh -c 'cd "$0" && LC_ALL=C.UTF-8 exec sh tests/demo/demo.sh nonsense' "$root"
}
