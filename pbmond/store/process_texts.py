"""The texts of processes, by slot: name, program, command line, cgroup, unit and container."""

from __future__ import annotations

from functools import lru_cache

from pbmond.host.cgroup import container_of, unit_of
from pbmond.kernel.records import ProcessSeen

Text = bytes | None
Place = tuple[Text, Text]  # unit and container

TEXTS = ("name", "exe", "cmdline", "cgroup", "unit", "container")
UNKNOWN_NAME = b"?"


@lru_cache(maxsize=4096)
def _cgroup_names(path: bytes) -> tuple[bytes, Text, Text]:
    # The path itself is returned so that processes of one cgroup share one object.
    return path, unit_of(path), container_of(path)


class ProcessTexts:
    """One list per text, with an element for each slot; None is unknown."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Text]] = {name: [] for name in TEXTS}

    def add(self, slot: int) -> None:
        """Prepare a slot for a new process; it is free, or one past the last."""
        if slot == len(self._columns["name"]):
            for column in self._columns.values():
                column.append(None)
        self._columns["name"][slot] = UNKNOWN_NAME

    def clear(self, slot: int) -> None:
        """Forget all texts of a slot."""
        for column in self._columns.values():
            column[slot] = None

    def cut(self, high: int) -> None:
        """Drop the slots from ``high`` on, which are free."""
        for column in self._columns.values():
            del column[high:]

    def reorder(self, order: list[int]) -> None:
        """Keep the slots ``order`` only, in that order."""
        self._columns = {
            name: [column[slot] for slot in order] for name, column in self._columns.items()
        }

    def name(self, slot: int) -> bytes:
        """Return the name, UNKNOWN_NAME if there is none."""
        return self._columns["name"][slot] or UNKNOWN_NAME

    def cgroups(self) -> list[Text]:
        """Return the cgroup of each slot; the list changes later."""
        return self._columns["cgroup"]

    def place(self, slot: int) -> Place | None:
        """Return unit and container; None while the cgroup is not known."""
        if self._columns["cgroup"][slot] is None:
            return None
        return self._columns["unit"][slot], self._columns["container"][slot]

    def describe(self, slot: int, event: ProcessSeen, *, newer: bool) -> None:
        """Take a description. One that is not ``newer`` than the last only fills gaps.

        An older one must be about the same program: it has the same name.
        """
        same_program = self._columns["name"][slot] == event.name
        for name in ("exe", "cmdline", "cgroup"):
            column, value = self._columns[name], getattr(event, name)
            # A new program may not show what the previous one did; the cgroup stays.
            keep = value is None and (same_program or name == "cgroup")
            # What is equal stays the same object: it is in snapshots too.
            if not keep and value != column[slot] and (newer or column[slot] is None):
                column[slot] = value
        if newer and not same_program:
            self._columns["name"][slot] = event.name
        path = self._columns["cgroup"][slot]
        if path is not None:
            names = _cgroup_names(path)
            for name, value in zip(("cgroup", "unit", "container"), names, strict=True):
                self._columns[name][slot] = value

    def freeze(self) -> dict[str, list[Text]]:
        """Copy all columns."""
        return {name: column.copy() for name, column in self._columns.items()}
