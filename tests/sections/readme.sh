# readme.sh - the README: its commands are run as they would be pasted, and what it shows is compared with what comes
# out today. Not run is what installs or needs something, or waits for other machines: openssl, ncat, docker, until.
#
# The README is cut into pieces, in order: its blocks of sh and text, and the commands in its sentences. They run in a
# copy of the tree and in a network namespace of their own, where port 8080 is free. A piece that starts a server waits
# for the next one that starts a client, as two terminals would. make builds nothing in there, and of make test, make
# torture, make bench and make clean it is only made sure that make knows them.
# shellcheck disable=SC2034 # what helpers.sh shows if a check fails

# Cuts the README $1 into the files piece.NNN.sh, piece.NNN.text and, for commands in sentences, piece.NNN.inline.
# Leaves the sentences in the file prose.
cut_readme() {
    awk '
        function name(kind) { return sprintf("piece.%03d.%s", ++pieces, kind) }
        function end_prose(parts, n, i) { # every other part stands between backquotes
            n = split(prose, parts, "`")
            for (i = 2; i < n; i += 2) {
                sub(/^SHOW=/, "make demo SHOW=", parts[i])
                if (parts[i] ~ /^(\.\/|tests\/lesson\/claims |make |tar |tail |echo |bash |nc |ssh |sha256sum )/)
                    print parts[i] >name("inline")
            }
            print prose >"prose"
            prose = ""
        }
        /^```/ { if (!inside) end_prose(); inside = !inside; file = inside ? name(substr($0, 4)) : ""; next }
        inside { print >file; next }
        { prose = prose $0 " " }
        END { end_prose() }' "$1"
}

# Somebody listens on port 8080, as the kernel's table says.
listens() { grep -q ':1F90 00000000:0000 0A' /proc/net/tcp; }

# Runs the file $1 in the tree. Its output is in the file $2, and the status in $2.status.
terminal() {
    (cd tree && LC_ALL=C.UTF-8 sh -e "../$1") >"$2" 2>&1 </dev/null
    echo $? >"$2.status"
}

# The file $1 was run like that, and all went well.
ended_well() {
    last=$2
    check "$(head -n 1 "$1")" is "$(cat "$2.status")" 0
    ! grep -q 'echo \$?$' "$1" || check "$(cat "$1"): the status" is "$(tail -n 1 "$2")" 0
}

# Runs the files $1 and $2 as two terminals would, the second when the first listens; what they print is in first and
# second.
terminals() {
    rm -f first.status
    terminal "$1" first &
    until listens || [ -e first.status ]; do
        sleep 0.02
    done
    terminal "$2" second
    until ! listens; do "$peer" connect 8080 close; done # the client did not come: nor does the server wait for it
    wait
    ended_well "$1" first
    ended_well "$2" second
}

# Prints what the picture in the file $1 tells: its events and the lines below it, every number as good as any other.
# Not its arrows, which TCP may draw otherwise another time, nor its notes, which a build that sees no states lacks, nor
# the system's text of an error.
events() {
    sed 's/^\(.\{21\}\)|\(.\{45\}\)|.*/\1|\2/; s/microseconds/us/' "$1" | awk -F '|' '
        NF > 1 && ($1 !~ /^ *[0-9.]+ / || $2 ~ /^<-|->$|seq/) || /^$/ || /^    [^|]*$/ { next }
        { text = NF > 1 ? $2 : $0 }
        { sub(/untouched: .*/, "untouched", text) }
        text !~ /^Exit/ { gsub(/[0-9]+/, "N", text) }
        { gsub(/^ +| +$/, "", text); print text }'
}

# The picture in the file $1 is what `make demo` has drawn, in the file shown.$2: every event is there.
check_picture() {
    last=shown.$2
    if grep -q '^No packets' "shown.$2" && grep -q ' seq ' "$1"; then
        skip "a picture with packets ($(grep '^No packets' "shown.$2"))"
        return
    fi
    events "$1" >in-readme
    events "shown.$2" >today
    check "picture $1 ($2)" is "$(grep -vxFf today in-readme)" ''
}

# The experiments that it names are there, the options in its table are those of -h, and so are the files.
check_words() {
    "$root/tests/lesson/claims" -l | sed 's/^`\([^`]*\)`.*/\1/' >known
    tr '[' '\n' <prose | tr ']' '\n' | grep '^`[a-z`, -]*`$' | tr -d '` ' | tr ',' '\n' >named
    check 'it names experiments' at_least "$(wc -l <named)" 10
    check 'there are the experiments that it names' is "$(grep -vxFf known named)" ''
    # A row of the table of options begins: | `-a ADDRESS` |
    sed -n 's/^| `\(-[a-z][^`]*\)` .*/\1/p' README.md | sort >named
    { "$server" -h; "$client" -h; } | sed -n 's/^  \(-[a-z] *[A-Z]*\)  .*/\1/p' | sed 's/ *$//' | sort -u >known
    check 'the options are those of -h' diff named known
    for file in $(tr '`' '\n' <prose | sed -n 's/^\(tests\/[^ ]*\).*/\1/p'); do
        check "there is $file" test -e "$root/$file"
    done
}

# Runs the piece $1 or compares it; show is the demonstration that was named last, and waits the piece with a server
# that waits for its client. False if it was skipped.
play() {
    text=$(cat "$1")
    case $1-$text in
        *.c-*) ;;
        *.text-*'ms server '*) check_picture "$1" "$show" ;;
        *.inline-'make demo'* | *.sh-'make demo'*)
            show=${text%%"$newline"*}
            show=${show#make demo}
            show=${show#*SHOW=}
            show=${show:-plain}
            [ ! -e "shown.$show" ] || return 0
            terminal "$1" "shown.$show"
            ended_well "$1" "shown.$show"
            ;;
        *ssh\ *)
            can 'ssh (not installed, or it does not know who we are)' ssh -G localhost || return
            sh -c "ssh -G ${text#ssh }" >ssh.out 2>&1 # it does not connect
            check 'ssh knows these options' grep -q '^localforward 8080 .127.0.0.1.:8080' ssh.out
            ;;
        *./server*)
            [ -z "$waits" ] || terminals "$waits" client.sh
            waits=$1
            ;;
        *bash\ -c* | *nc\ -N\ -l* | *'| nc '*)
            tool=bash
            matches "$text" '*bash -c*' >/dev/null || tool=nc
            if ! { $tool --help; $tool -h; } 2>&1 </dev/null | grep -q -e 'GNU bash' -e OpenBSD; then
                skip "$tool (bash, or OpenBSD's nc, is not installed)"
                return 1
            fi
            case $text in
                *-l*) terminals "$1" client.sh ;;
                *) terminals server.sh "$1" ;;
            esac
            ;;
        *./client*)
            terminals "${waits:-server.sh}" "$1"
            waits=''
            ;;
        *)
            terminal "$1" out
            ended_well "$1" out
            ;;
    esac
}

