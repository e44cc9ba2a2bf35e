"""The part of a FUSE server that all of the tests' servers have in common, as a program's text."""

from __future__ import annotations

from typing import Final

#: Serves ``device`` in a child, ``server``, by ``answer(opcode, node, body)``: bytes, or None for
#: ENOSYS. It needs os and struct.
SERVE: Final = """
server = os.fork()
if not server:
    while True:
        request = os.read(device, 1 << 18)
        _, opcode, unique, node = struct.unpack_from("=2I2Q", request)
        if opcode not in (2, 42):  # FORGET and BATCH_FORGET
            found = answer(opcode, node, request[40:])
            error = -38 if found is None else 0
            found = found or b""
            os.write(device, struct.pack("=IiQ", 16 + len(found), error, unique) + found)
"""
