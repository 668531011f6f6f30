"""Recomputes yesterday's silver rows and forecasts from bronze; none may differ beyond relative 1e-9."""

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag, task

from lake_commands import DEFAULTS, run

DAY = "Replay this UTC day; empty: yesterday."


@dag(
    schedule="10 1 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["quality"],
    params={"day": Param(None, type=["null", "string"], format="date", description=DAY)},
    doc_md=__doc__,
)
def replay_daily() -> None:
    """One task; the number of differing rows is in ``gold_quality`` and in its result."""

    @task
    def replay(params: dict[str, Any] | None = None) -> Any:
        """Fails if a row differs."""
        day = (params or {}).get("day")
        return run("replay", *(["--day", day] if day else []))

    replay()


replay_daily()
