# How quickstart starts and stops the recorder, which writes the past down, and the server, which answers
# other users about it; both as the publisher's user. What they write is that user's: nothing in it is opened,
# and no process that it names is signalled, as root.
# Sourced by bash after common.sh and install.sh, never run.
# shellcheck shell=bash

STATE_DIR=/var/lib/pbmon
HISTORY=$STATE_DIR/history
RECORDER_LOG=$STATE_DIR/record.log
SERVER_DIR=/run/pbmon-history
SERVER_LOG=$STATE_DIR/history.log

as_publisher() {
    setpriv --reuid "$PUBLISHER_USER" --regid "$PUBLISHER_USER" --clear-groups --inh-caps=-all \
        --bounding-set=-all --no-new-privs "$@"
}

# Prints the pid of the process that holds the lock of the directory; fails when there is none.
running_recorder() {
    local file=$HISTORY/lock open pid
    if ! as_publisher test -f "$file" 2>/dev/null || as_publisher flock --nonblock --shared "$file" true; then
        return 1
    fi
    pid=$(as_publisher head -n 1 "$file" | tr -dc 0-9)
    for open in "/proc/$pid/fd/"*; do
        if [[ $open -ef $file ]]; then
            echo "$pid"
            return
        fi
    done
    return 1
}

# Prints the pid of the process that listens on the server's socket, as the kernel knows it; fails when none does.
running_server() {
    as_publisher "$PREFIX/bin/python" -I -c '
import socket, struct, sys
with socket.socket(socket.AF_UNIX) as asker:
    asker.settimeout(5)
    asker.connect(sys.argv[1])
    print(*struct.unpack("3i", asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[:1])
' "$SERVER_DIR/history.sock" 2>/dev/null
}

# Starts the recorder or the server, $1, with the log $2 and the command that follows, unless it runs; fails
# if it does not. What runs another version is replaced.
start_service() {
    local name=$1 log=$2 pid version
    shift 2
    if pid=$("running_$name") && version=$(version_run_by "$pid") && [[ $version != "$(used_version)" ]]; then
        "stop_$name"
        remove_old_versions
    fi
    if pid=$("running_$name"); then
        say "the $name is already running (pid $pid)"
        return
    fi
    as_publisher env -i --chdir=/ PATH="$PATH" PBMON_PATIENCE="$PATIENCE" setsid "$PREFIX/bin/pbmon-client" \
        "$@" </dev/null >/dev/null 2>>"$log" &
    pid=$!
    SECONDS=0
    until "running_$name" >/dev/null; do
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > START_SECONDS)); then
            return 1
        fi
        sleep 0.1
    done
    STARTED=$pid
}

# Whoever has no past can still see the present.
start_recorder() {
    if ! version_run_by "$(running_daemon)" >/dev/null; then
        return # of a package, which has its own recorder and configuration
    fi
    install --directory --mode 755 "$STATE_DIR"
    install --directory --owner "$PUBLISHER_USER" --group "$PUBLISHER_USER" --mode 750 "$HISTORY"
    STARTED=
    if ! start_service recorder "$RECORDER_LOG" record --directory "$HISTORY"; then
        say "nothing is recorded: $(tail -n 1 "$RECORDER_LOG")"
    elif [[ -n $STARTED ]]; then
        say "recording to $HISTORY, at most 200 MB (pid $STARTED; --no-history turns it off)"
    fi
}

start_server() {
    if ! version_run_by "$(running_daemon)" >/dev/null || ! running_recorder >/dev/null; then
        return
    fi
    install --directory --owner "$PUBLISHER_USER" --group "$PUBLISHER_USER" --mode 755 "$SERVER_DIR"
    STARTED=
    if ! start_service server "$SERVER_LOG" history serve --directory "$HISTORY" \
        --listen "$SERVER_DIR/history.sock"; then
        say "the past is not served to other users: $(tail -n 1 "$SERVER_LOG")"
    elif [[ -n $STARTED ]]; then
        say "every user can ask for the past of their own processes (pid $STARTED)"
    fi
}

# Stops the recorder or the server, $1. $2 says what it does, $3 what remains.
stop_service() {
    local name=$1 pid
    if ! pid=$("running_$name"); then
        return
    fi
    if ! as_publisher bash -c "kill -TERM $pid" 2>/dev/null; then
        say "process $pid $2 and is not $PUBLISHER_USER's: it is left alone"
        return
    fi
    SECONDS=0
    while "running_$name" >/dev/null; do
        if ((SECONDS > STOP_SECONDS)); then
            die "the $name did not stop within $STOP_SECONDS s: kill -KILL $pid ends it"
        fi
        sleep 0.1
    done
    say "stopped the $name (pid $pid)$3"
}

stop_recorder() {
    stop_service recorder "writes to $HISTORY" "; what it wrote is in $HISTORY"
}

stop_server() {
    stop_service server "serves $SERVER_DIR" ""
}
