"""The whole core as a user runs it: up.sh on the simulated market, a stored forecast, the API, a crash, down, up."""

import re
from datetime import datetime

import httpx
import psutil
import pytest

from lakehouse.settings import HORIZONS_S
from tests.e2e.lakes import Lake
from tests.leaks import leaks, told

pytestmark = pytest.mark.timeout(1200)


def test_everything_is_healthy_and_data_flows(lake: Lake) -> None:
    status = lake.status()
    expected = {"questdb", "kafka", "redis", "mlflow", "simulator", "producer", "consumer", "predictor", "score", "api"}
    assert expected <= set(status["processes"])
    assert all(process["healthy"] and process["state"] == "running" for process in status["processes"].values())
    for table in ("bronze_trades", "bronze_quotes", "silver_features", "gold_ohlc_1m", "gold_forecasts"):
        assert status["tables"][table]["rows"] > 0, table
        assert status["tables"][table]["newest"].endswith("Z")


def test_secrets_are_private_and_shown_only_when_asked_for(lake: Lake) -> None:
    password = lake.settings.questdb_password.get_secret_value()
    assert len(password) == 32
    assert lake.env_file.stat().st_mode & 0o077 == 0
    assert password in lake.run("status.sh", "--secrets").stdout
    assert password not in lake.run("status.sh").stdout
    assert leaks(lake.settings, lake.settings.var_dir) == []
    pids = [process["pid"] for process in lake.status()["processes"].values()]
    assert told(lake.settings, map(psutil.Process, pids)) == []


@pytest.mark.parametrize(("path", "model"), [("/predict_bid", "bid"), ("/predict_vol", "vol")])
def test_the_api_forecasts_from_the_newest_features(lake: Lake, path: str, model: str) -> None:
    answer = httpx.post(lake.settings.api_url + path, json={"symbol": "BTC/USD"}, timeout=30)
    assert answer.status_code == httpx.codes.OK, answer.text
    body = answer.json()
    assert body["model"] == model
    forecasts = body["rows"][0]["forecasts"]
    assert [forecast["horizon_s"] for forecast in forecasts] == list(HORIZONS_S)
    assert body["prediction"] == [[forecast["value"] for forecast in forecasts]]
    assert all(0 < f["lower"] <= f["value"] <= f["upper"] for f in forecasts)


def test_forecasts_are_stored_with_version_interval_and_latency(lake: Lake) -> None:
    stored = lake.rows(
        "SELECT target, horizon_s, value, lower, upper, model_version, latency_ms FROM gold_forecasts "
        "WHERE symbol = 'BTC/USD' LIMIT 100"
    )
    assert {(target, horizon) for target, horizon, *_ in stored} == {(t, h) for t in ("bid", "vol") for h in HORIZONS_S}
    for target, _, value, lower, upper, version, latency_ms in stored:
        assert lower <= value <= upper
        assert re.fullmatch(rf"{target}/\d+", version)
        assert latency_ms > 0


def test_starting_twice_is_harmless(lake: Lake) -> None:
    def pids() -> dict[str, int]:
        return {name: process["pid"] for name, process in lake.status()["processes"].items()}

    before = pids()
    done = lake.run("up.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "was already running" in done.stdout
    assert pids() == before


def test_a_running_lake_refuses_another_market(lake: Lake) -> None:
    done = lake.run("up.sh", "--source", "kraken")
    assert done.returncode == 3
    assert "error: the lake runs on simulator" in done.stderr


def test_a_killed_consumer_comes_back_and_loses_and_doubles_nothing(lake: Lake) -> None:
    killed = psutil.Process(lake.status()["processes"]["consumer"]["pid"])
    killed.kill()
    killed.wait(timeout=10)
    newest = lake.rows("SELECT max(received_at) FROM bronze_trades")[0][0]
    lake.until("the consumer is healthy and bronze grows", lambda: _is_back(lake, killed.pid, newest), 120)
    _assert_dense(lake)


def _is_back(lake: Lake, killed: int, newest: datetime) -> bool:
    """Whether a new consumer is healthy and has stored trades received after `newest`."""
    consumer = lake.status(healthy=False)["processes"]["consumer"]
    grown: bool = lake.rows("SELECT max(received_at) FROM bronze_trades")[0][0] > newest
    return grown and consumer["healthy"] and consumer["pid"] not in (None, killed)


def test_down_and_up_again_go_on_where_they_were(lake: Lake) -> None:
    pids = [process["pid"] for process in lake.status()["processes"].values()]
    done = lake.run("down.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    stopped = lake.run("status.sh")
    assert stopped.returncode == 3
    assert "not running" in stopped.stderr
    done = lake.run("up.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    _assert_dense(lake)


def _assert_dense(lake: Lake) -> None:
    """Every trade id between a symbol's first and last one comes to be there, once: holes are refilled over REST."""

    def is_dense() -> bool:
        spans = lake.rows(
            "SELECT symbol, min(trade_id), max(trade_id), count(), count_distinct(trade_id) FROM bronze_trades"
        )
        assert all(rows == distinct for _, _, _, rows, distinct in spans), spans
        return len(spans) == 3 and all(rows == last - first + 1 for _, first, last, rows, _ in spans)

    lake.until("the ids of three symbols are dense", is_dense, 120)
