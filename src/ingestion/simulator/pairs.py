"""The simulated exchange's pairs: Kraken's names and precisions, and the parameters of their markets."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """One market.

    ``price_digits`` and ``qty_digits`` are the decimals on the WebSocket; REST shows ``rest_digits`` of the price.
    ``price`` is the level the market returns to over years, ``annual_vol`` the volatility per square root of a year,
    ``spread_bp`` the usual spread in basis points, ``qty`` the median trade in base units.
    """

    symbol: str
    rest_key: str
    altname: str
    price_digits: int
    qty_digits: int
    rest_digits: int
    price: float
    annual_vol: float
    spread_bp: float
    qty: float
    qty_min: float

    @property
    def wsname(self) -> str:
        """REST's slash form, which still has the old tickers (XBT, XDG)."""
        base, quote = self.symbol.split("/")
        return f"{_OLD.get(base, base)}/{_OLD.get(quote, quote)}"


_OLD = {"BTC": "XBT", "DOGE": "XDG"}

PAIRS: dict[str, Pair] = {
    pair.symbol: pair
    for pair in (
        Pair("BTC/USD", "XXBTZUSD", "XBTUSD", 1, 8, 5, 64_000.0, 0.55, 1.0, 0.01, 0.00005),
        Pair("ETH/USD", "XETHZUSD", "ETHUSD", 2, 8, 5, 3_100.0, 0.68, 1.2, 0.2, 0.001),
        Pair("SOL/USD", "SOLUSD", "SOLUSD", 2, 8, 5, 150.0, 0.85, 2.0, 3.0, 0.02),
        Pair("XRP/USD", "XXRPZUSD", "XRPUSD", 5, 8, 5, 0.62, 0.80, 2.0, 400.0, 1.65),
        Pair("DOGE/USD", "XDGUSD", "XDGUSD", 7, 8, 7, 0.14, 0.95, 2.5, 1_500.0, 13.0),
        Pair("ADA/USD", "ADAUSD", "ADAUSD", 6, 8, 6, 0.45, 0.85, 2.5, 300.0, 5.4),
        Pair("LTC/USD", "XLTCZUSD", "LTCUSD", 2, 8, 5, 85.0, 0.70, 2.5, 2.0, 0.04),
        Pair("LINK/USD", "LINKUSD", "LINKUSD", 5, 8, 5, 14.0, 0.85, 2.5, 10.0, 0.2),
        Pair("DOT/USD", "DOTUSD", "DOTUSD", 4, 8, 4, 6.0, 0.85, 3.0, 20.0, 0.6),
        Pair("AVAX/USD", "AVAXUSD", "AVAXUSD", 2, 8, 5, 30.0, 0.90, 4.0, 5.0, 0.1),
        Pair("BTC/EUR", "XXBTZEUR", "XBTEUR", 1, 8, 5, 59_000.0, 0.55, 1.2, 0.008, 0.00005),
        Pair("ETH/EUR", "XETHZEUR", "ETHEUR", 2, 8, 5, 2_850.0, 0.68, 1.5, 0.15, 0.001),
        Pair("BTC/USDT", "XBTUSDT", "XBTUSDT", 1, 8, 5, 64_000.0, 0.55, 1.5, 0.008, 0.00005),
        Pair("ETH/BTC", "XETHXXBT", "ETHXBT", 5, 8, 5, 0.048, 0.40, 2.5, 0.15, 0.001),
    )
}
