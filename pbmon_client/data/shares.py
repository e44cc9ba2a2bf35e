"""How much of what the host itself counted belongs to processes, as numbers and a sentence.

``coverage`` is the contract's object throughout, as the wire checked it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pbmon_client.data.text import fit, human, width
from pbmond.wire import interval_name

#: Fewer bytes mean little: a few acknowledgements would be most of them.
LEAST_BYTES: Final = 65_536
#: About the most that Ethernet, IPv6 and TCP with options add to a packet's payload.
_HEADER_BYTES: Final = 120

_INTERVAL: Final = interval_name("")
CoverageMap = Mapping[str, Any]
WriteAmount = Callable[[float], str]


# --- the interval -------------------------------------------------------------------------------


def over_interval(now: CoverageMap, before: CoverageMap, *, same_processes: bool) -> dict[str, Any]:
    """Return ``now`` with its intervals taken since ``before``, a coverage of the same run.

    What all processes did is unknown unless they are the ``same_processes`` as before.
    """
    found = _over(now, before)
    for name, value in now.items():
        if isinstance(value, dict):
            found[name] = _over(value, before[name])
        elif isinstance(value, list):
            earlier = {row["name"]: row for row in before[name] or () if row["present"]}
            found[name] = [_over(row, earlier.get(row["name"], {})) for row in value]
    if not same_processes:
        found["attributed"] = _over(now["attributed"], {})
    return found


def _over(now: CoverageMap, before: CoverageMap) -> dict[str, Any]:
    found = dict(now)
    for name in now:
        if name.endswith(_INTERVAL):
            counter = name.removesuffix(_INTERVAL)
            new, old = now[counter], before.get(counter)
            grown = new is not None and old is not None and new >= old
            found[name] = new - old if grown and now.get("present", True) else None
    return found


# --- the sentence -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Share:
    """Of ``whole`` bytes ``part`` are attributed; ``packets`` carried them."""

    name: str
    part: int
    whole: int
    packets: int = 0

    @property
    def percent(self) -> str:
        """The share, rounded away from 100: only an exact match is 100%."""
        if self.part > self.whole:
            return f"{-(-100 * self.part // self.whole)}%"
        whole_percent = 100 * self.part // self.whole
        return f"{whole_percent}%" if whole_percent or not self.part else "<1%"


@dataclass(frozen=True, slots=True)
class _Phrases:
    """The parts of the sentence; those later in a list matter less."""

    opening: str
    nets: Sequence[str]
    reasons: Sequence[str]
    disk: str
    disk_reason: str

    def text(self, nets: int, reasons: int, *, disk: bool = True, disk_reason: bool = False) -> str:
        """Join the first ``nets`` and ``reasons``, and the disk."""
        parts = []
        if nets:
            why = f" ({', '.join(self.reasons[:reasons])})" if reasons else ""
            parts.append(f"{', '.join(self.nets[:nets])} in rows{why}")
        if disk and self.disk:
            why = f" ({self.disk_reason})" if disk_reason and self.disk_reason else ""
            parts.append(f"{self.disk}{why}")
        return f"{self.opening}: {', '.join(parts)}"

    def shorter(self) -> Iterator[str]:
        """Yield the sentence, then shorter and shorter ones."""
        nets, reasons = len(self.nets), len(self.reasons)
        yield self.text(nets, reasons, disk_reason=True)
        for left in range(reasons, 1, -1):
            yield self.text(nets, left)
        for left in range(nets, 1, -1):
            yield self.text(left, min(1, reasons))
        for left in range(min(1, reasons), -1, -1):
            yield self.text(min(1, nets), left)
        yield self.text(min(1, nets), 0, disk=not nets)


def line(
    coverage: CoverageMap,
    interval_ns: int,
    cells: int,
    write: WriteAmount = human,
    *,
    totals: bool = False,
) -> str:
    """Write the sentence in at most ``cells`` cells; "" where too little moved to compare.

    It is about the interval or, where too little moved in that or with ``totals``, about all
    time since the daemon began. ``write`` formats bytes (in an interval, bytes/s).
    """
    said = None
    if interval_ns and not totals:
        seconds = interval_ns / 1e9
        said = _said(coverage, _INTERVAL, "coverage", lambda moved: f"{write(moved / seconds)}/s")
    if said is None:
        said = _said(coverage, "", "coverage since start", write)
    if said is None:
        return ""
    texts = list(said.shorter())
    fitting = next((text for text in texts if width(text) <= cells), texts[-1])
    return fit(fitting, cells).rstrip()


def _said(coverage: CoverageMap, suffix: str, opening: str, write: WriteAmount) -> _Phrases | None:
    shares = sorted(_nets(coverage, suffix), key=lambda share: share.whole, reverse=True)
    disk = _disk(coverage, suffix)
    if not shares and disk is None:
        return None
    return _Phrases(
        opening,
        [f"{share.name} {share.percent} of {write(share.whole)}" for share in shares],
        list(_reasons(coverage, suffix, shares, write)) if shares else [],
        "" if disk is None else f"{disk.name} {disk.percent} of {write(disk.whole)}",
        "" if disk is None else _disk_reason(disk),
    )


def _sum(row: CoverageMap, names: Sequence[str], suffix: str) -> int | None:
    values = [row[f"{name}{suffix}"] for name in names]
    return None if None in values else sum(values)


def _nets(coverage: CoverageMap, suffix: str) -> Iterator[_Share]:
    """Yield the interfaces that moved enough; those without an address have no payload."""
    for row in coverage["interfaces"] or ():
        whole = _sum(row, ("rx_bytes", "tx_bytes"), suffix)
        packets = _sum(row, ("rx_packets", "tx_packets"), suffix)
        part = _sum(row, ("payload_rx_bytes", "payload_tx_bytes"), suffix)
        if whole is None or packets is None or part is None or whole < LEAST_BYTES:
            continue
        if row["addresses"]:
            yield _Share(row["name"], part, whole, packets)


def _reasons(
    coverage: CoverageMap, suffix: str, shares: Sequence[_Share], write: WriteAmount
) -> Iterator[str]:
    """Explain the difference between an interface's bytes and the payload of the rows."""
    differences = list(_differences(shares))
    # Of several, only the busiest interface and the first reason may have room.
    yield from reversed(differences) if shares[0].part > shares[0].whole else differences
    for name, words in (
        ("tcp_retransmitted_segments", "retransmitted segments"),
        ("forwarded_packets", "forwarded packets"),
    ):
        count = coverage[f"{name}{suffix}"]
        if count:
            yield f"{human(count)} {words if count > 1 else words.removesuffix('s')}"
    elsewhere = _sum(coverage["elsewhere"], ("payload_rx_bytes", "payload_tx_bytes"), suffix)
    if elsewhere is not None and elsewhere >= LEAST_BYTES:
        yield f"{write(elsewhere)} more by no interface's address"


def _differences(shares: Sequence[_Share]) -> Iterator[str]:
    rest = [share for share in shares if share.part < share.whole]
    if any(share.whole - share.part > _HEADER_BYTES * share.packets for share in rest):
        yield "rest: headers and what no row moved"
    elif rest:
        yield "rest: headers"
    if any(share.part > share.whole for share in shares):
        yield "over 100%: still in buffers"


def _disk(coverage: CoverageMap, suffix: str) -> _Share | None:
    """Compare what all disks moved with what all processes did; None if too little moved."""
    moved = {}
    for row in coverage["disks"] or ():
        whole = _sum(row, ("read_bytes", "write_bytes"), suffix)
        if whole and not row["stacked"]:
            moved[row["name"]] = whole
    part = _sum(coverage["attributed"], ("disk_read_bytes", "disk_write_bytes"), suffix)
    everything = sum(moved.values())
    if part is None or everything < LEAST_BYTES:
        return None
    return _Share(next(iter(moved)) if len(moved) == 1 else "disks", part, everything)


def _disk_reason(disk: _Share) -> str:
    if disk.part > disk.whole:
        return "over 100%: written back later"
    return "rest: written before, file system" if disk.part < disk.whole else ""
