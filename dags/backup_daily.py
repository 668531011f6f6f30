"""Backs up every whole day that is not backed up yet; removes days older than RETENTION_DAYS from QuestDB, if set."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag, task

from lake_commands import DEFAULTS, run


@dag(
    schedule="20 0 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["backup"],
    params={"day": Param(None, type=["null", "string"], format="date", description="Only this UTC day; empty: all.")},
    doc_md=__doc__,
)
def backup_daily() -> None:
    """Needs no catch-up runs: every run exports all days whose rows differ from their backup."""

    @task
    def backup(params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Exports, reads back, writes manifests."""
        day = (params or {}).get("day")
        report: dict[str, Any] = run("backup", *(["--day", day] if day else []))
        return report

    @task
    def retention() -> dict[str, Any]:
        """Drops days older than RETENTION_DAYS whose backup was just read back; off by default."""
        report: dict[str, Any] = run("retention")
        return report

    backup() >> retention()


backup_daily()
