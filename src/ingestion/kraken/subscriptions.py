"""State machine of each (symbol, stream) subscription: requested, acknowledged, delivering, refused; pure.

An acknowledgement is not enough: a stream counts as live only once its snapshot arrives. A stream that delivers nothing
is unsubscribed and requested again, since Kraken sends no second snapshot to an existing subscription.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, get_args

from lakehouse.records import Stream

STREAMS: tuple[Stream, ...] = get_args(Stream)
Method = Literal["subscribe", "unsubscribe"]


class Phase(IntEnum):
    """The state of a subscription; the values are those of the metric."""

    REFUSED = -1
    WAITING = 0
    ASKED = 1
    ACKED = 2
    LIVE = 3
    LEAVING = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts in seconds; doubled with each failed attempt up to ``longest``."""

    ack: float = 5.0
    snapshot: float = 10.0
    ticker_silence: float = 120.0
    refused: float = 60.0
    longest: float = 3600.0
    tries: int = 3


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """A request to send for one stream and some symbols."""

    method: Method
    stream: Stream
    symbols: tuple[str, ...]
    req_id: int


@dataclass(slots=True)
class _Subscription:
    phase: Phase = Phase.WAITING
    since: float = 0.0
    unserved: int = 0
    quiets: int = 0
    refusals: int = 0
    unanswered: int = 0
    hopeless: bool = False


Key = tuple[str, Stream]


class Subscriptions:
    """All subscriptions of one feed, across its connections."""

    def __init__(self, symbols: Iterable[str], limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._all: dict[Key, _Subscription] = {(s, stream): _Subscription() for stream in STREAMS for s in symbols}
        self._requests: dict[int, SubscriptionRequest] = {}
        self._next_id = 1

    def phases(self) -> dict[Key, Phase]:
        """The state of each subscription."""
        return {key: one.phase for key, one in self._all.items()}

    def opened(self) -> None:
        """Resets for a new connection; refused subscriptions keep their longer retry interval."""
        self._requests.clear()
        for one in self._all.values():
            one.unanswered, one.hopeless = 0, False
            if one.phase is not Phase.REFUSED:
                one.phase = Phase.WAITING

    def rest(self, now: float) -> None:
        """Resets silence timers during a halt."""
        for one in self._all.values():
            if one.phase in (Phase.ACKED, Phase.LIVE):
                one.since = now

    def due(self, now: float) -> list[SubscriptionRequest]:
        """The requests to send now; an immediate second call returns none."""
        leave = [key for key, one in self._all.items() if self._is_silent(key, one, now)]
        for key in leave:
            one = self._all[key]
            if one.phase is Phase.LIVE:
                one.quiets += 1
            else:
                one.unserved += 1
                one.hopeless = one.unserved == self._limits.tries
        ask = [key for key, one in self._all.items() if self._is_due(one, now)]
        for key in ask:
            one = self._all[key]
            one.unanswered += one.phase is Phase.ASKED
            one.hopeless |= one.unanswered >= self._limits.tries
        return [*self._make("unsubscribe", leave, Phase.LEAVING, now), *self._make("subscribe", ask, Phase.ASKED, now)]

    def hopeless(self) -> Key | None:
        """A subscription that fails on this connection however often it is requested; a new connection may help.

        One that is acknowledged but silent on every connection ends only the first, so that the others are not harmed.
        """
        return next((key for key, one in self._all.items() if one.hopeless), None)

    def acked(self, method: str, channel: str, symbol: str | None, now: float) -> None:
        """Handles an acknowledgement."""
        for key, one in self._all.items():
            if key == (symbol, channel):
                if method == "subscribe" and one.phase is Phase.ASKED:
                    self._enter(one, Phase.ACKED, now)
                    one.refusals = one.unanswered = 0
                elif method == "unsubscribe" and one.phase is Phase.LEAVING:
                    self._enter(one, Phase.WAITING, now)

    def refused(self, req_id: int | None, symbol: str | None, error: str, now: float) -> list[Key]:
        """Handles a refusal; returns the subscriptions that the exchange will not serve.

        "Already subscribed" means that an acknowledgement was lost, "Subscription Not Found" that there is nothing to
        unsubscribe; both count as an acknowledgement.
        """
        request = self._requests.get(-1 if req_id is None else req_id)
        if request is None:
            return []
        lost = []
        for name in request.symbols if symbol is None else (symbol,):
            one = self._all.get((name, request.stream))
            if one is None:
                continue
            if error == "Already subscribed" and one.phase is Phase.ASKED:
                self._enter(one, Phase.ACKED, now)
            elif request.method == "unsubscribe":
                self._enter(one, Phase.WAITING, now)
            elif one.phase is Phase.ASKED:
                one.refusals += 1
                self._enter(one, Phase.REFUSED, now)
                lost.append((name, request.stream))
        return lost

    def delivered(self, symbol: str, stream: Stream, snapshot: bool, now: float) -> None:
        """Handles data, which also implies an acknowledgement that was lost."""
        one = self._all.get((symbol, stream))
        if one is None or one.phase is Phase.LEAVING:
            return
        self._enter(one, Phase.LIVE, now)
        one.unanswered = one.unserved = 0
        if not snapshot:
            one.quiets = 0

    def empty_snapshot(self, stream: Stream, now: float) -> None:
        """Handles a snapshot without items, which names no symbol: assigns it to the stream that waits longest."""
        waiting = [one for key, one in self._all.items() if key[1] == stream and one.phase is Phase.ACKED]
        if waiting:
            self._enter(min(waiting, key=lambda one: one.since), Phase.LIVE, now)

    def resubscribe(self, symbol: str, stream: Stream) -> None:
        """Makes the next `due` renew a live subscription, whatever its timer says."""
        one = self._all[symbol, stream]
        if one.phase is Phase.LIVE:
            one.phase, one.since = Phase.ACKED, float("-inf")

    def _is_due(self, one: _Subscription, now: float) -> bool:
        match one.phase:
            case Phase.WAITING:
                return True
            case Phase.ASKED:
                return now - one.since >= self._limits.ack
            case Phase.LEAVING:
                return now - one.since >= self._limits.ack
            case Phase.REFUSED:
                return now - one.since >= self._grown(self._limits.refused, one.refusals - 1)
            case _:
                return False

    def _is_silent(self, key: Key, one: _Subscription, now: float) -> bool:
        if one.phase is Phase.ACKED:
            return now - one.since >= self._grown(self._limits.snapshot, one.unserved)
        if one.phase is Phase.LIVE and key[1] == "ticker":
            # Each renewal without news makes it likelier that the market is just quiet.
            return now - one.since >= self._grown(self._limits.ticker_silence, one.quiets)
        return False

    def _grown(self, seconds: float, times: int) -> float:
        return min(seconds * 2.0 ** min(times, 30), self._limits.longest)

    def _make(self, method: Method, keys: list[Key], phase: Phase, now: float) -> Iterator[SubscriptionRequest]:
        for stream in STREAMS:
            symbols = tuple(symbol for symbol, its in keys if its == stream)
            if symbols:
                for symbol in symbols:
                    self._enter(self._all[symbol, stream], phase, now)
                request = SubscriptionRequest(method, stream, symbols, self._next_id)
                self._requests[self._next_id] = request
                self._next_id += 1
                yield request

    @staticmethod
    def _enter(one: _Subscription, phase: Phase, now: float) -> None:
        one.phase, one.since = phase, now
