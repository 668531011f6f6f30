"""The newest of everything the page shows, for any number of readers: a slow one misses the middle, never the end."""

import threading
from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Update:
    """One thing that changed: the kind of event, what it is about, and the JSON of its newest state."""

    serial: int
    event: str
    key: str
    data: bytes


class LatestValues:
    """Holds one entry per (event, key); readers ask for what changed since they last looked.

    >>> board = LatestValues()
    >>> board.post("price", "BTC/USD", {"bid": 1}); board.post("price", "BTC/USD", {"bid": 2})
    >>> [news.data for news in board.since(0, timeout_s=0)]
    [b'{"bid":2}']
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Update] = {}
        self._serial = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def closed(self) -> bool:
        """No more news will come."""
        return self._closed

    def post(self, event: str, key: str, data: object) -> None:
        """Replaces what is known of ``(event, key)`` by JSON-able ``data``."""
        encoded = orjson.dumps(data, option=orjson.OPT_UTC_Z)
        with self._changed:
            self._serial += 1
            self._entries[event, key] = Update(self._serial, event, key, encoded)
            self._changed.notify_all()

    def since(self, serial: int, timeout_s: float) -> list[Update]:
        """What changed after ``serial`` (0: everything), oldest first; empty when nothing did in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._serial > serial or self._closed, timeout_s)
            return sorted((n for n in self._entries.values() if n.serial > serial), key=lambda n: n.serial)

    def close(self) -> None:
        """Lets every waiting reader go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
