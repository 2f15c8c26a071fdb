# promises.sh - tests the README's promises in unusual places. Read by tests/run.sh, whose helpers it uses.
#
# Urgent bytes, slow peers, closed descriptors, permissions, links, directories that move, names with odd characters,
# sources that change: nobody uses these programs like this on purpose, and they have to be right all the same.
# shellcheck shell=sh disable=SC2016,SC2154 # what stands in single quotes is for the inner shell; run.sh sets the rest

# Runs the shell script $1 as the only client of a server -k that sends text, which it stops at the end. There,
# $client is our client, $port the port, and $pid the server. What follows are more words for the server, $text of its
# own instead.
beside_server() {
    script=$1
    shift
    run sh -c 'echo $$ >pid; exec "$@" >/dev/null' - "$server" -k -t 5 -p 0 "$@" @ \
        sh -c 'port=$0 pid=$(cat pid); rm pid
'"$script"'
kill $pid' PORT
}

# True if there are lines in the file $1, and each of them is one of the lines that follow.
only() {
    file=$1
    shift
    printf '%s\n' "$@" >allowed
    [ -s "$file" ] && ! grep -vxFf allowed "$file"
}

# The file $1 has lines, all of which match $2.
each_line() { [ -s "$1" ] && ! grep -v "$2" "$1"; }

