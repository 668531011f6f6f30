"""Recalibrates the served model's intervals every ten minutes from the forecasts that have come due.

The state is a row of gold_calibrations: the scorer writes it, the API serves with the newest one of its model, and a
replay finds by its id the one a forecast was made with.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import polars as pl

from forecast.model.intervals import Calibration, moved
from forecast.model.targets import Array
from lakehouse.errors import RetryableError
from lakehouse.schema import GOLD_CALIBRATIONS, GOLD_FORECAST_SCORES, GOLD_FORECASTS
from lakehouse.settings import HORIZONS_S, Settings
from lakehouse.stores.bronze import instant, text
from lakehouse.stores.questdb import QuestDB

BLOCK = timedelta(minutes=10)
# Forecasts due at the end of a block are judged by then.
LATE = timedelta(seconds=30)
# After a longer outage only its last half hour counts.
MAX_BEHIND = timedelta(minutes=30)
_ENDS = ("lower_95", "lower", "upper", "upper_95")
# Model versions in service, such as bid/3, each with the state its intervals come from now.
InService = Callable[[], Mapping[str, Calibration]]


class Calibrator:
    """Updates the interval states, one block of market time after the other."""

    def __init__(self, database: QuestDB, in_service: InService) -> None:
        self._database = database
        self._in_service = in_service
        self._done: datetime | None = None

    def advance(self, newest_event: datetime) -> int:
        """Updates the states with the newest complete block, once; returns how many states were written.

        Raises:
            RetryableError: QuestDB or the API is away; nothing is skipped by trying again.
        """
        end = _floor(newest_event - LATE)
        if self._done is not None and end <= self._done:
            return 0
        written = sum(self._learn(version, state, end) for version, state in self._in_service().items())
        self._done = end
        return written

    def _learn(self, version: str, own: Calibration, end: datetime) -> bool:
        known = newest(self._database, version)
        since, state = known or (end - BLOCK, own)
        since = max(since, end - MAX_BEHIND)
        if since >= end:
            return False
        above, count = above_ends(self._database, version, since, end)
        if not count:
            return False
        state = moved(state, above, (end - since) / timedelta(minutes=1))
        row = {"ts": end, "target": version.partition("/")[0], "model_version": version}
        row |= {"calibration": state.id, "n": count, "state": state.to_json()}
        self._database.write(GOLD_CALIBRATIONS, pl.DataFrame([row]))
        self._database.wait_applied([GOLD_CALIBRATIONS.name])
        return True


def above_ends(database: QuestDB, version: str, since: datetime, end: datetime) -> tuple[Array, int]:
    """The share of outcomes above each served interval bound, over all symbols.

    Returns:
        Shape (horizons, levels), NaN where nothing was judged that was due in ``since < due <= end``; how many were.
    """
    span = f"ts > {instant(since - timedelta(seconds=max(HORIZONS_S)))} AND ts <= {instant(end)}"
    where = f"model_version = {text(version)} AND {span}"
    ends = ", ".join(f"sum(CASE WHEN s.truth > f.{name} THEN 1.0 ELSE 0.0 END)" for name in _ENDS)
    sql = (
        f"SELECT s.horizon_s, count(), {ends} FROM (SELECT * FROM {GOLD_FORECAST_SCORES.name} WHERE {where} "
        f"AND due > {instant(since)} AND due <= {instant(end)}) s JOIN "
        f"(SELECT * FROM {GOLD_FORECASTS.name} WHERE {where}) f ON (ts, symbol, horizon_s, seq)"
    )
    shares, judged = np.full((len(HORIZONS_S), len(_ENDS)), np.nan), 0
    for horizon, count, *above in database.rows(sql):
        shares[HORIZONS_S.index(horizon)] = np.array(above) / count
        judged += count
    return shares, judged


def newest(database: QuestDB, version: str) -> tuple[datetime, Calibration] | None:
    """The newest state of a model version such as ``bid/3``, and the end of the last block in it (UTC)."""
    return _one(database.rows(f"{_SELECT} WHERE model_version = %s ORDER BY ts DESC LIMIT 1", [version]))


def named(database: QuestDB, version: str, calibration: str) -> Calibration | None:
    """The state of a model version with this id; None if the table lacks it, which means the model's own state."""
    where = "WHERE model_version = %s AND calibration = %s LIMIT 1"
    found = _one(database.rows(f"{_SELECT} {where}", [version, calibration]))
    return found[1] if found else None


def ask_api(settings: Settings) -> dict[str, Calibration]:
    """Interval states of the versions that the API serves now, by version.

    Raises:
        RetryableError: the API is away.
    """
    try:
        answer = httpx.get(f"{settings.api_url}/models", timeout=5.0).raise_for_status().json()
    except httpx.HTTPError as error:
        raise RetryableError(f"API at {settings.api_url}: {error!r}") from error
    serving: dict[str, Any] = {target: entry["serving"] for target, entry in answer["models"].items()}
    return {
        f"{target}/{entry['version']}": Calibration.from_dict(entry["intervals"])
        for target, entry in serving.items()
        if entry is not None
    }


_SELECT = f"SELECT ts, state FROM {GOLD_CALIBRATIONS.name}"


def _one(rows: Sequence[tuple[Any, ...]]) -> tuple[datetime, Calibration] | None:
    return (rows[0][0], Calibration.from_json(rows[0][1])) if rows else None


def _floor(when: datetime) -> datetime:
    return datetime.fromtimestamp(when.timestamp() // BLOCK.total_seconds() * BLOCK.total_seconds(), UTC)
