"""The MLflow server in one process: ``mlflow server`` keeps a second Python of the same size as its parent."""

import argparse
import os

from lakehouse.process import set_up_logging
from lakehouse.settings import Settings, load_settings


def main() -> None:
    """Serves runs, models and artifacts until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", required=True, help="database of runs and models, e.g. sqlite:////path/mlflow.db")
    parser.add_argument("--artifacts", required=True, help="where artifacts are kept: a folder or s3://bucket")
    arguments = parser.parse_args()
    settings = load_settings()
    set_up_logging(settings.log_level)
    os.environ |= server_environment(settings, arguments.backend, arguments.artifacts)

    # MLflow's modules read the environment as they are imported.
    import uvicorn
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(arguments.backend, arguments.backend, "mlflow-artifacts:/")
    uvicorn.run(
        "mlflow.server.fastapi_app:app",
        host=settings.bind_host,
        port=settings.mlflow_port,
        log_config=None,
        access_log=False,
    )


def server_environment(settings: Settings, backend: str, artifacts: str) -> dict[str, str]:
    """What ``mlflow server`` (3.17) would tell its worker; the names with an underscore are MLflow's own."""
    hosts = dict.fromkeys(("localhost", "127.0.0.1", settings.bind_host, settings.mlflow_host))
    return {
        "_MLFLOW_SERVER_FILE_STORE": backend,
        "_MLFLOW_SERVER_REGISTRY_STORE": backend,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts,
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{host}:{settings.mlflow_port}" for host in hosts),
        # No queue of background jobs: it would run one more Python process per kind of job.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


if __name__ == "__main__":
    main()
