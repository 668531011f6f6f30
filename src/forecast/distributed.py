"""Trains boosters over the lake's Parquet with XGBoost's Dask interface: where one machine's memory is not enough.

Every worker reads days of its own (silver rows, and bronze prices for the truth) from the object store with its own
settings; rules and linear parts, which need few rows, are fitted where the command runs.
"""

import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
import xgboost

from features.spec import EngineConfig, spec_hash
from forecast import baselines, dataset, fitting, inputs
from forecast.baselines import Rule
from forecast.dataset import Dataset
from forecast.fitting import Tuning
from forecast.inputs import Inputs
from forecast.lake import EVERY_S, STALE_S
from forecast.learned import apply, raw_margin
from forecast.linear import Linear
from forecast.targets import MICROS, TARGETS, Array, Target
from lakehouse.errors import FatalError
from lakehouse.messages import EVENT_SCHEMA
from lakehouse.settings import HORIZONS_S, Settings, load_settings
from lakehouse.stores.objects import Objects

log = logging.getLogger(__name__)
EVENTS = {"bronze_trades": "trade", "bronze_quotes": "quote", "bronze_gaps": "gap"}
# The newest fifth of the rows judges; the longest horizon twice lies between.
JUDGED_SHARE = 0.2
EMBARGO_US = 2 * HORIZONS_S[-1] * MICROS
LEAST_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Day:
    """A day of one symbol in the lake."""

    symbol: str
    day: date


def bucket_of(lake: str) -> str:
    """The bucket in ``s3://bucket``.

    Raises:
        FatalError: it is no such address.
    """
    if not lake.startswith("s3://") or "/" in lake.removeprefix("s3://").rstrip("/"):
        raise FatalError(f"--lake {lake}: want s3://BUCKET, at the S3_ENDPOINT of the settings")
    return lake.removeprefix("s3://").rstrip("/")


def days(settings: Settings, lake: str, symbols: Sequence[str]) -> list[Day]:
    """Every whole day of silver rows in the lake, in time order.

    Raises:
        FatalError: there is none.
    """
    objects = Objects(settings.model_copy(update={"s3_bucket": bucket_of(lake)}))
    keys = [stored.key for stored in objects.list("silver/silver_features/")]
    objects.close()
    found = {
        Day(symbol, date.fromisoformat(key.split("/dt=")[1][:10]))
        for symbol in symbols
        for key in keys
        if f"symbol={quote(symbol, safe='')}/" in key and key.endswith("_manifest.json")
    }
    if not found:
        raise FatalError(f"{lake} holds no silver rows of {', '.join(symbols)}: run python -m downstream.backup")
    return sorted(found, key=lambda d: (d.day, d.symbol))


def read_day(lake: str, day: Day) -> Dataset:
    """One day's complete rows beside their truths, read with this process' own settings; runs on a worker."""
    settings = load_settings()
    objects = Objects(settings.model_copy(update={"s3_bucket": bucket_of(lake)}))
    config = EngineConfig(settings.feature_interval_ms, settings.vol_step_s, settings.silence_s)
    try:
        rows = _table(objects, "silver/silver_features", day.symbol, day.day)
        span = [day.day + timedelta(days=offset) for offset in (0, 1)]
        events = [_events(objects, table, kind, day.symbol, d) for table, kind in EVENTS.items() for d in span]
    finally:
        objects.close()
    spec = spec_hash(config)
    rows = rows.filter(pl.col("spec") == spec, pl.col("complete")).unique("ts", keep="last", maintain_order=True)
    if rows.is_empty():
        return dataset.empty(spec, config.vol_step_s)
    path = dataset.price_path(pl.concat(events))
    return dataset.build(dataset.with_bid(rows, path), path, spec, config.vol_step_s, EVERY_S, STALE_S)


def _table(objects: Objects, table: str, symbol: str, day: date) -> pl.DataFrame:
    data = objects.get(f"{table}/symbol={quote(symbol, safe='')}/dt={day}/part-0.parquet")
    return pl.DataFrame(schema={"spec": pl.String}) if data is None else pl.read_parquet(io.BytesIO(data))


