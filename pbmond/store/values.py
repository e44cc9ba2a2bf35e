"""Which counters of a process the counters of the kernel's rows add to."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pbmond.fields import CLASSES, CONNECTIONS, COUNTERS, TABLES

_PLACE: Final = "counter."  # where the table of fields says that the kernel keeps it
#: The cumulative counters of a kernel row: bytes in and out first.
VALUES: Final = tuple(
    field.store.removeprefix(_PLACE) for field in CONNECTIONS if field.kind == "counter"
)


def _row(value: str, byte_class: str) -> int:
    """Return the index in COUNTERS of what a value of a row of that class adds to."""
    fields = (TABLES["processes"][name] for name in COUNTERS)
    (row,) = (
        row
        for row, field in enumerate(fields)
        if field.store == _PLACE + value and field.byte_class in (byte_class, None)
    )
    return row


#: By class and value, the index in COUNTERS.
ROWS: Final[NDArray[np.intp]] = np.array(
    [[_row(value, name) for value in VALUES] for name in CLASSES], np.intp
)


def values_of(counters: NDArray[np.void]) -> NDArray[np.uint64]:
    """Copy the cumulative counters of each row to (rows, len(VALUES))."""
    values = np.empty((len(counters), len(VALUES)), np.uint64)
    for column, name in enumerate(VALUES):
        values[:, column] = counters[name]
    return values
