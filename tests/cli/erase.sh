#!/bin/bash
# SPDX-License-Identifier: MIT
#
# erase: what is counted, asked, refused and done; and what other verbs say of it afterwards.
source "$(dirname "$0")/support/check.bash"

for i in $(seq 60); do
    echo "{\"specversion\":\"1.0\",\"type\":\"t.n\",\"id\":\"$i\",\"source\":\"/s\"," \
        "\"subject\":\"user-$((i % 3))\",\"data\":\"secret of $((i % 3))\"}"
done | peal import >/dev/null
peal publish note.due '"secret of 1"' --subject user-1 --deliver-in 1d >/dev/null

# ---- misuse

misuse peal erase
complains 'of which subject?'
misuse peal erase --subject ''
misuse peal erase user-1
misuse peal erase --subject user-1 </dev/null
complains '--yes'
yes peal query
lines 60

# ---- counting

yes peal erase --subject user-1 --count
says '"events":20'
says '"scheduled":1'
says '"dry_run":true'
yes peal erase --subject nobody --count
says '"events":0'
yes peal query
lines 60
no peal erase --subject user-1 --count --url file:./nowhere
complains 'no log in'
if [ -e nowhere ]; then wrong 'a log was made'; fi
no peal erase --subject user-1 --yes --url file:./nowhere
if [ -e nowhere ]; then wrong 'a log was made'; fi
no peal erase --subject user-1 --yes --url noop:
complains 'nothing that could be erased'

# ---- asking

if command -v script >/dev/null; then
    ask="'$peal_program' erase --subject user-1 --text"
    with_status 1 bash -c "echo n | script -qec \"$ask\" /dev/null"
    says '20 events'
    says 'nothing is erased'
    yes peal query
    lines 60
fi

# ---- doing

if ! grep -q 'secret of 1' events/*; then wrong 'it is not there to be erased'; fi
yes peal erase --subject user-1 --yes
says '"events":20'
says '"scheduled":1'
says '"dry_run":false'
if grep -q 'secret of 1' events/*; then wrong 'it is still there'; fi
if grep -q 'user-1' events/*; then wrong 'its name is still there'; fi
yes peal query
lines 40
no peal query --subject user-1
lines 0
yes peal query --subject user-2 --backwards
lines 20
yes peal doctor
says '"missing":0'
says '"erased":20'
says '"whole":true'
yes peal schedule
lines 0
yes peal erase --subject user-1 --yes
says '"events":0'
yes peal publish t.n 1 --subject user-1
says '"position":61'
yes peal stream show user-1
lines 1
yes peal erase --subject user-1 -y --text
says 'events'

done_checking
