"""The predictor on real servers: every feature row gets its ten forecasts, whatever is restarted meanwhile."""

from collections.abc import Iterator
from http import HTTPStatus

import httpx
import pytest
import redis

from lakehouse.records import FeatureRow, RowForecasts
from lakehouse.schema import GOLD_FORECASTS
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB
from lakehouse.stores.redis import FEATURES, FORECASTS, Redis
from tests.integration.lakes import eventually, feature_row
from tests.support.servers import LocalServers

PER_ROW = 10


@pytest.fixture
def running(fresh_lake: Settings, servers: LocalServers) -> Iterator[None]:
    QuestDB(fresh_lake).migrate([GOLD_FORECASTS], ())
    servers.start("api", "predictor")
    yield
    assert servers.stop("predictor") == 0
    assert servers.stop("api") == 0


@pytest.mark.usefixtures("running")
def test_each_row_is_forecast_stored_and_published(fresh_lake: Settings) -> None:
    store, database = Redis(fresh_lake), QuestDB(fresh_lake)
    symbols = fresh_lake.symbols
    # It may not listen yet: the first row is found under the key, the others come through the channel.
    for seq in range(20):
        store.publish(FEATURES, [feature_row(fresh_lake, symbol, seq) for symbol in symbols])
        if seq == 0:
            eventually(lambda: _stored(database, 0) == PER_ROW * len(symbols))

    def stored() -> list[tuple[str, int, int]]:
        rows = database.rows("SELECT symbol, seq, count() FROM gold_forecasts GROUP BY symbol, seq")
        return sorted(rows) if len(rows) == 20 * len(symbols) else []

    assert eventually(stored) == sorted((s, seq, PER_ROW) for s in symbols for seq in range(20))
    newest = eventually(lambda: _at(store.latest(FORECASTS, symbols[0]), 19))
    assert [f.horizon_s for f in newest.forecasts if f.target == "bid"] == [60, 120, 180, 240, 300]
    assert all(f.value == f.baseline == 100.0 for f in newest.forecasts if f.target == "bid")
    assert all(f.lower_95 < f.lower < f.value < f.upper < f.upper_95 for f in newest.forecasts)
    worst = database.rows("SELECT max(latency_ms) FROM gold_forecasts")[0][0]
    assert 0 < worst < 5000


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("away", ["redis", "questdb", "api"])
def test_a_restart_of_what_it_needs_loses_only_what_is_counted(
    fresh_lake: Settings, servers: LocalServers, away: str
) -> None:
    symbol = fresh_lake.symbols[0]
    store, database = Redis(fresh_lake), QuestDB(fresh_lake)
    store.publish(FEATURES, [feature_row(fresh_lake, symbol, 1)])
    eventually(lambda: _stored(database, 1))

    servers.kill(away)
    if away != "redis":
        store.publish(FEATURES, [feature_row(fresh_lake, symbol, 2)])
    servers.start(away)
    eventually(lambda: _publish(store, feature_row(fresh_lake, symbol, 3)))

    eventually(lambda: _stored(database, 3))
    if away != "redis":
        assert _stored(database, 2) == PER_ROW


def test_a_wrong_redis_password_ends_the_process_and_the_right_one_brings_the_forecasts_back(
    fresh_lake: Settings, servers: LocalServers
) -> None:
    symbol, password = fresh_lake.symbols[0], fresh_lake.redis_password.get_secret_value()
    QuestDB(fresh_lake).migrate([GOLD_FORECASTS], ())
    servers.start("api", "predictor")
    client = redis.Redis(port=fresh_lake.redis_port, password=password)
    eventually(lambda: client.pubsub_numsub(f"features:{symbol}")[0][1])
    client.config_set("requirepass", "another")
    try:
        for kind in ("pubsub", "normal"):
            client.client_kill_filter(_type=kind, skipme=True)
        assert servers.wait_ended("predictor", 30.0) == 1
        # What reads it while the password is wrong says so, and lives on.
        assert httpx.get(f"{fresh_lake.api_url}/readyz").status_code == HTTPStatus.SERVICE_UNAVAILABLE
        answer = httpx.post(f"{fresh_lake.api_url}/predict_bid", json={"symbol": symbol})
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
    finally:
        client.config_set("requirepass", password)
    servers.start("predictor")
    Redis(fresh_lake).publish(FEATURES, [feature_row(fresh_lake, symbol, 1)])
    database = QuestDB(fresh_lake)
    assert eventually(lambda: _stored(database, 1)) == PER_ROW
    assert servers.stop("predictor") == 0
    assert servers.stop("api") == 0


def _stored(database: QuestDB, seq: int) -> int:
    return int(database.rows("SELECT count() FROM gold_forecasts WHERE seq = %s", [seq])[0][0])


def _publish(store: Redis, row: FeatureRow) -> bool:
    store.publish(FEATURES, [row])
    return True


def _at(row: RowForecasts | None, seq: int) -> RowForecasts | None:
    return row if row and row.seq == seq else None
