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
[ "$(curl -s -o "$place/answer" -w '%{http_code}' "$url/metrics?a=b")" = 400 ] ||
    wrong "an unknown parameter is taken"
