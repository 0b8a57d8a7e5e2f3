#!/usr/bin/env bash
# run.sh TARGET SECONDS: runs one libFuzzer target. Inputs that reach new code are kept in the build
# folder for the next run; tests/fuzz/corpus/NAME holds the seeds and the regression cases.
set -euo pipefail
target=$(readlink -f "$1") seconds=$2
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
name=$(basename "$target")
found=build/fuzz-corpus/$name
crashes=build/fuzz-crashes
mkdir -p "$found" "$crashes"
corpus=("$found")
[[ ! -d tests/fuzz/corpus/$name ]] || corpus+=("tests/fuzz/corpus/$name")
# A single allocation above 256 MiB or an input that takes 5 s is a finding too.
exec nice -n 10 "$target" -max_total_time="$seconds" -timeout=5 -malloc_limit_mb=256 -max_len=65536 \
    -print_final_stats=1 -verbosity=0 -artifact_prefix="$crashes/$name-" "${corpus[@]}"
