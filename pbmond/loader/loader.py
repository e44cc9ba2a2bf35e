"""The loader: compiles, loads and attaches the eBPF programs, hands over the descriptors, exits.

Runs as a script under any Python >= 3.9 that has bcc. Apart from bcc it needs only the standard
library:

    PYTHON -I -S loader.py DESCRIPTOR

DESCRIPTOR is a Unix stream socket. The loader reads one line of JSON (``handover.LoadRequest``). It
answers with lines of JSON, each followed on the same socket by the descriptors that it names. The
first says "ready": the interpreter runs, and has bcc. The last says "done". The process then ends,
so that LLVM does not stay in memory.
"""

from __future__ import annotations

import os
import site
import socket
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from pbmond.loader import ownership
from pbmond.loader.attaching import Attacher, HookResult
from pbmond.loader.btf import BtfError
from pbmond.loader.build import Builder, BuildRefused, Built
from pbmond.loader.handover import LoadRequest, say, say_kinds
from pbmond.loader.hooks import Modes
from pbmond.loader.kernel_maps import make, maps
from pbmond.loader.programs import NoBccError, import_bcc
from pbmond.loader.refusals import Refused
from pbmond.loader.target import Target, target
from pbmond.loader.uring import BLIND

_OURS = sys.path[-1]
_SCRATCH_SLOTS = 4  # per processor, where programs may be preempted


def main() -> None:
    """Serve one request, then exit at once: bcc's own clean-up would detach everything."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        request = LoadRequest.parse(channel.makefile("r").readline())
        find_bcc(request)
        say(channel, {"ready": True}, [])
        load(request, channel)
    except ownership.UnsafeCode as error:
        say(channel, {"error": ownership.line(str(error))}, [])
    except (Refused, BtfError, NoBccError) as error:
        say(channel, {"error": str(error), "no_bcc": isinstance(error, NoBccError)}, [])
    except Exception as error:  # noqa: BLE001 - the daemon must get one line for any error
        say(channel, {"error": f"loading the eBPF programs failed: {error!r}"}, [])
    channel.shutdown(socket.SHUT_WR)
    os._exit(0)


def find_bcc(request: LoadRequest) -> None:
    """Import bcc. UnsafeCode if others may change it; then none of it has run.

    ``-S`` has kept out the folders of packages, in which even a .pth file is code, until now.
    """
    inspector = ownership.Inspector()
    if not request.allow_unsafe_code:
        ownership.importable(inspector, _package_folders())
    sys.path.remove(_OURS)
    site.main()
    sys.path.append(_OURS)  # the last: nothing next to our package can replace a module such as bcc
    if not request.allow_unsafe_code:
        ownership.importable(inspector)
    import_bcc(request.headers)
    if not request.allow_unsafe_code:
        ownership.own_code(inspector)


def _package_folders() -> list[str]:
    """Return the folders that site will add: the interpreter's, or those of its virtualenv."""
    place = Path(sys.executable).absolute().parent.parent
    prefixes = [str(place)] if (place / "pyvenv.cfg").exists() else []
    version = "python{}.{}".format(*sys.version_info)
    inside = [str(place / lib / version / "site-packages") for lib in ("lib", "lib64")]
    return site.getsitepackages([*prefixes, sys.prefix, sys.exec_prefix]) + inside


def load(request: LoadRequest, channel: socket.socket) -> None:
    """Load the best mode that the request allows and hand it over. Refused if none works."""
    kernel = target()
    possible = kernel.possible(request)
    builder = prepare(request, kernel, possible)
    attacher = Attacher(kernel.facts)
    refusals: list[str] = []  # of better modes
    refused: set[str] = set()  # programs of the mode tried last
    for modes in possible:
        hooks = kernel.hooks(modes)
        # A mode that uses the same programs would be rejected too.
        if refused and refused <= {hook.loaded for hook in hooks}:
            continue
        refused = set()
        try:
            attacher.prepare(hooks)
            built = builder.build(modes)
            links, results = attacher.attach(hooks, built.loaded)
        except BuildRefused as error:
            refused = error.programs
            refusals.append(str(error))
        except Refused as error:
            refusals.append(str(error))
        else:
            say_kinds(channel, _kinds(builder.descriptors, built, links))
            say(channel, _done(kernel, modes, built, results, refusals), [])
            return
    raise Refused(refusals[-1])


def prepare(request: LoadRequest, kernel: Target, possible: list[Modes]) -> Builder:
    """Make the maps that the programs of all modes share."""
    preempted = any(kernel.preempts_programs(modes) for modes in possible)
    slots = _SCRATCH_SLOTS if preempted else 1
    every = maps(request, kernel.uring.memory, slots)
    return Builder(request, kernel, every, make(every, kernel.facts), slots)


def _kinds(
    shared: dict[str, int], built: Built, links: dict[str, int]
) -> dict[str, dict[str, int]]:
    programs = {name: each.descriptor for name, each in built.loaded.items()}
    return {
        "maps": {**shared, **built.tails},
        "programs": {name: fd for name, fd in programs.items() if built.wanted[name].hooked},
        # Kept apart: the runs of a called program count as those of its caller.
        "called": {name: fd for name, fd in programs.items() if not built.wanted[name].hooked},
        "links": links,
    }


def _done(
    kernel: Target, modes: Modes, built: Built, results: list[HookResult], refusals: list[str]
) -> dict[str, object]:
    return {
        "done": True,
        "sockets": modes.sockets,
        "files": modes.files,
        "reads": built.reads,
        "hooks": [result._asdict() for result in results],
        "refusals": refusals,
        "verified": {name: each.verified for name, each in built.loaded.items()},
        "unseen": kernel.unseen(modes),
        "blind": [BLIND] * (kernel.uring.blind and modes.calls != "off"),
    }


if __name__ == "__main__":
    main()
