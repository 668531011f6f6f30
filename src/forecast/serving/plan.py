"""Tells the kernel where a forecaster's numbers stand in a row, from the tables in which the formulas are stated."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from forecast.model import baselines, inputs, linear
from forecast.model.baselines import Rule
from forecast.model.forecaster import Forecaster
from forecast.model.linear import Linear
from forecast.model.targets import Array, floors
from forecast.serving import kernel
from forecast.serving.kernel import KernelPlan
from lakehouse.settings import HORIZONS_S


def plan_of(forecaster: Forecaster, columns: Sequence[str]) -> KernelPlan:
    """The plan of a forecaster for rows of these columns."""
    at = {name: position for position, name in enumerate(columns) if name in forecaster.columns}
    learned, width = forecaster.learned, len(inputs.NAMES) if forecaster.learned else 0
    terms, constants = _terms(at) if learned else ((), ())
    halves = _half_lives(forecaster.rules)
    windows = list(baselines.WINDOW_MIN)
    har = [rule.params["coefficients"] if rule.kind == "har" else [0.0] * 4 for rule in forecaster.rules]
    lines = [_dense(line, width) for line in learned.linear] if learned else []
    return KernelPlan(
        is_vol=forecaster.target == "vol",
        minutes=np.asarray(HORIZONS_S) / 60.0,
        floors=floors(),
        tiny=baselines.TINY,
        price=_places(at, baselines.PRICES),
        ewma=np.array([_places(at, baselines.ewma_columns(half)) for half in halves]),
        level=halves.index(baselines.DEFAULT_HALF_LIFE_MIN),
        scale=halves.index(baselines.SCALE_HALF_LIFE_MIN),
        window=_places(at, windows),
        window_min=np.array(list(baselines.WINDOW_MIN.values())),
        window_ewma=np.array([halves.index(baselines.half_life_of(window)) for window in windows]),
        tod=at.get("rv_tod", -1),
        rule=np.array([_rule(rule, halves, windows) for rule in forecaster.rules]),
        har=np.array(har, dtype=np.float64),
        har_window=np.array([windows.index(name) for name in baselines.HAR_COLUMNS]),
        inputs=np.array(terms, dtype=np.int64).reshape(-1, 3),
        constant=np.array(constants, dtype=np.float64),
        clock=_places(at, ("tod_sin", "tod_cos")),
        usual=np.array([_places(at, [f"{stem}_{w}" for w in inputs.USUAL]) for stem in ("volume", "trades")]),
        usual_min=np.array(list(inputs.USUAL.values())),
        least_share=inputs.MIN_SHARE,
        shares=np.array(learned.shares if learned else [], dtype=np.float64).reshape(-1, 2),
        mean=_stacked([line.mean for line in lines], width),
        sd=_stacked([line.sd for line in lines], width),
        weights=_stacked([line.weights for line in lines], width),
        intercept=np.array([line.intercept for line in lines], dtype=np.float64),
        clip=linear.CLIP,
    )


def _half_lives(rules: Sequence[Rule]) -> list[int]:
    """Every half-life that is asked for, in minutes."""
    needed = {baselines.DEFAULT_HALF_LIFE_MIN, baselines.SCALE_HALF_LIFE_MIN}
    needed |= {baselines.half_life_of(window) for window in baselines.WINDOW_MIN}
    return sorted(needed | {rule.params["half_life_min"] for rule in rules if "half_life_min" in rule.params})


def _rule(rule: Rule, halves: list[int], windows: list[str]) -> tuple[int, int]:
    about = 0
    if "half_life_min" in rule.params:
        about = halves.index(rule.params["half_life_min"])
    elif "window" in rule.params:
        about = windows.index(rule.params["window"])
    return kernel.RULES.index(rule.kind), about


def _terms(at: dict[str, int]) -> tuple[tuple[tuple[int, int, int], ...], tuple[float, ...]]:
    """Per input, in the order of `inputs.NAMES`: kind, columns a and b; and its constant."""
    none = -1

    def of(kind: int, names: Iterable[str], constants: Iterable[float]) -> Iterator[tuple[tuple[int, int, int], float]]:
        return (((kind, at.get(name, none), none), c) for name, c in zip(names, constants, strict=True))

    def root(minutes: Iterable[float]) -> list[float]:
        return [float(np.sqrt(m)) for m in minutes]

    flows = inputs.FLOWS
    found = [
        ((kernel.LEVEL, none, none), 0.0),
        *of(kernel.VARIANCE, inputs.VARIANCES, inputs.VARIANCES.values()),
        *of(kernel.RANGE, inputs.RANGES, inputs.RANGES.values()),
        *of(kernel.RETURN, inputs.RETURNS, root(inputs.RETURNS.values())),
        *of(kernel.BPS, inputs.MOMENTA, root(inputs.MOMENTA.values())),
        *(((kernel.FLOW, at.get(f"volume_{w}", none), 0), m) for w, m in flows.items()),
        *(((kernel.FLOW, at.get(f"trades_{w}", none), 1), m) for w, m in flows.items()),
        *(((kernel.BALANCE, at.get(f"signed_volume_{w}", none), at.get(f"volume_{w}", none)), 0.0) for w in flows),
        *of(kernel.DISTANCE, inputs.DISTANCES, [0.0] * len(inputs.DISTANCES)),
        *of(kernel.BPS, ("spread_bps",), (1.0,)),
        *of(kernel.AGE, inputs.AGES, [0.0] * len(inputs.AGES)),
        *of(kernel.PLAIN, inputs.PLAIN, [0.0] * len(inputs.PLAIN)),
        *(((kind, none, none), m) for kind in (kernel.SINE, kernel.COSINE) for m in inputs.WAVES_MIN.values()),
        *(((kernel.SINCE, none, none), m) for m in inputs.MINUTES.values()),
    ]
    terms, constants = zip(*found, strict=True)
    return terms, constants


def _places(at: dict[str, int], names: Iterable[str]) -> npt.NDArray[np.int64]:
    return np.array([at.get(name, -1) for name in names], dtype=np.int64)


def _dense(line: Linear, width: int) -> Linear:
    """The same line over every input; those it does not read have weight 0."""
    columns = list(line.columns)
    mean, sd, weights = np.zeros(width), np.ones(width), np.zeros(width)
    mean[columns], sd[columns], weights[columns] = line.mean, line.sd, line.weights
    return Linear(tuple(range(width)), mean, sd, line.intercept, weights)


def _stacked(rows: Sequence[Array], width: int) -> Array:
    return np.array(rows, dtype=np.float64).reshape(len(rows), width)
