#!/usr/bin/env bash
# Two nodes exchange an entry over TLS, and the receiver says who wrote it.
#
#   tools/demo/two-nodes.sh            uses `thingdb` of the PATH
#   THINGDB=path/to/thingdb tools/demo/two-nodes.sh
#
# Everything happens in a directory of its own, on loopback, and is removed at
# the end. Needs curl for the last part, which does by hand what `push` does.
set -euo pipefail

thingdb=${THINGDB:-thingdb}
dir=$(mktemp -d)
servers=()
finish() {
    for pid in "${servers[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$dir"
}
trap finish EXIT
cd "$dir"
unset THINGDB_DIR THINGDB_PASSPHRASE THINGDB_PASSPHRASE_COMMAND

say() { printf '\n# %s\n' "$*"; }
run() { # run COMMAND...: shows the command, then does it
    printf '$ %s\n' "${*/#$thingdb/thingdb}"
    "$@"
}
serve() { # serve NODE PORT: starts its server and waits until it answers
    "$thingdb" serve --db "$1" --listen "127.0.0.1:$2" 2>"$1.log" &
    servers+=("$!")
    for _ in $(seq 100); do
        [ -S "$1/socket" ] && curl -sf --cacert "$1.pem" "https://127.0.0.1:$2/healthz" >/dev/null && return
        kill -0 "${servers[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    echo "the server of $1 did not start:" >&2
    cat "$1.log" >&2
    return 1
}

say "Two nodes, each with a passphrase of its own"
(umask 077; head -c 18 /dev/urandom | base64 >a.passphrase; head -c 18 /dev/urandom | base64 >b.passphrase)
a() { THINGDB_DIR=$dir/a THINGDB_PASSPHRASE_FILE=$dir/a.passphrase "$thingdb" "$@"; }
b() { THINGDB_DIR=$dir/b THINGDB_PASSPHRASE_FILE=$dir/b.passphrase "$thingdb" "$@"; }
