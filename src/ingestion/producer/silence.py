"""Silence of the feed in the feed's own time, which a backlog cannot hide as it hides silence on arrival; pure."""

from datetime import datetime, timedelta

# The longest pause between two heartbeats of a healthy connection (998 to 1026 ms were measured).
MAX_BEAT = timedelta(seconds=1.03)
# How far the exchange's time may run ahead of the heartbeats: one that is due, and data that is late by seconds.
MAX_UNTOLD = timedelta(seconds=5)


class FeedClock:
    """Compares how far the exchange's time moved between two frames with the heartbeats that came between them.

    Kraken sends a heartbeat a second whatever the traffic. A span of frames that never came lacks its heartbeats too,
    however late the frames around it are read. Pongs carry the exchange's time, so a quiet market has times as well.

    >>> from datetime import UTC
    >>> clock, at = FeedClock(), datetime(2026, 9, 25, tzinfo=UTC)
    >>> clock.data(at)
    >>> for _ in range(8):
    ...     clock.heartbeat()
    >>> clock.data(at + timedelta(seconds=9))
    >>> clock.data(at + timedelta(seconds=22))
    datetime.timedelta(seconds=13)
    """

    def __init__(self) -> None:
        self._newest: datetime | None = None
        self._beats = 0

    def opened(self) -> None:
        """A new connection, or one whose frames stopped for a reason: nothing before it counts."""
        self._newest, self._beats = None, 0

    def heartbeat(self) -> None:
        """A heartbeat came."""
        self._beats += 1

    def data(self, ts: datetime) -> timedelta | None:
        """Live data of that exchange time came; how much time was skipped before it, None where that is tolerable."""
        if self._newest is None:
            self._newest, self._beats = ts, 0
        return self._advance(ts)

    def pong(self, ts: datetime) -> timedelta | None:
        """As `data`, for a pong; heartbeats begin with the first subscription, so pongs before any data say nothing."""
        return None if self._newest is None else self._advance(ts)

    def _advance(self, ts: datetime) -> timedelta | None:
        if self._newest is None or ts <= self._newest:
            return None
        untold = ts - self._newest - self._beats * MAX_BEAT
        self._newest, self._beats = ts, 0
        return untold if untold > MAX_UNTOLD else None
