"""Brings the tables and views of an existing lake to the definitions of this version, and refuses a newer lake."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from lakehouse.errors import FatalError
from lakehouse.schema import META_VERSIONS, SCHEMA_VERSION, Table, View


class SqlServer(Protocol):
    """What a migration needs of QuestDB."""

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The result of a query."""

    def execute(self, sql: str) -> None:
        """Runs a statement."""


def migrate(server: SqlServer, tables: Sequence[Table], views: Sequence[View]) -> list[str]:
    """Creates what is missing, adds columns, and corrects deduplication keys and views; again, it changes nothing.

    Returns:
        What was changed, one line each.

    Raises:
        FatalError: a newer version made the lake, or a column has another type.
    """
    existing = {name for (name,) in server.rows("SELECT table_name FROM tables()")}
    _refuse_newer(server, existing)
    changed = [line for table in tables for line in _migrate_table(server, table, existing)]
    changed += _migrate_views(server, views, existing)
    if META_VERSIONS in tables:
        changed += _stamp(server)
    return changed


def _refuse_newer(server: SqlServer, existing: set[str]) -> None:
    if META_VERSIONS.name in existing and (found := _version(server)) > SCHEMA_VERSION:
        raise FatalError(
            f"this lake was made by a newer version (schema {found}; this one knows {SCHEMA_VERSION}): "
            "update the code, or restore a backup into an empty folder"
        )


def _version(server: SqlServer) -> int:
    ((found,),) = server.rows(f"SELECT coalesce(max(version), 0) FROM {META_VERSIONS.name}")
    return int(found)


def _stamp(server: SqlServer) -> list[str]:
    if _version(server) == SCHEMA_VERSION:
        return []
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    server.execute(f"INSERT INTO {META_VERSIONS.name} (ts, version) VALUES ('{now}', {SCHEMA_VERSION})")
    return [f"schema {SCHEMA_VERSION}"]


def _migrate_table(server: SqlServer, table: Table, existing: set[str]) -> Iterable[str]:
    if table.name not in existing:
        server.execute(table.ddl())
        yield f"created table {table.name}"
        return
    found = server.rows(f"SELECT \"column\", type, upsertKey FROM table_columns('{table.name}')")
    types = {name: kind for name, kind, _ in found}
    for column in table.columns:
        if column.name not in types:
            server.execute(f'ALTER TABLE {table.name} ADD COLUMN "{column.name}" {column.type}')
            yield f"added {table.name}.{column.name}"
        elif types[column.name] != column.type:
            raise FatalError(
                f"{table.name}.{column.name} is {types[column.name]}, this version needs {column.type}: "
                "restore the lake's backup with this version into an empty folder"
            )
    if {name for name, _, key in found if key} != set(table.keys):
        keys = f"ENABLE UPSERT KEYS({', '.join(table.keys)})" if table.keys else "DISABLE"
        server.execute(f"ALTER TABLE {table.name} DEDUP {keys}")
        yield f"{table.name}: rows are the same by {', '.join(table.keys) or 'nothing'} from now on"


def _migrate_views(server: SqlServer, views: Sequence[View], existing: set[str]) -> Iterable[str]:
    """Replaces plain views, and makes materialized ones anew whose query, or whose base, has changed."""
    held = dict(server.rows("SELECT view_name, view_sql FROM materialized_views()"))
    outdated: list[View] = []
    for view in views:
        on_outdated = view.base in {other.name for other in outdated}
        if view.name in held and (held[view.name] != view.sql or on_outdated):
            outdated.append(view)
    for view in reversed(outdated):
        server.execute(f"DROP MATERIALIZED VIEW {view.name}")
    again = {view.name for view in outdated}
    for view in views:
        if not view.materialized or view.name not in existing or view.name in again:
            server.execute(view.ddl())
        if view.name in again:
            yield f"made view {view.name} anew from {view.base}: what it told of days that have left QuestDB is gone"
        elif view.name not in existing:
            yield f"created view {view.name}"
