"""Training pipeline: dataset, leak gate, tuning, evaluation, challenger, promotion.

Each step takes a folder and plain values, leaves its work in the folder and returns plain values, so that a scheduler
can run the steps one by one.
"""

import json
import logging
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from features.engine import EngineConfig
from features.spec import spec_hash
from forecast import evaluate
from forecast.data import dataset, lake_reader
from forecast.data.dataset import Dataset
from forecast.model import forecaster
from forecast.model.targets import TARGETS, Target
from forecast.monitoring import drift
from forecast.registry.client import RegistryClient
from forecast.training import backtest, challenger, distributed, leak_gate, report, tuning
from forecast.training.backtest import Backtest
from forecast.training.challenger import Recent
from forecast.training.fitting import Tuning
from forecast.training.walkforward import Schedule
from lakehouse.errors import NothingToDoError
from lakehouse.settings import Settings
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger("forecast.train")
DEFAULT_DAYS = 14.0
DATASET = "dataset.npz"
STEPS = ("prepare", "leaks", "tune", "evaluate", "decide")


class TooLittleHistoryError(NothingToDoError):
    """Too few complete rows to train on; the served version stays."""


def prepare(settings: Settings, questdb: QuestDB, folder: Path, symbols: Sequence[str], days: float) -> dict[str, Any]:
    """Reads the newest ``days`` of all symbols into ``folder``, and some raw events for the leak gate.

    Raises:
        TooLittleHistoryError: fewer complete rows than an evaluation needs.
    """
    config = EngineConfig.of(settings, bronze.sparse_symbols(questdb))
    end = datetime.now(UTC)
    spec = spec_hash(config)
    parts = [lake_reader.read(questdb, s, end - timedelta(days=days), end, spec, config.vol_step_s) for s in symbols]
    data = dataset.pool(parts)
    counts = {symbol: dict(part.counts) for symbol, part in zip(symbols, parts, strict=True)}
    log.info("rows by symbol: %s", counts)
    if len(data) < evaluate.MIN_ROWS:
        raise TooLittleHistoryError(
            f"{len(data)} complete rows, want {evaluate.MIN_ROWS}: the simple rules keep serving"
        )
    folder.mkdir(parents=True, exist_ok=True)
    data.save(folder / DATASET)
    lake_reader.newest_events(questdb, symbols[0]).write_parquet(folder / "events.parquet")
    (folder / "config.json").write_text(json.dumps(asdict(config) | {"sparse": sorted(config.sparse)}))
    return {"rows": len(data), "dataset": data.hash(), "spec": spec, "counts": counts}


def leaks(folder: Path) -> dict[str, Any]:
    """The leak gate over the folder's dataset and events.

    Raises:
        LeakError: training must not go on.
    """
    held = folder / "events.parquet"
    events = pl.read_parquet(held) if held.exists() else None
    config = json.loads((folder / "config.json").read_text()) if held.exists() else None
    engine = EngineConfig(**(config | {"sparse": frozenset(config["sparse"])})) if config else None
    found = leak_gate.check(dataset.load(folder / DATASET), Schedule(), events, engine)
    log.info("leak gate passed: %s", found)
    return found


def search(folder: Path, budget: str) -> dict[str, Any]:
    """Tunes each target within the budget (``20`` trials, ``90s``, ``0`` none) and saves the best settings."""
    trials, seconds = tuning.parse_budget(budget)
    data = dataset.load(folder / DATASET)
    found: dict[str, Any] = {}
    for target in TARGETS:
        chosen = Tuning() if not (trials or seconds) else tuning.search(data, target, Tuning(), trials, seconds)
        (folder / f"tuning_{target}.json").write_text(json.dumps(asdict(chosen)))
        found[target] = asdict(chosen)
    return found


def assess(folder: Path) -> dict[str, Any]:
    """Runs the walk-forward evaluation; writes report, challengers and recent folds; returns the headline metrics."""
    data = dataset.load(folder / DATASET)
    results: dict[Target, Backtest] = {}
    for target in TARGETS:
        tuning = read_tuning(folder, target)
        results[target] = backtest.run(data, target, Schedule(), tuning, log.info)
        challenger.make(data, results[target], tuning).save(folder / target)
        challenger.recent(results[target]).save(folder / f"recent_{target}.npz")
    body = evaluate.describe(data) | {target: backtest.report(data, result) for target, result in results.items()}
    report.write(folder / "report", data, results, body)
    (folder / "report" / "report.json").write_text(json.dumps(body))
    (folder / "report" / drift.FILE).write_text(drift.dump(drift.shape(data)))
    return {target: {h: f["ratio"] for h, f in body[target].items()} for target in TARGETS}


