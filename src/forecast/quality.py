"""The hourly check: live skill, coverage, drift, freshness, holes; a champion that stays worse than its rule goes."""

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
import polars as pl

from features.spec import NAMES, EngineConfig, spec_hash
from forecast.registry import Registry
from forecast.targets import TARGETS, Array, Target
from lakehouse.errors import FatalError, LakeError
from lakehouse.findings import Finding, note
from lakehouse.process import set_up_logging
from lakehouse.settings import Settings, load_settings
from lakehouse.stores.bronze import instant, text
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
# An hour with fewer judged forecasts per target says nothing about its model.
LEAST_JUDGED = 100
DRIFT_SPAN = timedelta(hours=24)
REFERENCE_SPAN = timedelta(days=14)
REFERENCE_ROWS = 50_000
BINS = 10
LEAST_ROWS = 500
HOLES_SPAN_DAYS = 7
FEED_TABLES = ("bronze_trades", "silver_features")
# A market whose newest trade is older stands still, or we do.
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

    An hour with fewer than `LEAST_JUDGED` forecasts counts as no evidence: nothing is concluded; pure.
    """
    last = now.replace(minute=0, second=0, microsecond=0)
    mine = (
        sums.filter(pl.col("target") == target, pl.col("model_version") == version)
        .filter(pl.col("hour").is_between(last - timedelta(hours=hours), last, closed="left"))
        .group_by("hour")
        .agg(pl.col("n").sum(), pl.col("loss").sum(), pl.col("baseline_loss").sum())
        .filter((pl.col("n") >= LEAST_JUDGED) & (pl.col("baseline_loss") > 0))
        .sort("hour")
    )
    skills = {f"{row['hour']:%Y-%m-%dT%HZ}": 1 - row["loss"] / row["baseline_loss"] for row in mine.to_dicts()}
    return skills if len(skills) == hours and max(skills.values()) < 0 else {}


def psi(reference: Array, recent: Array) -> float:
    """Population stability index of one feature over deciles of the reference, unknown being a bin of its own; pure.

    sum over bins of (q - p) * ln(q / p); shares are smoothed by half a row. Below 0.1 nothing has moved, above 0.25
    much has (Siddiqi, Credit Risk Scorecards, 2006).
    """
    known = reference[np.isfinite(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if known.size else np.empty(0)

    def shares(values: Array) -> Array:
        bins = np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), len(edges) + 1)
        counts = np.bincount(bins, minlength=len(edges) + 2) + 0.5
        return np.asarray(counts / counts.sum())

    p, q = shares(reference), shares(recent)
    return float(np.sum((q - p) * np.log(q / p)))


def drift_findings(questdb: QuestDB, symbol: str, spec: str, now: datetime) -> list[Finding]:
    """The stability index of every feature: the last day against the two weeks that training draws on before it."""
    recent = _sample(questdb, symbol, spec, now - DRIFT_SPAN, now)
    reference = _sample(questdb, symbol, spec, now - DRIFT_SPAN - REFERENCE_SPAN, now - DRIFT_SPAN)
    if min(recent.height, reference.height) < LEAST_ROWS:
        log.info("%s: %d recent and %d earlier rows are too few to tell drift", symbol, recent.height, reference.height)
        return []
    return [
        Finding("psi", psi(reference[name].to_numpy(), recent[name].to_numpy()), recent.height, symbol, feature=name)
        for name in NAMES
    ]


def _sample(questdb: QuestDB, symbol: str, spec: str, start: datetime, end: datetime) -> pl.DataFrame:
    """At most `REFERENCE_ROWS` rows of a span, evenly spread; unknown is NaN."""
    where = f"symbol = {text(symbol)} AND spec = {text(spec)} AND ts >= {instant(start)} AND ts < {instant(end)}"
    count = questdb.rows(f"SELECT count() FROM silver_features WHERE {where}")[0][0]
    names = ", ".join(f'"{name}"' for name in NAMES)
    every = max(1, count // REFERENCE_ROWS)
    numbered = f"SELECT *, row_number() OVER () k FROM silver_features WHERE {where}"
    rows = questdb.frame(f"SELECT {names} FROM ({numbered}) WHERE k % {every} = 0")
    return rows.cast(pl.Float64).fill_null(float("nan"))


def feed_findings(questdb: QuestDB, symbol: str, now: datetime) -> list[Finding]:
    """How old the newest event is, and how many trade ids are missing."""
    found = []
    for table in FEED_TABLES:
        rows = questdb.rows(f"SELECT ts FROM {table} WHERE symbol = %s ORDER BY ts DESC LIMIT 1", (symbol,))
        if rows:
            age = (now - rows[0][0].replace(tzinfo=UTC)).total_seconds()
            found.append(Finding("freshness_s", age, 1, symbol, detail=table, feature=table))
    missing, minutes = questdb.rows(
        "SELECT coalesce(sum(holes_inside + CASE WHEN holes_before > 0 THEN holes_before ELSE 0 END), 0), count() "
        "FROM bronze_completeness WHERE symbol = %s AND ts >= dateadd('d', %s, now())",
        (symbol, -HOLES_SPAN_DAYS),
    )[0]
    return [*found, Finding("holes", float(missing), minutes, symbol)]


def roll_back(registry: Registry, sums: pl.DataFrame, hours: int, now: datetime) -> list[Finding]:
    """Moves the alias back for each target whose champion's skill stays below zero, and says so."""
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
    """One check with its own clients, its findings noted in ``gold_quality``: what the command and the DAG call.

    Raises:
        RetryableError: QuestDB or MLflow is away. FatalError: the lake has nothing to check.
    """
    questdb = QuestDB(settings, readonly=False)
    spec = spec_hash(EngineConfig(settings.feature_interval_ms, settings.vol_step_s, settings.silence_s))
    try:
        sums = judged(questdb, now - timedelta(hours=settings.quality_span_hours + 1))
        found = skill_findings(sums)
        for symbol in symbols:
            found += feed_findings(questdb, symbol, now) + drift_findings(questdb, symbol, spec, now)
        if not any(finding.measure == "freshness_s" for finding in found):
            raise FatalError(f"bronze holds nothing of {', '.join(symbols)}: is the lake up? scripts/status.sh")
        found += roll_back(Registry(settings), sums, settings.quality_span_hours, now)
        note(questdb, now, found)
        return found
    finally:
        questdb.close()


