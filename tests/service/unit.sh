#!/bin/bash
# SPDX-License-Identifier: MIT
#
# unit.sh <peal>: the systemd unit is one, and its sandbox leaves an exposure of at most 1.5 of 10.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
peal=$(readlink -f "$1")
place=$(mktemp -d "${TMPDIR:-/tmp}/peal-unit.XXXXXX")
trap 'rm -rf "$place"' EXIT

if ! command -v systemd-analyze >/dev/null; then
    echo "unit: no systemd-analyze: run make deps, or install systemd"
    exit 1
fi

# Where the program is installed is for the installation to say; man pages need not be.
sed -e "s,^ExecStart=peal ,ExecStart=$peal ," -e '/^Documentation=/d' \
    "$tree/packaging/systemd/peal.service" >"$place/peal.service"
if ! systemd-analyze verify --man=no "$place/peal.service" >"$place/said" 2>&1 || [ -s "$place/said" ]
then
    cat "$place/said"
    exit 1
fi
if ! systemd-analyze security --offline=true --no-pager --threshold=15 "$place/peal.service" \
    >"$place/said" 2>&1; then
    grep -v '✓' "$place/said"
    exit 1
fi
tail -n 1 "$place/said"

# What is weaker is noticed: without these lines it is above the limit.
grep -vE '^(SystemCallFilter|DynamicUser|PrivateDevices|Capability|NoNew)' "$place/peal.service" \
    >"$place/weak.service"
if systemd-analyze security --offline=true --no-pager --threshold=15 "$place/weak.service" \
    >/dev/null 2>&1; then
    echo "unit: a unit without most of its sandbox passes: the limit is not looked at"
    exit 1
fi
