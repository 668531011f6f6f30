"""Tables without a header, told by the number and the look of their fields; and which source a header is of; pure."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from formats.columns import by_key
from formats.refusal import Kind

Rows = Sequence[Sequence[str]]
_FLAGS = {"true", "false"}
_WORDS = {"b", "s", "buy", "sell", "bid", "ask"}
_TEXT_TIME = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}[ TD]\d{1,2}:\d{2}")
# Epoch times from 2009 on, in seconds, milli-, micro- and nanoseconds.
_TIMES = ((1.2e9, 4e9), (1.2e12, 4e12), (1.2e15, 4e15), (1.2e18, 4e18))


@dataclass(frozen=True, slots=True)
class Headless:
    """A layout without names: a letter per field, and what the fields are.

    t time, n number, i whole number, p number above 0 or nothing, f flag, w word for a side, e a word or
    nothing, 1 one of 0 and 1, * anything.
    """

    kind: Kind
    signs: str
    names: tuple[str, ...]
    source: str


def _names(text: str) -> tuple[str, ...]:
    return tuple("" if name == "-" else name for name in text.split())


_BINANCE = "open_time open high low close volume close_time - - - - -"
HEADLESS = (
    Headless("trade", "tnn", _names("ts price qty"), "kraken time and sales"),
    Headless("trade", "tnnw", _names("ts price qty side"), "unknown"),
    Headless("trade", "itnn", _names("trade_id ts qty price"), "bitfinex"),
    Headless("trade", "innt1", _names("trade_id price qty ts buy"), "cryptoarchive"),
    Headless("trade", "inntw", _names("trade_id price qty ts side"), "unknown"),
    Headless("trade", "nntw**i", _names("price qty ts side type misc trade_id"), "kraken trades"),
    Headless("trade", "t*eennn", _names("ts trade_id ord_type side price qty -"), "freqtrade"),
    Headless("trade", "t*eenn", _names("ts trade_id ord_type side price qty"), "freqtrade"),
    Headless("trade", "inniitff", _names("trade_id price qty - - ts is_buyer_maker -"), "binance aggTrades"),
    Headless("trade", "inniitf", _names("trade_id price qty - - ts is_buyer_maker"), "binance aggTrades"),
    Headless("trade", "innntff", _names("trade_id price qty - ts is_buyer_maker -"), "binance trades"),
    Headless("trade", "innntf", _names("trade_id price qty - ts is_buyer_maker"), "binance trades"),
    Headless("bar", "tppppnt*****", _names(_BINANCE), "binance klines"),
    Headless("bar", "tippppnp", _names("ts trades open high low close volume -"), "kaiko bars"),
    Headless("bar", "tpppppni", _names("ts open high low close vwap volume trades"), "kraken bars"),
    Headless("bar", "tppppnnnni", _names("ts open high low close volume - - - trades"), "cryptoarchive"),
    Headless("bar", "tppppni", _names("ts open high low close volume trades"), "kraken bars"),
    Headless("bar", "tppppn", _names("ts open high low close volume"), "freqtrade"),
)
# The last one's columns as others order them.
_ORDERS = (
    HEADLESS[-1],
    Headless("bar", "tppppn", _names("ts low high open close volume"), "coinbase"),
    Headless("bar", "tppppn", _names("ts open close high low volume"), "bitfinex"),
)
_SOURCES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("kraken account", ("txid", "ordertxid")),
    ("bitmex", ("tick_direction", "trd_match_id", "home_notional", "trd_type")),
    ("bybit", ("tick_direction", "trd_match_id")),
    ("bybit", ("id", "timestamp", "price", "volume", "side", "rpi")),
    ("tardis", ("exchange", "symbol", "timestamp", "local_timestamp")),
    ("coinapi", ("time_exchange", "time_coinapi")),
    ("kaiko", ("id", "exchange", "symbol", "date", "price", "amount", "sell")),
    ("okx", ("instrument_name", "created_time")),
    ("binance aggTrades", ("agg_trade_id", "is_buyer_maker")),
    ("binance bookTicker", ("update_id", "best_bid_price")),
    ("binance trades", ("quote_qty", "is_buyer_maker")),
    ("binance klines", ("open_time", "close_time", "taker_buy_volume")),
    ("binance klines", ("open_time", "close_time")),
    ("cryptodatadownload", ("unix", "date", "symbol")),
    ("ccxt", ("taker_or_maker", "datetime", "timestamp")),
    ("kaggle", ("timestamp", "open", "high", "low", "close", "volume_(btc)")),
    ("freqtrade", ("date", "open", "high", "low", "close", "volume")),
    ("freqtrade", ("timestamp", "id", "type", "side", "price", "amount", "cost")),
    ("kraken trades", ("price", "time", "side", "type", "misc")),
    ("kraken websocket", ("symbol", "ord_type", "trade_id", "side")),
    ("bitfinex", ("mts", "amount", "price")),
    ("bitstamp", ("unixtime", "price", "amount", "tid")),
    ("coinbase", ("trade_id", "side", "size", "price", "time")),
)


def source_of(names: Iterable[str]) -> str:
    """Where a file with these columns comes from."""
    keys = set(by_key(names))
    return next((source for source, wanted in _SOURCES if keys.issuperset(wanted)), "unknown")


def headless(rows: Rows, kind: Kind | None) -> Headless | None:
    """The layout of the wanted kind that most rows without a header fit; single rows may be broken."""
    wanted = [layout for layout in HEADLESS if kind in (None, layout.kind)]
    fits = [(_fits(rows, layout.signs), -i, layout) for i, layout in enumerate(wanted)]
    count, _, best = max(fits, default=(0, 0, None))
    if best is not None and best.signs == _ORDERS[0].signs:
        best = max(_ORDERS, key=lambda layout: _spanned(rows, layout))
    return best if count else None


def _spanned(rows: Rows, layout: Headless) -> int:
    """In how many rows of bars no price is above the high or below the low."""
    high, low = layout.names.index("high"), layout.names.index("low")
    prices = [[value for text in row[1:5] if (value := number(text)) is not None] for row in rows]
    return sum(len(each) == 4 and each[high - 1] == max(each) and each[low - 1] == min(each) for each in prices)


def _fits(rows: Rows, signs: str) -> int:
    """How many rows look so."""
    return sum(
        len(row) == len(signs) and all(_LOOKS[sign](text.strip()) for sign, text in zip(signs, row, strict=True))
        for row in rows
    )


def number(text: str) -> float | None:
    """The number that a field holds."""
    try:
        return float(text)
    except ValueError:
        return None


def is_time(text: str) -> bool:
    """Whether a field looks like a time: an epoch of our days, or a date with a time of day."""
    value = number(text)
    return bool(_TEXT_TIME.match(text)) if value is None else any(low <= value < high for low, high in _TIMES)


def _is_price(text: str) -> bool:
    value = number(text)
    return text.lower() in ("", "null", "nan", "none") or (value is not None and value >= 0)


_LOOKS: dict[str, Callable[[str], bool]] = {
    "t": is_time,
    "n": lambda text: number(text) is not None,
    "i": lambda text: text.lstrip("-").isdecimal(),
    "p": _is_price,
    "f": lambda text: text.lower() in _FLAGS,
    "w": lambda text: text.lower() in _WORDS,
    "e": lambda text: number(text) is None,
    "1": lambda text: text in ("0", "1"),
    "*": lambda _: True,
}
