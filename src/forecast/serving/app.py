"""The Flask application of the HTTP API, built from injected services; it opens no connections itself."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from flask import Blueprint, Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from forecast.model.targets import Target
from forecast.serving import metrics, problems
from forecast.serving.bodies import Parser, invalid, load_object
from forecast.serving.hosts import HostCheck, own_names
from forecast.serving.limits import RateLimit
from forecast.serving.models_in_service import ModelsInService
from forecast.serving.openapi import document
from forecast.serving.predicting import JSON, PATHS, Direct, Latest, Predicting
from forecast.serving.problems import Problem
from lakehouse.errors import LakeError
from lakehouse.settings import Settings

MAX_BODY_BYTES = 32 * 2**20
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
    models: ModelsInService
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
    _predicting(app, Predicting(services.settings, services.latest, services.parser, services.models))
    _operating(app, services)
    _smoke(app)
    for page in services.pages:
        app.register_blueprint(page)
    app.wsgi_app = HostCheck(app.wsgi_app, own_names(services.settings))  # type: ignore[method-assign]
    return app


def _predicting(app: Flask, predicting: Predicting) -> None:
    def endpoint(target: Target) -> Callable[[], Response]:
        return lambda: Response(predicting.answer(target, _raw()), mimetype=JSON)

    for path, target in PATHS.items():
        app.add_url_rule(path, path.strip("/"), endpoint(target), methods=["POST"])
    app.wsgi_app = Direct(app.wsgi_app, predicting, MAX_BODY_BYTES)  # type: ignore[method-assign]


def _operating(app: Flask, services: Services) -> None:
    description = document(services.parser, services.page_paths)
    limits = {"reload": RateLimit(10, 60.0), "retrain": RateLimit(2, 60.0), "refused": RateLimit(10, 60.0)}

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
        _authorise(services.settings, limits["refused"])
        limits["reload"].take()
        return _json(_asking(services.reload))

    @app.post("/retrain")
    def retrain() -> Response:
        _authorise(services.settings, limits["refused"])
        limits["retrain"].take()
        return _json(_asking(services.retrain), HTTPStatus.ACCEPTED)


def _smoke(app: Flask) -> None:
    @app.get("/test")
    def test() -> Response:
        return _json({"status": "ok", "service": "tradelake"})

    @app.post("/test_post")
    def test_post() -> Response:
        body = load_object(_raw())
        try:
            return _json({"received": body})
        except orjson.JSONEncodeError as error:
            # It reads deeper nesting than it writes.
            raise invalid("", f"cannot be sent back: {error}") from None


def _raw() -> bytes:
    if request.mimetype != JSON:
        got = request.mimetype or "none"
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", f"want application/json, got {got[:100]}"
        )
    return request.get_data(cache=False)


def _authorise(settings: Settings, refused: RateLimit) -> None:
    token = settings.api_token.get_secret_value()
    given = request.headers.get("Authorization", "")
    if not token:
        raise Problem(HTTPStatus.FORBIDDEN, "no-token", "API_TOKEN is not set, so this is closed: set it in .env")
    if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        # Guessing is slow, and never locks out who knows the token.
        refused.take()
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
    return Response(orjson.dumps(body), status, mimetype=JSON)
