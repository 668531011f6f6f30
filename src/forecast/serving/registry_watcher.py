"""Polls the registry for new champions: fetches, verifies, swaps; a local copy allows a start without the registry."""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import orjson

from forecast.model import model_files
from forecast.model.baselines import default_rules
from forecast.model.forecaster import Forecaster, load, untrained
from forecast.model.intervals import Calibration
from forecast.model.targets import TARGETS, Target
from forecast.serving import metrics
from forecast.serving.models_in_service import ModelsInService, PendingVersion, ServedModel, accept
from lakehouse.errors import FatalError, LakeError

log = logging.getLogger(__name__)
POINTER = "champion.json"


class ModelSource(Protocol):
    """What we need of MLflow's model registry; every method raises `RetryableError` when it is away."""

    def champion(self, target: Target) -> int | None:
        """Version under the alias champion; None when there is none."""
        ...

    def fetch(self, target: Target, version: int, folder: Path) -> None:
        """Downloads that version's forecaster into a new folder."""
        ...

    def digest(self, target: Target, version: int) -> str | None:
        """Names that version's files by their content; None when it is not known."""
        ...

    def ensure_baselines(self) -> None:
        """Registers the simple rules as first champions where there is none."""
        ...


class RegistryWatcher:
    """Keeps `ModelsInService` at the registry's champions.

    Args:
        connect: gives the registry when it is first asked.
        newest: the newest interval state of a model version such as ``bid/3``, None where nothing was learnt yet.
        folder: where copies are kept: ``{target}/{version}/`` and the pointer ``{target}/champion.json``.
        names, spec: features of the rows, in order, and the hash of their definitions.
    """

    def __init__(
        self,
        connect: Callable[[], ModelSource],
        newest: Callable[[str], Calibration | None],
        served: ModelsInService,
        folder: Path,
        names: Sequence[str],
        spec: str,
    ) -> None:
        self._connect = connect
        self._newest = newest
        self._models = served
        self._folder = folder
        self._names = tuple(names)
        self._spec = spec
        self._lock = threading.Lock()
        self._refused: dict[Target, tuple[int, str | None]] = {}
        # Of the files in service: a registry that was made anew gives the same numbers to other models.
        self._digests: dict[Target, str] = {}

    def start(self) -> None:
        """Serves the local copies of the last run; without one, the default rule as version 0."""
        for target in TARGETS:
            version = _read_pointer(self._folder / target / POINTER)
            if version is None or not self._try(target, version):
                rule = simple_rule(target, self._names, self._spec)
                self._swap(target, accept(0, rule, target, self._names, self._spec))

    def poll(self) -> dict[str, Any]:
        """Looks at the registry once.

        Returns:
            What was put in service, target to version; empty when nothing moved.

        Raises:
            RetryableError: the registry is away; what serves goes on serving.
        """
        with self._lock:
            moved: dict[str, Any] = {}
            for target in TARGETS:
                version = self._champion(target)
                if version is None:
                    continue
                digest = self._registry.digest(target, version)
                if (version, digest) == self._refused.get(target) or self._serves(target, version, digest):
                    continue
                if self._try(target, version, digest):
                    moved[target] = str(version)
            return moved

    def recalibrate(self) -> None:
        """Loads the newest interval states.

        Raises:
            LakeError: QuestDB is away or has no such table yet; the states in service stay.
        """
        for target in TARGETS:
            served = self._models.get(target)
            if served is None or (state := self._newest(f"{target}/{served.version}")) is None:
                continue
            with self._lock:
                if state != served.calibration and self._models.recalibrate(target, served.version, state):
                    log.info("%s/%d serves with intervals %s", target, served.version, state.id)

    def run(self, stop: threading.Event, every_s: float) -> None:
        """Polls until stopped; logs an outage once when it begins and once when it ends."""
        jobs = {"models": self.poll, "intervals": self.recalibrate}
        away: set[str] = set()
        while not stop.is_set():
            for what, job in jobs.items():
                try:
                    job()
                    if what in away:
                        log.info("following the newest %s again", what)
                    away.discard(what)
                except LakeError as error:
                    if what not in away:
                        log.warning("the %s in service stay for now: %s", what, error)
                    away.add(what)
            stop.wait(every_s)

    def retry_refused(self) -> dict[str, Any]:
        """`poll`, but retries refused versions."""
        self._refused.clear()
        return self.poll()

    @cached_property
    def _registry(self) -> ModelSource:
        return self._connect()

    def _champion(self, target: Target) -> int | None:
        version = self._registry.champion(target)
        if version is None:
            self._registry.ensure_baselines()
            version = self._registry.champion(target)
        return version

    def _serves(self, target: Target, version: int, digest: str | None) -> bool:
        served = self._models.get(target)
        return served is not None and served.version == version and digest in (None, self._digests.get(target))

    def _try(self, target: Target, version: int, digest: str | None = None) -> bool:
        """Loads, verifies and swaps one version; a broken one is refused and the old one stays."""
        self._models.announce(target, PendingVersion(version, "loading"))
        try:
            served = self._load(target, version, digest)
        except (FatalError, ValueError, KeyError, TypeError) as error:
            # A damaged file surfaces as any of these in the loaders, and none of them may take the service down.
            self._refused[target] = (version, digest)
            metrics.REFUSED.labels(target).inc()
            self._models.announce(target, PendingVersion(version, "refused", str(error)))
            log.error("refused %s/%d: %s", target, version, error)
            return False
        self._swap(target, served)
        return True

    def _load(self, target: Target, version: int, digest: str | None) -> ServedModel:
        folder = self._folder / target / str(version)
        if folder.is_dir() and digest not in (None, model_files.digest(folder)):
            log.warning("%s is not what the registry has as %s/%d: fetching that", folder, target, version)
            shutil.rmtree(folder)
        if not folder.is_dir():
            # Fetched beside it and renamed, so that a folder with this name is always whole.
            partial = folder.with_name(f".{version}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            self._registry.fetch(target, version, partial)
            partial.rename(folder)
        found = model_files.digest(folder)
        if digest not in (None, found):
            raise FatalError(f"the registry's files have digest {found}, not {digest} as registered: register it again")
        served = accept(version, load(folder), target, self._names, self._spec)
        self._digests[target] = found
        return served

    def _swap(self, target: Target, served: ServedModel) -> None:
        before = self._models.get(target)
        self._models.swap(target, served)
        metrics.SWAPS.labels(target).inc()
        metrics.MODEL_INFO.labels(target, str(served.version), served.forecaster.name).set(1)
        if before is not None and before.version != served.version:
            metrics.MODEL_INFO.remove(target, str(before.version), before.forecaster.name)
        log.info("%s/%d (%s) in service", target, served.version, served.forecaster.name)
        if served.version:
            _write_pointer(self._folder / target / POINTER, served.version)
            _prune(self._folder / target, {served.version, before.version if before else 0})


def simple_rule(target: Target, names: Sequence[str], spec: str) -> Forecaster:
    """Persistence or EWMA, served as version 0 while there is no registry."""
    return untrained("baseline", target, default_rules(target), spec, names)


def _read_pointer(path: Path) -> int | None:
    try:
        return int(orjson.loads(path.read_bytes())["version"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        log.warning("ignoring %s: %s", path, error)
        return None


def _write_pointer(path: Path, version: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(orjson.dumps({"version": version}))
    partial.replace(path)


def _prune(folder: Path, keep: set[int]) -> None:
    """Deletes local copies of other versions; the registry has them."""
    for other in folder.iterdir():
        if other.is_dir() and other.name not in map(str, keep):
            shutil.rmtree(other, ignore_errors=True)
