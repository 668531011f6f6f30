"""The tables a backup holds: every table of the lake, silver among them."""

from features import spec
from lakehouse.schema import TABLES, Table, silver_features

LAKE_TABLES: tuple[Table, ...] = (*TABLES, silver_features(spec.COLUMNS))
BY_NAME = {table.name: table for table in LAKE_TABLES}
