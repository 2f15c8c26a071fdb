# demonstration.sh - tests `make demo`: first tests/tools/packets, and then each picture, with packets and without.
# shellcheck disable=SC2034 # what helpers.sh shows if a check fails

# Sums up the segments that tests/tools/packets wrote to the file $1, or the picture that was drawn of them: what begins
# or ends something, the bytes of each side, and what each side has acknowledged.
sum_up() {
    sed 's/^.*|-* \(.*[^-]\) -*>|.*/server \1/; s/^.*|<-* \(.*[^-]\) -*|.*/client \1/
        s/^[0-9:.]* \([a-z]*\) sends/\1/; s/ length \([0-9]*\)/ \1 bytes/' "$1" | awk '
        $1 !~ /^(server|client)$/ || $3 != "seq" { next }
        { end = $4 + ($7 ~ /^[0-9]/ ? $7 : 0) }
        $2 ~ /SYN|FIN|RST/ {
            name = $2
            sub(/\+PSH|PSH\+/, "", name)
            if (name != "SYN+ACK") sub(/\+ACK/, "", name)
            # FIN may be sent again, and whatever still comes after a reset is answered with RST again.
            if (!again[$1 name]++) special = special " " $1 ":" name
        }
        end > $4 && end > 1 + bytes[$1] { bytes[$1] = end - 1 }
        $2 ~ /ACK/ { acked[$1] = $6 }
        END {
            printf "%s; %d and %d bytes; acknowledged %d and %d\n", substr(special, 2), bytes["server"],
                bytes["client"], acked["client"], acked["server"]
        }'
}

# What sum_up says of a connection in which the server sent $1 bytes and the client $2, and both ended it well.
good() {
    echo "client:SYN server:SYN+ACK server:FIN client:FIN; $1 and $2 bytes; acknowledged $(($1 + 2)) and $(($2 + 2))"
}

# Sums up picture number $1 in the file show.
picture() {
    awk -v wanted="$1" '$1 == "ms" { number++ } number == wanted' show >picture
    sum_up picture
}

# Runs the demonstration $2 in the tree $1, with a directory of its own for what it leaves behind: which is nothing.
# Checks what has to be true of each.
demo() {
    mkdir -p shown
    (cd "$1" && LC_ALL=C.UTF-8 TMPDIR="$work/shown" sh tests/demo/demo.sh "$2") >show 2>&1
    status=$? last=show
    ends=$(sed -n 's/^Exit status .*: //p' show | tr '\n' ';')
    played="demo ${2:-(plain)}"
    [ "$1" = "$root" ] || played="$played without packets"
    check "$played: ends well" is "$status" 0
    check "$played: leaves no files" is "$(ls -A shown)" ''
    check "$played: no tool complains" is "$(grep -e '^ *grep: ' -e '^ *[a-z]*awk: ' -e '^ *[a-z/.]*sh: ' show)" ''
    # A state in capitals beside an event is explained, once, in this picture or in one before; who shows none has an
    # empty column; and nobody is called closed who has not been connected yet. The wide colon has three bytes and takes
    # two columns.
    check "$played: what stands beside the events" is "$(sed 's/：/::/g' show | awk '
        /^ *ms server/ { up = 0 }
        /ESTABLISHED$/ { up = 1 }
        / closed$/ && !up || /^ *[0-9.]* -  *\|/ || /\| -$/ || length > 80
        /^ *[0-9.]+ / { for (i = 2; i <= NF; i++) if ((i == 2 || i == NF) && $i ~ /^[A-Z][A-Z_0-9]+$/) used[$i] }
        match($0, /\([A-Z_0-9]+: /) {
            told[substr($0, RSTART + 1, RLENGTH - 3)]
            if (again[substr($0, RSTART)]++) print
        }
        END { for (state in used) if (!(state in told)) print state }')" ''
    case $2 in
        '' | packets) check "$played: the files are the same" grep -q 'are identical' show ;;
        close) check "$played: how they end" is "$ends" '0 and 0;0 and 0;' ;;
        nobody) check "$played: how they end" is "$ends$(grep -c '(-t 1)$' show)" '1 and 1;1' ;;
        killed)
            check "$played: how they end" is "$ends" '137 and 0;137 and 1;'
            check "$played: half a file for a whole, and the old file" is "$(grep -c \
                -e "^The client's file has $half of the $whole bytes" \
                -e "^client: the server did not finish, 'log.txt' is untouched" \
                -e 'log.txt is still what it was: the old file' show)" 3
            ;;
    esac
}

