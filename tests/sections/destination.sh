# destination.sh - where a file can be put, and that what was there stays until the new file is whole.

# Regular files, links, devices, pipes and standard output.
test_destinations() {
    make_file random 100000
    mkdir -p there/deep
    echo old >there/target
    ln -s ../target there/deep/link
    ln -s "$work/there/deep/link" chain
    transfer 'symbolic links' random there/target "$server" -p 0 random @ "$client" -p PORT chain
    check 'symbolic links, absolute and relative: they still are' test -L chain -a -L there/deep/link
    (umask 027 && run "$server" -p 0 text @ "$client" -p PORT "$work/there/fresh")
    check 'a new file has the permissions that umask leaves' is "$(find there/fresh -perm 640)" there/fresh
    for mode in 705:705 750:750 6754:754 1740:740; do
        rm -f runs && cp "$client" runs && chmod ${mode%:*} runs
        transfer "a program that is running, $mode" text runs "$server" -p 0 text @ ./runs -p PORT runs
        check "a program that is running keeps permissions $mode" is "$(find runs -perm ${mode#*:})" runs
    done
    for out in p/got /dev/null; do # also if standard output is the same: the transcript still goes there
        run "$server" -p 0 text @ sh -c 'exec "$client" -p "$0" /dev/null >$1' PORT $out
        check "/dev/null, and standard output $out: nothing elsewhere" ended 0 0 client ''
    done
    check '/dev/null is still a device' test -c /dev/null
    mkfifo pipe
    # not got, which run removes
    for fault in none 'write-pipe 1 EAGAIN-while'; do # the pipe is ready and has no room yet
        cat pipe >piped &
        run "$server" -p 0 random @ env FAULT="$fault" "$client_faults" -p PORT pipe
        wait $!
        check "a FIFO ($fault)" arrived random piped
    done
    check 'a FIFO is still one' test -p pipe
    (cat pipe >piped; kill "$(cat pid)") & # the client would wait for long
    run "$server" -p 0 text @ sh -c 'echo $$ >pid; exec "$client" -d 1000 -p $0 pipe' PORT
    check 'who reads a FIFO sees its end before the acknowledgement' is "$s $c" '1 143'
    check 'nothing is left' clean
    # The trace and the file may not go to one place.
    for where in '- 2>&1 | cat' '- >out 2>&1' 'pipe 2>pipe & cat pipe; wait' '/dev/stderr 2>&1 | cat'; do
        standard_names || [ "${where#/dev}" = "$where" ] || continue
        alone sh -c "\"\$client\" -v -p 1 $where"
        check "$where, where standard error goes too" is "$(cat out)" \
            "client: cannot write '${where%% *}': standard error goes there too"
    done
    ln -s /dev/null hole
    run "$server" -p 0 text @ sh -c 'exec "$client" -v -p $0 hole 2>/dev/null' PORT
    check '/dev/null by another name, and standard error' both 0 0
    standard_names || return
    for to in '| cat >p/got' '>p/got'; do
        transfer "/dev/stdout $to: nothing but the file" random p/got "$server" -p 0 random @ \
            sh -c '"$client" -p "$0" /dev/stdout '"$to" PORT
    done
    run "$server" -p 0 text @ sh -c '"$client" -p $0 /dev/stdout >/dev/zero' PORT
    check '/dev/stdout, a device: the transcript is elsewhere' is "$s $c $(wc -l <p/client.err | tr -d ' ')" '0 0 11'
}

# Full disks. Whatever fails, no acknowledgement is sent for a file that is not in place.
test_full_disk() {
    make_file random 300000
    run "$server" -p 0 random @ sh -c 'ulimit -f 100; exec "$client" -p "$0" kept' PORT
    check 'no space left' kept "client: cannot write 'kept': $(why EFBIG)"
    check 'no space left: the server knows' is "$s" 1
    can '/dev/full (not on this system)' test -c /dev/full || return
    for to in '/dev/full' '- >/dev/full'; do
        run "$server" -p 0 random @ sh -c 'exec "$client" -p "$0" '"$to" PORT
        check "what is full ($to)" ended 1 1 client "*client: cannot write '${to%% *}': $(why ENOSPC)"
    done
    transfer 'no space for the transcripts' random p/got sh -c 'exec "$server" -p 0 random >/dev/full' @ \
        sh -c 'exec "$client" -p "$0" p/got >/dev/full' PORT
    for side in server client; do
        check "no space for the transcripts: the $side says so once" is \
            "$(grep -c "cannot write the transcript, going on without: $(why ENOSPC)" p/$side.err)" 1
        refuses 1 "$side: cannot write to standard output: $(why ENOSPC)" sh -c '"$0" -h >/dev/full' "$root/$side"
    done
}

