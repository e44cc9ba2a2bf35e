"""The loader: compiles, loads and attaches the eBPF programs, hands every descriptor over, exits.

The only code that imports bcc. Runs as a script under any Python >= 3.9 that has bcc, with nothing
but the standard library beside it:

    PYTHON -I loader.py DESCRIPTOR

DESCRIPTOR is a Unix stream socket. One line of JSON comes in (see ``Request``), JSON lines go out,
each followed on the same socket by the descriptors it names (SCM_RIGHTS), the last with "done".
LLVM never stays in memory: the process ends as soon as the descriptors are over.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import socket
import struct
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

# Appended, so that nothing beside the package can stand in for a system module such as bcc.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from pbmond import bpf, refusals, trials
from pbmond.btf import Btf, BtfError
from pbmond.hooks import SOCKET_TRACEPOINTS, Hook, hooks, lack
from pbmond.offsets import defines, unseen
from pbmond.refusals import Refused
from pbmond.tracefs import event_id

_FILL_RUN = 512  # the bound of the loop in fill_stack(), bpf/tables.h
_BATCH = 100  # descriptors a message; the kernel takes 253 (SCM_MAX_FD)

_NOTES_SIZE = 21544
_HIGH_WATER_SIZE = 16
_LOST_COUNT = 5

# Programs that others tail-call, in the order of the indexes WALKER, FIRST, ... in bpf/.
_EXIT_TAILS = ("walker", "first", "messages", "io_submit", "io_results")
_TAILS = {
    "exit_tails": [f"exit_{name}" for name in _EXIT_TAILS],
    "raw_tails": ["raw_walker", "raw_first"],
}
# A tail that is compiled once and loaded for both kinds of program.
_TWINS = {"exit_walker": "raw_walker", "exit_first": "raw_first"}
# What no hook runs itself.
_UNHOOKED = ("raw_fill", *_TAILS["raw_tails"], *_TAILS["exit_tails"][:2])
_READS = ("cast", "typed", "probe")  # the better first
_HINTS = 1 << 16  # HINT_BITS of bpf/tables.h
_CALL, _PSEUDO_KFUNC_CALL = 0x85, 2 << 4  # of an instruction, as are the two below
_LOAD_MAP, _PSEUDO_MAP_FD = 0x18, 1 << 4


class LoadError(Refused):
    """The programs cannot run here; the message says why and what to do, in one line."""


class NoBccError(LoadError):
    """An interpreter without bcc; another one may have it."""


class Table(NamedTuple):
    """A counting table: its name and the sizes of its key and its slot in bytes."""

    name: str
    key_size: int
    slot_size: int
    capacity: int


def main() -> None:
    """Serve one request and end at once, without bcc's own clean-up, which would detach all."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        request = json.loads(channel.makefile("r").readline())
        Loading(request, channel).run()
    except (Refused, BtfError) as error:
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
        self._reads = ""
        trials.raise_limits()
        self._facts = trials.facts()
        trials.can_load(self._facts)
        trials.has_types(self._facts)
        self._btf = Btf()
        self._constants = defines(self._btf)
        trials.has_offsets(self._constants, self._facts)

    def run(self) -> None:
        """Load the best rung that the request allows and hand it over."""
        tracefs = trials.open_tracepoints(self._facts)
        wanted = self._request["sockets"]
        rungs = ["tracepoint", "syscall-exit"] if wanted == "auto" else [wanted]
        if "tracepoint" in rungs and not self._has_socket_tracepoints():
            if wanted == "tracepoint":
                raise LoadError(
                    "this kernel has no tracepoints sock_send_length and sock_recv_length "
                    '(Linux 6.3): set sockets = "auto" in the configuration'
                )
            rungs.remove("tracepoint")
        self._make_maps()
        self._attach_first(rungs, tracefs)

    def _has_socket_tracepoints(self) -> bool:
        found = [self._btf.tracepoint_parameters(name) for name in SOCKET_TRACEPOINTS]
        return None not in found

    def _attach_first(self, rungs: list[str], tracefs: int) -> None:
        for rung in rungs:
            with _scratch_directory():
                programs = self._compile(rung)
            links, results = self._attach(programs, rung, tracefs)
            missing = [result for result in results if result["required"] and result["error"]]
            if not missing:
                self._hand_over(rung, programs, links, results)
                return
            for link in links.values():
                os.close(link)
        raise LoadError(f"{missing[0]['name']} cannot be attached: {missing[0]['error']}")

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
        self._map("shots", bpf.LRU_HASH, (16, 16), 8192)
        self._map("aio_requests", bpf.LRU_HASH, (24, 16), 32768)
        self._map("aio_taken", bpf.LRU_HASH, (24, 1), 8192)
        self._map("aio_rings", bpf.LRU_HASH, (24, 12), 1024)
        for name, tails in _TAILS.items():
            self._map(name, bpf.PROG_ARRAY, (4, 4), len(tails))

    def _map(self, name: str, kind: int, sizes: tuple[int, int], entries: int) -> None:
        flags = bpf.MMAPABLE if kind == bpf.ARRAY else 0
        try:
            self._maps[name] = bpf.create_map(kind, *sizes, entries, flags=flags, name=f"pb_{name}")
        except OSError as error:
            size = max(1, sum(sizes)) * entries
            raise Refused(refusals.table(name, size, error.errno or 0, self._facts)) from None

    # --- programs -----------------------------------------------------------------------------

    def _compile(self, rung: str) -> dict[str, int]:
        """Compile and load for one rung; typed loads first, probe reads where helpers lack."""
        refusal = ""
        for reads in self._reads_to_try():
            try:
                programs = self._load(rung, reads)
            except LoadError:
                raise
            except Exception as error:  # noqa: BLE001 - bcc raises bare Exception
                refusal = str(error) or type(error).__name__
            else:
                self._reads = reads
                return programs
        raise LoadError(f"the kernel refused the eBPF programs ({refusal}): is lockdown on?")

    def _reads_to_try(self) -> list[str]:
        wanted = self._request["reads"]
        if wanted != "auto":
            return [wanted]
        can_cast = self._constants["FUNCTION_RDONLY_CAST"]
        return [reads for reads in _READS if reads != "cast" or can_cast]

    def _load(self, rung: str, reads: str) -> dict[str, int]:
        flags = self._flags(rung, reads)
        bcc = _import_bcc(self._request["headers"])
        with _quiet(debug=self._request["debug"]):
            module = bcc.BPF(text=self._source(), cflags=flags, allow_rlimit=False)
            programs = {
                name: self._program(bcc, module, function)
                for name, function in self._functions(rung).items()
            }
        for name, tails in _TAILS.items():
            for index, tail in enumerate(tails):
                if tail in programs:
                    key, value = (n.to_bytes(4, sys.byteorder) for n in (index, programs[tail]))
                    bpf.update(self._maps[name], key, value)
        for number, table in enumerate(self._tables):
            _fill(programs["raw_fill"], number, table.capacity)
        _KEEP.append(module)  # its destructor would close the programs
        return programs

    def _program(self, bcc: Any, module: Any, function: str) -> int:  # noqa: ANN401 - no types
        """Load one function, or its twin with the maps of the exit hooks; each call once more."""
        source = _TWINS.get(function, function).encode()
        maps = {}
        if function in _TWINS:
            for name in ("notes", "tails"):
                maps[self._maps[f"raw_{name}"]] = self._maps[f"exit_{name}"]
        module.funcs.pop(source, None)  # or bcc would give us the program that it has
        start = bcc.lib.bpf_function_start(module.module, source)
        size = bcc.lib.bpf_function_size(module.module, source)
        code = (ctypes.c_char * size).from_address(start)
        _link(code, self._constants["FUNCTION_RDONLY_CAST"], maps)
        is_exit = function.startswith("exit_")
        kind = bcc.BPF.TRACEPOINT if is_exit else bcc.BPF.RAW_TRACEPOINT
        return int(module.load_func(source, kind).fd)

    def _source(self) -> str:
        return (Path(self._request["sources"]) / "pbmon.c").read_text()

    def _flags(self, rung: str, reads: str) -> list[str]:
        values = {f"{name.upper()}_FD": fd for name, fd in self._maps.items()}
        values.update(self._constants)
        values.update({f"SIZEOF_{t.name.upper()}_SLOT": t.slot_size for t in self._tables})
        values["SIZEOF_NOTES"] = _NOTES_SIZE
        values["EVENTS_SIZE"] = self._request["events_size"]
        values["CAST_LOADS"] = int(reads == "cast")
        values["TYPED_LOADS"] = int(reads != "probe")
        values["SOCKETS"] = int(rung != "off")
        values["SOCKETS_AT_EXIT"] = int(rung == "syscall-exit")
        values["FILES"] = int(self._request["files"] != "off")
        values["LINUX_VERSION_CODE"] = _version_code(platform.release())
        # Debug information takes a tenth of the time; the verifier's log is all that would use it.
        debug = [] if self._request["debug"] else ["-g0"]
        return [*debug, f"-I{self._request['sources']}", *(f"-D{k}={v}" for k, v in values.items())]

    def _functions(self, rung: str) -> dict[str, str]:
        """Return the function of each program to load, by the program's name."""
        programs = {hook.loaded: hook.program for hook in hooks(rung, self._request["files"])}
        return {name: name for name in _UNHOOKED} | programs

    # --- attaching ----------------------------------------------------------------------------

    def _attach(
        self, programs: dict[str, int], rung: str, tracefs: int
    ) -> tuple[dict[str, int], list[dict[str, Any]]]:
        links: dict[str, int] = {}
        results = []
        for hook in hooks(rung, self._request["files"]):
            error = lack(hook, self._constants)
            try:
                if error is None:
                    links[hook.name] = _open(hook, programs[hook.loaded], tracefs)
            except OSError as failure:
                error = failure.strerror or str(failure)
            results.append({"name": hook.name, "required": hook.required, "error": error})
        return links, results

    def _hand_over(
        self,
        rung: str,
        programs: dict[str, int],
        links: dict[str, int],
        results: list[dict[str, Any]],
    ) -> None:
        # What the hooks call is told apart: its runs count as those of its caller.
        hooked = {name: fd for name, fd in programs.items() if name not in _UNHOOKED}
        called = {name: programs[name] for name in _UNHOOKED}
        kinds = {"maps": self._maps, "programs": hooked, "called": called, "links": links}
        for what, fds in kinds.items():
            _say(self._channel, {what: list(fds)}, list(fds.values()))
        done = {"done": True, "sockets": rung, "reads": self._reads, "hooks": results}
        done["unseen"] = unseen(self._btf, sockets=rung != "off")
        _say(self._channel, done, [])


