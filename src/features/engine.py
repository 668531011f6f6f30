"""Folds events into feature rows; live rows, rebuilt rows and rows of files all come from this function."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.kernel import IS_QUOTE, IS_TICKER_GAP, IS_TRADE, IS_TRADE_GAP, EventArrays, Rules, count_rows, run
from features.spec import NAMES, QUOTE_FIELDS, ROW_COLUMNS, EngineConfig
from features.symbol_state import SymbolState, new_book, with_room
from lakehouse.arrays import Floats
from lakehouse.messages import EVENT_SCHEMA

__all__ = ["EngineConfig", "EngineState", "fold"]

_CHUNK = 65_536  # events per kernel call: bounds the memory allocated for trades before old ones are released
_HEAD = {name: pl.Boolean() if name == "complete" else EVENT_SCHEMA[name] for name in ROW_COLUMNS}
_NO_ROWS = pl.DataFrame(schema={"row": pl.get_index_type(), **_HEAD, **dict.fromkeys(NAMES, pl.Float64)})
_KINDS = {"trade": IS_TRADE, "quote": IS_QUOTE, "gap": IS_TICKER_GAP}


@dataclass(slots=True)
class EngineState:
    """The engine's state per symbol; `fold` changes it in place."""

    config: EngineConfig
    books: dict[str, SymbolState] = field(default_factory=dict)

    @classmethod
    def empty(cls, config: EngineConfig) -> "EngineState":
        """A state without any event."""
        return cls(config)

    def drop(self, symbol: str) -> None:
        """Forgets a symbol, e.g. when its partition moves to another consumer."""
        self.books.pop(symbol, None)


def fold(state: EngineState, events: pl.DataFrame) -> tuple[EngineState, pl.DataFrame]:
    """Folds events into the state and returns the rows that they emit.

    Args:
        state: changed in place and returned.
        events: a batch of `lakehouse.messages.EVENT_SCHEMA` in log order, any number of symbols, each trade once.

    Returns:
        The state, and the rows in log order: ts, received_at, symbol, epoch, seq, complete, then `features.spec.NAMES`
        as Float64, NaN where unknown. Any split of the same events into batches gives the same rows.
    """
    numbered = events.with_row_index("row")
    if events["symbol"].n_unique() == 1:
        return state, _fold_symbol(state, numbered).drop("row")
    parts = [_fold_symbol(state, part) for part in numbered.partition_by("symbol", maintain_order=True)]
    return state, _joined(parts).sort("row").drop("row")


def _fold_symbol(state: EngineState, events: pl.DataFrame) -> pl.DataFrame:
    symbol = str(events.item(0, "symbol"))
    config = state.config
    rules = Rules(
        interval=config.interval_ms * 1000,
        step=config.vol_step_s * 1_000_000,
        silence=int(config.silence_s * 1e6),
        dense=symbol not in config.sparse,
    )
    book = state.books.get(symbol) or new_book(config)
    parts = []
    for chunk in events.iter_slices(_CHUNK):
        batch = _batch(chunk)
        book = with_room(book, len(chunk))
        index, complete, out = _room(count_rows(book, batch, rules))
        run(book, batch, rules, index, complete, out)
        parts.append(_rows(chunk, index, complete, out))
    state.books[symbol] = book
    return _joined(parts)


def _joined(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Concatenates the parts; skips empty ones, since most live batches emit no row and empty columns are costly."""
    found = [part for part in parts if part.height]
    if not found:
        return _NO_ROWS
    return found[0] if len(found) == 1 else pl.concat(found)


def _batch(events: pl.DataFrame) -> EventArrays:
    """The events as the kernel's arrays."""
    kind = pl.col("type").replace_strict(_KINDS, return_dtype=pl.Int8)
    gap = (pl.col("type") == "gap") & (pl.col("stream") == "trade")
    sign = (pl.col("side") == "buy").cast(pl.Int8) - (pl.col("side") == "sell").cast(pl.Int8)
    arrays = events.select(
        kind=pl.when(gap).then(pl.lit(IS_TRADE_GAP, pl.Int8)).otherwise(kind),
        ts=pl.col("ts").to_physical(),
        trade_id=pl.col("trade_id").fill_null(0),
        price=pl.col("price").fill_null(float("nan")),
        qty=pl.col("qty").fill_null(float("nan")),
        sign=sign.fill_null(0),
    )
    quotes = events.filter(pl.col("type") == "quote").select(pl.col(QUOTE_FIELDS).fill_null(float("nan")))
    return EventArrays(
        **{name: np.ascontiguousarray(arrays[name].to_numpy()) for name in arrays.columns},
        quotes=np.ascontiguousarray(quotes.to_numpy()).reshape(-1, len(QUOTE_FIELDS)),
    )


def _room(rows: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], Floats]:
    return np.empty(rows, np.int64), np.empty(rows, np.bool_), np.empty((rows, len(NAMES)))


def _rows(events: pl.DataFrame, index: NDArray[np.int64], complete: NDArray[np.bool_], out: Floats) -> pl.DataFrame:
    """The rows as a frame: the event that each is as of, and its features."""
    if not index.size:
        return _NO_ROWS
    names = [name for name in ROW_COLUMNS if name != "complete"]
    head = events[index].select("row", *names).with_columns(pl.Series("complete", complete))
    return pl.concat([head, pl.from_numpy(out, schema=list(NAMES))], how="horizontal")
