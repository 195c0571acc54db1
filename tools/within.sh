#!/usr/bin/env bash
# tools/within.sh TARGET SECONDS COMMAND...: runs one part of the checks. After SECONDS it is stopped with all that it
# started, and fails. Says how long it took.
set -um # monitor mode: a process group of its own to stop, in which Ctrl-C still has its meaning
target=$1 budget=$2
shift 2

timeout --kill-after=30s "$budget" "$@" </dev/null &
running=$!
trap 'kill "$running" 2>/dev/null' INT TERM
wait "$running"
status=$?

if ((status == 0)); then
    echo "==> $target passed in $SECONDS s of at most $budget s"
elif ((SECONDS >= budget)); then
    variable=${target//-/_}_SECONDS
    echo "==> $target FAILED: stopped after $budget s; a slower machine may have more: ${variable^^}=$((2 * budget))" >&2
else
    echo "==> $target FAILED after $SECONDS s" >&2
fi
exit "$status"
