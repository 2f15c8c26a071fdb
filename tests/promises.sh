# promises.sh - tests what the README promises at its side doors. Read by tests/run.sh, whose helpers it uses.
#
# Urgent bytes, slow peers, closed descriptors, permissions, links, directories that move, names that hold more than
# letters, sources that change: what is not the way these programs are meant to be used, and has to be right even so.
# shellcheck shell=sh disable=SC2016,SC2154 # what stands in single quotes is for the inner shell; run.sh sets the rest

# shellcheck disable=SC2034 # for run.sh
promise_sections='urgent slow closed permissions unprivileged moments names traces_left one_line sources_change empty stops'
meddle=$root/tests/meddle

# Runs the shell script $1 as the only client of a server -k that sends text, which it stops at the end. There, $client is
# our client, $port the port, and $pid the server. What follows are more words for the server, $text of its own instead.
beside_server() {
    script=$1
    shift
    port=PORT client=$client meddle=$meddle run sh -c 'echo $$ >pid; exec "$@"' - "$server" -k -t 5 -p 0 "$@" @ \
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

# What the client was to put where is what the peer has sent, and it was acknowledged.
arrived() { both 0 0 && same "$1" "$2"; }

# End-of-file is what read says it is, and nothing else: not an urgent byte, where splice ends. It is not part of the file.
urgent() {
    make_file random 300000
    printf 'onetwo' >two
    cat two random >long
    for b in 1025 64K 0; do
        run "$peer" listen put one urgent X put two fin get 30 eof @ "$client" -t 5 -b $b -p PORT got
        check "-b $b: an urgent byte" arrived two got
        run "$peer" listen urgent X put one urgent Y put two urgent Z fin get 30 eof @ "$client" -t 5 -b $b -p PORT got
        check "-b $b: an urgent byte at the start, in the middle and at the end" arrived two got
        run "$peer" listen put one put two urgent X send random urgent YZ fin get 30 eof @ "$client" -t 5 -b $b -p PORT got
        printf Y | cat long - >expected
        check "-b $b: urgent bytes before and behind much else" arrived expected got
        echo old >kept
        run "$peer" listen put onetwo urgent X reset @ "$client" -t 5 -b $b -p PORT kept
        check "-b $b: an urgent byte, then a reset" is "$c $(cat kept)" '1 old'
    done
    run "$peer" listen put one urgent X stay @ "$client" -t 1 -b 0 -p PORT kept
    check 'an urgent byte and then nothing' is "$c $(cat kept)" '1 old'
    check 'an urgent byte and then nothing: the message' said client '*the server did not finish*(-t 1)'
    run "$server" -t 5 -p 0 two @ "$peer" connect PORT urgent X eof put 'I have recv' urgent Y put ' the data,Thank you' close
    check 'urgent bytes in the reply' both 0 0
    run "$server" -t 5 -p 0 two @ "$peer" connect PORT eof urgent "$thanks" close
    check 'a reply whose last byte is urgent lacks it' is "$s" 1
}

# Whoever makes progress is not cut off, however much longer than -t it takes; here -t is 1, and each of these takes more.
# They run at the same time.
slow() {
    make_file block 1100000
    cat block block block block block block block block >huge
    head -c 300000 block >small
    cat block block block >large
    crawl 1025 50000 small buffers 4096 & one=$!
    crawl 64K 150000 small buffers 4096 & two=$!
    crawl 1M 500000 large buffers 4096 & three=$!
    crawl 4M 2200000 huge buffers 4096 & four=$!
    crawl 0 450000 large buffers 4096 & five=$!
    # The client's patience: two bytes a second, at most.
    "$pair" slow.drip "$peer" listen drip 600 abcd fin get 30 eof @ "$client" -t 1 -p PORT dripped >slow.said 2>&1 & six=$!
    # A pipe to send and one to receive into are no business of the other side, and nobody is hurried.
    "$pair" slow.source sh -c '(printf abc; sleep 2; printf d) | "$0" -t 1 -p 0 /dev/stdin' "$server" @ \
        "$client" -t 9 -p PORT sourced >slow.said 2>&1 & seven=$!
    "$pair" slow.output "$server" -t 9 -p 0 large @ \
        sh -c '"$0" -t 1 -p "$1" - | (sleep 2; cat >piped)' "$client" PORT >slow.said 2>&1 & eight=$!
    wait $one $two $three $four $five $six $seven $eight
    for pace in '1025 small' '64K small' '1M large' '4M huge' '0 large'; do
        check "a slow reader, -b ${pace% *}" is "$(cat slow."${pace% *}"/status)" '0 0'
        check "a slow reader, -b ${pace% *}: the file" same "${pace#* }" slow."${pace% *}"/file
    done
    check 'a slow server' is "$(cat slow.drip/status)$(cat dripped)" '0 0abcd'
    check 'a slow source' is "$(cat slow.source/status)$(cat sourced)" '0 0abcd'
    check 'a slow output' is "$(cat slow.output/status)" '0 0'
    check 'a slow output: all of it' same large piped
    run "$server" -t 1 -p 0 small @ "$peer" connect PORT eof drip 400 "$thanks"
    check 'the reply as a whole has -t' is "$s" 1
    rm -rf slow.* block huge large small piped sourced dripped
}

# Sends $3 with -b $1 and -t 1 to a peer that reads $2 bytes a second, and after that acknowledges; $4 and $5 are its first
# action. In slow.$1.
crawl() {
    "$pair" "slow.$1" "$server" -t 1 -b "$1" -p 0 "$3" @ "$peer" connect PORT "$4" "$5" slow "$2" "slow.$1/file" \
        put "$thanks" close >"slow.$1.said" 2>&1
}

# A standard descriptor that is closed is no file, by none of its names, neither to send nor to receive into.
closed() {
    ln -s /dev/stdout out-link
    ln -s /proc/self/fd/0 in-link
    beside_server '
        for case in "- >&-" "/dev/stdout >&-" "/dev/fd/1 >&-" "/proc/self/fd/1 >&-" "/proc/thread-self/fd/1 >&-" \
            "out-link >&-" "/dev/../dev//stdout >&-" "/proc/\$\$/fd/1 >&-" "/dev/stderr 2>&-" "/proc/self/fd/2 2>&-" \
            "/dev/stdin <&-" "/dev/fd/0 <&-" "in-link <&-" "- <&- >&-" "/dev/stdout <&- >&-" "/dev/fd/1 <&- >&- 2>&-" \
            "- <&- >&- 2>&-" "/dev/stdin <&- >&-" "/dev/stderr >&- 2>&-" "/dev/stdin <&- 2>&-"; do
            sh -c "exec \"\$client\" -p $port $case" >>closed.out 2>>closed.err
            echo "$? $case"
        done' text
    check 'nothing closed is written to' is "$(grep -v '^1 ' p/client.out)" ''
    check 'nothing closed is written to: all were tried' is "$(wc -l <p/client.out | tr -d ' ')" 20
    check 'nothing closed is written to: no server was bothered' said server '*0 clients served, 0 failed'
    check 'nothing closed is written to: who can say so does' is "$(grep -c '^client: cannot write' closed.err)" 13
    check 'nothing closed is written to: in one line' each_line closed.err '^client: cannot write'
    for case in '/dev/stdin <&-' '/dev/fd/0 <&-' '/proc/self/fd/0 <&-' 'in-link <&-' '/proc/$$/fd/0 <&-' \
        '/dev/stdout >&-' '/dev/fd/2 2>&-' '/dev/stdin <&- >&-' '/dev/stdin <&- >&- 2>&-' '-k /dev/stdin <&-'; do
        alone sh -c "exec \"\$0\" -t 1 -p 0 $case" "$server"
        check "server $case" is "$status $(grep -c -e listening -e Waiting err out)" '1 err:0
out:0'
    done
    rm -f out-link in-link closed.out closed.err
}

# What a file is: mode, owner, group and access control list.
state() { "$meddle" state "$@"; }

# A file that replaces another one lets in nobody more, and not for a moment; a new one gets what any new one does.
permissions() {
    mkdir -p guarded
    "$meddle" default guarded u:7 u1234:7 g:0 m:7 o:0
    if [ $? = 77 ]; then
        skip 'access control lists (not on this system, or not in this directory)'
        return
    fi
    me=$(id -u):$(id -g) acl='u:6 u1234:4 g:0 m:4 o:0'
    (umask 022 && : >guarded/any)
    for file in guarded/listed listed guarded/plain plain special bare; do
        echo old >$file
    done
    # shellcheck disable=SC2086 # words
    "$meddle" acl listed $acl && "$meddle" acl guarded/listed $acl
    "$meddle" acl guarded/plain u:6 g:4 o:0 # which mode bits can say: it has no list then
    chmod 640 plain && chmod 6754 special && chmod 1604 bare
    beside_server '
        umask 022
        for file in guarded/new guarded/listed guarded/plain listed plain special bare; do
            "$client" -p $port $file >>said || echo "$file failed"
        done
        for file in guarded/listed guarded/plain listed; do
            "$meddle" watch ${file%"${file#guarded/}"}. "$client" -p $port $file >$file.watched || echo "$file $?"
        done' text
    check 'all arrive' is "$s $c $(cat p/client.out)" '0 0 '
    check 'a new file gets what the directory wants' is "$(state guarded/new)" "$(state guarded/any)"
    check 'the list of a file is kept' is "$(state listed)" "640 $me $acl"
    check 'the list of a file is kept, not that of the directory' is "$(state guarded/listed)" "640 $me $acl"
    check 'a file without a list gets none from the directory' is "$(state guarded/plain)" "640 $me -"
    check 'permissions' is "$(state plain bare)" "640 $me -
604 $me -"
    check 'the bits for set-user-ID and set-group-ID go' is "$(state special)" "754 $me -"
    wants="600 $me u:6 u1234:7 g:0 m:0 o:0"
    check 'not for a moment: list' only listed.watched "600 $me -" "640 $me $acl"
    check 'not for a moment: lists' only guarded/listed.watched "$wants" "640 $me $acl"
    check 'not for a moment: a list from the directory' only guarded/plain.watched "$wants" "600 $me -" "640 $me -"
    rm -rf guarded listed* plain special bare said
}

# Owners and groups: what root keeps, and what others cannot keep lets in nobody more.
owners() {
    chmod 755 .
    mkdir -p open && chmod 777 open
    if [ "$(id -u)" != 0 ] || ! "$meddle" as 4321 4321 "$client" -h >/dev/null 2>&1; then
        skip 'files of others (needs root, and that others can run our programs)'
        return
    fi
    # The owner, the group, the mode.
    for file in '0 4321 640' '0 4321 666' '0 4321 646' '0 4321 662' '0 777 666' '0 777 646' '0 777 606' '4321 4321 664'; do
        # shellcheck disable=SC2086 # words
        set -- $file
        echo old >"open/$1.$2.$3" && chown "$1:$2" "open/$1.$2.$3" && chmod "$3" "open/$1.$2.$3"
    done
    for mode in 640 4750; do
        echo old >roots.$mode && chown 4321:4321 roots.$mode && chmod $mode roots.$mode
    done
    lists='4321 777'
    for owner in $lists; do
        echo old >open/listed.$owner && chown $owner:777 open/listed.$owner
        "$meddle" acl open/listed.$owner u:6 u1234:4 u4321:6 g:4 m:6 o:4 2>/dev/null || lists=
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
    check 'what may not be written is not replaced' is "$(state open/0.4321.640) $(grep -c '0.4321.640 1' p/client.out)" \
        '640 0:4321 - 1'
    check 'a group that we belong to is kept' is "$(state open/0.4321.666 open/0.4321.646 open/0.4321.662)" \
        '666 4321:4321 -
646 4321:4321 -
662 4321:4321 -'
    check 'one that we do not belong to gets nothing, and as others no more than it had' is \
        "$(state open/0.777.666 open/0.777.646 open/0.777.606)" '606 4321:55 -
604 4321:55 -
600 4321:55 -'
    for file in open/0.777.6?6; do
        check "not for a moment: ${file#*/}" only watched."${file#*/}" '600 4321:55 -' "$(state "$file")"
    done
    [ -z "$lists" ] || check 'nor does anybody when the list cannot be kept' is "$(state open/listed.777)" '600 4321:55 -'
    [ -z "$lists" ] || check 'our own file whose group we cannot keep' is "$(state open/listed.4321)" '600 4321:55 -'
    rm -rf open roots.* watched* said
}

# Names are the kernel's to resolve, at every moment.
names() {
    echo precious >precious
    mkdir -p here
    ln -s nothing dangling
    ln -s ../nothing here/dangling
    ln -s dangling chain
    ln -s /proc/self/cwd/nothing roundabout
    for name in dangling here/dangling chain roundabout ./dangling; do
        alone "$client" -p 1 $name
        check "a link to nothing: $name" fails_with 1 "client: cannot write '$name': *"
    done
    if [ -e /proc/self/fd/0 ]; then
        echo other >'gone (deleted)'
        alone sh -c 'exec 9>gone; rm gone; exec "$0" -p 1 /proc/self/fd/9' "$client"
        check 'a file that was removed, by its name in /proc' fails_with 1 "client: cannot write '/proc/self/fd/9': *"
        check 'a file that was removed is not another one' is "$(cat 'gone (deleted)')" other
    fi
    check 'a link to nothing: nothing is made' is "$(find . -name nothing)" ''
    check 'nothing is left' clean .

    # At every moment between two system calls, what is there is replaced by something else.
    echo one >one && chmod 600 one
    echo two >two && chmod 640 two
    if "$meddle" acl two u:6 u1234:6 g:0 m:6 o:0 2>/dev/null; then # only where the list says so, 1234 may read
        chmod 640 two
    fi
    cp -p one got
    ln -s one first
    beside_server '
        "$meddle" each got "put two got" "put one got" "$client" -p $port got >put.out 2>put.err
        "$meddle" each got "put one got" "put two got" "$client" -p $port got >back.out 2>back.err
        ' text
    if [ ! -s put.out ]; then
        skip 'every moment of a run (ptrace is not to be had)'
        return
    fi
    check 'replaced all the time: no error' is "$(cat put.err back.err)" ''
    check 'replaced all the time: all goes well' each_line put.out '^0 '
    states="$(state one)
$(state two)"
    check 'replaced all the time: what the one lets in or what the other does' only put.out "0 $(state one)" "0 $(state two)"
    check 'replaced all the time: and the other way' only back.out "0 $(state one)" "0 $(state two)"
}
