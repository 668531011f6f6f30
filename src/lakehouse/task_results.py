"""Records the outcome of an Airflow task for the dashboards: ``python -m lakehouse.task_results DAG TASK STATE``."""

import argparse
from contextlib import closing
from datetime import UTC, datetime

from lakehouse import command
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


def main() -> None:
    """The finding as JSON on stdout."""
    parser = argparse.ArgumentParser(prog="python -m lakehouse.task_results", description=__doc__)
    parser.add_argument("dag")
    parser.add_argument("task")
    parser.add_argument("state", choices=STATES)
    parser.add_argument("--tries", type=int, default=1)
    given = parser.parse_args()
    found = finding(given.dag, given.task, given.state, given.tries)
    command.run("noting a task's end", lambda settings: write(settings, found))


if __name__ == "__main__":
    main()
