# lesson.sh - what is said about TCP, tried out.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # quotes are for inner shells; run.sh and helpers.sh set and use the rest

# What is said about TCP, tried out.
test_claims() { exec "$root/tests/lesson/claims"; }

# Every call that may fail is made to fail, and before every call the programs are ended by a signal.
test_torture() { # early long
    [ -n "$LONG" ] || set -- -n 450 # there are about 400 kinds of failure, and each comes once
    exec "$root/tests/faults/torture" -j 12 "$@" -s "$SEED" "$server_faults" "$client_faults"
}
