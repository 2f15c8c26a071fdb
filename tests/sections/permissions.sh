# permissions.sh - who may read the new file: nobody who could not read the old one, and not for a moment.

# The client receives into the file it, for which the shell has done $1, and meanwhile does $2. The new file is what $3
# says.
meanwhile() {
    rm -f it
    eval "$1"
    run "$peer" listen put abc sh 'ls -ln .client-* >mode; '"$2" put def fin get 30 @ \
        sh -c 'umask 022; exec "$client" -p "$0" it' PORT
    check "meanwhile $2 ($1)" is "$s $c $(state it) $(chmod u+r it && cat it)" "0 0 $3 abcdef"
}

# The beginning of a shell command: before each call of the client that changes the temporary file, a shell notes in
# $file.watched what that is.
watch='WATCHED="$PWD/$file.watched" DEED="ls -ln .client-* >>\"\$WATCHED\"" \
FAULT="fchown 1 ^DEED-forever,fchmod 1 ^DEED-forever,rename 1 ^DEED"'

# The file $1 is what $2 says, and its temporary file was at every moment that or one of the states that follow.
moments_of() {
    modes <"$1.watched" >moments
    is "$(state "$1")" "$2" && shift && only moments "$@"
}

# Access control lists: whom they let in is more than group and others of the permissions tell.
test_lists() {
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
    beside '
        umask 022
        "$client" -p $port guarded/new || echo new
        for file in guarded/listed guarded/plain listed; do
            '"$watch"' "$client_faults" -p $port $file >/dev/null || echo "$file $?"
        done >&2' "$server" -k -t 100 -p 0 text
    check 'all arrive' is "$s $c $(cat p/client.err)" '143 0 '
    check 'a new file gets what the directory wants' is "$(state guarded/new)" "$(state guarded/any)"
    check 'of a file with a list only the permissions of its owner stay' moments_of listed "600 $me"
    for file in guarded/listed guarded/plain; do # in a directory that gives lists
        check "or if the new one has a list: $file" moments_of $file "600 $me"
    done
    meanwhile 'echo old >it; chmod 644 it' '"$tamper" acl it' "700 $me"
    meanwhile ': >it; "$tamper" acl it' 'rm it; : >it; chmod 644 it' "644 $me"
}

# A file that replaces another one lets in nobody more, and not for a moment; a new one gets what any new one does. What
# counts is what stands there at the end.
test_permissions() {
    can 'all of it (on gVisor, ls says "Invalid argument" at times)' not_gvisor || return
    me=$(id -u):$(id -g)
    meanwhile 'echo old >it; chmod 644 it' 'chmod 600 it' "600 $me"
    check 'and meanwhile nobody else gets at the temporary file' is "$(modes <mode)" "600 $me"
    while IFS='|' read -r before deed mode; do
        meanwhile "$before" "$deed" "$mode $me"
    done <<'END'
echo old >it; chmod 600 it|chmod 664 it|664
echo old >it; chmod 644 it|echo new >new; chmod 640 new; mv new it|640
echo old >it; chmod 644 it|chmod 200 it|200
echo old >it; chmod 644 it|rm it|600
echo old >it; chmod 644 it|rm it; mkfifo it|600
echo old >it; chmod 644 it|ln -fs text it|600
:|(umask 077; echo new >it)|600
:|(umask 027; echo new >it)|640
:|ln -s text it|600
:|:|644
END
}

