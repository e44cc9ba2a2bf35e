"""The loader: compiles, loads and attaches the eBPF programs, hands every descriptor over, exits.

Runs as a script under any Python >= 3.9 that has bcc, with nothing but the standard library beside
it:

    PYTHON -I loader.py DESCRIPTOR

DESCRIPTOR is a Unix stream socket. One line of JSON comes in (``handover.Request``), JSON lines go
out, each followed on the same socket by the descriptors that it names, the last with "done". LLVM
never stays in memory: the process ends as soon as the descriptors are over.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

# Appended, so that nothing beside the package can stand in for a system module such as bcc.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from pbmond.loader.attaching import Attacher, Result
from pbmond.loader.btf import BtfError
from pbmond.loader.build import Builder, BuildRefused, Built
from pbmond.loader.handover import Request, say, say_kinds
from pbmond.loader.hooks import Modes
from pbmond.loader.kernel_maps import make, maps
from pbmond.loader.programs import NoBccError
from pbmond.loader.refusals import Refused
from pbmond.loader.target import Target, target
from pbmond.loader.uring import BLIND

_SCRATCH_SLOTS = 4  # of each processor, where programs may be preempted


def main() -> None:
    """Serve one request and end at once, without bcc's own clean-up, which would detach all."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        load(Request.parse(channel.makefile("r").readline()), channel)
    except (Refused, BtfError, NoBccError) as error:
        say(channel, {"error": str(error), "no_bcc": isinstance(error, NoBccError)}, [])
    except Exception as error:  # noqa: BLE001 - whatever it is, the daemon must hear one line
        say(channel, {"error": f"loading the eBPF programs failed: {error!r}"}, [])
    channel.shutdown(socket.SHUT_WR)
    os._exit(0)


def load(request: Request, channel: socket.socket) -> None:
    """Load the best mode that the request allows and hand it over; Refused if none runs."""
    here = target()
    possible = here.possible(request)
    builder = prepare(request, here, possible)
    attacher = Attacher(here.facts)
    refusals: list[str] = []  # of better modes
    refused: set[str] = set()  # programs of the mode tried last
    for modes in possible:
        hooks = here.hooks(modes)
        # Where sockets are counted at system calls too, the same programs do more.
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
            say(channel, _done(here, modes, built, results, refusals), [])
            return
    raise Refused(refusals[-1])


def prepare(request: Request, here: Target, possible: list[Modes]) -> Builder:
    """Make the maps that the programs of all modes share."""
    preempted = any(here.preempts_programs(modes) for modes in possible)
    slots = _SCRATCH_SLOTS if preempted else 1
    every = maps(request, here.uring.memory, slots)
    return Builder(request, here, every, make(every, here.facts), slots)


def _kinds(
    shared: dict[str, int], built: Built, links: dict[str, int]
) -> dict[str, dict[str, int]]:
    programs = {name: each.descriptor for name, each in built.loaded.items()}
    return {
        "maps": {**shared, **built.tails},
        "programs": {name: fd for name, fd in programs.items() if built.wanted[name].hooked},
        # What the hooks call is told apart: its runs count as those of its caller.
        "called": {name: fd for name, fd in programs.items() if not built.wanted[name].hooked},
        "links": links,
    }


def _done(
    here: Target, modes: Modes, built: Built, results: list[Result], refusals: list[str]
) -> dict[str, object]:
    return {
        "done": True,
        "sockets": modes.sockets,
        "files": modes.files,
        "reads": built.reads,
        "hooks": [result._asdict() for result in results],
        "refusals": refusals,
        "verified": {name: each.verified for name, each in built.loaded.items()},
        "unseen": here.unseen(modes),
        "blind": [BLIND] * (here.uring.blind and modes.calls != "off"),
    }


if __name__ == "__main__":
    main()
