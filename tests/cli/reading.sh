#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tail, replay, stream, stats, doctor, explain, dead, bench, completion, help: each used rightly,
# wrongly, on nothing, and into a pipe that closes.
source "$(dirname "$0")/support/check.bash"

for i in $(seq 25); do
    echo "{\"specversion\":\"1.0\",\"type\":\"t.n$((i % 2))\",\"id\":\"$i\",\"source\":\"/s\"," \
        "\"subject\":\"s$((i % 3))\",\"time\":\"2026-01-01T00:00:00.0$((i + 10))Z\",\"data\":$i}"
done | peal import >/dev/null

# ---- tail

yes peal tail
lines 10
says '"id":"25"'
yes peal tail t.n0 --lines 3
lines 3
yes peal tail --all
lines 25
yes peal tail --from-position 24
lines 2
no peal tail nothing.here
lines 0
misuse peal tail --lines -3
misuse peal tail --new
misuse peal tail 'a..b'
timeout 60 "$peal_program" tail --follow --lines 1 --quiet >followed &
follower=$!
for _ in $(seq 100); do
    if [ -s followed ]; then break; fi
    sleep 0.05
done
kill -TERM $follower # a shell without a terminal starts its jobs deaf to Ctrl-C
wait $follower
if [ "$(wc -l <followed)" -ne 1 ]; then wrong "--follow has not begun with the last event"; fi
with_status 0 bash -c "set -o pipefail; timeout 20 '$peal_program' tail -f | head -n 1"
lines 1
# While another process has the log and writes to it.
mkfifo events-in
peal publish --lines live.event --quiet <events-in >published &
exec 3>events-in
echo 1 >&3
timeout 30 "$peal_program" tail live.event -f -n 3 --quiet >seen &
follower=$!
for i in 2 3; do
    for _ in $(seq 200); do
        if [ "$(wc -l <seen)" -ge $((i - 1)) ]; then break; fi
        sleep 0.05
    done
    echo $i >&3
done
if ! wait $follower; then wrong "tail --follow beside a writer"; fi
if [ "$(grep -c live.event seen)" -ne 3 ]; then wrong "$(wc -l <seen) events seen of 3"; fi
no peal publish a.b 1 --wait 0
complains 'process'
with_status 124 timeout 1 "$peal_program" tail -f --new --quiet
lines 0
yes peal query live.event
lines 3
exec 3>&-
wait
misuse peal tail --folow
complains 'did you mean --follow?'

# ---- replay

yes peal replay --full t.n1
lines 13
yes peal replay --speed 100 't.*'
lines 25
yes peal replay --full --to file:./copy 't.*'
lines 0
yes peal export --url file:./copy
lines 25
says '"subject":"s2"'
yes peal replay --full --to file:./copy 't.*' # known already
yes peal query --url file:./copy --count
says '{"count":25}'
no peal replay nothing.here
misuse peal replay --full --speed 2
misuse peal replay --speed 0
misuse peal replay --speed -1
misuse peal replay --to nowhere:
with_status 0 bash -c "set -o pipefail; '$peal_program' replay --full | head -n 1"
lines 1

# ---- stream

yes peal stream append cart item.added '{"n":1}' --expect none
says '"version":1'
no peal stream append cart item.added '{"n":1}' --expect none
complains 'version 1'
yes peal stream append cart item.added --data 2 --expect 1
yes peal stream append cart item.added 3 --expect exists
yes peal stream append cart item.added 4
no peal stream append cart item.added 5 --expect 2
complains 'version 4'
no peal stream append other item.added 5 --expect exists
yes peal stream show cart
lines 4
yes peal stream show cart --backwards --limit 1 --text
says '         4  '
yes peal stream version cart
says '{"subject":"cart","version":4}'
no peal stream version nothing
no peal stream show nothing
complains 'nothing has no events'
misuse peal stream
misuse peal stream show
misuse peal stream show a b
misuse peal stream shw cart
complains 'did you mean show?'
misuse peal stream append cart
misuse peal stream append cart item.added 1 --expect soon

# ---- stats and doctor

yes peal stats
says '"events":32'
says '"first_position":1,"last_position":32'
yes peal stats --types --limit 1
says '{"type":"t.n1","events":13'
lines 1
yes peal stats --types --text
says 'TYPE'
misuse peal stats extra
no peal stats --url file:./nowhere
yes peal doctor
says '"events":32'
says '"whole":true'
no peal doctor --url file:./nowhere
cp -r events damaged
file=$(find damaged -name '*.seg' | head -n 1)
at=$(LC_ALL=C grep -obaF '/s' "$file" | sed -n '10{s/:.*//;p}')
if [ -z "$at" ]; then wrong "no event to damage in $file"; fi
printf 'X' | dd of="$file" bs=1 seek="${at:-0}" conv=notrunc status=none
no peal doctor --url file:./damaged
complains 'are damaged; the event'
says '"damages":1'
says '"whole":false'
no peal doctor --url file:./damaged --text
says 'damaged places'
yes peal query --url file:./damaged --count
says '{"count":31}'
misuse peal doctor --fix
misuse peal doctor --dry-run
misuse peal doctor --repair </dev/null
complains '--yes'
yes peal doctor --repair --dry-run
says '"found":0,"mended":0'
no peal doctor --url file:./damaged --repair --dry-run
says '"possible":false,"how":"only a copy of the file can bring it back"'
no peal doctor --url file:./damaged --repair --yes --text
says 'leaves '
no peal doctor --url file:./damaged --repair --dry-run --from events
says '"possible":true,"how":"the copy has it"'
no peal doctor --url file:./damaged
yes peal doctor --url file:./damaged --repair --yes --from events
says '"found":1,"mended":1,"events":1,"dry_run":false'
yes peal doctor --url file:./damaged
says '"events":32'
# The state beside the log: what is whole of it goes on once the log is opened to be written.
cp -r events stateful
yes peal publish later.on --deliver-in 1h --url file:./stateful
file=$(find stateful -name 'state-*.kv')
at=$(LC_ALL=C grep -obaF 'later.on' "$file" | sed -n '1{s/:.*//;p}')
printf 'X' | dd of="$file" bs=1 seek="${at:-0}" conv=notrunc status=none
no peal doctor --url file:./stateful
complains 'damaged'
says '"whole":false'
no peal doctor --url file:./stateful --repair --dry-run
yes peal doctor --url file:./stateful --repair --yes
yes peal doctor --url file:./stateful
says '"whole":true'
if [ "$(find damaged -path '*damaged-*' -type f | wc -l)" -ne 1 ]; then wrong 'nothing was kept'; fi

