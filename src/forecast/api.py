"""The HTTP API as a Flask application, made from the parts it is given; it opens no connection itself."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import numpy as np
import orjson
from flask import Blueprint, Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from forecast.models import Prediction
from forecast.serving import metrics, problems
from forecast.serving.bodies import Parser, Rows, invalid, load_object
from forecast.serving.limits import RateLimit
from forecast.serving.openapi import document
from forecast.serving.problems import FieldError, Problem
from forecast.serving.served import Models, Served
from forecast.targets import Target
from lakehouse.errors import LakeError, RetryableError
from lakehouse.settings import Settings

MAX_BODY_BYTES = 32 * 2**20
Latest = Callable[[str], dict[str, Any] | None]
Check = Callable[[], None]


@dataclass(frozen=True)
class Services:
    """What the application works with.

    Attributes:
        latest: the newest live feature row of a symbol, None when there is none; raises `RetryableError`.
        parser: knows the features and their order.
        models: what serves.
        needs: checks without which we are not ready; each raises `LakeError`.
        uses: checks we can serve without (told by /readyz, but ready all the same).
        reload: looks at the registry now; returns what changed.
        retrain: starts the retraining; returns what was started.
        pages, page_paths: further routes, e.g. the live page, and their description in OpenAPI.
    """

    settings: Settings
    latest: Latest
    parser: Parser
    models: Models
    needs: Mapping[str, Check]
    uses: Mapping[str, Check]
    reload: Callable[[], dict[str, Any]]
    retrain: Callable[[], dict[str, Any]]
    pages: tuple[Blueprint, ...] = ()
    page_paths: Mapping[str, Any] = field(default_factory=dict)


def create_app(services: Services) -> Flask:
    """The application; see `openapi.document` for what it serves."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    problems.install(app)
    metrics.install(app)
    _predicting(app, services)
    _operating(app, services)
    _smoke(app)
    for page in services.pages:
        app.register_blueprint(page)
    return app


def _predicting(app: Flask, services: Services) -> None:
    def endpoint(target: Target) -> Callable[[], Response]:
        return lambda: _predict(services, target)

    for path, target in PREDICT_PATHS.items():
        app.add_url_rule(path, path.strip("/"), endpoint(target), methods=["POST"])


PREDICT_PATHS: Mapping[str, Target] = {"/predict_bid": "bid", "/predict_vol": "vol", "/predict_volatility": "vol"}


def _operating(app: Flask, services: Services) -> None:
    description = document(services.parser, services.page_paths)
    limits = {"reload": RateLimit(10, 60.0), "retrain": RateLimit(2, 60.0)}

    @app.get("/healthz")
    def healthz() -> Response:
        return _json({"status": "ok"})

    @app.get("/readyz")
    def readyz() -> Response:
        checks = {name: _outcome(check) for name, check in {**services.needs, **services.uses}.items()}
        checks["models"] = {"ok": services.models.ready, "needed": True}
        for name in services.uses:
            checks[name]["needed"] = False
        ready = all(check["ok"] for check in checks.values() if check["needed"])
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _json({"status": "ready" if ready else "not ready", "checks": checks}, status)

    @app.get("/models")
    def models() -> Response:
        parser = services.parser
        listing = {"spec": parser.spec, "features": parser.names, "models": services.models.listing()}
        return _json(listing)

    @app.get("/metrics")
    def prometheus() -> Response:
        return Response(generate_latest(), content_type=CONTENT_TYPE_LATEST)

    @app.get("/openapi.json")
    def openapi() -> Response:
        return _json(description)

    @app.post("/reload")
    def reload() -> Response:
        _authorise(services.settings)
        limits["reload"].take()
        return _json(_asking(services.reload))

    @app.post("/retrain")
    def retrain() -> Response:
        _authorise(services.settings)
        limits["retrain"].take()
        return _json(_asking(services.retrain), HTTPStatus.ACCEPTED)


def _smoke(app: Flask) -> None:
    @app.get("/test")
    def test() -> Response:
        return _json({"status": "ok", "service": "tradelake"})

    @app.post("/test_post")
    def test_post() -> Response:
        return _json({"received": _body()})