# Peers that are broken or mean us harm: each run ends in time, with the right status and a clear message.
test_hostile() {
    make_file random 9000000 # more than all buffers hold, so that the server has to wait for whoever does not read
    head -c 5000 random >small
    run "$server" -p 0 random @ "$peer" connect PORT get 1 reset
    check 'a client that reads one byte and resets' is "$s" 1
    check 'a client that resets: the message' said server "*client 4 did not take all of 'random'*"
    run "$server" -p 0 small @ "$peer" connect PORT fin into p/got
    check 'a client that half-closes at once' is "$s" 1
    check 'a client that half-closes at once: the message' said server '*client 4 did not acknowledge the file'
    check 'a client that half-closes at once still gets the file, and a reset at the end or not' cmp -n 4000 small p/got
    run "$server" -p 0 text @ "$peer" connect PORT put x fin into p/got
    check 'a reply of one byte' said server "*client 4 did not acknowledge the file, it said 'x'"
    run "$server" -p 0 random @ "$peer" connect PORT put "$thanks" into p/got
    check 'a client that replies first and reads then' arrived random
    run "$server" -p 0 small @ "$peer" connect PORT eof put 'I have recv the data, thank you' close
    check 'the wrong text' is "$s" 1
    check 'the wrong text is shown' said server "*it said 'I have recv the data, thank you'"
    run "$server" -p 0 small @ "$peer" connect PORT eof put 'I have recv' close
    check 'half of the right text' is "$s" 1
    check 'half of the right text is shown' said server "*it said 'I have recv'"
    run "$server" -t 5 -p 0 small @ "$peer" connect PORT eof put 'no' stay
    check 'a few wrong bytes' is "$s" 1
    check 'a few wrong bytes are enough: nothing more is waited for' said server "*it said 'no'"
    # In 20 MB of memory, where the build allows that (not with the address sanitizer).
    limit='ulimit -v 20000;'
    sh -c "$limit"' exec "$0" -h' "$server" >/dev/null 2>&1 || limit=
    make_hole much 100
    run sh -c "$limit"' exec "$0" -p 0 small' "$server" @ "$peer" connect PORT eof put "$thanks" send much close
    check 'the right text and 100 MiB more, of which the server takes little' both 0 1
    run sh -c "$limit"' exec "$0" -p 0 small' "$server" @ "$peer" connect PORT eof flood 104857600
    check '100 MiB of the wrong text' is "$s" 1
    check '100 MiB of the wrong text: what is shown is bounded' test "$(wc -c <p/server.err)" -lt 1300
    run "$server" -p 0 small @ "$peer" connect PORT eof put 'I have' sh 'sleep 0.2' pad 1100 stay
    check 'a wrong text that begins well, in two pieces: it ends at the first NUL' said server "*it said 'I have'"
    run "$server" -p 0 small @ "$peer" connect PORT eof put 'I have' sh 'sleep 0.2' flood 1100 stay
    slurp p/server.err
    text=${text#*\'I have}
    check 'and at 1025 bytes' is "${#text}" $((1025 - 6 + 1))
    run "$server" -t 2 -p 0 small @ "$peer" connect PORT flood 104857600 stay
    check 'a client that speaks and does not listen' is "$s" 1
    run "$server" -p 0 small @ "$peer" connect PORT eof \
        put '\x1b[2J\x1b]0;title\x07 \x01\x7f\x80\xff\x9b31m \\ and more than thirty bytes' close
    check 'control sequences, bytes over 127' is "$s" 1
    check 'they are shown escaped' \
        said server '*it said '\''\\x1b\[2J\\x1b\]0;title\\x07 \\x01\\x7f\\x80\\xff\\x9b31m \\x5c*'
    check 'nothing of it reaches the terminal' printable p/server.err
    check 'nor in the transcript' printable p/server.out

    for b in 1025 0; do
        echo old >kept
        run "$peer" listen send random reset @ "$client" -b $b -p PORT kept
        check "-b $b: a server that resets" \
            kept "client: the server did not finish, 'kept' is untouched: $(why ECONNRESET)"
    done
    run "$peer" listen reset @ "$client" -p PORT kept
    check 'a server that resets at once' kept "client: *: $(why ECONNRESET)"
    run "$peer" listen close @ "$client" -p PORT kept
    check 'a server that closes at once has sent an empty file: nothing on the wire tells otherwise' is "$c" 0
    check 'the empty file is there' same /dev/null kept
    run "$peer" listen send small fin wait p/got reset @ "$client" -d 2 -p PORT p/got
    check 'a server that is gone before the acknowledgement' both 0 0
    check 'a server that is gone: the client says so' \
        said client "client: 'p/got' is complete, but the server could not be told: *"
    check 'a server that is gone: the file is there' same small p/got

    # End-of-file is what read says it is, and nothing else: not an urgent byte, which is not part of the file.
    head -c 300000 random >some
    printf onetwo >two
    for b in 1025 64K 0; do
        run "$peer" listen put one urgent X put two fin get 30 eof @ "$client" -t 5 -b $b -p PORT got
        check "-b $b: an urgent byte" arrived two got
        run "$peer" listen urgent X put onetwo fin get 30 eof @ "$client" -t 5 -b $b -p PORT got
        check "-b $b: an urgent byte at the start" arrived two got
        run "$peer" listen put onetwo urgent X fin get 30 eof @ "$client" -t 5 -b $b -p PORT got
        check "-b $b: an urgent byte at the end" arrived two got
        run "$peer" listen send some urgent XY send some fin get 30 eof @ "$client" -t 5 -b $b -p PORT got
        (cat some && printf X && cat some) >expected
        check "-b $b: an urgent byte in the middle of much else" arrived expected got
        echo old >kept
        run "$peer" listen put onetwo urgent X reset @ "$client" -t 5 -b $b -p PORT kept
        check "-b $b: an urgent byte, then a reset" is "$c $(cat kept)" '1 old'
    done
    run "$peer" listen put one urgent X stay @ "$client" -t 1 -b 0 -p PORT kept
    check 'an urgent byte and then nothing' is "$c $(cat kept)" '1 old'
    check 'an urgent byte and then nothing: the message' said client '*the server did not finish*(-t 1)'
    run "$server" -t 5 -p 0 two @ "$peer" connect PORT urgent X eof put "${thanks% *}" urgent Y put " ${thanks##* }" \
        close
    check 'urgent bytes in the reply' both 0 0
    run "$server" -t 5 -p 0 two @ "$peer" connect PORT eof urgent "$thanks" close
    check 'a reply whose last byte is urgent lacks it' is "$s" 1
}

# Whoever makes progress is not cut off, however much longer than -t it takes; here -t is 2, and each of these takes
# more. They run at the same time.
test_slow() { # early
    make_file block 1100000
    cat block block block block block block block block >huge
    head -c 300000 block >small
    cat block block >large
    cat large large block >larger
    # A build that cannot see what its kernel still has to send takes a slow reader with large buffers for a dead one.
    patience=2
    if ! shows_all; then
        patience=30
        skip 'slow readers and large buffers: this build does not see what its kernel still has to send'
    fi
    crawl 1025 90000 small & one=$!
    crawl 64K 120000 small & two=$!
    crawl 1M 500000 large & three=$!
    crawl 4M 2200000 huge & four=$!
    crawl 0 1100000 larger & five=$!
    # The client's patience: a byte, and again.
    "$pair" slow.drip "$peer" listen drip 900 abcd fin get 30 eof @ \
        "$client" -t 2 -p PORT dripped >slow.said 2>&1 & six=$!
    # A pipe to send and one to receive into are no business of the other side, and nobody is hurried.
    mkfifo source
    "$pair" slow.source sh -c '(printf abc; sleep 3; printf d) >source & exec "$server" -t 2 -p 0 source' @ \
        "$client" -t 9 -p PORT sourced >slow.said 2>&1 & seven=$!
    "$pair" slow.output "$server" -t 9 -p 0 large @ \
        sh -c '"$0" -t 2 -p "$1" - | (sleep 3; cat >piped)' "$client" PORT >slow.said 2>&1 & eight=$!
    # Who has acknowledged before reading may read on, but keeps the server for a second only.
    "$pair" slow.thanks "$server" -v -b 256K -p 0 small @ \
        "$peer" connect PORT buffers 4096 put "$thanks" slow 100000 thanked close >slow.said 2>&1 & nine=$!
    wait $one $two $three $four $five $six $seven $eight $nine
    for pace in '1025 small' '64K small' '1M large' '4M huge' '0 larger'; do
        check "a slow reader, -b ${pace% *}" is "$(cat slow."${pace% *}"/status)" '0 0'
        check "a slow reader, -b ${pace% *}: the file" same "${pace#* }" slow."${pace% *}"/file
    done
    check 'a slow server' is "$(cat slow.drip/status)$(cat dripped)" '0 0abcd'
    check 'a slow source' is "$(cat slow.source/status)$(cat sourced)" '0 0abcd'
    check 'a slow output' is "$(cat slow.output/status)" '0 0'
    check 'a slow output: all of it' same large piped
    check 'an acknowledgement too early' is "$(cat slow.thanks/status)" '0 0'
    check 'an acknowledgement too early: the rest arrives' same small thanked
    check 'an acknowledgement too early: nobody waits for the rest' grep -q ' no end-of-file' slow.thanks/server.err
}

# Sends $3 with -b $1 and -t $patience to a peer that reads $2 bytes a second, and after that acknowledges. In slow.$1.
crawl() {
    "$pair" "slow.$1" "$server" -t "$patience" -b "$1" -p 0 "$3" @ \
        "$peer" connect PORT buffers 4096 slow "$2" "slow.$1/file" put "$thanks" close >"slow.$1.said" 2>&1
}

# Full disks and closed doors. Whatever fails, no acknowledgement is sent for a file that is not in place.
test_doors() {
    make_file random 300000
    echo old >kept
    run "$server" -p 0 random @ sh -c 'ulimit -f 100; exec "$0" -p "$1" kept' "$client" PORT
    check 'no space left' kept "client: cannot write 'kept': $(why EFBIG)"
    check 'no space left: the server knows' is "$s" 1
    if [ -c /dev/full ]; then
        run "$server" -p 0 random @ "$client" -p PORT /dev/full
        check 'a device that is full' both 1 1
        check 'a device that is full: the message' \
            said client "client: cannot write '/dev/full': $(why ENOSPC)"
        run "$server" -p 0 random @ sh -c 'exec "$0" -p "$1" - >/dev/full' "$client" PORT
        check '- into what is full' both 1 1
        run sh -c 'exec "$0" -p 0 random >/dev/full' "$server" @ \
            sh -c 'exec "$0" -p "$1" p/got >/dev/full' "$client" PORT
        check 'no space for the transcripts' arrived random
        for side in server client; do
            check "no space for the transcripts: the $side says so once" is \
                "$(grep -c "cannot write the transcript, going on without: $(why ENOSPC)" p/$side.err)" 1
            alone sh -c '"$0" -h >/dev/full' "$root/$side"
            check "no space for the help of the $side" \
                fails_with 1 "$side: cannot write to standard output: $(why ENOSPC)"
        done
    else
        skip '/dev/full (not on this system)'
    fi
    for closed in '>&-' '<&-' '2>&-' '<&- >&- 2>&-'; do
        run "$server" -p 0 random @ sh -c 'exec "$client" -v -p $0 p/got '"$closed" PORT
        check "the client with $closed" arrived random
        if [ -r /proc/net/tcp ]; then
            run sh -c 'exec "$server" -v -p $0 random '"$closed" PORT @ "$client" -p PORT p/got
            check "the server with $closed" arrived random
        fi
    done
    run "$server" -p 0 random @ sh -c '"$0" -p "$1" - 2>&- >p/got' "$client" PORT
    check 'the client with nowhere to say anything' arrived random
    # With 3 not even the C library would be found. All at the same time. A server whose client cannot connect is told
    # so by a peer. A build with sanitizers looks for leaks with a descriptor of its own.
    for n in 4 5 6 7 8; do
        "$pair" c$n "$server" -p 0 random @ sh -c '
            (ulimit -n $1 && exec env ASAN_OPTIONS=detect_leaks=0 "$client" -p $0 $2) && exit
            "$peer" connect $0 reset
            exit 1' PORT $n c$n/got &
        "$pair" s$n sh -c 'ulimit -n $1; exec env ASAN_OPTIONS=detect_leaks=0 "$server" -p $0 random' PORT $n @ \
            "$client" -p PORT s$n/got &
    done
    wait
    for n in 4 5 6 7 8; do
        look c$n
        [ "$c" = 0 ] || check "the client with $n descriptors" said client "client: *: $(why EMFILE)"
        check "the client with $n descriptors: both agree" is "$s" "$c"
        look s$n
        case $s,$c in
            0,0) ;;
            1,none | 1,1) check "the server with $n descriptors" said server "*server: *: $(why EMFILE)" ;;
            *) check "the server with $n descriptors: both agree" is "$s" "$c" ;;
        esac
    done
    check 'with 8 descriptors all goes well' arrived random

    # A standard descriptor that is closed is no file, by none of its names, neither to send nor to receive into.
    standard_names || return
    ln -s /dev/stdout out-link
    ln -s /proc/self/fd/0 in-link
    beside_server '
        for case in "- >&-" "/dev/stdout >&-" "/dev/fd/1 >&-" "/proc/self/fd/1 >&-" "/proc/thread-self/fd/1 >&-" \
            "out-link >&-" "/dev/../dev//stdout >&-" "/proc/\$\$/fd/1 >&-" "/dev/stderr 2>&-" "/proc/self/fd/2 2>&-" \
            "/dev/stdin <&-" "/dev/fd/0 <&-" "in-link <&-" "- <&- >&-" "/dev/stdout <&- >&-" "/dev/fd/1 <&- >&- 2>&-" \
            "- <&- >&- 2>&-" "/dev/stdin <&- >&-" "/dev/stderr >&- 2>&-" "/dev/stdin <&- 2>&-"; do
            sh -c "exec \"\$client\" -p $port $case" >>closed.out 2>>closed.err
            echo "$? $case"
        done' -v text
    check 'nothing closed is written to' is "$(grep -v '^1 ' p/client.out)" ''
    check 'nothing closed is written to: all were tried' is "$(wc -l <p/client.out | tr -d ' ')" 20
    check 'nothing closed is written to: no server was bothered' is "$(grep -c accepted p/server.err)" 0
    check 'nothing closed is written to: who can say so does' is "$(wc -l <closed.err | tr -d ' ')" \
        "$(grep -vc '2>&-' p/client.out)"
    check 'nothing closed is written to: in one line' each_line closed.err '^client: cannot write'
    for case in '/dev/stdin <&-' '/dev/fd/0 <&-' '/proc/self/fd/0 <&-' 'in-link <&-' '/proc/$$/fd/0 <&-' \
        '/dev/stdout >&-' '/dev/fd/2 2>&-' '/dev/stdin <&- >&-' '/dev/stdin <&- >&- 2>&-' '-k /dev/stdin <&-'; do
        alone sh -c "exec \"\$0\" -t 1 -p 0 $case" "$server"
        check "server $case" is "$status $(grep -c -e listening -e Waiting err out)" '1 err:0
