#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Mistakes of clients of the service, as curl sends them: each is answered by its status and a sentence
# that is true; and the answers that tell a secret once are whole.
source "$(dirname "$0")/../cli/support/check.bash"
trap 'if [ -n "${service:-}" ]; then kill "$service"; wait "$service"; fi; rm -rf "$place"' EXIT
service=

mkfifo port # who reads it waits until the service listens
"$peal_program" serve --url file:./events --listen 127.0.0.1:0 --port-file port >log 2>&1 &
service=$!
url=http://127.0.0.1:$(timeout 60 cat port)

# answers <status> <curl's arguments ...>; the body is what says() looks into.
answers() {
    local wanted=$1
    shift
    out=$(timeout 60 curl -sS -w '\n%{http_code}' "$@" 2>&1)
    err=
    checks=$((checks + 1))
    if [ "${out##*$'\n'}" != "$wanted" ]; then wrong "not $wanted: $*"; fi
}
json='Content-Type: application/json'

# ---- data that is no JSON: nothing is quoted that was not sent

answers 400 "$url/v1/events/a.b" -d '{"total":'
says 'not JSON at byte 9: it ends where a value is to follow'
answers 400 "$url/v1/events/a.b" -d '[1'
answers 400 "$url/v1/events" -H "$json" -d '{"type":"a.b"}x'
says 'at byte 14: something behind the end of the value'

# ---- the page, for browsers and for who only asks whether somebody answers

page() {
    timeout 60 curl -sS -o page -w '%{http_code} %header{content-encoding} %header{content-length}' "$@" "$url/"
}
if [ "$(page)" != "404  $(wc -c <page)" ]; then # it was built with a dashboard
    if [ "$(page)" != "200  $(wc -c <page)" ]; then wrong "the page is not sent as it is"; fi
    if ! grep -q '<!doctype html>' page; then wrong "the page is none"; fi
    cp page plain
    packed=$(page -H 'Accept-Encoding: br, gzip;q=0.5')
    if [ "$packed" != "200 gzip $(wc -c <page)" ]; then wrong "no gzip: $packed"; fi
    if ! gzip -dc <page | cmp -s - plain; then wrong "the compressed page is another"; fi
    if [ "$(page -H 'Accept-Encoding: gzip;q=0, *')" != "200  $(wc -c <plain)" ]; then wrong "gzip all the same"; fi
    if [ "$(page -I)" != "200  $(wc -c <plain)" ]; then wrong "HEAD is another"; fi
    checks=$((checks + 5))
fi

# ---- what is compressed is refused, and not stored as it came

answers 415 "$url/v1/events/a.b" -H 'Content-Encoding: gzip' -H 'Content-Type: text/plain' -d x
says 'Content-Encoding is gzip'
answers 415 "$url/v1/events" -H 'Content-Encoding: br' -H 'Content-Type: application/x-ndjson' -d x
answers 201 "$url/v1/events/a.b" -H 'Content-Encoding: identity' -d '{}'
answers 200 "$url/v1/events" -H 'Content-Encoding: gzip'

# ---- a + in an address is a space

answers 400 "$url/v1/events?from=2026-11-22T00:00:00+01:00"
says 'as %2B'
answers 200 "$url/v1/events?from=2026-11-22T00:00:00%2B01:00"

# ---- one name for what is not valid

answers 400 "$url/v1/events/a.b" -H 'Content-Length: many' -d x
says '"code":"inval"'

# ---- webhooks

answers 404 -X PUT "$url/v1/subscriptions/nobody/webhook" -H "$json" -d '{}'
says '"code":"notfound"'
answers 404 -X PUT "$url/v1/subscriptions/nobody/webhook" -H "$json" -d '{"rotate":true}'
hook='{"name":"billing","pattern":"order.*","kind":"webhook","webhook":{"url":"https://a.example/"}}'
answers 201 "$url/v1/subscriptions" -H "$json" -d "$hook"
for piece in '"name":"billing","pattern":"order.*"' '"position":' '"kind":"webhook"' '"secret":"whsec_'; do
    says "$piece"
done
answers 200 "$url/v1/subscriptions/billing"
if grep -q secret <<<"$out"; then wrong "the secret is told again"; fi
answers 200 -X PUT "$url/v1/subscriptions/billing/webhook" -H "$json" -d '{"timeout_ms":2000}'
says '"pattern":"order.*"'
says '"timeout_ms":2000'
if grep -q secret <<<"$out"; then wrong "the secret is told again"; fi
answers 200 -X PUT "$url/v1/subscriptions/billing/webhook" -H "$json" -d '{"rotate":true}'
says '"secret":"whsec_'

done_checking
