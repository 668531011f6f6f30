"""Tables and views that QuestDB halted, as when its disk was full: which, why, and the statement that resumes them."""

from dataclasses import dataclass
from typing import Literal

from lakehouse.retention import dropped_days
from lakehouse.stores.questdb import QuestDB

State = Literal["suspended", "invalid"]


@dataclass(frozen=True, slots=True)
class HaltedTable:
    """A table or view whose rows stay as they are although new ones are accepted.

    Attributes:
        state: suspended (acknowledged writes are kept but not applied) or invalid (a view that is not refreshed).
        ready: whether the remedy can work now: a view can be made anew only from a base that is valid itself.
        base_left: whether days left the table that an invalid view is made from: made anew, it would lose them.
    """

    name: str
    is_view: bool
    state: State
    reason: str
    ready: bool = True
    base_left: bool = False

    @property
    def remedy(self) -> str:
        """The statement that makes it go on."""
        if self.state == "invalid":
            # Truncates the view, which makes the views built on it invalid in turn.
            return f"REFRESH MATERIALIZED VIEW {self.name} FULL"
        return f"ALTER {'MATERIALIZED VIEW' if self.is_view else 'TABLE'} {self.name} RESUME WAL"


def halted(database: QuestDB) -> list[HaltedTable]:
    """What is halted now, suspended tables first.

    Raises:
        RetryableError: QuestDB is away.
    """
    views = database.rows(
        "SELECT view_name, base_table_name, view_status, invalidation_reason FROM materialized_views() ORDER BY 1"
    )
    stopped = database.rows("SELECT name, errorMessage FROM wal_tables() WHERE suspended ORDER BY 1")
    status = {name: state for name, _, state, _ in views}
    invalid = [view for view in views if view[2] == "invalid"]
    left = dropped_days(database) if invalid else {}
    suspended = {name for name, _ in stopped}
    found = [HaltedTable(name, name in status, "suspended", reason or "") for name, reason in stopped]
    for name, base, _, reason in invalid:
        ready = status.get(base, "valid") == "valid" and base not in suspended and base not in left
        found += (
            [HaltedTable(name, True, "invalid", reason or "", ready, base in left)] if name not in suspended else []
        )
    return found


def resume(database: QuestDB) -> list[HaltedTable]:
    """Makes go on what can; returns it. While the cause lasts QuestDB halts it again: repeat until nothing is left.

    Raises:
        RetryableError: QuestDB is away. FatalError: it refuses.
    """
    tried = [one for one in halted(database) if one.ready]
    for one in tried:
        database.execute(one.remedy)
    return tried