out:0'
    done
}

# What a file is: mode, owner, group, and whether it has an access control list.
state() { "$meddle" state "$@"; }

# A file that replaces another one lets in nobody more, and not for a moment; a new one gets what any new one does.
test_permissions() {
    mkdir -p guarded
    "$meddle" default guarded
    if [ $? = 77 ]; then
        skip 'access control lists (not on this system, or not in this directory)'
        return
    fi
    me=$(id -u):$(id -g)
    (umask 022 && : >guarded/any)
    for file in guarded/listed listed guarded/plain plain special bare; do
        echo old >$file
    done
    chmod 640 plain && chmod 6754 special && chmod 1604 bare
    cp -p plain unlisted && mv unlisted guarded/plain # it was not made there, and has no list
    for file in listed guarded/listed; do
        "$meddle" acl $file && chmod 640 $file
    done
    beside_server '
        umask 022
        for file in guarded/new guarded/listed guarded/plain listed plain special bare; do
            "$client" -p $port $file >>said || echo "$file failed"
        done
        for file in guarded/listed guarded/plain listed; do
            "$meddle" watch ${file%"${file#guarded/}"}. "$client" -p $port $file >$file.watched || echo "$file $?"
        done' text
    check 'all arrive' is "$s $c $(cat p/client.out)" '143 0 '
    check 'a new file gets what the directory wants' is "$(state guarded/new)" "$(state guarded/any)"
    check 'of a file with a list only the permissions of its owner stay' is "$(state listed)" "600 $me -"
    check 'permissions' is "$(state plain bare)" "640 $me -
604 $me -"
    check 'the bits for set-user-ID and set-group-ID go' is "$(state special)" "754 $me -"
    wants="600 $me +"
    check 'not for a moment: list' only listed.watched "600 $me -"
    check 'not for a moment: lists' only guarded/listed.watched "$wants" "600 $me -"
    check 'not for a moment: a list from the directory' only guarded/plain.watched "$wants" "600 $me -" "640 $me -"
    # What counts is what stands there at the end.
    meanwhile 'echo old >it; chmod 644 it' 'chmod 600 it' "600 $me -"
    check 'and meanwhile nobody else gets at the temporary file' is "$(cat mode)" "600 $me -"
    meanwhile 'echo old >it; chmod 600 it' 'chmod 664 it' "664 $me -"
    meanwhile 'echo old >it; chmod 644 it' 'echo new >new; chmod 640 new; mv new it' "640 $me -"
    meanwhile 'echo old >it; chmod 644 it' 'chmod 200 it' "200 $me -"
    meanwhile 'echo old >it; chmod 644 it' '"$meddle" acl it' "700 $me -"
    meanwhile ': >it; "$meddle" acl it' 'rm it; : >it; chmod 644 it' "644 $me -"
    meanwhile 'echo old >it; chmod 644 it' 'rm it' "600 $me -"
    meanwhile 'echo old >it; chmod 644 it' 'rm it; mkfifo it' "600 $me -"
    meanwhile 'echo old >it; chmod 644 it' 'ln -fs text it' "600 $me -"
    meanwhile : '(umask 077; echo new >it)' "600 $me -"
    meanwhile : '(umask 027; echo new >it)' "640 $me -"
    meanwhile : 'ln -s text it' "600 $me -"
    meanwhile : : "644 $me -"
}

