#!/bin/bash
# Stands in the place of a program of the memcheck tree (a link by its name leads here, and
# JM_BIN names the directory of these links) and runs it under valgrind. What valgrind has to say goes
# to a file for each process, which check.sh reads; the program's own words and its exit status are
# its own, so that the tests see what they always see.
#
# Its children are followed, unless they are no programs of ours: what the system has, and what a
# worker runs as a task, which it calls by ./NAME. Nothing here needs PATH, of which a test makes
# nothing.
set -euo pipefail
: "${JM_MEMCHECK_LOGS:?is set by check.sh, which starts the tests}"
exec /usr/bin/valgrind --quiet --tool=memcheck --leak-check=full --show-leak-kinds=definite,indirect \
    --errors-for-leak-kinds=definite --num-callers=24 \
    --trace-children=yes --trace-children-skip="/usr/*,/bin/*,./*" \
    --log-file="$JM_MEMCHECK_LOGS/%p" -- "$JM_BUILD/bin/${0##*/}" "$@"