def check_feed(settings: Settings, symbols: Sequence[str], now: datetime) -> list[Finding]:
    """The findings on the feed alone, nothing written.

    Raises:
        FatalError: a symbol's newest trade or feature row is older than `STILL_S`, or there is none.
    """
    questdb = QuestDB(settings)
    try:
        found = [finding for symbol in symbols for finding in feed_findings(questdb, symbol, now)]
    finally:
        questdb.close()
    fresh = {(f.symbol, f.detail) for f in found if f.measure == "freshness_s" and f.value <= STILL_S}
    if still := sorted({(symbol, table) for symbol in symbols for table in FEED_TABLES} - fresh):
        what = ", ".join(f"{symbol} in {table}" for symbol, table in still)
        raise FatalError(f"nothing new within {STILL_S:g} s of {what}: see scripts/status.sh")
    return found


def main() -> None:
    """``python -m forecast.quality [--feed]``; a summary as JSON on stdout."""
    parser = argparse.ArgumentParser(prog="python -m forecast.quality", description=__doc__)
    parser.add_argument("--feed", action="store_true", help="only whether data flows; writes nothing")
    feed_only = parser.parse_args().feed
    try:
        settings = load_settings()
        set_up_logging(settings.log_level)
        found = (check_feed if feed_only else check)(settings, settings.symbols, datetime.now(UTC))
    except LakeError as error:
        sys.exit(f"quality check failed: {error}")
    counts = {measure: sum(f.measure == measure for f in found) for measure in sorted({f.measure for f in found})}
    worst = max((f.value for f in found if f.measure == "psi"), default=None)
    rollbacks = [f.detail for f in found if f.measure == "rollback"]
    print(orjson.dumps({"findings": counts, "worst_psi": worst, "rollbacks": rollbacks}).decode())


if __name__ == "__main__":
    main()
