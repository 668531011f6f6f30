"""Remembers which spans of bronze are new and want silver rows, so that a killed backfill does not forget them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import orjson

Span = tuple[datetime, datetime]
NEAR = timedelta(hours=1)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that overlap or lie within `NEAR` of each other joined."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + NEAR:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found


class Pending:
    """One small file per symbol, replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, symbol: str, first: datetime, last: datetime) -> None:
        """Notes a span (both ends inclusive) before it is sent."""
        self._write(symbol, merged([*self.spans(symbol), (first, last)]))

    def spans(self, symbol: str) -> list[Span]:
        """The spans that still want silver rows."""
        path = self._path(symbol)
        if not path.exists():
            return []
        return [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in orjson.loads(path.read_bytes())]

    def remove(self, symbol: str, span: Span) -> None:
        """A span has its silver rows."""
        self._write(symbol, [other for other in self.spans(symbol) if other != span])

    def _write(self, symbol: str, spans: list[Span]) -> None:
        path = self._path(symbol)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_bytes(orjson.dumps(spans))
        draft.replace(path)

    def _path(self, symbol: str) -> Path:
        return self._folder / f"pending-{symbol.replace('/', '-')}.json"
