"""What a backup exports at once."""

from datetime import date, timedelta

import pytest

from downstream import backup
from downstream.archive.manifest import DayFile
from downstream.backup import ExportUnit, batches
from lakehouse.schema import BRONZE_TRADES

DAY = date(2026, 1, 5)
NEXT = DAY + timedelta(days=1)


def _part(symbol: str, day: date = DAY) -> DayFile:
    return DayFile("bronze_trades", "bronze", day, symbol)


def test_a_day_is_exported_at_once_unless_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "BATCH_CELLS", 250 * len(BRONZE_TRADES.columns))
    found = {_part(symbol): "100:7" for symbol in "ABC"} | {_part("A", NEXT): "900:7", _part("B", NEXT): "1:7"}
    assert list(batches(found, list(found), BRONZE_TRADES)) == [
        ExportUnit((_part("A"), _part("B")), whole=False),
        ExportUnit((_part("C"),), whole=False),
        ExportUnit((_part("A", NEXT),), whole=False),
        ExportUnit((_part("B", NEXT),), whole=False),
    ]
    monkeypatch.setattr(backup, "BATCH_CELLS", 10**9)
    assert list(batches(found, list(found), BRONZE_TRADES)) == [
        ExportUnit((_part("A"), _part("B"), _part("C")), whole=True),
        ExportUnit((_part("A", NEXT), _part("B", NEXT)), whole=True),
    ]


def test_what_is_not_stale_is_not_exported() -> None:
    found = {_part(symbol): "100:7" for symbol in "ABC"}
    assert list(batches(found, [_part("B")], BRONZE_TRADES)) == [ExportUnit((_part("B"),), whole=False)]
    assert list(batches(found, [], BRONZE_TRADES)) == []
