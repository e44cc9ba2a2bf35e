"""Builds the programs for one choice of modes: compiles them and loads them.

Used by the loader only: any Python >= 3.9, standard library (and bcc, by programs.py).
"""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Iterator
from typing import NamedTuple

from pbmond.loader import bpf, refusals
from pbmond.loader.handover import LoadRequest
from pbmond.loader.hooks import Hook, Modes, calls
from pbmond.loader.kernel_maps import FILL_MAX, Map, sizes
from pbmond.loader.programs import (
    Compiled,
    CompileError,
    Function,
    RefusedError,
    Source,
    Wanted,
    tails,
    wanted,
)
from pbmond.loader.refusals import Refused
from pbmond.loader.syscalls import NUMBERS
from pbmond.loader.target import Target

_READS = ("cast", "typed", "probe")  # the best first


class BuildRefused(Refused):
    """The kernel rejects these programs whatever the kind of reads.

    ``programs`` has one rejected program for each kind of reads.
    """

    def __init__(self, text: str, programs: set[str]) -> None:
        super().__init__(text)
        self.programs = programs


class Built(NamedTuple):
    """The programs in the kernel, by name, and the descriptors of their tail call maps.

    ``reads`` is how the programs read the kernel's structures.
    """

    reads: str
    wanted: dict[str, Wanted]
    loaded: dict[str, bpf.Loaded]
    tails: dict[str, int]


class Builder(NamedTuple):
    """Builds programs for any modes. All use the same maps, whose descriptors are by name."""

    request: LoadRequest
    target: Target
    maps: list[Map]
    descriptors: dict[str, int]
    scratch_slots: int

    def build(self, chosen: Modes) -> Built:
        """Build with the best reads that the kernel accepts. BuildRefused if it accepts none."""
        refusal, refused = "", set()
        for reads in self._reads_to_try():
            try:
                return self._load(reads, chosen)
            except CompileError as error:
                refusal = refusals.uncompiled(str(error))
            except RefusedError as error:
                refused.add(error.program)
                facts = self.target.facts
                refusal = refusals.program(error.program, error.number, error.log, facts)
        raise BuildRefused(refusal, refused)

    def _reads_to_try(self) -> list[str]:
        if self.request.reads != "auto":
            return [self.request.reads]
        can_cast = self.target.constants["FUNCTION_RDONLY_CAST"]
        return [reads for reads in _READS if reads != "cast" or can_cast]

    def _load(self, reads: str, chosen: Modes) -> Built:
        compiled = Compiled(self.source(reads, chosen))
        cast = self.target.constants["FUNCTION_RDONLY_CAST"]
        at_calls = calls(chosen) if self.target.is_dispatched(chosen) else {}
        hooks = self.target.hooks(chosen)
        every = wanted(hooks, chosen, self._functions(hooks), set(at_calls.values()))
        sets = tails(every)
        maps = {**self.descriptors, **{name: _tail_map(each) for name, each in sets.items()}}
        loaded = {name: compiled.load(name, each, cast, maps) for name, each in every.items()}
        for name, indexes in sets.items():
            for index, tail in indexes.items():
                _put(maps[name], index, loaded[tail].descriptor)
        for call, program in at_calls.items():
            number = NUMBERS[platform.machine()][call]
            _put(maps["calls"], number, loaded[program].descriptor)
        for number, table in enumerate(self.request.tables):
            _fill(loaded["raw_fill"].descriptor, number, table.capacity)
        return Built(reads, every, loaded, {name: maps[name] for name in sets})

    def source(self, reads: str, chosen: Modes) -> Source:
        """Return the source to compile, with all its defines."""
        request = self.request
        values = {f"{name.upper()}_FD": each for name, each in self.descriptors.items()}
        values.update(self.target.constants)
        values.update(sizes(self.maps))
        values.update(_choices(reads, chosen))
        values["SCRATCH_SLOTS"] = self.scratch_slots
        values["EVENTS_SIZE"] = request.events_size
        values["TRACEPOINTS_BY_PERF"] = int(self.target.by_perf)
        values["DISPATCHES"] = int(self.target.is_dispatched(chosen))
        values["PAGE_SIZE"] = resource.getpagesize()
        values["LINUX_VERSION_CODE"] = _version_code(platform.release())
        return Source(request.sources, request.headers, values, request.debug)

    def _functions(self, hooks: list[Hook]) -> dict[str, Function]:
        return dict(self._functions_found(hook.name for hook in hooks if hook.kind == "fexit"))

    def _functions_found(self, names: Iterator[str]) -> Iterator[tuple[str, Function]]:
        for name in names:
            identifier = self.target.btf.function(name)
            if identifier is not None:
                yield name, Function(identifier, self.target.btf.prototype(identifier))


def _choices(reads: str, chosen: Modes) -> dict[str, int]:
    return {
        "CAST_LOADS": int(reads == "cast"),
        "TYPED_LOADS": int(reads != "probe"),
        "SOCKETS": int(chosen.sockets != "off"),
        "SOCKETS_AT_EXIT": int(chosen.sockets == chosen.calls and chosen.calls != "off"),
        "FILES": int(chosen.files != "off"),
        "CALLS_BY_FEXIT": int(chosen.calls == "fexit"),
    }


def _tail_map(indexes: dict[int, str]) -> int:
    """Make a map of programs. The first program in it fixes the type of the others."""
    return bpf.create_map(bpf.PROG_ARRAY, 4, 4, max(indexes, default=0) + 1, name="pb_tails")


def _put(programs: int, index: int, program: int) -> None:
    """Put a program into a map of programs."""
    bpf.update(programs, index.to_bytes(4, sys.byteorder), program.to_bytes(4, sys.byteorder))


def _fill(program: int, table: int, capacity: int) -> None:
    """Put every slot on the table's stack, low ones last, so that they come out first.

    A program does this in batches, because one system call for each slot would take too long.
    """
    for end in range(capacity, 0, -FILL_MAX):
        bpf.run_once(program, (table, end, min(FILL_MAX, end)))


def _version_code(release: str) -> int:
    parts = release.partition("-")[0].split(".")
    numbers = [int(part) for part in parts[:3] if part.isdigit()]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major << 16 | minor << 8 | min(patch, 255)
