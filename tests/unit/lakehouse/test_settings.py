"""Settings: the environment is read once, wrong values are named, secrets stay hidden."""

from pathlib import Path

import pytest

from lakehouse.errors import FatalError
from lakehouse.settings import Settings, load_settings


def test_the_environment_sets_a_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOLS", "BTC/USD, ETH/EUR")
    monkeypatch.setenv("KAFKA_PORT", "19092")
    settings = load_settings()
    assert settings.symbols == ("BTC/USD", "ETH/EUR")
    assert settings.kafka_port == 19092


@pytest.mark.parametrize("value", ["", "BTCUSD", "btc/usd", "BTC/USD,BTC/USD", "BTC/", "A-B/USD"])
def test_symbols_in_another_spelling_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SYMBOLS", value)
    with pytest.raises(FatalError, match=r"SYMBOLS.*v2 spelling"):
        load_settings()


def test_an_old_ticker_is_refused_with_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOLS", "BTC/USD,XDG/USD")
    with pytest.raises(FatalError, match=r"SYMBOLS.*did you mean DOGE/USD\?"):
        load_settings()


def test_a_wrong_port_is_named_with_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "70000")
    with pytest.raises(FatalError, match=r"API_PORT.*65535"):
        load_settings()


def test_a_wrong_secret_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "hunter2")
    monkeypatch.setenv("API_PORT", "no")
    with pytest.raises(FatalError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
    monkeypatch.delenv("API_PORT")
    assert "hunter2" not in repr(load_settings())


def test_each_source_has_its_own_folder_and_endpoints() -> None:
    kraken = load_settings(source="kraken", var_dir=Path("v"))
    simulator = load_settings(source="simulator", var_dir=Path("v"), simulator_port=1234)
    assert kraken.state_dir != simulator.state_dir
    assert kraken.ws_url == "wss://ws.kraken.com/v2"
    assert simulator.ws_url == "ws://127.0.0.1:1234/v2"
    assert simulator.rest_url == "http://127.0.0.1:1234/0/public"


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
