# command_line.sh - the options, and what is refused before anything is sent.

# The options, one by one.
test_options() {
    if ! grep -qs localhost /etc/hosts && "$client" -a localhost -p 1 2>&1 | grep -q 'cannot look up'; then
        skip '-a with a name (nobody here knows localhost)'
    else
        transfer '-a with a name' text p/got "$server" -p 0 -a localhost text @ "$client" -p PORT -a localhost p/got
    fi
    if has_ipv6; then
        transfer '-a ::1' text p/got "$server" -p 0 -a ::1 text @ "$client" -p PORT -a ::1 p/got
        check '-a ::1: the address is shown' grep -q 'IP ::1 , Port' p/server.out
        check '-a ::1: the address is told' said server 'server: listening on ::1 port [1-9]*'
        for a in ::1 127.0.0.1; do # to client-faults, localhost has both addresses on every system
            transfer "a name with two addresses, of which only $a answers" text p/got \
                "$server" -p 0 -a $a text @ "$client_faults" -p PORT -a localhost p/got
            check 'a name with two addresses: one story' is "$(grep -c -e 'both set' -e '^Trying' p/client.out)" 2
        done
    fi
    for program in "$server" "$client"; do
        alone "$program" -h
        check "$program -h tells of each option, in 80 columns" is \
            "$status $(grep -c '^  -[abhptv]' out)$(cat err)$(awk 'length > 80' out)" '0 6'
        cp out help
        alone "$program" --help
        check "$program --help" is "$status$(cat err)$(cmp out help)" 0
    done
    printf 'odd name\n' >-p
    transfer '-- ends the options' ./-p ./-t "$server" -p 0 -- -p @ "$client" -p PORT -- -t
    transfer 'the largest numbers' text p/got \
        "$server" -p 0 -t 2147483647 -b 2047M text @ "$client" -t 2147483647 -b 2097151K -d 1 -p PORT p/got
    check '-d: the server waits for so long' at_least "$milliseconds" 1000
    check '2097151K' grep -q '^Buffer length both set to 2147482624$' p/client.out
    check '2047M' grep -q '^Buffer length both set to 2146435072$' p/server.out
    transfer '-t 0: for as long as it takes' text p/got \
        "$peer" listen send text sh 'sleep 1' fin get 30 @ "$client" -t 0 -p PORT p/got
    # Someone else may take the port in the moment between: then another one is tried.
    for _ in 1 2 3; do
        run "$server" -p 0 text @ "$client" -p PORT p/got
        port=$(sed -n 's/.* port //p' p/server.err)
        alone "$server" -p "$port" -t 1 text
        grep -q 'no client came' err && break
    done
    check 'a server listens where one has just been' is "$status $(cat err)" \
        "1 server: listening on 127.0.0.1 port $port${newline}server: no client came: $(why ETIMEDOUT) (-t 1)"
}

# Bad input gets one clear line and does no harm.
test_bad_input() {
    echo precious >log.txt
    mkfifo fifo
    ln -s loop loop
    long=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa # a label of more than 63 is no name
    while read -r error name; do
        refuses 1 "server: cannot send '$name': $(why "$error")" "$server" -p 0 "$name"
    done <<'END'
ENOENT no-such-file
ENOENT
EISDIR .
END
    while read -r error name; do
        refuses 1 "client: cannot write '$name': *$(why "$error")" "$client" -p 1 "$name"
    done <<END
ENOENT no/such/place
ENOENT
ENOTDIR text/file
EISDIR .
ELOOP loop
ENAMETOOLONG $long$long$long$long
END
    refuses 1 "server: cannot send '-': $(why EISDIR)" sh -c 'exec "$server" -p 0 - <.'
    for name in fifo -; do
        refuses 1 "server: cannot send '$name' with -k, which needs the name of a regular file" "$server" -k -p 0 $name
    done
    run "$server" -p 0 text @ sh -c '"$server" -p $0 text; echo $? >second; exec "$client" -p $0 p/got' PORT
    check 'a port that is taken: the first goes on' arrived text
    check 'a port that is taken' said client \
        "server: cannot listen on 127.0.0.1 port [0-9]*: $(why EADDRINUSE) (-p chooses another port)"
    check 'a port that is taken: status' is "$(cat second)" 1
    refuses 1 "server: cannot listen on 192.0.2.1 port 0: $(why EADDRNOTAVAIL)" "$server" -a 192.0.2.1 -p 0 text
    refuses 1 "client: cannot connect to 127.0.0.1 port 1: $(why ECONNREFUSED) (is the server running*-a)" \
        "$client" -p 1
    refuses 1 "client: cannot look up '$long': *" "$client" -a $long -p 1
    refuses 1 "server: cannot look up '$long': *" "$server" -a $long -p 0 text
    if others_can 'what is not permitted'; then
        mkdir closed && echo secret >secret && chmod 0 secret && echo kept >kept && chmod 444 kept && chmod 555 closed
        refuses 1 "server: cannot send 'secret': $(why EACCES)" as_nobody "$server" -p 0 secret
        refuses 1 "client: cannot write 'closed/file': *$(why EACCES)" as_nobody "$client" closed/file
        refuses 1 "client: cannot write 'kept': $(why EACCES)" as_nobody "$client" kept
        chmod 755 closed
    fi
    for program in server client; do
        usage="*usage: $program *"
        for wrong in '-p 65536' '-p 8o8o' '-p -1' '-p +1' '-p 0x50' '-b -1' '-b 3G' '-b K' '-b 1KK' '-b 2048M' \
            '-b 2097152K' '-b 2147483648' '-b 99999999999999999999' '-t 1.5' '-t 2147483648' '-t 1K' \
            '-p ' '-b ' '-t ' '-p  1'; do
            refuses 2 "$program: ${wrong%% *}: '${wrong#* }' is not a number from 0 to $usage" \
                "$root/$program" "${wrong%% *}" "${wrong#* }"
        done
        refuses 2 "$program: option -p needs a value$usage" "$root/$program" -p
        refuses 2 "$program: unexpected argument 'two' (one FILE, after the options)$usage" "$root/$program" one two
        refuses 2 "$program: unexpected argument '-p' (one FILE, after the options)$usage" "$root/$program" one -p 0
        refuses 2 "$program: unknown option -x$usage" "$root/$program" -x
    done
    for wrong in 2147483648 1K; do
        refuses 2 "client: -d: '$wrong' is not a number from 0 to 2147483647$usage" "$client" -d $wrong
    done
    refuses 2 'server: unknown option -d*' "$server" -d 1
    check 'nothing was harmed' is "$(cat log.txt)" precious
    check 'nothing was left' clean
}
