# helpers.sh - what the sections of run.sh use. Nearly every check needs run or alone, and then check with is, arrived
# or ended.
#
# In all of them p is the directory of the run that was looked at last, s the status of its server, and c that of its
# client. No test may pass because of a file that an earlier one left. So run removes got and p/got, where clients put
# what they receive, and makes the file kept, which holds the line "old", for those that must leave it alone.
#
# What stands in single quotes is often for an inner shell: there $0 is the first word behind it, mostly PORT, and the
# names that run.sh exports can be used.
# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # what run.sh sets, and what the sections use

passed=0 failed=0 skipped=0 p=p last=''
newline='
'

# ---- Running programs ---------------------------------------------------------------------------------------------

# Runs a server and a client, as in `run "$server" -p 0 text @ "$client" -p PORT p/got`; tests/tools/run_pair.c says
# what may stand there. Then looks at what is left of that in the directory p. Programs with faults.h write into book.
run() {
    rm -rf got book # run_pair itself removes p/got
    echo old >kept
    "$pair" p "$@" || {
        failed=$((failed + 1))
        echo "FAILED: $section: the pair did not end by itself: $*"
    }
    look p
}

# Begins such a run, whose directory is $1: look looks at it after wait.
begin() { "$pair" "$@" >said 2>&1 & }

# Looks at the run that is left in the directory $1: sets s and c to the statuses of server and client, and
# milliseconds, from the start of the server to the end of both.
look() {
    p=$1
    read -r s c <"$p/status"
    read -r milliseconds <"$p/milliseconds"
    last="$p/server.out $p/server.err $p/client.out $p/client.err"
}

# Runs one program alone. Sets status; its output is in the files out and err.
alone() {
    last='out err'
    "$@" >out 2>err
    status=$?
    [ $status -lt 256 ] || status=$((status % 128 + 128)) # some shells add more than 128 to the number of a signal
}

# Somebody who is not root can come here, and run our programs.
others_can() {
    can "$1 (others cannot come here, or run our programs)" as_nobody sh -c 'cd "$work" && "$client_faults" -h'
}

# Runs a command as somebody who is not root: as the user nobody if we are root.
as_nobody() {
    if [ "$(id -u)" = 0 ]; then
        "$tamper" as 65534 65534 "$@"
    else
        "$@"
    fi
}

# Runs the server $2..., and beside it the shell script $1, in which $port is its port and $pid the server. Stops that
# at the end.
beside() {
    script=$1
    shift
    run sh -c 'echo $$ >pid; exec "$@"' - "$@" @ sh -c 'port=$0 pid=$(cat pid)
'"$script"'
status=$?; kill $pid; exit $status' PORT
}

# ---- Checks, and what can stand behind them -----------------------------------------------------------------------

# Counts a check named $1 as passed if the command that follows succeeds. Otherwise shows what was said last.
check() {
    name=$1
    shift
    matches "$name" "${CHECK:-*}" >/dev/null || return 0
    if "$@" >check.out 2>&1; then
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    echo "FAILED: $section: $name"
    { # a large file is not shown as a whole
        echo "$*"
        cat check.out
        for file in $last; do
            head -n 30 "$file" | tr -d '\000-\010\013-\037' | sed "s,^,${file##*/}: ,"
        done
    } 2>/dev/null | head -c 4000 | awk '{ print "    " $0 }'
}

# Says that $1 is not tested here, and why.
skip() {
    skipped=$((skipped + 1))
    echo "skipped: $section: $1"
}

# Runs a command that fails if this machine lacks what a test needs. Then says, as skip does, that $1 is not tested.
can() {
    about=$1
    shift
    "$@" >/dev/null 2>&1 || {
        skip "$about"
        false
    }
}

# $1 is what it has to be, $2.
is() { [ "$1" = "$2" ] || { echo "'$1' instead of '$2'"; false; }; }

# The text $1 matches the shell pattern $2.
matches() {
    pattern=$2
    while :; do # to ksh93, parentheses in a pattern are more than themselves
        case $pattern in
            *[\(\)]*) pattern="${pattern%%[\(\)]*}?${pattern#*[\(\)]}" ;;
            *) break ;;
        esac
    done
    # shellcheck disable=SC2254 # a pattern
    case $1 in
        $pattern) ;;
        *) echo "'$1' does not match '$2'"; return 1 ;;
    esac
}

# Compares numbers: $1 is at least $2, or less than $2.
at_least() { [ "$1" -ge "$2" ] || { echo "$1 is less than $2"; false; }; }
less() { [ "$1" -lt "$2" ] || { echo "$1 is not less than $2"; false; }; }

# The files $1 and $2 are the same; how long $1 is.
same() { cmp "$1" "$2"; }
bytes() { wc -c <"$1" | tr -d ' '; }

# Server and client ended with the statuses $1 and $2.
both() { is "server $s, client $c" "server $1, client $2"; }

