"""The reads of kernel structures in bpf/ are those that offsets.py declares, size for size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pbmond.loader.offsets import _BITS, _FILE_SYSTEMS, _NEEDED, _OPTIONAL, _REGISTERS, _TRACED

_MACHINES = {**_REGISTERS["x86_64"], **_REGISTERS["aarch64"]}
_INODES = {name: read for reads in _FILE_SYSTEMS.values() for name, read in reads.items()}
READS = {**_NEEDED, **_OPTIONAL, **_INODES, **_MACHINES, **_TRACED}
_SIZES = {"u8": 1, "s8": 1, "u16": 2, "u32": 4, "s32": 4, "u64": 8, "void *": 8}
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def sources() -> dict[str, str]:
    """Return the text of each file of the C side, with comments blanked."""
    paths = sorted((Path(__file__).parents[4] / "bpf").glob("*.[ch]"))
    assert len(paths) > 10
    return {
        path.name: _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), path.read_text())
        for path in paths
    }


class Call(NamedTuple):
    """A macro or helper that reads: where it stands, its name, and its arguments."""

    where: str
    name: str
    arguments: list[str]

    @property
    def member(self) -> str | None:
        """The member that is read: the last of a sum of offsets, the first of a difference."""
        found = re.findall(r"OFFSETOF_(\w+)", self.arguments[-1].partition(" - ")[0])
        return found[-1] if found else None


def calls(*names: str) -> Iterator[Call]:
    for file, text in sources().items():
        for match in re.finditer(rf"(?<!define )\b({'|'.join(names)})\(", text):
            line = text.count("\n", 0, match.start()) + 1
            yield Call(f"{file}:{line}", match[1], arguments(text[match.end() :]))


def aliases() -> dict[str, list[str]]:
    """Return the names that the C side gives to members of several machines."""
    found: dict[str, list[str]] = {}
    for text in sources().values():
        for alias, name in re.findall(r"#define OFFSETOF_(\w+) OFFSETOF_(\w+)", text):
            found.setdefault(alias, []).append(name)
    return found


def sizes(name: str) -> list[int]:
    """Return the size of a member, or of each that an alias stands for."""
    return [READS[each][0] for each in aliases().get(name, [name])]


def arguments(text: str) -> list[str]:
    """Split what stands behind an opening parenthesis at commas, up to the one that closes it."""
    found, depth = [""], 1
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if not depth:
            break
        if character == "," and depth == 1:
            found.append("")
        else:
            found[-1] += character
    return [" ".join(argument.split()) for argument in found]


def test_no_read_takes_more_bytes_than_its_member_has() -> None:
    """Fewer is the low half: both machines are little-endian."""
    found = [
        (call, size)
        for call in calls("READ", "FIELD", "HEAD", "CALL_FIELD", "TRACED")
        if call.member
        for size in sizes(call.member)
    ]
    assert len(found) > 80
    assert not [call for call, size in found if _SIZES[call.arguments[0]] > size]


def test_every_copied_address_has_sixteen_bytes() -> None:
    found = {call.member for call in calls("COPY_ADDRESS") if call.member}
    assert found == {"SKC_V6_RCV_SADDR", "SKC_V6_DADDR"}
    assert [sizes(name) for name in found] == [[16], [16]]


def test_only_arrays_are_copied_whole() -> None:
    found = {
        call.arguments[-1] for call in calls("read_kernel") if "OFFSETOF" in call.arguments[-1]
    }
    assert found == {"leader + OFFSETOF_TASK_COMM", "address + OFFSETOF_UNIX_ADDRESS_NAME + 2"}


def test_the_c_side_and_the_loader_name_the_same_members() -> None:
    text = "".join(sources().values())
    named = set(re.findall(r"OFFSETOF_([A-Z]\w+)", text))
    named |= {call.arguments[-1] for call in calls("BITS")}
    assert named == {*READS, *_BITS, "SK_KIND", *aliases()}
