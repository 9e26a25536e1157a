#!/usr/bin/env bash
# Measures the server on loopback, with TLS: reads with wrk, streams with curl
# beside the same from a file.
#
#   cargo build --release && benches/server.sh [target/release/thingdb]
#
# Server and load generator share the cores of the machine.
set -euo pipefail
thingdb=$(realpath "${1:-target/release/thingdb}")
entries=${ENTRIES:-100000}
seconds=${SECONDS_EACH:-8}
for tool in wrk curl; do command -v "$tool" >/dev/null || { echo "skipped: $tool is not there"; exit 0; }; done

dir=$(mktemp -d)
server=
finish() { [ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; rm -rf "$dir"; }
trap finish EXIT
cd "$dir"
export THINGDB_PASSPHRASE_FILE=$dir/passphrase
(umask 077; head -c 18 /dev/urandom | base64 >passphrase)
weak=(--kdf-memory 8K --kdf-passes 1 --kdf-lanes 1)

# serve NODE PORT: starts the server of a node and waits until it answers.
serve() {
    "$thingdb" --db "$1" serve --listen "127.0.0.1:$2" --log-level warn --max-rate 1000000 >/dev/null 2>"$1.log" &
    server=$!
    until curl -s --cacert "$1.pem" "https://localhost:$2/healthz" >/dev/null; do sleep 0.1; done
}
stop() { kill "$server"; wait "$server"; server=; }
# node NAME: a database that knows the first one.
node() {
    rm -rf "$1"
    "$thingdb" --db "$1" init --actor "$1" "${weak[@]}" >/dev/null
    [ "$1" = first ] || "$thingdb" --db "$1" peer add first @first.card --yes >/dev/null
    "$thingdb" --db "$1" card --certificate >"$1.pem"
    "$thingdb" --db "$1" token new --quiet --name bench --scope read,export,import -o "$1.token"
}
bearer() { printf 'Authorization: Bearer %s' "$(cat "$1.token")"; }
rate() { python3 -c "print(f'{$entries / $1:,.0f} entries/s')"; }
timed() { local from to; from=$(date +%s.%N); "$@" >/dev/null; to=$(date +%s.%N); python3 -c "print($to - $from)"; }

node first
"$thingdb" --db first card >first.card
seq "$entries" | sed -E 's|(.*)|{"thing":"s-\1","data":{"temp":21.4,"site":"plant-3","n":\1}}|' | "$thingdb" --db first append --quiet >/dev/null
cat >get.lua <<'LUA'
request = function() return wrk.format("GET", "/things/s-" .. math.random(1, 1000)) end
LUA

echo "GET /things/{id}, 64 connections:"
serve first 7555
wrk -t2 -c64 -d"${seconds}s" --latency -s get.lua -H "$(bearer first)" https://localhost:7555 | grep -E ' 50%| 99%|Requests/sec|Non-2xx'
echo "GET /things/{id}, 200 connections:"
wrk -t2 -c200 -d"${seconds}s" --latency -s get.lua -H "$(bearer first)" https://localhost:7555 | grep -E ' 50%| 99%|Requests/sec|Non-2xx'
for round in 1 2 3; do
    echo "export over https  $(rate "$(timed curl -sf --cacert first.pem -H "$(bearer first)" -o net.ndjson https://localhost:7555/export)")"
done
stop
for round in 1 2 3; do
    echo "export to a file   $(rate "$(timed "$thingdb" --db first export -q -o file.ndjson)")"
    node other
    echo "import of a file   $(rate "$(timed "$thingdb" --db other import -q file.ndjson)")"
    node other
    serve other 7556
    echo "import over https  $(rate "$(timed curl -sf --cacert other.pem -H "$(bearer other)" -H 'Content-Type: application/x-ndjson' -X POST -T file.ndjson https://localhost:7556/import)")"
    stop
done
