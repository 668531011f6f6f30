"""Fetches trades that are still missing and rebuilds silver rows where late ones arrived."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import dag, task

from lake_commands import DEFAULTS, run


@dag(
    schedule="35 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["repair"],
    doc_md=__doc__,
)
def repair_hourly() -> None:
    """One task; its findings are in ``gold_quality`` and in its result."""

    @task
    def repair() -> Any:
        """Fails if ids are still missing afterwards."""
        return run("repair")

    repair()


repair_hourly()
