"""The processes that ``--full`` adds: the object store, PostgreSQL if installed, and Airflow."""

import sys
from dataclasses import replace

import httpx

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings
from stack.layout import Layout
from stack.servers import buckets, postgres, probes
from stack.servers.preparation import write_private
from stack.supervision.process import Process


def servers(settings: Settings, paths: Layout) -> tuple[Process, ...]:
    """MinIO (unless S3_ENDPOINT names another store) and PostgreSQL (if installed)."""
    found = []
    if postgres.binaries():
        about = "metadata of Airflow and MLflow"
        command = postgres.command(settings, paths.state / "postgres")
        found.append(Process("postgres", about, command, ("postgres_port",), postgres.answers, profile="full"))
    if not settings.s3_endpoint:
        found.append(_minio(settings, paths))
    return tuple(found)


def airflow() -> tuple[Process, ...]:
    """The API server, which migrates the database and therefore starts first, the scheduler and the DAG processor."""
    words = (sys.executable, "-m", "stack.servers.airflow")
    database = ("postgres",) if postgres.binaries() else ()
    api = Process(
        "airflow",
        "DAGs: page and API",
        (*words, "api-server"),
        ("airflow_port",),
        lambda s: _airflow_says(s, "metadatabase"),
        (*database, "questdb"),
        stop_stage=2,
        profile="full",
    )
    scheduler = replace(
        api,
        name="scheduler",
        about="starts DAG runs and their tasks",
        command=(*words, "scheduler"),
        ports=(),
        probe=lambda s: _airflow_says(s, "scheduler"),
        after=("airflow",),
        stop_stage=1,
    )
    processor = replace(
        scheduler,
        name="dags",
        about="reads the DAG files",
        command=(*words, "dag-processor"),
        probe=lambda s: _airflow_says(s, "dag_processor"),
    )
    return (api, scheduler, processor)


def prepare(settings: Settings, paths: Layout) -> None:
    """Creates folders, configurations and PostgreSQL's cluster.

    Raises:
        FatalError: MinIO was not built, or the cluster cannot be created.
    """
    (paths.state / "airflow").mkdir(parents=True, exist_ok=True)
    if not settings.s3_endpoint:
        prepare_minio(settings, paths)
    if postgres.binaries():
        postgres.prepare(settings, paths.state / "postgres")


def prepare_minio(settings: Settings, paths: Layout) -> None:
    """Creates the object store's folder and a file, readable only by us, with its administrator's password.

    Raises:
        FatalError: MinIO was not built.
    """
    if not (paths.servers / "minio").exists():
        raise FatalError(f"MinIO not found in {paths.servers}: run scripts/up.sh --full, which builds it once")
    (paths.state / "minio/data").mkdir(parents=True, exist_ok=True)
    # MinIO stores its users' keys in world-readable files.
    (paths.state / "minio").chmod(0o700)
    password = settings.minio_root_password.get_secret_value()
    lines = f"MINIO_ROOT_USER={settings.minio_root_user}\nMINIO_ROOT_PASSWORD={password}\n"
    write_private(paths.state / "minio/minio.env", lines)


def _minio(settings: Settings, paths: Layout) -> Process:
    host = settings.bind_host
    command = (
        str(paths.servers / "minio"),
        "server",
        "--address",
        f"{host}:{settings.minio_port}",
        "--console-address",
        f"{host}:{settings.minio_console_port}",
        str(paths.state / "minio/data"),
    )
    options = {
        "MINIO_CONFIG_ENV_FILE": str(paths.state / "minio/minio.env"),
        "MINIO_PROMETHEUS_AUTH_TYPE": "public",
        "MINIO_UPDATE": "off",
        "GOMAXPROCS": "2",
    }
    return Process(
        "minio",
        "backups and model files; console",
        command,
        ("minio_port", "minio_console_port"),
        _minio_answers,
        profile="full",
        environment=options,
        once_healthy=buckets.ensure,
    )


def _minio_answers(settings: Settings) -> None:
    probes.get(f"http://{settings.s3_address}/minio/health/ready")


def _airflow_says(settings: Settings, part: str) -> None:
    """Probes one of Airflow's components through its health endpoint."""
    url = f"http://{settings.airflow_host}:{settings.airflow_port}/api/v2/monitor/health"
    try:
        status = httpx.get(url, timeout=probes.TIMEOUT_S).json()[part]["status"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise RetryableError(f"{type(error).__name__} on {url}") from error
    if status != "healthy":
        raise RetryableError(f"Airflow says of its {part}: {status}")
