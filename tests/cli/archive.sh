#!/bin/bash
# SPDX-License-Identifier: MIT
#
# archive: what it says and does; that zstd reads what it makes; stats and doctor after it.
source "$(dirname "$0")/support/check.bash"

log='file:./events?segment_bytes=64k'
for i in $(seq 8000); do
    echo "{\"specversion\":\"1.0\",\"type\":\"t.n$((i % 2))\",\"id\":\"$i\",\"source\":\"/s\"," \
        "\"subject\":\"s$((i % 30))\",\"data\":{\"number\":$i,\"of\":8000}}"
done | peal import --url "$log" --quiet >/dev/null
cp -r events before
find before -name '*.seg' | sort >plain
files=$(wc -l <plain)
if [ "$files" -lt 4 ]; then wrong "only $files files to try it on"; fi

if peal archive 2>&1 | grep -q 'without zstd'; then
    no peal archive # and that is all there is to check
    done_checking
fi
rm -r events
cp -r before events

no peal archive --url file:./nowhere
complains 'no log in'
if [ -e nowhere ]; then wrong "a log was made by archiving what is not there"; fi
no peal archive --url mem:
complains 'mem:'
misuse peal archive --before soon
misuse peal archive events
misuse peal archive --older 30d

yes peal archive --before 1d
lines 0
yes peal archive --text --before 2000-01-01
yes peal archive
lines $((files - 2))
says '"file":"00000000000000000001.seg.zst","first_position":1,'
says '"archived_bytes":'
yes peal archive
lines 0

yes peal stats
says "\"files\":$files,\"archived_files\":$((files - 2))"
yes peal doctor
says "\"files\":$files,\"archived_files\":$((files - 2))"
says '"events":8000'
says '"whole":true'
yes peal query 't.n0' --subject s4 --count
says '{"count":267}'
yes peal query --from-position 17 --limit 1
says '"data":{"number":17,"of":8000}'

# What any program that reads zstd makes of it is the file as it was.
for file in events/*.seg.zst; do
    if ! zstd -dc "$file" | cmp - "before/$(basename "$file" .zst)"; then
        wrong "$file is not what it was made of"
    fi
done
# And put back in its place, it is one again.
zstd -dq --rm events/00000000000000000001.seg.zst
yes peal doctor
says "\"archived_files\":$((files - 3))"
says '"whole":true'
yes peal archive --text
says '00000000000000000001.seg.zst'
says 'RATIO'

# Damage is told, by the name of the file, and costs no more than its block.
file=events/00000000000000000001.seg.zst
printf 'XX' | dd of=$file bs=1 seek=$(($(stat -c %s $file) / 2)) conv=notrunc status=none
no peal doctor
complains '00000000000000000001.seg.zst'
says '"whole":false'
yes peal query 't.*' --from-position 7900 --count
says '{"count":101}'

done_checking
