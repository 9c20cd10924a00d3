#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Logs that cannot be opened: each is said in a sentence that names the path and what to do, the
# status is one of misuse or failure, and nothing is changed.
source "$(dirname "$0")/support/check.bash"

# What root may do anyway is tried as nobody.
as_nobody() {
    if [ "$(id -u)" -eq 0 ]; then
        timeout 60 setpriv --reuid=65534 --regid=65534 --clear-groups "$place/peal" "$@"
    else
        timeout 60 "$place/peal" "$@"
    fi
}
cp "$peal_program" "$place/peal"
chmod 755 "$place" "$place/peal"

# ---- a directory that is no log

mkdir photos
echo cat >photos/cat.jpg
no peal query -u file:./photos
complains './photos: there is no log to read: nothing was published there, or the path is another'
misuse peal publish -u file:./photos a.b 1
complains 'name a directory that is empty, or one that is not there yet'
if [ "$(ls -A photos)" != cat.jpg ]; then wrong "something was put into photos"; fi

mkdir junk
head -c 100000 /dev/urandom >junk/00000000000000000001.seg
no peal query -u file:./junk
complains './junk: no segment file has a header that is whole'
no peal publish -u file:./junk a.b 1
complains 'bring one back from a copy'

no peal query -u file:./nowhere
complains 'no log in ./nowhere: nothing was published there, or the path is another'
no peal publish -u file:./nowhere/below a.b 1
complains './nowhere/below: the directory it is to be in is not there; make that first'

# ---- a path that is a file

echo text >plain
for verb in "query" "doctor" "publish a.b 1"; do
    set -- $verb
    no peal "$1" -u file:./plain "${@:2}"
    complains './plain: cannot list the directory: Not a directory; a log is a directory: name one'
done
no peal publish -u file:./plain/below a.b 1
complains 'Not a directory; a log is a directory: name one'
if [ "$(cat plain)" != text ]; then wrong "the file was changed"; fi

# ---- no permission

yes peal publish -u file:./ours a.b 1
chmod 755 ours
chmod 644 ours/*
yes as_nobody query -u file:./ours
if [ "$(id -u)" -ne 0 ]; then chmod a-w ours ours/*; fi
no as_nobody publish -u file:./ours a.b 1
complains 'Permission denied; who reads a log must be allowed to read all of it, who writes to change'
chmod 000 ours/*.seg
no as_nobody query -u file:./ours
complains '.seg: cannot open it: Permission denied; who reads a log must be allowed'
chmod 000 ours
no as_nobody query -u file:./ours
complains 'Permission denied; who reads a log must be allowed'
chmod 755 ours
chmod 644 ours/*

# ---- in use

yes peal publish -u file:./busy a.b 1
mkfifo lines
"$peal_program" import -u file:./busy - <lines >/dev/null 2>&1 &
writer=$!
exec 3>lines
SECONDS=0
until [ "$(cat busy/lock)" = $writer ] || [ $SECONDS -gt 60 ]; do
    kill -0 $writer || break
done
no peal publish -u file:./busy a.b 1
complains 'has this log; close it there first'
yes peal query -u file:./busy
exec 3>&-
wait $writer
yes peal publish -u file:./busy a.b 1

# ---- options over their limits

misuse peal publish -u 'file:./limits?segment_bytes=1' a.b 1
complains 'segment_bytes 1: must be 64 KiB to 1 GiB'
misuse peal publish -u 'file:./limits?segment_bytes=2G' a.b 1
complains 'must be 64 KiB to 1 GiB'
misuse peal publish -u 'file:./limits?durability=maybe' a.b 1
complains 'must be memory, os or disk'
misuse peal publish -u 'file:./limits?bogus=1' a.b 1
complains "has no parameter 'bogus'"
misuse peal publish -u "file:./$(head -c 5000 /dev/zero | tr '\0' a)" a.b 1
complains 'longer than 4096 bytes'
no peal query -u "file:./$(head -c 300 /dev/zero | tr '\0' a)"
complains 'File name too long; choose a shorter name'
if [ -e limits ]; then wrong "a log was made of refused options"; fi
misuse peal publish -u mem: "$(head -c 300 /dev/zero | tr '\0' a)" 1
complains 'has 300 bytes and may have 255'

done_checking
