"""What the guest claims of the recorder and of the server of the past, under their own units."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path
from typing import Any, Final

from tests.kernels.systemd_asking import (
    CLIENT,
    MOVED,
    UNIT,
    Claims,
    main_pid,
    moved,
    moving,
    processes,
    run,
    show,
    status_of,
    until,
)

RECORDER: Final = "pbmon-record.service"
SERVER: Final = "pbmon-history.service"
_FILES: Final = Path("/var/lib/pbmon/history")
_SOCKET: Final = Path("/run/pbmon-history/history.sock")
_NOBODY: Final = 65_534


def records(claims: Claims) -> None:
    """What a program moved is in the files, to the byte, and nobody else's to read."""
    began = time.monotonic()
    run("systemctl", "start", RECORDER)
    until(lambda: ticks() or main_pid(RECORDER) == 0)
    claims.holds("the recorder records", show("ActiveState", RECORDER) == "active" and ticks())
    claims.measured["records_s"] = round(time.monotonic() - began, 1)
    has_no_rights(claims, RECORDER)
    claims.holds("what a program moved is recorded", written() == MOVED)
    of_files = [(each.owner(), each.group(), mode(each)) for each in _FILES.iterdir()]
    claims.measured["recorded"] = sorted(each.name for each in _FILES.iterdir())
    claims.holds(
        f"its files are its own, and its group reads them: {of_files}",
        of_files and set(of_files) == {("pbmon", "pbmon", 0o640)},
    )
    claims.holds("nor does another user find them", mode(_FILES) == 0o750)


def serves_the_past(claims: Claims) -> None:
    """Root is answered with everybody's past, another user with the user's own."""
    began = time.monotonic()
    run("systemctl", "start", SERVER)
    until(lambda: _SOCKET.exists() or main_pid(SERVER) == 0)
    claims.measured["serves_s"] = round(time.monotonic() - began, 1)
    has_no_rights(claims, SERVER)
    with moving("nobody") as own, moving() as roots:
        until(lambda: moved(past(), own) and moved(past(), roots))
        claims.holds("its server shows root every user's", moved(past(), own) == MOVED)
        found = past("nobody")
    claims.holds("and a user the user's own", moved(found, own) == MOVED)
    users = claims.measured["shown"] = sorted({row["uid"] for row in found["processes"]})
    claims.holds("and no more than that", users == [_NOBODY] and not moved(found, roots))
    claims.holds("and says so", found["viewer"]["scope"] == "own")


def outlives_the_daemon(claims: Claims) -> None:
    """The recorder is the one of before, whatever became of the daemon, and records again."""
    began, daemons = (
        int(show("ExecMainStartTimestampMonotonic", unit)) for unit in (RECORDER, UNIT)
    )
    claims.holds("the daemon is a later one than the recorder", 0 < began < daemons)
    claims.holds("which never ended", show("NRestarts", RECORDER) == "0")
    claims.holds("and records what the new one counts", written() == MOVED)


def ends(claims: Claims) -> None:
    for unit in (SERVER, RECORDER):
        began = time.monotonic()
        run("systemctl", "stop", unit)
        claims.measured[f"{unit} ends_s"] = round(time.monotonic() - began, 1)
        claims.holds(f"{unit} ends well", show("Result", unit) == "success")
        claims.holds("and leaves no process", not list(processes(unit)))
    claims.holds("and no socket", not _SOCKET.exists())
    kept = json.loads(run(CLIENT, "history", "--json"))
    claims.measured["kept"] = kept["bytes"]
    claims.holds("what was recorded is whole", ticks() and not kept["missing"])
    claims.holds("nobody records", kept["recorder"]["running"] is False)


# --- asking -------------------------------------------------------------------------------------


def has_no_rights(claims: Claims, unit: str) -> None:
    status = status_of(main_pid(unit))
    user = {int(each) for each in status["Uid"].split()}
    claims.holds(f"{unit} is one user, and not root", len(user) == 1 and 0 not in user)
    claims.holds("with no capability", int(status["CapPrm"], 16) == 0)


def written() -> dict[str, int]:
    """Return what a program of root's has moved as the history says it, once it says something."""
    with moving() as pid:
        until(lambda: moved(past(), pid) or show("ActiveState", UNIT) != "active")
        return moved(past(), pid)


def past(user: str = "root") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(CLIENT, "--json", "--since", "-1d", user=user))
    return found


def ticks() -> bool:
    """Return whether something is recorded."""
    said = run(CLIENT, "history", "--json", check=False)
    return bool(said) and any(tier["until_ns"] for tier in json.loads(said)["tiers"])


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
