"""Our one-process MLflow server does what ``mlflow server`` does: runs, artifacts, versions, aliases, host check."""

from pathlib import Path

import httpx
import mlflow
from mlflow import MlflowClient

from lakehouse.settings import Settings


def test_a_model_is_kept_with_artifact_and_alias(mlflow_lake: Settings, tmp_path: Path) -> None:
    mlflow.set_tracking_uri(mlflow_lake.mlflow_uri)
    client = MlflowClient(mlflow_lake.mlflow_uri)
    run = client.create_run(client.create_experiment("smoke"))
    (tmp_path / "model.json").write_text('{"trees": 0}')
    client.log_metric(run.info.run_id, "qlike", 0.5)
    client.log_artifact(run.info.run_id, str(tmp_path / "model.json"), "model")
    client.create_registered_model("smoke")
    version = client.create_model_version("smoke", f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias("smoke", "champion", version.version)

    found = client.get_model_version_by_alias("smoke", "champion")
    assert found.version == version.version
    fetched = client.download_artifacts(run.info.run_id, "model/model.json", str(tmp_path))
    assert Path(fetched).read_text() == '{"trees": 0}'
    assert client.get_run(run.info.run_id).data.metrics == {"qlike": 0.5}
    assert list((mlflow_lake.state_dir / "mlflow/artifacts").rglob("model.json"))


def test_a_foreign_host_header_is_refused(mlflow_lake: Settings) -> None:
    url = f"{mlflow_lake.mlflow_uri}/api/2.0/mlflow/experiments/search?max_results=1"
    assert httpx.get(url).status_code == httpx.codes.OK
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == httpx.codes.FORBIDDEN
