"""The tables that a backup holds: all of the lake's except those that describe only this QuestDB."""

from features.table import SILVER
from lakehouse.schema import META_POSITIONS, META_RETENTION, META_VERSIONS, TABLES, Table

LAKE_TABLES: tuple[Table, ...] = (
    *(table for table in TABLES if table not in (META_POSITIONS, META_RETENTION, META_VERSIONS)),
    SILVER,
)
BY_NAME = {table.name: table for table in LAKE_TABLES}
