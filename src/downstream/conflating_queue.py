"""A queue of feature rows to forecast: in order, each once; under overload it keeps the newest row per symbol."""

import threading

from lakehouse.records import FeatureRow


class ConflatingQueue:
    """Passes rows from the thread that reads Redis to the one that requests forecasts.

    Args:
        most: maximum queue length; beyond it, all rows except the newest of each symbol are skipped and counted.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[FeatureRow] = []
        self._newest: dict[str, tuple[int, int]] = {}
        self._changed = threading.Condition()

    def put(self, row: FeatureRow) -> int:
        """Adds a row, unless it or a newer one of its symbol was here before (the key repeats the channel).

        Returns:
            The number of queued rows skipped for it.
        """
        order = (row.epoch, row.seq)
        with self._changed:
            if order <= self._newest.get(row.symbol, (-1, -1)):
                return 0
            self._newest[row.symbol] = order
            self._waiting.append(row)
            skipped = 0
            if len(self._waiting) > self._most:
                newest = {waiting.symbol: waiting.seq for waiting in self._waiting}
                kept = [waiting for waiting in self._waiting if waiting.seq == newest[waiting.symbol]]
                skipped = len(self._waiting) - len(kept)
                self._waiting = kept
            self._changed.notify()
            return skipped

    def take(self, most: int, timeout_s: float) -> list[FeatureRow]:
        """Up to ``most`` rows, oldest first; empty if none arrives in time."""
        with self._changed:
            if not self._waiting:
                self._changed.wait(timeout_s)
            taken, self._waiting = self._waiting[:most], self._waiting[most:]
            return taken
