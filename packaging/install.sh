# How quickstart installs pbmon where only root writes, because root runs it: each version is a
# virtualenv of its own in PREFIX, and the link PREFIX/bin, replaced at one stroke, says which is used.
# The wheels are built, and fetched, by the checkout's owner; root only unpacks them.
# Sourced by bash after common.sh and page.sh, never run.
# shellcheck shell=bash

PREFIX=/opt/pbmon
MARK=.made-by-pbmon-quickstart

# Nothing that the caller's environment says may choose what root runs.
forget_environment() {
    local name
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    for name in $(compgen -e); do
        case $name in
            PYTHON* | LD_* | TMPDIR | VIRTUAL_ENV) unset "$name" ;;
        esac
    done
}

# Whether only root can change FILE, or what is found by its path. What root has in a sticky folder,
# such as /tmp, others cannot replace.
is_roots() {
    local path
    path=$(realpath "$1") || return
    while true; do
        if [[ -n $(find "$path" -maxdepth 0 \( ! -uid 0 -o -perm /022 ! -perm -1000 \)) ]]; then
            return 1
        fi
        if [[ $path == / ]]; then
            return
        fi
        path=$(dirname "$path")
    done
}

check_prefix() {
    if [[ $PREFIX != /?* || $(realpath --canonicalize-missing "$PREFIX") != "$PREFIX" ]]; then
        say "--prefix '$PREFIX': must be an absolute path without links"
        exit 2
    fi
    if [[ -e $PREFIX && ! -e $PREFIX/$MARK && -n $(ls --almost-all "$PREFIX") ]]; then
        die "$PREFIX has something else in it: choose another --prefix"
    fi
}

# Makes PREFIX, unless others could change what is there: nothing is written in a place that is refused.
make_prefix() {
    local place=$PREFIX
    while [[ ! -e $place ]]; do
        place=$(dirname "$place")
    done
    if ! is_roots "$place" || [[ -n $(find "$PREFIX" -maxdepth 0 -perm /022 2>/dev/null) ]]; then
        die "others than root may write to $place or above it: choose another --prefix"
    fi
    mkdir -p "$PREFIX"
    touch "$PREFIX/$MARK"
}

# The version in use: the name of its folder. Fails if there is none.
used_version() {
    local link
    link=$(readlink "$PREFIX/bin") && echo "${link%/bin}"
}

# What a version depends on: Python, what is in the wheel, and the page if it could be built.
version_key() {
    (
        cd "$ROOT" || exit
        "$1" -I -VV
        if [[ -f $PAGE_STAMP ]]; then
            cat "$PAGE_STAMP"
        fi
        find pyproject.toml README.md packaging/pbmond.toml bpf pbmond pbmon_client \
            \( -name node_modules -o -name dist -o -name __pycache__ \) -prune -o \
            -type f -print0 | sort -z | xargs -0 sha256sum
    ) | sha256sum | cut -c1-16
}

# Installs this checkout's version with the interpreter PYTHON, unless it is in use. PREFIX was made.
ensure_installed() {
    local python=$1 key
    key=$(version_key "$python")
    if [[ $(used_version) != "$key" ]]; then
        quietly "installing pbmon in $PREFIX, where only root writes: root runs nothing of $ROOT" \
            install_version "$python" "$key"
    fi
}

# Leaves the version in use as it was if a step fails. (set -e has no effect below quietly.)
install_version() {
    local python=$1 tree=$PREFIX/$2 pip=(-I -m pip --disable-pip-version-check)
    WHEELS=$(as_owner mktemp --directory) || return
    trap 'rm -rf "$WHEELS"' EXIT
    rm -rf "$tree" # of an attempt that failed
    "$python" -I -m venv "$tree" || return
    as_owner "$tree/bin/python" "${pip[@]}" wheel --wheel-dir "$WHEELS" "${ROOT}[daemon,web]" || return
    "$tree/bin/python" "${pip[@]}" --isolated install --no-index --no-cache-dir \
        --find-links "$WHEELS" 'pbmon[daemon,web]' || return
    # Isolated: PYTHONPATH and the like must not have a say before pbmond itself runs.
    sed --in-place '1s/$/ -I/' "$tree/bin/pbmond" || return
    [[ $(head -n 1 "$tree/bin/pbmond") == "#!$tree/bin/python"*" -I" ]] || return
    ln --symbolic --force --no-dereference "$2/bin" "$PREFIX/.bin" &&
        mv --no-target-directory "$PREFIX/.bin" "$PREFIX/bin"
}

# The version that the process runs; fails if it is none of PREFIX.
version_run_by() {
    local words=() program
    mapfile -d '' -t words <"/proc/$1/cmdline"
    [[ ${words[0]-} == "$PREFIX"/*/bin/* ]] || return
    program=${words[0]#"$PREFIX"/}
    echo "${program%%/*}"
}

# Removes the versions that neither are in use nor run as one of the services.
remove_old_versions() {
    local place name used pid run=
    used=$(used_version) || return 0
    for name in server recorder daemon; do
        if pid=$("running_$name"); then
            run+=" $(version_run_by "$pid" || true) "
        fi
    done
    for place in "$PREFIX"/*/; do
        name=$(basename "$place")
        if [[ ! -L ${place%/} && $name != "$used" && $run != *" $name "* ]]; then
            rm -rf "${place%/}"
        fi
    done
}

remove_installation() {
    local name pid
    check_prefix
    if [[ ! -e $PREFIX ]]; then
        say "nothing is installed in $PREFIX"
        return
    fi
    for name in server recorder daemon; do
        if pid=$("running_$name") && version_run_by "$pid" >/dev/null; then
            "stop_$name"
        fi
    done
    rm -rf "$PREFIX"
    say "removed $PREFIX; the user and group $PUBLISHER_USER, $LOG, $STATE_DIR and the distribution's" \
        "packages stay"
}
