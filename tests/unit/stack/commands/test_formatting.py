"""What people read: aligned, complete, with secrets only where they are asked for."""

from pathlib import Path

from lakehouse.ledger import Summary
from lakehouse.text_table import columns
from stack.commands import formatting
from stack.commands.feed_status import FeedReport, read
from stack.commands.status_report import ProcessReport, StatusReport, TableReport
from stack.layout import layout
from stack.supervision.process_table import processes
from tests.support.servers import scratch_settings

WELL = ProcessReport("running", True, 7, 3725, {"API_PORT": 5050}, 12.4, "", None)
ILL = ProcessReport("running", False, 8, 5, {"X_PORT": 1}, 100.0, "HTTP 503", 42)


def test_columns_are_aligned() -> None:
    assert columns([("A", "B"), ("long", "x")]) == "A     B\n----  -\nlong  x"


def test_status_shows_what_is_ill_and_how_far_behind() -> None:
    tables = {"bronze_trades": TableReport(1234567, "2026-01-01T00:00:00.000Z")}
    text = formatting.status(StatusReport("simulator", False, 112.4, {"api": WELL, "consumer": ILL}, tables))
    api, consumer = (next(line for line in text.splitlines() if line.startswith(n)) for n in ("api", "consumer"))
    assert api.split() == ["api", "running", "healthy", "7", "1:02:05", "12", "MB"]
    assert consumer.split() == ["consumer", "running", "UNHEALTHY", "8", "0:00:05", "100", "MB", "42", "HTTP", "503"]
    assert "1,234,567  2026-01-01T00:00:00.000Z" in text
    assert "112 MB (PSS)" in text


def test_status_says_what_is_proved_and_what_is_missing() -> None:
    text = formatting.ledger((Summary("BTC/USD", 9, 8, 1234, 2, 0, {"ws": 1200, "rest": 34, "file": 0, "sim": 0}),))
    assert text.splitlines()[2].split()[:6] == ["BTC/USD", "1,234", "9", "8", "2", "0"]
    assert text.endswith("ws 1,200, rest 34")
    assert formatting.ledger(()) == ""


METRICS = """
# TYPE ws_connected gauge
ws_connected 1.0
ws_last_frame_timestamp_seconds 1000.0
exchange_status{state="online"} 0.0
exchange_status{state="maintenance"} 1.0
subscription_state{stream="trade",symbol="BTC/USD"} 3.0
subscription_state{stream="trade",symbol="SOL/USD"} -1.0
# TYPE ws_reconnects_total counter
ws_reconnects_total{reason="frozen"} 2.0
trade_holes_open{symbol="BTC/USD"} 5.0
"""


def test_status_tells_of_the_feed() -> None:
    report = read(METRICS, 1000.4)
    streams = {"BTC/USD trade": "delivering", "SOL/USD trade": "refused"}
    assert report == FeedReport(True, "maintenance", 0.4, streams, {"frozen": 2}, {"BTC/USD": 5})
    assert formatting.feed(report).splitlines() == [
        "feed: connected, exchange maintenance, last frame 0.4 s ago",
        "  connections lost since the producer's start: frozen 2",
        "  SOL/USD trade: refused",
        "  BTC/USD: asking for 5 missing trade ids",
    ]


def test_a_producer_that_just_began_says_so() -> None:
    report = read("", 0.0)
    assert formatting.feed(report) == "feed: NOT CONNECTED, exchange has not said how it is, no frame yet"
    assert formatting.feed(None) == ""


def test_where_things_are_names_every_process_and_no_secret(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path)
    table = processes(settings, layout(settings))
    text = formatting.where_things_are(
        settings, table, StatusReport("simulator", True, 1.0, {p.name: WELL for p in table}, {})
    )
    assert all(process.name in text for process in table)
    assert settings.api_url in text
    assert settings.questdb_password.get_secret_value() not in text


def test_secrets_shows_each_one(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path)
    text = formatting.secrets(settings)
    assert f"QUESTDB_PASSWORD           {settings.questdb_password.get_secret_value()}" in text
    assert "QUESTDB_USER" in text
