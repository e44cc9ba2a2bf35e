"""The loader: compiles, loads and attaches the eBPF programs, hands every descriptor over, exits.

Runs as a script under any Python >= 3.9 that has bcc, with nothing but the standard library beside
it:

    PYTHON -I loader.py DESCRIPTOR

DESCRIPTOR is a Unix stream socket. One line of JSON comes in (see ``Request``), JSON lines go out,
each followed on the same socket by the descriptors it names (SCM_RIGHTS), the last with "done".
LLVM never stays in memory: the process ends as soon as the descriptors are over.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import socket
import sys
from pathlib import Path
from typing import Any, NamedTuple

# Appended, so that nothing beside the package can stand in for a system module such as bcc.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from pbmond import bpf, fexit, kernelfs
from pbmond.btf import Btf, BtfError
from pbmond.hooks import Hook, Rungs, function_of, hooks, rungs
from pbmond.offsets import defines, unseen
from pbmond.programs import (
    TAILS,
    UNHOOKED,
    Compiled,
    CompileError,
    NoBccError,
    RefusedError,
    Source,
    wanted,
)
from pbmond.registers import stack_registers
from pbmond.uring import BLIND, uring

_FILL_RUN = 512  # the bound of the loop in fill_stack(), bpf/tables.h
_BATCH = 100  # descriptors a message; the kernel takes 253 (SCM_MAX_FD)

_NOTES_SIZE = 21544
_HIGH_WATER_SIZE = 16
_LOST_COUNT = 5

_READS = ("cast", "typed", "probe")  # the better first
_HINTS = 1 << 16  # HINT_BITS of bpf/tables.h


class LoadError(Exception):
    """The programs cannot run here; the message says why and what to do, in one line."""


class Table(NamedTuple):
    """A counting table: its name and the sizes of its key and its slot in bytes."""

    name: str
    key_size: int
    slot_size: int
    capacity: int


class Attached(NamedTuple):
    """What runs now: descriptors by name, and what the collector is told of it."""

    rungs: Rungs
    reads: str
    programs: dict[str, bpf.Loaded]
    links: dict[str, int]
    results: list[dict[str, Any]]


def main() -> None:
    """Serve one request and end at once, without bcc's own clean-up, which would detach all."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        request = json.loads(channel.makefile("r").readline())
        Loading(request, channel).run()
    except (LoadError, BtfError, NoBccError) as error:
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
    """One compile-load-attach run, retried on the next rung down where the kernel refuses."""

    def __init__(self, request: dict[str, Any], channel: socket.socket) -> None:
        """Take a request: sockets, files, reads (rungs wanted), tables, sizes and places."""
        self._request = request
        self._channel = channel
        self._tables = [Table(*table) for table in request["tables"]]
        self._maps: dict[str, int] = {}
        self._btf = Btf()
        self._uring = uring(self._btf)
        self._constants = {**defines(self._btf), **self._uring.defines}
        stack = self._constants["OFFSETOF_TASK_STACK"]
        self._constants["STACK_REGISTERS"] = stack_registers(stack)

    def run(self) -> None:
        """Load the best rung that the request allows and hand it over; LoadError if none runs."""
        # Maps are charged to this limit before Linux 5.11 only, so a refusal may not matter.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
        self._make_maps()
        refusal: LoadError | None = None
        for each in self._possible():
            try:
                self._hand_over(self._attach_all(each))
            except LoadError as error:
                refusal = error
            else:
                return
        raise refusal or LoadError("there is nothing to count")

    def _possible(self) -> list[Rungs]:
        """Return the rungs that can be tried here; LoadError if what is wanted cannot."""
        sockets, files = self._request["sockets"], self._request["files"]
        every = list(rungs(sockets, files))
        if not every:
            raise LoadError(
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
            raise LoadError(f'{reasons}: set sockets and files to "auto" in the configuration')
        return possible

    def _lack_of_socket_tracepoints(self) -> str | None:
        if self._constants["HAS_SOCKET_TRACEPOINTS"]:
            return None
        return "this kernel has no sock_send_length and sock_recv_length (Linux 6.3 has)"

    def _lack_of_fexit(self, *, forced: bool) -> str | None:
        refusal = fexit.refusal(self._btf)
        return refusal if refusal or forced else fexit.inexact()

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
            self._map(name, bpf.PERCPU_ARRAY, (4, _NOTES_SIZE), 1)
        self._map("processes", bpf.HASH, (16, 1), self._request["processes"])
        self._map("exits", bpf.LRU_HASH, (16, 16), 8192)
        self._map("openings", bpf.LRU_HASH, (48, 1), 16384)
        self._map("batches", bpf.LRU_HASH, (8, 16), 4096)
        self._map("known_requests", *self._uring.memory)
        self._map("aio_requests", bpf.LRU_HASH, (24, 16), 32768)
        self._map("aio_taken", bpf.LRU_HASH, (24, 1), 8192)
        self._map("aio_rings", bpf.LRU_HASH, (24, 12), 1024)
        for name, tails in TAILS.items():
            self._map(name, bpf.PROG_ARRAY, (4, 4), len(tails))

    def _map(self, name: str, kind: int, sizes: tuple[int, int], entries: int) -> None:
        flags = bpf.MMAPABLE if kind == bpf.ARRAY else 0
        self._maps[name] = bpf.create_map(kind, *sizes, entries, flags=flags, name=f"pb_{name}")

    # --- programs -----------------------------------------------------------------------------

    def _attach_all(self, chosen: Rungs) -> Attached:
        """Compile, load and attach for one choice, by the best reads that load; LoadError."""
        here = hooks(chosen, self._uring.hooks)
        reads, programs = self._load(chosen, here)
        links, results = self._attach(here, programs)
        missing = [result for result in results if result["required"] and result["error"]]
        if missing:
            for link in links.values():
                os.close(link)
            raise LoadError(f"{missing[0]['name']} cannot be attached: {missing[0]['error']}")
        return Attached(chosen, reads, programs, links, results)

    def _load(self, chosen: Rungs, here: list[Hook]) -> tuple[str, dict[str, bpf.Loaded]]:
        refusal = ""
        for reads in self._reads_to_try():
            try:
                return reads, self._load_by(reads, chosen, here)
            except (CompileError, RefusedError) as error:
                refusal = str(error)
        raise LoadError(f"the kernel refused the eBPF programs: {refusal}")

    def _reads_to_try(self) -> list[str]:
        wanted = self._request["reads"]
        if wanted != "auto":
            return [wanted]
        can_cast = self._constants["FUNCTION_RDONLY_CAST"]
        return [reads for reads in _READS if reads != "cast" or can_cast]

    def _load_by(self, reads: str, chosen: Rungs, here: list[Hook]) -> dict[str, bpf.Loaded]:
        compiled = Compiled(self._source(reads, chosen))
        cast = self._constants["FUNCTION_RDONLY_CAST"]
        every = wanted(here, chosen, self._functions(here))
        programs = {
            name: compiled.load(name, program, cast, self._maps)
            for name, program in every.items()
        }
        by_function = {program.function: programs[name] for name, program in every.items()}
        for name, tails in TAILS.items():
            for index, tail in enumerate(tails):
                if tail in by_function:
                    numbers = (index, by_function[tail].descriptor)
                    key, value = (number.to_bytes(4, sys.byteorder) for number in numbers)
                    bpf.update(self._maps[name], key, value)
        for number, table in enumerate(self._tables):
            _fill(programs["raw_fill"].descriptor, number, table.capacity)
        return programs

    def _source(self, reads: str, chosen: Rungs) -> Source:
        request = self._request
        values = {f"{name.upper()}_FD": fd for name, fd in self._maps.items()}
        values.update(self._constants)
        values.update({f"SIZEOF_{t.name.upper()}_SLOT": t.slot_size for t in self._tables})
        values["SIZEOF_NOTES"] = _NOTES_SIZE
        values["EVENTS_SIZE"] = request["events_size"]
        values["CAST_LOADS"] = int(reads == "cast")
        values["TYPED_LOADS"] = int(reads != "probe")
        values["SOCKETS"] = int(chosen.sockets != "off")
        values["SOCKETS_AT_EXIT"] = int(chosen.sockets == chosen.calls and chosen.calls != "off")
        values["FILES"] = int(chosen.files != "off")
        values["CALLS_BY_FEXIT"] = int(chosen.calls == "fexit")
        values["LINUX_VERSION_CODE"] = _version_code(platform.release())
        return Source(request["sources"], request["headers"], values, request["debug"])

    def _functions(self, here: list[Hook]) -> dict[str, int]:
        names = [function_of("read"), *(hook.name for hook in here if hook.kind == "fexit")]
        return {name: self._btf.function(name) or 0 for name in names}

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
                    links[hook.name] = open_hook(hook, programs[hook.loaded].descriptor)
                else:
                    error = "the kernel has no such function"
            except OSError as failure:
                error = failure.strerror or str(failure)
            results.append({"name": hook.name, "required": hook.required, "error": error})
        return links, results

    def _hand_over(self, attached: Attached) -> None:
        # What the hooks call is told apart: its runs count as those of its caller.
        programs = {name: loaded.descriptor for name, loaded in attached.programs.items()}
        kinds = {
            "maps": self._maps,
            "programs": {name: fd for name, fd in programs.items() if name not in UNHOOKED},
            "called": {name: programs[name] for name in UNHOOKED},
            "links": attached.links,
        }
        for what, fds in kinds.items():
            _say(self._channel, {what: list(fds)}, list(fds.values()))
        at_calls = attached.rungs.calls != "off"
        done = {
            "done": True,
            "sockets": attached.rungs.sockets,
            "files": attached.rungs.files,
            "reads": attached.reads,
            "hooks": attached.results,
            "verified": {name: loaded.verified for name, loaded in attached.programs.items()},
            "unseen": unseen(self._btf, sockets=attached.rungs.sockets != "off")
            + [*self._uring.unseen] * at_calls,
            "blind": [BLIND] * (self._uring.blind and at_calls),
        }
        _say(self._channel, done, [])


def _fill(program: int, table: int, capacity: int) -> None:
    """Put every slot on the table's stack; low ones last, so that they come out first.

    A program does it, some thousand slots a run, because one system call each takes too long.
    """
    for end in range(capacity, 0, -_FILL_RUN):
        bpf.run_once(program, (table, end, min(_FILL_RUN, end)))


def open_hook(hook: Hook, program: int) -> int:
    """Attach a program and return a descriptor; closing that detaches it."""
    if hook.kind == "raw_tracepoint":
        return bpf.open_raw_tracepoint(hook.name, program)
    if hook.kind == "fexit":
        return bpf.open_function(program)
    identifier = int((kernelfs.tracefs() / "events" / hook.name / "id").read_text())
    return bpf.open_tracepoint(identifier, program)


def _version_code(release: str) -> int:
    parts = release.partition("-")[0].split(".")
    numbers = [int(part) for part in parts[:3] if part.isdigit()]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major << 16 | minor << 8 | min(patch, 255)


if __name__ == "__main__":
    main()