def _events(objects: Objects, table: str, kind: str, symbol: str, day: date) -> pl.DataFrame:
    found = _table(objects, f"bronze/{table}", symbol, day).with_columns(type=pl.lit(kind))
    known = [pl.col(c).cast(t) if c in found.columns else pl.lit(None, t).alias(c) for c, t in EVENT_SCHEMA.items()]
    return found.select(known)


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where the newest training rows (which stop the boosters early) and the judged rows begin, in microseconds."""

    stop: int
    judged: int


@dataclass(frozen=True)
class Prepared:
    """What the boosters of one target build on: per horizon the rule and the linear correction."""

    target: Target
    rules: tuple[Rule, ...]
    linear: tuple[Linear, ...]

    def matrix(self, data: Dataset, start: int, end: int) -> Inputs:
        """Rows of a span as one float32 matrix: inputs, then what each horizon's booster must say."""
        data = part_of(data, start, end)
        features, truth = data.rows(), data.truth[self.target]
        table = inputs.table(features)
        rule = baselines.predict(self.rules, self.target, features)
        label = fitting.labels(self.target, truth, rule, baselines.row_scale(features))
        margin = np.column_stack([line.predict(table) for line in self.linear])
        left = fitting.residual(self.target, label, margin)
        return np.concatenate([table, left], axis=1, dtype=np.float32)

    def judge(self, data: Dataset, boosters: Sequence[xgboost.Booster], start: int) -> Array:
        """Summed losses of the rows from ``start`` on, shape (2, horizons): of the corrected rule, and of the rule."""
        data = part_of(data, start, 2**62)
        features, truth = data.rows(), data.truth[self.target]
        table = inputs.table(features)
        rule = baselines.predict(self.rules, self.target, features)
        correction = np.column_stack(
            [line.predict(table) + raw_margin(b, table) for line, b in zip(self.linear, boosters, strict=True)]
        )
        value = apply(self.target, rule, baselines.row_scale(features), correction)
        return np.array([fitting.loss(self.target, truth, v).sum(axis=0) for v in (value, rule)])


def part_of(data: Dataset, start: int, end: int) -> Dataset:
    """The rows with ``start <= ts < end``."""
    keep = (data.ts >= start) & (data.ts < end)
    truth = {target: values[keep] for target, values in data.truth.items()}
    return replace(data, ts=data.ts[keep], symbols=data.symbols[keep], matrix=data.matrix[keep], truth=truth)


def thinned(data: Dataset, every: int) -> Dataset:
    """One row in ``every``."""
    return part_of(replace(data, ts=np.where(np.arange(len(data)) % every == 0, data.ts, -1)), 0, 2**62)


def prepare(sample: Dataset, target: Target, tuning: Tuning) -> Prepared:
    """Rules and linear parts, fitted to a sample that fits into memory."""
    features, truth = sample.rows(), sample.truth[target]
    rules = fitting.best_rules(target, fitting.fit_rules(target, features, truth), features, truth)
    table = inputs.table(features)
    label = fitting.labels(target, truth, baselines.predict(rules, target, features), baselines.row_scale(features))
    overlaps = [dataset.overlap_rows(sample, horizon) for horizon in HORIZONS_S]
    linear = tuple(
        fitting.fit_linear(target, table, label[:, j], tuning.prior_rows * overlap)
        for j, overlap in enumerate(overlaps)
    )
    return Prepared(target, rules, linear)


class Here:
    """Runs everything in this process."""

    def each(self, call: Callable[..., Any], parts: Sequence[Any]) -> list[Any]:
        """The call's results, one per part."""
        return [call(part) for part in parts]

    def gather(self, parts: list[Any]) -> list[Any]:
        """The results themselves."""
        return parts

    def fit(self, target: Target, fit: list[Inputs], stop: list[Inputs], tuning: Tuning) -> list[xgboost.Booster]:
        """A booster per horizon."""
        width = len(inputs.NAMES)
        older, newer = np.concatenate(fit), np.concatenate(stop)
        boosters = []
        for j in range(len(HORIZONS_S)):
            data = xgboost.QuantileDMatrix(older[:, :width], older[:, width + j], max_bin=128)
            held = xgboost.QuantileDMatrix(newer[:, :width], newer[:, width + j], ref=data, max_bin=128)
            parameters = fitting.xgboost_parameters(target, tuning)
            found = xgboost.train(parameters, data, tuning.trees, [(held, "newest")], **_early(tuning))
            boosters.append(found[: found.best_iteration + 1])
        return boosters


