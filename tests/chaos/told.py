"""The second verdict: every fault that cost something was told within a minute; pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.chaos.plan import TABLES

WITHIN = timedelta(seconds=60)
# Readers expect data that is at most this old.
STALE_S = 10.0
# What is said about whom when a target is hurt; a target itself is always among them.
_ALSO = {"simulator": ("producer",), "producer": ("feed",), "kafka": ("producer", "consumer"), "redis": ("consumer",)}
# Whose standstill makes which tables old; of a scorer or registry that is away, no reader sees anything.
_FEED, _FORECASTS = ("bronze_quotes", "silver_features"), ("gold_forecasts",)
_READERS = dict.fromkeys(("producer", "simulator", "consumer", "questdb", "kafka", "redis"), _FEED) | {
    "api": _FORECASTS,
    "predictor": _FORECASTS,
}
# A restarted QuestDB says nothing about rows that are gone: only the consumer can.
_LOSES_ROWS = ("drop", "power")


@dataclass(frozen=True, slots=True)
class Inflicted:
    """A fault that happened: to whom, from when to when."""

    kind: str
    targets: tuple[str, ...]
    at: datetime
    back: datetime


@dataclass(frozen=True, slots=True)
class Told:
    """Something the lake said: a failing probe (``status``), ``restart``, ``log``, ``gap`` or ``dead letter``."""

    at: datetime
    about: str
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Stale:
    """A reader found this table away or its newest row too old."""

    at: datetime
    table: str


def costly(fault: Inflicted, stale: Iterable[Stale], unseen: Iterable[datetime]) -> bool:
    """Whether rows went away, or meanwhile readers saw old data or quotes passed out of sight."""
    if fault.kind in _LOSES_ROWS:
        return True
    read = {table for target in fault.targets for table in _READERS.get(target, ())}
    feeds = {"producer", "simulator", "kafka"} & set(fault.targets)
    old = any(one.table in read and fault.at <= one.at <= fault.back for one in stale)
    return old or bool(feeds and any(fault.at <= ts <= fault.back for ts in unseen))


def answers(fault: Inflicted, told: Told) -> bool:
    """Whether this was said about that fault, in time."""
    if not fault.at <= told.at <= fault.at + WITHIN:
        return False
    if fault.kind in _LOSES_ROWS:
        return told.source == "dead letter" or (told.about == "consumer" and told.source in ("log", "restart"))
    # The exchange is not ours: what happened to it is told by the producer.
    concerned = {*fault.targets, *(name for target in fault.targets for name in _ALSO.get(target, ()))} - {"simulator"}
    if told.source == "gap":
        return bool(concerned & {"producer", "kafka"})
    return told.about in concerned


def untold(
    faults: Sequence[Inflicted], told: Sequence[Told], stale: Sequence[Stale], unseen: Sequence[datetime]
) -> list[Inflicted]:
    """The faults that cost something and of which nothing was said within a minute."""
    return [f for f in faults if costly(f, stale, unseen) and not any(answers(f, one) for one in told)]


def shown(fault: Inflicted) -> str:
    """A fault as a note of the verdict names it."""
    what = "DROP TABLE" if fault.targets[0] in TABLES else fault.kind
    return f"untold: {what} {', '.join(fault.targets)} at {fault.at:%H:%M:%S}"
