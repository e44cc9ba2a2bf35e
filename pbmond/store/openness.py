"""Which connections and files are open, by the descriptors that /proc lists."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pbmond.kernel.records import FLAG_OTHER_DEVICE
from pbmond.store.rows import ANY_DEVICE, Opened, RowTable

#: Slots whose descriptors were listed, slots of which that is not known, and (slot, inode, device)
#: of each descriptor.
Listed = tuple[list[int], list[int], NDArray[np.uint64]]


def set_open(flows: RowTable, files: RowTable, listed: Listed, socket_device: int) -> None:
    """Tell each row of the listed slots whether it is open."""
    known, unknown, opened = listed
    # Sockets have one device, and their rows only numbers below it.
    is_socket = opened[:, 2] == socket_device
    unsure = (files.state.counters["flags"] & FLAG_OTHER_DEVICE) != 0
    for table, inodes, devices, entries in (
        (
            flows,
            flows.state.counters["detail"],
            np.full(len(flows.state.counters), socket_device, np.uint32),
            opened[is_socket],
        ),
        (
            files,
            files.state.keys["inode"],
            np.where(unsure, ANY_DEVICE, files.state.counters["device"]),
            opened[~is_socket],
        ),
    ):
        slots, numbers, of = entries.T
        table.set_open(
            inodes.astype(np.uint64),
            devices,
            Opened(
                np.array(known, np.int32),
                np.array(unknown, np.int32),
                slots.astype(np.int32),
                numbers,
                of.astype(np.uint32),
            ),
        )