_KEEP: list[Any] = []


def _link(code: ctypes.Array[ctypes.c_char], cast: int, maps: dict[int, int]) -> None:
    """Do in place what bcc's compiler cannot: call a kernel function, use other maps."""
    instruction = struct.Struct("<BBhi")  # operation, registers, offset, immediate
    for at in range(0, len(code), instruction.size):
        operation, registers, offset, value = instruction.unpack_from(code, at)
        if operation == _CALL and value == cast:
            instruction.pack_into(code, at, operation, _PSEUDO_KFUNC_CALL, offset, value)
        elif operation == _LOAD_MAP and registers & 0xF0 == _PSEUDO_MAP_FD:
            value = maps.get(value, value)
            instruction.pack_into(code, at, operation, registers, offset, value)


def _fill(program: int, table: int, capacity: int) -> None:
    """Put every slot on the table's stack; low ones last, so that they come out first.

    A program does it, some thousand slots a run, because one system call each takes too long.
    """
    for end in range(capacity, 0, -_FILL_RUN):
        bpf.run_once(program, (table, end, min(_FILL_RUN, end)))


def _open(hook: Hook, program: int, tracefs: int) -> int:
    if hook.kind == "raw_tracepoint":
        return bpf.open_raw_tracepoint(hook.name, program)
    return bpf.open_tracepoint(event_id(tracefs, hook.name), program)


