"""Distinguishes bad rows from a bad table: a few refused rows are dead letters, many stop the consumer; pure."""

from collections import deque

from lakehouse.errors import FatalError, PoisonError

MAX_REFUSED = 20
MAX_REFUSED_SHARE = 0.01
# Batches may hold one row each, so refusals are counted over this many rows, or over the current batch if larger.
WINDOW_ROWS = 10_000


class RefusalLimit:
    """Counts the rows that one table refuses; not thread-safe.

    >>> limit = RefusalLimit("bronze_quotes")
    >>> limit.offer(5000)
    >>> for _ in range(50): limit.refuse(PoisonError("refused", "one bad row"))
    """

    def __init__(self, table: str) -> None:
        self._table = table
        self._offered: deque[int] = deque()
        self._refused: deque[int] = deque()

    def offer(self, rows: int) -> None:
        """Records that rows are about to be written."""
        self._offered.append(rows)
        self._refused.append(0)
        while sum(self._offered) - self._offered[0] >= WINDOW_ROWS:
            self._offered.popleft()
            self._refused.popleft()

    def refuse(self, error: PoisonError) -> None:
        """Records that one of the rows offered last was refused.

        Raises:
            FatalError: too many were refused recently for the rows to be the cause.
        """
        self._refused[-1] += 1
        refused, offered = sum(self._refused), sum(self._offered)
        if refused > MAX_REFUSED and refused > MAX_REFUSED_SHARE * offered:
            raise FatalError(
                f"QuestDB refused {refused} of the last {offered} rows of {self._table}, more than single bad rows "
                f"explain; stopped before more become dead letters: compare its columns with "
                f"docs/data-dictionary.md; {error}"
            )
