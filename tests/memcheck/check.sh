#!/usr/bin/env bash
# check.sh COMMAND…: runs a test whose programs run under valgrind (valgrind.sh), and fails if the
# test does or if valgrind found anything in any of their processes.
set -euo pipefail
export TMPDIR JM_SLOWNESS=10 # deadlines of the tests
TMPDIR=$(mktemp -d)
trap 'rm -rf "$TMPDIR"' EXIT
export JM_MEMCHECK_LOGS=$TMPDIR/memcheck
mkdir "$JM_MEMCHECK_LOGS"

status=0
"$@" || status=$?
logs=("$JM_MEMCHECK_LOGS"/*)
if [[ ! -e ${logs[0]} && $status != 77 ]]; then
    echo "memcheck: nothing ran under valgrind"
    status=1
fi
for log in "${logs[@]}"; do
    [[ -s $log ]] || continue
    printf '\nmemcheck: process %s\n' "${log##*/}"
    cat "$log"
    status=1
done
exit "$status"
