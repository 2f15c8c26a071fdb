#!/bin/sh
# demo.sh - plays the pair in one terminal and draws what happened, from the traces (-v) of both: the server on the left, the
# client on the right, time downwards. Then compares the files. Run by `make demo`.
#
#     sh tests/demo.sh                 the picture
#     sh tests/demo.sh transcripts     what both print, side by side
#
# The client waits a second before it acknowledges (-d 1), so that the server can be seen waiting.
set -u

work=$(mktemp -d "${TMPDIR:-/tmp}/half-close.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Both transcripts. They are of ASCII but for one character that is as wide as two, so the left one is padded by hand.
transcripts() {
    sed "s,'*$work/,," "$work/client.out" "$work/client.err" >"$work/right"
    grep -v ' listening on ' "$work/server.err" | cat "$work/server.out" - |
        awk -v right="$work/right" '
            function pad(text, width) {
                colons = gsub(/：/, "：", text)
                bytes = length("：") # 3 where awk counts bytes, 1 where it counts characters
                printf "%s%*s", text, width - (length(text) - colons * bytes + 2 * colons), ""
            }
            BEGIN { pad("$ ./server", 46); print "$ ./client" }
            { pad($0, 46); if ((getline line <right) > 0) print line; else print "" }
            END { while ((getline line <right) > 0) { pad("", 46); print line } }'
}

# The events of both sides by time, with an arrow for what crosses the wire between them. A state in lower case is the one
# that this side was last seen in.
ladder() {
    cat "$work/server.err" "$work/client.err" | sed "s,$work/,," | grep '^[0-9][0-9]:' | sort | awk '
        function seconds(clock, part) { split(clock, part, ":"); return part[1] * 3600 + part[2] * 60 + part[3] }
        function dashes(n, text) { text = ""; while (n-- > 0) text = text "-"; return text }
        function row(time, left, text, right) { printf "%8s %-11s |%-45s| %s\n", time, left, text, right }
        function arrow(label, to_the_right, n, line) {
            n = 41 - length(label)
            line = dashes(int(n / 2)) " " label " " dashes(n - int(n / 2))
            row("", "", to_the_right ? line "->" : "<-" line, "")
        }
        function once(label, to_the_right) { if (!drawn[label]++) arrow(label, to_the_right) }
        BEGIN { thanks = "\"I have recv the data,Thank you\""; row("ms", "server", "", "client"); row("", "", "", "") }
        {
            if (start == "") start = seconds($1)
            time = sprintf("%.3f", (seconds($1) - start) * 1000)
            side = $2; state[side] = $3
            text = $0
            sub(/^[^ ]+ +[^ ]+ +[^ ]+ +/, "", text)
            sub(/ +\(send queue.*/, "", text)
        }
        /total:/ { sub(/, [0-9.]* s in all$/, "", text); totals = totals sprintf("%s: %s\n", side, substr(text, 8)); next }
        # What has crossed is drawn before the first event that proves it, if the sender has not told of it by then.
        side == "client" && /last bytes/ { once($6 " bytes of data", 1) }
        side == "client" && /end-of-file/ { once("FIN: that was all", 1) }
        side == "server" && state[side] == "FIN_WAIT2" { once("ACK of the FIN", 0) }
        side == "server" && (state[side] == "CLOSE" || /acknowledgement received/) { once(thanks, 0) }
        side == "server" && (state[side] == "CLOSE" || /end-of-file/) { once("FIN", 0) }
        side == "server" { row(time, state["server"], " " text, tolower(state["client"])) }
        side == "client" { row(time, tolower(state["server"]), sprintf("%44s ", text), state["client"]) }
        text == "connecting" { once("SYN, SYN+ACK, ACK", 0) }
        side == "server" && /last bytes/ { once($6 " bytes of data", 1) }
        /half-close/ { once("FIN: that was all", 1) }
        /acknowledgement sent/ { once(thanks, 0) }
        side == "client" && text == "closed" { once("FIN", 0) }
        END { printf "\n%s", totals }'
}

case ${1-} in
    transcripts) server='' client='' show=transcripts ;;
    *) server='-v' client='-v -d 1' show=ladder ;;
esac
# shellcheck disable=SC2086 # options are words
tests/pair "$work" ./server $server -p 0 client.c @ ./client $client -p PORT "$work/log.txt" || {
    echo 'The two could not be run.'
    exit 1
}
if [ "$(cat "$work/server.status") $(cat "$work/client.status")" != '0 0' ]; then
    echo 'The transfer failed.'
    transcripts
    exit 1
fi
$show
cmp client.c "$work/log.txt" || exit 1
echo
echo 'client.c and log.txt are identical.'
