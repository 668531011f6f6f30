"""What the ages of rows and the state of QuestDB's tables say of a lake, a line each."""

import pytest

from lakehouse.stores.halted import HaltedTable
from stack.commands.lake_faults import flow_faults, halted_faults


@pytest.mark.parametrize(
    ("trade_s", "quote_s", "feature_s", "words"),
    [
        (1.0, 1.0, 1.0, []),
        (899.0, 59.0, 119.0, []),
        (901.0, 1.0, 1.0, ["no new trades (the newest is 15 min old)"]),
        (None, 1.0, 1.0, ["no new trades (none is stored)"]),
        (1.0, 1.0, 121.0, ["newest feature row is 121 s old"]),
        # Nothing comes: that the feed is silent is told elsewhere.
        (901.0, 901.0, 901.0, []),
        (None, None, None, []),
    ],
)
def test_trades_and_features_must_follow_quotes(
    trade_s: float | None, quote_s: float | None, feature_s: float | None, words: list[str]
) -> None:
    found = flow_faults("BTC/USD", trade_s, quote_s, feature_s)
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


def test_each_halted_table_has_the_statement_that_fits_it() -> None:
    halted = [
        HaltedTable("bronze_quotes", False, "suspended", "No space left"),
        HaltedTable("bronze_minutes", True, "suspended", ""),
        HaltedTable("gold_ohlc_1m", True, "invalid", "truncate operation"),
        HaltedTable("gold_ohlc_5m", True, "invalid", "truncate operation", ready=False, base_left=True),
    ]
    quotes, minutes, ohlc, cut = halted_faults(halted)
    assert quotes.startswith("bronze_quotes is suspended (No space left): ")
    assert quotes.endswith(": ALTER TABLE bronze_quotes RESUME WAL")
    assert minutes.endswith(": ALTER MATERIALIZED VIEW bronze_minutes RESUME WAL")
    assert ohlc.endswith(": REFRESH MATERIALIZED VIEW gold_ohlc_1m FULL")
    assert "the consumer resumes it" in ohlc
    assert "days left its base table: restore them first" in cut