# Names are the kernel's to resolve, at every moment.
test_names() {
    echo precious >precious
    mkdir -p here
    ln -s nothing dangling
    ln -s ../nothing here/dangling
    ln -s dangling chain
    ln -s /proc/self/cwd/nothing roundabout
    for name in here/dangling chain roundabout ./dangling; do
        [ -e /proc/self/cwd ] || [ $name != roundabout ] || continue
        refuses 1 "client: cannot write '$name': it is a symbolic link to nothing" "$client" -p 1 $name
    done
    if [ -e /proc/self/fd/0 ]; then
        echo other >'gone (deleted)'
        refuses 1 "client: cannot write '/proc/self/fd/9': *" \
            sh -c 'exec 9>gone; rm gone; exec "$client" -p 1 /proc/self/fd/9'
        check 'a file that was removed is not another one' is "$(cat 'gone (deleted)')" other
    fi
    check 'a link to nothing: nothing is made' is "$(find . -name nothing)" ''

    # At every moment between two calls, what is there is replaced by something else.
    echo one >one && chmod 604 one
    echo two >two && chmod 640 two
    two=$(state two)
    if "$tamper" acl two 2>/dev/null; then # only where the list says so, 1234 may read
        chmod 640 two
        two="600 $(id -u):$(id -g)" # where there is a list, only the permissions of the owner stay
    fi
    at_every_moment 'ln -f one it'
    check 'replaced at any moment: no error' is "$(cat errors)" ''
    check 'replaced at any moment: what the one lets in or what the other does' only moments \
        "0 $(state one)" "0 $two"
    # Where the kernel does not follow a link, nor do we: as with fs.protected_symlinks, which is not ours to set.
    mkdir mounted
    set -- unshare -m sh -c 'mount -t tmpfs -o nosymfollow none mounted && cd mounted &&
        ln -s ../precious it && ! cat it && rm it && "$@"' -
    can 'links that the kernel does not follow (needs root, unshare, and mount -o nosymfollow)' "$@" true || return
    at_every_moment 'ln -fs ../precious it' "$@"
    check 'a link that the kernel does not follow, planted at any moment' is "$(cat precious)" precious
    check 'a link that the kernel does not follow: it was there, and it was not' is \
        "$(cut -d ' ' -f 1 moments | sort -u | tr '\n' ' ')" '0 1 '
    check 'a link that the kernel does not follow: the message' is \
        "$(sed -n "s/^\(client: cannot write 'it': \).*/\1/p" errors | sort -u)" "client: cannot write 'it': "
}

