#!/usr/bin/env bash
# fresh.sh [DIR [SUITE]]: proves that nothing is installed by hand. On a Debian root that was made a
# minute ago, in a fresh clone of HEAD, `./dev run --once` alone and `./dev test` alone must pass.
# Each gets a root of its own. Roots are kept under DIR (build/fresh) for the next time.
set -euo pipefail
source_dir=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/../..")
# shellcheck source=tests/fresh/root.sh
. "$source_dir/tests/fresh/root.sh"
require debootstrap unshare git

dir=$(readlink -m "${1:-$source_dir/build/fresh}")
suite=${2:-bookworm}

[[ -z $(git -C "$source_dir" status --porcelain) ]] ||
    echo "note: what is not committed is not in the clone"

try() {
    local root=$dir/$suite-$1 start=$SECONDS status=0
    shift
    make_root "$dir" "$suite" "$root"
    git clone -q "$source_dir" "$root/root/jobmill"
    echo "== $suite: $*"
    enter_root "$root" bash -c "cd /root/jobmill && $*" </dev/null || status=$?
    echo "== $suite: $*: exit status $status after $((SECONDS - start)) s"
    [[ $status != 0 ]] || rm -rf "$root"
    return "$status"
}

try run ./dev run --once
try test ./dev test
