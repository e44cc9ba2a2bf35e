# How quickstart starts and stops the recorder, which writes the past down as the publisher's user.
# The directory is that user's: nothing in it is opened, and no process it names is signalled, as root.
# Sourced by bash after common.sh and install.sh, never run.
# shellcheck shell=bash

STATE_DIR=/var/lib/pbmon
HISTORY=$STATE_DIR/history
RECORDER_LOG=$STATE_DIR/record.log

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

start_recorder() {
    local pid version
    if ! version_run_by "$(running_daemon)" >/dev/null; then
        return # of a package, which has its own recorder and configuration
    fi
    if pid=$(running_recorder) && version=$(version_run_by "$pid") &&
        [[ $version != "$(used_version)" ]]; then
        stop_recorder
        remove_old_versions "$(running_daemon || true)"
    fi
    if pid=$(running_recorder); then
        say "the recorder is already running (pid $pid)"
        return
    fi
    install --directory --mode 755 "$STATE_DIR"
    install --directory --owner "$PUBLISHER_USER" --group "$PUBLISHER_USER" --mode 750 "$HISTORY"
    as_publisher env -i --chdir=/ PATH="$PATH" PBMON_PATIENCE="$PATIENCE" setsid \
        "$PREFIX/bin/pbmon-client" record --directory "$HISTORY" \
        </dev/null >/dev/null 2>>"$RECORDER_LOG" &
    pid=$!
    SECONDS=0
    until running_recorder >/dev/null; do
        # Whoever has no past can still see the present.
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > START_SECONDS)); then
            say "nothing is recorded: $(tail -n 1 "$RECORDER_LOG")"
            return
        fi
        sleep 0.1
    done
    say "recording to $HISTORY, at most 200 MB (pid $pid; --no-history turns it off)"
}

stop_recorder() {
    local pid
    if ! pid=$(running_recorder); then
        return
    fi
    if ! as_publisher bash -c "kill -TERM $pid" 2>/dev/null; then
        say "process $pid writes to $HISTORY and is not $PUBLISHER_USER's: it is left alone"
        return
    fi
    SECONDS=0
    while running_recorder >/dev/null; do
        if ((SECONDS > STOP_SECONDS)); then
            die "the recorder did not stop within $STOP_SECONDS s: kill -KILL $pid ends it"
        fi
        sleep 0.1
    done
    say "stopped the recorder (pid $pid); what it wrote is in $HISTORY"
}
