#!/bin/sh
# A task in shell: counts the lines of a file below the tasks directory.
#
#     jobmill submit lines file=lines.sh --wait
#
# The arguments are JSON on stdin, the result is JSON on stdout. Shell has no JSON parser: this one
# takes the member `file` with sed and accepts only names that need no quoting.
set -eu
file=$(sed -n 's/.*"file": *"\([A-Za-z0-9_.-]*\)".*/\1/p')
if [ -z "$file" ]; then
    echo "parameter 'file' must be a plain file name" >&2
    exit 2
fi
lines=$(wc -l <"$file")
printf '{"file": "%s", "lines": %d, "attempt": %d}\n' "$file" "$lines" "$JOBMILL_ATTEMPT"
