"""Which column of a file holds what: names of the well-known sources, in any case, and the user's own; pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from formats.refusal import Kind, RefusedFileError
from formats.sides import SideForm, is_side_type

_TS = (
    "ts", "timestamp", "ts_event", "time", "ts_ms", "time_exchange", "trade_time", "transact_time", "created_time",
    "datetime", "unixtime", "unix", "open_time", "opentime", "trade_ts", "event_time", "exchange_time",
    "timestamp_ms", "timestamp_us", "timestamp_ns", "date_time", "created_at", "traded_at", "t", "mts", "date",
    "transaction_time", "start", "start_time", "start_at", "period_start", "time_period_start", "exchange_timestamp",
    "timems", "time_ms", "trade_timestamp", "execution_time", "block_time", "utc", "epoch", "fill_time",
    "__index_level_0__",
)  # fmt: skip
_SYMBOL = (
    "symbol", "pair", "instrument_name", "instrument", "inst_id", "product_id", "currency_pair", "market",
    "symbol_id", "ticker", "asset_pair", "product",
)  # fmt: skip
_TRADE = {
    "ts": _TS,
    "trade_id": ("trade_id", "id", "tid", "agg_trade_id", "a", "aggtradeid", "exec_id", "trd_match_id", "guid",
                 "transaction_id", "match_id", "sequence", "exchange_trade_id"),
    "price": ("price", "p", "px", "rate", "trade_price", "last_price", "execution_price", "price_quote"),
    "qty": ("qty", "home_notional", "amount", "volume", "size", "quantity", "vol", "base_amount", "q", "sz", "base_qty",
            "trade_volume", "base_volume", "last_size", "base_size", "amount_base", "v", "trade_size", "trade_qty"),
    "ord_type": ("ord_type", "ordertype"),
    "symbol": _SYMBOL,
}  # fmt: skip
_ROLLING = ("last", "volume", "vwap", "low", "high", "change", "change_pct")
_QUOTE = {
    "ts": _TS,
    "bid": ("bid", "bid_price", "best_bid_price", "best_bid", "bid_px", "b", "bid_price_1", "bids[0].price", "bidp"),
    "bid_qty": ("bid_qty", "bid_amount", "best_bid_qty", "bid_size", "best_bid_size", "bid_volume", "bid_quantity",
                "best_bid_amount", "bid_sz", "bid_sx", "bids[0].amount", "bq"),
    "ask": ("ask", "ask_price", "best_ask_price", "best_ask", "ask_px", "a", "ask_price_1", "asks[0].price", "askp",
            "offer", "offer_price"),
    "ask_qty": ("ask_qty", "ask_amount", "best_ask_qty", "ask_size", "best_ask_size", "ask_volume", "ask_quantity",
                "best_ask_amount", "ask_sz", "ask_sx", "asks[0].amount", "aq", "offer_size"),
    **{name: (name,) for name in _ROLLING},
    "symbol": _SYMBOL,
}  # fmt: skip
_BAR = {
    "ts": _TS,
    "open": ("open", "o", "open_price", "price_open"),
    "high": ("high", "h", "high_price", "price_high", "max"),
    "low": ("low", "l", "low_price", "price_low", "min"),
    "close": ("close", "c", "close_price", "price_close"),
    "volume": ("volume", "vol", "v", "base_volume", "volume_traded", "volume_(btc)", "qty", "amount"),
    "symbol": _SYMBOL,
}
NAMES: dict[Kind, Mapping[str, tuple[str, ...]]] = {"trade": _TRADE, "quote": _QUOTE, "bar": _BAR}
REQUIRED: dict[Kind, tuple[str, ...]] = {
    "trade": ("ts", "price", "qty"),
    "quote": ("ts", "bid", "ask"),
    "bar": ("ts", "open", "high", "low", "close", "volume"),
}
SIZES = ("bid_qty", "ask_qty")
_SIDES: tuple[tuple[SideForm, tuple[str, ...]], ...] = (
    ("side", ("side", "buy_sell", "taker_side", "aggressor_side", "aggressor", "direction", "trade_side", "ask_bid",
              "taker_side_type", "maker_taker_side", "taker")),
    ("maker", ("is_buyer_maker", "buyer_maker", "m", "was_buyer_maker", "is_buyer_market_maker", "isbuyermaker")),
    ("sell", ("sell", "taker_side_sell", "is_sell", "sell_side")),
    ("buy", ("buy", "is_buy", "buy_side", "taker_is_buyer", "is_buyer_taker")),
)  # fmt: skip
_TYPE = "type"
# Columns that only a person's own fills, orders or ledger have.
_ACCOUNT = {
    "txid", "ordertxid", "ledgers", "order_id", "orderid", "fee", "fees", "commission", "commission_asset",
    "realized_pnl", "fee_currency", "fee_coin", "portfolio", "user_id", "profit", "balance", "margin", "liquidity",
    "total_(inclusive_of_fees_and/or_spread)", "fee_amount", "executed", "order_no", "refid", "aclass",
}  # fmt: skip
_SURE_ACCOUNT = {"txid", "ordertxid", "ledgers", "refid", "realized_pnl", "commission", "commission_asset", "portfolio",
                 "balance"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """Which column of a file holds what.

    Attributes:
        columns: per field of the lake, the file's column; ``side`` as `side_form` says.
        source: where such files come from, ``unknown`` where that cannot be told.
    """

    kind: Kind
    columns: Mapping[str, str]
    side_form: SideForm = "side"
    source: str = "unknown"


def key(name: str) -> str:
    """A column's name without case, blanks and signs, camel case parted.

    >>> key("isBuyerMaker"), key(" Open time "), key("BID-PRICE")
    ('is_buyer_maker', 'open_time', 'bid_price')
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip().removeprefix("\ufeff").lstrip("#").strip())
    return re.sub(r"[\s\-]+", "_", parted).lower()


