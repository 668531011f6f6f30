"""The simulated market: the same whoever asks, whenever and in whatever pieces; dense ids; and believable."""

import itertools
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.simulator import noise
from ingestion.simulator.blocks import Quotes, Trades, first_trades, last_quote, last_trades
from ingestion.simulator.climate import Climate
from ingestion.simulator.market import Market, micros
from ingestion.simulator.noise import key_of
from ingestion.simulator.pairs import PAIRS
from lakehouse.arrays import Floats

GENESIS = datetime(2026, 1, 1, 7, 30, tzinfo=UTC)
START = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FIRST_TRADE = [172112638, 1795179600049293, 561821, 1913129]  # id, ts, ticks, units
TRADES_IN_MINUTE = 443
MARKET = Market(seed=42, events_per_s=20, genesis=GENESIS)


def same(a: Trades | Quotes, b: Trades | Quotes) -> bool:
    """Whether two blocks are equal in every column."""
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)


def test_two_processes_make_the_same_market() -> None:
    other = Market(42, 20, GENESIS)
    for symbol in ("BTC/USD", "DOGE/USD"):
        assert same(MARKET.trades(symbol, START, START + 5 * MINUTE), other.trades(symbol, START, START + 5 * MINUTE))
        assert same(MARKET.quotes(symbol, START, START + 5 * MINUTE), other.quotes(symbol, START, START + 5 * MINUTE))


def test_what_was_asked_before_changes_nothing() -> None:
    fresh = Market(42, 20, GENESIS)
    late = fresh.trades("BTC/USD", START + 90 * MINUTE, START + 91 * MINUTE)
    fresh.trades("BTC/USD", START - timedelta(days=40), START - timedelta(days=40) + MINUTE)
    assert same(fresh.trades("BTC/USD", START + 90 * MINUTE, START + 91 * MINUTE), late)
    assert same(MARKET.trades("BTC/USD", START, START + 91 * MINUTE).between(micros(START + 90 * MINUTE), 2**62), late)


@pytest.mark.parametrize("other", [Market(43, 20, GENESIS), Market(42, 21, GENESIS), Market(42, 20, GENESIS + MINUTE)])
def test_seed_density_and_genesis_each_make_another_market(other: Market) -> None:
    assert not same(MARKET.trades("BTC/USD", START, START + MINUTE), other.trades("BTC/USD", START, START + MINUTE))


def test_the_market_is_this_one_for_ever() -> None:
    """Ids and prices must survive an upgrade of anything: a lake that holds them goes on with the same market."""
    trades = MARKET.trades("BTC/USD", START, START + MINUTE)
    first = [int(getattr(trades, n)[0]) for n in ("trade_id", "ts", "price", "qty")]
    assert first == FIRST_TRADE
    assert len(trades) == TRADES_IN_MINUTE


@settings(max_examples=25)
@given(st.integers(0, 10 * 60_000_000), st.integers(0, 10 * 60_000_000), st.integers(0, 10 * 60_000_000))
def test_pieces_make_the_whole(a: int, b: int, c: int) -> None:
    left, middle, right = (micros(START) + x for x in sorted((a, b, c)))
    whole = MARKET.trades_between("ETH/USD", left, right)
    pieces = [MARKET.trades_between("ETH/USD", left, middle), MARKET.trades_between("ETH/USD", middle, right)]
    assert same(whole, Trades.join(pieces))
    quotes = [MARKET.quotes_between("ETH/USD", left, middle), MARKET.quotes_between("ETH/USD", middle, right)]
    assert same(MARKET.quotes_between("ETH/USD", left, right), Quotes.join(quotes))


@pytest.mark.parametrize("events_per_s", [0.02, 1, 2000])
def test_ids_are_dense_and_times_ascend_at_any_density(events_per_s: float) -> None:
    market = Market(7, events_per_s, GENESIS)
    midnight = datetime(2026, 3, 5, tzinfo=UTC)
    trades = market.trades("SOL/USD", midnight - 2 * MINUTE, midnight + (300 if events_per_s < 10 else 2) * MINUTE)
    assert len(trades) > 1
    assert np.all(np.diff(trades.trade_id) == 1) and np.all(np.diff(trades.ts) >= 0)
    assert trades.price.min() > 0 and trades.qty.min() > 0


