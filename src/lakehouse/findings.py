"""Findings of the recurring checks, as rows of ``gold_quality``."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import polars as pl

from lakehouse.schema import GOLD_QUALITY
from lakehouse.stores.questdb import QuestDB


@dataclass(frozen=True, slots=True)
class Finding:
    """One value of one check; fields that do not apply are None.

    Attributes:
        measure: what was measured; see the table's description.
        n: the number of rows behind the value.
        detail: an explanation, if needed.
    """

    measure: str
    value: float
    n: int
    symbol: str | None = None
    target: str | None = None
    horizon_s: int | None = None
    feature: str | None = None
    detail: str | None = None


def note(questdb: QuestDB, now: datetime, findings: Sequence[Finding]) -> None:
    """Stores the findings of one check.

    Raises:
        RetryableError: QuestDB is down.
    """
    frame = pl.DataFrame(
        [{"ts": now, **asdict(finding)} for finding in findings],
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
        infer_schema_length=None,
    )
    questdb.write(GOLD_QUALITY, frame)
