"""The slow part of one symbol's market: volatility, activity, price and trade ids by day and minute.

Everything is computed top down: a day's return and number of trades first, then its minutes as a bridge between the
day's ends. The price and first trade id of any minute therefore cost one day's work, however old the market is.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ingestion.simulator.noise import key_of, normal, smooth
from ingestion.simulator.pairs import Pair
from lakehouse.arrays import Floats, Ints

DAY_MINUTES = 1440
_YEAR_MINUTES = 525_960
_REVERSION = 0.002  # per day, towards the pair's typical price: it stays plausible over decades
_COMMON = 0.6  # weight of the factor common to all symbols
_OWN = 0.8  # _OWN² + _COMMON² = 1

# Log volatility is a sum of processes with these periods (minutes) and standard deviations: volatility clusters on all
# scales, as in a cascade, so that it is partly predictable from the last days, hours and minutes.
_SLOW = ((10_080.0, 0.22), (1_440.0, 0.22))
_FAST = ((360.0, 0.25), (90.0, 0.28), (20.0, 0.28), (5.0, 0.22), (1.0, 0.25))
# Activity follows volatility and also has its own component.
_ACTIVITY = ((240.0, 0.15), (30.0, 0.2), (3.0, 0.3))


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day of one symbol.

    ``sigma[m]`` is the standard deviation of minute m's log return, ``log_price[m]`` the log price where m begins (1441
    values), ``first_id[m]`` the id of the first trade at or after the beginning of m (1441 values).
    """

    sigma: Floats
    log_price: Floats
    first_id: Ints


class Climate:
    """The days of one symbol; pure but for its caches.

    Args:
        trades_per_s: mean number of trades per second.
        genesis_minute: minutes from 1970 to the first trade, which has id 1.
    """

    def __init__(self, seed: int, pair: Pair, trades_per_s: float, genesis_minute: int) -> None:
        self._names = (seed, pair.symbol), (seed, "all symbols")
        self._per_day = trades_per_s * DAY_MINUTES * 60
        self._genesis = genesis_minute
        self._first_day = genesis_minute // DAY_MINUTES
        self._home = float(np.log(pair.price))
        self.usual_sigma = pair.annual_vol / float(np.sqrt(_YEAR_MINUTES))
        # The start of each day, from the first day on; both lists grow as later days are requested.
        self._levels = [self._home]
        self._counts = [0]
        self.day = lru_cache(maxsize=8)(self._day)
        # Ids start at genesis, not at the midnight before it.
        self._skipped = 0
        self._skipped = int(self._day(self._first_day).first_id[genesis_minute % DAY_MINUTES]) - 1

    def _day(self, number: int) -> Day:
        """The day ``number`` days after 1970-01-01, which must not be before genesis."""
        self._extend(number + 1)
        place = number - self._first_day
        minutes = number * DAY_MINUTES + np.arange(DAY_MINUTES)
        slow, fast = self._cascade(minutes, _SLOW), self._cascade(minutes, _FAST)
        season = _season(minutes)
        sigma = self.usual_sigma * np.exp(slow + fast + season - _variance(_SLOW + _FAST))
        returns = sigma * self._normal("minute return", minutes)
        whole = self._levels[place + 1] - self._levels[place]
        returns += (whole - returns.sum()) * sigma**2 / np.sum(sigma**2)
        log_price = self._levels[place] + np.concatenate([[0.0], np.cumsum(returns)])
        busy = np.cumsum(np.exp(season + 0.5 * fast + self._cascade(minutes, _ACTIVITY, "activity")))
        total = self._counts[place + 1] - self._counts[place]
        within = np.concatenate([[0], np.floor(total * (busy / busy[-1])).astype(np.int64)])
        first_id = self._counts[place] + within - self._skipped + 1
        return Day(sigma, log_price, np.maximum(first_id, 1))

    def _extend(self, number: int) -> None:
        """Extends the known day starts up to day ``number``."""
        start = self._first_day + len(self._levels) - 1
        days = np.arange(start, number)
        noons = days * DAY_MINUTES + DAY_MINUTES // 2
        slow = self._cascade(noons, _SLOW)
        sigma = self.usual_sigma * np.sqrt(DAY_MINUTES) * np.exp(slow - _variance(_SLOW))
        shocks = sigma * self._normal("day return", days)
        # Volatile days are busy days; the mean of exp(a·x) is exp(a²·var/2).
        totals = np.round(self._per_day * np.exp(0.4 * slow - 0.08 * _variance(_SLOW))).astype(np.int64)
        for shock, total in zip(shocks.tolist(), totals.tolist(), strict=True):
            level = self._levels[-1]
            self._levels.append(level + _REVERSION * (self._home - level) + shock)
            self._counts.append(self._counts[-1] + total)

    def _normal(self, name: str, index: Ints) -> Floats:
        own, common = (normal(key_of(*names, name), index) for names in self._names)
        return _OWN * own + _COMMON * common

    def _cascade(self, minutes: Ints, steps: tuple[tuple[float, float], ...], name: str = "volatility") -> Floats:
        times, total = minutes.astype(np.float64), np.zeros(len(minutes))
        for period, sd in steps:
            own, common = (smooth(key_of(*names, name, period), times, period) for names in self._names)
            total += sd * (_OWN * own + _COMMON * common)
        return total


def _variance(steps: tuple[tuple[float, float], ...]) -> float:
    return sum(sd * sd for _, sd in steps)


def _season(minutes: Ints) -> Floats:
    """The time-of-day effect on log volatility: a peak at 15 UTC, a burst at each full hour, quiet weekends."""
    of_day, weekday = minutes % DAY_MINUTES, (minutes // DAY_MINUTES + 3) % 7
    daily = 0.3 * np.cos(2 * np.pi * (of_day - 900) / DAY_MINUTES)
    hourly = 0.2 * np.exp(-(minutes % 60) / 3.0)
    return np.asarray(daily + hourly - 0.2 * (weekday >= 5), dtype=np.float64)
