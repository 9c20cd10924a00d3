#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The tables of verbs and options, and all that is said of them elsewhere: the man page of each verb
# has each of its options and actions, the completions in packaging/ are those the tables make, and
# they complete.
tree=$(cd "$(dirname "$0")/../.." && pwd)
source "$(dirname "$0")/support/check.bash"

verbs=$(peal help | sed -n 's/^  \([a-z]*\)  *.*/\1/p')
if [ "$(wc -w <<<"$verbs")" -lt 15 ]; then wrong "few verbs: $verbs"; fi

# ---- man pages

for verb in $verbs; do
    page=$tree/docs/man/peal-$verb.1.scd
    if [ ! -f "$page" ]; then
        wrong "no man page of $verb"
        continue
    fi
    yes peal help "$verb"
    options=$(grep -oE '^  (-[a-zA-Z], |    )--[a-z-]+' <<<"$out" | grep -oE -- '--[a-z-]+')
    if [ -n "$(sort <<<"$options" | uniq -d)" ]; then
        wrong "$verb has an option twice: $(sort <<<"$options" | uniq -d)"
    fi
    letters=$(grep -oE '^  -[a-zA-Z],' <<<"$out")
    if [ -n "$(sort <<<"$letters" | uniq -d)" ]; then
        wrong "$verb has a letter twice: $(sort <<<"$letters" | uniq -d)"
    fi
    for option in $options; do
        if ! grep -qE "^(\*-[a-zA-Z]\*, )?\*$option\*" "$page"; then
            wrong "the man page of $verb has no $option"
        fi
    done
    for option in $(grep -oE '^(\*-[a-zA-Z]\*, )?\*--[a-z-]+\*' "$page" | grep -oE -- '--[a-z-]+'); do
        if ! grep -qxF -- "$option" <<<"$options"; then
            wrong "the man page of $verb has $option, and peal has not"
        fi
    done
    if ! grep -qF "*peal-$verb*(1)" "$tree/docs/man/peal.1.scd"; then
        wrong "peal.1 does not name $verb"
    fi
done
for page in "$tree"/docs/man/peal-*.1.scd; do
    name=$(basename "$page" .1.scd)
    if ! grep -qxF "${name#peal-}" <<<"$verbs"; then wrong "$page is of no verb"; fi
done

# ---- completion

yes peal completion bash
if ! diff "$place/.out" "$tree/packaging/completions/peal.bash"; then
    wrong "packaging/completions/peal.bash is old: peal completion bash > it"
fi
yes peal completion zsh
if ! diff "$place/.out" "$tree/packaging/completions/_peal"; then
    wrong "packaging/completions/_peal is old: peal completion zsh > it"
fi

# completes <expected word> <word ...>: what bash offers for the last of the words.
completes() {
    local wanted=$1
    shift
    checks=$((checks + 1))
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _peal 2>/dev/null
    out="${COMPREPLY[*]}"
    if ! grep -qwF -- "$wanted" <<<"$out"; then wrong "no $wanted for: $*"; fi
}
err=
# shellcheck source=/dev/null
source "$tree/packaging/completions/peal.bash"
completes query peal q
completes export peal ex
completes tail peal help t
completes --contains peal query --con
completes --url peal stats --u
completes retry peal dead re
completes subscription peal dead count --by s
completes disk peal publish a.b -d d
touch some-file.jsonl
completes some-file.jsonl peal import some
completes some-file.jsonl peal export --output some
COMP_WORDS=(peal query --limit '') COMP_CWORD=3 COMPREPLY=()
_peal
if [ ${#COMPREPLY[@]} -ne 0 ]; then wrong "--limit is offered ${COMPREPLY[*]}"; fi
if command -v zsh >/dev/null; then
    yes zsh -n "$tree/packaging/completions/_peal"
    # Each line of _arguments is taken by zsh itself.
    yes zsh -f -c "autoload -Uz compinit && compinit -D -d $place/.zcompdump &&
        fpath=($tree/packaging/completions \$fpath) && autoload -Uz _peal && whence -w _peal"
    says 'function'
fi

done_checking
