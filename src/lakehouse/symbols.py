"""Pairs as the lake writes them, as Kraken's REST API does, and the hint for every other spelling; pure."""

import re

from lakehouse.errors import FatalError
from lakehouse.records import SYMBOL_PATTERN

# REST and the download files still use the old tickers of these two.
_TO_OLD = {"BTC": "XBT", "DOGE": "XDG"}
_TO_NEW = {old: new for new, old in _TO_OLD.items()}
_QUOTES = ("USDT", "USDC", "USD", "EUR", "GBP", "CAD", "JPY", "CHF", "AUD", "XBT", "BTC", "ETH")


def rest_pair(symbol: str) -> str:
    """The name that REST wants for a v2 symbol.

    >>> rest_pair("BTC/USD"), rest_pair("DOGE/EUR"), rest_pair("ETH/BTC"), rest_pair("SOL/USD")
    ('XBTUSD', 'XDGEUR', 'ETHXBT', 'SOLUSD')
    """
    return "".join(_TO_OLD.get(part, part) for part in symbol.split("/"))


def symbol_of(pair: str) -> str:
    """The v2 symbol of REST's ``altname`` or ``wsname``.

    >>> symbol_of("XBTUSD"), symbol_of("XDG/USD"), symbol_of("ETHXBT"), symbol_of("XBTUSDT")
    ('BTC/USD', 'DOGE/USD', 'ETH/BTC', 'BTC/USDT')

    Raises:
        FatalError: the pair's quote currency is not known here; give the symbol with a slash.
    """
    base, slash, quote = pair.partition("/")
    if not slash:
        quote = next((q for q in _QUOTES if pair.endswith(q) and len(pair) > len(q)), "")
        base = pair.removesuffix(quote)
    if not base or not quote:
        raise FatalError(f"cannot tell base from quote in the pair {pair!r}: write it as BTC/USD")
    return f"{_TO_NEW.get(base, base)}/{_TO_NEW.get(quote, quote)}"


def check_symbol(symbol: str) -> None:
    """Refuses what is no v2 symbol, before a whole history is sent under a name that the lake does not take.

    >>> check_symbol("BTC/USD"); check_symbol("AAPLx/USD")
    >>> check_symbol("xbt-usd")
    Traceback (most recent call last):
    lakehouse.errors.FatalError: 'xbt-usd' is not a symbol in the lake's spelling (BTC/USD): did you mean BTC/USD?

    Raises:
        FatalError: the message suggests the right spelling where one can be told.
    """
    try:
        meant = symbol_of(_upper(re.sub(r"[-_:\s]+", "/", symbol.strip())))
    except FatalError:
        meant = ""
    if re.fullmatch(SYMBOL_PATTERN, symbol) and meant in (symbol, ""):
        return
    hint = f": did you mean {meant}?" if re.fullmatch(SYMBOL_PATTERN, meant) else ""
    raise FatalError(f"{symbol!r} is not a symbol in the lake's spelling (BTC/USD){hint}")


def _upper(symbol: str) -> str:
    """Capitals, but for the x that Kraken hangs on a tokenised stock (``AAPLx/USD``)."""
    base, slash, quote = symbol.partition("/")
    stock = re.fullmatch(r"[A-Z0-9.]+x", base)
    return (base if stock else base.upper()) + slash + quote.upper()
