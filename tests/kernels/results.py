"""What came of the runs in a guest: read from its job directory, judged, and kept as small JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

SCHEMA: Final = "pbmon-kernels/1"
COUNTS: Final = ("exact", "off", "unseen", "not_offered")
AUTO: Final = "auto"
#: A program may have a million on its way through the verifier. Other distributions build kernels
#: that spend them faster, and are left this much room.
MOST_INSTRUCTIONS: Final = 200_000
#: What the daemon says where a kernel lacks what a mode needs; anything else is a failure.
_REFUSAL: Final = 'set sockets and files to "auto"'


@dataclass(frozen=True, slots=True)
class Run:
    """One self-test. ``forced``: "auto", or what was forced (see ``modes.name``).

    Either it has ``modes`` and ``counts`` (rows of each verdict), or it says why not: ``refused``
    where a forced mode does not load on this kernel, ``failed`` for everything else.
    ``verified_instructions``: of the largest program; None where the kernel does not tell.
    ``off``: the paths of the self-test that are; ``unseen``, ``not_offered``: paths by reason.
    """

    forced: str
    modes: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    verified_instructions: int | None = None
    off: Sequence[str] = ()
    unseen: Mapping[str, Sequence[str]] = field(default_factory=dict)
    not_offered: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    refused: str | None = None
    failed: str | None = None

    @property
    def too_large(self) -> bool:
        """Return whether a program leaves the verifier too little room."""
        return (self.verified_instructions or 0) > MOST_INSTRUCTIONS

    @property
    def passed(self) -> bool:
        """Return whether nothing is off, or the kernel does not offer what was forced."""
        if self.refused is not None:
            return True
        return self.failed is None and self.counts["off"] == 0 and not self.too_large


@dataclass(frozen=True, slots=True)
class Result:
    """All runs in one guest. ``release``: of the kernel; ``failed``: what went wrong beside them.

    ``userland``, ``python``, ``bcc``: what it was run with, "" if the guest did not come so far.
    """

    release: str
    userland: str
    python: str
    bcc: str
    runs: Sequence[Run]
    failed: str | None

    @property
    def passed(self) -> bool:
        """Return whether there is a result of every run, and nothing is off in any."""
        return self.failed is None and bool(self.runs) and all(run.passed for run in self.runs)

    @property
    def series(self) -> str:
        """Return the first two numbers of the kernel, such as "6.1"."""
        return ".".join(self.release.split(".")[:2])

    @property
    def name(self) -> str:
        """Return the name of its file: series, machine if not amd64, userland: "6.12-debian-13"."""
        machine = "".join(self.release.partition("-arm64")[1:])
        return f"{self.series}{machine}-{self.userland.lower().replace(' ', '-') or 'unknown'}"


def collect(job: Path, release: str, failed: str | None) -> Result:
    """Return what a guest has left in its job directory; ``failed``: what is known to be wrong."""
    facts = _read(job / "facts.json") or dict.fromkeys(("userland", "python", "bcc"), "")
    daemon = _read(job / "daemon.json")
    runs = [run_of(said) for path in sorted(job.glob("run-*.json")) if (said := _read(path))]
    if failed is None and daemon is not None:
        failed = daemon_failure(daemon)
    return Result(
        release,
        facts["userland"],
        facts["python"],
        facts["bcc"],
        runs,
        failed if failed or runs else "the guest left no result",
    )


def _read(path: Path) -> dict[str, Any] | None:
    """Return the object in a file; None where the guest has written none, or half of one."""
    try:
        whole: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return whole


def daemon_failure(daemon: Mapping[str, Any]) -> str | None:
    """Return what was wrong with the daemon as it started, was asked and stopped."""
    if daemon["health"] is None:
        return f"the daemon has no snapshot: {(daemon['words'] or ['it says nothing'])[-1]}"
    if daemon["status"] != 0:
        return f"the daemon ended with {daemon['status']}"
    return None


def run_of(said: Mapping[str, Any]) -> Run:
    """Return a run from what the guest wrote of it."""
    report = said["report"]
    if report is None:
        words = (said["words"].splitlines() or ["no result"])[-1].removeprefix("pbmond selftest: ")
        is_refusal = said["forced"] != AUTO and _REFUSAL in words
        return Run(said["forced"], **{"refused" if is_refusal else "failed": words})
    return Run(
        said["forced"],
        report["modes"],
        {name: report["summary"][name] for name in COUNTS},
        report.get("verified_instructions") or None,
        sorted({row["path"] for row in report["rows"] if row["verdict"] == "off"}),
        _by_reason(report["rows"], "unseen"),
        _by_reason(report["rows"], "not offered"),
        {reason: count for reason, count in report["lost"].items() if count},
    )


def _by_reason(rows: Sequence[Mapping[str, Any]], verdict: str) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        if row["verdict"] == verdict:
            found.setdefault(row["reason"] or "", set()).add(row["path"])
    return {reason: sorted(paths) for reason, paths in sorted(found.items())}


def save(result: Result, place: Path) -> None:
    """Write a result into the directory ``place``."""
    text = json.dumps({"schema": SCHEMA, **asdict(result)}, indent=1, ensure_ascii=False)
    (place / f"{result.name}.json").write_text(text + "\n")


def load(place: Path) -> list[Result]:
    """Return the results in a directory, the oldest kernel first; ValueError for another schema."""
    found = []
    for path in place.glob("*.json"):
        whole = json.loads(path.read_text())
        if whole.pop("schema") != SCHEMA:
            raise ValueError(f"{path}: not of schema {SCHEMA}")
        runs = [Run(**run) for run in whole.pop("runs")]
        found.append(Result(runs=runs, **whole))
    return sorted(found, key=lambda result: (_numbers(result.release), result.userland))


def _numbers(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)]
