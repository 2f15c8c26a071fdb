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

# The server sends the file $1 to a peer that does what follows $2. It fails, and says that client 4 did not what $2
# matches.
unheard() {
    file=$1 message=$2
    shift 2
    run "$server" -t 5 -p 0 "$file" @ "$peer" connect PORT "$@"
    check "$*" is "$s" 1
    check "$*: the message" said server "*${newline}server: client 4 did not $message"
}

# Peers that are broken or mean us harm: each run ends in time, with the right status and a clear message.
test_hostile() {
    make_file random 9000000 # more than all buffers hold, so that the server has to wait for whoever does not read
    head -c 5000 random >small
    unheard random "take all of 'random': *" get 1 reset
    unheard small 'acknowledge the file' fin into p/got
    check 'a client that half-closes at once still gets the file, and a reset at the end or not' cmp -n 4000 small p/got
    unheard text "acknowledge the file, it said 'x'" put x fin into p/got
    unheard small "acknowledge the file, it said 'I have recv the data, thank you'" \
        eof put 'I have recv the data, thank you' close
    unheard small "acknowledge the file, it said 'I have recv'" eof put 'I have recv' close
    unheard small "acknowledge the file, it said 'no'" eof put 'no' stay # enough: nothing more is waited for
    unheard small "acknowledge the file, it said 'I have'" eof put 'I have' sh 'sleep 0.2' pad 1100 stay
    unheard small "acknowledge the file, it said 'I have*'" eof put 'I have' sh 'sleep 0.2' flood 1100 stay
    slurp p/server.err
    text=${text#*\'I have}
    check 'a wrong text ends at 1025 bytes' is "${#text}" $((1025 - 6 + 1))
    unheard small "acknowledge the file, it said '?x1b[[]2J?x1b]0;title?x07 ?x01?x7f?x80?xff?x9b31m ?x5c*" \
        eof put '\x1b[2J\x1b]0;title\x07 \x01\x7f\x80\xff\x9b31m \\ and more than thirty bytes' close
    for said in p/server.err p/server.out; do # the only bytes there that are not ASCII are those of the colon
        check "nothing of it reaches the terminal raw: $said" is "$(sed 's/：/:/g' $said | tr -d '\n -~' | wc -c)" 0
    done
    make_hole much 2
    run "$server" -p 0 small @ "$peer" connect PORT buffers 4096 eof put "$thanks" send much close
    check 'the right text and 2 MiB more, of which the server takes little' both 0 1
    unheard small "acknowledge the file, it said '*'" flood 104857600 stay
    run "$server" -p 0 random @ "$peer" connect PORT put "$thanks" into p/got
    check 'a client that replies first and reads then' arrived random

    for b in 1025 0; do
        echo old >kept
        run "$peer" listen send random reset @ "$client" -b $b -p PORT kept
        check "-b $b: a server that resets" \
            kept "client: the server did not finish, 'kept' is untouched: $(why ECONNRESET)"
    done
    run "$peer" listen reset @ "$client" -p PORT kept
    check 'a server that resets at once' kept "client: *: $(why ECONNRESET)"
    run "$peer" listen send small fin wait p/got reset @ "$client" -d 2 -p PORT p/got
    check 'a server that is gone before the acknowledgement' \
        ended 0 0 client "client: 'p/got' is complete, but the server could not be told: *"
    check 'a server that is gone before the acknowledgement: the file is there' same small p/got

    # End-of-file is what read says it is, and nothing else: not an urgent byte, which is not part of the file.
    head -c 300000 random >some
    (cat some && printf X && cat some) >expected
    printf onetwo >two
    for b in 1025 64K 0; do
        for says in 'put one urgent X put two' 'urgent X put onetwo' 'put onetwo urgent X' \
            'send some urgent XY send some'; do
            # shellcheck disable=SC2086 # words
            run "$peer" listen $says fin get 30 eof @ "$client" -t 5 -b $b -p PORT got
            case $says in
                *some) check "-b $b: $says" arrived expected got ;;
                *) check "-b $b: $says" arrived two got ;;
            esac
        done
        run "$peer" listen put onetwo urgent X reset @ "$client" -t 5 -b $b -p PORT kept
        check "-b $b: an urgent byte, then a reset" kept '*'
    done
    run "$peer" listen put one urgent X stay @ "$client" -t 1 -b 0 -p PORT kept
    check 'an urgent byte and then nothing' kept '*the server did not finish*(-t 1)'
    run "$server" -t 5 -p 0 two @ "$peer" connect PORT urgent X eof put "${thanks% *}" urgent Y put " ${thanks##* }" \
        close
    check 'urgent bytes in the reply' both 0 0
    run "$server" -t 5 -p 0 two @ "$peer" connect PORT eof urgent "$thanks" close
    check 'a reply whose last byte is urgent lacks it' is "$s" 1
}

