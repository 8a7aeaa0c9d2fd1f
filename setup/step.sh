#!/usr/bin/env bash
# Runs one step of the set-up: prints what it does and the seconds it took, and keeps the step's own output in a log.
# Usage: setup/step.sh LOG TEXT COMMAND [ARGUMENT ...]; where the command fails, the end of its output is printed.
set -uo pipefail
log=$1 text=$2
shift 2
mkdir -p "$(dirname "$log")"
printf '%s ... ' "$text"
SECONDS=0
if "$@" >"$log" 2>&1 </dev/null; then
    printf '%d s\n' "$SECONDS"
else
    status=$?
    printf 'failed after %d s\n' "$SECONDS"
    tail -n 30 "$log" >&2
    echo "The whole output of this step is in $log" >&2
    exit "$status"
fi
