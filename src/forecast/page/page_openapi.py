"""OpenAPI description of the page's routes."""

from collections.abc import Sequence

from forecast.model.targets import TARGETS
from forecast.page.downloads import TYPES
from forecast.serving.openapi import Json, answer, problems
from lakehouse.schema import OHLC_INTERVALS
from lakehouse.settings import HORIZONS_S


def paths(symbols: Sequence[str]) -> Json:
    """Path items of the page, the stream and history."""
    anything: Json = {"type": "object"}
    rows: Json = {"type": "array", "items": anything}
    candle_answer = answer("Candles, oldest first; the newest may be running (`closed`).", rows)
    for kind in (t for name, t in TYPES.items() if name != "json"):
        candle_answer["content"][kind] = {"schema": {"type": "string"}}
    symbol = _parameter("symbol", {"enum": list(symbols)}, required=True)
    return {
        "/": _get("page", "The live page.", [], answer("HTML.", {"type": "string"}, "text/html")),
        "/live/config": _get("liveConfig", "What the page shows.", [], answer("Symbols and intervals.", anything)),
        "/live/state": _get("liveState", "All the stream would tell, for polling.", [], answer("News.", anything)),
        "/history/candles": _get(
            "candles",
            "Candles of any span; by default the last day.",
            [
                symbol,
                _parameter("interval", {"enum": list(OHLC_INTERVALS)}, required=True),
                _parameter("format", {"enum": list(TYPES)}),
                *_span(),
            ],
            candle_answer,
        ),
        "/history/forecasts": _get(
            "forecasts",
            "Forecasts beside what then happened, thinned out to a few hundred; by default the last hour.",
            [
                symbol,
                _parameter("target", {"enum": list(TARGETS)}, required=True),
                _parameter("horizon_s", {"enum": list(HORIZONS_S)}, required=True),
                *_span(),
            ],
            answer("Rows, oldest first; `truth` is null until it is known.", rows),
        ),
    }


def _get(name: str, what: str, parameters: list[Json], ok: Json) -> Json:
    responses = {"200": ok, **(problems(404, 422, 503) if parameters else {})}
    return {"get": {"operationId": name, "summary": what, "parameters": parameters, "responses": responses}}


def _parameter(name: str, schema: Json, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _span() -> list[Json]:
    when: Json = {"type": "string", "format": "date-time"}
    return [_parameter("from", when), _parameter("to", when)]