# Owners and groups: what root keeps, and what others cannot keep lets in nobody more.
test_owners() {
    chmod 755 .
    mkdir -p open && chmod 777 open
    can 'files of others (needs root)' test "$(id -u)" = 0 || return
    can 'files of others (on gVisor, ls says "Invalid argument" at times)' not_gvisor || return
    others_can 'files of others' || return
    for file in 0.4321.640 0.4321.646 0.4321.666 0.4321.662 0.777.666 0.777.646 0.777.606 4321.55.200 4321.777.664; do
        owner=${file%.*} mode=${file##*.}
        echo old >open/$file && chown "${owner%.*}:${owner#*.}" open/$file && chmod "$mode" open/$file
    done
    for mode in 640 4750; do
        echo old >roots.$mode && chown 4321:4321 roots.$mode && chmod $mode roots.$mode
    done
    beside '
        umask 0
        for file in roots.640 roots.4750; do
            '"$watch"' "$client_faults" -p $port $file >said || echo "root $?"
        done
        cd open
        for file in *; do
            '"$watch"' "$tamper" as 4321 55,4321 "$client_faults" -p $port $file >/dev/null
            echo "$file $?"
        done' "$server" -k -t 100 -p 0 text
    check 'what may not be written is an error' is "$(grep -v ' 0$' p/client.out)" '0.4321.640 1
0.4321.646 1'
    check 'what may not be written is not replaced' is "$(state open/0.4321.640 open/0.4321.646)" '640 0:4321
646 0:4321'
    check 'root keeps owner and group, not for a moment more' moments_of roots.640 \
        '640 4321:4321' '600 0:0' '600 4321:4321'
    check 'root keeps them, and drops set-user-ID' is "$(state roots.4750)" '750 4321:4321'
    check 'a group that we belong to is kept' is "$(state open/0.4321.666 open/0.4321.662)" '666 4321:4321
662 4321:4321'
    check 'our own file that we may not read' is "$(state open/4321.55.200)" '200 4321:55'
    for file in 0.777.666 0.777.646 0.777.606 4321.777.664; do
        check "only the permissions of the owner stay where the group cannot be kept: $file" \
            moments_of open/$file '600 4321:55'
    done
    meanwhile 'echo old >it; chmod 644 it' 'chown 4321:4321 it' '600 0:0'
    meanwhile : '(umask 0; echo new >it); chown 4321:4321 it' '600 0:0'
    meanwhile 'echo old >it; chmod 644 it; chown 4321:4321 it' 'echo new >new; mv new it' '600 0:0'
    meanwhile 'echo old >it; chmod 646 it' 'chown :4321 it' '646 0:4321'
}

# A file of mode $1 is replaced, and is the new one then, by a client whose calls fail as the words $2... for env say.
replaces() {
    old_file "$1"
    shift
    transfer "$*" text place/kept "$server" -p 0 text @ env "$@" "$client_faults" -p PORT place/kept
}

# What a file system refuses to change although it is right is no reason to fail, and what it is counts.
test_refusals() {
    for error in EPERM ENOSYS; do
        replaces 600 "FAULT=fchmod 1 $error-forever,fchown 1 $error-forever"
        replaces 644 "FAULT=fchmod 1 $error-forever" # narrower will do
        replaces 644 "FAULT=fchown 1 $error-forever"
        check "$error to every chown: the mode stays" is "$(find place -type f -perm 644)" place/kept
        replaces 755 PLACE=world "FAULT=fchmod 1 $error-forever" # all files have one mode there
        old_file 600
        refuses 1 "client: cannot set the permissions of 'place/kept'*" \
            env PLACE=world FAULT="fchmod 1 $error-forever" "$client_faults" -p 1 place/kept
        check "$error to chmod where that lets others in" unharmed
    done
    run "$server" -p 0 text @ "$client_faults" -p PORT p/got
    last_fsync=$(last_call fsync) lists=$(grep -c lgetxattr book)
    for error in EBADF EINVAL ENOTSUP ENOSYS; do
        replaces 644 "FAULT=fsync $last_fsync $error"
        ! shows_all || check "a directory that cannot be flushed, $error: all of it is" grep -q '^flushed all' book
        check "a directory that cannot be flushed, $error: no word about it" said client ''
    done
    [ "$lists" != 0 ] || return
    replaces 664 'FAULT=lgetxattr 1 EIO'
    check 'a list that cannot be seen: only the owner stays' is "$(find place -type f -perm 600)" place/kept
}
