"""Scripted faults: reads a JSON script of what fails when, and draws seeded random decisions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from ingestion.simulator.noise import key_of, uniform
from lakehouse.arrays import Ints
from lakehouse.errors import FatalError

# Of each data frame, with odds p.
FRAME_KINDS = ("drop", "double", "reorder", "batch", "corrupt", "wrong", "huge", "future")
KINDS = (
    *FRAME_KINDS,
    "hole",  # of each trade, with odds p: never on the WebSocket, but in REST
    "silent",  # of each subscription, with odds p: acked, then nothing
    "freeze",  # connections that are open when it begins get no frames until it ends
    "close",  # connections that are open when it begins are closed, with odds p each
    "reset",  # the same, by a bare TCP reset
    "refuse_handshake",
    "refuse_subscription",
    "throttle",  # REST answers: too many requests
    "maintenance",  # no data; status tells the beginning and the end
    "outage",  # connections are reset, and neither WebSocket nor REST answers
)


_CLOSE_CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
_REFUSALS = {status.value for status in HTTPStatus if status >= HTTPStatus.BAD_REQUEST}


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of the script.

    Args:
        kind: one of `KINDS`.
        p: odds, rolled as the kind says.
        channel: only this channel (``trade``, ``ticker``); None: all.
        symbol: only this symbol; None: all.
        start: seconds from the simulator's start to the fault's.
        stop: seconds from the simulator's start to the fault's end.
        every: seconds after which it repeats; None: it happens once.
        code: of ``close``.
        reason: of ``close``.
        status: of ``refuse_handshake``.
        error: of ``refuse_subscription``; the symbol is put after it.
        seconds: how far ahead ``future`` stamps.
        bytes: size of a ``huge`` frame.
    """

    kind: str
    p: float = 1.0
    channel: str | None = None
    symbol: str | None = None
    start: float = 0.0
    stop: float = math.inf
    every: float | None = None
    code: int = 1012
    reason: str = "Service restart"
    status: int = 503
    error: str = "Currency pair not supported"
    seconds: float = 86_400.0
    bytes: int = 2_000_000

    def active(self, at: float) -> bool:
        """Whether the fault is on, ``at`` seconds after the start."""
        if at < self.start:
            return False
        since = at - self.start
        return (since % self.every if self.every else since) < self.stop - self.start

    def begins(self, after: float, until: float) -> bool:
        """Whether it begins or repeats within ``(after, until]``."""
        if until < self.start:
            return False
        last = self.start + ((until - self.start) // self.every * self.every if self.every else 0.0)
        return after < last <= until

    def matches(self, channel: str, symbol: str) -> bool:
        """Whether it is about this channel and symbol."""
        return self.channel in (None, channel) and self.symbol in (None, symbol)


@dataclass(frozen=True, slots=True)
class Script:
    """The faults, and the seed of their dice."""

    seed: int = 0
    faults: tuple[Fault, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads ``{"seed": 7, "faults": [{"kind": "drop", "p": 0.01, "channel": "trade", "from": 10, "until": 60}]}``.

        Raises:
            FatalError: the file does not say that; the message names the fault and the field.
        """
        try:
            script = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise FatalError(f"fault script {path}: {error}") from None
        if not isinstance(script, dict) or not isinstance(script.get("faults"), list):
            raise FatalError(f'fault script {path}: want {{"seed": 7, "faults": [{{"kind": "drop", "p": 0.01}}]}}')
        seed = script.get("seed", 0)
        if not isinstance(seed, int):
            raise FatalError(f"fault script {path}: seed must be a whole number, got {seed!r:.100}")
        return cls(seed, tuple(_fault(item, f"{path}, fault {i}") for i, item in enumerate(script["faults"], 1)))


_JSON_NAMES = {"from": "start", "at": "start", "until": "stop"}
_TEXTS = ("kind", "channel", "symbol", "reason", "error")
_WHOLE = ("code", "status", "bytes")


def _fault(item: object, where: str) -> Fault:
    if not isinstance(item, dict):
        raise FatalError(f"{where}: want an object, got {item!r:.100}")
    values: dict[str, Any] = {_JSON_NAMES.get(str(name), str(name)): value for name, value in item.items()}
    known = Fault.__dataclass_fields__
    for name, value in values.items():
        if name not in known:
            raise FatalError(f"{where}: unknown field {name!r}; known: from, at, until, {', '.join(sorted(known))}")
        kinds, wants = (str, "a text") if name in _TEXTS else (int, "a whole number") if name in _WHOLE else (None, "")
        if isinstance(value, bool) or not isinstance(value, kinds or int | float):
            raise FatalError(f"{where}: {name} must be {wants or 'a number'}, got {value!r:.100}")
    if values.get("kind") not in KINDS:
        raise FatalError(f"{where}: unknown kind {values.get('kind')!r}; known: {', '.join(KINDS)}")
    return _sound(Fault(**values), where)


def _sound(fault: Fault, where: str) -> Fault:
    wrong = {
        "want 0 ≤ p ≤ 1": not 0 <= fault.p <= 1,
        "want from ≤ until": fault.stop < fault.start,
        "want every > 0": fault.every is not None and fault.every <= 0,
        "want a code that may be sent: 1000-1003, 1007-1014, 3000-4999": fault.code not in _CLOSE_CODES,
        "want a status from 400 to 599 that HTTP knows": fault.status not in _REFUSALS,
    }
    for message, is_so in wrong.items():
        if is_so:
            raise FatalError(f"{where}: {message}")
    return fault


class Faults:
    """Evaluates the script at run time.

    Args:
        script: the faults to inject.
        clock: seconds since the simulator's start.
        count: called with a kind each time one is injected.
    """

    def __init__(self, script: Script, clock: Callable[[], float], count: Callable[[str], None]) -> None:
        self._script, self.clock, self._count = script, clock, count
        self.dice = Random(script.seed)  # noqa: S311 - faults want to be repeatable, not secret

    def active(self, kind: str, channel: str = "", symbol: str = "") -> Fault | None:
        """The first active fault of this kind that matches the channel and symbol."""
        now = self.clock()
        for fault in self._script.faults:
            if fault.kind == kind and fault.active(now) and fault.matches(channel, symbol):
                return fault
        return None

    def roll(self, kind: str, channel: str = "", symbol: str = "") -> Fault | None:
        """Like `active`, but subject to the fault's probability; counts a hit."""
        fault = self.active(kind, channel, symbol)
        return fault if fault and self.hit(fault) else None

    def hit(self, fault: Fault) -> bool:
        """Draws for one fault with its probability; counts a hit."""
        if fault.p < 1 and self.dice.random() >= fault.p:
            return False
        self._count(fault.kind)
        return True

    def beginning(self, after: float, until: float) -> list[Fault]:
        """The faults that begin within ``(after, until]``, in seconds since the start."""
        return [fault for fault in self._script.faults if fault.begins(after, until)]

    def kept(self, symbol: str, trade_ids: Ints) -> NDArray[np.bool_]:
        """Whether the WebSocket shows each trade; holes are the same for every connection."""
        keep = np.ones(len(trade_ids), bool)
        fault = self.active("hole", "trade", symbol)
        if fault and len(trade_ids):
            keep = uniform(key_of(self._script.seed, symbol, "holes"), trade_ids) >= fault.p
            for _ in range(int((~keep).sum())):
                self._count("hole")
        return keep
