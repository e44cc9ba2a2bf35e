"""Attaches loaded programs to their hooks.

Used by the loader only: any Python >= 3.9, standard library.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from pbmond.loader import bpf, kernelfs, trials
from pbmond.loader.hooks import Hook
from pbmond.loader.refusals import Facts, Refused


class HookResult(NamedTuple):
    """The outcome of attaching to one hook. ``error`` is None if it is attached."""

    name: str
    required: bool
    error: str | None


class Attacher:
    """Attaches hooks. Opens tracefs once, and only if a hook needs it."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._tracefs = -1

    def prepare(self, hooks: list[Hook]) -> None:
        """Open what the hooks need, before anything is compiled. Raises Refused if not allowed."""
        if self._tracefs < 0 and any(hook.kind == "tracepoint" for hook in hooks):
            self._tracefs = trials.open_tracepoints(self._facts)

    def attach(
        self, hooks: list[Hook], loaded: dict[str, bpf.Loaded]
    ) -> tuple[dict[str, int], list[HookResult]]:
        """Return links by name, and how each hook went. Refused if a required one fails."""
        links: dict[str, int] = {}
        results = []
        for hook in hooks:
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
            results.append(HookResult(hook.name, hook.required, error))
        missing = [result for result in results if result.required and result.error]
        if missing:
            for link in links.values():
                os.close(link)
            raise Refused(f"{missing[0].name} cannot be attached: {missing[0].error}")
        return links, results


def open_hook(hook: Hook, program: int, tracefs: int) -> int:
    """Attach a program and return a descriptor. Closing the descriptor detaches the program.

    ``tracefs`` is a descriptor of the tracefs directory, which system call tracepoints need.
    """
    if hook.kind == "raw_tracepoint":
        return bpf.open_raw_tracepoint(hook.name, program)
    if hook.kind == "fexit":
        return bpf.open_function(program)
    identifier = int(kernelfs.read(tracefs, f"events/{hook.name}/id"))
    return bpf.open_tracepoint(identifier, program)
