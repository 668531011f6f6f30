"""The storm's judge, `tests.chaos.truth`: a missing quote must lie within a gap, and what the log lacks is lost."""

from datetime import UTC, datetime, timedelta

import polars as pl

from ingestion.simulator.market import Market
from lakehouse.messages import EVENT_SCHEMA
from tests.chaos.truth import Verdict, _as_logged, _gaps, _out_of_sight

SYMBOL = "BTC/USD"
GENESIS = datetime(2026, 1, 1, tzinfo=UTC)
START = datetime(2026, 3, 1, 15, tzinfo=UTC)
END = START + timedelta(minutes=1)
MARKET = Market(seed=3, events_per_s=20, genesis=GENESIS)


def log_of(lost: range, marked: bool) -> pl.DataFrame:
    """The log of a minute's quotes without the ``lost`` ones; with the two gaps around them if ``marked``."""
    columns = MARKET.quotes(SYMBOL, START, END).columns(MARKET.pairs[SYMBOL])
    times = pl.Series(columns["ts"]).dt.replace_time_zone("UTC").to_list()
    rows = [{"type": "quote", "ts": ts} for i, ts in enumerate(times) if i not in lost]
    if marked:
        gap = {"type": "gap", "stream": "ticker"}
        rows.insert(lost.start, gap | {"ts": times[lost.start - 1], "reason": "reset"})
        rows.insert(lost.start + 1, gap | {"ts": times[lost.stop], "reason": "reset: over"})
    common = {"symbol": SYMBOL, "epoch": 1}
    filled = [row | common | {"seq": i, "received_at": row["ts"]} for i, row in enumerate(rows)]
    return pl.DataFrame(filled, schema=EVENT_SCHEMA)


def test_quotes_missed_within_a_gap_are_out_of_sight_and_others_are_not_excused() -> None:
    for marked, expected in ((True, (0, 40)), (False, (40, 0))):
        verdict = Verdict()
        _out_of_sight(verdict, MARKET, SYMBOL, log_of(range(300, 340), marked), END)
        assert (verdict.gaps_missing, verdict.out_of_sight) == expected


def test_a_producer_that_was_killed_must_come_back_with_a_gap() -> None:
    log = log_of(range(300, 340), marked=True)
    at = log.filter(pl.col("type") == "gap")["received_at"][0]
    for moment, missing in ((at, 0), (START, 1)):
        verdict = Verdict()
        _gaps(verdict, SYMBOL, log, [moment])
        assert verdict.gaps_missing == missing


def test_what_is_in_the_log_must_be_in_bronze_once_and_unchanged() -> None:
    log = log_of(range(0), marked=False)
    verdict = Verdict()
    changed = log[:10].with_columns(ts=pl.col("ts") + timedelta(seconds=1))
    _as_logged(verdict, pl.concat([log[10:-5], log[20:30], changed]), log, ["symbol", "seq", "ts"])
    assert (verdict.quotes_lost, verdict.quotes_doubled, verdict.quotes_wrong) == (5, 10, 10)
