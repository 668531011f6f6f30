"""A position in a partition of the log; pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Position:
    """A partition's position: all messages below ``(epoch, offset)`` are processed."""

    epoch: int
    offset: int
