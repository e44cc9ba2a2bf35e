"""Attaches loaded programs to their hooks.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pbmond.loader import bpf, kernelfs, trials
from pbmond.loader.hooks import Hook
from pbmond.loader.refusals import Facts, Refused


class Result(NamedTuple):
    """How attaching to one hook went; ``error`` None: attached."""

    name: str
    required: bool
    error: str | None


class Attacher:
    """Opens tracefs once, where a hook needs it."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._tracefs = -1

    def prepare(self, here: list[Hook]) -> None:
        """Open what the hooks need, before anything is compiled; Refused if that is not allowed."""
        if self._tracefs < 0 and any(hook.kind == "tracepoint" for hook in here):
            self._tracefs = trials.open_tracepoints(self._facts)

    def attach(
        self, here: list[Hook], loaded: dict[str, bpf.Loaded]
    ) -> tuple[dict[str, int], list[Result]]:
        """Return links by name, and how each hook went; Refused if a required one failed."""
        links: dict[str, int] = {}
        results = []
        for hook in here:
            error = None
            try:
                if hook.loaded in loaded:
                    links[hook.name] = open_hook(
                        hook, loaded[hook.loaded].descriptor, self._tracefs
                    )
                else:
                    error = "the kernel has no such function"
            except OSError as failure:
                error = failure.strerror or str(failure)
            results.append(Result(hook.name, hook.required, error))
        missing = [result for result in results if result.required and result.error]
        if missing:
            for link in links.values():
                os.close(link)
            raise Refused(f"{missing[0].name} cannot be attached: {missing[0].error}")
        return links, results


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
