"""Records the outcome of an Airflow task for the dashboards."""

from contextlib import closing
from datetime import UTC, datetime

from lakehouse.findings import Finding, note
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB

STATES = ("success", "skipped", "failed")


def finding(dag: str, task: str, state: str, tries: int) -> Finding:
    """A task's outcome as a finding: 1, or 0 if it finally failed."""
    return Finding("task", float(state != "failed"), tries, feature=f"{dag}.{task}", detail=state)


def write(settings: Settings, found: Finding) -> Finding:
    """Adds it to ``gold_quality``, with a client of its own.

    Raises:
        RetryableError: QuestDB is down.
    """
    with closing(QuestDB(settings)) as questdb:
        note(questdb, datetime.now(UTC), [found])
    return found
