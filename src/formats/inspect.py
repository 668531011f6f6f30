"""What the reader sees in a file, and what backfill and evaluate would do with it; needs no servers."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from formats.frames import read_bars
from formats.reader import ForeignFile
from formats.refusal import Kind, ReadOptions, RefusedFileError, one_line
from formats.survey import Survey
from lakehouse.times import format_time

_USES = {
    "trade": "backfill --file and evaluate --trades take it",
    "quote": "backfill --quotes and evaluate --quotes take it",
    "bar": "evaluate --bars takes it; backfill does not take bars",
}
_STRICT = "evaluate refuses it for its bad rows, backfill sets them aside"


def inspect(path: Path, options: ReadOptions, kind: Kind | None = None) -> dict[str, Any]:
    """One file as the reader sees it.

    Returns:
        ``kind source columns rows bad reasons first last order sides ids price_min price_max refused``; ``refused`` is
        None or the one line that says why.
    """
    options = replace(options, pair=options.pair or options.symbol)
    known: Survey | None = None
    refused: str | None
    try:
        known = ForeignFile(path, kind, options).survey()
        refused = known.refused() or _several(known, options)
        if refused is None and known.kind == "bar":
            read_bars(path, options.symbol, options)
    except RefusedFileError as error:
        refused = str(error)
    return {**_facts(known, kind), "refused": refused and one_line(refused)}


def _several(known: Survey, options: ReadOptions) -> str | None:
    if options.pair is None and len(known.symbols) > 1:
        names = ", ".join(sorted(known.symbols))
        return f"{known.name} holds {len(known.symbols)} symbols: {names}; choose one with --symbol"
    if not known.good and known.others:
        names = ", ".join(known.others)
        return f"{known.name} has no rows of {options.pair}: its symbols are {names}; name one with --pair"
    return None


def _facts(known: Survey | None, kind: Kind | None) -> dict[str, Any]:
    known = known or Survey("", kind or "trade")
    found = bool(known.columns)
    return {
        "kind": f"{known.kind}s" if found else None,
        "source": known.source,
        "columns": known.columns,
        "rows": known.rows,
        "bad": known.bad,
        "reasons": dict(known.reasons),
        "first": _time(known.first),
        "last": _time(known.last),
        "order": known.order if known.good else None,
        "sides": {name: known.sides[name] for name in ("buy", "sell", "none")},
        "ids": known.ids if found else None,
        "price_min": known.price_min,
        "price_max": known.price_max,
    }


def _time(when: datetime | None) -> str | None:
    return None if when is None else format_time(when)


def as_text(name: str, facts: dict[str, Any]) -> str:
    """The facts for a person."""
    if facts["refused"]:
        return f"{name}: refused: {facts['refused']}"
    lines = [f"{name}: {facts['kind']}, {facts['source']}, {facts['rows']:,} rows, {facts['bad']:,} bad"]
    lines.append("  columns " + ", ".join(f"{field}={column}" for field, column in facts["columns"].items()))
    lines.append(f"  {facts['first']} to {facts['last']}, {facts['order']}")
    lines.append(f"  prices {facts['price_min']:g} to {facts['price_max']:g}; ids {facts['ids']}; {_sides(facts)}")
    lines += [f"  {count:,} rows: {reason}" for reason, count in facts["reasons"].items()]
    lines.append(f"  {_STRICT if facts['bad'] else _USES[facts['kind'].removesuffix('s')]}")
    return "\n".join(lines)


def _sides(facts: dict[str, Any]) -> str:
    told = {"buy": "bought", "sell": "sold", "none": "rows have no side"}
    return ", ".join(f"{count:,} {told[name]}" for name, count in _nonzero(facts["sides"].items())) or "no sides"


def _nonzero(items: Iterable[tuple[str, int]]) -> Iterable[tuple[str, int]]:
    return (item for item in items if item[1])