# The client receives into the file it, for which the shell has done $1, and meanwhile does $2. The new file is what $3
# says.
meanwhile() {
    rm -f it
    eval "$1"
    run "$peer" listen put abc sh '"$meddle" state .client-* >mode; '"$2" put def fin get 30 @ \
        sh -c 'umask 022; exec "$0" -t 5 -p "$1" it' "$client" PORT
    check "meanwhile $2 ($1)" is "$s $c $(state it) $(chmod u+r it && cat it)" "0 0 $3 abcdef"
}

# Owners and groups: what root keeps, and what others cannot keep lets in nobody more.
test_owners() {
    chmod 755 .
    mkdir -p open && chmod 777 open
    if [ "$(id -u)" != 0 ] || ! "$meddle" as 4321 4321 "$client" -h >/dev/null 2>&1; then
        skip 'files of others (needs root, and that others can run our programs)'
        return
    fi
    # The owner, the group, the mode.
    for file in '0 4321 640' '0 4321 646' '0 4321 666' '0 4321 662' '0 777 666' '0 777 646' '0 777 606' \
        '4321 55 200'; do
        # shellcheck disable=SC2086 # words
        set -- $file
        echo old >"open/$1.$2.$3" && chown "$1:$2" "open/$1.$2.$3" && chmod "$3" "open/$1.$2.$3"
    done
    for mode in 640 4750; do
        echo old >roots.$mode && chown 4321:4321 roots.$mode && chmod $mode roots.$mode
    done
    lists='4321 777'
    for owner in $lists; do
        echo old >"open/listed.$owner" && chown "$owner:777" "open/listed.$owner"
        "$meddle" acl "open/listed.$owner" 2>/dev/null && chmod 660 "open/listed.$owner" || lists=
    done
    beside_server '
        umask 0
        "$meddle" watch . "$client" -p $port roots.640 >watched || echo "root $?"
        "$client" -p $port roots.4750 >>said || echo "root $?"
        cd open
        for file in *; do
            "$meddle" as 4321 55,4321 "$meddle" watch . "$client" -p $port $file >../watched.$file
            echo "$file $?"
        done' text
    check 'root keeps owner and group' is "$(state roots.640 roots.4750)" '640 4321:4321 -
750 4321:4321 -'
    check 'root keeps them: not for a moment more' only watched '600 0:0 -' '600 4321:4321 -' '640 4321:4321 -'
    check 'what may not be written is not replaced' is "$(state open/0.4321.640 open/0.4321.646)" '640 0:4321 -
646 0:4321 -'
    check 'what may not be written is an error' is "$(grep -v ' 0$' p/client.out)" '0.4321.640 1
0.4321.646 1'
    check 'a group that we belong to is kept' is "$(state open/0.4321.666 open/0.4321.662)" '666 4321:4321 -
662 4321:4321 -'
    check 'our own file that we may not read' is "$(state open/4321.55.200)" '200 4321:55 -'
    check 'where the group cannot be kept, only the permissions of the owner stay' is \
        "$(state open/0.777.666 open/0.777.646 open/0.777.606 | sort -u)" '600 4321:55 -'
    for file in open/0.777.6?6; do
        check "not for a moment: ${file#*/}" only watched."${file#*/}" '600 4321:55 -'
    done
    if [ -n "$lists" ]; then
        check 'nor does anybody when the list cannot be kept' is "$(state open/listed.777)" '600 4321:55 -'
        check 'our own file whose group we cannot keep' is "$(state open/listed.4321)" '600 4321:55 -'
    fi
    meanwhile 'echo old >it; chmod 644 it' 'chown 4321:4321 it' '600 0:0 -'
    meanwhile : '(umask 0; echo new >it); chown 4321:4321 it' '600 0:0 -'
    meanwhile 'echo old >it; chmod 644 it; chown 4321:4321 it' 'echo new >new; mv new it' '600 0:0 -'
    meanwhile 'echo old >it; chmod 646 it' 'chown :4321 it' '646 0:4321 -'
}

