"""The taker's side, however a file says it; pure."""

from typing import Literal

import polars as pl

# side: a word; maker: whether the buyer was the maker (then the taker sold); sell, buy: whether the taker sold, bought;
# type: 0 is a buy and 1 a sale (Bitstamp); sign: a sale's quantity is negative (Bitfinex).
SideForm = Literal["side", "maker", "sell", "buy", "type", "sign"]
_WORDS = {
    **dict.fromkeys(("b", "buy", "bid", "buyer", "buy_estimated"), "buy"),
    **dict.fromkeys(("s", "a", "sell", "ask", "seller", "sell_estimated"), "sell"),
}
_TRUE = ("true", "t", "1", "yes", "1.0")
_FALSE = ("false", "f", "0", "no", "0.0")
_TABLES: dict[SideForm, dict[str, str]] = {
    "side": _WORDS,
    "maker": {**dict.fromkeys(_TRUE, "sell"), **dict.fromkeys(_FALSE, "buy")},
    "sell": {**dict.fromkeys(_TRUE, "sell"), **dict.fromkeys(_FALSE, "buy")},
    "buy": {**dict.fromkeys(_TRUE, "buy"), **dict.fromkeys(_FALSE, "sell")},
    "type": {**_WORDS, "0": "buy", "1": "sell"},
}
# What a program writes where it knows no side.
UNTOLD = ("", "unknown", "none", "null", "nan", "n/a")


def side(value: pl.Expr, form: SideForm) -> pl.Expr:
    """``buy``, ``sell``, or null for what is neither."""
    if form == "sign":
        sign = value.cast(pl.Float64, strict=False)
        return pl.when(sign > 0).then(pl.lit("buy")).when(sign < 0).then(pl.lit("sell"))
    return text(value).replace_strict(_TABLES[form], default=None, return_dtype=pl.String)


def is_told(value: pl.Expr) -> pl.Expr:
    """Whether anything stands there that claims to be a side."""
    return ~text(value).is_in(UNTOLD)


def text(value: pl.Expr) -> pl.Expr:
    """A value of any type as bare lower-case text, ``""`` where there is none."""
    return value.cast(pl.String).str.strip_chars().str.to_lowercase().fill_null("")


def is_side_type(values: pl.Series) -> bool:
    """Whether a column called ``type`` holds sides: buy, sell, 0 and 1, and not orders' types."""
    said = values.cast(pl.String).str.strip_chars().str.to_lowercase().drop_nulls().unique()
    said = said.filter(said != "")
    return bool(said.len()) and bool(said.is_in(list(_TABLES["type"])).all())
