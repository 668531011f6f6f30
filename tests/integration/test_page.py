"""The live page in headless Chromium: its numbers are those in QuestDB, and it finds back after a break."""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from downstream import forecast_rows
from features.table import SILVER
from forecast.model.targets import TARGETS
from forecast.page.routes import MAX_STREAMS
from lakehouse.records import Forecast, RowForecasts
from lakehouse.schema import BRONZE_TRADES, GOLD_FORECAST_SCORES, GOLD_FORECASTS, TABLES
from lakehouse.settings import HORIZONS_S, Settings
from lakehouse.stores.questdb import QuestDB
from lakehouse.stores.redis import FEATURES, FORECASTS, Redis
from lakehouse.views import views
from tests.integration.lakes import eventually, feature_row
from tests.support.servers import LocalServers

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MINUTES = 30


@pytest.fixture(scope="module")
def database(lake: Settings) -> QuestDB:
    """Half an hour of trades of every symbol, a trade every two seconds, and judged forecasts of the last minutes."""
    database = QuestDB(lake)
    database.migrate([*TABLES, SILVER], views(lake.feature_interval_ms))
    now = datetime.now(UTC).replace(microsecond=0)
    count = MINUTES * 30
    for symbol in lake.symbols:
        ts = [now - timedelta(seconds=2 * (count - i)) for i in range(count)]
        prices = [100.0 + (i * 7 % 13) / 10 for i in range(count)]
        trades = {"ts": ts, "received_at": ts, "symbol": symbol, "trade_id": range(1, count + 1), "price": prices}
        more = {"qty": 0.5, "side": "buy", "ord_type": "market", "source": "sim", "origin": "live", "epoch": 1}
        frame = pl.DataFrame(trades | more).with_columns(seq=pl.int_range(pl.len()))
        database.write(BRONZE_TRADES, frame)
    _write_forecasts(database, lake.symbols[0], now)
    database.wait_applied([table.name for table in TABLES])
    return database


def _write_forecasts(database: QuestDB, symbol: str, now: datetime) -> None:
    found = []
    for target, value in (("bid", 100.0), ("vol", 0.002)):
        for horizon in HORIZONS_S:
            for second in range(60, 1200, 10):
                ends = {"lower": value * 0.99, "upper": value * 1.01, "lower_95": value * 0.9, "upper_95": value * 1.1}
                names = {"model_version": f"{target}/1", "spec": "abc", "calibration": "def", "epoch": 1, "seq": second}
                when = now - timedelta(seconds=second)
                row = Forecast(when, symbol, target, horizon, value, **ends, baseline=value, **names, latency_ms=12.5)  # type: ignore[arg-type]
                found.append(row)
    forecasts = forecast_rows.frame(found)
    database.write(GOLD_FORECASTS, forecasts)
    scores = forecasts.with_columns(
        due=pl.col("ts") + pl.duration(seconds="horizon_s"),
        truth=pl.col("value") * 1.002,
        loss=pl.lit(1e-6),
        baseline_loss=pl.col("horizon_s") * 1e-7,
        inside_80=True,
        inside_95=True,
    )
    database.write(GOLD_FORECAST_SCORES, scores.select(GOLD_FORECAST_SCORES.names))


@pytest.fixture(scope="module")
def api(lake: Settings, servers: LocalServers, database: QuestDB) -> Iterator[httpx.Client]:
    servers.start("api")
    with httpx.Client(base_url=lake.api_url, timeout=20) as client:
        yield client
    servers.stop("api")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser's console says at warning level or worse."""
    return []


@pytest.fixture
def page(lake: Settings, api: httpx.Client, browser: Browser, complaints: list[str]) -> Iterator[Page]:
    Redis(lake).publish(FEATURES, [feature_row(lake, s, next_seq()) for s in lake.symbols])

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(lake.api_url)
    page.wait_for_selector("#link[data-state=live]", timeout=20_000)
    yield page
    page.close()


def next_seq() -> int:
    """Larger each time, so that Redis takes every row for the newest."""
    return time.time_ns() // 1000


def _value(page: Page, selector: str) -> Callable[[], str | None]:
    return lambda: page.locator(selector).first.get_attribute("data-value")


def _cell(page: Page, table: str, row: int, column: int) -> float:
    cell = page.locator(f"#{table} tbody tr").nth(row).locator("td").nth(column)
    text = eventually(lambda: cell.get_attribute("data-value"))
    return float(str(text))


def test_numbers_are_those_in_questdb(lake: Settings, database: QuestDB, page: Page, complaints: list[str]) -> None:
    symbol = lake.symbols[0]
    skills = database.rows(f"SELECT target, horizon_s, skill, coverage_80 FROM gold_skill_1h WHERE symbol = '{symbol}'")
    assert len(skills) == 2 * len(HORIZONS_S)
    for target, horizon, skill, coverage in skills:
        column = {"bid": 1, "vol": 3}[target]
        row = HORIZONS_S.index(horizon)
        assert _cell(page, "skill", row, column) == pytest.approx(skill, rel=1e-12)
        assert _cell(page, "skill", row, column + 1) == float(coverage)
    eventually(_value(page, "#feed-missing-trades"))
    (feed,) = database.rows(
        "SELECT sum(CASE WHEN complete THEN 1 ELSE 0 END) FROM bronze_completeness "
        f"WHERE symbol = '{symbol}' AND ts > dateadd('m', -60, now())"
    )
    assert _value(page, "#feed-complete-minutes")() == str(feed[0])
    assert _value(page, "#feed-missing-trades")() == "0"
    candles = database.rows(f"SELECT count() FROM gold_ohlc_1m WHERE symbol = '{symbol}'")[0][0]
    assert int(eventually(lambda: page.locator("#candles").get_attribute("data-count")) or 0) == candles
    assert page.locator("#simulated").is_visible()
    assert not complaints