# Names are the kernel's to resolve, at every moment.
test_names() {
    echo precious >precious
    mkdir -p here
    ln -s nothing dangling
    ln -s ../nothing here/dangling
    ln -s dangling chain
    ln -s /proc/self/cwd/nothing roundabout
    for name in dangling here/dangling chain roundabout ./dangling; do
        alone "$client" -p 1 $name
        check "a link to nothing: $name" fails_with 1 \
            "client: cannot write '$name': it is a symbolic link to nothing"
    done
    if [ -e /proc/self/fd/0 ]; then
        echo other >'gone (deleted)'
        alone sh -c 'exec 9>gone; rm gone; exec "$0" -p 1 /proc/self/fd/9' "$client"
        check 'a file that was removed, by its name in /proc' fails_with 1 "client: cannot write '/proc/self/fd/9': *"
        check 'a file that was removed is not another one' is "$(cat 'gone (deleted)')" other
    fi
    check 'a link to nothing: nothing is made' is "$(find . -name nothing)" ''
    check 'nothing is left' clean .

    cp "$client" runs
    chmod 750 runs
    run "$server" -p 0 text @ ./runs -p PORT runs
    check 'a program that is running' arrived text runs
    check 'a program that is running: permissions' is "$(find runs -perm 750)" runs

    # At every moment between two system calls, what is there is replaced by something else.
    echo one >one && chmod 604 one
    echo two >two && chmod 640 two
    two=$(state two)
    if "$meddle" acl two 2>/dev/null; then # only where the list says so, 1234 may read
        chmod 640 two
        two="600 $(id -u):$(id -g) -" # where there is a list, only the permissions of the owner stay
    fi
    beside_server '"$meddle" early it "put one it" "put two it" "$client" -p $port it >moments' text
    if [ ! -s moments ]; then
        skip 'every moment of a run (ptrace is not to be had)'
        return
    fi
    check 'replaced at any moment: no error' is "$(cat p/client.err)" ''
    check 'replaced at any moment: what the one lets in or what the other does' only moments \
        "0 $(state one)" "0 $two"
    # Somebody else has a temporary file of the name that ours would have: no signal, at any moment, makes us remove it.
    beside_server '"$meddle" early it "kill 15" "" \
        sh -c ": >.client-\$\$-0; : >made.\$\$; exec \"\$0\" -p \$1 it" "$client" $port >moments 2>err' text
    check 'killed at any moment: the file of somebody else stays' is "$(for made in made.*; do
            [ -e ".client-${made#made.}-0" ] || echo "$made"
        done)" ''
    check 'killed at any moment: and nothing else does' is "$(find . -name '.client-*-1')" ''
    check 'killed at any moment: there were some' at_least "$(find . -name 'made.*' | wc -l)" 20
    rm -f .client-* made.*
    # Where the kernel does not follow a link, nor do we: as with fs.protected_symlinks, which is not ours to set.
    mkdir -p mounted
    beside_server '
        unshare -m sh -c "mount -t tmpfs -o nosymfollow none mounted && cd mounted && ln -s ../precious it &&
            ! cat it 2>/dev/null && rm it && echo mounted &&
            exec \"\$@\"" - "$meddle" early it "link ../precious it" "remove it" \
                "$client" -p $port it >moments 2>err' text
    if ! grep -q mounted moments 2>/dev/null; then
        skip 'links that the kernel does not follow (needs root, unshare, and mount -o nosymfollow)'
    else
        check 'a link that the kernel does not follow, planted at any moment' is "$(cat precious)" precious
        check 'a link that the kernel does not follow: it was there, and it was not' is \
            "$(cut -d ' ' -f 1 moments | sort -u | tr '\n' ' ')" '0 1 mounted '
        check 'a link that the kernel does not follow: the message' each_line err "^client: cannot write 'it': "
    fi
}

