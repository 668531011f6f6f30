"""The API as an application: the three body forms, every error as a problem, tokens and limits."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import orjson
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from features.spec import NAMES
from forecast.model.targets import TARGETS
from forecast.page.latest_values import LatestValues
from forecast.page.queries import Queries
from forecast.page.routes import blueprint
from forecast.serving import app
from forecast.serving.app import Services, create_app
from forecast.serving.bodies import Parser
from forecast.serving.hosts import is_ours, own_names
from forecast.serving.models_in_service import ModelsInService, accept, probe_rows
from forecast.serving.registry_watcher import simple_rule
from lakehouse.errors import RetryableError
from lakehouse.records import FeatureRow
from lakehouse.settings import HORIZONS_S, Settings, load_settings
from lakehouse.times import format_time

SPEC = "0123456789ab"
TOKEN = "secret-token"
SYMBOL = "BTC/USD"


@dataclass
class World:
    """What the application under test is given; tests change it."""

    client: FlaskClient
    models: ModelsInService
    redis: dict[str, FeatureRow] = field(default_factory=dict)
    away: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)

    def check(self, name: str) -> None:
        if name in self.away:
            raise RetryableError(f"{name} is away")

    def latest(self, symbol: str) -> FeatureRow | None:
        self.check("redis")
        return self.redis.get(symbol)

    def post(self, path: str, body: object, **more: Any) -> TestResponse:
        return self.client.post(path, json=body, **more)


def _settings(tmp_path: Path) -> Settings:
    return load_settings(_env_file=None, var_dir=tmp_path, source="simulator", api_token=TOKEN)


@pytest.fixture
def world(tmp_path: Path) -> World:
    models = ModelsInService()
    for target in TARGETS:
        models.swap(target, accept(4, simple_rule(target, NAMES, SPEC), target, NAMES, SPEC))
    world = World(FlaskClient.__new__(FlaskClient), models)

    def retrain() -> dict[str, Any]:
        world.check("airflow")
        world.started.append("retrain")
        return {"dag_run_id": "manual"}

    services = Services(
        settings=_settings(tmp_path),
        latest=world.latest,
        parser=Parser(NAMES, SPEC),
        models=models,
        needs={"redis": lambda: world.check("redis")},
        uses={"mlflow": lambda: world.check("mlflow")},
        reload=lambda: {"bid": "5"},
        retrain=retrain,
        # Never asked here: what these tests send is refused before.
        pages=(blueprint(_settings(tmp_path), LatestValues(), Mock(spec=Queries)),),
    )
    world.client = create_app(services).test_client()
    return world


def _values() -> dict[str, float | None]:
    row = probe_rows(NAMES)[1]
    return {name: None if np.isnan(v) else float(v) for name, v in zip(NAMES, row, strict=True)}


_VALUES = _values()


def _redis_row(age_s: float = 0.0, spec: str = SPEC) -> FeatureRow:
    now = datetime.now(UTC) - timedelta(seconds=age_s)
    return FeatureRow(SYMBOL, now, spec, 1, 9, True, now, _values())


def _problem(response: TestResponse, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = response.get_json()
    assert body["status"] == status
    assert body["detail"]
    return body


def test_the_three_forms_agree(world: World) -> None:
    world.redis[SYMBOL] = _redis_row()
    values = _values()
    answers = [
        world.post("/predict_bid", {"symbol": SYMBOL}).get_json(),
        world.post("/predict_bid", {"data": [values]}).get_json(),
        world.post("/predict_bid", {"data": list(values.values())}).get_json(),
    ]
    assert answers[0]["prediction"] == answers[1]["prediction"] == answers[2]["prediction"] == [[100.0] * 5]
    first = answers[0]
    assert (first["model"], first["version"], first["horizons_s"]) == ("bid", "4", list(HORIZONS_S))
    row = first["rows"][0]
    assert (row["symbol"], row["spec"], row["epoch"], row["seq"]) == (SYMBOL, SPEC, 1, 9)
    assert row["as_of"] == format_time(world.redis[SYMBOL].ts)
    assert [f["horizon_s"] for f in row["forecasts"]] == list(HORIZONS_S)
    assert all(f["lower_95"] < f["lower"] < f["value"] < f["upper"] < f["upper_95"] for f in row["forecasts"])


def test_volatility_answers_under_both_names_and_grows_with_the_horizon(world: World) -> None:
    body = {"data": [_values()] * 3}
    answer = world.post("/predict_vol", body).get_json()
    assert answer == world.post("/predict_volatility", body).get_json()
    assert len(answer["prediction"]) == 3
    assert answer["prediction"][0] == sorted(answer["prediction"][0])


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/predict_bid", {"symbol": "XXX/YYY"}, 404, "unknown-symbol"),
        ("/predict_bid", {"symbol": SYMBOL}, 409, "stale-features"),
        ("/predict_bid", {"symbol": 7}, 422, "invalid-body"),
        ("/predict_bid", {"symbol": SYMBOL, "data": []}, 422, "invalid-body"),
        ("/predict_bid", {}, 422, "invalid-body"),
        ("/predict_bid", [], 422, "invalid-body"),
        ("/predict_bid", {"data": [[1.0]]}, 422, "invalid-body"),
        ("/predict_vol", {"data": [{**dict.fromkeys(NAMES), "bid": "x"}]}, 422, "invalid-body"),
        ("/predict_bid", {"data": [dict.fromkeys(NAMES)]}, 409, "no-forecast"),
        ("/predict_bid", {"data": [dict.fromkeys(NAMES, 1e38)]}, 409, "no-forecast"),
        ("/predict_bid", {"data": [dict.fromkeys(NAMES, -5.0)]}, 409, "no-forecast"),
        ("/nowhere", {}, 404, "not-found"),
    ],
)
def test_bad_requests_are_problems(world: World, path: str, body: object, status: int, kind: str) -> None:
    assert _problem(world.post(path, body), status)["type"].endswith(kind)


def test_wrong_method_type_size_and_syntax_are_problems(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = world.client.get("/predict_bid")
    _problem(refused, 405)
    assert "POST" in refused.headers["Allow"]
    _problem(world.client.post("/predict_bid", data="{}", content_type="text/plain"), 415)
    _problem(world.client.post("/predict_bid", data="{", content_type="application/json"), 400)
    too_large = b" " * (app.MAX_BODY_BYTES + 1)
    _problem(world.client.post("/predict_bid", data=too_large, content_type="application/json"), 413)


@pytest.mark.parametrize("body", [{"data": [_VALUES] * 2}, {"data": [{"bid": 1.0}]}, {"data": []}])
def test_the_direct_way_answers_as_flask_does(world: World, body: dict[str, Any]) -> None:
    raw = orjson.dumps(body)
    direct = world.client.post("/predict_vol", data=raw, content_type="application/json")
    flask = world.client.post("/predict_vol", data=raw, content_type="application/json; charset=utf-8")
    assert (direct.status, direct.data, direct.content_type) == (flask.status, flask.data, flask.content_type)
    told = world.client.get("/metrics").text
    line = f'http_requests_total{{method="POST",route="/predict_vol",status="{direct.status_code}"}}'
    assert float(told.split(line)[1].split()[0]) >= 2


def test_stale_features_are_told_apart(world: World) -> None:
    world.redis[SYMBOL] = _redis_row(age_s=1000)
    assert "1000 s old" in _problem(world.post("/predict_bid", {"symbol": SYMBOL}), 409)["detail"]
    world.redis[SYMBOL] = _redis_row(spec="other")
    assert "other" in _problem(world.post("/predict_bid", {"symbol": SYMBOL}), 409)["detail"]
    world.away.add("redis")
    response = world.post("/predict_bid", {"symbol": SYMBOL})
    _problem(response, 503)
    assert response.headers["Retry-After"]


def test_readiness_names_each_dependency(world: World) -> None:
    assert world.client.get("/readyz").status_code == 200
    world.away.add("mlflow")
    answer = world.client.get("/readyz")
    assert answer.status_code == 200
    assert not answer.get_json()["checks"]["mlflow"]["ok"]
    world.away.add("redis")
    assert world.client.get("/readyz").status_code == 503
    assert world.client.get("/healthz").status_code == 200


def test_only_the_token_opens_what_changes_state(world: World) -> None:
    for path in ("/reload", "/retrain"):
        _problem(world.client.post(path), 401)
        _problem(world.client.post(path, headers={"Authorization": f"Bearer {TOKEN}x"}), 401)
        _problem(world.client.post(path, headers={"Authorization": "Bearer ünïcode"}), 401)
    assert not world.started
    good = {"Authorization": f"Bearer {TOKEN}"}
    assert world.client.post("/reload", headers=good).get_json() == {"bid": "5"}
    assert world.client.post("/retrain", headers=good).status_code == 202
    assert world.started == ["retrain"]
    world.away.add("airflow")
    assert "airflow" in _problem(world.client.post("/retrain", headers=good), 503)["detail"]
    limited = world.client.post("/retrain", headers=good)
    _problem(limited, 429)
    assert 0 < int(limited.headers["Retry-After"]) <= 60


def test_guessing_the_token_is_slow_and_locks_nobody_out(world: World) -> None:
    guess = {"Authorization": "Bearer guess"}
    for _ in range(10):
        _problem(world.client.post("/reload", headers=guess), 401)
    _problem(world.client.post("/reload", headers=guess), 429)
    assert world.client.post("/reload", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    "span",
    ["to=0001-01-01", "from=1969-12-31T23:59:59Z", "from=2026-01-02&to=2026-01-01", "to=noon", "from=0001-01-01"],
)
def test_history_of_an_impossible_span_is_refused(world: World, span: str) -> None:
    for path in ("candles?interval=1m", "forecasts?target=vol&horizon_s=60"):
        _problem(world.client.get(f"/history/{path}&symbol=BTC/USD&{span}"), 422)


def test_metrics_know_routes_not_paths(world: World) -> None:
    world.client.get("/invented/path")
    world.post("/predict_bid", {"data": [_values()]})
    text = world.client.get("/metrics").text
    assert 'http_requests_total{method="POST",route="/predict_bid",status="200"}' in text
    assert "invented" not in text


def test_smoke_endpoints(world: World) -> None:
    assert world.client.get("/test").get_json()["status"] == "ok"
    assert world.post("/test_post", {"a": [1, None]}).get_json() == {"received": {"a": [1, None]}}
    deep = b'{"a":' + b"[" * 300 + b"]" * 300 + b"}"
    _problem(world.client.post("/test_post", data=deep, content_type="application/json"), 422)


def test_a_swap_under_load_never_mixes_versions(world: World) -> None:
    stop = threading.Event()

    def swap() -> None:
        version = 4
        while not stop.is_set():
            version += 1
            world.models.swap("bid", accept(version, simple_rule("bid", NAMES, SPEC), "bid", NAMES, SPEC))

    thread = threading.Thread(target=swap)
    thread.start()
    answered: list[str] = []
    deadline = time.monotonic() + 60
    while (len(answered) < 200 or len(set(answered)) < 2) and time.monotonic() < deadline:
        response = api_client(world).post("/predict_bid", json={"data": [_values()]})
        assert response.status_code == 200
        answered.append(response.get_json()["version"])
    stop.set()
    thread.join()
    assert len(set(answered)) > 1


def api_client(world: World) -> FlaskClient:
    """A client of the same application, as another connection would be."""
    return world.client.application.test_client()


def test_no_model_yet_is_unavailable(tmp_path: Path) -> None:
    services = Services(_settings(tmp_path), lambda _: None, Parser(NAMES, SPEC), ModelsInService(), {}, {}, dict, dict)
    client = app.create_app(services).test_client()
    _problem(client.post("/predict_bid", json={"symbol": SYMBOL}), 503)
    assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize("path", ["/healthz", "/predict_bid"])
def test_a_call_by_a_name_that_is_not_ours_is_refused_with_the_remedy(world: World, path: str) -> None:
    answer = world.client.open(path, method="POST", json={}, headers={"Host": "rebound.example:5050"})
    assert answer.status_code == 421
    assert "API_ALLOWED_HOSTS" in answer.get_json()["detail"]


@pytest.mark.parametrize("host", ["localhost:5050", "127.0.0.1:5050", "[::1]:5050", "10.1.2.3", "lake.example"])
def test_calls_by_address_and_by_the_names_that_were_given_pass(host: str, tmp_path: Path) -> None:
    settings = _settings(tmp_path).model_copy(update={"api_allowed_hosts": ("lake.example",)})
    assert is_ours(host, own_names(settings))
    assert not is_ours("lake.example.evil", own_names(settings))
