"""The prediction endpoints, from request bytes to response bytes; plain requests bypass Flask."""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from forecast.model.forecaster import Prediction
from forecast.model.targets import Target
from forecast.serving import metrics, problems
from forecast.serving.bodies import Parser, RequestRows, invalid, load_object
from forecast.serving.models_in_service import ModelsInService, ServedModel
from forecast.serving.problems import FieldError, Problem
from lakehouse.errors import LakeError
from lakehouse.records import FeatureRow
from lakehouse.settings import Settings
from lakehouse.times import format_time

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATHS: Mapping[str, Target] = {"/predict_bid": "bid", "/predict_vol": "vol", "/predict_volatility": "vol"}
JSON = "application/json"
FIELDS = Prediction._fields
EMPTY_LABELS: Mapping[str, None] = {"symbol": None, "as_of": None, "spec": None, "epoch": None, "seq": None}
Latest = Callable[[str], FeatureRow | None]


class Predicting:
    """The prediction endpoints.

    Args:
        latest: the newest live feature row of a symbol, None when there is none; raises `LakeError`.
        parser: knows the features and their order.
        models: what serves.
    """

    def __init__(self, settings: Settings, latest: Latest, parser: Parser, models: ModelsInService) -> None:
        self._settings = settings
        self._latest = latest
        self._parser = parser
        self._models = models

    def answer(self, target: Target, raw: bytes) -> bytes:
        """The JSON answer to a JSON body.

        Raises:
            Problem: no forecast can be given; it says why.
        """
        body = load_object(raw)
        served = self._models.get(target)
        if served is None:
            raise problems.unavailable(f"no {target} model is loaded yet; GET /readyz tells when")
        if body.keys() == {"symbol"}:
            rows = self._from_redis(body["symbol"])
        elif body.keys() == {"data"}:
            rows = self._parser.rows(body["data"])
        else:
            raise invalid("", 'want exactly one of the members "symbol" and "data"')
        # A price of 1e300 overflows on the way; the check below says so.
        with np.errstate(all="ignore"):
            prediction = served.forecast(rows.matrix)
        _check_possible(prediction)
        return orjson.dumps(_answer(served, target, rows, prediction))

    def _from_redis(self, symbol: object) -> RequestRows:
        known = self._settings.symbols
        if not isinstance(symbol, str):
            raise invalid("/symbol", "want text such as BTC/USD")
        if symbol not in known:
            raise Problem(HTTPStatus.NOT_FOUND, "unknown-symbol", f"unknown symbol; this lake has {', '.join(known)}")
        try:
            row = self._latest(symbol)
        except LakeError as error:
            raise problems.unavailable(str(error)) from error
        ttl, spec = self._settings.features_ttl_s, self._parser.spec
        if row is None:
            raise _stale(f"no features of {symbol} within the last {ttl} s: its feed is silent or has not started")
        age = (datetime.now(UTC) - row.received_at).total_seconds()
        if age > ttl:
            raise _stale(f"the newest features of {symbol} are {age:.0f} s old, more than {ttl} s")
        if row.spec != spec:
            raise _stale(f"features of {symbol} are of definitions {row.spec}, not {spec}: restart both")
        labels = {name: getattr(row, name) for name in ("symbol", "spec", "epoch", "seq")}
        return RequestRows(self._parser.named(row.values).matrix, [{**labels, "as_of": format_time(row.ts)}])


class Direct:
    """WSGI middleware that answers a plain POST of JSON to a prediction endpoint without Flask.

    Flask's routing, request and response objects cost more than a forecast; ADR 7 has the measured gain. Every other
    request, including one of a wrong method, type or size, goes to Flask, which has the same endpoints.
    """

    def __init__(self, application: "WSGIApplication", predicting: Predicting, max_bytes: int) -> None:
        self._application = application
        self._predicting = predicting
        self._max_bytes = max_bytes

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """One WSGI request."""
        path, length = environ["PATH_INFO"], environ.get("CONTENT_LENGTH", "")
        plain = environ["REQUEST_METHOD"] == "POST" and environ.get("CONTENT_TYPE") == JSON and length.isdecimal()
        if path not in PATHS or not plain or int(length) > self._max_bytes:
            return self._application(environ, start_response)
        begun = time.perf_counter()
        try:
            body = self._predicting.answer(PATHS[path], environ["wsgi.input"].read(int(length)))
        except Problem as problem:
            metrics.count(path, "POST", problem.status, begun)
            return problem.response()(environ, start_response)
        metrics.count(path, "POST", HTTPStatus.OK, begun)
        start_response("200 OK", [("Content-Type", JSON), ("Content-Length", str(len(body)))])
        return (body,)


def _stale(detail: str) -> Problem:
    return Problem(HTTPStatus.CONFLICT, "stale-features", detail)


def _check_possible(prediction: Prediction) -> None:
    edges = np.isfinite(prediction.lower_95) & np.isfinite(prediction.upper_95) & (prediction.value > 0)
    if not edges.all():
        row = int(np.flatnonzero(~edges.all(axis=1))[0])
        detail = "no forecast can be made of these features: a believable price (bid, last or mid) must be known"
        raise Problem(HTTPStatus.CONFLICT, "no-forecast", f"row {row}: {detail}", [FieldError(f"/data/{row}", detail)])


def _answer(served: ServedModel, target: Target, rows: RequestRows, prediction: Prediction) -> dict[str, Any]:
    horizons = served.forecaster.horizons_s
    calibration = served.calibration_id
    columns = [values.tolist() for values in prediction]
    out = []
    for labels, *per_field in zip(rows.labels, *columns, strict=True):
        forecasts = [
            {"horizon_s": horizon, **dict(zip(FIELDS, values, strict=True))}
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
