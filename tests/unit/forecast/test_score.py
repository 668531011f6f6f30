"""The scorer takes whole timestamps, however many forecasts are due."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import polars as pl
import pytest

from forecast import score
from forecast.score import Scorer
from lakehouse.schema import GOLD_FORECAST_SCORES
from lakehouse.stores.bronze import instant
from lakehouse.stores.questdb import QuestDB

START = datetime(2026, 11, 1, tzinfo=UTC)
# Four forecasts a second, as two targets and two rows make them.
DUE = pl.DataFrame({"ts": [START + timedelta(seconds=i // 4) for i in range(20)], "horizon_s": [60] * 20})


class DueForecasts:
    """QuestDB with `DUE` in it and events long after, for the scorer's few kinds of queries."""

    def rows(self, sql: str, parameters: object = ()) -> list[tuple[Any, ...]]:
        del parameters
        return [] if GOLD_FORECAST_SCORES.name in sql else [(START + timedelta(hours=1),)]

    def frame(self, sql: str) -> pl.DataFrame:
        if limit := re.search(r"LIMIT (\d+)$", sql):
            return DUE.head(int(limit[1]))
        last = next(ts for ts in DUE["ts"].unique().sort() if sql.endswith(f"AND ts <= {instant(ts)} ORDER BY ts"))
        return DUE.filter(pl.col("ts") <= last)


@pytest.mark.parametrize(("limit", "expected"), [(6, 8), (8, 8), (3, 4), (21, 20)])
def test_no_sibling_of_the_last_timestamp_is_cut_off(
    limit: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "MAX_FORECASTS", limit)
    due = Scorer(cast("QuestDB", DueForecasts()), 5)._due("BTC/USD")
    assert due.height == expected
