"""Replay check: recomputes a day's silver rows and forecasts and compares them with what was served live."""

import logging
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path

import polars as pl

from features.compare import close, differing
from features.engine import EngineState, fold
from features.spec import LEAD_IN, NAMES, EngineConfig, spec_hash
from forecast.model import forecaster
from forecast.model.targets import TARGETS, Target
from forecast.monitoring import recalibration
from forecast.registry.client import RegistryClient
from forecast.serving.models_in_service import ServedModel, accept
from forecast.serving.registry_watcher import simple_rule
from lakehouse.errors import FatalError, NothingToDoError
from lakehouse.findings import Finding, note
from lakehouse.schema import GOLD_FORECASTS
from lakehouse.settings import HORIZONS_S, Settings
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
VALUES = ("value", "lower", "upper", "lower_95", "upper_95", "baseline")
Fetch = Callable[[str, str], ServedModel]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """Rows compared for a symbol's day, and rows that differ by more than relative 1e-9."""

    symbol: str
    day: str
    silver: int
    silver_differ: int
    forecasts: int
    forecasts_differ: int


def replay(questdb: QuestDB, config: EngineConfig, fetch: Fetch, symbol: str, day: date) -> ReplayReport:
    """Recomputes what was served for ``symbol`` on ``day``: silver from bronze, forecasts from silver.

    Args:
        fetch: what served a recorded model version such as ``bid/3`` with a recorded calibration.

    Raises:
        RetryableError: QuestDB or MLflow is away. FatalError: a recorded version is gone.
    """
    start = datetime.combine(day, time(), UTC)
    end = start + timedelta(days=1)
    spec = spec_hash(config)
    mine = f"{bronze.within(symbol, start, end)} AND spec = {bronze.text(spec)}"
    live = questdb.frame(f"SELECT * FROM silver_features WHERE {mine} AND origin = 'live'")
    differ = differing(live, recomputed(questdb, config, symbol, start, end)) if live.height else 0
    served = questdb.frame(f"SELECT * FROM {GOLD_FORECASTS.name} WHERE {mine}")
    wrong = forecasts_that_differ(served, live, fetch)
    return ReplayReport(symbol, day.isoformat(), live.height, differ, served.height, wrong)


def recomputed(questdb: QuestDB, config: EngineConfig, symbol: str, start: datetime, end: datetime) -> pl.DataFrame:
    """The live rows of a span as the engine makes them today, from bronze in log order, lead-in included."""
    state, found = EngineState.empty(config), []
    for piece in bronze.live_behind(questdb, symbol, start - LEAD_IN, end):
        state, rows = fold(state, piece)
        found.append(rows.filter(pl.col("ts").is_between(start, end, closed="left")))
    if not found:
        raise FatalError(f"bronze holds no live events of {symbol} from {start}, but silver has rows: restore the day")
    return pl.concat(found)


def forecasts_that_differ(served: pl.DataFrame, silver: pl.DataFrame, fetch: Fetch) -> int:
    """The number of served forecasts that the recorded model and calibration do not reproduce from the recorded row.

    Args:
        served: rows of gold_forecasts of one symbol. silver: the rows they were made from.
    """
    wrong = 0
    for (version, calibration), part in served.group_by("model_version", "calibration"):
        again = _forecasts(fetch(str(version), str(calibration)), silver, part)
        both = part.join(again, on=("epoch", "seq", "horizon_s"), how="left", suffix="_again")
        agree = pl.all_horizontal(close(pl.col(name), pl.col(f"{name}_again")) for name in VALUES)
        known = pl.col("value_again").is_not_null() & (pl.col("calibration") == pl.col("calibration_again"))
        wrong += both.height - int(both.select((agree & known).fill_null(False).sum()).item())
    return wrong


def _forecasts(served: ServedModel, silver: pl.DataFrame, recorded: pl.DataFrame) -> pl.DataFrame:
    rows = silver.join(recorded.select("epoch", "seq").unique(), on=("epoch", "seq"), how="semi").sort("epoch", "seq")
    made = served.forecast(rows.select(NAMES).cast(pl.Float64).fill_null(float("nan")).to_numpy())
    return pl.concat(
        rows.select("epoch", "seq").with_columns(
            pl.lit(horizon, pl.Int32).alias("horizon_s"),
            pl.lit(served.calibration_id).alias("calibration"),
            *(pl.Series(name, getattr(made, name)[:, i]) for name in VALUES),
        )
        for i, horizon in enumerate(HORIZONS_S)
    )


def fetcher(settings: Settings, questdb: QuestDB, spec: str, folder: Path) -> Fetch:
    """Fetches recorded versions from the registry, each once; version 0 is the rule that serves without a registry."""
    registry = RegistryClient(settings)

    @cache
    def fetch_version(version: str) -> ServedModel:
        name, _, number = version.partition("/")
        target = _target(name)
        if number == "0":
            return accept(0, simple_rule(target, NAMES, spec), target, NAMES, spec)
        registry.fetch(target, int(number), folder / version)
        return accept(int(number), forecaster.load(folder / version), target, NAMES, spec)

    def fetch(version: str, calibration: str) -> ServedModel:
        served = fetch_version(version)
        if served.calibration_id == calibration:
            return served
        # A missing state falls back to the model's own, whose other id counts as a difference.
        return replace(served, calibration=recalibration.named(questdb, version, calibration) or served.calibration)

    return fetch


def _target(name: str) -> Target:
    for target in TARGETS:
        if target == name:
            return target
    raise FatalError(f"gold_forecasts holds forecasts of a model {name}: only {' and '.join(TARGETS)} can be replayed")


def replay_day(settings: Settings, symbols: Sequence[str], day: date) -> list[ReplayReport]:
    """Replays every symbol's day and notes the counts in ``gold_quality``."""
    with closing(QuestDB(settings)) as questdb, tempfile.TemporaryDirectory(prefix="tradelake-replay-") as folder:
        config = EngineConfig.of(settings, bronze.sparse_symbols(questdb))
        fetch = fetcher(settings, questdb, spec_hash(config), Path(folder))
        reports = [replay(questdb, config, fetch, symbol, day) for symbol in symbols]
        note(questdb, datetime.now(UTC), [_finding(report) for report in reports])
        return reports


def _finding(report: ReplayReport) -> Finding:
    log.info("%s", report)
    differ, count = report.silver_differ + report.forecasts_differ, report.silver + report.forecasts
    return Finding("replay_differing", differ, count, report.symbol, detail=report.day)


def proven(settings: Settings, day: date) -> list[ReplayReport]:
    """Entry point of command and DAG: `replay_day`, failing on any difference.

    Raises:
        NothingToDoError: nothing was served on that day. FatalError: a row differs.
    """
    reports = replay_day(settings, settings.symbols, day)
    if not any(report.silver + report.forecasts for report in reports):
        raise NothingToDoError(f"nothing to replay: nothing was served on {day}")
    if differ := sum(report.silver_differ + report.forecasts_differ for report in reports):
        raise FatalError(f"{differ} rows of {day} differ by more than relative 1e-9 from those served: {reports}")
    return reports
