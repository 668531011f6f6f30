"""Records which new spans of bronze need silver rows, so that a killed backfill does not forget them."""

from datetime import datetime
from pathlib import Path

import orjson

from ingestion.silver.rebuild import TimeSpan, merged


class Pending:
    """One small file per symbol, replaced atomically."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, symbol: str, first: datetime, last: datetime) -> None:
        """Records a span (both ends inclusive) before it is sent."""
        known = self.spans(symbol)
        if (wanted := merged([*known, (first, last)])) != known:
            self._write(symbol, wanted)

    def spans(self, symbol: str) -> list[TimeSpan]:
        """The spans that still need silver rows."""
        path = self._path(symbol)
        if not path.exists():
            return []
        return [(datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in orjson.loads(path.read_bytes())]

    def done_before(self, symbol: str, until: datetime) -> None:
        """Removes from the first span what lies before ``until``: its silver rows exist."""
        (first, last), *others = self.spans(symbol)
        self._write(symbol, [*([(until, last)] if first < until <= last else []), *others])

    def _write(self, symbol: str, spans: list[TimeSpan]) -> None:
        path = self._path(symbol)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_bytes(orjson.dumps(spans))
        draft.replace(path)

    def _path(self, symbol: str) -> Path:
        return self._folder / f"pending-{symbol.replace('/', '-')}.json"
