#!/bin/sh
# demo.sh - plays the pair in one terminal: both transcripts side by side, then the comparison. Run by `make demo`.
set -u

work=$(mktemp -d "${TMPDIR:-/tmp}/half-close.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

tests/pair "$work" ./server -p 0 client.c @ ./client -p PORT "$work/log.txt" || exit 1

# The destination's directory is of no interest. Both transcripts are of ASCII but for one character that is as wide as two,
# so the left one is padded by hand.
sed "s|$work/||" "$work/client.out" "$work/client.err" >"$work/right"
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

if [ "$(cat "$work/server.status") $(cat "$work/client.status")" != '0 0' ]; then
    echo "The transfer failed."
    exit 1
fi
cmp client.c "$work/log.txt" || exit 1
echo
echo 'client.c and log.txt are identical.'
