"""What the models read: feature rows made free of level and unit, so that they carry over between markets and years.

Variances become logs of variance per minute relative to the row's own level (EWMA, half-life 30 min), prices become log
distances in units of that level, volumes and counts logs relative to the day's (or to the longest window known).
Unknown stays NaN.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from forecast.model import baselines
from forecast.model.baselines import EWMA_COLUMNS, TINY, WINDOW_MIN, FeatureRows
from forecast.model.targets import Array

Inputs = npt.NDArray[np.float32]
_SHORT = {"10s": 1 / 6, "1m": 1.0, "5m": 5.0, "15m": 15.0, "1h": 60.0}
_ALL = {**_SHORT, "4h": 240.0, "24h": 1440.0}

VARIANCES = {"rv_10s": 1 / 6, **WINDOW_MIN, **dict.fromkeys((*EWMA_COLUMNS, "rv_tod"), 1.0)}
RANGES = {f"range_bps_{window}": minutes for window, minutes in _SHORT.items()}
RETURNS = {f"ret_{window}": minutes for window, minutes in _ALL.items()}
MOMENTA = {f"momentum_{window}": minutes for window, minutes in _SHORT.items()}
FLOWS = {window: minutes for window, minutes in _ALL.items() if window != "24h"}
USUAL = {"24h": 1440.0, "4h": 240.0, "1h": 60.0}
MIN_SHARE = 1e-3
DISTANCES = ("last", "microprice", "mid", "ask")
AGES = ("trade_age", "quote_age")
PLAIN = ("imbalance", "tod_sin", "tod_cos", "dow")
# Markets stir at full, half and quarter hours: waves for the linear part, the plain minute for the trees.
WAVES_MIN = {"hour": 60.0, "half_hour": 30.0, "quarter": 15.0}
MINUTES = {"minute_of_hour": 60.0, "minute_of_quarter": 15.0}

NAMES: tuple[str, ...] = (
    "level",
    *(f"log_{name}" for name in (*VARIANCES, *RANGES)),
    *RETURNS,
    *MOMENTA,
    *(f"log_volume_{window}" for window in FLOWS),
    *(f"log_trades_{window}" for window in FLOWS),
    *(f"balance_{window}" for window in FLOWS),
    *(f"log_{name}_to_bid" for name in DISTANCES),
    "spread",
    *(f"log_{name}" for name in AGES),
    *PLAIN,
    *(f"{name}_{wave}" for wave in ("sin", "cos") for name in WAVES_MIN),
    *MINUTES,
)


def table(rows: FeatureRows) -> Inputs:
    """Inputs in the order of `NAMES`, shape (rows, len(NAMES)); unknown values are NaN."""
    level = np.log(baselines.ewma_variance(rows, baselines.DEFAULT_HALF_LIFE_MIN))[:, None]
    unit = np.exp(0.5 * level)
    bid = baselines.reference_price(rows)[:, None]
    parts = [
        level,
        _relative(rows.block(VARIANCES), VARIANCES.values(), level),
        _relative((rows.block(RANGES) / 1e4) ** 2 / (4 * np.log(2)), RANGES.values(), level),
        rows.block(RETURNS) / (unit * np.sqrt(np.array(list(RETURNS.values())))),
        rows.block(MOMENTA) / 1e4 / (unit * np.sqrt(np.array(list(MOMENTA.values())))),
        _flow(rows, "volume"),
        _flow(rows, "trades"),
        _balance(rows),
        np.log(rows.block(DISTANCES) / bid) / unit,
        rows.block(("spread_bps",)) / 1e4 / unit,
        np.log1p(np.maximum(rows.block(AGES), 0.0)),
        rows.block(PLAIN),
        _clock(rows),
    ]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _relative(variance: Array, minutes: Iterable[float], level: Array) -> Array:
    return np.asarray(np.log(np.maximum(variance / np.array(list(minutes)), TINY)) - level)


def _flow(rows: FeatureRows, stem: str) -> Array:
    usual = np.full(len(rows), np.nan)
    for window, minutes in USUAL.items():
        usual = np.where(usual > 0, usual, rows[f"{stem}_{window}"] / minutes)
    flow = rows.block([f"{stem}_{window}" for window in FLOWS]) / np.array(list(FLOWS.values()))
    share = np.divide(flow, usual[:, None], out=np.full_like(flow, np.nan), where=usual[:, None] > 0)
    return np.asarray(np.log(share + MIN_SHARE))


def _clock(rows: FeatureRows) -> Array:
    """Phases of hour, half hour and quarter, and minutes since hour and quarter began, from the time of day."""
    day = np.arctan2(rows["tod_sin"], rows["tod_cos"]) * (720.0 / np.pi)
    # To the millisecond: a full hour must not come out as the last instant of the one before.
    minute = np.mod(np.round(day * 60_000.0), 86_400_000.0)[:, None] / 60_000.0
    phase = minute * (2 * np.pi / np.array(list(WAVES_MIN.values())))
    return np.concatenate([np.sin(phase), np.cos(phase), np.mod(minute, list(MINUTES.values()))], axis=1)


def _balance(rows: FeatureRows) -> Array:
    volume = rows.block([f"volume_{w}" for w in FLOWS])
    signed = rows.block([f"signed_volume_{w}" for w in FLOWS])
    return np.divide(signed, volume, out=np.full_like(signed, np.nan), where=volume > 0)