def _version_code(release: str) -> int:
    parts = release.partition("-")[0].split(".")
    numbers = [int(part) for part in parts[:3] if part.isdigit()]
    major, minor, patch = [*numbers, 0, 0, 0][:3]
    return major << 16 | minor << 8 | min(patch, 255)


def _import_bcc(headers: str) -> Any:  # noqa: ANN401 - bcc has no types
    """Import bcc with our stub headers in the place of the kernel's."""
    os.environ["BCC_KERNEL_SOURCE"] = headers
    try:
        import bcc  # noqa: PLC0415 - only after the environment is set
    except ImportError as error:
        raise NoBccError(f"{sys.executable} cannot import bcc: {error}") from None
    if not hasattr(bcc, "BPF"):
        raise NoBccError(
            f"{bcc.__file__} is another project's package: uninstall it and install the "
            "distribution's python3-bpfcc (Debian, Ubuntu) or python3-bcc (Fedora)"
        )
    return bcc


class _quiet:  # noqa: N801 - a context manager
    """Keep bcc's and the verifier's words on descriptor 2 away from the user, unless debugging."""

    def __init__(self, *, debug: bool) -> None:
        self._debug = debug

    def __enter__(self) -> None:
        if not self._debug:
            self._saved = os.dup(2)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            os.close(null)

    def __exit__(self, *_: object) -> None:
        if not self._debug:
            os.dup2(self._saved, 2)
            os.close(self._saved)


class _scratch_directory:  # noqa: N801 - a context manager
    """A private TMPDIR: bcc writes predictable names into a shared one (CVE-2024-2314)."""

    def __enter__(self) -> None:
        self._path = tempfile.mkdtemp(prefix="pbmond-")
        os.environ["TMPDIR"] = self._path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


if __name__ == "__main__":
    main()