# The pictures that have packets, where these can be seen.
show_packets() {
    demo "$root" packets
    if grep -q '^No packets' show; then
        skip "$played ($(grep '^No packets' show))"
        return
    fi
    check "$played: the segments add up" is "$(picture 1)" "$(good "$whole" 30)"
    demo "$root" nobody
    check "$played: no FIN" matches "$(picture 1)" 'client:SYN server:SYN+ACK client:RST;*'
    demo "$root" close
    check "$played: data after close is reset" matches "$(picture 1)" \
        'client:SYN server:SYN+ACK server:FIN* server:RST*'
    check "$played: after ours is none" matches "$(picture 2)" 'server:FIN client:FIN;*'
    demo "$root" killed
    check "$played: the plain one" is "$(picture 1)" "$(good "$half" 0)"
    check "$played: ours" matches "$(picture 2)" 'client:SYN server:SYN+ACK server:RST;*'
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
    check 'packets: the status of the command, and nothing happened' is "$status $(cat wire)" '7 '
    watched sh -c 'kill -TERM $PPID; kill -KILL $$'
    check 'packets: a command that is killed' less 128 "$status"
    for b in 1025 0; do
        watched "$pair" . "$server" -b $b -p 0 random @ "$client" -b $b -p PORT got
        check "packets: -b $b" same random got
        check "packets: -b $b: the segments add up" is "$(sum_up wire)" "$(good 100000 30)"
    done
    check 'packets: as large as the buffers allow' is "$(awk '$10 > 10000 { print "large"; exit }' wire)" large
}

test_demonstration() { # early
    whole=$(wc -c <"$root/client.c" | tr -d ' ') half=$(($(wc -c <"$root/client.c") / 2))
    make_file random 100000
    packets
    demo "$root" ''
    sed -n 's/^ *|<*--* \(.*[^-]\) --*>*|$/\1/p' show | tr '\n' ';' >arrows
    if grep -q LISTEN show; then
        check 'plain: the arrows' is "$(sed 's/ACK of the FIN;//' arrows)" \
            "SYN;SYN+ACK;ACK;the first bytes;the last of $whole bytes, and FIN;\"$thanks\";FIN;"
    fi
    show_packets
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
        check "$played: says so in one line, and draws none" is "$(grep -c -e '^No packets.*today$' -e ' seq ' show)" 1
    done

    # Cut off, on a narrow terminal, without a network, and with a wrong word.
    (
        cd "$root" && LC_ALL=C.UTF-8 TMPDIR=$work/shown sh tests/demo/demo.sh killed 2>/dev/null
        echo $? >"$work/cut"
    ) | head -n 1 >show
    while [ ! -s cut ]; do sleep 0.1; done # ksh only waits for the last command of a pipe
    check 'cut off: no error, and no files are left' is "$(cat cut)$(ls -A shown)" 0
    if can 'a narrow terminal (no terminal or no stty)' \
        env TERMINAL_COLUMNS=60 "$peer" terminal sh -c 'stty size <&2'; then
        (cd "$root" && LC_ALL=C.UTF-8 TERMINAL_COLUMNS=60 "$peer" terminal sh tests/demo/demo.sh transcripts) >show 2>&1
        check 'a narrow terminal' grep -q '^This terminal has 60 columns; the pictures need 80' show
    fi
    set -- unshare --net
    [ "$(id -u)" = 0 ] || set -- "$@" --map-root-user
    if can 'a loopback interface that is down (gVisor only pretends)' not_gvisor &&
        can 'a loopback interface that is down (no network namespaces)' "$@" true; then
        refuses 1 'demo: nothing connects on this machine*' "$@" \
            sh -c 'cd "$0" && LC_ALL=C.UTF-8 exec sh tests/demo/demo.sh' "$root"
    fi
    refuses 2 "demo: *not 'nonsense'" sh -c 'cd "$0" && LC_ALL=C.UTF-8 exec sh tests/demo/demo.sh nonsense' "$root"
}