def test_prices_and_forecasts_come_live(lake: Settings, page: Page, complaints: list[str]) -> None:
    symbol, redis = lake.symbols[0], Redis(lake)
    seq = next_seq()
    row = feature_row(lake, symbol, seq, price=123.4)
    figures = {"value": 123.5, "lower": 120.0, "upper": 125.0, "lower_95": 110.0, "upper_95": 130.0, "baseline": 123.4}
    shared: dict[str, Any] = {"symbol": symbol, "spec": row.spec, "epoch": row.epoch, "seq": seq, "latency_ms": 9.0}
    told: list[Forecast] = []
    for target in TARGETS:
        of = {"ts": row.ts, "target": target, "model_version": f"{target}/1", "calibration": "x", **shared, **figures}
        told += [Forecast(horizon_s=h, **of) for h in HORIZONS_S]
    redis.publish(FEATURES, [row])
    made = RowForecasts(as_of=row.ts, received_at=row.received_at, forecasts=tuple(told), **shared)
    redis.publish(FORECASTS, [made])
    # Each comes by a stream of its own, so either may be first.
    page.wait_for_selector(f'#forecast[data-seq="{seq}"]', timeout=20_000)
    eventually(lambda: _value(page, "#bid")() == "123.4")
    assert _cell(page, "forecast", 4, 1) == 123.5
    eventually(lambda: not page.locator("#stale").is_visible())
    assert not complaints


def test_old_prices_are_called_stale(lake: Settings, page: Page) -> None:
    symbol = lake.symbols[0]
    Redis(lake).publish(FEATURES, [feature_row(lake, symbol, next_seq(), age_s=120)])
    page.wait_for_selector("#stale:not([hidden])", timeout=20_000)
    assert "Stale" in page.locator("#stale").inner_text()


def test_any_day_and_interval_can_be_downloaded(
    lake: Settings, api: httpx.Client, database: QuestDB, page: Page
) -> None:
    symbol = lake.symbols[1]
    page.get_by_role("button", name=symbol).click()
    page.get_by_role("button", name="5m", exact=True).click()
    day = f"{datetime.now(UTC) - timedelta(seconds=5):%Y-%m-%d}"
    page.locator("#day").fill(day)
    href = eventually(lambda: _if_has(page.locator("#parquet").get_attribute("href"), f"{day}T00"))
    held = database.frame(
        f"SELECT ts, open, high, low, close, volume, vwap, trades, closed FROM gold_candles_5m "
        f"WHERE symbol = '{symbol}' AND ts IN '{day}' ORDER BY ts"
    )
    got = pl.read_parquet(io.BytesIO(api.get(href).raise_for_status().content))
    assert got.equals(held.cast({name: got.schema[name] for name in held.columns}))
    csv = api.get(href.replace("parquet", "csv")).raise_for_status()
    assert "attachment" in csv.headers["content-disposition"]
    read = pl.read_csv(io.BytesIO(csv.content))
    assert read["close"].to_list() == held["close"].to_list()


def test_on_a_phone_nothing_sticks_out(lake: Settings, api: httpx.Client, browser: Browser) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        phone = context.new_page()
        phone.goto(lake.api_url)
        phone.wait_for_selector("#link[data-state=live]", timeout=20_000)
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        assert phone.evaluate("document.documentElement.dataset.theme") == scheme
        context.close()


def test_it_reconnects_by_itself(lake: Settings, servers: LocalServers, page: Page) -> None:
    servers.kill("api")
    page.wait_for_selector("#link[data-state=lost]", timeout=15_000)
    servers.start("api")
    page.wait_for_selector("#link[data-state=live]", timeout=30_000)
    seq = next_seq()
    row = feature_row(lake, lake.symbols[0], seq, price=77.7)
    Redis(lake).publish(FEATURES, [row])
    assert row.ts <= datetime.now(UTC)
    eventually(lambda: _value(page, "#bid")() == "77.7")


def test_it_polls_where_no_stream_is_to_be_had(lake: Settings, api: httpx.Client, browser: Browser) -> None:
    with ExitStack() as streams:
        for _ in range(MAX_STREAMS):
            streams.enter_context(api.stream("GET", "/live/stream"))
        assert api.get("/live/stream").status_code == 503
        page = browser.new_page()
        page.goto(lake.api_url)
        page.wait_for_selector("#link[data-state=polling]", timeout=20_000)
        Redis(lake).publish(FEATURES, [feature_row(lake, lake.symbols[0], next_seq(), price=55.5)])
        eventually(lambda: _value(page, "#bid")() == "55.5")
        page.close()


def _if_has(text: str | None, part: str) -> str | None:
    return text if text and part in text else None