# Whoever makes progress is not cut off, however much longer than -t it takes; here -t is 2, and each of these takes
# more. They run at the same time, in directories that begin with the name of the file to arrive.
test_slow() { # early
    printf abcd >abcd
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
    set -- small 1025 90000 small 64K 120000 large 1M 500000 huge 4M 2200000 larger 0 1100000
    while [ $# -gt 0 ]; do # the file $1 with -b $2 to a peer that reads $3 bytes a second, and after that acknowledges
        "$pair" "$1.$2" "$server" -v -t "$patience" -b "$2" -p 0 "$1" @ "$peer" connect PORT buffers 4096 \
            slow "$3" "$1.$2/file" put "$thanks" close >said 2>&1 &
        shift 3
    done
    # The client's patience: a byte, and again.
    "$pair" abcd.drip "$peer" listen drip 900 abcd fin get 30 eof @ "$client" -t 2 -p PORT abcd.drip/file >said 2>&1 &
    # A pipe to send and one to receive into are no business of the other side, and nobody is hurried.
    mkfifo source
    "$pair" abcd.source sh -c '(printf abc; sleep 3; printf d) >source & exec "$server" -t 2 -p 0 source' @ \
        "$client" -t 9 -p PORT abcd.source/file >said 2>&1 &
    "$pair" large.output "$server" -t 9 -p 0 large @ \
        sh -c '"$0" -t 2 -p "$1" - | (sleep 3; cat >large.output/file)' "$client" PORT >said 2>&1 &
    # Who has acknowledged before reading may read on, but keeps the server for a second only.
    "$pair" small.thanks "$server" -v -b 256K -p 0 small @ "$peer" connect PORT buffers 4096 put "$thanks" \
        slow 100000 small.thanks/file close >said 2>&1 &
    wait
    for place in *.*; do
        look "$place"
        check "$place" arrived "${place%%.*}" "$place/file"
    done
    check 'who waits for the answer knows that the client has everything' \
        is "$(grep 'FIN_WAIT1  *waits' ./*/server.err)" ''
    check 'an acknowledgement too early: nobody waits for the rest' grep -q ' no end-of-file' small.thanks/server.err
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
        check 'a device that is full' ended 1 1 client "client: cannot write '/dev/full': $(why ENOSPC)"
        run "$server" -p 0 random @ sh -c 'exec "$0" -p "$1" - >/dev/full' "$client" PORT
        check '- into what is full' both 1 1
        run sh -c 'exec "$0" -p 0 random >/dev/full' "$server" @ \
            sh -c 'exec "$0" -p "$1" p/got >/dev/full' "$client" PORT
        check 'no space for the transcripts' arrived random
        for side in server client; do
            check "no space for the transcripts: the $side says so once" is \
                "$(grep -c "cannot write the transcript, going on without: $(why ENOSPC)" p/$side.err)" 1
            refuses 1 "$side: cannot write to standard output: $(why ENOSPC)" \
                sh -c '"$0" -h >/dev/full' "$root/$side"
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
    check 'nothing closed is written to' is "$(cut -c 1 p/client.out | sort | uniq -c | tr -s ' ')" ' 20 1'
    check 'nothing closed is written to: no server was bothered' is "$(grep -c accepted p/server.err)" 0
    check 'nothing closed is written to: who can say so does' is \
        "$(grep -c '^client: cannot write ' closed.err) $(wc -l <closed.err | tr -d ' ')" '14 14'
    for case in '/dev/stdin <&-' '/dev/fd/0 <&-' '/proc/self/fd/0 <&-' 'in-link <&-' '/proc/$$/fd/0 <&-' \
        '/dev/stdout >&-' '/dev/fd/2 2>&-' '/dev/stdin <&- >&-' '/dev/stdin <&- >&- 2>&-' '- <&-' '-k - <&-'; do
        alone sh -c "exec \"\$0\" -t 1 -p 0 $case" "$server"
        check "server $case" is "$status $(cat err out | grep -c -e listening -e Waiting)" '1 0'
    done
}

# What a file is: mode, owner, group, and whether it has an access control list.
state() { "$tamper" state "$@"; }

# A file that replaces another one lets in nobody more, and not for a moment; a new one gets what any new one does.
test_permissions() {
    mkdir -p guarded
    "$tamper" default guarded
    if [ $? = 77 ]; then
        skip 'access control lists (not on this system, or not in this directory)'
        return
    fi
    me=$(id -u):$(id -g)
    (umask 022 && : >guarded/any)
    echo old >listed && echo old >guarded/listed
    (umask 027 && echo old >unlisted && mv unlisted guarded/plain) # it was not made there, and has no list
    "$tamper" acl listed && "$tamper" acl guarded/listed && chmod 640 listed guarded/listed
    beside_server '
        umask 022
        "$client" -p $port guarded/new || echo new
        for file in guarded/listed guarded/plain listed; do
            "$tamper" watch ${file%"${file#guarded/}"}. "$client" -p $port $file >$file.watched || echo "$file $?"
        done >&2' text
    check 'all arrive' is "$s $c $(cat p/client.err)" '143 0 '
    check 'a new file gets what the directory wants' is "$(state guarded/new)" "$(state guarded/any)"
    check 'of a file with a list only the permissions of its owner stay' moments_of listed "600 $me -"
    for file in guarded/listed guarded/plain; do # in a directory that gives lists
        check "or if the new one has a list: $file" moments_of $file "600 $me +"
    done
    # What counts is what stands there at the end.
    meanwhile 'echo old >it; chmod 644 it' 'chmod 600 it' "600 $me -"
    check 'and meanwhile nobody else gets at the temporary file' is "$(cat mode)" "600 $me -"
    meanwhile 'echo old >it; chmod 600 it' 'chmod 664 it' "664 $me -"
    meanwhile 'echo old >it; chmod 644 it' 'echo new >new; chmod 640 new; mv new it' "640 $me -"
    meanwhile 'echo old >it; chmod 644 it' 'chmod 200 it' "200 $me -"
    meanwhile 'echo old >it; chmod 644 it' '"$tamper" acl it' "700 $me -"
    meanwhile ': >it; "$tamper" acl it' 'rm it; : >it; chmod 644 it' "644 $me -"
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
    run "$peer" listen put abc sh '"$tamper" state .client-* >mode; '"$2" put def fin get 30 @ \
        sh -c 'umask 022; exec "$0" -t 5 -p "$1" it' "$client" PORT
    check "meanwhile $2 ($1)" is "$s $c $(state it) $(chmod u+r it && cat it)" "0 0 $3 abcdef"
}

# The file $1 is what $2 says, and its temporary file was at every moment that or one of the states that follow.
moments_of() { is "$(state "$1")" "$2" && file=$1 && shift && only "$file.watched" "$@"; }

# Owners and groups: what root keeps, and what others cannot keep lets in nobody more.
test_owners() {
    chmod 755 .
    mkdir -p open && chmod 777 open
    if [ "$(id -u)" != 0 ] || ! "$tamper" as 4321 4321 "$client" -h >/dev/null 2>&1; then
        skip 'files of others (needs root, and that others can run our programs)'
        return
    fi
    # The owner, the group, the mode.
    for file in '0 4321 640' '0 4321 646' '0 4321 666' '0 4321 662' '0 777 666' '0 777 646' '0 777 606' \
        '4321 55 200' '4321 777 664'; do
        # shellcheck disable=SC2086 # words
        set -- $file
        echo old >"open/$1.$2.$3" && chown "$1:$2" "open/$1.$2.$3" && chmod "$3" "open/$1.$2.$3"
    done
    for mode in 640 4750; do
        echo old >roots.$mode && chown 4321:4321 roots.$mode && chmod $mode roots.$mode
    done
    beside_server '
        umask 0
        "$tamper" watch . "$client" -p $port roots.640 >roots.640.watched || echo "root $?"
        "$client" -p $port roots.4750 >>said || echo "root $?"
        cd open
        for file in *; do
            "$tamper" as 4321 55,4321 "$tamper" watch . "$client" -p $port $file >../watched.$file
            echo "$file $?"
        done' text
    check 'what may not be written is an error' is "$(grep -v ' 0$' p/client.out)" '0.4321.640 1
0.4321.646 1'
    check 'what may not be written is not replaced' is "$(state open/0.4321.640 open/0.4321.646)" '640 0:4321 -
646 0:4321 -'
    check 'root keeps owner and group, not for a moment more' moments_of roots.640 \
        '640 4321:4321 -' '600 0:0 -' '600 4321:4321 -'
    check 'root keeps them, and drops set-user-ID' is "$(state roots.4750)" '750 4321:4321 -'
    check 'a group that we belong to is kept' is "$(state open/0.4321.666 open/0.4321.662)" '666 4321:4321 -
662 4321:4321 -'
    check 'our own file that we may not read' is "$(state open/4321.55.200)" '200 4321:55 -'
    for file in 0.777.666 0.777.646 0.777.606 4321.777.664; do
        check "only the permissions of the owner stay where the group cannot be kept: $file" is \
            "$(state open/$file)" '600 4321:55 -'
        check "not for a moment more: $file" only watched.$file '600 4321:55 -'
    done
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
        refuses 1 "client: cannot write '$name': it is a symbolic link to nothing" "$client" -p 1 $name
    done
    if [ -e /proc/self/fd/0 ]; then
        echo other >'gone (deleted)'
        refuses 1 "client: cannot write '/proc/self/fd/9': *" \
            sh -c 'exec 9>gone; rm gone; exec "$0" -p 1 /proc/self/fd/9' "$client"
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
    if "$tamper" acl two 2>/dev/null; then # only where the list says so, 1234 may read
        chmod 640 two
        two="600 $(id -u):$(id -g) -" # where there is a list, only the permissions of the owner stay
    fi
    beside_server '"$tamper" early it "put one it" "put two it" "$client" -p $port it >moments' text
    if [ ! -s moments ]; then
        skip 'every moment of a run (ptrace is not to be had)'
        return
    fi
    check 'replaced at any moment: no error' is "$(cat p/client.err)" ''
    check 'replaced at any moment: what the one lets in or what the other does' only moments \
        "0 $(state one)" "0 $two"
    beside_server 'ln -f one it; "$tamper" early it "kill 15" "put one it" "$client" -p $port it >moments 2>err' text
    check 'killed at any moment: what was there, or the new file' only moments "143 $(state one)" "0 $(state one)"
    check 'killed at any moment: there were some' at_least "$(grep -c '^143' moments)" 20
    check 'killed at any moment: nothing is left' clean .
    # Where the kernel does not follow a link, nor do we: as with fs.protected_symlinks, which is not ours to set.
    mkdir -p mounted
    beside_server '
        unshare -m sh -c "mount -t tmpfs -o nosymfollow none mounted && cd mounted && ln -s ../precious it &&
            ! cat it 2>/dev/null && rm it && echo mounted &&
            exec \"\$@\"" - "$tamper" early it "link ../precious it" "remove it" \
                "$client" -p $port it >moments 2>err' text
    if ! grep -q mounted moments 2>/dev/null; then
        skip 'links that the kernel does not follow (needs root, unshare, and mount -o nosymfollow)'
    else
        check 'a link that the kernel does not follow, planted at any moment' is "$(cat precious)" precious
        check 'a link that the kernel does not follow: it was there, and it was not' is \
            "$(cut -d ' ' -f 1 moments | sort -u | tr '\n' ' ')" '0 1 mounted '
        check 'a link that the kernel does not follow: the message' \
            is "$(sed "s/^\(client: cannot write 'it': \).*/\1/" err | sort -u)" "client: cannot write 'it': "
    fi
}

# Nothing is left behind, whatever becomes of the directory of the destination while the file comes in.
test_traces_left() {
    make_file random 60000
    cat random random >expected
    for end in arrive reset kill; do
        moves $end trip/there/got 'mv trip/there trip/moved' trip/moved/got
        moves $end trip/link/got 'rm trip/link; ln -s other trip/link' trip/there/got
    done
    moves reset trip/there/got 'mv trip/there trip/other; mkdir trip/there' trip/other/there/got
    moves arrive trip/file 'rm trip/file; ln -s other/got trip/file' trip/there/got
    moves arrive trip/there/got 'mkdir up; mv trip up' up/trip/there/got
}

# The client receives into $2, and while it does so, with its temporary file there, the shell does $3. Then all goes
# well ($1 is arrive), the server breaks off (reset), or the client gets SIGTERM (kill): the file is $4, new or the old.
moves() {
    how=$1 to=$2 deed=$3 where=$4
    rm -rf trip
    mkdir -p trip/there trip/other
    ln -s there trip/link
    ln -s there/got trip/file
    echo old >trip/there/got
    case $how in
        arrive) set -- fin get 30 ;;
        reset) set -- reset ;;
        kill) set -- sh 'kill $(cat pid)' eof ;;
    esac
    run "$peer" listen send random sh "$deed" send random "$@" @ \
        sh -c 'echo $$ >pid; exec "$0" -t 5 -p "$1" "$2"' "$client" PORT "$to"
    case $how in
        arrive) check "$how, $deed" arrived expected "$where" ;;
        reset) check "$how, $deed: it is what it was" is "$c $(cat "$where")" '1 old' ;;
        kill) check "$how, $deed: it is what it was" is "$c $(cat "$where")" '143 old' ;;
    esac
    check "$how, $deed: nothing is left" is "$(find "${where%%/*}" -type f ! -path "$where")" ''
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
    shows "$shown" "$server" -p 0 "$odd"
    shows "$shown" "$server" -p 0 "$odd.d"
    for program in "$server" "$client"; do
        shows "$shown" "$program" "-a$long$odd" text
        for option in b p t; do
            shows "$shown" "$program" "-$option$odd"
        done
        shows "$shown" "$program" one "$odd"
        shows 'there is no option -\x1b' "$program" "-$(printf '\033')"
    done
    shows "$shown" "$client" -p 1 "$odd/there"
    shows "$shown" "$client" -p 1 "$odd.d"
    shows "$(printf "'\\\\xc2\\\\x80\\\\xc2\\\\x9f\302\240\302/x'")" \
        "$client" -p 1 "$(printf '\302\200\302\237\302\240\302/x')" # the first of C1, the last, and two that are not
    shows "'ě€𝄞가/x'" "$client" -p 1 'ě€𝄞가/x'
    shows innocent "$client" -p 1 innocent
    shows harmless "$client" -p 1 harmless
    cp text "$odd"
    run "$server" -v -p 0 "$odd" @ "$client" -v -p PORT "$odd.got"
    check 'a transfer' arrived "$odd" "$odd.got"
    for side in server client; do
        check "a transfer: the $side" plain p/$side.out "$shown"
        check "a transfer: the trace of the $side" plain p/$side.err "$side "
    done
    check 'a transfer: each line is one' is "$(cat p/server.out p/client.out | wc -l | tr -d ' ')" 23
    run "$peer" listen put abc says p/client.out Recving reset @ "$client" -p PORT "$odd.got"
    check 'a transfer that fails' is "$(cat p/client.err)" \
        "client: the server did not finish, '$shown.got' is untouched: $(why ECONNRESET)"
}

# The program that follows fails, and says $1 on standard error: nothing there commands a terminal.
shows() {
    text=$1
    shift
    alone "$@"
    check "$*" plain err "$text"
    [ "$status" = 2 ] || check "$*: one line" is "$(wc -l <err | tr -d ' ')" 1
}

# The file $1 has the text $2, and no control byte, of ASCII or of UTF-8, but the ends of its lines.
plain() { ! grep -qe '[[:cntrl:]]' -e "$second_half" "$1" && grep -qF -e "$2" "$1"; }

# What can be sent: a file of any kind, as long as it was when sending began, and if it became something else meanwhile,
# that is said.
test_sources() {
    make_file random 300000
    head -c 9000000 /dev/zero >zeros
    run sh -c 'cat random | "$0" -p 0 -' "$server" @ "$client" -p PORT p/got
    check 'a pipe' arrived random
    tail -c +6 text >rest
    run sh -c '(dd bs=1 count=5 of=beginning 2>said && exec "$0" -p 0 -) <text' "$server" @ "$client" -p PORT p/got
    check 'standard input, a file of which something was read' arrived rest
    mkfifo fifo
    cat random >fifo &
    run "$server" -p 0 fifo @ "$client" -p PORT p/got
    wait $!
    check 'a FIFO' arrived random
    run "$server" -p 0 fifo @ "$peer" connect PORT says p/server.out 'Start to send' sh 'cat random >fifo &' \
        into p/got put "$thanks" close
    check 'a FIFO whose writer comes late' arrived random
    run "$server" -p 0 fifo @ "$peer" connect PORT says p/server.out 'Start to send' reset
    check 'a FIFO without a writer, and the client leaves' \
        ended 1 0 server "*client 4 did not take all of 'fifo': *"
    exec 7<>fifo # a writer that says no more
    printf abc >&7
    run "$server" -p 0 fifo @ "$peer" connect PORT get 3 reset
    exec 7>&-
    check 'a FIFO whose writer is silent, and the client leaves' both 1 0
    echo regular >turns
    run sh -c 'echo $$ >pid; exec "$@"' - "$server" -k -p 0 turns @ \
        sh -c 'rm turns; mkfifo turns; "$0" -p "$1" p/got; status=$?; kill $(cat pid); exit $status' "$client" PORT
    check '-k, and a FIFO in the place of the file' ended 143 1 server "*server: 'turns' is no longer a regular file"
    # The peer's window is full long before the end: the server is still at it when the file changes.
    for deed in 'echo new | dd of=changes conv=notrunc 2>/dev/null' 'echo new >>changes' \
        'echo new | dd of=changes bs=9000000 seek=1 2>/dev/null'; do
        cp zeros changes
        run "$server" -b 64K -p 0 changes @ "$peer" connect PORT get 1 sh "$deed" into p/got put "$thanks" close
        check "written to ($deed): sent as long as it was" is "$s $c $(bytes p/got)" '0 0 8999999'
        check "written to ($deed): it is said, once" said server "*
server: 'changes' was written to while it was being sent"
    done
    cp zeros changes
    run "$server" -b 64K -p 0 changes @ "$peer" connect PORT get 1 sh 'mv changes old; cp random changes' \
        eof put "$thanks" close
    check 'replaced: this is another file' is "$s $(wc -l <p/server.err | tr -d ' ')" '0 1'
    cp zeros shrinks
    make_hole hole 4097 # more than 32 bits can count
    while read -r file lacks size deed; do
        run "$server" -b 64K -p 0 "$file" @ "$peer" connect PORT get 1 sh "$deed" into p/got
        check "shrinks ($deed)" ended 1 1 server "*: '$file' lacks $lacks of its $size bytes (*"
    done <<'END'
shrinks 1000000 9000000 dd if=/dev/null of=shrinks bs=1000000 seek=8
hole 42[0-9]* 4296015880 : >hole
END
    run "$server" -p 0 shrinks @ sh -c 'rm shrinks; exec "$0" -p "$1" p/got' "$client" PORT
    check 'a file that is gone by the time there is a client' \
        ended 1 1 server "*cannot open 'shrinks': $(why ENOENT)"
    # All of it is in the send buffer, and the server has said that it has sent it, when the file changes.
    for deed in 'dd if=/dev/null of=cut bs=90001 seek=1' 'dd if=zeros of=cut count=9 conv=notrunc'; do
        head -c 100000 random | tee cut >whole
        run "$server" -b 1M -p 0 cut @ "$peer" connect PORT says p/server.out 'Send data done' sh "$deed 2>/dev/null" \
            into got put "$thanks" close
        check "changed when it was sent ($deed)" arrived whole got
        check "changed when it was sent ($deed): nothing to say" is "$(wc -l <p/server.err | tr -d ' ')" 1
    done
    # A transfer that brings nothing is most often a mistake somewhere before the server: the client says so.
    : >nothing
    for file in nothing /dev/null; do
        echo old >full
        run "$server" -p 0 $file @ "$client" -p PORT full
        check "$file" arrived /dev/null full
        check "$file: it is said" said client 'client: the server sent nothing: is it the right one?'
    done
    # Files that claim to be empty, of which one is not, and one cannot be read.
    if [ -r /proc/filesystems ] && [ -e /proc/self/mem ]; then
        beside_server '"$client" -b 0 -p $port got.one; "$client" -p $port got.two' /proc/filesystems
        check 'a file of /proc' is "$s $(cat got.one got.two)" "143 $(cat /proc/filesystems /proc/filesystems)"
        echo old >kept
        run "$server" -p 0 /proc/self/mem @ "$client" -p PORT kept
        check 'a file that cannot be read is not an empty one' ended 1 1 server "*cannot read '/proc/self/mem': *"
        check 'a file that cannot be read: nothing has happened' kept '*'
    else
        skip 'files of /proc'
    fi
    cp random leased
    run "$tamper" lease leased "$server" -p 0 leased @ "$client" -p PORT p/got
    if [ "$s" = 77 ]; then
        skip 'a file with a lease (not on this system, or not in this directory)'
    else
        check 'a file on which somebody has a lease' arrived random
    fi
}

# Signals that were ignored when a program started, as whoever starts it in the background may want it, stay ignored.
# And what else comes from whoever started it.
test_stops() {
    for ignored in INT.TERM.143 TERM.INT.130; do
        other=${ignored#*.}
        run sh -c 'echo $$ >pid; trap "" $0 CHLD; exec "$@"' "${ignored%%.*}" "$server" -k -p 0 text @ \
            sh -c 'kill -$1 $(cat pid); "$client" -t 5 -p $0 got; s=$?; kill -$2 $(cat pid); exit $s' \
            PORT "${ignored%%.*}" "${other%.*}"
        check "server -k that shall ignore SIG${ignored%%.*}" both "${other#*.}" 0
    done
    # A child that was there before the program became a server is no client.
    run sh -c 'echo $$ >pid; true & exec "$@"' - "$server" -k -p 0 text @ \
        sh -c '"$client" -p $0 p/got; s=$?; kill $(cat pid); exit $s' PORT
    check 'server -k with a child of somebody else' is "$s $c" '143 0'
    run "$peer" listen put abc sh 'for s in HUP INT QUIT TERM USR1; do kill -$s $(cat pid); done' put def fin get 30 @ \
        sh -c 'echo $$ >pid; trap "" HUP INT QUIT TERM USR1; exec "$0" -t 5 -p "$1" got' "$client" PORT
    check 'a client that shall ignore signals' is "$s $c $(cat got)" '0 0 abcdef'
    # Those with which people and systems end programs, once and again and again, with little stack: then the client
    # leaves no temporary file. A sanitizer shall leave them to us.
    echo old >kept
    for signal in HUP INT QUIT ABRT BUS SEGV ALRM TERM USR1 USR2 XCPU VTALRM PROF; do
        for times in 1 300; do
            run "$peer" listen put abc says p/client.out Recving \
                sh "pid=\$(cat pid) n=0; while [ \$((n += 1)) -le $times ]; do kill -$signal \$pid; done" eof @ \
                sh -c 'echo $$ >pid; ulimit -c 0; ulimit -Ss 100
                    ASAN_OPTIONS=handle_segv=0:handle_sigbus=0 exec "$0" -p "$1" kept' "$client" PORT
            check "SIG$signal, $times times" is "$((c > 128)) $(cat kept) $(clean .)" '1 old '
        done
    done
    run "$peer" listen put abc sh 'for s in CHLD CONT URG WINCH STOP CONT; do kill -$s $(cat pid); done' put def fin \
        get 30 @ sh -c 'echo $$ >pid; exec "$0" -t 5 -p "$1" got' "$client" PORT
    check 'signals that end no program do not end the client' is "$s $c $(cat got)" '0 0 abcdef'
    # A terminal that is sent does not become the program's own: its Ctrl-C is not for us. (One that is only written to
    # never does.)
    if [ ! -r /proc/self/stat ] || ! setsid true; then
        skip 'whose terminal it is (needs /proc and setsid)'
        return
    fi
    standard_names || return
    run "$peer" terminal setsid sh -c 'echo $$ >pid; exec "$0" -p 0 /dev/stderr' "$server" @ \
        "$peer" connect PORT says p/server.out 'Start to send' \
        sh 'until cut -d " " -f 7 /proc/"$(cat pid)"/stat >terminal; do :; done 2>/dev/null' reset
    check 'the server does not take the terminal' is "$s $c $(cat terminal)" '1 0 0'
}
