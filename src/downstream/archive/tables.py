"""The tables a backup holds: every table of the lake, but for the one that speaks of this QuestDB alone."""

from features.table import SILVER
from lakehouse.schema import META_RETENTION, TABLES, Table

LAKE_TABLES: tuple[Table, ...] = (
    *(table for table in TABLES if table is not META_RETENTION),
    SILVER,
)
BY_NAME = {table.name: table for table in LAKE_TABLES}
