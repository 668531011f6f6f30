"""Exports what only QuestDB's tables tell, for the alerts: missing ids, suspended tables, skill, results of tasks."""

import logging
import threading
import time
from contextlib import closing
from dataclasses import dataclass

from prometheus_client import Gauge

from forecast.monitoring.exporter import tell_findings
from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
EVERY_S = 15.0
# A pass waits ten times as long as it took, so that it never uses more than a tenth of QuestDB's time.
REST = 10
TIMEOUT_S = 20.0

READ = Gauge("lake_facts_timestamp_seconds", "When all facts that QuestDB's tables hold were last read; 0: never.")


@dataclass(frozen=True, slots=True)
class StoredFact:
    """A gauge and the query behind it, which returns the gauge's labels and, last, its value."""

    gauge: Gauge
    sql: str


_MISSING = "sum(holes_inside + holes_before)"
_DAY = "FROM gold_forecast_scores WHERE ts > dateadd('d', -1, now()) GROUP BY target"
# Longer than a week, for the weekly drill; a task that is gone from the DAGs is forgotten in time.
_TASKS = "FROM gold_quality WHERE measure = 'task' AND ts > dateadd('d', -9, now())"


def _coverage(percent: int) -> str:
    return f"SELECT target, '{percent}', avg(CASE WHEN inside_{percent} THEN 1.0 ELSE 0.0 END) {_DAY}"


FACTS = (
    StoredFact(
        Gauge("ledger_ids_missing", "Trade ids that bronze lacks, by the ledger, up to two minutes ago.", ["symbol"]),
        # The newest ids may still be on their way. Below zero: minutes that share a range of ids are judged together.
        f"SELECT symbol, CASE WHEN {_MISSING} < 0 THEN 0 ELSE {_MISSING} END "
        "FROM bronze_completeness WHERE ts < dateadd('m', -2, now()) GROUP BY symbol",
    ),
    StoredFact(
        Gauge("table_suspended", "1: QuestDB applies no writes to this table.", ["table"]),
        "SELECT name, CASE WHEN suspended THEN 1 ELSE 0 END FROM wal_tables() WHERE NOT starts_with(name, 'sys.')",
    ),
    StoredFact(
        Gauge("view_invalid", "1: QuestDB does not refresh this materialized view.", ["view"]),
        "SELECT view_name, CASE WHEN view_status = 'invalid' THEN 1 ELSE 0 END FROM materialized_views()",
    ),
    StoredFact(
        Gauge(
            "forecast_day_skill_ratio", "Skill of a day, all symbols and horizons: 1 - loss / baseline's.", ["target"]
        ),
        f"SELECT target, 1 - sum(loss) / sum(baseline_loss) {_DAY}",
    ),
    StoredFact(
        Gauge("forecast_day_coverage_ratio", "Share of a day's outcomes inside the interval.", ["target", "interval"]),
        f"{_coverage(80)} UNION ALL {_coverage(95)}",
    ),
    StoredFact(
        Gauge("task_failed", "1: the last run of this Airflow task failed.", ["task"]),
        f"SELECT feature, 1 - last(value) {_TASKS} GROUP BY feature",
    ),
    StoredFact(
        Gauge("task_ended_timestamp_seconds", "When this Airflow task last ended.", ["task"]),
        f"SELECT feature, max(ts)::long / 1000000.0 {_TASKS} GROUP BY feature",
    ),
    StoredFact(
        Gauge("drill_last_passed_timestamp_seconds", "When a restore drill last passed."),
        "SELECT max(value) FROM gold_quality WHERE measure = 'backup_verified' AND detail LIKE 'drill%'",
    ),
    StoredFact(
        Gauge("lake_began_timestamp_seconds", "Time of the lake's first forecast."),
        "SELECT min(ts)::long / 1000000.0 FROM gold_forecasts",
    ),
)


def export(settings: Settings, stop: threading.Event) -> None:
    """Reads every fact every few seconds until stopped; without QuestDB the gauges stay, and `READ` grows old."""
    with closing(QuestDB(settings, timeout_s=TIMEOUT_S)) as database:
        while True:
            begun = time.monotonic()
            tell_facts(database)
            if stop.wait(max(EVERY_S, REST * (time.monotonic() - begun))):
                return


def tell_facts(database: QuestDB) -> bool:
    """Sets every gauge; returns whether all facts could be read.

    A table that is not there takes its gauge's series away: what is unknown must not look well.
    """
    try:
        read = [_tell(database, fact) for fact in FACTS]
        tell_findings(database)
    except (FatalError, RetryableError) as error:
        log.warning("the facts for the alerts cannot be read: %s", error)
        return False
    if all(read):
        READ.set_to_current_time()
    return all(read)


def _tell(database: QuestDB, fact: StoredFact) -> bool:
    try:
        rows = database.rows(fact.sql)
    except FatalError as error:
        log.warning("a fact for the alerts cannot be read: %s", error)
        fact.gauge.clear()
        return False
    fact.gauge.clear()
    for *labels, value in rows:
        if value is not None:
            (fact.gauge.labels(*labels) if labels else fact.gauge).set(value)
    return True
