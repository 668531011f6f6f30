"""Trains boosters on the lake's Parquet files with XGBoost on Dask, for data beyond one machine's memory.

Every worker reads days of its own (silver rows, and bronze prices for the truth) from the object store with its own
settings; rules and linear parts, which need few rows, are fitted where the command runs.
"""

import io
import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import numpy as np
import polars as pl
import xgboost

from features.spec import EngineConfig, spec_hash
from forecast.data import dataset, prices
from forecast.data.dataset import Dataset
from forecast.data.lake_reader import EVERY_S, STALE_S
from forecast.model import baselines, inputs
from forecast.model.baselines import Rule
from forecast.model.correction import apply, raw_margin
from forecast.model.inputs import Inputs
from forecast.model.linear import Linear
from forecast.model.losses import loss
from forecast.model.targets import MICROS, TARGETS, Array, Target
from forecast.training import fitting
from forecast.training.fitting import Tuning
from lakehouse.errors import FatalError
from lakehouse.settings import HORIZONS_S, Settings, load_settings
from lakehouse.stores import bronze
from lakehouse.stores.objects import Objects

log = logging.getLogger(__name__)
# The newest fifth of the rows judges; the longest horizon twice lies between.
JUDGED_SHARE = 0.2
EMBARGO_US = 2 * HORIZONS_S[-1] * MICROS
MIN_ROWS = 1000


@dataclass(frozen=True, slots=True)
class DayPartition:
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


def days(settings: Settings, lake: str, symbols: Sequence[str]) -> list[DayPartition]:
    """Every whole day of silver rows in the lake, in time order.

    Raises:
        FatalError: there is none.
    """
    with closing(Objects(settings.model_copy(update={"s3_bucket": bucket_of(lake)}))) as objects:
        keys = [stored.key for stored in objects.list("silver/silver_features/")]
    found = {
        DayPartition(symbol, date.fromisoformat(key.split("/dt=")[1][:10]))
        for symbol in symbols
        for key in keys
        if f"symbol={quote(symbol, safe='')}/" in key and key.endswith("_manifest.json")
    }
    if not found:
        raise FatalError(f"{lake} holds no silver rows of {', '.join(symbols)}: run tradelake backup")
    return sorted(found, key=lambda d: (d.day, d.symbol))


def read_day(lake: str, day: DayPartition) -> Dataset:
    """One day's complete rows beside their truths, read with this process' own settings; runs on a worker."""
    settings = load_settings()
    spec = spec_hash(EngineConfig.of(settings))
    with closing(Objects(settings.model_copy(update={"s3_bucket": bucket_of(lake)}))) as objects:
        rows = _table(objects, "silver/silver_features", day.symbol, day.day)
        # What is in force when a day begins lies in the day before, what follows its last rows in the day after.
        span = [day.day + timedelta(days=offset) for offset in (-1, 0, 1)]
        events = [_events(objects, table, day.symbol, d) for table in bronze.TABLES for d in span]
    rows = rows.filter(pl.col("spec") == spec, pl.col("complete")).unique("ts", keep="last", maintain_order=True)
    if rows.is_empty():
        return dataset.empty(spec, settings.vol_step_s)
    when = dataset.times(rows)
    path = prices.assemble([pl.concat(events)], prices.first_read(when), when)
    return dataset.build(
        dataset.with_bid(rows, dataset.before_rows(rows, path)), path, spec, settings.vol_step_s, EVERY_S, STALE_S
    )


def _table(objects: Objects, table: str, symbol: str, day: date) -> pl.DataFrame:
    data = objects.get(f"{table}/symbol={quote(symbol, safe='')}/dt={day}/part-0.parquet")
    return pl.DataFrame(schema={"spec": pl.String}) if data is None else pl.read_parquet(io.BytesIO(data))


def _events(objects: Objects, table: str, symbol: str, day: date) -> pl.DataFrame:
    return bronze.as_events(_table(objects, f"bronze/{table}", symbol, day), table)


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
        rule = baselines.predict(self.rules, features)
        label = fitting.labels(self.target, truth, rule, baselines.row_scale(features))
        margin = np.column_stack([line.predict(table) for line in self.linear])
        left = fitting.residual(self.target, label, margin)
        return np.concatenate([table, left], axis=1, dtype=np.float32)

    def judge(self, data: Dataset, boosters: Sequence[xgboost.Booster], start: int) -> Array:
        """Summed losses of the rows from ``start`` on, shape (2, horizons): of the corrected rule, and of the rule."""
        data = part_of(data, start)
        features, truth = data.rows(), data.truth[self.target]
        table = inputs.table(features)
        rule = baselines.predict(self.rules, features)
        correction = np.column_stack(
            [line.predict(table) + raw_margin(b, table) for line, b in zip(self.linear, boosters, strict=True)]
        )
        value = apply(self.target, rule, baselines.row_scale(features), correction)
        return np.array([loss(self.target, truth, v).sum(axis=0) for v in (value, rule)])


def part_of(data: Dataset, start: int = 0, end: int = 2**62, every: int = 1) -> Dataset:
    """The rows with ``start <= ts < end``, of all rows one in ``every``."""
    keep = (data.ts >= start) & (data.ts < end) & (np.arange(len(data)) % every == 0)
    truth = {target: values[keep] for target, values in data.truth.items()}
    return replace(data, ts=data.ts[keep], symbols=data.symbols[keep], matrix=data.matrix[keep], truth=truth)


