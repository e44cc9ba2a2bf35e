"""What is kept of the past, in words and as JSON; and bundles made and unpacked."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from pbmon_client.data.text import safe_text
from pbmon_client.history.exporting import export, unpack_bundle
from pbmon_client.history.past import Kept, Past
from pbmon_client.history.places import DEFAULT_DIRECTORY
from pbmon_client.history.source import PastSource, open_past
from pbmon_client.history.tiers import TIERS
from pbmon_client.past.kept_options import BundleOptions, ImportOptions, KeptOptions

_SECOND: Final = 1_000_000_000
_SHOWN: Final = 20


def kept_text(chosen: KeptOptions) -> str:
    """Return what ``pbmon-client history`` prints. PastError if nothing can be read."""
    source = open_past(chosen.place)
    said = kept_of(source, DEFAULT_DIRECTORY if chosen.place is None else chosen.place)
    return json.dumps(said, indent=1) + "\n" if chosen.json else _words(said)


def kept_of(source: PastSource, place: Path) -> dict[str, Any]:
    """Return what the command says, as the JSON contract has it."""
    kept: Kept = source.kept()
    size, recorder = sum(tier.size for tier in kept.tiers), kept.recorder
    if isinstance(source, Past) and place.is_dir():  # with the tail
        size = sum(entry.stat().st_size for entry in os.scandir(place) if entry.is_file())
    return {
        "schema": "pbmon-history/1",
        "read_from": safe_text(str(place)),
        "recorder": recorder and {"running": recorder.running, "pid": recorder.pid},
        "bytes": size,
        "cap_bytes": recorder and recorder.cap,
        "tiers": [
            {
                "interval_s": tier.width,
                "bytes": tier.size,
                "since_ns": None if tier.span is None else tier.span.since_ns,
                "until_ns": None if tier.span is None else tier.span.until_ns,
            }
            for tier in kept.tiers
        ],
        "gaps": [{"since_ns": since, "until_ns": until} for since, until in kept.gaps],
        "missing": [
            {
                "interval_s": TIERS[each.tier].width,
                "since_ns": each.begin * _SECOND if each.begin else None,
                "until_ns": each.end * _SECOND,
                "why": safe_text(each.why),
            }
            for each in kept.missing
        ],
    }


def _words(said: dict[str, Any]) -> str:
    lines = [f"history in {said['read_from']}: {_size(said['bytes'])}{_share(said)}"]
    lines += [_recorder_words(said["recorder"]), ""]
    for tier in said["tiers"]:
        span = "nothing"
        if tier["since_ns"] is not None:
            span = f"{_time(tier['since_ns'])} to {_time(tier['until_ns'])}"
        lines.append(f"{tier['interval_s']:>5} s  {_size(tier['bytes']):>9}  {span}")
    lines += ["", *_spans("not recorded", said["gaps"])]
    damaged = [f"{_range(each)}, {each['interval_s']} s: {each['why']}" for each in said["missing"]]
    lines += [f"missing: {each}" for each in damaged] or ["nothing is damaged"]
    return "\n".join(lines) + "\n"


def _share(said: dict[str, Any]) -> str:
    cap = said["cap_bytes"]
    return f" of {_size(cap)} ({said['bytes'] / cap:.0%})" if cap else ""


def _recorder_words(recorder: dict[str, Any] | None) -> str:
    if recorder is None:
        return "whether it is being recorded is not known"
    if not recorder["running"]:
        return "no recorder runs for it"
    return "recorded by " + (
        "a process" if recorder["pid"] is None else f"process {recorder['pid']}"
    )


def _spans(what: str, spans: list[dict[str, int]]) -> list[str]:
    lines = [
        f"{what}: {_time(each['since_ns'])} to {_time(each['until_ns'])}"
        for each in spans[-_SHOWN:]
    ]
    if len(spans) > _SHOWN:
        lines.insert(0, f"{what}: {len(spans) - _SHOWN} earlier gaps")
    return lines or ["no gaps"]


def _range(each: dict[str, Any]) -> str:
    until = _time(each["until_ns"])
    return (
        f"before {until}" if each["since_ns"] is None else f"{_time(each['since_ns'])} to {until}"
    )


def _time(time_ns: int) -> str:
    try:
        return f"{datetime.fromtimestamp(time_ns // _SECOND).astimezone():%Y-%m-%d %H:%M:%S %z}"
    except (ValueError, OverflowError, OSError):
        return f"@{time_ns // _SECOND}"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def exported_text(chosen: BundleOptions) -> str:
    """Write a bundle, and return what is to be said. OSError or ValueError if it cannot be."""
    place = DEFAULT_DIRECTORY if chosen.place is None else chosen.place
    made = export(
        place, chosen.file, chosen.since, chosen.until, redact=chosen.redact, force=chosen.force
    )
    lines = [
        f"{chosen.file}: {_time(made.since * _SECOND)} to {_time(made.until * _SECOND)}, "
        f"{_size(made.size)}"
    ]
    lines += dict.fromkeys(
        f"missing: {each.why} ({TIERS[each.tier].width} s)" for each in made.missing
    )
    return "".join(f"{safe_text(line)}\n" for line in lines)


def imported_text(chosen: ImportOptions) -> str:
    """Unpack a bundle, and return what is to be said. OSError or ValueError if it cannot be."""
    try:
        blocks = unpack_bundle(chosen.file, chosen.directory)
    except ValueError as error:
        raise ValueError(f"cannot read {chosen.file}: {error}") from None
    return f"{safe_text(str(chosen.directory))}: {blocks} blocks\n"
