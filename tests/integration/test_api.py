"""The API as a process in front of real servers: it keeps to its own OpenAPI description, whatever it is sent."""

import contextlib
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from features.spec import NAMES
from forecast.serve import QUERY_S, READY_S
from lakehouse.settings import HORIZONS_S, Settings
from lakehouse.stores.redis import FEATURES, Redis
from tests.integration.consuming import migrated
from tests.integration.lakes import eventually, feature_row
from tests.support.servers import LocalServers


@pytest.fixture(scope="module")
def api(lake: Settings, servers: LocalServers) -> Iterator[httpx.Client]:
    migrated(lake)
    servers.start("api")
    with httpx.Client(base_url=lake.api_url, timeout=10) as client:
        yield client
    servers.stop("api")


@pytest.mark.parametrize("mode", GenerationMode)
def test_it_keeps_to_its_description(api: httpx.Client, mode: GenerationMode) -> None:
    description = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json")
    for found in description.get_all_operations():
        operation = found.ok()

        @settings(max_examples=15, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def keeps(case: schemathesis.Case) -> None:
            # That a span must begin before it ends cannot be said in a schema.
            spans = {"from", "to"} & (case.query or {}).keys()
            case.call_and_validate(timeout=10, excluded_checks=[positive_data_acceptance] if spans else [])

        # An operation without input has nothing that could be wrong.
        with contextlib.suppress(Unsatisfiable):
            keeps()


def test_the_newest_features_are_served_by_symbol(api: httpx.Client, lake: Settings) -> None:
    symbol = lake.symbols[0]
    Redis(lake).publish(FEATURES, [feature_row(lake, symbol, 1)])
    for path in ("/predict_bid", "/predict_vol"):
        answer = api.post(path, json={"symbol": symbol})
        assert answer.status_code == 200
        assert [f["horizon_s"] for f in answer.json()["rows"][0]["forecasts"]] == list(HORIZONS_S)
    assert api.post("/predict_bid", json={"symbol": "XXX/YYY"}).status_code == 404


def test_a_thousand_rows_in_one_call(api: httpx.Client, lake: Settings) -> None:
    row = list(feature_row(lake, lake.symbols[0], 1).values.values())
    answer = api.post("/predict_vol", json={"data": [row] * 1000})
    assert answer.status_code == 200
    assert len(answer.json()["prediction"]) == 1000
    assert len(row) == len(NAMES)


def test_without_redis_it_is_not_ready_but_still_forecasts_rows(
    api: httpx.Client, lake: Settings, servers: LocalServers
) -> None:
    row = list(feature_row(lake, lake.symbols[0], 1).values.values())
    servers.kill("redis")
    try:
        assert api.get("/readyz").status_code == 503
        assert api.post("/predict_bid", json={"data": row}).status_code == 200
        away = api.post("/predict_bid", json={"symbol": lake.symbols[0]})
        assert (away.status_code, away.headers["content-type"]) == (503, "application/problem+json")
    finally:
        servers.start("redis")
    eventually(lambda: api.get("/readyz").status_code == 200)


def test_a_questdb_that_stands_still_holds_neither_probes_nor_forecasts(
    api: httpx.Client, lake: Settings, servers: LocalServers
) -> None:
    symbol = lake.symbols[0]
    Redis(lake).publish(FEATURES, [feature_row(lake, symbol, 2)])
    servers.pause("questdb")
    try:
        # It serves without QuestDB, so it stays ready, and says what is away.
        ready = api.get("/readyz")
        assert ready.status_code == 200
        assert not ready.json()["checks"]["questdb"]["ok"]
        assert ready.elapsed.total_seconds() < READY_S + 15
        history = api.get("/history/candles", params={"symbol": symbol, "interval": "1m"}, timeout=QUERY_S + 30)
        assert history.status_code == 503
        assert api.post("/predict_bid", json={"symbol": symbol}).status_code == 200
    finally:
        servers.resume("questdb")
    eventually(lambda: api.get("/readyz").json()["checks"]["questdb"]["ok"])
