"""The loader: compiles, loads and attaches the eBPF programs, hands every descriptor over, exits.

Runs as a script under any Python >= 3.9 that has bcc, with nothing but the standard library beside
it:

    PYTHON -I loader.py DESCRIPTOR

DESCRIPTOR is a Unix stream socket. One line of JSON comes in (see ``Request``), JSON lines go out,
each followed on the same socket by the descriptors it names (SCM_RIGHTS), the last with "done".
LLVM never stays in memory: the process ends as soon as the descriptors are over.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import socket
import sys
from pathlib import Path
from typing import Any, NamedTuple

# Appended, so that nothing beside the package can stand in for a system module such as bcc.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from pbmond.loader import bpf, fexit, kernelfs, preemption, refusals, trials
from pbmond.loader.btf import Btf, BtfError
from pbmond.loader.hooks import Hook, Modes, calls, hooks, modes
from pbmond.loader.offsets import defines, unseen
from pbmond.loader.programs import (
    Compiled,
    CompileError,
    Function,
    NoBccError,
    RefusedError,
    Source,
    Wanted,
    tails,
    wanted,
)
from pbmond.loader.refusals import Refused
from pbmond.loader.registers import stack_registers
from pbmond.loader.syscalls import NUMBERS
from pbmond.loader.uring import BLIND, uring

_FILL_RUN = 512  # the bound of the loop in fill_stack(), bpf/tables.h
_BATCH = 100  # descriptors a message; the kernel takes 253 (SCM_MAX_FD)

_NOTES_SIZE = 21584
_NOTES_SLOTS = 4  # of each processor, where programs may be preempted
_HIGH_WATER_SIZE = 16
_LOST_COUNT = 5

_CALLS = 512  # more than any system call's number
_READS = ("cast", "typed", "probe")  # the better first
_HINTS = 1 << 16  # HINT_BITS of bpf/tables.h


class Table(NamedTuple):
    """A counting table: its name and the sizes of its key and its slot in bytes."""

    name: str
    key_size: int
    slot_size: int
    capacity: int


class Programs(NamedTuple):
    """What is in the kernel, by name, and the descriptors of the maps of their tails."""

    wanted: dict[str, Wanted]
    loaded: dict[str, bpf.Loaded]
    tails: dict[str, int]


class Attached(NamedTuple):
    """What runs now: descriptors by name, and what the collector is told of it."""

    modes: Modes
    reads: str
    programs: Programs
    links: dict[str, int]
    results: list[dict[str, Any]]


def main() -> None:
    """Serve one request and end at once, without bcc's own clean-up, which would detach all."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        request = json.loads(channel.makefile("r").readline())
        Loading(request, channel).run()
    except (Refused, BtfError, NoBccError) as error:
        _say(channel, {"error": str(error), "no_bcc": isinstance(error, NoBccError)}, [])
    except Exception as error:  # noqa: BLE001 - whatever it is, the daemon must hear one line
        _say(channel, {"error": f"loading the eBPF programs failed: {error!r}"}, [])
    channel.shutdown(socket.SHUT_WR)
    os._exit(0)


def _say(channel: socket.socket, message: dict[str, Any], descriptors: list[int]) -> None:
    """Send one JSON line, then its descriptors with one byte for each batch of them."""
    channel.sendall(json.dumps({**message, "count": len(descriptors)}).encode() + b"\n")
    for start in range(0, len(descriptors), _BATCH):
        socket.send_fds(channel, [b"."], descriptors[start : start + _BATCH])


