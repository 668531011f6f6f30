"""The table of feature rows, `silver_features`: its columns are the features of `spec`; pure."""

from features.spec import COLUMNS
from lakehouse.schema import silver_features

SILVER = silver_features(COLUMNS)
