"""The tables that a backup holds: all of the lake's except the one that describes only this QuestDB."""

from features.table import SILVER
from lakehouse.schema import META_RETENTION, TABLES, Table

LAKE_TABLES: tuple[Table, ...] = (
    *(table for table in TABLES if table is not META_RETENTION),
    SILVER,
)
BY_NAME = {table.name: table for table in LAKE_TABLES}
