"""A training's last step with a real MLflow: a promotion reaches the running API, and kill -9 leaves nothing half."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from mlflow import MlflowClient

from features.spec import NAMES
from forecast import train
from forecast.data.dataset import Dataset
from forecast.model import forecaster
from forecast.model.baselines import Rule, default_rules
from forecast.model.targets import MICROS, TARGETS, Array, Target
from forecast.monitoring import drift
from forecast.registry.client import RegistryClient
from forecast.registry.recording import DIGEST, EXPERIMENT
from forecast.training.challenger import Recent
from lakehouse.errors import RetryableError
from lakehouse.settings import HORIZONS_S, Settings
from tests.integration.consuming import migrated
from tests.integration.lakes import eventually, spec_of
from tests.support.servers import LocalServers

ROWS = 3000
NOON = 1_772_366_400 * MICROS
PRICES = ("bid", "ask", "mid", "last", "microprice")
# How far a forecast of each target is off: the challenger's, and everybody else's.
GOOD, POOR = {"bid": 1e-6, "vol": 0.05}, {"bid": 1e-3, "vol": 0.5}


def _off(target: Target, truth: Array, how: dict[str, float], seed: int) -> Array:
    return np.asarray(truth * np.exp(np.random.default_rng(seed).normal(0, how[target], truth.shape)))


@pytest.fixture
def evaluated(registry: RegistryClient, mlflow_lake: Settings, tmp_path: Path) -> Path:
    """The folder that the steps before leave: challengers that were clearly better than rule and champion."""
    matrix = np.full((ROWS, len(NAMES)), 1e-7)
    matrix[:, [NAMES.index(name) for name in PRICES]] = 100.0
    shape = (ROWS, len(HORIZONS_S))
    truth: dict[Target, Array] = {
        "bid": _off("bid", np.full(shape, 100.0), POOR, 1),
        "vol": _off("vol", np.full(shape, 1e-2), POOR, 2),
    }
    ts = NOON + np.arange(ROWS) * 10 * MICROS
    data = Dataset(ts, np.full(ROWS, "BTC/USD"), matrix, truth, spec_of(mlflow_lake), mlflow_lake.vol_step_s)
    data.save(tmp_path / train.DATASET)
    rules: dict[Target, Any] = {"bid": default_rules("bid"), "vol": [Rule("ewma", {"half_life_min": 120})] * 5}
    for target in TARGETS:
        registry.simple(f"better {target}", target, rules[target]).save(tmp_path / target)
        served, rule = (_off(target, truth[target], how, 3) for how in (GOOD, POOR))
        Recent(target, np.arange(ROWS), served, {"ewma": rule}).save(tmp_path / f"recent_{target}.npz")
    (tmp_path / "report").mkdir()
    body = {target: {str(h): {"ratio": 0.9} for h in HORIZONS_S} for target in TARGETS}
    (tmp_path / "report" / "report.json").write_text(json.dumps(body))
    (tmp_path / "report" / drift.FILE).write_text(drift.dump(drift.shape(data)))
    return tmp_path


@pytest.fixture
def api(registry: RegistryClient, mlflow_lake: Settings, servers: LocalServers) -> Iterator[httpx.Client]:
    """The API as a process, once it serves the registry's champions."""
    migrated(mlflow_lake)
    servers.start("api")
    with httpx.Client(base_url=mlflow_lake.api_url, timeout=10) as client:
        eventually(lambda: _served(client) == {target: registry.champion(target) for target in TARGETS})
        yield client
    servers.stop("api")


def _served(api: httpx.Client) -> dict[str, int]:
    found = api.get("/models").json()["models"]
    return {target: int(found[target]["serving"]["version"]) for target in TARGETS}


def test_a_promotion_reaches_the_running_api_by_itself(
    registry: RegistryClient, evaluated: Path, api: httpx.Client
) -> None:
    before = _served(api)
    decisions = train.decide(evaluated, registry, promote=True)
    for target in TARGETS:
        assert decisions[target]["champion"] == decisions[target]["version"] == registry.champion(target)
        assert decisions[target]["version"] != before[target]
    eventually(lambda: _served(api) == {target: decisions[target]["version"] for target in TARGETS}, 60)
    answer = api.post("/predict_vol", json={"data": [[100.0] * len(NAMES)]}).json()
    assert answer["version"] == str(decisions["vol"]["version"])


def test_without_leave_to_promote_the_champion_stays(registry: RegistryClient, evaluated: Path) -> None:
    before = {target: registry.champion(target) for target in TARGETS}
    train.decide(evaluated, registry, promote=False)
    assert {target: registry.champion(target) for target in TARGETS} == before
    newest = registry.versions("vol")[0]
    assert newest.tags["decision"] == "refused" and newest.aliases == ("challenger",)


@pytest.mark.parametrize(
    ("step", "call"),
    [
        # A run with parameters and nothing else; a whole run that no version points to; a version whose alias has not
        # moved yet; an alias that has moved for a reason not written down yet; one target done, the other not.
        ("log_metric", 1),
        ("create_model_version", 1),
        ("set_registered_model_alias", 2),
        ("log_dict", 1),
        ("create_run", 2),
    ],
)
def test_mlflow_killed_in_between_is_repaired_by_the_next_attempt(
    registry: RegistryClient,
    evaluated: Path,
    mlflow_lake: Settings,
    servers: LocalServers,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    call: int,
    tmp_path: Path,
) -> None:
    before = {target: registry.champion(target) for target in TARGETS}
    real, calls = getattr(MlflowClient, step), itertools.count(1)

    def killed(self: MlflowClient, *arguments: Any, **named: Any) -> Any:
        if next(calls) == call:
            servers.kill("mlflow")
        return real(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, killed)
        with pytest.raises(RetryableError):
            train.decide(evaluated, registry, promote=True)
    servers.start("mlflow")
    for target in TARGETS:
        # Whatever serves now is whole.
        registry.fetch(target, registry.champion(target) or 0, tmp_path / f"served_{target}")
        assert forecaster.load(tmp_path / f"served_{target}").target == target

    decisions = train.decide(evaluated, registry, promote=True)
    client = MlflowClient(mlflow_lake.mlflow_uri)
    for target in TARGETS:
        held = {version.number: version for version in registry.versions(target)}
        ours = held[decisions[target]["version"]]
        assert ours.aliases == ("champion",)
        assert (ours.tags["decision"], ours.tags["replaced"]) == ("promoted", str(before[target]))
        assert [v.number for v in held.values() if v.tags[DIGEST] == ours.tags[DIGEST]] == [ours.number]
        assert registry.report(target, ours.number, drift.FILE)
    ended = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert {run.info.status for run in ended} <= {"FINISHED", "KILLED"}