def test_ids_start_at_one_at_genesis() -> None:
    first = MARKET.trades("BTC/USD", GENESIS - timedelta(days=3), GENESIS + MINUTE)
    assert first.trade_id[0] == 1 and first.ts[0] >= micros(GENESIS)
    assert len(MARKET.trades("BTC/USD", GENESIS - timedelta(days=3), GENESIS)) == 0
    assert len(MARKET.quotes("BTC/USD", GENESIS - timedelta(days=3), GENESIS)) == 0
    assert MARKET.quotes("BTC/USD", GENESIS, GENESIS + MINUTE).ts[0] == micros(GENESIS)


def test_the_id_of_any_moment_agrees_with_counting_from_genesis() -> None:
    market = Market(5, 0.5, GENESIS)
    counted = market.trades("BTC/USD", GENESIS, GENESIS + timedelta(days=3))
    assert np.array_equal(counted.trade_id, np.arange(1, len(counted) + 1))
    lone = Market(5, 0.5, GENESIS).trades("BTC/USD", GENESIS + timedelta(hours=70), GENESIS + timedelta(hours=71))
    assert same(lone, counted.between(int(lone.ts[0]), int(lone.ts[-1]) + 1))


def test_density_is_as_asked() -> None:
    climate = Climate(1, PAIRS["BTC/USD"], trades_per_s=6.0, genesis_minute=micros(GENESIS) // 60_000_000)
    first = micros(GENESIS) // 86_400_000_000
    days = [climate.day(first + n) for n in range(1, 120)]
    per_s = np.array([int(day.first_id[-1] - day.first_id[0]) for day in days]) / 86_400
    assert abs(per_s.mean() / 6.0 - 1) < 0.1
    assert per_s.min() / 6.0 > 0.6 and per_s.max() / 6.0 < 1.7
    assert all(a.first_id[-1] == b.first_id[0] for a, b in itertools.pairwise(days))
    assert all(abs(a.log_price[-1] - b.log_price[0]) < 1e-9 for a, b in itertools.pairwise(days))


def test_columns_are_exactly_what_clients_parse() -> None:
    pair = MARKET.pairs["BTC/USD"]
    columns = MARKET.trades("BTC/USD", START, START + MINUTE).columns(pair)
    assert all(float(f"{price:.1f}") == price for price in columns["price"])
    assert all(float(f"{qty:.8f}") == qty for qty in columns["qty"])
    frame = pl.DataFrame(columns)
    assert frame.columns == ["trade_id", "price", "qty", "side", "ord_type", "ts"]
    assert set(frame["side"]) == {"buy", "sell"} and set(frame["ord_type"]) == {"market", "limit"}
    quotes = pl.DataFrame(MARKET.quotes("BTC/USD", START, START + MINUTE).columns(pair))
    assert (quotes["bid"] < quotes["ask"]).all() and (quotes["low"] <= quotes["last"]).all()
    assert (quotes["last"] <= quotes["high"]).all() and (quotes["trades"].diff().drop_nulls() >= 0).all()


def test_quotes_tell_of_the_trades_before_them() -> None:
    trades = MARKET.trades("BTC/USD", START, START + 3 * MINUTE)
    quotes = MARKET.quotes("BTC/USD", START + MINUTE, START + 3 * MINUTE)
    before = np.searchsorted(trades.ts, quotes.ts, "right") - 1
    assert np.array_equal(quotes.last, trades.price[before])


def test_trades_happen_at_the_quote_in_force() -> None:
    trades = MARKET.trades("BTC/USD", START, START + 10 * MINUTE)
    quotes = MARKET.quotes("BTC/USD", START, START + 10 * MINUTE)
    force = np.searchsorted(quotes.ts, trades.ts, "right") - 1
    assert np.all(trades.price[trades.buy] >= quotes.ask[force][trades.buy])
    assert np.all(trades.price[~trades.buy] <= quotes.bid[force][~trades.buy])
    at_the_touch = np.where(trades.buy, trades.price == quotes.ask[force], trades.price == quotes.bid[force])
    assert at_the_touch.mean() > 0.6


def test_the_ends_of_history() -> None:
    now = micros(START)
    tail = last_trades(MARKET, "BTC/USD", now, 50)
    assert len(tail) == 50 and tail.ts[-1] < now
    head = first_trades(MARKET, "BTC/USD", 0, now, 10)
    assert head.trade_id.tolist() == list(range(1, 11))
    again = first_trades(MARKET, "BTC/USD", int(tail.ts[0]), now, 1000)
    assert same(again.cut(len(again) - 50, len(again)), tail)
    assert len(last_trades(MARKET, "BTC/USD", micros(GENESIS) + 1_000_000, 50)) < 50
    quote = last_quote(MARKET, "BTC/USD", now)
    assert len(quote) == 1 and quote.ts[0] < now
    assert len(last_quote(MARKET, "BTC/USD", micros(GENESIS))) == 0


def returns(symbol: str, hours: int, step_s: int) -> Floats:
    """Log returns of the last trade price on a grid of ``step_s``."""
    trades = MARKET.trades(symbol, START, START + timedelta(hours=hours))
    grid = np.arange(trades.ts[0], trades.ts[-1], step_s * 1_000_000)
    prices = trades.price[np.searchsorted(trades.ts, grid, "right") - 1]
    steps: Floats = np.diff(np.log(prices))
    return steps


def correlation(values: Floats, lag: int) -> float:
    """Autocorrelation at ``lag``."""
    return float(np.corrcoef(values[lag:], values[:-lag])[0, 1])


def test_returns_have_fat_tails_and_clustered_volatility() -> None:
    steps = returns("BTC/USD", 12, 5)
    assert (steps**4).mean() / (steps**2).mean() ** 2 > 5
    assert all(correlation(steps**2, lag) > 0.05 for lag in (1, 12, 60))
    minutes = returns("BTC/USD", 12, 60)
    assert correlation(np.abs(minutes), 1) > 0.1
    assert abs(correlation(minutes, 1)) < 0.15


def test_trade_prices_bounce_between_bid_and_ask() -> None:
    trades = MARKET.trades("BTC/USD", START, START + timedelta(hours=2))
    assert correlation(np.diff(np.log(trades.price)), 1) < -0.05


def test_trades_come_in_bursts() -> None:
    trades = MARKET.trades("BTC/USD", START, START + timedelta(hours=2))
    gaps = np.diff(trades.ts) / 1e6
    assert gaps.std() / gaps.mean() > 1.2  # 1 for trades that come independently
    assert (gaps == 0).mean() > 0.1


@pytest.mark.parametrize("symbol", ["BTC/USD", "ETH/USD", "ETH/BTC"])
def test_volatility_of_a_year_is_the_pairs(symbol: str) -> None:
    climate = Climate(42, PAIRS[symbol], 1.0, micros(GENESIS) // 60_000_000)
    first = micros(GENESIS) // 86_400_000_000
    minutes = np.concatenate([np.diff(climate.day(first + n).log_price) for n in range(365)])
    annual = np.sqrt((minutes**2).mean() * 525_960)
    assert 0.8 < annual / PAIRS[symbol].annual_vol < 1.3
    daily = minutes.reshape(-1, 1440)
    assert 0.7 < np.sqrt(daily.sum(axis=1).var() / (daily**2).sum(axis=1).mean()) < 1.3  # a random walk across minutes
    logs = np.log((daily**2).sum(axis=1))
    assert correlation(logs, 1) > 0.3  # tomorrow's volatility can be guessed from today's


def test_prices_stay_believable_for_decades() -> None:
    climate = Climate(42, PAIRS["BTC/USD"], 1.0, micros(datetime(2013, 10, 6, tzinfo=UTC)) // 60_000_000)
    prices = [np.exp(climate.day(day).log_price[0]) for day in range(16_000, 21_000, 50)]
    assert min(prices) > 5_000 and max(prices) < 800_000


def test_symbols_move_together_a_bit() -> None:
    a, b = returns("BTC/USD", 12, 300), returns("ETH/USD", 12, 300)
    length = min(len(a), len(b))
    assert 0.1 < np.corrcoef(a[:length], b[:length])[0, 1] < 0.8


def test_the_ledger_is_fast() -> None:
    market = Market(42, 200, GENESIS)
    market.trades("BTC/USD", START, START + MINUTE)
    begin = time.process_time()
    trades = market.trades("BTC/USD", START, START + timedelta(hours=1))
    assert len(trades) / (time.process_time() - begin) > 200_000


def test_noise_is_uniform_normal_and_smooth() -> None:
    index = np.arange(200_000)
    uniform = noise.uniform(key_of("u"), index)
    assert uniform.min() > 0 and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.005 and abs(uniform.var() - 1 / 12) < 0.001
    normal = noise.normal(key_of("n"), index)
    assert abs(normal.mean()) < 0.01 and abs(normal.var() - 1) < 0.02 and abs((normal**4).mean() - 3) < 0.15
    assert abs(correlation(normal, 1)) < 0.01
    smooth = noise.smooth(key_of("s"), index.astype(np.float64), 20.0)
    assert abs(smooth.var() - 1) < 0.05 and correlation(smooth, 1) > 0.95 and abs(correlation(smooth, 60)) < 0.05
