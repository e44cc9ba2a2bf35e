"""BTF built by hand, read through libbpf: members, sizes and bit fields; images that hold it."""

from __future__ import annotations

import gzip
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from pbmond.loader.btf import Btf, BtfError, Member
from tests.kernels.record_btf import NoKernelError, read

INT, PTR, ARRAY, STRUCT, UNION, TYPEDEF, FUNC, FUNC_PROTO = 1, 2, 3, 4, 5, 8, 12, 13


class Builder:
    """Types of include/uapi/linux/btf.h, numbered from 1 as they are added."""

    def __init__(self) -> None:
        self._types = b""
        self._text = b"\0"
        self._count = 0

    def _name(self, name: str) -> int:
        at = len(self._text) if name else 0
        self._text += name.encode() + b"\0" if name else b""
        return at

    def add(self, kind: int, name: str, size_or_type: int, *rest: int, count: int = 0) -> int:
        """Add a type with what stands behind it in words."""
        head = (self._name(name), kind << 24 | count, size_or_type)
        self._types += struct.pack(
            f"<{3 + len(rest)}I", *(word & 0xFFFFFFFF for word in head + rest)
        )
        self._count += 1
        return self._count

    def structure(self, name: str, size: int, *members: tuple[str, int, int, int]) -> int:
        """Add a structure of (name, type, offset in bits, width of a bit field)."""
        return self._aggregate(STRUCT, name, size, members)

    def union(self, name: str, size: int, *members: tuple[str, int, int, int]) -> int:
        return self._aggregate(UNION, name, size, members)

    def _aggregate(
        self, kind: int, name: str, size: int, members: tuple[tuple[str, int, int, int], ...]
    ) -> int:
        has_bits = any(width for *_, width in members)
        words = [
            word
            for member, of, offset, width in members
            for word in (self._name(member), of, offset | width << 24)
        ]
        return self.add(kind | has_bits << 7, name, size, *words, count=len(members))

    def bytes(self) -> bytes:
        sizes = (0, len(self._types), len(self._types), len(self._text))
        return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, *sizes) + self._types + self._text


def built() -> bytes:
    """Return the BTF of a small kernel: a sock as old kernels have it, and a tracepoint."""
    btf = Builder()
    u8 = btf.add(INT, "unsigned char", 1, 8)
    u32 = btf.add(INT, "unsigned int", 4, 32)
    pointer = btf.add(PTR, "", 0)
    size_t = btf.add(TYPEDEF, "size_t", u32)
    name = btf.add(ARRAY, "", 0, u8, u32, 16)
    inner = btf.union("", 8, ("address", pointer, 0, 0), ("number", u32, 0, 0))
    head = btf.structure("head", 24, ("", inner, 0, 0), ("name", name, 64, 0))
    sock = btf.structure(
        "sock",
        48,
        ("common", head, 0, 0),
        ("length", size_t, 192, 0),
        ("kern", u8, 224, 1),
        ("locks", u8, 228, 4),
        ("wide", u32, 230, 12),
        ("", inner, 256, 0),
    )
    sock_pointer = btf.add(PTR, "", sock)
    prototype = btf.add(FUNC_PROTO, "", 0, 0, pointer, 0, sock_pointer, 0, u32, count=3)
    btf.add(TYPEDEF, "btf_trace_sent", btf.add(PTR, "", prototype))
    btf.add(FUNC, "send_it", prototype)
    return btf.bytes()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Btf:
    path = tmp_path_factory.mktemp("btf") / "vmlinux"
    path.write_bytes(built())
    return Btf(str(path))


@pytest.mark.parametrize(
    ("path", "member"),
    [
        ("length", Member(24, 4)),
        ("common", Member(0, 24)),
        ("common.name", Member(8, 16)),
        ("common.address", Member(0, 8)),
        ("address", Member(32, 8)),
        ("number", Member(32, 4)),
        ("kern", Member(28, 1, 0, 1)),
        ("locks", Member(28, 1, 4, 4)),
        ("wide", Member(28, 3, 6, 12)),
        ("gone", None),
        ("length.inner", None),
    ],
)
def test_a_member_is_found_with_size_and_bits(
    kernel: Btf, path: str, member: Member | None
) -> None:
    assert kernel.member("sock", path) == member


def test_types_are_found_by_name_and_kind(kernel: Btf) -> None:
    assert kernel.size("sock") == 48
    assert kernel.structure("sock")
    assert kernel.function("send_it")
    assert kernel.structure("send_it") is None
    assert kernel.member("file", "f_mode") is None
    assert kernel.size("file") is None


def test_a_tracepoint_lists_its_parameters_except_the_first(kernel: Btf) -> None:
    assert kernel.tracepoint_parameters("sent") == ["sock", ""]
    assert kernel.tracepoint_parameters("received") is None


def test_no_btf_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BtfError, match="nothing is not BTF"):
        Btf(str(tmp_path / "nothing"))


@pytest.mark.parametrize("packed", [bytes, lzma.compress, gzip.compress])
def test_the_recorder_finds_btf_in_a_kernel_image(
    packed: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    image = b"\x7fELF...Linux version 9.9.9-test (builder@host) #1\0" + built() + b"more"
    (tmp_path / "vmlinuz").write_bytes(b"MZ, \x1f\x8b\x08 and so on" + packed(image) + b"trailer")
    release, btf = read(tmp_path / "vmlinuz")
    assert release == "9.9.9-test"
    assert btf.member("sock", "length") == Member(24, 4)


def test_the_recorder_names_raw_btf_by_its_directory(tmp_path: Path) -> None:
    (tmp_path / "6.1.0-1-amd64").mkdir()
    (tmp_path / "6.1.0-1-amd64" / "btf").write_bytes(built())
    assert read(tmp_path / "6.1.0-1-amd64" / "btf")[0] == "6.1.0-1-amd64"


def test_the_recorder_refuses_an_image_without_btf(tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(lzma.compress(b"Linux version 9.9.9-test ("))
    with pytest.raises(NoKernelError, match="vmlinuz is no kernel image with BTF"):
        read(tmp_path / "vmlinuz")
