"""Record what the loader asks of BTF, of many kernels, for the unit tests.

    .venv/bin/python -m tests.kernels.record_btf FILE...

Each FILE is a kernel image (vmlinuz of x86-64 or arm64), or raw BTF: /sys/kernel/btf/vmlinux of the
running kernel, or a file in a directory that is named after the kernel and may also hold its
lib/modules, for the file systems that are modules. Needs zstd or lz4 for an
image that is compressed so.
"""

from __future__ import annotations

import argparse
import contextlib
import lzma
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pbmond.loader.btf import MODULES, Btf, BtfError
from tests.kernels.recorded_btf import TABLE, Question, questions, write

_HEADER = struct.Struct("<HBBIIIII")  # struct btf_header of include/uapi/linux/btf.h
_MAGIC = b"\x9f\xeb\x01\x00"  # with version and flags
_RELEASE = re.compile(rb"Linux version (\S+) ")


class NoKernelError(Exception):
    """A file without BTF; the message says which."""


def main() -> None:
    """Write the table for the files that the command line names."""
    parser = argparse.ArgumentParser(
        prog="record_btf", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path)
    try:
        record(parser.parse_args().files)
    except (NoKernelError, BtfError, OSError) as error:
        sys.exit(f"record_btf: {error}")


def record(files: list[Path]) -> None:
    """Ask every kernel what any of them is asked, and write it all down."""
    kernels = dict(sorted((read(path) for path in files), key=lambda kernel: _order(kernel[0])))
    machines = {name: _machine(btf) for name, btf in kernels.items()}
    asked: set[Question] = set()
    for name, btf in kernels.items():
        asked |= questions(btf, machines[name])
    write(machines, {question: _answers(question, list(kernels.values())) for question in asked})
    print(f"{TABLE}: {len(asked)} questions, {len(kernels)} kernels, {TABLE.stat().st_size} bytes")


def _answers(question: Question, kernels: list[Btf]) -> list[Any]:
    method, *arguments = question
    answers = [getattr(btf, method)(*arguments) for btf in kernels]
    if method != "member":
        return answers
    # Few members are bit fields: for the others, offset and size say it all.
    return [found and (found if found.width else found[:2]) for found in answers]


def read(path: Path) -> tuple[str, Btf]:
    """Return the release of a kernel, and its BTF."""
    data = path.read_bytes()
    if data.startswith(_MAGIC):
        # What a distribution adds to the version names no kernel that others could get.
        running = platform.release().partition("-")[0]
        is_running = path.is_relative_to("/sys/kernel/btf")
        btf = Btf(str(path))
        if is_running:
            btf.add_modules(str(path.parent))
        else:
            _add_modules(btf, path.parent / "lib/modules")
        return running if is_running else path.absolute().parent.name, btf
    for image in _images(data):
        release, types = _RELEASE.search(image), _section(image)
        if release and types:
            with tempfile.NamedTemporaryFile() as file:
                file.write(types)
                file.flush()
                return release[1].decode(), Btf(file.name)
    raise NoKernelError(f"{path} is no kernel image with BTF")


def _add_modules(btf: Btf, modules: Path) -> None:
    """Add the types of the file systems in a package's folder, as if they were loaded."""
    with tempfile.TemporaryDirectory() as folder:
        for name in MODULES:
            for path in modules.glob(f"*/kernel/fs/**/{name}.ko*"):
                for image in _images(path.read_bytes()):
                    if section := _section(image):
                        Path(folder, name).write_bytes(section)
        btf.add_modules(folder)


def _images(data: bytes) -> Iterator[bytes]:
    """Yield the image as it is, and whatever in it can be decompressed."""
    yield data
    for magic, decompress in _PACKERS.items():
        for match in re.finditer(re.escape(magic), data):
            with contextlib.suppress(lzma.LZMAError, zlib.error):
                yield decompress(data[match.start() :])


def _xz(packed: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(packed)


def _gzip(packed: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(packed)


def _zstd(packed: bytes) -> bytes:
    return _run("zstd", packed)


def _lz4(packed: bytes) -> bytes:
    return _run("lz4", packed)


def _run(program: str, packed: bytes) -> bytes:
    """Decompress; what stands behind the packed data makes the program fail in the end."""
    path = shutil.which(program)
    if path is None:
        raise NoKernelError(f"{program} is not installed, and an image is compressed by it")
    return subprocess.run([path, "-dcq"], input=packed, capture_output=True, check=False).stdout


_PACKERS = {
    b"\xfd7zXZ\0": _xz,
    b"\x1f\x8b\x08": _gzip,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\x02\x21\x4c\x18": _lz4,
}


def _section(image: bytes) -> bytes | None:
    """Find the section .BTF by its header, without the ELF file around it; the largest wins."""
    found = b""
    for match in re.finditer(re.escape(_MAGIC), image):
        at = match.start()
        if at + _HEADER.size > len(image):
            continue
        _, _, _, header, type_at, type_size, text_at, text_size = _HEADER.unpack_from(image, at)
        if header >= _HEADER.size and type_at == 0 and type_size == text_at:
            found = max(found, image[at : at + header + text_at + text_size], key=len)
    return found or None


def _machine(btf: Btf) -> str:
    return "aarch64" if btf.member("pt_regs", "orig_x0") else "x86_64"


def _order(release: str) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", release)[:3]], release


if __name__ == "__main__":
    main()