def prepare(sample: Dataset, target: Target, tuning: Tuning) -> Prepared:
    """Rules and linear parts, fitted to a sample that fits into memory."""
    features, truth = sample.rows(), sample.truth[target]
    rules = fitting.best_rules(target, fitting.fit_rules(target, features, truth), features, truth)
    table = inputs.table(features)
    label = fitting.labels(target, truth, baselines.predict(rules, features), baselines.row_scale(features))
    overlaps = [dataset.overlap_rows(sample, horizon) for horizon in HORIZONS_S]
    linear = tuple(
        fitting.fit_linear(target, table, label[:, j], fitting.scaled(tuning, overlap).prior_rows)
        for j, overlap in enumerate(overlaps)
    )
    return Prepared(target, rules, linear)


def train(lake: str, address: str | None, symbols: Sequence[str], tuning: Tuning) -> dict[str, dict[str, float]]:
    """Trains every booster and judges it on the newest rows.

    Args:
        address: of a Dask scheduler; None: one worker within this process.

    Returns:
        Per target and horizon (seconds): loss of rule, linear part and booster over the loss of the rule alone.

    Raises:
        FatalError: the lake holds no rows to learn from. RetryableError: the object store is away.
    """
    from distributed import Client

    found = days(load_settings(), lake, symbols)
    alone = {"processes": False, "n_workers": 1, "threads_per_worker": tuning.threads, "dashboard_address": None}
    with Client(address, **({} if address else alone)) as client:
        log.info("%d workers, %d days", len(client.scheduler_info()["workers"]), len(found))
        parts = _each(client, partial(read_day, lake), found)
        return _train(client, lake, parts, tuning)


def _train(client: Any, lake: str, parts: list[Any], tuning: Tuning) -> dict[str, dict[str, float]]:
    every = -(-sum(client.gather(_each(client, len, parts))) // tuning.rows) or 1
    sample = dataset.pool(client.gather(_each(client, partial(part_of, every=every), parts)))
    if len(sample) < MIN_ROWS:
        raise FatalError(f"{len(sample)} complete rows in {lake}, want {MIN_ROWS}: back up more days")
    # By rows, not by time: a lake may have holes of hours.
    judged = int(len(sample) * (1 - JUDGED_SHARE))
    cuts = Cuts(int(sample.ts[int(judged * (1 - tuning.newest))]), int(sample.ts[judged]))
    learning = part_of(sample, end=cuts.judged - EMBARGO_US)
    ratios: dict[str, dict[str, float]] = {}
    for target in TARGETS:
        prepared = prepare(learning, target, tuning)
        # The boosters see every row, the sample one in `every`.
        own = [fitting.scaled(tuning, dataset.overlap_rows(sample, horizon * every)) for horizon in HORIZONS_S]
        boosters = _fit(client, prepared, parts, cuts, own)
        losses = client.gather(_each(client, partial(prepared.judge, boosters=boosters, start=cuts.judged), parts))
        ours, rules = np.sum(losses, axis=0)
        ratios[target] = {str(horizon): float(ours[j] / rules[j]) for j, horizon in enumerate(HORIZONS_S)}
    return ratios


def _fit(
    client: Any, prepared: Prepared, parts: list[Any], cuts: Cuts, tunings: Sequence[Tuning]
) -> list[xgboost.Booster]:
    """A booster per horizon, grown by all workers together; the rows stay where they are."""
    from xgboost import dask as xgboost_dask

    older = _array(client, partial(prepared.matrix, start=0, end=cuts.stop - EMBARGO_US), parts)
    newer = _array(client, partial(prepared.matrix, start=cuts.stop, end=cuts.judged - EMBARGO_US), parts)
    width, boosters = len(inputs.NAMES), []
    for j, tuning in enumerate(tunings):
        data = xgboost_dask.DaskQuantileDMatrix(client, older[:, :width], older[:, width + j], max_bin=128)
        held = xgboost_dask.DaskQuantileDMatrix(client, newer[:, :width], newer[:, width + j], ref=data, max_bin=128)
        found = xgboost_dask.train(
            client,
            fitting.xgboost_parameters(prepared.target, tuning),
            data,
            tuning.trees,
            evals=[(held, "newest")],
            early_stopping_rounds=tuning.patience,
            verbose_eval=False,
        )["booster"]
        boosters.append(found[: found.best_iteration + 1])
    return boosters


def _each(client: Any, call: Callable[..., Any], parts: Sequence[Any]) -> list[Any]:
    """Futures of the call's results, one per part; they stay on the workers."""
    return list(client.map(call, parts, pure=False))


def _array(client: Any, matrix: Callable[..., Any], parts: Sequence[Any]) -> Any:
    """The parts' matrices as one distributed array."""
    import dask
    import dask.array

    blocks = _each(client, matrix, parts)
    sizes = client.gather(_each(client, len, blocks))
    width = len(inputs.NAMES) + len(HORIZONS_S)
    known = [
        dask.array.from_delayed(dask.delayed(block), (size, width), np.float32)
        for block, size in zip(blocks, sizes, strict=True)
        if size
    ]
    return dask.array.concatenate(known).persist()
