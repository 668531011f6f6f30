"""The watcher: champions come into service, broken ones do not, and a start needs no registry."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.spec import NAMES
from forecast.model import intervals, model_files
from forecast.model.forecaster import Forecaster
from forecast.model.intervals import Calibration
from forecast.model.targets import Target
from forecast.serving.models_in_service import ModelsInService, probe_rows
from forecast.serving.registry_watcher import RegistryWatcher, simple_rule
from lakehouse.errors import RetryableError

SPEC = "0123456789ab"


class FolderRegistry:
    """A registry that is a folder of saved forecasters; it can be away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.alias: dict[Target, int] = {}
        self.away = False
        self.fetched: list[tuple[Target, int]] = []

    def add(self, target: Target, version: int, forecaster: Forecaster) -> None:
        forecaster.save(self.folder / target / str(version))
        self.alias[target] = version

    def ping(self) -> None:
        if self.away:
            raise RetryableError("away")

    def ensure_baselines(self) -> None:
        self.ping()

    def champion(self, target: Target) -> int | None:
        self.ping()
        return self.alias.get(target)

    def digest(self, target: Target, version: int) -> str | None:
        self.ping()
        return model_files.digest(self.folder / target / str(version))

    def fetch(self, target: Target, version: int, folder: Path) -> None:
        self.ping()
        self.fetched.append((target, version))
        shutil.copytree(self.folder / target / str(version), folder, dirs_exist_ok=True)


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    return FolderRegistry(tmp_path / "registry")


def _watcher(
    registry: FolderRegistry, tmp_path: Path, newest: Callable[[str], Calibration | None] = lambda _: None
) -> tuple[ModelsInService, RegistryWatcher]:
    models = ModelsInService()
    return models, RegistryWatcher(lambda: registry, newest, models, tmp_path / "models", NAMES, SPEC)


def _rule(target: Target = "bid", name: str = "other") -> Forecaster:
    return replace(simple_rule(target, NAMES, SPEC), name=name)


def _version(models: ModelsInService, target: Target = "bid") -> int:
    served = models.get(target)
    assert served is not None
    return served.version


def test_from_nothing_the_simple_rules_serve(registry: FolderRegistry, tmp_path: Path) -> None:
    models, watcher = _watcher(registry, tmp_path)
    assert not models.ready
    registry.away = True
    watcher.start()
    assert models.ready
    assert _version(models) == 0
    with pytest.raises(RetryableError):
        watcher.poll()


def test_a_moved_alias_is_followed_and_kept_for_a_start_without_registry(
    registry: FolderRegistry, tmp_path: Path
) -> None:
    models, watcher = _watcher(registry, tmp_path)
    watcher.start()
    registry.add("bid", 3, _rule())
    assert watcher.poll() == {"bid": "3"}
    assert watcher.poll() == {}
    assert models.listing()["bid"]["serving"]["name"] == "other"

    registry.away = True
    again, restarted = _watcher(registry, tmp_path)
    restarted.start()
    assert (_version(again), _version(again, "vol")) == (3, 0)
    assert registry.fetched == [("bid", 3)]


def test_only_the_last_two_copies_are_kept(registry: FolderRegistry, tmp_path: Path) -> None:
    _, watcher = _watcher(registry, tmp_path)
    watcher.start()
    for version in (1, 2, 3):
        registry.add("bid", version, _rule())
        watcher.poll()
    assert sorted(p.name for p in (tmp_path / "models" / "bid").iterdir() if p.is_dir()) == ["2", "3"]


@pytest.mark.parametrize(
    "broken",
    [
        replace(_rule(), spec="another"),
        replace(_rule(), columns=("no_such_feature",)),
        _rule("vol"),
        replace(_rule(), calibration=replace(_rule().calibration, quantiles=((float("nan"),) * 4,) * 5)),
    ],
    ids=["other definitions", "unknown feature", "other target", "not finite"],
)
def test_a_broken_model_is_refused_and_the_old_one_serves(
    registry: FolderRegistry, tmp_path: Path, broken: Forecaster
) -> None:
    models, watcher = _watcher(registry, tmp_path)
    watcher.start()
    registry.add("bid", 1, _rule())
    watcher.poll()
    registry.add("bid", 2, broken)
    assert watcher.poll() == {}
    assert _version(models) == 1
    entry = models.listing()["bid"]
    assert (entry["candidate"]["version"], entry["candidate"]["state"]) == ("2", "refused")
    assert entry["candidate"]["detail"]

    watcher.poll()
    assert registry.fetched.count(("bid", 2)) == 1, "a refused version is not fetched again and again"
    registry.add("bid", 3, _rule())
    assert watcher.poll() == {"bid": "3"}
    assert models.listing()["bid"]["candidate"] is None


def test_a_damaged_file_is_refused(registry: FolderRegistry, tmp_path: Path) -> None:
    models, watcher = _watcher(registry, tmp_path)
    watcher.start()
    registry.add("bid", 1, _rule())
    (registry.folder / "bid" / "1" / "forecaster.json").write_text('{"format": 1')
    assert watcher.poll() == {}
    assert _version(models) == 0


def test_the_newest_interval_state_of_the_version_in_service_is_applied(
    registry: FolderRegistry, tmp_path: Path
) -> None:
    wide = intervals.normal(np.full(5, 3.0))
    states = {"bid/2": wide}
    models, watcher = _watcher(registry, tmp_path, states.get)
    watcher.start()
    registry.add("bid", 1, _rule())
    watcher.poll()
    before = models.get("bid")
    watcher.recalibrate()
    assert models.get("bid") is before, "a state of another version is none of ours"
    registry.add("bid", 2, _rule())
    watcher.poll()
    watcher.recalibrate()
    after = models.get("bid")
    assert before is not None
    assert after is not None
    assert after.calibration_id == wide.id == models.listing()["bid"]["serving"]["calibration"]
    narrow, broad = before.forecast(probe_rows(NAMES)), after.forecast(probe_rows(NAMES))
    assert (broad.upper_95 > narrow.upper_95).all()
    np.testing.assert_array_equal(broad.value, narrow.value)


def test_probe_rows_look_like_a_market() -> None:
    rows = probe_rows(NAMES)
    assert (rows[:, list(NAMES).index("bid")] == 100.0).all()
    assert np.isnan(rows[0]).sum() > len(NAMES) / 2


def test_a_registry_made_anew_gives_its_own_model_under_a_number_that_served_before(
    registry: FolderRegistry, tmp_path: Path
) -> None:
    models, watcher = _watcher(registry, tmp_path)
    watcher.start()
    registry.add("bid", 3, _rule(name="of the old registry"))
    watcher.poll()
    shutil.rmtree(registry.folder)
    registry.add("bid", 3, _rule(name="of the new one"))
    assert watcher.poll() == {"bid": "3"}
    assert models.listing()["bid"]["serving"]["name"] == "of the new one"
    assert watcher.poll() == {}


def test_a_cached_copy_that_was_changed_is_fetched_again(registry: FolderRegistry, tmp_path: Path) -> None:
    _, watcher = _watcher(registry, tmp_path)
    watcher.start()
    registry.add("bid", 3, _rule())
    watcher.poll()
    (tmp_path / "models" / "bid" / "3" / "forest.npz").write_bytes(b"planted")
    models, restarted = _watcher(registry, tmp_path)
    restarted.start()
    assert restarted.poll() == {"bid": "3"}
    assert not (tmp_path / "models" / "bid" / "3" / "forest.npz").exists()
    assert _version(models) == 3
