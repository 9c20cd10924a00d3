#!/bin/bash
# SPDX-License-Identifier: MIT
#
# import and export: what was exported can be imported and is the same; bad lines are told, counted
# and left out; files rotate.
data=$(cd "$(dirname "$0")/../data" && pwd)
source "$(dirname "$0")/support/check.bash"

# ---- JSON lines

{
    printf '\357\273\277' # some programs begin a file so
    echo '{"specversion":"1.0","type":"a.one","source":"/s","id":"1","data":{"n": 1.0}}'
    echo '   '
    echo '{"specversion":"1.0","type":"a.two","source":"/s","id":"2"'
    echo 'not json at all'
    echo '{"specversion":"1.0","type":"a.*","source":"/s","id":"4"}'
    printf '{"specversion":"1.0","type":"a.three","source":"/s","id":"5"}' # no line end
} >mixed.jsonl
no peal import mixed.jsonl
says '"imported":2,"duplicates":0,"bad":3'
complains 'mixed.jsonl:3: an object or array that does not end'
complains 'mixed.jsonl:4:'
complains 'mixed.jsonl:5:'
no peal import mixed.jsonl
says '"imported":0,"duplicates":2,"bad":3'
no peal import --strict --url file:./strict mixed.jsonl
says '"imported":1'
complains 'peal import mixed.jsonl --from-line 2'
no peal import --url file:./strict --from-line 4 mixed.jsonl
says '"imported":1,"duplicates":0,"bad":2'
no peal import --dry-run --url file:./dry mixed.jsonl
says '"imported":3' # as far as can be told without a log
no peal query --url file:./dry
yes peal import --url file:./piped --batch 1 < <(head -n 1 mixed.jsonl)
says '"imported":1'
yes peal import --url file:./piped </dev/null
says '"imported":0'
no peal import not-there.jsonl
complains 'not-there.jsonl: No such file'
no peal import --url file:./piped --format jsonl /dev/full # endless zeros are no line
misuse peal import --format json mixed.jsonl
complains 'did you mean jsonl?'
misuse peal import --batch 100000 mixed.jsonl
misuse peal import --from-line 2 mixed.jsonl mixed.jsonl
echo 'tea' >tea.txt
no peal import --url file:./piped tea.txt
complains 'neither JSON nor an MLPerf log'

# ---- plain objects

cat >plain.jsonl <<'END'
{"event":"sensor.read","at":"2026-01-31T12:00:00Z","who":"s-1","run":"r","value":1.50}
{"at":1769860800.5,"value":2}
END
yes peal import --url file:./plain --type sensor.other --type-from event --time-from at \
    --subject-from who --correlation-from run plain.jsonl
yes peal query --url file:./plain sensor.read -s s-1 -c r --since 2026-01-31T12:00 \
    --until 2026-01-31T12:01
says '"data":{"event":"sensor.read","at":"2026-01-31T12:00:00Z","who":"s-1","run":"r","value":1.50}'
yes peal query --url file:./plain sensor.other
says '"time":"2026-01-31T12:00:00.500000000Z"'
no peal import --url file:./plain plain.jsonl
complains 'no type'

# ---- export, and back

for i in $(seq 40); do
    echo "{\"specversion\":\"1.0\",\"type\":\"b.t$((i % 3))\",\"source\":\"/s\",\"id\":\"b$i\"," \
        "\"subject\":\"s$((i % 5))\",\"ext\":\"x$i\",\"data\":{\"i\": $i, \"t\": \"\\u00e4\"}}"
done | tr -d '\n' | sed 's/}}{/}}\n{/g' >forty.jsonl
yes peal import --url file:./forty forty.jsonl
says '"imported":40'
yes peal export --url file:./forty
lines 40
yes peal export --url file:./forty -o all.jsonl
yes peal import --url file:./again all.jsonl
yes peal export --url file:./again -o all-again.jsonl
strip() { sed 's/"recordedtime":"[^"]*",//' "$1"; }
if ! cmp -s <(strip all.jsonl) <(strip all-again.jsonl); then wrong "a copy is not the same"; fi