class There:
    """Runs everything on the workers of a Dask cluster; parts stay there."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def each(self, call: Callable[..., Any], parts: Sequence[Any]) -> list[Any]:
        """Futures of the call's results, one per part."""
        return list(self._client.map(call, parts, pure=False))

    def gather(self, parts: list[Any]) -> list[Any]:
        """The results themselves."""
        return list(self._client.gather(parts))

    def fit(self, target: Target, fit: list[Any], stop: list[Any], tuning: Tuning) -> list[xgboost.Booster]:
        """A booster per horizon, grown by all workers together."""
        from xgboost import dask as xgboost_dask

        older, newer = self._array(fit), self._array(stop)
        width, boosters = len(inputs.NAMES), []
        for j in range(len(HORIZONS_S)):
            data = xgboost_dask.DaskQuantileDMatrix(self._client, older[:, :width], older[:, width + j], max_bin=128)
            held = xgboost_dask.DaskQuantileDMatrix(
                self._client, newer[:, :width], newer[:, width + j], ref=data, max_bin=128
            )
            parameters = fitting.xgboost_parameters(target, tuning)
            found = xgboost_dask.train(
                self._client, parameters, data, tuning.trees, evals=[(held, "newest")], **_early(tuning)
            )["booster"]
            boosters.append(found[: found.best_iteration + 1])
        return boosters

    def _array(self, parts: list[Any]) -> Any:
        import dask
        import dask.array

        sizes = self.gather(self.each(len, parts))
        width = len(inputs.NAMES) + len(HORIZONS_S)
        blocks = [
            dask.array.from_delayed(dask.delayed(part), (size, width), np.float32)
            for part, size in zip(parts, sizes, strict=True)
            if size
        ]
        return dask.array.concatenate(blocks).persist()


def train(lake: str, address: str | None, symbols: Sequence[str], tuning: Tuning) -> dict[str, dict[str, float]]:
    """Trains every booster and judges it on the newest rows.

    Args:
        address: of a Dask scheduler; None: the same in this process.

    Returns:
        Per target and horizon (seconds): loss of rule, linear part and booster over the loss of the rule alone.

    Raises:
        FatalError: the lake holds no rows to learn from. RetryableError: the object store is away.
    """
    found = days(load_settings(), lake, symbols)
    if address is None:
        return _train(Here(), lake, found, tuning)
    from distributed import Client

    with Client(address) as client:
        log.info("%d workers, %d days", len(client.scheduler_info()["workers"]), len(found))
        return _train(There(client), lake, found, tuning)


def _train(where: Here | There, lake: str, found: list[Day], tuning: Tuning) -> dict[str, dict[str, float]]:
    parts = where.each(partial(read_day, lake), found)
    every = -(-sum(where.gather(where.each(len, parts))) // tuning.rows) or 1
    sample = dataset.pool(where.gather(where.each(partial(thinned, every=every), parts)))
    if len(sample) < LEAST_ROWS:
        raise FatalError(f"{len(sample)} complete rows in {lake}, want {LEAST_ROWS}: back up more days")
    # By rows, not by time: a lake may have holes of hours.
    judged = int(len(sample) * (1 - JUDGED_SHARE))
    cuts = Cuts(int(sample.ts[int(judged * (1 - tuning.newest))]), int(sample.ts[judged]))
    learning = part_of(sample, 0, cuts.judged - EMBARGO_US)
    ratios: dict[str, dict[str, float]] = {}
    for target in TARGETS:
        prepared = prepare(learning, target, tuning)
        older = where.each(partial(prepared.matrix, start=0, end=cuts.stop - EMBARGO_US), parts)
        newer = where.each(partial(prepared.matrix, start=cuts.stop, end=cuts.judged - EMBARGO_US), parts)
        boosters = where.fit(target, older, newer, tuning)
        losses = where.gather(where.each(partial(prepared.judge, boosters=boosters, start=cuts.judged), parts))
        sums = np.sum(losses, axis=0)
        ratios[target] = {str(horizon): float(sums[0, j] / sums[1, j]) for j, horizon in enumerate(HORIZONS_S)}
    return ratios


def _early(tuning: Tuning) -> dict[str, Any]:
    return {"early_stopping_rounds": tuning.patience, "verbose_eval": False}
