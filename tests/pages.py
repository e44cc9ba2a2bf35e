"""What programs make of the pages: ``python -m tests.pages`` writes it.

These are the tables of the JSON contract, of the metrics and of the rights, made of the fields and
of the code; the options in the manual and the completions, made of each command's parser; and the
keys in pbmond.toml(5). A part stands between two comments: ``<!-- NAME: made by … -->`` and
``<!-- NAME: end -->``; completions are whole files.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pbmon_client.metrics.families import FAMILIES
from pbmond import fields
from pbmond.fields import Field
from pbmond.system import rights
from tests import completions, manpages
from tests.commands import Command

_PACKAGING: Final = Path(__file__).parents[1] / "packaging"
CONTRACT: Final = _PACKAGING / "doc/json.md"
METRICS: Final = _PACKAGING / "doc/metrics.md"
SECURITY: Final = _PACKAGING / "doc/security.md"


def with_part(page: str, name: str, part: str) -> str:
    """Return the page with ``part`` between the comments of ``name``."""
    start, end = _place(page, name)
    return page[:start] + part + page[end:]


def part_of(page: str, name: str) -> str:
    """Return what is between the comments of ``name``."""
    start, end = _place(page, name)
    return page[start:end]


def _place(page: str, name: str) -> tuple[int, int]:
    found = re.search(
        rf"^(?:<!--|#|\.\\\") {name}: made by [^\n]*\n(.*?)^(?:<!--|#|\.\\\") {name}: end",
        page,
        re.MULTILINE | re.DOTALL,
    )
    if found is None:
        raise ValueError(f"no comments of {name}")
    return found.span(1)


# --- the contract -------------------------------------------------------------------------------


def contract_parts() -> dict[str, str]:
    """Return the contract's parts by name: every field of every table."""
    parts = {name: _table(_listed(name)) for name in fields.SHOWN}
    return {**parts, "counters": _counters()}


def _listed(table: str) -> Iterator[Field]:
    """Yield the fields of a table; the counters of processes have a part of their own."""
    counted = {*fields.COUNTERS, *fields.RATES} if table in ("processes", "retired") else set()
    return (field for name, field in fields.SHOWN[table].items() if name not in counted)


def _table(shown: Iterable[Field]) -> str:
    rows = [
        f"| `{field.name}` | {_type(field)} | {field.unit} | {field.meaning} |" for field in shown
    ]
    return "\n".join(["| field | type | unit | meaning |", "|---|---|---|---|", *rows]) + "\n"


def _type(field: Field) -> str:
    number = "number" if field.wire == "f8" else "integer"
    name = {"number": number, "text": "text", "address": "text", "bool": "boolean"}[field.type]
    return f"{name} or null" if _may_be_null(field) else name


def _may_be_null(field: Field) -> bool:
    return (
        field.null is not None
        or field.needs is not None
        or field.wire in (None, "text", "f8")
        or None in field.choices
    )


def _counters() -> str:
    lines = ["| class | counters | rates |", "|---|---|---|"]
    by_class: dict[str, list[str]] = {}
    for name in fields.COUNTERS:
        byte_class = fields.TABLES["processes"][name].byte_class
        by_class.setdefault(byte_class or "TCP", []).append(name)
    for byte_class, names in by_class.items():
        rates = [fields.rate_name(name) for name in names if name in fields.BYTE_COUNTERS]
        cells = (f"`{byte_class}`", _names(names), _names(rates))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _names(names: Sequence[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


# --- the metrics --------------------------------------------------------------------------------


def families() -> str:
    """Return the table of every family of metrics."""
    lines = ["| series | type | labels | meaning |", "|---|---|---|---|"]
    for family in FAMILIES:
        kind = {"states": "state set"}.get(family.kind, family.kind)
        cells = (f"`{family.series}`", kind, _names(family.labels), family.meaning)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# --- the manual -----------------------------------------------------------------------------------


def manual(page: str, command: Command) -> str:
    """Return the manual page of a command with its options as they are now."""
    page = with_part(page, "synopsis", manpages.synopsis(command))
    return with_part(page, "options", manpages.options(command, part_of(page, "options")))


# --- the rights ---------------------------------------------------------------------------------


def rights_table() -> str:
    """Return which capabilities each process of the daemon has, each with the call it is for."""
    lines = ["| process | user | capability | for |", "|---|---|---|---|"]
    for each in rights.ALL:
        user = "`publisher_user`" if each.user == "publisher_user" else each.user
        name = "loader" if each is rights.LOADER_RIGHTS else f"`{each.name}`"
        for capability, reason in each.capabilities.items() or [("none", "")]:
            shown = f"`CAP_{capability}`" if reason else capability
            lines.append(f"| {name} | {user} | {shown} | {reason} |")
    return "\n".join(lines) + "\n"


def inputs_table() -> str:
    """Return what each process of the daemon reads that others wrote, and how its calls are cut."""
    lines = ["| process | reads | system calls |", "|---|---|---|"]
    for each in rights.ALL:
        name = "loader" if each is rights.LOADER_RIGHTS else f"`{each.name}`"
        calls = "all" if each.calls is None else f"{len(each.calls.names)}"
        lines.append(f"| {name} | {each.inputs} | {calls} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the parts of the contract, the metrics, the rights and the manual, and completions."""
    page = CONTRACT.read_text()
    for name, part in contract_parts().items():
        page = with_part(page, name, part)
    CONTRACT.write_text(page)
    METRICS.write_text(with_part(METRICS.read_text(), "families", families()))
    page = with_part(SECURITY.read_text(), "rights", rights_table())
    SECURITY.write_text(with_part(page, "inputs", inputs_table()))
    for path, command in manpages.PAGES.items():
        path.write_text(manual(path.read_text(), command))
    manual_of_keys = with_part(manpages.CONFIGURATION.read_text(), "keys", manpages.configuration())
    manpages.CONFIGURATION.write_text(manual_of_keys)
    for path, text in completions.files().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
