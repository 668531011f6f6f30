"""Latest-value store for the page: slow readers skip intermediate updates but always get the newest."""

import threading
from dataclasses import dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Update:
    """One update: kind of event, key, and the newest state as JSON."""

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
        """Whether the store is closed, so that no update follows."""
        return self._closed

    def post(self, event: str, key: str, data: object) -> None:
        """Stores JSON-able ``data`` as the newest state of ``(event, key)``."""
        encoded = orjson.dumps(data, option=orjson.OPT_UTC_Z)
        with self._changed:
            self._serial += 1
            self._entries[event, key] = Update(self._serial, event, key, encoded)
            self._changed.notify_all()

    def since(self, serial: int, timeout_s: float) -> list[Update]:
        """Updates after ``serial`` (0: all), oldest first; empty on a timeout."""
        with self._changed:
            self._changed.wait_for(lambda: self._serial > serial or self._closed, timeout_s)
            return sorted((n for n in self._entries.values() if n.serial > serial), key=lambda n: n.serial)

    def close(self) -> None:
        """Wakes all waiting readers."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
