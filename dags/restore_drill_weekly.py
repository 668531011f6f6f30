"""Restores a random backed-up day into scratch tables and compares it with the live lake."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag, task

from lake_commands import DEFAULTS, run

DAY = "Drill with this UTC day; empty: a random one."


@dag(
    schedule="0 4 * * 0",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["backup"],
    params={"day": Param(None, type=["null", "string"], format="date", description=DAY)},
    doc_md=__doc__,
)
def restore_drill_weekly() -> None:
    """Records when backups were last verified in ``gold_quality``, from where Prometheus gets it."""

    @task
    def backup() -> Any:
        """Updates the backup: late rows since the last one would look like a difference."""
        return run("backup")

    @task
    def drill(params: dict[str, Any] | None = None) -> Any:
        """Compares files, candles and silver rows; cleans up after itself."""
        day = (params or {}).get("day")
        return run("drill", *(["--day", day] if day else []))

    backup() >> drill()


restore_drill_weekly()
