#!/bin/bash
# SPDX-License-Identifier: MIT
#
# publish and query: what went in comes out, for programs and for people; and what does not make
# sense is refused in a sentence.
source "$(dirname "$0")/support/check.bash"

# ---- publish

yes peal publish order.created '{"total":  5.10}' -s o-1 -k k-1 -c run-1 --causation c-1 -i id-1 \
    --source /shop --schema urn:o:1 -m tenant=blue -m 'note=a=b' --time 2026-01-31T12:34:56.5Z -p 0
says '"id":"id-1","position":1,"version":1,"durability":"os","duplicate":false'
yes peal publish order.created 7 -i id-1 --source /shop
says '"position":1'
says '"duplicate":true'
yes peal query --id id-1
lines 1
for part in '"data":{"total":  5.10}' '"subject":"o-1"' '"partitionkey":"k-1"' \
    '"correlationid":"run-1"' '"causationid":"c-1"' '"source":"/shop"' '"dataschema":"urn:o:1"' \
    '"tenant":"blue"' '"note":"a=b"' '"time":"2026-01-31T12:34:56.500000000Z"' \
    '"pealpriority":"0"' '"pealposition":"00000000000000000001"'; do
    says "$part"
done
yes peal publish --type note --data 'tea is ready' --content-type text/plain --durability disk
says '"durability":"disk"'
printf 'a\0b' >bytes
yes peal publish binary --data-file bytes --content-type application/octet-stream
yes peal query binary
says '"data_base64":"YQBi"'
yes peal publish empty
yes peal query empty
says_not '"data"'
yes peal publish from.stdin --data-file - <<<'[1, 2]'
yes peal query from.stdin
says '"data":[1, 2]'

misuse peal publish 'order.*' 1
misuse peal publish order.paid '{total:5}'
complains "Quote it for the shell"
misuse peal publish order.paid 1 --data 2
misuse peal publish order.paid --metadata nothing
misuse peal publish order.paid --priority 10
misuse peal publish order.paid --durability dsik
complains 'did you mean disk?'
misuse peal publish order.paid --time noon
misuse peal publish order.paid 1 2
misuse peal publish --lines </dev/null
misuse peal publish '$peal.own' 1
no peal publish order.paid --data-file not-there
complains 'not-there: No such file'
misuse peal publish order.paid 1 --url nowhere:
misuse peal publish order.paid 1 --url 'file:./events?bogus=1'

# ---- lines

yes peal publish <<'END'
{"specversion":"1.0","type":"line.one","source":"/s","id":"l1","data":{"n":1}}

{"specversion":"1.0","type":"line.two","source":"/s","id":"l2","data":2}
END
lines 2
no peal publish <<'END'
{"specversion":"1.0","type":"line.three","source":"/s","id":"l3"}
{"type":"line.four"}
{"specversion":"1.0","type":"line.five","source":"/s","id":"l5"
{"specversion":"1.0","type":"line.*","source":"/s","id":"l6"}
{"specversion":"1.0","type":"line.seven","source":"/s","id":"l7"}
END
lines 2
complains 'line 2: no "specversion"'
complains 'line 3:'
complains 'line 4:'
complains 'makes a pattern of the event type'
yes peal query 'line.*' --count
says '{"count":4}'
yes peal publish load --lines --content-type text/plain < <(printf 'one\ntwo\nlast')
lines 3
yes peal publish </dev/null
lines 0

# ---- query

yes peal query
lines 12
yes peal query --json
lines 12
yes peal query '*.created,note'
lines 2
yes peal query --type 'line.+' --limit 2
lines 2
yes peal query 'line.*' --backwards --limit 1
says '"type":"line.seven"'
yes peal query --after 1 --limit 1
says '"pealposition":"00000000000000000002"'
yes peal query --from-position 2 --to-position 4
lines 2
yes peal query --subject o-1 --correlation run-1 --causation c-1 --source /shop
lines 1
yes peal query --since 2026-01-31 --until 2026-02-01T00:00Z
lines 1
yes peal query --contains '{"n":1}'
lines 1
says '"id":"l1"'
no peal query --since 1h --until 30m
lines 0
no peal query nothing.here
lines 0
no peal query nothing.here --count
says '{"count":0}'
misuse peal query 'a..b'
misuse peal query a --type b
misuse peal query --since tomorrowish
misuse peal query --since now --until 1h
misuse peal query --limit many
misuse peal query --limt 3
complains 'did you mean --limit?'
misuse peal query --limit
complains '--limit needs a value'
misuse peal query --count=3
misuse peal query a b
misuse peal query --contains '{'
no peal query --url file:./nowhere
complains 'no log in ./nowhere'
if [ -e nowhere ]; then wrong "reading has made a log"; fi

# ---- for people

yes peal query --text order.created
says 'POSITION'
says '{"total":  5.10}'
yes peal query --text --full order.created
says 'correlation     run-1'
yes peal query --text binary
says '(3 bytes, application/octet-stream)'
yes peal publish 'escape' "$(printf '"a\\u001b[31m"')"
yes peal publish escape --content-type text/plain --data "$(printf 'a\033[31mb\nc\302\233d')"
yes peal query --text escape
if grep -q "$(printf '\033\|\302\233')" "$place/.out"; then wrong "an event commands the terminal"; fi
yes peal query escape
lines 2
yes peal publish pretty --data "$(printf '{\n  "a": 1\n}')"
yes peal query pretty
lines 1
says '"data":{   "a": 1 }'

on_terminal 0 query order.created
says 'POSITION'
says "$(printf '\033[36m')"
on_terminal 0 query order.created --json
says '{"specversion"'
NO_COLOR=1 on_terminal 0 query order.created
says_not "$(printf '\033[')"
on_terminal 0 publish told.people 1
says 'published told.people at position'
on_terminal 1 query nothing.here
says 'no such event'
on_terminal 2 publish
says 'nothing to publish'

# ---- a reader that goes away, a disk that is full

for i in $(seq 300); do echo "$i"; done | peal publish many --lines --quiet >/dev/null
with_status 0 bash -c "set -o pipefail; '$peal_program' query | head -n 1"
lines 1
if [ -n "$err" ]; then wrong "a broken pipe is an error"; fi
if [ -w /dev/full ]; then
    with_status 1 bash -c "'$peal_program' query >/dev/full"
    complains 'cannot be written'
fi

done_checking