# ---- explain

yes peal explain order.item.added 'order.*' 'order.+' 'nats:order.>' '*,!*.added' --text
says 'order.*'
says 'the type goes on behind the end of order.+'
says 'excluded by !*.added'
yes peal explain a.b 'mqtt:a/+'
says '{"pattern":"mqtt:a/+","canonical":"a.+","matches":true,"why":"by a.+"}'
no peal explain a.b 'a.c' '+'
says 'nothing for segment 2 of a.c, \"c\"'
no peal explain '$peal.gap' '*'
says 'a wildcard in front never matches'
with_status 2 peal explain a.b 'a..b' 'a.*'
complains 'a..b'
says '"matches":true'
misuse peal explain
misuse peal explain a.b --event 3
misuse peal explain a.b 'a.*' --subscription billing
no peal explain a.b
lines 0
no peal explain --event 3
no peal explain --event no-such-id
complains 'never published there'
no peal explain a.b --subscription billing
complains 'no durable subscription billing'
no peal explain a.b --url file:./nowhere
misuse peal explain 'a.*' 'a.*'

# ---- subs

yes peal subs
lines 0
no peal subs show billing
misuse peal subs show
misuse peal subs lits
complains 'did you mean list?'
misuse peal subs --lag none

# ---- schedule

yes peal schedule
lines 0
yes peal publish invoice.due 1 --deliver-in 14d --subject i-7 --id due-1
says '"position":0'
yes peal publish invoice.due 1 --deliver-at 2030-01-31T12:00 --text
says 'scheduled invoice.due for 2030'
yes peal schedule list --type 'invoice.*'
lines 2
says '"deliver_at":"2030-01-31T12:00:00.000Z"'
says '"id":"due-1","type":"invoice.due","subject":"i-7"'
yes peal schedule list due-1 --text
says 'DELIVER AT'
yes peal stats
says '"scheduled":2'
no peal query invoice.due
yes peal schedule cancel due-1 --dry-run
says '{"affected":1,"dry_run":true}'
yes peal schedule cancel due-1
no peal schedule cancel due-1
yes peal schedule cancel --all
no peal schedule cancel --type 'invoice.*'
yes peal schedule
lines 0
misuse peal schedule cancel
misuse peal schedule cancle
complains 'did you mean cancel?'
misuse peal publish invoice.due 1 --deliver-in 14d --deliver-at now
misuse peal publish invoice.due 1 --deliver-in 9999d
misuse peal publish invoice.due 1 --deliver-in later

# ---- dead

yes peal dead
lines 0
yes peal dead list --reason attempts --older-than 2h
yes peal dead count --by type
no peal dead show 7
complains 'no dead letter 7'
no peal dead retry 7
no peal dead retry --all --dry-run
says '{"affected":0,"dry_run":true}'
no peal dead discard --type 't.*'
no peal dead edit 7 --data 1
misuse peal dead retry
misuse peal dead discard
misuse peal dead show
misuse peal dead show x
misuse peal dead edit 7
misuse peal dead edit 7 --data '{x}'
misuse peal dead rety 7
complains 'did you mean retry?'
misuse peal dead count --by colour
misuse peal dead list --older-than soon
misuse peal dead list 7

# ---- bench

yes peal bench --seconds 0.001
says '{"name":"noop: publish","value":'
says '"unit":"a second"'
lines 11
if [ -n "$(find . -name 'peal-bench*')" ]; then wrong "bench leaves files behind"; fi
no peal bench --directory not/there
misuse peal bench --seconds 0

# ---- help, version, and words that are none

yes peal help
says 'publish'
yes peal --help
yes peal --version
says 'peal '
yes peal help dead
says 'Usage: peal dead [list|show|count|retry|edit|discard] [ID] [OPTION...]'
yes peal query --help
says '--contains JSON'
misuse peal help quary
complains 'did you mean query?'
misuse peal exprot
complains 'did you mean export?'
misuse peal xyzzy
misuse peal --frobnicate
with_status 2 peal
if [ -n "$out" ] || ! grep -q Usage <<<"$err"; then wrong "no verb, no usage"; fi

# ---- where

yes env PEAL_URL=file:./copy "$peal_program" query --count
says '{"count":25}'
yes env PEAL_URL=file:./copy "$peal_program" query --count --url file:./events
says '{"count":32}'
no peal query --url mem:
lines 0
misuse peal query --url bogus:
echo text >file
no peal query --url file:./file
no peal publish a.b 1 --url file:./file/below

done_checking
