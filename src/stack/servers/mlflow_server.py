"""Runs the MLflow server in one process; ``mlflow server`` keeps a parent Python of the same size."""

import os
from pathlib import Path

from lakehouse.settings import Settings
from stack.layout import layout
from stack.servers import postgres
from stack.servers.buckets import MLFLOW_BUCKET


def serve(settings: Settings, full: bool) -> None:
    """Serves runs, models and artifacts until SIGTERM; ``full``: all of it in PostgreSQL and the object store."""
    home = layout(settings).state / "mlflow"
    backend, artifacts = f"sqlite:///{home / 'mlflow.db'}", str(home / "artifacts")
    if full:
        backend, artifacts = full_backend(settings, home), f"s3://{MLFLOW_BUCKET}"
        os.environ |= s3_environment(settings)
    os.environ |= server_environment(settings, backend, artifacts)

    # MLflow's modules read the environment at import.
    import uvicorn
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(backend, backend, "mlflow-artifacts:/")
    uvicorn.run(
        "mlflow.server.fastapi_app:app",
        host=settings.bind_host,
        port=settings.mlflow_port,
        log_config=None,
        access_log=False,
    )


def server_environment(settings: Settings, backend: str, artifacts: str) -> dict[str, str]:
    """The environment that ``mlflow server`` (3.17) sets for its worker; names with an underscore are MLflow's own."""
    # Any port: a container's port may be published as another.
    hosts = dict.fromkeys(("localhost", "127.0.0.1", settings.bind_host, settings.mlflow_host))
    return {
        "_MLFLOW_SERVER_FILE_STORE": backend,
        "_MLFLOW_SERVER_REGISTRY_STORE": backend,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts,
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(f"{host}:*" for host in hosts),
        # Disable the background job queue, which runs another Python process per kind of job.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def full_backend(settings: Settings, home: Path) -> str:
    """PostgreSQL's address if it is installed; otherwise a SQLite file. Artifacts go to the object store."""
    return postgres.uri(settings, "mlflow") if postgres.in_use(settings) else f"sqlite:///{home / 'full.db'}"


def s3_environment(settings: Settings) -> dict[str, str]:
    """The object store's settings for boto3, which MLflow uses."""
    return {
        "MLFLOW_S3_ENDPOINT_URL": f"{'https' if settings.s3_secure else 'http'}://{settings.s3_address}",
        "AWS_ACCESS_KEY_ID": settings.mlflow_s3_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.mlflow_s3_secret_key.get_secret_value(),
        "AWS_DEFAULT_REGION": settings.s3_region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
