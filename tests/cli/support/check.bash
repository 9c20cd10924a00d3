# SPDX-License-Identifier: MIT
#
# What the scripts here share: a place of its own, and checks that say what was wrong.
#
#     source "$(dirname "$0")/support/check.bash"
#     yes peal publish a.b 1                    the status is 0; output in $out, errors in $err
#     no peal query nothing                     1
#     misuse peal query --bogus                 2, with a sentence, and nothing on standard output
#     says '"type":"a.b"'                       $out has it
#     complains 'did you mean'                  $err has it, as one line of peal's
#     done_checking
set -u
peal_program=$1
place=$(mktemp -d "${TMPDIR:-/tmp}/peal-cli.XXXXXX")
trap 'rm -rf "$place"' EXIT
cd "$place" || exit 1
unset PEAL_URL NO_COLOR COLUMNS
export LC_ALL=C.UTF-8
out= err=
checks=0
failures=0

peal() {
    timeout 60 "$peal_program" "$@"
}

wrong() {
    echo "line ${BASH_LINENO[1]}: $*"
    echo "  output: $(head -c 600 <<<"$out")"
    echo "  errors: $(head -c 600 <<<"$err")"
    failures=$((failures + 1))
}

# with_status <status> <command ...>: standard input goes to the command.
with_status() {
    local wanted=$1
    shift
    "$@" >"$place/.out" 2>"$place/.err"
    local status=$?
    out=$(tr -d '\0' <"$place/.out")
    err=$(tr -d '\0' <"$place/.err")
    checks=$((checks + 1))
    if [ $status -ne "$wanted" ]; then
        wrong "status $status, and not $wanted, of: $*"
    fi
    # A sanitizer ends with 1, as what was refused does.
    if grep -qE 'runtime error: |ERROR: [A-Za-z]*Sanitizer' "$place/.err"; then
        wrong "a sanitizer complains of: $*"
    fi
}

yes() { with_status 0 "$@"; }
no() { with_status 1 "$@"; }

misuse() {
    with_status 2 "$@"
    if [ -n "$out" ]; then wrong "misuse, and output all the same: $*"; fi
    if ! grep -q '^peal.*: ' <<<"$err"; then wrong "misuse without a sentence: $*"; fi
    if ! grep -q '^See: peal help' <<<"$err"; then wrong "misuse without a way on: $*"; fi
}

says() {
    checks=$((checks + 1))
    if ! grep -qF -- "$1" <<<"$out"; then wrong "does not say: $1"; fi
}

says_not() {
    checks=$((checks + 1))
    if grep -qF -- "$1" <<<"$out"; then wrong "says: $1"; fi
}

complains() {
    checks=$((checks + 1))
    if ! grep -qF -- "$1" <<<"$err"; then wrong "does not complain: $1"; fi
}

# lines <number>: of output.
lines() {
    checks=$((checks + 1))
    local count
    count=$(grep -c '' <"$place/.out")
    if [ "$count" -ne "$1" ]; then wrong "$count lines, and not $1"; fi
}

# The command with a terminal for its output and errors; what it shows is in $out.
on_terminal() {
    local wanted=$1 command
    shift
    printf -v command '%q ' "$peal_program" "$@"
    TERM=xterm timeout 60 script -qec "$command" /dev/null >"$place/.out" 2>&1 </dev/null
    local status=$?
    out=$(tr -d '\0\r' <"$place/.out")
    err=
    checks=$((checks + 1))
    if [ $status -ne "$wanted" ]; then wrong "status $status, and not $wanted, of: $*"; fi
}

done_checking() {
    if [ $failures -gt 0 ]; then
        echo "$failures of $checks checks failed"
        exit 1
    fi
    echo "$checks checks"
    exit 0
}