test_readme() { # early
    # tests/tools/packets makes the namespace.
    if [ -z "${IN_NAMESPACE-}" ]; then
        alone "$root/tests/tools/packets" wire readlink /proc/self/ns/net
        if [ "$status" = 0 ] && [ "$(cat out)" != "$(readlink /proc/self/ns/net)" ]; then
            LC_ALL=C.UTF-8 IN_NAMESPACE=yes \
                exec "$root/tests/tools/packets" wire sh "$root/tests/run.sh" -s readme 2>/dev/null
        fi
    fi
    exec 2>&1 3>&- 4>&- # the connection is descriptor 4 where nothing is inherited
    cp "$root/client.c" .
    tr -d "\r" <"$root/README.md" >README.md # in a checkout that ends its lines as Windows does
    cut_readme README.md
    check_words
    can 'what the README says to run (no network namespace may be made here)' test -n "${IN_NAMESPACE-}" || return
    mkdir tree bin
    (cd "$root" && cp -pR Makefile README.md server server.c client client.c common.h tests "$work/tree")
    cat >bin/make <<'END'
#!/bin/sh
# Nothing is built: it is there already. demo is played as the Makefile says; the rest only has to be known to make.
PATH=${PATH#*:}
unset MAKEFLAGS MAKELEVEL MFLAGS
recipe=$(make -n "$@") || exit
[ "$1" != demo ] || eval "$(echo "$recipe" | grep '^sh tests/demo/demo.sh')"
END
    chmod 755 bin/make
    PATH=$work/bin:$PATH
    echo './server' >server.sh
    echo './client' >client.sh
    waits='' show='' sums='' part=''
    for piece in piece.*; do
        play "$piece" || continue
        case $text in
            *./client*COPY*) check 'the copy is the file' same client.c tree/COPY ;;
            *sha256sum*) sums="$sums $(cut -d ' ' -f 1 out)" ;;
            *'>>PART'*)
                check 'the parts are the file' same client.c tree/PART
                [ -n "$part" ] || head -c 1000 client.c >tree/PART # as if it had broken off the first time
                part=yes
                ;;
            *'| tar x'*) check 'the directory' grep -q '^tests/sections/readme.sh' second ;;
            *'>copy'*)
                check 'the copy of another program' same client.c tree/copy
                rm -f tree/copy
                ;;
        esac
    done
    check 'no server waits for a client that the README does not have' is "$waits" ''
    # shellcheck disable=SC2086 # words
    set -- $sums
    check 'sha256sum' is "$# ${1-}" "2 ${2-}"
    check 'nothing else is left' is "$(cd tree && echo *)" \
        'COPY Makefile PART README.md client client.c common.h log.txt server server.c tests'
}
