"""Error responses of the API as RFC 9457 problem details: what is wrong, in which field, and the remedy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 50


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong in a body; ``pointer`` is an RFC 6901 JSON pointer to it."""

    pointer: str
    detail: str


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 (the name RFC 9457 gives it)
    """An answer that is an error.

    Attributes:
        status: HTTP status.
        kind: a stable word for programs, the end of the problem's ``type``.
        detail: what happened here and what to do, for people.
        errors: the fields at fault; at most `MAX_ERRORS` are told.
        headers: further HTTP headers, e.g. ``Retry-After``.
    """

    status: HTTPStatus
    kind: str
    detail: str
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The problem as HTTP."""
        body: dict[str, object] = {
            "type": f"urn:tradelake:problem:{self.kind}",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"pointer": e.pointer, "detail": e.detail} for e in self.errors[:MAX_ERRORS]]
        return Response(orjson.dumps(body), self.status, dict(self.headers), mimetype=MEDIA_TYPE)


def unavailable(detail: str, retry_s: int = 2) -> Problem:
    """A server we need is away; the request was fine and may be repeated."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", detail, headers={"Retry-After": str(retry_s)})


def install(app: Flask) -> None:
    """Makes every error of the app a problem, those of Flask itself included (404, 405, 413, 415, 500…)."""
    app.register_error_handler(Problem, lambda problem: problem.response())
    app.register_error_handler(HTTPException, _from_http)


def _from_http(error: HTTPException) -> Response:
    status = HTTPStatus(error.code or 500)
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(error.valid_methods)
    kind = status.phrase.lower().replace(" ", "-")
    return Problem(status, kind, error.description or status.description, headers=headers).response()
