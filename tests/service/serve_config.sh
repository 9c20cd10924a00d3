#!/bin/bash
# SPDX-License-Identifier: MIT
#
# peal serve and its configuration: what is wrong is said and nothing is started; --check-config; what a
# reload applies, what it refuses; where it does not listen.
source "$(dirname "$0")/../cli/support/check.bash"
trap 'if [ -n "${service:-}" ]; then kill "$service"; fi; rm -rf "$place"' EXIT
service=

# ---- without a service

cat >wrong.yaml <<'END'
lisen: 3
limits:
  line_bytes: 5
END
PEAL_LOG_LEVEL=warn with_status 2 peal serve --check-config --config wrong.yaml --drain-ms soon
for line in 'wrong.yaml:1:1: there is no option "lisen"; did you mean listen?' \
    'wrong.yaml:3:3: limits.line_bytes: "5" is beyond the limits: 256B to 64KiB' \
    'PEAL_LOG_LEVEL: log.level: "warn" is none of' '--drain-ms: drain_ms: "soon": a time is wanted'; do
    checks=$((checks + 1))
    if ! grep -qF -- "$line" <<<"$err"; then wrong "does not complain: $line"; fi
done
if [ "$(wc -l <<<"$err")" -ne 4 ]; then wrong "not four lines of complaint"; fi
with_status 2 peal serve --config wrong.yaml --url mem:
if [ -n "$out" ]; then wrong "it was started"; fi

printf 'url: "mem:"\nlimits: {streams: 7}\n' >peal.yaml
PEAL_DRAIN_MS=3s yes peal serve --check-config -c peal.yaml --listen 127.0.0.1:0 --listen '[::1]:0'
says 'url: "mem:"  # peal.yaml:1:1'
says '  streams: 7  # peal.yaml:2:10'
says 'drain_ms: 3s  # PEAL_DRAIN_MS'
says 'listen: ["127.0.0.1:0", "[::1]:0"]  # --listen'
says '  line_bytes: 8KiB  # default'
cp "$place/.out" again.yaml
yes peal serve --check-config -c again.yaml
says '  streams: 7  # again.yaml:'

# A certificate and the key of another: known before anything is started.
for name in one other; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj "/CN=$name" \
        -keyout "$name.key" -out "$name.pem" 2>/dev/null
done
yes peal serve --check-config --url mem: --tls-certificate one.pem --tls-key one.key
yes peal serve --check-config --url mem: --tls-certificate one.pem --tls-key one.key --tls-client-ca other.pem
with_status 2 peal serve --check-config --url mem: --tls-certificate one.pem --tls-key other.key
if ! grep -qF 'cannot speak TLS: other.key: is not the key of the certificate' <<<"$err"; then wrong "no reason"; fi

# Nobody is asked who they are: not beyond this machine.
with_status 2 peal serve --url mem: --listen 0.0.0.0:0
if ! grep -q '^--listen: .*nobody would be asked' <<<"$err"; then wrong "no reason"; fi

# ---- with one

# waits <seconds> <command ...>: until it is true.
waits() {
    local left=$((10 * $1))
    shift
    until "$@" 2>/dev/null; do
        left=$((left - 1))
        if [ $left -eq 0 ]; then
            wrong "never true: $*; the log: $(cat log)"
            return
        fi
        read -r -t 0.1 _ <>"$place/.never" || true
    done
}
mkfifo "$place/.never"

"$peal_program" serve -c peal.yaml --listen 127.0.0.1:0 --port-file port >log 2>&1 &
service=$!
waits 10 test -s port
waits 10 grep -q '"message":"listens","host":"127.0.0.1","port":' log

printf 'url: "mem:?workers=1"\nlimits: {streams: 8}\nlog: {level: debug}\n' >peal.yaml
kill -HUP $service
waits 10 grep -q '"message":"an option has changed","option":"limits.streams"' log
waits 10 grep -q '"level":"warning","message":"an option has changed that waits for a restart","option":"url"' log

printf 'limits: {streams: many}\n' >peal.yaml
kill -HUP $service
waits 10 grep -q '"level":"error","message":"limits.streams: \\"many\\": a whole number is wanted","place":"peal.yaml:1:10"' log
waits 10 grep -q '"message":"the configuration is wrong, and stays as it was"' log

kill -TERM $service
wait $service
status=$?
service=
checks=$((checks + 1))
if [ $status -ne 0 ]; then wrong "status $status of a service that was stopped: $(cat log)"; fi
waits 1 grep -q '"message":"stops","drain_ms":20000' log
done_checking