class Loading:
    """One compile-load-attach run, retried on the next mode down where the kernel refuses."""

    def __init__(self, request: dict[str, Any], channel: socket.socket) -> None:
        """Take a request: sockets, files, reads (modes wanted), tables, sizes and places."""
        self._request = request
        self._channel = channel
        self._tables = [Table(*table) for table in request["tables"]]
        self._maps: dict[str, int] = {}
        self._refusals: list[str] = []  # of better modes
        trials.raise_limits()
        self._facts = trials.facts()
        trials.can_load(self._facts)
        trials.has_types(self._facts)
        self._btf = Btf()
        self._uring = uring(self._btf)
        self._preempts = preemption.of_kernel()
        # There, programs are not preempted.
        self._by_perf = bool(self._preempts) and preemption.raw_is_preemptible(self._btf)
        self._dispatches = bool(self._preempts) and preemption.calls_are_preemptible(self._btf)
        self._notes_slots = 1
        self._constants = {**defines(self._btf), **self._uring.defines}
        trials.has_offsets(self._constants, self._facts)
        self._tracefs = -1  # opened where a hook needs it
        self._refused: set[str] = set()  # programs of the last choice, one by each reads
        stack = self._constants["OFFSETOF_TASK_STACK"]
        self._constants["STACK_REGISTERS"] = stack_registers(stack)

    def run(self) -> None:
        """Load the best mode that the request allows and hand it over; Refused if none runs."""
        possible = self._possible()
        if any(preemption.of_programs(each.calls, self._preempts) for each in possible):
            self._notes_slots = _NOTES_SLOTS
        self._make_maps()
        for each in possible:
            # Where sockets are counted at system calls too, the same programs do more.
            if self._refused and self._refused <= {hook.loaded for hook in self._hooks(each)}:
                continue
            try:
                self._hand_over(self._attach_all(each))
            except Refused as error:
                self._refusals.append(str(error))
            else:
                return
        raise Refused(self._refusals[-1])

    def _possible(self) -> list[Modes]:
        """Return the modes that can be tried here; Refused if what is wanted cannot."""
        sockets, files = self._request["sockets"], self._request["files"]
        every = list(modes(sockets, files))
        if not every:
            raise Refused(
                f'sockets = "{sockets}" and files = "{files}" hook system calls in two ways: '
                'set one of them to "auto" in the configuration'
            )
        lacks = {}
        if any(each.sockets == "tracepoint" for each in every):
            lacks["tracepoint"] = self._lack_of_socket_tracepoints()
        if any(each.calls == "fexit" for each in every):
            lacks["fexit"] = self._lack_of_fexit(forced="fexit" in (sockets, files))
        possible = [
            each for each in every if not (lacks.get(each.sockets) or lacks.get(each.calls))
        ]
        if not possible:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in lacks.items() if reason)
            raise Refused(f'{reasons}: set sockets and files to "auto" in the configuration')
        return possible

    def _lack_of_socket_tracepoints(self) -> str | None:
        if self._constants["HAS_SOCKET_TRACEPOINTS"]:
            return None
        return "this kernel has no sock_send_length and sock_recv_length (Linux 6.3 has)"

    def _lack_of_fexit(self, *, forced: bool) -> str | None:
        refusal = fexit.refusal(self._btf)
        return refusal if refusal or forced else self._preempts

    def _hooks(self, chosen: Modes) -> list[Hook]:
        return hooks(
            chosen,
            self._uring.hooks,
            by_perf=self._by_perf,
            dispatched=self._is_dispatched(chosen),
        )

    def _is_dispatched(self, chosen: Modes) -> bool:
        """Tell whether one program meets the ends of all system calls."""
        return self._dispatches and chosen.calls == "syscall-exit"

    # --- maps ---------------------------------------------------------------------------------

    def _make_maps(self) -> None:
        for table in self._tables:
            name, size = table.name, table.capacity
            self._map(f"{name}_index", bpf.HASH, (table.key_size, 4), size)
            self._map(f"{name}_slots", bpf.ARRAY, (4, table.slot_size), size)
            self._map(f"{name}_free", bpf.STACK, (0, 4), size)
        self._map("lost", bpf.ARRAY, (4, 8), _LOST_COUNT)
        self._map("high_water", bpf.ARRAY, (4, _HIGH_WATER_SIZE), bpf.processors())
        self._map("events", bpf.RINGBUF, (0, 0), self._request["events_size"])
        for name in ("flow_hints", "file_hints"):
            self._map(name, bpf.ARRAY, (4, 4), _HINTS)
        for name in ("raw_notes", "exit_notes"):
            self._map(name, bpf.PERCPU_ARRAY, (4, _NOTES_SIZE), self._notes_slots)
        self._map("processes", bpf.HASH, (16, 1), self._request["processes"])
        self._map("exits", bpf.LRU_HASH, (16, 16), 8192)
        self._map("openings", bpf.LRU_HASH, (48, 1), 16384)
        self._map("batches", bpf.LRU_HASH, (8, 16), 4096)
        self._map("known_requests", *self._uring.memory)
        self._map("calls", bpf.PROG_ARRAY, (4, 4), _CALLS)
        for name in ("raw_tails", "exit_tails"):  # stand for those that each program gets
            self._map(name, bpf.PROG_ARRAY, (4, 4), 1)
        self._map("aio_requests", bpf.LRU_HASH, (24, 16), 32768)
        self._map("aio_taken", bpf.LRU_HASH, (24, 1), 8192)
        self._map("aio_rings", bpf.LRU_HASH, (24, 12), 1024)

    def _map(self, name: str, kind: int, sizes: tuple[int, int], entries: int) -> None:
        flags = bpf.MMAPABLE if kind == bpf.ARRAY else 0
        try:
            self._maps[name] = bpf.create_map(kind, *sizes, entries, flags=flags, name=f"pb_{name}")
        except OSError as error:
            size = max(1, sum(sizes)) * entries
            raise Refused(refusals.table(name, size, error.errno or 0, self._facts)) from None

    # --- programs -----------------------------------------------------------------------------

    def _attach_all(self, chosen: Modes) -> Attached:
        """Compile, load and attach for one choice, by the best reads that load; Refused."""
        here = self._hooks(chosen)
        if self._tracefs < 0 and any(hook.kind == "tracepoint" for hook in here):
            self._tracefs = trials.open_tracepoints(self._facts)
        reads, programs = self._load(chosen, here)
        links, results = self._attach(here, programs.loaded)
        missing = [result for result in results if result["required"] and result["error"]]
        if missing:
            for link in links.values():
                os.close(link)
            raise Refused(f"{missing[0]['name']} cannot be attached: {missing[0]['error']}")
        return Attached(chosen, reads, programs, links, results)

    def _load(self, chosen: Modes, here: list[Hook]) -> tuple[str, Programs]:
        refusal = ""
        self._refused = set()
        for reads in self._reads_to_try():
            try:
                return reads, self._load_by(reads, chosen, here)
            except CompileError as error:
                refusal = refusals.uncompiled(str(error))
            except RefusedError as error:
                self._refused.add(error.program)
                refusal = refusals.program(error.program, error.number, error.log, self._facts)
        raise Refused(refusal)

    def _reads_to_try(self) -> list[str]:
        wanted = self._request["reads"]
        if wanted != "auto":
            return [wanted]
        can_cast = self._constants["FUNCTION_RDONLY_CAST"]
        return [reads for reads in _READS if reads != "cast" or can_cast]

    def _load_by(self, reads: str, chosen: Modes, here: list[Hook]) -> Programs:
        compiled = Compiled(self._source(reads, chosen))
        cast = self._constants["FUNCTION_RDONLY_CAST"]
        at_calls = calls(chosen) if self._is_dispatched(chosen) else {}
        every = wanted(here, chosen, self._functions(here), set(at_calls.values()))
        sets = tails(every)
        maps = {**self._maps, **{name: _tail_map(indexes) for name, indexes in sets.items()}}
        loaded = {name: compiled.load(name, each, cast, maps) for name, each in every.items()}
        for name, indexes in sets.items():
            for index, tail in indexes.items():
                _put(maps[name], index, loaded[tail].descriptor)
        for call, program in at_calls.items():
            number = NUMBERS[platform.machine()][call]
            _put(maps["calls"], number, loaded[program].descriptor)
        for number, table in enumerate(self._tables):
            _fill(loaded["raw_fill"].descriptor, number, table.capacity)
        return Programs(every, loaded, {name: maps[name] for name in sets})

    def _source(self, reads: str, chosen: Modes) -> Source:
        request = self._request
        values = {f"{name.upper()}_FD": fd for name, fd in self._maps.items()}
        values.update(self._constants)
        values.update({f"SIZEOF_{t.name.upper()}_SLOT": t.slot_size for t in self._tables})
        values["SIZEOF_NOTES"] = _NOTES_SIZE
        values["NOTES_SLOTS"] = self._notes_slots
        values["EVENTS_SIZE"] = request["events_size"]
        values["CAST_LOADS"] = int(reads == "cast")
        values["TYPED_LOADS"] = int(reads != "probe")
        values["SOCKETS"] = int(chosen.sockets != "off")
        values["SOCKETS_AT_EXIT"] = int(chosen.sockets == chosen.calls and chosen.calls != "off")
        values["FILES"] = int(chosen.files != "off")
        values["CALLS_BY_FEXIT"] = int(chosen.calls == "fexit")
        values["TRACEPOINTS_BY_PERF"] = int(self._by_perf)
        values["DISPATCHES"] = int(self._is_dispatched(chosen))
        values["PAGE_SIZE"] = resource.getpagesize()
        values["LINUX_VERSION_CODE"] = _version_code(platform.release())
        return Source(request["sources"], request["headers"], values, request["debug"])

    def _functions(self, here: list[Hook]) -> dict[str, Function]:
        names = [hook.name for hook in here if hook.kind == "fexit"]
        found = {name: self._btf.function(name) for name in names}
        return {
            name: Function(identifier, self._btf.prototype(identifier))
            for name, identifier in found.items()
            if identifier is not None
        }

    # --- attaching ----------------------------------------------------------------------------

    def _attach(
        self, here: list[Hook], programs: dict[str, bpf.Loaded]
    ) -> tuple[dict[str, int], list[dict[str, Any]]]:
        links: dict[str, int] = {}
        results = []
        for hook in here:
            error = None
            try:
                if hook.loaded in programs:
                    program = programs[hook.loaded].descriptor
                    links[hook.name] = open_hook(hook, program, self._tracefs)
                else:
                    error = "the kernel has no such function"
            except OSError as failure:
                error = failure.strerror or str(failure)
            results.append({"name": hook.name, "required": hook.required, "error": error})
        return links, results

    def _unseen(self, chosen: Modes) -> list[str]:
        found = unseen(self._btf, sockets=chosen.sockets != "off")
        if chosen.calls != "off":
            found += self._uring.unseen
        preempted = preemption.of_programs(chosen.calls, self._preempts)
        return [*found, *([f"calls that the kernel skips ({preempted})"] if preempted else [])]

    def _hand_over(self, attached: Attached) -> None:
        wanted, loaded, tails = attached.programs
        descriptors = {name: each.descriptor for name, each in loaded.items()}
        kinds = {
            "maps": self._maps | tails,
            "programs": {name: fd for name, fd in descriptors.items() if wanted[name].hooked},
            # What the hooks call is told apart: its runs count as those of its caller.
            "called": {name: fd for name, fd in descriptors.items() if not wanted[name].hooked},
            "links": attached.links,
        }
        for what, fds in kinds.items():
            _say(self._channel, {what: list(fds)}, list(fds.values()))
        at_calls = attached.modes.calls != "off"
        done = {
            "done": True,
            "sockets": attached.modes.sockets,
            "files": attached.modes.files,
            "reads": attached.reads,
            "hooks": attached.results,
            "refusals": self._refusals,
            "verified": {name: each.verified for name, each in loaded.items()},
            "unseen": self._unseen(attached.modes),
            "blind": [BLIND] * (self._uring.blind and at_calls),
        }
        _say(self._channel, done, [])


