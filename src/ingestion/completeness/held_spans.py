"""Finds the time spans that need not be downloaded because bronze holds every trade in them; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Minute:
    """What bronze holds of one minute: its start, its lowest and highest trade id, and how many ids."""

    ts: datetime
    first_id: int
    last_id: int
    ids: int


@dataclass(frozen=True, slots=True)
class HeldSpan:
    """Every trade from ``start`` to ``end`` is held, which are ids ``first_id``..``last_id``."""

    start: datetime
    end: datetime
    first_id: int
    last_id: int


def held_spans(minutes: Iterable[Minute]) -> list[HeldSpan]:
    """Merges consecutive minutes without missing ids, inside or between them.

    The edges stay inside the outermost minutes, where nothing tells how much of them is held.
    """
    spans: list[list[Minute]] = []
    for minute in minutes:
        whole = minute.last_id - minute.first_id + 1 == minute.ids
        if not whole:
            spans.append([])
        elif spans and spans[-1] and minute.first_id == spans[-1][-1].last_id + 1:
            spans[-1][1:] = [minute]
        else:
            spans.append([minute])
    return [
        HeldSpan(run[0].ts + MINUTE, run[-1].ts, run[0].first_id, run[-1].last_id)
        for run in spans
        if len(run) == 2 and run[0].ts + MINUTE < run[-1].ts
    ]


def skip(at: datetime, spans: Sequence[HeldSpan]) -> datetime:
    """Where to continue when the next trade wanted is at ``at``: past the span that holds it."""
    return next((span.end for span in spans if span.start <= at < span.end), at)


def is_held(trade_id: int, spans: Sequence[HeldSpan]) -> bool:
    """Whether one of the spans holds the id."""
    return any(span.first_id <= trade_id <= span.last_id for span in spans)
