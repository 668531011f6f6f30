"""Silence in the feed's own time: a span that never came is always noticed, delay and jitter never are."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.kraken.ws_messages import Heartbeat, Pong, QuoteFrame
from ingestion.producer.silence import FeedClock
from tests.support.producing import BTC, ETH, feed_of, gaps, quote

START = datetime(2026, 9, 25, tzinfo=UTC)
# A span longer than this is noticed whatever lies around it: the tolerance, and a heartbeat at either end.
NOTICED_S = 7.5
Frames = list[tuple[float, str, float]]


def schedule(dice: Random, seconds: float, beats_in_traffic: bool, density: float) -> Frames:
    """(sent, kind, exchange time) of a connection's frames: data late by up to a second, pongs every 4 s."""
    frames: Frames = []
    at = dice.random()
    while at < seconds:
        frames.append((at, "heartbeat", 0.0))
        at += dice.uniform(0.998, 1.026)
    at = 0.0
    while (at := at + dice.expovariate(density)) < seconds:
        frames.append((at, "data", at - dice.random()))
    frames += [(at + dice.random() / 4, "pong", at) for at in range(4, int(seconds), 4)]
    frames.sort()
    return frames if beats_in_traffic else list(_beats_in_quiet_only(frames))


def _beats_in_quiet_only(frames: Frames) -> Iterator[tuple[float, str, float]]:
    """As Kraken documents it: a heartbeat once nothing else came for a second."""
    last = 0.0
    for sent, kind, ts in frames:
        if kind == "heartbeat":
            continue
        while sent - last > 1.0:
            last += 1.0
            yield last, "heartbeat", 0.0
        yield sent, kind, ts
        last = sent


def skips(frames: Frames) -> list[float]:
    clock, found = FeedClock(), list[float]()
    for _, kind, ts in frames:
        if kind == "heartbeat":
            clock.heartbeat()
            continue
        tell = clock.data if kind == "data" else clock.pong
        if (skipped := tell(START + timedelta(seconds=ts))) is not None:
            found.append(skipped.total_seconds())
    return found


anything = st.tuples(st.integers(0, 2**32), st.booleans(), st.sampled_from([0.05, 0.5, 5.0, 50.0]))


@given(anything)
def test_an_undisturbed_feed_is_never_marked(shape: tuple[int, bool, float]) -> None:
    seed, beats_in_traffic, density = shape
    assert skips(schedule(Random(seed), 60.0, beats_in_traffic, density)) == []


@given(anything, st.floats(20.0, 40.0), st.floats(NOTICED_S, 60.0))
def test_a_span_that_never_came_is_always_marked(shape: tuple[int, bool, float], start: float, length: float) -> None:
    seed, beats_in_traffic, density = shape
    frames = schedule(Random(seed), start + length + 30.0, beats_in_traffic, max(density, 0.5))
    left = [frame for frame in frames if not start <= frame[0] < start + length]
    assert len(skips(left)) == 1


@pytest.mark.parametrize("ahead", [True, False])
def test_a_freeze_behind_a_backlog_voids_the_quotes_on_an_open_connection(ahead: bool) -> None:
    feed, publisher = feed_of()
    feed.handle(QuoteFrame((quote(0), quote(0, symbol=ETH)), snapshot=False))
    feed.handle(Heartbeat())
    feed.handle(Pong(1, quote(13_500).ts) if ahead else QuoteFrame((quote(13_500),), snapshot=False))
    feed.handle(QuoteFrame((quote(13_600, bid=101.0),), snapshot=False))
    over = (BTC, "13.600" if ahead else "13.500", "skipped: over")
    assert sorted(gaps(publisher)) == sorted([(BTC, "00.000", "skipped"), (ETH, "00.000", "skipped"), over])


def test_a_stamp_from_the_future_and_an_old_snapshot_are_no_jump() -> None:
    feed, publisher = feed_of()
    feed.handle(QuoteFrame((quote(0),), snapshot=True))
    feed.handle(QuoteFrame((quote(60_000),), snapshot=False))
    feed.handle(QuoteFrame((quote(60_100, symbol=ETH),), snapshot=False))
    far = replace(quote(90_000), received_at=quote(60_200).ts)
    feed.handle(QuoteFrame((far,), snapshot=False))
    feed.handle(QuoteFrame((quote(60_300),), snapshot=False))
    assert {reason for _, _, reason in gaps(publisher)} == {"future", "future: over"}
