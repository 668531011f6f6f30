"""Prometheus metrics of the API."""

import time
from functools import cache

from flask import Flask, Response, g, request
from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("http_requests_total", "Requests answered.", ["route", "method", "status"])
SECONDS = Histogram(
    "http_request_seconds",
    "Time to answer, without the network.",
    ["route"],
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0),
)
MODEL_INFO = Gauge("model_info", "1 for the model in service.", ["target", "version", "name"])
SWAPS = Counter("model_swaps_total", "Models put in service.", ["target"])
REFUSED = Counter("model_refused_total", "Models that failed their check and were not put in service.", ["target"])
STREAMS = Gauge("live_streams", "Clients of the live page's event stream.")


def install(app: Flask) -> None:
    """Counts and times every request."""

    @app.before_request
    def begin() -> None:
        g.begun = time.perf_counter()

    @app.after_request
    def end(response: Response) -> Response:
        # Labelled by URL rule, not by path: made-up paths must not create time series.
        route = request.url_rule.rule if request.url_rule else "none"
        count(route, request.method if request.url_rule else "any", response.status_code, g.begun)
        return response


def count(route: str, method: str, status: int, begun: float) -> None:
    """Counts one answer to a request that came at ``begun`` (`time.perf_counter`)."""
    requests, seconds = _series(route, method, status)
    requests.inc()
    seconds.observe(time.perf_counter() - begun)


@cache
def _series(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(route, method, status), SECONDS.labels(route)
