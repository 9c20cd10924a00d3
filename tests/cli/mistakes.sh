#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Mistakes of whoever types a command, and of scripts around it: a standard stream that is closed, a
# number that means nothing, a path that is not there, a log that is meant twice. Each is refused or
# does what was probably meant; none harms a log, and none makes one.
source "$(dirname "$0")/support/check.bash"

# ---- a standard stream is closed: its number must not become that of a file of the log

no_output() { timeout 60 "$peal_program" "$@" >&-; }
no_errors() { timeout 60 "$peal_program" "$@" 2>&-; }
no_input() { timeout 60 "$peal_program" "$@" <&-; }
nothing() { timeout 60 "$peal_program" "$@" <&- >&- 2>&-; }
lock_is_clean() {
    checks=$((checks + 1))
    if ! grep -qxE '[0-9]+' events/lock; then wrong "something was written over the lock"; fi
}

yes peal publish a.b '{"n":1}'
no no_output publish a.b '{"n":2}'
complains 'the output cannot be written'
lock_is_clean
no no_errors import nowhere.jsonl
lock_is_clean
no nothing publish a.b '{"n":3}'
lock_is_clean
no no_input import
complains 'Bad file descriptor'
no no_input publish
complains 'Bad file descriptor'
yes no_input publish a.b '{"n":4}'
lock_is_clean
yes peal doctor
says '"events":4'
says '"whole":true'

# ---- what is refused makes no log

for words in 'a..b {}' 'a.b {bad' 'a.b {} --priority 11' 'a.b --data-file nowhere' '$peal.x {} {}'; do
    set -- $words
    PEAL_URL=file:./typo with_status "$([ "$2" = --data-file ] && echo 1 || echo 2)" peal publish "$@"
done
no peal import -u file:./typo nowhere.jsonl
echo '{"a":1}' >plain.jsonl
yes peal import -u file:./typo --type a.b --dry-run plain.jsonl
says '"imported":1'
for words in 'dead retry --all' 'dead discard 1' 'subs pause x' 'subs forget x' 'schedule cancel --all'; do
    set -- $words
    no peal "$@" -u file:./typo
    complains 'no log in ./typo'
done
checks=$((checks + 1))
if [ -e typo ]; then wrong "a log was made for nothing"; fi

# ---- numbers that mean nothing

for words in 'query --limit 0' 'tail --lines 0' 'stream show s --limit 0' 'dead list --limit 0' \
    'stats --types --limit 0' 'import plain.jsonl --batch 0' \
    'export -o out.jsonl --rotate --max-file-size-mb 0'; do
    set -- $words
    misuse peal "$@"
    complains 'a whole number above 0 is wanted'
done

# ---- the last one is the newest

yes peal publish a.last
yes peal tail -n 1
says '"type":"a.last"'
if [ "$(wc -l <<<"$out")" -ne 1 ]; then wrong "one was asked for"; fi
yes peal tail -n 1 --lines 3
says '"type":"a.last"'
yes peal tail -n 1 --all
says '"data":{"n":1}'

# ---- the same log twice

misuse peal replay --full --to file:./events
complains 'is the log itself'
misuse peal replay --full --to "file:$PWD/../${PWD##*/}/events?durability=memory"
complains 'is the log itself'
yes peal query --count
says '"count":5'
yes peal replay --full --to file:./other

# ---- a copy that is not there

no peal doctor --repair --dry-run --from /nowhere/at/all
complains '--from /nowhere/at/all: there is no such directory'
no peal doctor --repair --dry-run --from plain.jsonl
complains 'there is no such directory'

# ---- help for help, and a line without a blank at its end

yes peal help help
says 'Usage: peal VERB'
misuse peal stats extra
if ! grep -q 'peal stats$' <<<"$err"; then wrong "a blank behind the verb"; fi

# ---- what waits for its time says until when

yes peal publish a.b --deliver-in 14d
says '"position":0'
says '"deliver_at":"2'
yes peal publish a.b --deliver-in 14d --text
says 'scheduled a.b for 2'

# ---- who is told to end does so in order, and says by what

mkfifo lines
"$peal_program" import --type a.fed --format jsonl -u file:./fed - <lines >/dev/null 2>&1 &
importer=$!
exec 3>lines
for _ in $(seq 1200); do
    if [ "$(cat fed/lock 2>/dev/null)" = $importer ]; then break; fi
    sleep 0.05
done
kill -TERM $importer # perhaps just before it begins to read
wait $importer
status=$?
exec 3>&-
checks=$((checks + 1))
if [ $status -ne 143 ]; then wrong "status $status after SIGTERM"; fi

# ---- where the fault is, how many there are, and what there is instead

with_status 2 peal publish a.b '{bad}'
complains 'byte 1:'
with_status 2 peal completion fish
complains 'no completion for fish; there is one for bash|zsh'
for ((i = 0; i < 50; i++)); do echo '{bad}'; done >bad.jsonl
no peal publish a.b --lines <bad.jsonl
complains 'line 20: '
complains 'line 21 too; what follows is counted only'
complains '0 published, 50 left out'
if grep -q "line 22" <<<"$err"; then wrong "more lines are said than are looked at"; fi
checks=$((checks + 1))

# ---- a log that is removed while it is followed

# followed_until <name> <what is done to the log ...>: the status and errors of who follows it.
followed_until() {
    local name=$1
    shift
    yes peal publish a.b 1 -u "file:./$name"
    timeout 30 "$peal_program" tail -f --quiet -u "file:./$name" >followed 2>"$place/.err" &
    local follower=$!
    for _ in $(seq 200); do
        if [ -s followed ]; then break; fi
        sleep 0.05
    done
    "$@"
    wait $follower
    local status=$?
    err=$(cat "$place/.err")
    checks=$((checks + 1))
    if [ $status -ne 1 ]; then wrong "status $status of tail -f after: $*"; fi
}
followed_until gone rm -rf gone
complains 'was removed'
swap() { mkdir another && mv moved older && mv another moved; }
followed_until moved swap
complains 'moved'

done_checking
