#!/bin/bash
# SPDX-License-Identifier: MIT
#
# metrics_call: GET /metrics of a service that runs: promtool has nothing to say of it, and what was
# published is counted there.
set -u
peal=$1
place=$(mktemp -d "${TMPDIR:-/tmp}/peal-metrics.XXXXXX")
service=
# shellcheck disable=SC2329  # the trap calls it
end() {
    if [ -n "$service" ]; then
        kill "$service" 2>/dev/null
        wait "$service"
    fi
    rm -rf "$place"
}
trap end EXIT
wrong() {
    echo "metrics_call: $*"
    exit 1
}

mkfifo "$place/port" # who reads it waits until the service listens
"$peal" serve --url "file:$place/events" --listen 127.0.0.1:0 --port-file "$place/port" \
    >"$place/log" 2>&1 &
service=$!
port=$(timeout 60 cat "$place/port") || wrong "it does not start: $(cat "$place/log")"
url=http://127.0.0.1:$port

for _ in 1 2 3; do
    curl -sf -o "$place/answer" -d '{}' "$url/v1/events/order.created" || wrong "cannot publish"
done
for path in /metrics /v1/metrics; do
    curl -sf -D "$place/head" "$url$path" >"$place/page" || wrong "no $path"
    grep -qi '^content-type: text/plain; version=0.0.4; charset=utf-8' "$place/head" ||
        wrong "another type: $(cat "$place/head")"
    said=$(promtool check metrics <"$place/page" 2>&1) && [ -z "$said" ] || wrong "promtool: $said"
    grep -qx 'peal_events_published_total 3' "$place/page" || wrong "not 3 events"
    grep -qx 'peal_http_connections 1' "$place/page" || wrong "not one connection"
    if grep -q 'order' "$place/page"; then wrong "a type is a label"; fi
done

# One event stream, and one WebSocket: each is counted as what it is.
/usr/bin/python3 - "$port" <<'PY' || wrong "streams are not counted as what they are"
import asyncio, http.client, sys, urllib.request
import websockets

port = sys.argv[1]

def count(kind):
    page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    name = f'peal_http_streams{{kind="{kind}"}} '
    return next(int(line[len(name):]) for line in page.splitlines() if line.startswith(name))

async def counted(sse, websocket):
    for _ in range(200):
        if (count("sse"), count("websocket")) == (sse, websocket):
            return
        await asyncio.sleep(0.05)
    sys.exit(f"{count('sse')} and {count('websocket')}, not {sse} and {websocket}")

async def main():
    stream = http.client.HTTPConnection("127.0.0.1", int(port))
    stream.request("GET", "/v1/stream")
    answer = stream.getresponse()
    await counted(1, 0)
    async with websockets.connect(f"ws://127.0.0.1:{port}/v1/ws"):
        await counted(1, 1)
    await counted(1, 0)
    answer.close()
    stream.close()
    await counted(0, 0)

asyncio.run(main())
PY
[ "$(curl -s -o "$place/answer" -w '%{http_code}' "$url/metrics?a=b")" = 400 ] ||
    wrong "an unknown parameter is taken"
