"""What people call a container, and how the helper says it: a packet for each question and answer.

Both are texts of bounded length behind a number that tells which question is answered. The helper
reads files that others have a say in, so its answers are checked like anybody's.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass, fields, replace
from typing import Final

#: The longest text of an answer, in bytes; longer ones are cut. Kubernetes allows 253, images 255
#: and a digest.
TEXT_BYTES: Final = 512
#: The longest cgroup path that is asked about.
PATH_BYTES: Final = 4096

_NUMBER: Final = struct.Struct("<I")
_SIZE: Final = struct.Struct("<h")  # -1: not known


class AnswerError(ValueError):
    """A packet is not what ``pack_question`` or ``pack_answer`` writes."""


@dataclass(frozen=True, slots=True)
class ContainerNames:
    """What a container is called; None is not known, or that there is no such thing.

    ``pod`` and ``namespace`` are those of Kubernetes; podman has pods too, without a namespace.
    """

    container_name: bytes | None = None
    image: bytes | None = None
    pod: bytes | None = None
    namespace: bytes | None = None

    def __bool__(self) -> bool:
        return any(astuple(self))

    def or_else(self, other: ContainerNames) -> ContainerNames:
        """Return these names, and those of ``other`` where these are not known."""
        gaps = {name: getattr(other, name) for name in NAMES if getattr(self, name) is None}
        return replace(self, **gaps)


#: A container, and a user who has processes in it.
Owner = tuple[bytes, int]
NAMES: Final = tuple(field.name for field in fields(ContainerNames))
NONE: Final = ContainerNames()
PACKET_BYTES: Final = _NUMBER.size + max(PATH_BYTES, len(NAMES) * (_SIZE.size + TEXT_BYTES))


def pack_question(number: int, cgroup: bytes) -> bytes:
    """Return the packet that asks who the container of a cgroup is."""
    return _NUMBER.pack(number) + cgroup


def unpack_question(packet: bytes) -> tuple[int, bytes]:
    """Return number and cgroup of a question; AnswerError if it has none."""
    if not _NUMBER.size < len(packet) <= PACKET_BYTES:
        raise AnswerError(f"a question of {len(packet)} bytes")
    return _NUMBER.unpack_from(packet)[0], packet[_NUMBER.size :]


def pack_answer(number: int, names: ContainerNames) -> bytes:
    """Return the packet that answers question ``number``."""
    parts = [_NUMBER.pack(number)]
    for text in astuple(names):
        parts.append(_SIZE.pack(-1 if text is None else len(text)))
        parts.append(text or b"")
    return b"".join(parts)


def unpack_answer(packet: bytes) -> tuple[int, ContainerNames]:
    """Return number and names of an answer. AnswerError unless ``pack_answer`` could write it."""
    if not _NUMBER.size <= len(packet) <= PACKET_BYTES:
        raise AnswerError(f"an answer of {len(packet)} bytes")
    at = _NUMBER.size
    texts: list[bytes | None] = []
    for _ in NAMES:
        if at + _SIZE.size > len(packet):
            raise AnswerError("an answer that ends early")
        (size,) = _SIZE.unpack_from(packet, at)
        at += _SIZE.size
        if not -1 <= size <= TEXT_BYTES or size == 0 or at + max(size, 0) > len(packet):
            raise AnswerError(f"a text of {size} bytes")
        texts.append(None if size < 0 else packet[at : at + size])
        at += max(size, 0)
    if at != len(packet):
        raise AnswerError("an answer with stray bytes")
    return _NUMBER.unpack_from(packet)[0], ContainerNames(*texts)