def _predict(services: Services, target: Target) -> Response:
    body = _body()
    served = services.models.get(target)
    if served is None:
        raise problems.unavailable(f"no {target} model is loaded yet; GET /readyz tells when")
    if body.keys() == {"symbol"}:
        rows = _from_redis(services, body["symbol"])
    elif body.keys() == {"data"}:
        rows = services.parser.rows(body["data"])
    else:
        raise invalid("", 'want exactly one of the members "symbol" and "data"')
    # A price of 1e300 overflows on the way; the check below says so.
    with np.errstate(all="ignore"):
        prediction = served.forecast(rows.matrix)
    _check_possible(prediction)
    return _json(_answer(served, target, rows, prediction))


def _from_redis(services: Services, symbol: object) -> Rows:
    known = services.settings.symbols
    if not isinstance(symbol, str):
        raise invalid("/symbol", "want text such as BTC/USD")
    if symbol not in known:
        raise Problem(HTTPStatus.NOT_FOUND, "unknown-symbol", f"unknown symbol; this lake has {', '.join(known)}")
    try:
        row = services.latest(symbol)
    except RetryableError as error:
        raise problems.unavailable(str(error)) from error
    ttl = services.settings.features_ttl_s
    if row is None:
        raise _stale(f"no features of {symbol} within the last {ttl} s: its feed is silent or has not started")
    age = (datetime.now(UTC) - datetime.fromisoformat(row["received_at"])).total_seconds()
    if age > ttl:
        raise _stale(f"the newest features of {symbol} are {age:.0f} s old, more than {ttl} s")
    if row["spec"] != services.parser.spec:
        raise _stale(f"features of {symbol} are of definitions {row['spec']}, not {services.parser.spec}: restart both")
    labels = {name: row[name] for name in ("symbol", "spec", "epoch", "seq")}
    return Rows(services.parser.named(row["values"]).matrix, [{**labels, "as_of": row["ts"]}])


def _stale(detail: str) -> Problem:
    return Problem(HTTPStatus.CONFLICT, "stale-features", detail)


def _check_possible(prediction: Prediction) -> None:
    edges = np.isfinite(prediction.lower_95) & np.isfinite(prediction.upper_95) & (prediction.value > 0)
    if not edges.all():
        row = int(np.flatnonzero(~edges.all(axis=1))[0])
        detail = "no forecast can be made of these features: a believable price (bid, last or mid) must be known"
        raise Problem(HTTPStatus.CONFLICT, "no-forecast", f"row {row}: {detail}", [FieldError(f"/data/{row}", detail)])


def _answer(served: Served, target: Target, rows: Rows, prediction: Prediction) -> dict[str, Any]:
    horizons = served.forecaster.horizons_s
    calibration = served.calibration_id
    fields = tuple(Prediction.__dataclass_fields__)
    columns = [getattr(prediction, name).tolist() for name in fields]
    out = []
    for labels, *per_field in zip(rows.labels, *columns, strict=True):
        forecasts = [
            {"horizon_s": horizon, **dict(zip(fields, values, strict=True))}
            for horizon, *values in zip(horizons, *per_field, strict=True)
        ]
        out.append({**EMPTY_LABELS, **labels, "forecasts": forecasts, "calibration": calibration})
    return {
        "model": target,
        "version": str(served.version),
        "horizons_s": horizons,
        "rows": out,
        "prediction": columns[0],
    }


EMPTY_LABELS: Mapping[str, None] = {"symbol": None, "as_of": None, "spec": None, "epoch": None, "seq": None}


def _body() -> dict[str, Any]:
    if request.mimetype != "application/json":
        got = request.mimetype or "none"
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", f"want application/json, got {got[:100]}"
        )
    return load_object(request.get_data(cache=False))


def _authorise(settings: Settings) -> None:
    token = settings.api_token.get_secret_value()
    given = request.headers.get("Authorization", "")
    if not token:
        raise Problem(HTTPStatus.FORBIDDEN, "no-token", "API_TOKEN is not set, so this is closed: set it in .env")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise Problem(
            HTTPStatus.UNAUTHORIZED,
            "unauthorised",
            "want the header Authorization: Bearer <API_TOKEN of .env>",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _asking(action: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return action()
    except LakeError as error:
        raise problems.unavailable(str(error), retry_s=30) from error


def _outcome(check: Check) -> dict[str, Any]:
    try:
        check()
    except LakeError as error:
        return {"ok": False, "needed": True, "detail": str(error)}
    return {"ok": True, "needed": True}


def _json(body: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(body), status, mimetype="application/json")
