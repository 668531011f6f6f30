"""Where a partition of the log stands; pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """Where a partition stands: all of its messages below ``(epoch, offset)`` are done."""

    epoch: int
    offset: int
