"""Kraken's frames as text, formatted here because JSON libraries do not pad numbers to a pair's precision; pure."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ingestion.simulator.blocks import Quotes, Trades
from ingestion.simulator.pairs import Pair
from lakehouse.arrays import Ints

HEARTBEAT = '{"channel":"heartbeat"}'


@dataclass(frozen=True, slots=True)
class Frame:
    """One data frame before encoding, so that faults can change its items.

    ``trigger`` tells the two sorts of ticker subscription apart (``bbo``, ``trades``); it is empty for trades.
    """

    channel: str
    symbol: str
    trigger: str
    items: tuple[str, ...]
    kind: str = "update"

    def text(self) -> str:
        """The frame as sent."""
        return f'{{"channel":"{self.channel}","type":"{self.kind}","data":[{",".join(self.items)}]}}'


def decimal(value: int, digits: int) -> str:
    """A whole number of ticks as a padded decimal.

    >>> decimal(642500, 1), decimal(1250000, 8), decimal(-5, 2), decimal(7, 0)
    ('64250.0', '0.01250000', '-0.05', '7')
    """
    if not digits:
        return str(value)
    whole, rest = divmod(abs(value), 10**digits)
    return f"{'-' if value < 0 else ''}{whole}.{rest:0{digits}d}"


def stamp(ts_us: int) -> str:
    """µs since 1970 as RFC 3339 with six digits.

    >>> stamp(1_790_331_330_120_451)
    '2026-09-25T10:15:30.120451Z'
    """
    return f"{np.datetime64(ts_us, 'us')}Z"


def trade_items(pair: Pair, trades: Trades) -> list[str]:
    """The items of the trade channel, one per trade."""
    p, q = pair.price_digits, pair.qty_digits
    rows = zip(
        trades.trade_id.tolist(),
        _stamps(trades.ts),
        trades.price.tolist(),
        trades.qty.tolist(),
        trades.buy.tolist(),
        trades.market.tolist(),
        strict=True,
    )
    return [
        f'{{"symbol":"{pair.symbol}","side":"{"buy" if buy else "sell"}","price":{decimal(price, p)},'
        f'"qty":{decimal(qty, q)},"ord_type":"{"market" if market else "limit"}","trade_id":{trade_id},'
        f'"timestamp":"{ts}Z"}}'
        for trade_id, ts, price, qty, buy, market in rows
    ]


def quote_items(pair: Pair, quotes: Quotes) -> list[str]:
    """The items of the ticker channel, one per quote."""
    p, q = pair.price_digits, pair.qty_digits
    names = ("bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct")
    digits = (p, q, p, q, p, q, p, p, p, p, 2)
    columns = [getattr(quotes, name).tolist() for name in names]
    items = []
    for row, trades, ts in zip(zip(*columns, strict=True), quotes.trades.tolist(), _stamps(quotes.ts), strict=True):
        body = ",".join(f'"{n}":{decimal(v, d)}' for n, v, d in zip(names, row, digits, strict=True))
        items.append(f'{{"symbol":"{pair.symbol}",{body},"trades":{trades},"timestamp":"{ts}Z"}}')
    return items


def trade_frames(pair: Pair, trades: Trades) -> list[tuple[int, Frame]]:
    """One frame per instant (fills of one order travel together), each with its time in µs."""
    items = trade_items(pair, trades)
    edges = np.flatnonzero(np.diff(trades.ts, prepend=-1, append=-1)).tolist()
    return [(int(trades.ts[a]), Frame("trade", pair.symbol, "", tuple(items[a:b]))) for a, b in pairwise(edges)]


def bbo_frames(pair: Pair, quotes: Quotes) -> list[tuple[int, Frame]]:
    """One frame per change of the best bid or ask, each with its time in µs."""
    items = quote_items(pair, quotes)
    return [(ts, Frame("ticker", pair.symbol, "bbo", (i,))) for ts, i in zip(quotes.ts.tolist(), items, strict=True)]


def on_trade_frames(pair: Pair, trades: Trades, quotes: Quotes) -> list[tuple[int, Frame]]:
    """One ticker frame per trade, with the quote in force (``quotes`` must reach back to before the first trade)."""
    force = np.searchsorted(quotes.ts, trades.ts, "right") - 1
    known = force >= 0
    rows = Quotes(*(getattr(quotes, name)[force[known]] for name in Quotes.__dataclass_fields__))
    rows = replace(rows, ts=trades.ts[known], last=trades.price[known])
    return [(ts, replace(frame, trigger="trades")) for ts, frame in bbo_frames(pair, rows)]


def _stamps(ts: Ints) -> list[str]:
    stamps: list[str] = np.datetime_as_string(ts.astype("datetime64[us]"), unit="us").tolist()
    return stamps
