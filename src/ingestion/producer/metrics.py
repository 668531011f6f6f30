"""The producer's Prometheus metrics."""

from prometheus_client import Counter, Gauge

TRADES = Counter("producer_trades_total", "Trades sent to Kafka.", ["symbol", "source"])
QUOTES = Counter("producer_quotes_total", "Quotes sent to Kafka.", ["symbol"])
GAPS = Counter("quote_gaps_total", "Quote outages.", ["symbol", "reason"])
DUPLICATES = Counter("producer_duplicates_total", "Trades dropped because their id had been seen.", ["symbol"])
BELOW_TOP = Counter(
    "trade_ids_below_top_total", "Trades dropped as duplicates although newer than the newest one.", ["symbol"]
)
HOLES = Gauge("trade_holes_open", "Trade ids that are missing.", ["symbol"])
ABSENT = Counter("trade_ids_absent_total", "Missing ids that the exchange does not have either.", ["symbol"])
RECONNECTS = Counter("ws_reconnects_total", "WebSocket connections lost or failed.", ["reason"])
CONNECTED = Gauge("ws_connected", "1 while the WebSocket is open.")
LAST_FRAME = Gauge("ws_last_frame_timestamp_seconds", "When the last frame arrived, Unix seconds.")
STATUS = Gauge("exchange_status", "1 for the state that the exchange reports.", ["state"])
SUBSCRIPTIONS = Gauge(
    "subscription_state",
    "0 waiting, 1 asked, 2 acknowledged, 3 delivering, 4 leaving, -1 refused.",
    ["symbol", "stream"],
)
