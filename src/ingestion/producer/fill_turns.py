"""Which page of which hole is asked for next, so that no hole waits for the end of a long one; pure."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingestion.completeness.id_gaps import Hole

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def since_ns(ts: datetime) -> int:
    """Where REST is asked to begin for trades after one at ``ts``: a millisecond before it, as REST's times differ."""
    return ((ts - _EPOCH) // timedelta(microseconds=1) - 1000) * 1000


@dataclass(frozen=True, slots=True)
class FillJob:
    """A hole being filled: from where the next page is asked, and whether the lake's ledger reported it."""

    hole: Hole
    since: int
    audited: bool = False


class FillTurns:
    """One symbol's turns: a live hole not yet asked about, a page of a long live hole, a page of the ledger's holes.

    The three take turns, long holes among themselves too: where new holes come as fast as they are filled, or one has
    millions of ids, all the others still go on.
    """

    def __init__(self) -> None:
        self._live: deque[FillJob] = deque()
        self._ledger: deque[FillJob] = deque()
        self._turn = 0

    def next(self, live: Sequence[Hole], reported: list[Hole]) -> FillJob | None:
        """The job whose next page is due.

        Args:
            live: holes above what this process knows, in the order in which to begin them.
            reported: holes of the lake's ledger; what is begun is taken out of it.
        """
        choices = (
            lambda: self._fresh(live),
            lambda: self._ledgers(reported),
            lambda: self._live.popleft() if self._live else None,
        )
        for step in range(len(choices)):
            turn = (self._turn + step) % len(choices)
            if (job := choices[turn]()) is not None:
                self._turn = turn + 1
                return job
        return None

    def go_on(self, job: FillJob) -> None:
        """The job wants another page: after those of the other long holes."""
        (self._ledger if job.audited else self._live).append(job)

    def again(self, job: FillJob) -> None:
        """The job's page failed: it is asked for again before those of other long holes."""
        (self._ledger if job.audited else self._live).appendleft(job)

    def _fresh(self, live: Sequence[Hole]) -> FillJob | None:
        hole = next((hole for hole in live if not _begun(hole, self._live)), None)
        return None if hole is None else FillJob(hole, since_ns(hole.after))

    def _ledgers(self, reported: list[Hole]) -> FillJob | None:
        """A hole not yet begun, or where there is none, one that is: the ledger names begun ones again."""
        while reported:
            hole = reported.pop(0)
            if not _begun(hole, self._ledger):
                return FillJob(hole, since_ns(hole.after), audited=True)
        return self._ledger.popleft() if self._ledger else None


def _begun(hole: Hole, jobs: Sequence[FillJob] | deque[FillJob]) -> bool:
    return any(job.hole.first <= hole.first and hole.last <= job.hole.last for job in jobs)
