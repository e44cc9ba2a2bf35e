"""Offsets of kernel structure members, read from the running kernel's BTF through libbpf.

Used by the loader only: any Python >= 3.9, standard library and libbpf.so (bcc depends on it).
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

VMLINUX = "/sys/kernel/btf/vmlinux"
#: Modules whose types the loader looks at, too, if they are loaded.
MODULES = ("btrfs", "ceph", "cifs", "fuse", "nfs", "overlay")

_LIBRARIES = ("libbpf.so.1", "libbpf.so.0", "libbcc_bpf.so.0")
_STRUCT, _UNION, _TYPEDEF, _FUNC, _VAR = 4, 5, 8, 12, 14
_PTR, _FUNC_PROTO = 2, 13
_TRANSPARENT = (_TYPEDEF, 9, 10, 11, 18)  # and volatile, const, restrict, type tag


class BtfError(Exception):
    """BTF cannot be read; the message says why in one line."""


class Member(NamedTuple):
    """Where a member of a structure lies.

    A bit field has a ``width`` in bits, and begins ``shift`` bits above the lowest of the byte at
    ``offset``; both are 0 for every other member.
    """

    offset: int  # in bytes, from the beginning of the structure
    size: int  # in bytes; of a bit field, of the bytes that hold some of it
    shift: int = 0
    width: int = 0


class _BtfType(ctypes.Structure):
    """struct btf_type of include/uapi/linux/btf.h."""

    _fields_ = (
        ("name_off", ctypes.c_uint32),
        ("info", ctypes.c_uint32),
        ("size_or_type", ctypes.c_uint32),
    )

    @property
    def kind(self) -> int:
        return int(self.info >> 24 & 31)

    @property
    def count(self) -> int:
        return int(self.info & 0xFFFF)


class _BtfMember(ctypes.Structure):
    """struct btf_member; `offset` in bits, its top byte a width if the structure has bit fields."""

    _fields_ = (
        ("name_off", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
    )


class _BtfParameter(ctypes.Structure):
    """struct btf_param."""

    _fields_ = (("name_off", ctypes.c_uint32), ("type", ctypes.c_uint32))


def _library() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.libbpf_set_print(None)  # its messages would mix with our one line on stderr
        library.btf__parse.restype = ctypes.c_void_p
        library.btf__parse.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
        if hasattr(library, "btf__parse_split"):  # libbpf 0.3
            library.btf__parse_split.restype = ctypes.c_void_p
            library.btf__parse_split.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
        library.btf__find_by_name_kind.argtypes = (
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_uint32,
        )
        library.btf__type_by_id.restype = ctypes.c_void_p
        library.btf__type_by_id.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        library.btf__resolve_size.restype = ctypes.c_int64
        library.btf__resolve_size.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        library.btf__name_by_offset.restype = ctypes.c_char_p
        library.btf__name_by_offset.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        return library
    raise BtfError("libbpf is missing: install libbpf1 (Debian, Ubuntu) or libbpf (Fedora)")


class Btf:
    """The types of a kernel: one BTF file, and those of modules that were added."""

    def __init__(self, path: str = VMLINUX, base: Btf | None = None) -> None:
        """Parse ``path``; a module's needs the kernel's as ``base``.

        BtfError if libbpf or the file is missing.
        """
        self._library: ctypes.CDLL = base._library if base else _library()
        self._modules: list[Btf] = []
        self._btf: int = self._parse(path.encode(), base)
        # libbpf 0.x returns an ERR_PTR where 1.x returns NULL.
        if not self._btf or self._btf >= 2**64 - 4095:
            raise BtfError(f"{path} is not BTF, or broken: is something mounted over it?")

    def _parse(self, path: bytes, base: Btf | None) -> int:
        if base is None:
            return self._library.btf__parse(path, None) or 0
        if not hasattr(self._library, "btf__parse_split"):
            return 0
        return self._library.btf__parse_split(path, base._btf) or 0

    def add_modules(self, directory: str = str(Path(VMLINUX).parent)) -> None:
        """Add the types of MODULES, as far as ``directory`` has them; sizes and members only."""
        for name in MODULES:
            path = Path(directory, name)
            if path.exists():
                with suppress(BtfError):
                    self._modules.append(Btf(str(path), self))

    def _type(self, identifier: int) -> tuple[_BtfType, int]:
        address = self._library.btf__type_by_id(self._btf, identifier)
        return _BtfType.from_address(address), address + ctypes.sizeof(_BtfType)

    def _find(self, name: str, kind: int) -> int:
        return max(0, int(self._library.btf__find_by_name_kind(self._btf, name.encode(), kind)))

    def _resolve(self, identifier: int) -> int:
        """Follow typedefs and qualifiers to the type they stand for."""
        while True:
            kind, _ = self._type(identifier)
            if kind.kind not in _TRANSPARENT:
                return identifier
            identifier = kind.size_or_type

    def _members(self, identifier: int) -> Iterator[tuple[str, int, int, int]]:
        """Yield (name, type, offset in bits, width of a bit field) of a structure or union."""
        kind, address = self._type(identifier)
        for index in range(kind.count):
            member = _BtfMember.from_address(address + index * ctypes.sizeof(_BtfMember))
            name = self._library.btf__name_by_offset(self._btf, member.name_off) or b""
            has_bit_fields = kind.info >> 31
            offset = member.offset & 0xFFFFFF if has_bit_fields else member.offset
            yield name.decode(), member.type, offset, member.offset >> 24 if has_bit_fields else 0

    def size(self, name: str) -> int | None:
        """Return the size of a structure in bytes, or None if there is none of that name."""
        for btf in (self, *self._modules):
            if identifier := btf._find(name, _STRUCT):
                return int(btf._type(identifier)[0].size_or_type)
        return None

    def member(self, structure: str, path: str) -> Member | None:
        """Find a member (``a.b.c``, also inside anonymous members), or return None."""
        for btf in (self, *self._modules):
            if found := btf._own_member(structure, path):
                return found
        return None

    def _own_member(self, structure: str, path: str) -> Member | None:
        identifier = self._find(structure, _STRUCT)
        total = width = 0
        for name in path.split("."):
            found = self._member(identifier, name) if identifier else None
            if found is None:
                return None
            identifier, bits, width = found
            total += bits
        offset, shift = divmod(total, 8)
        if width:
            return Member(offset, (shift + width + 7) // 8, shift, width)
        return Member(offset, max(0, self._library.btf__resolve_size(self._btf, identifier)))

    def _member(self, identifier: int, wanted: str) -> tuple[int, int, int] | None:
        """Return (type, offset in bits, width of a bit field) of a member, or None."""
        kind, _ = self._type(identifier)
        if kind.kind not in (_STRUCT, _UNION):
            return None
        for name, member, offset, width in self._members(identifier):
            if name == wanted:
                return self._resolve(member), offset, width
            found = None if name else self._member(self._resolve(member), wanted)
            if found is not None:
                return found[0], offset + found[1], found[2]
        return None

    def function(self, name: str) -> int | None:
        """Return the id of a kernel function, or None if there is none of that name."""
        return self._find(name, _FUNC) or None

    def prototype(self, function: int) -> int:
        """Return the id of the prototype of the function with this id."""
        return int(self._type(function)[0].size_or_type)

    def structure(self, name: str) -> int | None:
        """Return the id of a structure, or None if there is none of that name."""
        return self._find(name, _STRUCT) or None

    def variable(self, name: str) -> int | None:
        """Return the id of a per-CPU variable, or None if there is none of that name."""
        return self._find(name, _VAR) or None

    def tracepoint_parameters(self, name: str) -> list[str] | None:
        """Return the structures that a tracepoint's parameters point to ("" for other types).

        The first parameter, the hook's private data, is left out. None: no such tracepoint.
        """
        identifier = self._find(f"btf_trace_{name}", _TYPEDEF)
        if not identifier:
            return None
        for kind in (_PTR, _FUNC_PROTO):
            identifier = self._resolve(self._type(identifier)[0].size_or_type)
            if self._type(identifier)[0].kind != kind:
                return None
        prototype, address = self._type(identifier)
        step = ctypes.sizeof(_BtfParameter)
        parameters = range(address + step, address + prototype.count * step, step)
        return [self._pointed(_BtfParameter.from_address(where).type) for where in parameters]

    def _pointed(self, identifier: int) -> str:
        kind, _ = self._type(self._resolve(identifier))
        if kind.kind != _PTR or not kind.size_or_type:
            return ""
        target, _ = self._type(self._resolve(kind.size_or_type))
        name = self._library.btf__name_by_offset(self._btf, target.name_off) or b""
        return str(name.decode())