yes peal export --url file:./forty --format batch -o all.json 'b.t1'
if [ "$(head -n 1 all.json)" != "[" ]; then wrong "a batch is no array"; fi
yes peal import --url file:./batch all.json
says '"imported":14'
yes peal export --url file:./forty --format batch nothing.here
says '[]'
yes peal import --url file:./batch < <(peal export --url file:./forty nothing.here --format batch)
says '"imported":0'
head -c 3000 all.json >cut.json
no peal import --url file:./cut cut.json
complains 'it does not end'
no peal import --url file:./cut < <(printf '[{"specversion":"1.0","type":"a","id":"c1"} 7, {"type":')
says '"imported":1'
no peal import --url file:./cut < <(printf '[] tail')
complains 'behind the end of the batch'
misuse peal export --url file:./forty --rotate
misuse peal export --url file:./forty --format batch --append -o x
misuse peal export --url file:./forty --max-file-size-mb 3 -o x
no peal export --url file:./forty -o not/there.jsonl
complains 'cannot be opened for writing'
if [ -w /dev/full ]; then
    no peal export --url file:./forty -o /dev/full
    complains 'cannot be written'
fi

# ---- a log of JSON lines that rotates

big=$(head -c 30000 /dev/zero | tr '\0' x)
for _ in $(seq 100); do echo "\"$big\""; done |
    peal publish big --lines --quiet --url file:./forty >/dev/null
yes peal export --url file:./forty -o rolling.jsonl --rotate --max-file-size-mb 1
for number in 1 2 3; do
    if [ ! -s rolling.jsonl.$number ]; then wrong "no rolling.jsonl.$number"; fi
done
if [ -n "$(find . -name 'rolling.jsonl*' -size +1000000c)" ]; then wrong "a file is too large"; fi
cat rolling.jsonl.1 rolling.jsonl.2 rolling.jsonl.3 rolling.jsonl >joined
if [ "$(wc -l <joined)" -ne 140 ]; then wrong "$(wc -l <joined) lines in all files"; fi
yes peal publish one.more 1 --url file:./forty
yes peal export --url file:./forty -o rolling.jsonl --rotate --append --max-file-size-mb 1
if [ "$(grep -c one.more rolling.jsonl)" -ne 1 ]; then wrong "--append has not gone on"; fi
if [ "$(wc -l <rolling.jsonl)" -gt 40 ]; then wrong "--append has begun anew"; fi
yes peal export --url file:./forty -o rolling.jsonl --append
if [ "$(grep -c one.more rolling.jsonl)" -ne 1 ]; then wrong "--append has repeated itself"; fi

# ---- training logs

if [ -d "$data/mlperf" ]; then
    yes peal import --url file:./training "$data/mlperf"
    says '"imported":595'
    says '"files_skipped":2'
    yes peal query --url file:./training training.run.stopped -c \
        google/tpu-v3-1024/resnet/result_1.txt --count
    says '{"count":1}'
    yes peal query --url file:./training 'training.run.stopped' --contains \
        '{"metadata":{"status":"abort"}}' --count
    says '{"count":1}'
else
    wrong "no training logs in $data"
fi
cat >new.txt <<'END'
[0] :::MLLOG {"namespace": "", "time_ms": 1592245932134, "event_type": "INTERVAL_START", "key": "epoch_start", "value": null, "metadata": {"epoch_num": 1}} and :::MLL 1558570764.081 a b: {"value": 1}
:::MLL noon key: {}
:::MLL 1558570764.081 key {}
:::MLLOG {"key": "cut
END
no peal import --url file:./mllog new.txt
says '"imported":2,"duplicates":0,"bad":3'
yes peal query --url file:./mllog training.epoch.started
says '"time":"2020-06-15T18:32:12.134000000Z"'
yes peal query --url file:./mllog training.a_b
says '"mllkey":"a b"'

# ---- progress belongs to terminals

on_terminal 0 import --url file:./shown forty.jsonl
says 'imported'
says '40'

done_checking
