"""The tables a backup holds: every table of the lake, but for the one that speaks of this QuestDB alone."""

from features import spec
from lakehouse.schema import META_RETENTION, TABLES, Table, silver_features

LAKE_TABLES: tuple[Table, ...] = (
    *(table for table in TABLES if table is not META_RETENTION),
    silver_features(spec.COLUMNS),
)
BY_NAME = {table.name: table for table in LAKE_TABLES}