# The standard error of $1 (server or client) matches the shell pattern $2.
said() { matches "$(cat "$p/$1.err")" "$2"; }

# Both ended with the statuses $1 and $2, and the standard error of $3 matches the shell pattern $4.
ended() { both "$1" "$2" && said "$3" "$4"; }

# Both ended with status 0, and what the client made is the file $1.
arrived() { both 0 0 && same "$1" "${2-$p/got}"; }

# The client ended with status 1 and said what $1 matches, the file kept (or $2) still holds the line "old", and no
# temporary file is left.
kept() { is "$c" 1 && said client "$1" && is "$(cat "${2-kept}")" old && clean; }

# What old_file has made is as it was.
unharmed() { is "$(cat place/kept) $(find place ! -type d)" 'old place/kept'; }

# How often $1 was called, as the file `book` counts it: the number of the last of these calls.
last_call() { awk -v name="$1" '$1 == "call" && $2 == name { n = $3 } END { print n }' book; }

# No temporary file of a client is left.
clean() { is "$(find . -name '.client-*')" ''; }

# There are lines in the file $1, and each of them is one of the lines that follow.
only() {
    lines=$1
    shift
    printf '%s\n' "$@" >allowed
    [ -s "$lines" ] && ! grep -vxFf allowed "$lines"
}

# The program that ran alone ended with status $1, and its standard error matches the shell pattern $2: one line, or
# with status 2 the synopsis too.
fails_with() {
    is "$status" "$1" && matches "$(cat err)" "$2" || return
    [ "$1" = 2 ] || is "$(wc -l <err | tr -d ' ')" 1
}

# Runs the command $3... alone, which has to fail in that way.
refuses() {
    wanted=$1 message=$2
    shift 2
    alone "$@"
    check "$*" fails_with "$wanted" "$message"
}

# Runs the pair $4... and checks, under the name $1, that the file $2 has arrived as $3.
transfer() {
    about=$1 sent=$2 received=$3
    shift 3
    run "$@"
    check "$about" arrived "$sent" "$received"
}

# ---- Files, and the machine ---------------------------------------------------------------------------------------

# Makes the file $1 of $2 bytes, lines with numbers: no part of it is like another.
make_file() { awk -v n="$2" 'BEGIN { while (i * 10 < n) printf "%09d\n", i++ }' | head -c "$2" >"$1"; }

# Makes the file $1, a hole of $2 MiB and then a line.
make_hole() { dd if=/dev/null of="$1" bs=1048576 seek="$2" 2>/dev/null && echo 'the end' >>"$1"; }

# Makes the directory place, in which the only file, kept, holds "old" and has the mode $1.
old_file() { rm -rf place && mkdir place && echo old >place/kept && chmod "$1" place/kept; }

# The text of the error $1, say EIO, in the words of the C library that the programs are built with.
why() { "$peer" strerror "$1"; }

# What the files are: mode, owner and group.
state() { for file in "$@"; do ls -dln "$file"; done | modes; }

# The same of what `ls -ln` said. Who may do what is letters 2 to 10; s instead of x is set-user-ID or set-group-ID.
modes() {
    awk '{
        mode = (substr($1, 4, 1) ~ /[sS]/) * 4 + (substr($1, 7, 1) ~ /[sS]/) * 2
        for (i = 2; i <= 10; i++)
            mode = mode * 2 + (substr($1, i, 1) ~ /[rwxst]/)
        printf "%o %s:%s\n", mode, $3, $4
    }'
}

# Prints those of the calls in the book (FAULT_BOOK) that are among the words, in their order; the same again only once.
sequence() {
    awk -v wanted=" $* " '$1 == "call" && index(wanted, " " $2 " ") && $2 != last { printf "%s ", $2; last = $2 }' book
}

# The kernel is not gVisor, which always says this of itself. It does as Linux does, but for some of TCP.
not_gvisor() { [ "$(uname -v)" != '#1 SMP Sun Jan 10 15:06:54 PST 2016' ]; }

# This build shows what only Linux does, the states of TCP and the lengths of queues: then it must.
shows_all() { [ "$(uname)" = Linux ] && not_gvisor && ! grep -q -e -DPORTABLE "$root/tests/.flags"; }

# The standard descriptors have names here.
standard_names() {
    can 'names of standard input and output (/dev/stdin, /dev/stdout or /dev/stderr is not there)' \
        test -e /dev/stdin -a -e /dev/stdout -a -e /dev/stderr
}

# There is IPv6 here: whoever comes to a port of ::1 where nobody listens is refused.
has_ipv6() {
    can 'IPv6 (not on this machine)' sh -c '
        grep -qs " lo$" /proc/net/if_inet6 || "$client" -a ::1 -p 1 /dev/null 2>&1 | grep "$0"' "$(why ECONNREFUSED)"
}