def read_tuning(folder: Path, target: Target) -> Tuning:
    """The settings `search` found; the defaults where it did not run."""
    held = folder / f"tuning_{target}.json"
    return Tuning(**json.loads(held.read_text())) if held.exists() else Tuning()


def decide(folder: Path, registry: RegistryClient, promote: bool) -> dict[str, Any]:
    """Registers both challengers and promotes each that beats its champion and the best rule; logs every decision.

    Doing it again after MLflow went away in between takes up what was left: no version is made or judged twice.

    Args:
        promote: False: the decision is logged, but the champion stays whatever it is.
    """
    registry.ensure_baselines()
    data = dataset.load(folder / DATASET)
    decisions: dict[str, Any] = {}
    for target in TARGETS:
        held = folder / f"decision_{target}.json"
        if not held.exists():
            held.write_text(json.dumps(decide_target(folder, registry, promote, target, data)))
        decisions[target] = json.loads(held.read_text())
    return decisions


def decide_target(
    folder: Path, registry: RegistryClient, promote: bool, target: Target, data: Dataset
) -> dict[str, Any]:
    """`decide` for one target."""
    body = json.loads((folder / "report" / "report.json").read_text())
    figures = {f"ratio_{h}": float(f["ratio"]) for h, f in body[target].items()}
    candidate = forecaster.load(folder / target)
    version = registry.register(candidate, asdict(read_tuning(folder, target)), figures, folder / "report")
    registry.challenge(target, version)
    with tempfile.TemporaryDirectory(prefix="tradelake-champion-") as scratch:
        registry.fetch(target, registry.opponent(target, version) or version, Path(scratch))
        newest = Recent.load(folder / f"recent_{target}.npz", target)
        verdict = challenger.judge(data, newest, forecaster.load(Path(scratch)))
    if verdict.promote and promote:
        registry.promote(target, version, verdict.reason, verdict.figures)
    else:
        reason = verdict.reason if not verdict.promote else f"{verdict.reason}, but --promote was not given"
        registry.refuse(target, version, reason, verdict.figures)
    return {"version": version, "champion": registry.champion(target), "reason": verdict.reason}


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """What to train on and what may come of it.

    Attributes:
        symbols: none: the lake's.
        days: the newest days to learn from.
        budget: trials (``20``) or seconds (``90s``) of tuning per target; ``0``: no tuning.
        promote: whether a challenger that wins becomes champion.
    """

    symbols: tuple[str, ...] = ()
    days: float = DEFAULT_DAYS
    budget: str = "0"
    promote: bool = False


def run_step(step: str, folder: Path, options: TrainingOptions, settings: Settings) -> dict[str, Any]:
    """One step by name; builds only the clients it needs."""
    if step == "prepare":
        with closing(QuestDB(settings)) as questdb:
            return prepare(settings, questdb, folder, options.symbols or settings.symbols, options.days)
    if step == "decide":
        return decide(folder, RegistryClient(settings), options.promote)
    if step == "tune":
        return search(folder, options.budget)
    return leaks(folder) if step == "leaks" else assess(folder)


def train(settings: Settings, options: TrainingOptions, folder: Path | None, step: str | None) -> dict[str, Any]:
    """Runs ``step``, or all of `STEPS`, in ``folder`` (None: a temporary one); returns what each step found.

    Raises:
        TooLittleHistoryError: nothing was trained. LakeError: a server is away, or the leak gate refuses.
    """
    with tempfile.TemporaryDirectory(prefix="tradelake-train-") as scratch:
        work = folder or Path(scratch)
        return {name: run_step(name, work, options, settings) for name in ([step] if step else STEPS)}


def train_on_archive(settings: Settings, lake: str, dask: str | None, symbols: tuple[str, ...]) -> dict[str, Any]:
    """Trains and judges boosters over the Parquet of ``lake`` (``s3://BUCKET``), on Dask's workers if given."""
    return dict(distributed.train(lake, dask, symbols or settings.symbols, Tuning()))
