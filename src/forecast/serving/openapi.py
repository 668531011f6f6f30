"""The API's OpenAPI 3.1 description."""

from collections.abc import Mapping
from typing import Any

from forecast.serving.bodies import MAX_NUMBER, MAX_ROWS, MAX_WHOLE, Parser
from forecast.serving.problems import MEDIA_TYPE
from lakehouse.settings import HORIZONS_S

Json = dict[str, Any]
VERSION = "1.0.0"


def document(parser: Parser, pages: Mapping[str, Any]) -> Json:
    """The whole description; ``pages`` adds path items of further routes."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tradelake",
            "version": VERSION,
            "summary": "Forecasts of the best bid and of volatility, one to five minutes ahead.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {**_predicting(), **_operating(), **_smoke(), **pages},
        "components": {
            "schemas": _schemas(parser),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def answer(description: str, schema: Json, media_type: str = "application/json") -> Json:
    """A response object."""
    return {"description": description, "content": {media_type: {"schema": schema}}}


def problems(*statuses: int) -> Json:
    """Response objects of the errors an operation can give."""
    reasons = {
        400: "The body is not JSON.",
        401: "No or a wrong bearer token.",
        403: "No token is configured.",
        404: "Unknown symbol.",
        409: "No features fresh enough, or none from which a forecast could be made.",
        413: "The body is too large.",
        415: "The body is not application/json.",
        422: "The request is not what was asked for; `errors` names each field.",
        429: "Too many calls; see Retry-After.",
        503: "A server this needs is away; see Retry-After.",
    }
    return {str(s): answer(reasons[s], {"$ref": "#/components/schemas/Problem"}, MEDIA_TYPE) for s in statuses}


def _predicting() -> Json:
    def operation(name: str, what: str) -> Json:
        return {
            "post": {
                "operationId": name,
                "summary": what,
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Request"}}},
                },
                "responses": {
                    "200": answer("One row of forecasts per row asked for.", {"$ref": "#/components/schemas/Answer"}),
                    **problems(400, 404, 409, 413, 415, 422, 503),
                },
            }
        }

    volatility = "Root of the sum of squared log returns from now to each horizon."
    return {
        "/predict_bid": operation("predictBid", "Best bid at each horizon, in quote currency."),
        "/predict_vol": operation("predictVol", volatility),
        "/predict_volatility": operation("predictVolatility", f"{volatility} The same as /predict_vol."),
    }


def _operating() -> Json:
    anything: Json = {"type": "object"}
    secured: Json = {"security": [{"token": []}]}
    return {
        "/reload": {
            "post": {
                "operationId": "reload",
                "summary": "Look at the registry now instead of within seconds.",
                "responses": {"200": answer("What changed.", anything), **problems(401, 403, 413, 429, 503)},
                **secured,
            }
        },
        "/retrain": {
            "post": {
                "operationId": "retrain",
                "summary": "Start the retraining in Airflow.",
                "responses": {
                    "202": answer("The run that was started.", anything),
                    **problems(401, 403, 413, 429, 503),
                },
                **secured,
            }
        },
        "/models": _get("models", "Features, and per target what serves and what is coming.", anything),
        "/healthz": _get("healthz", "The process is alive.", anything),
        "/readyz": {
            "get": {
                "operationId": "readyz",
                "summary": "Whether requests can be served, dependency by dependency.",
                "responses": {"200": answer("Ready.", anything), "503": answer("Not ready.", anything)},
            }
        },
        "/metrics": _get("metrics", "For Prometheus.", {"type": "string"}, "text/plain"),
        "/openapi.json": _get("openapi", "This description.", anything),
    }


def _smoke() -> Json:
    body = {"content": {"application/json": {"schema": {"type": "object"}}}, "required": True}
    responses = {"200": answer("The body.", {"type": "object"}), **problems(400, 413, 415, 422)}
    return {
        "/test": _get("test", "Smoke test.", {"type": "object"}),
        "/test_post": {
            "post": {
                "operationId": "testPost",
                "summary": "Smoke test: the body comes back.",
                "requestBody": body,
                "responses": responses,
            }
        },
    }


def _get(name: str, what: str, schema: Json, media_type: str = "application/json") -> Json:
    return {"get": {"operationId": name, "summary": what, "responses": {"200": answer(what, schema, media_type)}}}


def _schemas(parser: Parser) -> Json:
    number = {"type": ["number", "null"], "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER}
    labels = {
        "symbol": {"type": "string"},
        "as_of": {"type": "string"},
        "spec": {"const": parser.spec},
        "epoch": {"type": "integer", "minimum": -MAX_WHOLE, "maximum": MAX_WHOLE},
        "seq": {"type": "integer", "minimum": -MAX_WHOLE, "maximum": MAX_WHOLE},
    }
    named = {
        "type": "object",
        "properties": {**dict.fromkeys(parser.names, number), **labels},
        "required": list(parser.names),
        "additionalProperties": False,
    }
    numbers = {"type": "array", "items": number, "minItems": len(parser.names), "maxItems": len(parser.names)}
    many = {"type": "array", "items": {"anyOf": [named, numbers]}, "minItems": 1, "maxItems": MAX_ROWS}
    return {
        "Request": {
            "oneOf": [
                _object({"symbol": {"type": "string"}}),
                _object({"data": {"anyOf": [many, numbers]}}),
            ]
        },
        "Answer": _answer_schema(),
        "Problem": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "format": "uri"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "errors": {
                    "type": "array",
                    "items": _object({"pointer": {"type": "string"}, "detail": {"type": "string"}}),
                },
            },
            "required": ["type", "title", "status", "detail"],
        },
    }


def _answer_schema() -> Json:
    names = ("value", "lower", "upper", "lower_95", "upper_95", "baseline")
    forecast = _object({"horizon_s": {"enum": list(HORIZONS_S)}, **{n: {"type": "number"} for n in names}})
    text, whole = {"type": ["string", "null"]}, {"type": ["integer", "null"]}
    per_row = {"type": "array", "minItems": len(HORIZONS_S), "maxItems": len(HORIZONS_S)}
    row = _object(
        {
            "symbol": text,
            "as_of": text,
            "spec": text,
            "epoch": whole,
            "seq": whole,
            "forecasts": {**per_row, "items": forecast},
            "calibration": {"type": "string"},
        }
    )
    return _object(
        {
            "model": {"enum": ["bid", "vol"]},
            "version": {"type": "string"},
            "horizons_s": {"type": "array", "items": {"type": "integer"}},
            "rows": {"type": "array", "items": row},
            "prediction": {"type": "array", "items": {**per_row, "items": {"type": "number"}}},
        }
    )


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
