"""Measures for how long each symbol's feature rows have arrived without a forecast; pure."""

import threading

LogPosition = tuple[int, int]


class ForecastProgress:
    """Compares the newest feature row with the newest one forecast; positions are (epoch, seq).

    >>> progress = ForecastProgress()
    >>> [progress.overdue_s("BTC/USD", (1, seq), now=float(seq)) for seq in (1, 2, 3)]
    [0.0, 1.0, 2.0]
    >>> progress.stored("BTC/USD", (1, 2))
    >>> progress.overdue_s("BTC/USD", (1, 4), now=4.0)
    0.0
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stored: dict[str, LogPosition] = {}
        self._waits: dict[str, tuple[float, LogPosition]] = {}

    def stored(self, symbol: str, position: LogPosition) -> None:
        """Records that a row has its forecast, which restarts the measurement."""
        with self._lock:
            self._stored[symbol] = position
            self._waits.pop(symbol, None)

    def overdue_s(self, symbol: str, newest: LogPosition, now: float) -> float:
        """Seconds since rows were first seen waiting; 0 while there is only one, which the API may refuse.

        Args:
            newest: position of the symbol's newest feature row.
            now: the monotonic clock.
        """
        with self._lock:
            if newest <= self._stored.get(symbol, (-1, -1)):
                self._waits.pop(symbol, None)
                return 0.0
            since, first = self._waits.setdefault(symbol, (now, newest))
            return now - since if newest > first else 0.0
