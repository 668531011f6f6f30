"""The registry against a real MLflow: versions without pickles, aliases, and decisions with their reasons."""

import json
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from forecast.model import forecaster
from forecast.model.baselines import Rule, default_rules
from forecast.model.targets import TARGETS
from forecast.registry.client import RegistryClient
from lakehouse.errors import FatalError
from lakehouse.settings import Settings


@pytest.fixture(autouse=True, scope="module")
def emptied(mlflow_lake: Settings) -> None:
    """No registered model, whatever other tests have left behind."""
    client = mlflow.MlflowClient(mlflow_lake.mlflow_uri)
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)


def slower(registry: RegistryClient) -> forecaster.Forecaster:
    """Another volatility rule to register."""
    return registry.simple("ewma", "vol", [Rule("ewma", {"half_life_min": 120})] * 5)


def test_first_champions_are_simple_rules_and_stay_so(mlflow_lake: Settings) -> None:
    registry = RegistryClient(mlflow_lake)
    assert registry.champion("bid") is None
    registry.ensure_baselines()
    registry.ensure_baselines()
    assert {target: registry.champion(target) for target in TARGETS} == {"bid": 1, "vol": 1}
    kinds = {v.number: v.tags["kind"] for v in registry.versions("vol")}
    assert kinds == {1: "ewma", 2: "last", 3: "tod"}
    assert registry.versions("vol")[-1].tags["decision"] == "promoted"


def test_a_fetched_model_is_the_registered_one_and_mlflow_can_serve_it(mlflow_lake: Settings, tmp_path: Path) -> None:
    registry = RegistryClient(mlflow_lake)
    model = slower(registry)
    version = registry.register(model, {"depth": 5}, {"ratio_300": 0.9})
    registry.fetch("vol", version, tmp_path / "model")
    again = forecaster.load(tmp_path / "model")
    assert again == replace(model, info=again.info)
    rows = np.random.default_rng(0).uniform(1e-7, 1e-6, (3, len(model.columns)))
    mlflow.set_tracking_uri(mlflow_lake.mlflow_uri)
    served = mlflow.pyfunc.load_model(f"models:/vol/{version}").predict(pd.DataFrame(rows, columns=model.columns))
    assert np.array_equal(served.to_numpy(), model.predict(rows))
    stored = (mlflow_lake.state_dir / "mlflow" / "artifacts").rglob("*")
    assert not [path for path in stored if path.suffix in (".pkl", ".pickle", ".joblib")]


def test_promotion_and_rollback_move_the_alias_and_say_why(mlflow_lake: Settings) -> None:
    registry = RegistryClient(mlflow_lake)
    registry.ensure_baselines()
    before = registry.champion("vol")
    version = registry.register(slower(registry))
    registry.challenge("vol", version)
    registry.promote("vol", version, "beats the champion", {"gain": 0.1})
    newest = registry.versions("vol")[0]
    assert newest.aliases == ("champion",) and newest.tags["reason"] == "beats the champion"
    assert registry.rollback("vol", "live skill below zero", {"skill": -0.2}) == before
    assert registry.champion("vol") == before
    assert registry.versions("vol")[0].tags["decision"] == "rolled_back"


def test_a_rollback_over_a_change_of_definitions_ends_at_a_rule_that_can_serve(mlflow_lake: Settings) -> None:
    earlier = RegistryClient(mlflow_lake.model_copy(update={"feature_interval_ms": 2000}))
    earlier.promote(
        "bid", earlier.register(earlier.simple("earlier", "bid", default_rules("bid"))), "made for other definitions"
    )
    registry = RegistryClient(mlflow_lake)
    bad = registry.register(registry.simple("bad", "bid", default_rules("bid")))
    registry.promote("bid", bad, "the first of these definitions")
    before = registry.rollback("bid", "skill below zero")
    served = next(v for v in registry.versions("bid") if v.number == before)
    assert registry.champion("bid") == before
    assert (served.tags["kind"], served.tags["spec"]) == (
        "persistence",
        registry.simple("any", "bid", default_rules("bid")).spec,
    )
    with pytest.raises(FatalError, match="is the simple rule already"):
        registry.rollback("bid", "skill below zero again")
    assert registry.champion("bid") == before


def test_a_refusal_is_written_down_and_changes_nothing(mlflow_lake: Settings) -> None:
    registry = RegistryClient(mlflow_lake)
    registry.ensure_baselines()
    before, version = registry.champion("vol"), registry.register(slower(registry))
    registry.refuse("vol", version, "does not beat the best rule", {"p": 0.4})
    assert registry.champion("vol") == before
    run = registry.versions("vol")[0].run_id
    client = mlflow.MlflowClient(mlflow_lake.mlflow_uri)
    (note,) = client.list_artifacts(run, "decisions")
    found = json.loads(Path(client.download_artifacts(run, note.path)).read_text())
    assert found["decision"] == "refused" and found["figures"] == {"p": 0.4}


def test_an_unknown_version_is_refused(mlflow_lake: Settings) -> None:
    registry = RegistryClient(mlflow_lake)
    registry.ensure_baselines()
    with pytest.raises(FatalError, match="no version 999 of bid"):
        registry.promote("bid", 999, "by hand")
