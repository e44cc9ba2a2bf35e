"""The BTF of kernels that are not here: every answer that the loader needs, kept in a table.

The table is made by record_btf.py, which asks each kernel's BTF whatever the loader asks; a
RecordedBtf then answers in a Btf's place.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from pbmond.loader.btf import Btf, Member
from pbmond.loader.offsets import defines, unseen
from pbmond.loader.preemption import calls_are_preemptible, raw_is_preemptible
from pbmond.loader.uring import uring
from tests.kernels.assumed import LAYOUTS, TRACEPOINTS

TABLE = Path(__file__).parents[1] / "data" / "btf.json"
COMMAND = ".venv/bin/python -m tests.kernels.record_btf KERNEL_IMAGE..."

#: A method of Btf and its arguments.
Question = tuple[str, ...]


class Recorder:
    """A Btf that remembers what it was asked."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf
        self.questions: set[Question] = set()

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def ask(*arguments: str) -> Any:
            self.questions.add((method, *arguments))
            return getattr(self._btf, method)(*arguments)

        return ask


class RecordedBtf:
    """One kernel of the table, in a Btf's place."""

    def __init__(self, kernel: str, answers: dict[Question, Any]) -> None:
        self._kernel = kernel
        self._answers = answers

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def answer(*arguments: str) -> Any:
            question = (method, *arguments)
            if question not in self._answers:
                raise LookupError(
                    f"{TABLE.name} does not know {' '.join(question)} of {self._kernel}: "
                    f"run {COMMAND}"
                )
            found = self._answers[question]
            return Member(*found) if found and method == "member" else found

        return answer


def questions(btf: Btf, machine: str) -> set[Question]:
    """Return what the loader asks on a kernel, and what assumed.py takes for granted of it."""
    recorder = Recorder(btf)
    as_btf = cast("Btf", recorder)
    defines(as_btf, machine)
    uring(as_btf)
    calls_are_preemptible(as_btf)
    raw_is_preemptible(as_btf)
    unseen(as_btf, sockets=True)
    for layout in LAYOUTS:
        as_btf.member(layout.structure, layout.member)
    for tracepoint in TRACEPOINTS:
        as_btf.tracepoint_parameters(tracepoint)
    return recorder.questions


def kernels() -> dict[str, str]:
    """Return the machine of each kernel of the table, oldest kernel first."""
    return cast("dict[str, str]", _table()["kernels"])


def recorded(kernel: str) -> Btf:
    """Return the BTF of a kernel of the table."""
    table = _table()
    column = list(table["kernels"]).index(kernel)
    answers = {tuple(question.split()): row[column] for question, row in table["answers"].items()}
    return cast("Btf", RecordedBtf(kernel, answers))


def known() -> set[Question]:
    """Return the questions that the table answers."""
    return {tuple(question.split()) for question in _table()["answers"]}


def write(kernels: dict[str, str], answers: dict[Question, list[Any]]) -> None:
    """Write the table, a question a line: ``kernels`` to machines, each answer in their order."""
    rows = (
        f"{json.dumps(' '.join(question))}: {json.dumps(row, separators=(',', ':'))}"
        for question, row in sorted(answers.items())
    )
    body = ",\n".join(rows)
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(
        f'{{"kernels": {json.dumps(kernels, indent=0)},\n"answers": {{\n{body}\n}}}}\n'
    )


def _table() -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(TABLE.read_text()))
