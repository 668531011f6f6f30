"""Hourly check of skill, coverage, drift, freshness and holes; rolls back a champion that stays below its baseline."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta

import polars as pl

from features.spec import EngineConfig, spec_hash
from forecast.data import lake_reader
from forecast.data.dataset import Dataset
from forecast.model.targets import TARGETS, Target
from forecast.monitoring import drift
from forecast.registry.client import RegistryClient
from lakehouse.errors import FatalError
from lakehouse.findings import Finding, note
from lakehouse.settings import Settings
from lakehouse.stores.bronze import instant
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
# Fewer scored forecasts per target and hour are no evidence about a model.
MIN_JUDGED = 100
DRIFT_SPAN = timedelta(hours=24)
MIN_ROWS = 500
HOLES_SPAN_DAYS = 7
FEED_TABLES = ("bronze_trades", "silver_features")
# With a newest trade older than this, the market is halted or the pipeline is stuck.
STILL_S = 1800.0


def judged(questdb: QuestDB, since: datetime) -> pl.DataFrame:
    """Sums over the judged forecasts since then, per symbol, target, horizon, version and hour."""
    return questdb.frame(
        "SELECT symbol, target, horizon_s, model_version, timestamp_floor('h', ts) hour, count() n, sum(loss) loss, "
        "sum(baseline_loss) baseline_loss, sum(CASE WHEN inside_80 THEN 1 ELSE 0 END) inside_80, "
        "sum(CASE WHEN inside_95 THEN 1 ELSE 0 END) inside_95 "
        f"FROM gold_forecast_scores WHERE ts >= {instant(since)}"
    )


def skill_findings(sums: pl.DataFrame) -> list[Finding]:
    """Skill (1 - loss / baseline's loss) and interval coverage per symbol, target and horizon; pure."""
    keys = ("symbol", "target", "horizon_s")
    found = []
    for row in sums.group_by(keys, maintain_order=True).agg(pl.col("^(n|loss|.*_loss|inside.*)$").sum()).to_dicts():
        of = {key: row[key] for key in keys}
        if row["baseline_loss"] > 0:
            found.append(Finding("skill", 1 - row["loss"] / row["baseline_loss"], row["n"], **of))
        for share in ("80", "95"):
            found.append(Finding(f"coverage_{share}", row[f"inside_{share}"] / row["n"], row["n"], **of))
    return found


def stays_below_zero(sums: pl.DataFrame, target: Target, version: str, hours: int, now: datetime) -> dict[str, float]:
    """Skill per hour of a version over the last ``hours`` whole hours, if it is below zero in every one; else nothing.

    An hour with fewer than `MIN_JUDGED` forecasts counts as no evidence: nothing is concluded; pure.
    """
    last = now.replace(minute=0, second=0, microsecond=0)
    mine = (
        sums.filter(pl.col("target") == target, pl.col("model_version") == version)
        .filter(pl.col("hour").is_between(last - timedelta(hours=hours), last, closed="left"))
        .group_by("hour")
        .agg(pl.col("n").sum(), pl.col("loss").sum(), pl.col("baseline_loss").sum())
        .filter((pl.col("n") >= MIN_JUDGED) & (pl.col("baseline_loss") > 0))
        .sort("hour")
    )
    skills = {f"{row['hour']:%Y-%m-%dT%HZ}": 1 - row["loss"] / row["baseline_loss"] for row in mine.to_dicts()}
    return skills if len(skills) == hours and max(skills.values()) < 0 else {}


def drift_findings(shapes: Mapping[Target, drift.Shape], recent: Dataset) -> list[Finding]:
    """The stability index of the features of one symbol: recent rows against what each champion was trained on; pure.

    A model that never saw the symbol has nothing to drift from.
    """
    symbol = str(recent.symbols[0])
    return [
        Finding("psi", drift.psi(held, column), len(recent), symbol, target, feature=name)
        for target, shape in shapes.items()
        for name, column in zip(recent.columns, recent.matrix.T, strict=True)
        if (held := shape.get(symbol, {}).get(name)) is not None
    ]


def training_shapes(registry: RegistryClient) -> dict[Target, drift.Shape]:
    """Training histograms of the champions; rules have none and are left out."""
    found: dict[Target, drift.Shape] = {}
    for target in TARGETS:
        champion = registry.champion(target)
        text = None if champion is None else registry.report(target, champion, drift.FILE)
        if text is None:
            log.info("%s/%s was trained on no rows: no drift to tell", target, champion)
        else:
            found[target] = drift.load(text)
    return found


def recent_drift(
    questdb: QuestDB, registry: RegistryClient, settings: Settings, symbols: Sequence[str], now: datetime
) -> list[Finding]:
    """Drift of every symbol's last day, read as training reads it, against the champions' training rows."""
    shapes = training_shapes(registry)
    spec = spec_hash(EngineConfig.of(settings))
    found = []
    for symbol in symbols if shapes else ():
        recent = lake_reader.read(questdb, symbol, now - DRIFT_SPAN, now, spec, settings.vol_step_s)
        if len(recent) < MIN_ROWS:
            log.info("%s: %d rows are too few to tell drift", symbol, len(recent))
        else:
            found += drift_findings(shapes, recent)
    return found


def feed_findings(questdb: QuestDB, symbol: str, now: datetime) -> list[Finding]:
    """Age of a symbol's newest event per table, and the number of its missing trade ids."""
    found = []
    for table in FEED_TABLES:
        rows = questdb.rows(f"SELECT ts FROM {table} WHERE symbol = %s ORDER BY ts DESC LIMIT 1", (symbol,))
        if rows:
            age = (now - rows[0][0]).total_seconds()
            found.append(Finding("freshness_s", age, 1, symbol, detail=table, feature=table))
    missing, minutes = questdb.rows(
        "SELECT coalesce(sum(holes_inside + holes_before), 0), count() FROM bronze_completeness "
        "WHERE symbol = %s AND ts >= dateadd('d', %s, now())",
        (symbol, -HOLES_SPAN_DAYS),
    )[0]
    # Below zero: the span begins between two minutes that share a range of ids.
    return [*found, Finding("holes", float(max(0, missing)), minutes, symbol)]


def roll_back(registry: RegistryClient, sums: pl.DataFrame, hours: int, now: datetime) -> list[Finding]:
    """Rolls back each target whose champion's skill stays below zero, and logs it."""
    found = []
    for target in TARGETS:
        champion = registry.champion(target)
        skills = stays_below_zero(sums, target, f"{target}/{champion}", hours, now)
        if not skills:
            continue
        reason = f"skill below zero in each of the last {hours} hours"
        try:
            before = registry.rollback(target, reason, skills)
            detail = f"{target}/{champion} back to {target}/{before}: {reason}"
        except FatalError as error:
            detail = f"{target}/{champion}: {reason}, but nothing to go back to: {error}"
        log.warning("%s", detail)
        found.append(Finding("rollback", min(skills.values()), len(skills), target=target, detail=detail))
    return found


def check(settings: Settings, symbols: Sequence[str], now: datetime) -> list[Finding]:
    """Entry point of command and DAG: one check with its own clients, findings written to ``gold_quality``.

    Raises:
        RetryableError: QuestDB or MLflow is away. FatalError: the lake has nothing to check.
    """
    registry = RegistryClient(settings)
    with closing(QuestDB(settings)) as questdb:
        sums = judged(questdb, now - timedelta(hours=settings.quality_span_hours + 1))
        found = skill_findings(sums)
        for symbol in symbols:
            found += feed_findings(questdb, symbol, now)
        if not any(finding.measure == "freshness_s" for finding in found):
            raise FatalError(f"bronze holds no rows of {', '.join(symbols)}: is the lake up? see tradelake status")
        found += recent_drift(questdb, registry, settings, symbols, now)
        found += roll_back(registry, sums, settings.quality_span_hours, now)
        note(questdb, now, found)
        return found


def check_feed(settings: Settings, symbols: Sequence[str], now: datetime) -> list[Finding]:
    """Findings on the feed alone; writes nothing.

    Raises:
        FatalError: a symbol's newest trade or feature row is older than `STILL_S`, or there is none.
    """
    with closing(QuestDB(settings)) as questdb:
        found = [finding for symbol in symbols for finding in feed_findings(questdb, symbol, now)]
    fresh = {(f.symbol, f.detail) for f in found if f.measure == "freshness_s" and f.value <= STILL_S}
    if still := sorted({(symbol, table) for symbol in symbols for table in FEED_TABLES} - fresh):
        what = ", ".join(f"{symbol} in {table}" for symbol, table in still)
        raise FatalError(f"no new rows for {STILL_S:g} s of {what}: see tradelake status")
    return found


def summary(found: Sequence[Finding]) -> dict[str, object]:
    """How many figures of each kind, the worst drift, and what was moved back."""
    counts = {measure: sum(f.measure == measure for f in found) for measure in sorted({f.measure for f in found})}
    worst = max((f.value for f in found if f.measure == "psi"), default=None)
    return {"findings": counts, "worst_psi": worst, "rollbacks": [f.detail for f in found if f.measure == "rollback"]}
