#!/bin/bash
# SPDX-License-Identifier: MIT
#
# peal token: what it prints is a token, and an entry that the service's configuration takes.
source "$(dirname "$0")/../cli/support/check.bash"

yes peal token new build --text
token=$(sed -n 1p <<<"$out")
entry=$(sed -n 2p <<<"$out")
if ! grep -qxE 'pt_[A-Za-z0-9_-]{43}' <<<"$token"; then wrong "no token: $token"; fi
if grep -qF -- "$token" <<<"$entry"; then wrong "the entry has the token itself"; fi
hash=$(printf %s "$token" | sha256sum | cut -d' ' -f1)
if ! grep -qF "sha256:$hash" <<<"$entry"; then wrong "the hash is not that of the token"; fi

echo "$entry" >tokens.yaml
yes peal token new ops --admin --json
says '"name":"ops"'
says 'admin: true'
sed 's/.*"entry":"\(.*\)"}/\1/; s/\\"/"/g' <<<"$out" >>tokens.yaml
yes peal serve --check-config --auth-tokens-file tokens.yaml --config /dev/null
says '# 2 tokens in the file of auth.tokens_file'

misuse peal token
misuse peal token old build
misuse peal token new
misuse peal token new 'a b'
complains 'a name is 1 to 64'
misuse peal token new ''
done_checking
