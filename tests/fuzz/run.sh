#!/usr/bin/env bash
# run.sh TARGET SECONDS: runs one libFuzzer target for so long.
# run.sh TARGET --runs N: runs it until it has executed N inputs in all, over all its runs in this
# tree (build/fuzz-runs/NAME counts them), in portions, so that little is lost when it is stopped.
#
# Inputs that reach new code are kept in the build folder for the next run; tests/fuzz/corpus/NAME
# holds the seeds and the regression cases, tests/fuzz/NAME.dict words that the format has.
set -euo pipefail
target=$(readlink -f "$1")
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
name=$(basename "$target")
found=build/fuzz-corpus/$name
crashes=build/fuzz-crashes
counter=build/fuzz-runs/$name
PORTION=250000
SHORT=1024
mkdir -p "$found" "$crashes" build/fuzz-runs
corpus=("$found")
[[ ! -d tests/fuzz/corpus/$name ]] || corpus+=("tests/fuzz/corpus/$name")
# A single allocation above 256 MiB or an input that takes long is a finding too: 5 s, or, in a run
# of hours beside whatever else a machine does, a minute.
timeout=5
[[ $2 != --runs ]] || timeout=60
options=("-timeout=$timeout" -malloc_limit_mb=256 -print_final_stats=1 -verbosity=0
    -artifact_prefix="$crashes/$name-")
max_len=65536
if [[ $name == fuzz_core ]]; then
    # Its world lives on from input to input, which is no leak; see there for the history.
    export JM_FUZZ_HISTORY=$crashes/fuzz_core-history
    max_len=64
    # Short inputs save nothing in such a world, and weighing them by rare features costs as much as
    # running them.
    options+=(-detect_leaks=0 -entropic=0 -len_control=0)
fi
[[ ! -f tests/fuzz/$name.dict ]] || options+=(-dict="tests/fuzz/$name.dict")

if [[ $2 != --runs ]]; then
    exec nice -n 10 "$target" -max_total_time="$2" -max_len="$max_len" "${options[@]}" "${corpus[@]}"
fi

# Long inputs take most of the time and find least: one portion of ten has them.
length() { (($(executed) / PORTION % 10 == 0 || max_len < SHORT)) && echo "$max_len" || echo "$SHORT"; }
executed() { cat "$counter" 2>/dev/null || echo 0; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
while [[ $(executed) -lt $3 ]]; do
    status=0
    runs=$(($3 - $(executed)))
    nice -n 10 "$target" -runs=$((runs < PORTION ? runs : PORTION)) -max_len="$(length)" \
        "${options[@]}" "${corpus[@]}" >"$log" 2>&1 || status=$?
    units=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo $(($(executed) + ${units:-0})) >"$counter"
    if [[ $status != 0 ]]; then
        cat "$log" >&2
        exit "$status"
    fi
done
printf '%-16s %12d executions in all, no crash\n' "$name" "$(executed)"
