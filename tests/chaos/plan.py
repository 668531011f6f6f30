"""The plan of a storm: which faults happen when, to whom and for how long, as a function of the seed; pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

VICTIMS = ("producer", "consumer", "questdb", "kafka", "redis")
SERVING = ("mlflow", "api", "predictor", "score")
TABLES = ("bronze_quotes", "silver_features", "bronze_trades")
# Whom each kind of fault may hit.
TARGETS: dict[str, tuple[tuple[str, ...], ...]] = {
    "kill": tuple((name,) for name in (*VICTIMS, *SERVING)),  # kill -9
    "pair": tuple(combinations(VICTIMS, 2)),  # kill -9 of two at the same moment
    "pause": tuple((name,) for name in (*VICTIMS, *SERVING)),  # SIGSTOP, later SIGCONT
    "drop": tuple((name,) for name in TABLES),  # DROP TABLE
    "cut": (("simulator",),),  # the exchange resets every connection and answers nobody
    "power": (("questdb",),),  # kill -9, and the folder is put back to an earlier moment
}
KINDS = tuple(TARGETS)
# Seconds: from a kill to the new start, of a pause or cut, and how old the copy is that a power cut leaves.
AWAY_S = (0.0, 2.0)
LASTING_S = (5.0, 60.0)
FIRST_S = 2.0


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: ``at_s`` seconds after the storm's begin, for ``for_s`` seconds."""

    kind: str
    targets: tuple[str, ...]
    at_s: float
    for_s: float


def plan(seed: int, kinds: Sequence[str], count: int, span_s: float, scale: float = 1.0) -> list[Planned]:
    """``count`` faults within ``span_s`` seconds, each kind as often as the others, and within a kind each target.

    Args:
        scale: factor of `LASTING_S`, for short storms.
    """
    dice = random.Random(seed)
    dealt = [kinds[i % len(kinds)] for i in range(count)]
    decks = {kind: dice.sample(TARGETS[kind], len(TARGETS[kind])) for kind in kinds}
    dice.shuffle(dealt)
    faults = []
    for moment in sorted(dice.uniform(FIRST_S, span_s) for _ in range(count)):
        kind = dealt.pop()
        decks[kind].append(targets := decks[kind].pop(0))
        faults.append(Planned(kind, targets, moment, _lasting(dice, kind, scale)))
    return faults


def _lasting(dice: random.Random, kind: str, scale: float) -> float:
    if kind == "drop":
        return 0.0
    return dice.uniform(*AWAY_S) if kind in ("kill", "pair") else scale * dice.uniform(*LASTING_S)


def serving(faults: Sequence[Planned]) -> tuple[str, ...]:
    """The serving processes that the storm needs: all of them if one is to be hurt."""
    return SERVING if any(name in SERVING for fault in faults for name in fault.targets) else ()
