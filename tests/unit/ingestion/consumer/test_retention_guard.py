"""Events of a day that left QuestDB are set aside with the remedy; others pass, and the days are asked for anew."""

from datetime import UTC, date, datetime

import orjson

from ingestion.consumer.retention_guard import RetentionGuard
from ingestion.kafka_log.batches import RawMessages, TopicBatch, read
from lakehouse.messages import encode
from lakehouse.records import Quote, Trade
from lakehouse.retention import REFRESH_S
from lakehouse.settings import HISTORY_TOPIC

GONE = date(2026, 1, 5)


def _part() -> TopicBatch:
    """A trade and a quote on each of two days; the days' trades left, their quotes did not."""
    events: list[Trade | Quote] = []
    for day in (5, 6):
        at = datetime(2026, 1, day, 12, tzinfo=UTC)
        events.append(Trade("BTC/USD", day, 1.0, 1.0, "buy", "limit", at, at, "rest"))
        events.append(Quote("BTC/USD", 1.0, 1.0, 2.0, 1.0, at, at, "rest"))
    part, dead = read(HISTORY_TOPIC, 1, RawMessages.of(0, 0, [encode(event) for event in events]), 5.0)
    assert not dead
    return part


def test_only_the_day_that_left_is_refused_with_the_remedy() -> None:
    kept, letters = RetentionGuard(lambda: {"bronze_trades": frozenset((GONE,))}).split(_part())
    assert kept.events["seq"].to_list() == [1, 2, 3]
    assert [(letter.reason, letter.offset) for letter in letters] == [("behind_retention", 0)]
    assert "tradelake restore --day 2026-01-05" in letters[0].detail
    assert orjson.loads(letters[0].payload)["trade_id"] == 5


def test_nothing_is_refused_while_nothing_left() -> None:
    part = _part()
    assert RetentionGuard(dict).split(part) == (part, [])
    assert RetentionGuard(lambda: {"silver_features": frozenset((GONE,))}).split(part) == (part, [])


def test_the_days_are_asked_for_again_after_a_while() -> None:
    now, answers = [0.0], iter([{}, {"bronze_trades": frozenset((GONE,))}])
    refusal = RetentionGuard(lambda: next(answers), lambda: now[0])
    part = _part()
    assert not refusal.split(part)[1]
    now[0] = REFRESH_S - 1
    assert not refusal.split(part)[1]
    now[0] = REFRESH_S
    assert len(refusal.split(part)[1]) == 1
