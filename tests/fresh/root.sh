# root.sh: Debian roots to try things in; sourced by fresh.sh and boot.sh. Whatever this machine
# needs to reach packages (sources, proxy, certificates) is copied into the root when it is made.
# shellcheck shell=bash

# Settings of a proxy that package tools understand, as NAME=VALUE words.
proxy_environment() {
    env | grep -iE '^(https?|ftp|no)_proxy=' || true
}

mirror() {
    local uri
    uri=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null |
        grep -m 1 debian || true)
    printf '%s\n' "${uri:-http://deb.debian.org/debian}"
}

host_codename() { (. /etc/os-release && printf '%s\n' "$VERSION_CODENAME"); }

# Lets apt in the root reach what apt reaches here, for the root's own release.
copy_apt_access() {
    local root=$1 suite=$2 host file
    host=$(host_codename)
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    rm -f "$root/etc/apt/sources.list"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
        [[ ! -f $file ]] || grep -q "$host" "$file" || continue
        [[ ! -f $file ]] || sed "s/$host/$suite/g" "$file" >"$root${file}"
    done
    for file in /etc/apt/apt.conf.d/*; do
        if grep -qi 'acquire.*proxy' "$file"; then cp "$file" "$root/etc/apt/apt.conf.d/"; fi
    done
    if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
        mkdir -p "$root/usr/local/share/ca-certificates"
        cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
    fi
    # As in any container that has no service manager: packages start no services.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
}

# make_root DIR SUITE ROOT: a fresh minimal system at ROOT. The bare one is kept in DIR.
make_root() {
    local dir=$1 suite=$2 root=$3 base=$1/base-$2.tar
    if [[ ! -f $base ]]; then
        mkdir -p "$dir"
        rm -rf "$dir/base-$suite"
        debootstrap --variant=minbase "$suite" "$dir/base-$suite" "$(mirror)" \
            >"$dir/debootstrap.log" 2>&1 || { tail -n 5 "$dir/debootstrap.log" >&2; return 1; }
        rm -f "$dir/base-$suite"/var/cache/apt/archives/*.deb
        tar -C "$dir/base-$suite" --numeric-owner -cf "$base.part" .
        mv "$base.part" "$base"
        rm -rf "$dir/base-$suite"
    fi
    rm -rf "$root"
    mkdir -p "$root"
    tar -C "$root" --numeric-owner -xpf "$base"
    copy_apt_access "$root" "$suite"
}

# enter_root ROOT COMMAND…: runs a command in the root with namespaces of its own for mounts and
# processes, so that nothing of it outlives the command.
enter_root() {
    local root=$1
    local words
    shift
    mapfile -t words < <(proxy_environment)
    # shellcheck disable=SC2016  # the inner shell expands it
    unshare --mount --pid --fork --kill-child --propagation private bash -c '
        root=$1
        shift
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/dev/shm"
        mount -t sysfs -o ro sysfs "$root/sys"
        exec chroot "$root" /usr/bin/env -i "$@"' - "$root" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
        "${words[@]}" "$@"
}

require() {
    local tool
    [[ $(id -u) == 0 ]] || { echo "making a root needs the rights of root" >&2; exit 1; }
    for tool in "$@"; do
        command -v "$tool" >/dev/null ||
            { echo "$tool is missing; apt-get install debootstrap systemd-container" >&2; exit 1; }
    done
}
