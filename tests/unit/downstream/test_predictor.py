"""The predictor never looks healthy without doing its work: whatever stops its forecasts ends the process."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from downstream import predictor
from downstream.forecast_progress import ForecastProgress
from lakehouse.errors import FatalError, RetryableError
from lakehouse.records import FeatureRow
from lakehouse.settings import Settings
from tests.support.servers import scratch_settings

SYMBOL, NOW = "BTC/USD", datetime(2026, 1, 1, tzinfo=UTC)


class Server:
    """Stands for every client of the predictor; its features never come."""

    newest: FeatureRow | None = None

    def __init__(self, *_: object) -> None: ...
    def close(self) -> None: ...
    def migrate(self, *_: object) -> None: ...
    def ping(self) -> None: ...

    def latest(self, channel: object, symbol: str) -> FeatureRow | None:
        return self.newest

    def follow(self, channel: object, symbols: tuple[str, ...]) -> Iterator[FeatureRow | None]:
        while True:
            threading.Event().wait(0.01)
            yield None


class Refusing(Server):
    """Redis whose password was changed under the predictor."""

    def ping(self) -> None:
        raise FatalError("Redis refuses us")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for client in ("Api", "QuestDB", "Redis"):
        monkeypatch.setattr(predictor, client, Server)
    return scratch_settings(tmp_path, symbols=(SYMBOL,))


@pytest.mark.timeout(30)
def test_a_wrong_redis_password_ends_the_process(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "Redis", Refusing)
    with pytest.raises(FatalError, match="refuses us"):
        predictor.main(settings, threading.Event())


@pytest.mark.timeout(30)
def test_rows_that_come_without_one_forecast_end_the_process(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(Server):
        """Its keys move on, its channels are silent."""

        seq = 0

        def latest(self, channel: object, symbol: str) -> FeatureRow | None:
            type(self).seq += 1
            return FeatureRow(symbol, NOW, "abc", 1, self.seq, True, NOW, {})

    monkeypatch.setattr(predictor, "Redis", Deaf)
    monkeypatch.setattr(predictor, "WATCH_S", 0.01)
    monkeypatch.setattr(predictor, "DEADLINE_S", 0.1)
    with pytest.raises(RetryableError, match="no forecast of BTC/USD"):
        predictor.main(settings, threading.Event())


def test_only_rows_that_wait_are_overdue() -> None:
    progress = ForecastProgress()
    assert progress.overdue_s(SYMBOL, (1, 5), 0.0) == 0.0
    # One row that was refused, and a feed that is silent since.
    assert progress.overdue_s(SYMBOL, (1, 5), 500.0) == 0.0
    assert progress.overdue_s(SYMBOL, (1, 6), 501.0) == 501.0
    progress.stored(SYMBOL, (1, 6))
    assert progress.overdue_s(SYMBOL, (1, 6), 502.0) == 0.0
    # A topic made anew counts from 0 again.
    assert progress.overdue_s(SYMBOL, (2, 0), 503.0) == 0.0
    assert progress.overdue_s(SYMBOL, (2, 1), 504.0) == 1.0
    assert progress.overdue_s("ETH/USD", (1, 1), 504.0) == 0.0


def test_progress_begins_the_wait_anew() -> None:
    progress = ForecastProgress()
    for second in range(1000):
        assert progress.overdue_s(SYMBOL, (1, second + 2), float(second)) <= 1.0
        progress.stored(SYMBOL, (1, second + 1))
