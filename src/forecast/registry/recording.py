"""Records a forecaster in MLflow as a run and a model version; a repeated call resumes an interrupted attempt."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Param
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from forecast.model.forecaster import Forecaster
from forecast.model.targets import Target
from forecast.registry.packaging import digest, pack, tags

EXPERIMENT = "forecasts"
# Where a version keeps its further files, among the artifacts of its run.
REPORT = "report"
# The tag that names a forecaster by its content.
DIGEST = "digest"


def record(
    client: MlflowClient,
    forecaster: Forecaster,
    parameters: Mapping[str, object],
    figures: Mapping[str, float],
    artifacts: Path | None,
) -> int:
    """The number of a version that holds the forecaster, with its parameters, figures and further files.

    The version is made last, of a run that is whole. A version of the same content on which nothing was decided yet is
    what an earlier attempt made: it is given back. A run that such an attempt left unfinished is marked as killed.

    Raises:
        MlflowException, OSError: MLflow is away; do it again.
    """
    with tempfile.TemporaryDirectory(prefix="tradelake-model-") as scratch:
        packed = pack(forecaster, Path(scratch))
        labels = tags(forecaster) | {DIGEST: digest(packed)}
        for made in client.search_model_versions(f"name='{forecaster.target}'"):
            if made.tags.get(DIGEST) == labels[DIGEST] and "decision" not in made.tags:
                return int(made.version)
        _close_runs(client, labels)
        run = client.create_run(_experiment(client), run_name=f"{forecaster.target} {forecaster.name}", tags=labels)
        run_id = run.info.run_id
        client.log_batch(run_id, params=[Param(key, str(value)[:500]) for key, value in parameters.items()])
        for key, value in figures.items():
            client.log_metric(run_id, key, value)
        client.log_artifacts(run_id, str(packed), "model")
        if artifacts is not None:
            client.log_artifacts(run_id, str(artifacts), REPORT)
    client.set_terminated(run_id)
    _ensure_registered(client, forecaster.target)
    source = f"{run.info.artifact_uri}/model"
    return int(
        client.create_model_version(forecaster.target, source, run_id, tags=labels, await_creation_for=0).version
    )


def _close_runs(client: MlflowClient, labels: Mapping[str, str]) -> None:
    mine = f"attributes.status = 'RUNNING' AND tags.{DIGEST} = '{labels[DIGEST]}'"
    for run in client.search_runs([_experiment(client)], mine):
        client.set_terminated(run.info.run_id, "KILLED")


def _ensure_registered(client: MlflowClient, target: Target) -> None:
    try:
        client.create_registered_model(target, description=f"Forecasts of {target}, 1 to 5 minutes ahead.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id if found else client.create_experiment(EXPERIMENT))
