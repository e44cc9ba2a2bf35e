# What quickstart and check share: messages, places, and running commands as another user.
# Sourced by bash, never run. The sourcing script sets PROGRAM.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=$ROOT/.venv
PATH=$PATH:/usr/sbin:/sbin # where distributions keep useradd and ldconfig, and su does not look

# Messages go to stderr: stdout belongs to the client's JSON.
say() {
    printf '%s: %s\n' "$PROGRAM" "$*" >&2
}

die() {
    say "$*"
    exit 1
}

# How much longer than usual to wait for a slow machine, as pbmond does (pbmond/patience.py).
PATIENCE=${PBMON_PATIENCE-1}
if ! [[ $PATIENCE =~ ^([1-9][0-9]{0,2}|1000)$ ]]; then
    say "PBMON_PATIENCE='$PATIENCE': must be a whole number from 1 to 1000"
    exit 2
fi

# Runs a command silently; its last lines are shown only when it fails.
quietly() {
    local what=$1 output
    shift
    say "$what"
    if ! output=$("$@" 2>&1 </dev/null); then
        tail -n 15 <<<"$output" >&2
        die "failed: $what"
    fi
}

# Runs a command as USER (a name) with that user's groups and home directory.
as_user() {
    local user=$1
    shift
    if [[ $user == root ]]; then
        "$@"
        return
    fi
    setpriv --reuid "$user" --regid "$(id -g "$user")" --init-groups \
        env HOME="$(getent passwd "$user" | cut -d: -f6)" USER="$user" LOGNAME="$user" "$@"
}

# Whoever owns the virtualenv (or will: the checkout's owner) also writes to it, so that
# `sudo packaging/quickstart` leaves nothing behind that its owner cannot change or delete.
owner() {
    local place=$ROOT name
    if [[ -d $VENV ]]; then
        place=$VENV
    fi
    name=$(stat --format %U "$place")
    if id "$name" >/dev/null 2>&1; then
        echo "$name"
    else
        echo root
    fi
}

as_owner() {
    as_user "$(owner)" "$@"
}

find_package_manager() {
    local manager
    for manager in apt-get dnf zypper pacman; do
        if command -v "$manager" >/dev/null; then
            echo "$manager"
            return
        fi
    done
    echo none
}

# Fresh package lists first: a new machine or container has none, or stale ones.
refresh_package_lists() {
    case $1 in
        apt-get) quietly "reading the package lists" apt-get update ;;
        pacman) quietly "reading the package lists" pacman --sync --refresh ;;
    esac
}

install_packages() {
    local manager=$1
    shift
    case $manager in
        apt-get) # a machine's first boot runs unattended upgrades: wait for their lock
            quietly "installing $*" env DEBIAN_FRONTEND=noninteractive apt-get \
                -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "$@"
            ;;
        dnf)
            quietly "installing $*" dnf install --assumeyes --setopt=install_weak_deps=False "$@"
            ;;
        zypper)
            quietly "installing $*" zypper --non-interactive install --no-recommends "$@"
            ;;
        pacman)
            quietly "installing $*" pacman --sync --noconfirm --needed "$@"
            ;;
    esac
}