# Nothing is left behind, whatever becomes of the directory of the destination while the file comes in.
test_traces_left() {
    make_file random 60000
    cat random random >expected
    for end in arrive reset kill; do
        moves $end 'the directory has another name' there/got 'mv trip/there trip/moved' moved/got
        moves $end 'a link in the path leads elsewhere' link/got 'rm trip/link; ln -s other trip/link' there/got
    done
    moves reset 'the directory is elsewhere, and another has its name' there/got \
        'mv trip/there trip/other; mkdir trip/there' other/there/got
    moves arrive 'the link to it leads elsewhere' file 'rm trip/file; ln -s other/got trip/file' there/got
    rm -rf trip
    moves arrive 'all above it has another name' there/got 'mkdir up; mv trip up' ../up/trip/there/got
}

# The client receives into $3 in the directory trip, and while it does so, with its temporary file there, the shell
# does $4. Then all goes well ($1 is arrive), the server breaks off (reset), or the client gets SIGTERM (kill): the file
# is $5 there, new or as it was. $2 is the name of the tests.
moves() {
    rm -rf trip
    mkdir -p trip/there trip/other
    ln -s there trip/link
    ln -s there/got trip/file
    echo old >trip/there/got
    how=$1 what="$2, $1" to=trip/$3 deed=$4 where=trip/$5
    [ "${5#../}" = "$5" ] || where=${5#../}
    case $how in
        arrive) set -- fin get 30 ;;
        reset) set -- reset ;;
        kill) set -- sh 'kill $(cat pid)' eof ;;
    esac
    run "$peer" listen send random sh "$deed" send random "$@" @ \
        sh -c 'echo $$ >pid; exec "$0" -t 5 -p "$1" "$2"' "$client" PORT "$to"
    case $how in
        arrive) check "$what: it arrives" arrived expected "$where" ;;
        reset) check "$what: it is what it was" is "$c $(cat "$where")" '1 old' ;;
        kill) check "$what: it is what it was" is "$c $(cat "$where")" '143 old' ;;
    esac
    check "$what: nothing is left" is "$(find "${where%%/*}" -type f ! -path "$where")" ''
}

# What a name may hold: newlines and control sequences, among them one of C1 in UTF-8, and letters that are to be
# read. A message is one line, and nothing in it commands a terminal; but letters are letters.
test_one_line() {
    odd=$(printf 'a\nb\033[31m\r\302\233m\177\tżółć')
    second_half=$(printf '\302[\200-\237]') # of the control characters
    shown=$(printf 'a\\x0ab\\x1b[31m\\x0d\\xc2\\x9bm\\x7f\\x09żółć')
    long=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa # no name, whoever would be asked
    mkdir -p "$odd.d/sub" && chmod 755 "$odd.d"
    ln -s "$odd.d/sub/none" innocent
    ln -s "$odd.d/sub" harmless
    alone "$server" -p 0 "$odd"
    check 'server: no such file' is "$status $(cat err)" "1 server: cannot send '$shown': $(why ENOENT)"
    alone "$server" -p 0 "$odd.d"
    check 'server: a directory' is "$(cat err)" "server: cannot send '$shown.d': $(why EISDIR)"
    for program in server client; do
        alone "$root/$program" "-a$long$odd" text
        check "$program -a" plain err "$shown"
        for option in b p t; do
            alone "$root/$program" "-$option$odd"
            check "$program -$option" plain err "$shown"
        done
        alone "$root/$program" one "$odd"
        check "$program: two operands" plain err "$shown"
        alone "$root/$program" "-$(printf '\033')"
        check "$program: a letter that is none" is "$(head -n 1 err)" "$program: there is no option -\\x1b"
    done
    alone "$client" -p 1 "$odd/there"
    check 'client: no such directory' plain err "$shown"
    alone "$client" -p 1 "$odd.d"
    check 'client: a directory' plain err "$shown"
    alone "$client" -p 1 "$(printf '\302\200\302\237\302\240\302/x')"
    check 'client: the first control character of C1, the last, and what is none' \
        plain err "$(printf "'\\\\xc2\\\\x80\\\\xc2\\\\x9f\302\240\302/x'")"
    alone "$client" -p 1 'ě€𝄞가/x'
    check 'client: letters' plain err "'ě€𝄞가/x'"
    alone "$client" -p 1 innocent
    check 'client: a link to nothing' plain err innocent
    alone "$client" -p 1 harmless
    check 'client: a link to a directory' plain err harmless
    cp text "$odd"
    run "$server" -v -p 0 "$odd" @ "$client" -v -p PORT "$odd.got"
    check 'a transfer' arrived "$odd" "$odd.got"
    for side in server client; do
        check "a transfer: the $side" plain p/$side.out "$shown"
        check "a transfer: the trace of the $side" plain p/$side.err "$side "
    done
    check 'a transfer: each line is one' is "$(cat p/server.out p/client.out | wc -l | tr -d ' ')" 23
    run "$peer" listen put abc sh 'until grep -q Recving p/client.out; do :; done' reset @ "$client" -p PORT "$odd.got"
    check 'a transfer that fails' is "$(cat p/client.err)" \
        "client: the server did not finish, '$shown.got' is untouched: $(why ECONNRESET)"
}

# The file $1 has the text $2, and no control byte, of ASCII or of UTF-8, but the ends of its lines.
plain() { ! grep -qe '[[:cntrl:]]' -e "$second_half" "$1" && grep -qF -e "$2" "$1"; }

# What can be sent: a file of any kind, as long as it was when sending began, and if it became something else meanwhile,
# that is said.
test_sources() {
    make_file random 300000
    head -c 9000000 /dev/zero >zeros
    # shellcheck disable=SC2002 # a pipe is what this is about
    cat random | run "$server" -p 0 - @ "$client" -p PORT p/got
    look p # the function ran in a process of its own
    check 'a pipe' arrived random
    : | run "$server" -p 0 - @ "$client" -p PORT p/got
    look p
    check 'an empty pipe' arrived /dev/null
    mkfifo fifo
    echo regular >turns
    cat random >fifo &
    run "$server" -p 0 fifo @ "$client" -p PORT p/got
    wait $!
    check 'a FIFO' arrived random
    rm -r p # what the run before said
    run "$server" -p 0 fifo @ "$client" -p PORT p/got &
    launched=$!
    until grep -qs '^Start to send' p/server.out || ! kill -0 $launched; do sleep 0.05; done
    cat random >fifo
    wait $launched
    look p
    check 'a FIFO whose writer comes late' arrived random
    run "$server" -p 0 fifo @ "$peer" connect PORT says p/server.out 'Start to send' reset
    check 'a FIFO without a writer, and the client leaves' both 1 0
    check 'a FIFO without a writer: the message' said server "*client 4 did not take all of 'fifo': *"
    exec 7<>fifo # a writer that says no more
    printf abc >&7
    run "$server" -p 0 fifo @ "$peer" connect PORT get 3 reset
    exec 7>&-
    check 'a FIFO whose writer is silent, and the client leaves' both 1 0
    run sh -c 'echo $$ >pid; exec "$@"' - "$server" -k -p 0 turns @ \
        sh -c 'rm turns; mkfifo turns; "$0" -p "$1" p/got; status=$?; kill $(cat pid); exit $status' "$client" PORT
    check '-k, and a FIFO in the place of the file' both 143 1
    check '-k, and a FIFO: the message' said server "*server: 'turns' is no longer a regular file"
    run "$server" -p 0 /dev/null @ "$client" -p PORT p/got
    check '/dev/null' arrived /dev/null
    ln -s random link
    run "$server" -p 0 link @ "$client" -p PORT p/got
    check 'a symbolic link' arrived random
    cp zeros shrinks
    run "$server" -p 0 shrinks @ "$peer" connect PORT get 1 sh 'dd if=/dev/null of=shrinks bs=1000000 seek=8' into p/got
    check 'a file that shrinks: the client sees a reset' both 1 1
    check 'a file that shrinks: the message' said server \
        "*server: 'shrinks' lacks 1000000 of its 9000000 bytes (*"
    # More than 4 GiB, of which hardly anything is there by the time it is read.
    make_hole hole 4097
    run "$server" -p 0 hole @ "$peer" connect PORT get 1 sh ': >hole' into p/got
    slurp p/server.err
    check 'a file of more than 4 GiB: its size' matches "$text" "*: 'hole' lacks 42[0-9]* of its 4296015880 bytes (*"
    run "$server" -p 0 shrinks @ sh -c 'rm shrinks; exec "$0" -p "$1" p/got' "$client" PORT
    check 'a file that is gone by the time there is a client' both 1 1
    check 'a file that is gone: the message' said server "*cannot open 'shrinks': $(why ENOENT)"
    # All of it is in the send buffer, and the server has said that it has sent it, when the file changes.
    tr '\0-\377' x <random >other
    for deed in 'dd if=/dev/null of=cut bs=90001 seek=1' 'dd if=other of=cut conv=notrunc' ': >cut'; do
        head -c 100000 random | tee cut >whole
        run "$server" -b 1M -p 0 cut @ "$peer" connect PORT \
            sh "until grep -q '^Send data done' p/server.out; do :; done; $deed 2>/dev/null" \
            into got put "$thanks" close
        check "changed when it was sent ($deed)" arrived whole got
        check "changed when it was sent ($deed): nothing to say" is "$(wc -l <p/server.err | tr -d ' ')" 1
    done
    # The peer's window is full long before the end: the server is still at it when the file changes.
    cp zeros changes
    for deed in 'echo new | dd of=changes conv=notrunc 2>/dev/null' 'echo new >>changes' \
        'echo new | dd of=changes bs=9000000 seek=1 2>/dev/null'; do
        run "$server" -p 0 changes @ "$peer" connect PORT get 1 sh "$deed" into p/got put "$thanks" close
        check "written to ($deed): sent as long as it was" is "$s $c $(bytes p/got)" '0 0 8999999'
        check "written to ($deed): it is said, once" said server "*
server: 'changes' was written to while it was being sent"
        cp zeros changes
    done
    run "$server" -p 0 changes @ "$peer" connect PORT get 1 sh 'mv changes old; cp random changes' \
        eof put "$thanks" close
    check 'replaced: this is another file' is "$s $(wc -l <p/server.err | tr -d ' ')" '0 1'
    if [ -r /proc/filesystems ]; then
        beside_server '"$client" -b 0 -p $port got.one; "$client" -p $port got.two' /proc/filesystems
        check 'a file of /proc' is "$s $(cat got.one got.two)" "143 $(cat /proc/filesystems /proc/filesystems)"
    else
        skip 'files of /proc'
    fi
    # These claim to be empty too, but to read them fails, or has to wait.
    if [ -e /proc/self/mem ]; then
        echo old >kept
        run "$server" -p 0 /proc/self/mem @ "$client" -p PORT kept
        check 'a file that cannot be read is not an empty one' is "$s $c $(cat kept)" '1 1 old'
        check 'a file that cannot be read: the message' said server "*cannot read '/proc/self/mem': *"
    fi
    cp random leased
    run "$meddle" lease leased "$server" -p 0 leased @ "$client" -p PORT p/got
    if [ "$s" = 77 ]; then
        skip 'a file with a lease (not on this system, or not in this directory)'
    else
        check 'a file on which somebody has a lease' arrived random
    fi
    odd=$(find /sys/kernel/mm /sys/kernel/profiling /sys/kernel/uevent_helper /sys/module/tcp_cubic/parameters -type f \
        -size 8 -perm -444 2>/dev/null | head -n 1)
    if [ -n "$odd" ]; then
        echo old >kept
        run "$server" -p 0 "$odd" @ "$client" -p PORT kept
        if [ "$s" = 0 ]; then
            check 'a file of /sys' arrived "$odd" kept
        else
            check 'a file of /sys that is shorter than it claims' is "$c $(cat kept)" '1 old'
            check 'a file of /sys: the message' said server "*'$odd' lacks * of its * bytes (*a pipe can send it)"
        fi
    else
        skip 'a file of /sys'
    fi
}

# A transfer that brings nothing is most often a mistake somewhere before the server: the client says so.
test_empty() {
    : >nothing
    echo old >full
    echo old >target
    ln -s target link
    beside_server 'for file in full link new /dev/null; do "$client" -p $port $file >>said; done' nothing
    check 'nothing arrives' is "$s $c $(cat full target new)" '143 0 '
    for file in full link new /dev/null; do
        echo "client: the server sent nothing: '$file' is empty (was it the right server?)"
    done >expected
    check 'nothing is said, in a line each' diff expected p/client.err
    : >full
    run "$server" -p 0 text @ "$client" -p PORT full
    check 'something over nothing is not said' is "$(cat p/client.err)" ''
}

# A terminal that is sent does not become the program's own: its Ctrl-C is not for us. (One that is only written to
# never does.)
test_no_terminal() {
    terminal_of='until cut -d " " -f 7 /proc/"$(cat pid)"/stat >terminal; do :; done 2>/dev/null'
    if [ ! -r /proc/self/stat ] || ! setsid true; then
        skip 'whose terminal it is (needs /proc and setsid)'
        return
    fi
    standard_names || return
    run "$peer" terminal setsid sh -c 'echo $$ >pid; exec "$0" -p 0 /dev/stderr' "$server" @ \
        "$peer" connect PORT says p/server.out 'Start to send' sh "$terminal_of" reset
    check 'the server does not take the terminal' is "$s $c $(cat terminal)" '1 0 0'
}

# Signals that were ignored when a program started, as whoever starts it in the background may want it, stay ignored.
test_stops() {
    for ignored in INT.130 TERM.143; do
        other=TERM.143
        [ $ignored = INT.130 ] || other=INT.130
        run sh -c 'echo $$ >pid; trap "" $0 CHLD; exec "$@"' ${ignored%.*} "$server" -k -p 0 text @ \
            sh -c 'kill -$1 $(cat pid); "$client" -t 5 -p $0 got; s=$?; kill -$2 $(cat pid); exit $s' \
            PORT ${ignored%.*} ${other%.*}
        check "server -k that shall ignore SIG${ignored%.*}" both ${other#*.} 0
    done
    # A child that was there before the program became a server is no client.
    run sh -c 'echo $$ >pid; true & exec "$@"' - "$server" -k -p 0 text @ \
        sh -c '"$client" -p $0 p/got; s=$?; kill $(cat pid); exit $s' PORT
    check 'server -k with a child of somebody else' is "$s $c" '143 0'
    run "$peer" listen put abc sh 'for s in HUP INT QUIT TERM USR1; do kill -$s $(cat pid); done' put def fin get 30 @ \
        sh -c 'echo $$ >pid; trap "" HUP INT QUIT TERM USR1; exec "$0" -t 5 -p "$1" got' "$client" PORT
    check 'a client that shall ignore signals' is "$s $c $(cat got)" '0 0 abcdef'
    run "$peer" listen put abc sh 'for s in CHLD CONT URG WINCH; do kill -$s $(cat pid); done' put def fin get 30 @ \
        sh -c 'echo $$ >pid; exec "$0" -t 5 -p "$1" got' "$client" PORT
    check 'signals that end no program do not end the client' is "$s $c $(cat got)" '0 0 abcdef'
}
