"""Exports the newest gold_quality findings; the jobs that write them exit before Prometheus can scrape."""

from prometheus_client import Gauge

from lakehouse.stores.questdb import QuestDB

BACKUP = Gauge("backup_last_verified_timestamp_seconds", "When a backup was last read back and found whole; 0: never.")
REPLAY = Gauge("replay_rows_differing", "Rows of the newest replayed day that differ from what was served.", ["symbol"])
DRIFT = Gauge("feature_psi_max", "Largest population stability index of a feature, newest check.", ["symbol"])


def tell_findings(database: QuestDB) -> None:
    """Sets the gauges to the newest rows of ``gold_quality``.

    Raises:
        RetryableError: QuestDB is away.
    """
    for (value,) in database.rows("SELECT max(value) FROM gold_quality WHERE measure = 'backup_verified'"):
        if value is not None:
            BACKUP.set(value)
    replayed = "SELECT symbol, last(value) FROM gold_quality WHERE measure = 'replay_differing'"
    for symbol, value in database.rows(replayed):
        REPLAY.labels(symbol).set(value)
    newest = "SELECT symbol, ts, max(value) worst FROM gold_quality WHERE measure = 'psi'"
    for symbol, worst in database.rows(f"SELECT symbol, last(worst) FROM (({newest}) ORDER BY ts)"):
        DRIFT.labels(symbol).set(worst)
