"""The processes that ``--full`` adds: object store, PostgreSQL, Prometheus and Alertmanager if installed, Airflow."""

from dataclasses import replace

import httpx

from lakehouse.errors import RetryableError
from lakehouse.settings import Settings
from stack.layout import Layout
from stack.servers import postgres, probes
from stack.servers.monitoring import monitoring, prepare_monitoring
from stack.servers.object_store import object_store, prepare_store
from stack.supervision.process import Process, run


def servers(settings: Settings, paths: Layout) -> tuple[Process, ...]:
    """The object store (unless S3_ENDPOINT names another), and those of the others that are installed."""
    found = []
    if postgres.binaries():
        about = "metadata of Airflow and MLflow"
        command = postgres.command(settings, paths.state / "postgres")
        found.append(Process("postgres", about, command, ("postgres_port",), postgres.answers, profile="full"))
    if not settings.s3_endpoint:
        found.append(object_store(settings, paths))
    return (*found, *monitoring(settings, paths))


def airflow() -> tuple[Process, ...]:
    """The API server, which migrates the database and therefore starts first, the scheduler and the DAG processor."""
    database = ("postgres",) if postgres.binaries() else ()
    api = Process(
        "airflow",
        "DAGs: page and API",
        run("airflow", "api-server"),
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
        command=run("airflow", "scheduler"),
        ports=(),
        probe=lambda s: _airflow_says(s, "scheduler"),
        after=("airflow",),
        stop_stage=1,
    )
    processor = replace(
        scheduler,
        name="dags",
        about="reads the DAG files",
        command=run("airflow", "dag-processor"),
        probe=lambda s: _airflow_says(s, "dag_processor"),
    )
    return (api, scheduler, processor)


def prepare(settings: Settings, paths: Layout) -> None:
    """Creates folders, configurations and PostgreSQL's cluster.

    Raises:
        FatalError: the object store or the cluster cannot be made.
    """
    (paths.state / "airflow").mkdir(parents=True, exist_ok=True)
    if not settings.s3_endpoint:
        prepare_store(settings, paths)
    prepare_monitoring(settings, paths)
    if postgres.binaries():
        postgres.prepare(settings, paths.state / "postgres")


def _airflow_says(settings: Settings, part: str) -> None:
    """Probes one of Airflow's components through its health endpoint."""
    url = f"http://{settings.airflow_host}:{settings.airflow_port}/api/v2/monitor/health"
    try:
        status = httpx.get(url, timeout=probes.TIMEOUT_S).json()[part]["status"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise RetryableError(f"{type(error).__name__} on {url}") from error
    if status != "healthy":
        raise RetryableError(f"Airflow reports its {part} as {status}")
