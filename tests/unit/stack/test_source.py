"""Which market is chosen, for every combination of wishes, and that a running lake keeps its own."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from lakehouse.errors import FatalError
from lakehouse.settings import load_settings
from stack import source

NOBODY = "http://127.0.0.1:9"


class _Kraken(http.server.BaseHTTPRequestHandler):
    body = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def kraken() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Kraken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/0/public"
        server.shutdown()


@pytest.mark.parametrize(
    ("asked", "configured", "recorded", "chosen"),
    [
        ("kraken", None, None, "kraken"),
        ("simulator", None, None, "simulator"),
        ("auto", "kraken", None, "kraken"),
        ("auto", None, "kraken", "kraken"),
        ("auto", None, "simulator", "simulator"),
        ("auto", None, None, "simulator"),
        ("simulator", None, "kraken", "simulator"),
        ("kraken", "kraken", "simulator", "kraken"),
    ],
)
def test_wishes_go_before_the_record_and_the_record_before_asking(
    asked: str, configured: str | None, recorded: str | None, chosen: str
) -> None:
    assert source.choose(asked, configured, recorded, False, NOBODY)[0] == chosen


def test_auto_takes_kraken_only_when_it_is_online(kraken: str) -> None:
    _Kraken.body = b'{"error":[],"result":{"status":"online","timestamp":"2026-01-01T00:00:00Z"}}'
    assert source.choose("auto", None, None, False, kraken)[0] == "kraken"
    _Kraken.body = b'{"error":[],"result":{"status":"maintenance"}}'
    assert source.choose("auto", None, None, False, kraken)[0] == "simulator"
    _Kraken.body = b"<html>a captive portal</html>"
    assert source.choose("auto", None, None, False, kraken)[0] == "simulator"


def test_the_fallback_is_loud() -> None:
    assert "SIMULATED" in source.choose("auto", None, None, False, NOBODY)[1]


def test_a_running_lake_keeps_its_market() -> None:
    with pytest.raises(FatalError, match=r"runs on simulator.*tradelake down"):
        source.choose("kraken", None, "simulator", True, NOBODY)
    assert source.choose("simulator", None, "simulator", True, NOBODY)[0] == "simulator"
    assert source.choose("auto", None, "simulator", True, NOBODY)[0] == "simulator"


def test_wishes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(FatalError, match="contradicts SOURCE=kraken"):
        source.choose("simulator", "kraken", None, False, NOBODY)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"simulator_events_per_s": 5.0}, r"SIMULATOR_EVENTS_PER_S=20\.0 \(now 5\.0\)"),
        ({"simulator_seed": 7}, r"SIMULATOR_SEED=42 \(now 7\)"),
        ({"simulator_genesis": "2026-02-01T00:00:00Z"}, r"SIMULATOR_GENESIS=2026-01-01T00:00:00Z"),
    ],
)
def test_a_lake_keeps_its_simulated_market(change: dict[str, object], words: str) -> None:
    made = {"simulator_seed": 42, "simulator_events_per_s": 20.0, "simulator_genesis": "2026-01-01T00:00:00Z"}
    recorded = source.market_parameters(load_settings(**made), None)
    assert source.market_parameters(load_settings(**made, simulator_port=9999), recorded) == recorded
    with pytest.raises(FatalError, match=words + r".*VAR_DIR"):
        source.market_parameters(load_settings(**made | change), recorded)
