#!/usr/bin/env bash
# Runs the README's two commands as a newcomer would, on a fresh system made from a distribution's packages.
# run.sh SUITE [--user] [--test] [--uri URI]: SUITE is bookworm, trixie, forky, noble, …; --user: as a user with sudo instead of root;
# --test: scripts/test.sh too; --uri: the package archive, by default the one this machine uses. Needs root and mmdebstrap.
# The checkout's path has a space, LANG is C, and the time zone is not UTC. Prints one line per command: system, Python,
# command, seconds, result. Packages come from this machine's mirrors: its settings for pip and Maven are copied.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
suite=${1:?usage: run.sh SUITE [--user] [--test] [--uri URI]}
shift
user=root test='' uri=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
while (($#)); do
    case $1 in
        --user) user=newcomer ;;
        --test) test=1 ;;
        --uri) uri=$2 && shift ;;
        *) echo "unknown option $1" >&2 && exit 2 ;;
    esac
    shift
done

system=$ROOT/var/newcomer/$suite-$user
log=$system.log
home=/root
[[ $user == root ]] || home=/home/$user
checkout="$home/trade lake"

# Nothing that a newcomer would not have: no compiler, no Go, no Java, no Maven.
build() {
    local packages=ca-certificates,git,procps,iproute2
    [[ $user == root ]] || packages+=,sudo
    mkdir -p "$ROOT/var/newcomer"
    mmdebstrap --quiet --variant=apt --include="$packages" "$suite" "$system" "deb [trusted=yes] ${uri:-http://deb.debian.org/debian} $suite main" \
        >"$log" 2>&1
    [[ $user == root ]] || {
        chroot "$system" useradd --create-home --shell /bin/bash "$user"
        echo "$user ALL=(ALL) NOPASSWD: ALL" >"$system/etc/sudoers.d/$user"
    }
    cp -r /usr/local/share/ca-certificates "$system/usr/local/share/"
    chroot "$system" update-ca-certificates >>"$log" 2>&1
    cp /etc/resolv.conf /etc/hosts "$system/etc/"
    # Settings of mirrors, not programs.
    local file
    for file in .m2/settings.xml .config/pip/pip.conf .pip/pip.conf; do
        [[ -f ~/$file ]] && install -D -m 644 ~/"$file" "$system$home/$file"
    done
    git clone --quiet "$ROOT" "$system$checkout"
    chroot "$system" chown -R "$user:$user" "$home"
}

inside() { # inside COMMAND: as the newcomer, in the checkout
    local variables
    mapfile -t variables < <(env | grep -E '^(PIP_INDEX_URL|PIP_CERT|UV_DEFAULT_INDEX|https?_proxy|no_proxy|SSL_CERT_FILE|GOPROXY)=')
    chroot "$system" su - "$user" -c "cd '$checkout' && env LANG=C TZ=Asia/Kolkata ${variables[*]@Q} $1"
}

step() { # step NAME COMMAND: one line of the table
    local begun=$SECONDS result=passed python
    inside "$2" >>"$log" 2>&1 || result="failed ($?)"
    python=$(inside "python3 --version" 2>/dev/null || echo none)
    printf '%s (%s)\t%s\t%s\t%d s\t%s\n' "$suite" "$user" "${python:-none}" "$1" $((SECONDS - begun)) "$result"
    [[ $result == passed ]]
}

finish() {
    inside scripts/down.sh >>"$log" 2>&1 || true
    umount --recursive "$system/dev" "$system/proc" 2>/dev/null || true
}

[[ -d $system ]] || build
trap finish EXIT
mount -t proc proc "$system/proc"
mount --rbind --make-rslave /dev "$system/dev"
step "scripts/up.sh" "scripts/up.sh --source simulator"
step "scripts/up.sh, again" "scripts/down.sh && scripts/up.sh"
step "scripts/status.sh" "scripts/status.sh"
if [[ $test ]]; then step "scripts/test.sh" "scripts/test.sh"; fi