def by_key(names: Iterable[str]) -> dict[str, str]:
    """The file's names by how they are compared; also without the underscores, as ``trdMatchID`` has them elsewhere."""
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(key(name), name)
    for name in names:
        found.setdefault(name.strip().lower(), name)
    return found


def known(names: Iterable[str]) -> bool:
    """Whether any of these names is one of a trade's, a quote's or a bar's."""
    keys = set(by_key(names))
    aliases = {alias for fields in NAMES.values() for several in fields.values() for alias in several}
    found = keys & (aliases | {_TYPE} | {alias for _, several in _SIDES for alias in several})
    # A single letter may be anything; several of them are a header.
    return any(len(name) > 1 for name in found) or len(found) > 2


def kind_of(names: Sequence[str]) -> Kind | None:
    """What the rows are, by the columns."""
    keys = by_key(names)

    def has(kind: Kind, *fields: str) -> bool:
        return all(any(alias in keys for alias in NAMES[kind][field]) for field in fields)

    if has("bar", "open", "high", "low", "close"):
        return "bar"
    if has("trade", "price", "qty"):
        return "trade"
    return "quote" if has("quote", "bid", "ask") else None


def layout_of(kind: Kind, sample: pl.DataFrame, chosen: Mapping[str, str], sizes: bool, source: str) -> ColumnLayout:
    """Recognises the columns of a file by their names.

    Raises:
        RefusedFileError: a column that is needed is missing, or the file is somebody's own account.
    """
    names = [name for name in sample.columns if name]
    keys = by_key(names)
    refuse_account(names)
    columns = {
        field: keys[found]
        for field, aliases in NAMES[kind].items()
        if (found := next((alias for alias in aliases if alias in keys), None)) is not None
    }
    if kind == "bar" and "volume" not in columns and (named := _named_volume(keys)):
        columns["volume"] = named
    form: SideForm = "side"
    if kind == "trade":
        form = _side(keys, sample, columns)
        if source == "bitfinex" and "side" not in columns and "qty" in columns:
            columns["side"], form = columns["qty"], "sign"
        if {"t", "T"} <= set(names):  # Binance's messages: the trade's number and its time
            columns |= {"trade_id": "t", "ts": "T"}
    columns |= _chosen(kind, chosen, names)
    _need(kind, columns, names, sizes)
    return ColumnLayout(kind, columns, form, source)


def refuse_account(names: Sequence[str]) -> None:
    """Refuses a person's own fills, orders or ledger, told by columns that no market's file has.

    Raises:
        RefusedFileError: names those columns.
    """
    keys = by_key(names)
    own = [keys[name] for name in keys if name in _ACCOUNT]
    sure = [keys[name] for name in keys if name in _SURE_ACCOUNT]
    if sure or (len(own) >= 2 and not {"info", "taker_or_maker"} & set(keys)):
        told = ", ".join(dict.fromkeys(sure or own))
        raise RefusedFileError(
            f"columns {told}: this is an account's own orders or fills, not the market's trades; "
            "give the market's trades, e.g. the exchange's public download"
        )


def _named_volume(keys: Mapping[str, str]) -> str | None:
    """``Volume BTC`` beside ``Volume USDT``: the first is the base's, the other in what the price is in."""
    found = [name for folded, name in keys.items() if folded.startswith(("volume_", "volume("))]
    quoted = ("usd", "usdt", "usdc", "eur", "currency", "quote")
    base = [name for name in found if not any(word in name.lower() for word in quoted)]
    return next(iter(base or found), None)


def _side(keys: Mapping[str, str], sample: pl.DataFrame, columns: dict[str, str]) -> SideForm:
    """Puts the column of sides into ``columns``, and says what form it has."""
    if _TYPE in keys:
        if is_side_type(sample[keys[_TYPE]]) and not any(alias in keys for _, several in _SIDES for alias in several):
            columns["side"] = keys[_TYPE]
            return "type"
        columns.setdefault("ord_type", keys[_TYPE])
    for form, aliases in _SIDES:
        if found := next((alias for alias in aliases if alias in keys), None):
            columns["side"] = keys[found]
            return form
    return "side"


def _chosen(kind: Kind, chosen: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """The user's own names; those of fields that only another kind has are meant for the other file of a command."""
    fields, every = _fields(kind), {field for each in NAMES for field in _fields(each)}
    found = {}
    for field, column in chosen.items():
        if field not in every:
            raise RefusedFileError(
                f"--columns {field}={column}: no such field; a {kind} has {', '.join(sorted(fields))}"
            )
        if field not in fields:
            continue
        match = column if column in names else by_key(names).get(key(column))
        if match is None:
            raise RefusedFileError(f"--columns {field}={column}: no such column; the file has {', '.join(names)}")
        found[field] = match
    return found


def _fields(kind: Kind) -> set[str]:
    return {*NAMES[kind], *(("side",) if kind == "trade" else ())}


def _need(kind: Kind, columns: Mapping[str, str], names: Sequence[str], sizes: bool) -> None:
    needed = (*REQUIRED[kind], *(SIZES if sizes and kind == "quote" else ()))
    if missing := [field for field in needed if field not in columns]:
        wanted = "; ".join(f"{field}: one of {', '.join(NAMES[kind][field][:6])}" for field in missing)
        raise RefusedFileError(
            f"no column for {kind} field {wanted}; the file has {', '.join(names)}: "
            f"say which it is with --columns {missing[0]}=NAME"
        )
