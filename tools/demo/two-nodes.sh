#!/usr/bin/env bash
# Two nodes exchange an entry over TLS, and the receiver says who wrote it.
#
#   tools/demo/two-nodes.sh                            uses `thingdb` of the PATH
#   THINGDB=target/release/thingdb tools/demo/two-nodes.sh
#
# Everything happens on loopback, in a directory that is removed at the end. The
# ports are 5001 and 5002, or those of PORT_A and PORT_B. Needs curl for the last
# part, which does by hand what `push` does.
set -euo pipefail

thingdb=$(command -v "${THINGDB:-thingdb}") || { echo "there is no ${THINGDB:-thingdb}: cargo install --path tools" >&2; exit 1; }
thingdb=$(realpath "$thingdb")
port_a=${PORT_A:-5001}
port_b=${PORT_B:-5002}
dir=$(mktemp -d)
servers=()
finish() {
    code=$?
    for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    if [ $code != 0 ]; then tail -n 20 "$dir"/*.log >&2 || true; fi
    rm -rf "$dir"
}
trap finish EXIT
cd "$dir"
unset THINGDB_DIR THINGDB_PASSPHRASE THINGDB_PASSPHRASE_COMMAND THINGDB_FORMAT THINGDB_ACTOR

say() { printf '\n# %s\n' "$*"; }
# on NODE COMMAND...: a command at one of the nodes. While its server runs, it
# is the server that does it.
on() {
    local node=$1
    shift
    printf '%s$ thingdb' "$node" >&2
    printf ' %q' "$@" >&2
    echo >&2
    THINGDB_DIR=$dir/$node THINGDB_PASSPHRASE_FILE=$dir/$node.passphrase "$thingdb" --format table "$@"
}
# serve NODE PORT: starts the server of a node and waits until it answers.
serve() {
    echo "$1\$ thingdb serve --listen 127.0.0.1:$2 &" >&2
    THINGDB_DIR=$dir/$1 THINGDB_PASSPHRASE_FILE=$dir/$1.passphrase \
        "$thingdb" serve --listen "127.0.0.1:$2" 2>"$1.log" &
    local pid=$!
    servers+=("$pid")
    for _ in $(seq 150); do
        if curl -sf --cacert "$1.pem" "https://127.0.0.1:$2/healthz" >/dev/null; then return; fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    echo "the server of $1 does not answer on port $2" >&2
    return 1
}

say "Two nodes, each with a passphrase and an actor of its own"
for node in a b; do
    (umask 077; head -c 18 /dev/urandom | base64 >"$node.passphrase")
    on "$node" init --actor "press-$node"
    on "$node" card >"$node.card"
    on "$node" card --certificate >"$node.pem"
done

say "Their servers"
serve a "$port_a"
serve b "$port_b"

say "Each gets the other's card. (People compare the fingerprints by another way.)"
on a peer add b @b.card --yes
on b peer add a @a.card --yes

say "A lets B bring entries: a token, of which A keeps only the hash"
on a token new --peer b --scope import,export --expires 90d -o a-for-b.token
on b peer set a --url "https://127.0.0.1:$port_a" --token-file a-for-b.token

say "B writes, for A to read, and pushes. It knows A's server by the card."
on b put thing-online '{"value":999}' --to a
on b push a

say "A shows what it got, who signed it, and that everything holds"
on a get thing-online
[ "$(on a get thing-online --field /value)" = 999 ]
on a log thing-online
on a verify

say "The same by hand: the lines as a JSON array, with curl"
on b put thing-online '{"value":1000}' --to a
on b export --array -o lines.json
# The token goes by a file: arguments can be seen by every user of the machine.
(umask 077; printf 'header = "Authorization: Bearer %s"\n' "$(cat a-for-b.token)" >a-for-b.curl)
echo "b\$ curl -K a-for-b.curl --cacert a.pem -X POST https://127.0.0.1:$port_a/import -H 'Content-Type: application/json' --data-binary @lines.json"
curl -sS --fail-with-body -K a-for-b.curl --cacert a.pem -X POST "https://127.0.0.1:$port_a/import" \
    -H 'Content-Type: application/json' --data-binary @lines.json
[ "$(on a get thing-online --field /value)" = 1000 ]
on a log thing-online

say "Both have the same history"
on b pull a
on b verify
[ "$(on a get thing-online --format raw)" = "$(on b get thing-online --format raw)" ]
echo
echo "done"
