#!/usr/bin/env bash
# boot.sh [DIR]: tries the units on a booted systemd. A Debian root of this machine's release gets
# what `cmake --install` lays down and the libraries it needs, boots under systemd-nspawn without
# network, and runs boot-inside.sh, whose transcript is printed. Exit 0 if every line passed.
set -euo pipefail
source_dir=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/../..")
# shellcheck source=tests/fresh/root.sh
. "$source_dir/tests/fresh/root.sh"
require debootstrap unshare systemd-nspawn

dir=$(readlink -m "${1:-$source_dir/build/fresh}")
suite=$(host_codename)
root=$dir/$suite-boot

# The packages here that hold the libraries which the programs load.
library_packages() {
    local file
    ldd "$source_dir"/build/release/bin/jobmill{,-broker,-worker} | awk '/=> \//{print $3}' |
        sort -u | while read -r file; do
            dpkg-query -S "*/$(basename "$(readlink -f "$file")")" 2>/dev/null | cut -d: -f1
        done | sort -u
}

"$source_dir/dev" build >/dev/null
make_root "$dir" "$suite" "$root"
mapfile -t libraries < <(library_packages)
echo "installing into the root: systemd, curl, redis-server and ${libraries[*]}"
enter_root "$root" env DEBIAN_FRONTEND=noninteractive sh -c "apt-get -q update && \
    apt-get -qy install --no-install-recommends systemd-sysv dbus curl procps redis-server \
    ${libraries[*]}" >"$dir/boot-apt.log" 2>&1 </dev/null || { tail "$dir/boot-apt.log"; exit 1; }
DESTDIR=$root cmake --install "$source_dir/build/release" >/dev/null
enter_root "$root" ldconfig
# Debian's own Redis service is none of ours.
systemctl --root="$root" mask redis-server.service >/dev/null 2>&1

install -m 755 "$source_dir/tests/fresh/boot-inside.sh" "$root/usr/local/bin/boot-inside"
cat >"$root/etc/systemd/system/boot-inside.service" <<'UNIT'
[Unit]
Description=The transcript
After=basic.target dbus.service

[Service]
ExecStart=/usr/local/bin/boot-inside
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=file:/transcript
StandardError=inherit

[Install]
WantedBy=multi-user.target
UNIT
systemctl --root="$root" enable boot-inside.service >/dev/null 2>&1

timeout 400 systemd-nspawn --quiet --directory="$root" --register=no --keep-unit \
    --private-network --console=read-only --boot </dev/null >"$dir/boot.log" 2>&1 ||
    echo "systemd-nspawn ended with status $?; see $dir/boot.log"
cat "$root/transcript"
grep -q '^pass  the end' "$root/transcript" && ! grep -q '^FAIL' "$root/transcript"
