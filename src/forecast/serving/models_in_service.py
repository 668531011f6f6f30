"""The models in service, one per target, swapped atomically so that every request sees exactly one version."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from forecast.model.forecaster import Forecaster, Prediction
from forecast.model.intervals import Calibration
from forecast.model.rows import positions
from forecast.model.targets import TARGETS, Target
from forecast.serving.bodies import Matrix
from lakehouse.errors import FatalError

# A compiled call holds the GIL: about a millisecond for this many rows.
ROWS_AT_ONCE = 64
PendingState = Literal["loading", "refused"]


@dataclass(frozen=True)
class ServedModel:
    """A verified forecaster that serves requests.

    Attributes:
        version: its number in the registry; 0 for the rule made on the spot when there is no registry.
        take: position of each of its columns in a row in spec order; None where it reads the row as it is.
        since: when it was put in service, UTC.
        calibration: the state its intervals come from: the model's own, or a newer one.
    """

    version: int
    forecaster: Forecaster
    take: npt.NDArray[np.int64] | None
    since: datetime
    calibration: Calibration

    @cached_property
    def calibration_id(self) -> str:
        """Names the state the intervals come from."""
        return self.calibration.id

    def forecast(self, matrix: Matrix) -> Prediction:
        """Forecasts for rows in spec order, shape (rows, features)."""
        if len(matrix) <= ROWS_AT_ONCE:
            return self._forecast(matrix)
        starts = range(0, len(matrix), ROWS_AT_ONCE)
        parts = [self._forecast(matrix[start : start + ROWS_AT_ONCE]) for start in starts]
        return Prediction(*map(np.concatenate, zip(*parts, strict=True)))

    def _forecast(self, matrix: Matrix) -> Prediction:
        rows = matrix if self.take is None else np.take(matrix, self.take, axis=1)
        return self.forecaster.forecast(rows, self.calibration)


@dataclass(frozen=True, slots=True)
class PendingVersion:
    """A version being loaded, or refused."""

    version: int
    state: PendingState
    detail: str = ""


class ModelsInService:
    """Served and pending versions; readable from any thread, changed by one."""

    def __init__(self) -> None:
        self._served: Mapping[Target, ServedModel] = MappingProxyType({})
        self._candidates: Mapping[Target, PendingVersion] = MappingProxyType({})

    def get(self, target: Target) -> ServedModel | None:
        """The model in service, to be used for a whole request."""
        return self._served.get(target)

    def candidate(self, target: Target) -> PendingVersion | None:
        """The version being loaded, or last refused."""
        return self._candidates.get(target)

    @property
    def ready(self) -> bool:
        """Every target has a model."""
        return all(target in self._served for target in TARGETS)

    def announce(self, target: Target, candidate: PendingVersion) -> None:
        """Makes a coming or refused version visible."""
        self._candidates = MappingProxyType({**self._candidates, target: candidate})

    def swap(self, target: Target, served: ServedModel) -> None:
        """Puts a verified model in service; requests under way finish on the old one."""
        self._served = MappingProxyType({**self._served, target: served})
        rest = {t: c for t, c in self._candidates.items() if t != target}
        self._candidates = MappingProxyType(rest)

    def recalibrate(self, target: Target, version: int, calibration: Calibration) -> bool:
        """Gives the model in service a newer interval state; False: another version serves by now."""
        served = self.get(target)
        if served is None or served.version != version:
            return False
        self._served = MappingProxyType({**self._served, target: replace(served, calibration=calibration)})
        return True

    def listing(self) -> dict[str, Any]:
        """Served and pending version per target, JSON-able."""
        return {target: self._entry(target) for target in TARGETS}

    def _entry(self, target: Target) -> dict[str, Any]:
        served, coming = self.get(target), self.candidate(target)
        entry: dict[str, Any] = {"serving": None, "candidate": None}
        if served is not None:
            entry["serving"] = {
                "version": str(served.version),
                "name": served.forecaster.name,
                "spec": served.forecaster.spec,
                "since": served.since.isoformat().replace("+00:00", "Z"),
                "calibration": served.calibration_id,
                "intervals": asdict(served.calibration),
            }
        if coming is not None:
            entry["candidate"] = {"version": str(coming.version), "state": coming.state, "detail": coming.detail}
        return entry


def accept(version: int, forecaster: Forecaster, target: Target, names: Sequence[str], spec: str) -> ServedModel:
    """The forecaster, checked on probe rows and ready to serve.

    Raises:
        FatalError: it is for another target or other features, or its answer has a wrong shape or is not finite.
    """
    if forecaster.target != target:
        raise FatalError(f"it forecasts {forecaster.target}, not {target}")
    if missing := [name for name in forecaster.columns if name not in names]:
        raise FatalError(f"it needs features that rows do not have: {', '.join(missing[:5])}")
    if forecaster.spec != spec:
        raise FatalError(f"trained with feature definitions {forecaster.spec}, rows have {spec}: train again")
    take = None if forecaster.columns == tuple(names) else positions(names, forecaster.columns)
    served = ServedModel(version, forecaster, take, datetime.now(UTC), forecaster.calibration)
    _verify(served, probe_rows(names))
    return served


def probe_rows(names: Sequence[str], count: int = 4) -> Matrix:
    """Rows like those of a quiet market, the first one with nothing known but its prices."""
    rows = np.random.default_rng(7).uniform(1e-6, 1e-4, (count, len(names)))
    rows[0] = np.nan
    for price in ("bid", "ask", "mid", "last"):
        if price in names:
            rows[:, list(names).index(price)] = 100.0
    return rows


def _verify(served: ServedModel, rows: Matrix) -> None:
    answer = served.forecast(rows)
    shape = (len(rows), len(served.forecaster.horizons_s))
    for name, values in answer._asdict().items():
        if values.shape != shape:
            raise FatalError(f"{name} of {len(rows)} probe rows has shape {values.shape}, want {shape}")
        if not np.isfinite(values).all():
            raise FatalError(f"{name} of a probe row is not finite")
    if not (answer.value > 0).all():
        raise FatalError("a probe row's forecast is not positive")
