#!/bin/sh
# run.sh - tests the pair. Run by `make test`, and with LONG=1 by `make torture`. README.md beside this file is the map.
#
#     sh tests/run.sh                         every section, LANES (5) at a time: many of them mostly wait
#     sh tests/run.sh wire sources            only these
#     CHECK='*nc*' sh tests/run.sh wire       only the checks whose names match this pattern of the shell
#     SEED=7 sh tests/run.sh                  the same sample of the long tests every time; LONG=1 runs all of them
#
# A section is a function test_NAME in any file of the folder sections. tests/tools/run_sections runs this file again
# for each of them, as `run.sh -s NAME` in an empty directory, and tells how it ended.
# shellcheck disable=SC2154 # the helpers count
set -u

root=$(cd "${0%/*}/.." && pwd) || exit 1
server=$root/server client=$root/client
pair=$root/tests/tools/run_pair peer=$root/tests/tools/peer tamper=$root/tests/tools/tamper
cable=$root/tests/tools/cable
server_faults=$root/tests/faults/server-faults client_faults=$root/tests/faults/client-faults
LONG=${LONG-} SEED=${SEED-$(date +%s)}
work=$PWD
thanks='I have recv the data,Thank you'
FAULT_BOOK=$work/book
export FAULT_BOOK root server client pair peer tamper cable server_faults client_faults LONG SEED work thanks

# Prints the names of the sections, but for those that the sed command $1 deletes by what stands behind their brace.
sections() { sed -n "/^test_/!d; $1; s/() .*//; s/^test_//p" "$root"/tests/sections/*.sh; }

if [ "${1-}" != -s ]; then
    refused=$("$client" -p 1 /dev/null 2>&1 >/dev/null)
    case $refused in
        *"$("$peer" strerror ENETUNREACH)"* | *"$("$peer" strerror EADDRNOTAVAIL)"*)
            echo "$refused"
            echo 'Nothing can be tested: the loopback interface is down (ip link set lo up).'
            exit 1
            ;;
    esac
    if [ $# -gt 0 ]; then
        :
    elif [ -n "$LONG" ]; then
        # shellcheck disable=SC2046 # words, here and below
        set -- $(sections '/ # .*long$/!d')
    else
        # shellcheck disable=SC2046
        set -- $(sections '/ # early/!d') $(sections '/ # early/d')
    fi
    echo "SEED=$SEED repeats what is left to chance"
    limit=600
    [ -z "$LONG" ] || limit=0
    # Nobody reads standard input, and if it is closed, no section shall find something else there.
    # yash reads its scripts, which are in UTF-8, in the locale that it finds when it begins.
    LC_ALL=C.UTF-8 exec </dev/null \
        "$root/tests/tools/run_sections" "${LANES-5}" "$limit" "$root/tests/run.sh" "$@"
fi

section=$2
for file in "$root/tests/helpers.sh" "$root"/tests/sections/*.sh; do
    # shellcheck disable=SC1090 # the helpers and the sections
    . "$file"
done
export LC_ALL=C
printf 'a line\nand one without an end' >text
"test_$section"
[ $((passed + failed + skipped)) -gt 0 ] || [ -n "${CHECK-}" ] || exit 2 # no such section, or it does nothing
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" = 0 ]
