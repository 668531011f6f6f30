"""Measures live skill, coverage, drift, freshness and holes; rolls back a champion that stays worse than its rule."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import dag, task

from lake_commands import DEFAULTS, run


@dag(
    schedule="5 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["quality"],
    doc_md=__doc__,
)
def quality_hourly() -> None:
    """One task; its findings are in ``gold_quality`` and in its result."""

    @task
    def quality() -> Any:
        """Writes the findings to ``gold_quality``."""
        return run("quality")

    quality()


quality_hourly()