def _tail_map(indexes: dict[int, str]) -> int:
    """Make a map of programs: the first one in it decides what kind the others must be."""
    return bpf.create_map(bpf.PROG_ARRAY, 4, 4, max(indexes, default=0) + 1, name="pb_tails")


def _put(tails: int, index: int, program: int) -> None:
    """Put a program into a map of programs."""
    bpf.update(tails, index.to_bytes(4, sys.byteorder), program.to_bytes(4, sys.byteorder))


def _fill(program: int, table: int, capacity: int) -> None:
    """Put every slot on the table's stack; low ones last, so that they come out first.

    A program does it, some thousand slots a run, because one system call each takes too long.
    """
    for end in range(capacity, 0, -_FILL_RUN):
        bpf.run_once(program, (table, end, min(_FILL_RUN, end)))


def open_hook(hook: Hook, program: int, tracefs: int) -> int:
    """Attach a program and return a descriptor; closing that detaches it.

    ``tracefs``: a descriptor of its directory, for tracepoints of system calls.
    """
    if hook.kind == "raw_tracepoint":
        return bpf.open_raw_tracepoint(hook.name, program)
    if hook.kind == "fexit":
        return bpf.open_function(program)
    identifier = int(kernelfs.read(tracefs, f"events/{hook.name}/id"))
    return bpf.open_tracepoint(identifier, program)


def _version_code(release: str) -> int:
    parts = release.partition("-")[0].split(".")
    numbers = [int(part) for part in parts[:3] if part.isdigit()]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major << 16 | minor << 8 | min(patch, 255)


if __name__ == "__main__":
    main()