# Receives into it, which was two, again and again, as the command $2... runs the client. Before a call that looks at
# files, each time the next one up to the rename, the shell does $1. The file moments gets how each client ended and
# what it is then, and the file errors what it said.
at_every_moment() {
    deed=$1
    shift
    rm -f moments errors
    ln -f two it
    run "$server" -p 0 text @ "$client_faults" -p PORT it
    awk '
        $2 ~ /^(open|faccessat|.*stat|realpath|fchmod|fchown|fsync|lgetxattr|rename)$/ { print $2, $3 }
        $2 == "rename" { exit }' book >calls
    while read -r call; do # a client that fails early has not come to the server: then the peer does
        ln -f two it
        run "$server" -p 0 text @ sh -c '"$@" -p $0 it; status=$?; "$peer" connect $0 close 2>/dev/null; exit $status' \
            PORT "$@" env FAULT="$call ^DEED" DEED="$deed" "$client_faults"
        echo "$c $(state it)" >>moments
        cat p/client.err >>errors
    done <calls
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
    # Writing to standard output instead would not help, and so it is not proposed.
    while read -r end deed; do
        mkdir there && echo old >there/got
        run "$peer" listen put abc says p/client.out Recving sh "$deed" put def "$end" eof @ "$client" -p PORT there/got
        check "$deed, $end: one line" is "$c $(grep -c . p/client.err) $(grep -c -e '- >' p/client.err)" '1 1 0'
        rm -rf there
    done <<'END'
fin rm -r there
reset rm -r there
fin rm -r there/got; mkdir there/got
END
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
    echo old >old
    case $how in
        arrive) set -- expected 0 fin get 30 ;;
        reset) set -- old 1 reset ;;
        kill) set -- old 143 sh 'kill $(cat pid)' eof ;;
    esac
    content=$1 status=$2
    shift 2
    run "$peer" listen send random sh "$deed" send random "$@" @ \
        sh -c 'echo $$ >pid; exec "$client" -p "$0" "$1"' PORT "$to"
    check "$how, $deed" is "$c $(cmp "$content" "$where")" "$status "
    check "$how, $deed: nothing is left" is "$(find "${where%%/*}" -type f ! -path "$where")" ''
}

# What would fail at the rename is refused before there is a transfer, where that can be known; if not, it is said what
# to do, if that helps.
test_rename() {
    while read -r error hint; do
        old_file 644
        run "$server" -p 0 text @ env FAULT="rename 1 $error" "$client_faults" -p PORT place/kept
        check "$error from rename" \
            kept "client: cannot put 'place/kept' in place: $(why "$error")${hint:+ $hint}" place/kept
        check "$error from rename: the server knows" is "$s" 1
    done <<'END'
EBUSY (client - >FILE writes into it)
EISDIR
ENOENT
END
    user=--map-root-user
    [ "$(id -u)" != 0 ] || user=--mount
    if can 'a destination that is a mount point (no mount namespaces)' \
        unshare --mount $user sh -c 'mount --bind place/kept place/kept'; then
        run "$server" -p 0 text @ unshare --mount $user sh -c \
            'mount --bind place/kept place/kept && exec "$client" -p $0 place/kept' PORT
        check 'a mount point' kept '*(client - >FILE writes into it)' place/kept
    fi
    # Only owners may remove what is there, and the file is not ours. The first is what somebody may have planted; so is
    # the second to a kernel that has set fs.protected_regular to 2, as on Debian.
    for mode in 1777 1775; do
        chmod $mode place
        refuses 1 "client: cannot *'place/kept', somebody else's *" env PLACE=foreign "$client_faults" -p 1 place/kept
    done
    chmod 1777 place
    if [ "$(id -u)" = 0 ] && others_can "root's file in a sticky directory"; then
        chmod 755 . && chmod 666 place/kept
        refuses 1 "client: cannot *'place/kept'*client - >FILE*" as_nobody "$client" -p 1 place/kept
    fi
    check "somebody else's file" unharmed
    # A FIFO, also when somebody waits to read what is written into it: it is not opened.
    mkfifo place/fifo
    for _ in 'no reader' 'a reader'; do
        refuses 1 "client: cannot write 'place/fifo', somebody else's in a *" \
            env PLACE=foreign "$client_faults" -p 1 place/fifo
        exec 7<>place/fifo
    done
    exec 7>&-
    # Who may write and search, but not read.
    mkdir box && chmod 733 box
    [ "$(id -u)" = 0 ] || chmod 333 box
    if others_can 'a directory that cannot be read'; then
        set -- "$tamper" as 65534 65534
        [ "$(id -u)" = 0 ] || set --
        run "$server" -p 0 text @ "$@" env FAULT_BOOK="$work/box/book" \
            sh -c 'umask 477; exec "$0" -p $1 box/got' "$client_faults" PORT # nobody can read that file either
        chmod 755 box && chmod 644 box/* && mv box/book book
        check 'a directory that cannot be read' arrived text box/got
        check 'a directory that cannot be read: the file is flushed once more' matches \
            "$(sequence rename fsync)" '*rename fsync '
    fi
}
