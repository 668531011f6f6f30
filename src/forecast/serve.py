"""Entry point of the API process: Waitress, the Flask application, and a thread that polls the registry."""

import logging
import os
import sys
import threading

import httpx
import waitress
from waitress.server import BaseWSGIServer

from features.spec import NAMES, EngineConfig, spec_hash
from forecast.model.intervals import Calibration
from forecast.monitoring import recalibration
from forecast.page import page_openapi
from forecast.page.latest_values import LatestValues
from forecast.page.queries import Queries
from forecast.page.routes import MAX_STREAMS, blueprint
from forecast.page.updaters import Updaters
from forecast.serving import airflow
from forecast.serving.app import Services, create_app
from forecast.serving.bodies import Parser
from forecast.serving.models_in_service import ModelsInService
from forecast.serving.registry_watcher import ModelSource, RegistryWatcher
from lakehouse.background import BackgroundThreads
from lakehouse.errors import RetryableError
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB
from lakehouse.stores.redis import FEATURES, Redis

log = logging.getLogger(__name__)
POLL_S = 5.0
# A page waits no longer for QuestDB, nor does SIGTERM; probes that ask /readyz wait for 2 s.
QUERY_S = 5.0
READY_S = 1.0
RETRAIN_DAG = "retrain_daily"
# Python runs on one core at a time: a few threads per core hide waits for Redis, more would only queue.
PREDICT_THREADS = 2 * (os.cpu_count() or 2)
# A forecast takes less than a millisecond: a thread that comes back from a socket need not wait Python's usual 5 ms.
SWITCH_S = 0.0005


def build(settings: Settings, redis: Redis, database: QuestDB) -> tuple[Services, RegistryWatcher, Updaters]:
    """The parts of the application, wired; nothing is loaded, polled or followed yet."""
    spec = spec_hash(EngineConfig.of(settings))
    models = ModelsInService()
    board, queries = LatestValues(), Queries(database)
    watcher = RegistryWatcher(
        lambda: _registry(settings),
        lambda version: _newest_state(database, version),
        models,
        settings.state_dir / "models",
        NAMES,
        spec,
    )
    services = Services(
        settings=settings,
        latest=lambda symbol: redis.latest(FEATURES, symbol),
        parser=Parser(NAMES, spec),
        models=models,
        needs={"redis": redis.ping},
        uses={"questdb": lambda: database.ping(READY_S), "mlflow": lambda: _mlflow_answers(settings)},
        reload=watcher.retry_refused,
        retrain=lambda: airflow.trigger(settings, RETRAIN_DAG),
        pages=(blueprint(settings, board, queries),),
        page_paths=page_openapi.paths(settings.symbols),
    )
    return services, watcher, Updaters(settings, board, queries, models)


def _registry(settings: Settings) -> ModelSource:
    # MLflow takes seconds to import: what the last run kept serves meanwhile.
    from forecast.registry import client

    return client.RegistryClient(settings)


def _newest_state(database: QuestDB, version: str) -> Calibration | None:
    found = recalibration.newest(database, version)
    return found[1] if found else None


def _mlflow_answers(settings: Settings) -> None:
    try:
        httpx.get(f"{settings.mlflow_uri}/health", timeout=2.0).raise_for_status()
    except httpx.HTTPError as error:
        raise RetryableError(f"MLflow at {settings.mlflow_uri}: {error!r}") from error


def serve(settings: Settings, services: Services) -> BaseWSGIServer:
    """A Waitress server, bound but not yet running."""
    return waitress.create_server(
        create_app(services),
        host=settings.bind_host,
        port=settings.api_port,
        threads=PREDICT_THREADS + MAX_STREAMS,
        ident="tradelake",
        channel_timeout=60,
        max_request_body_size=64 * 2**20,
    )


def main(settings: Settings, stop: threading.Event) -> None:
    """Loads what the last run kept, serves, and follows the registry until stopped."""
    # Logs every closed page and every queued request.
    logging.getLogger("waitress").setLevel(logging.ERROR)
    # Logs every attempt to reach MLflow; the watcher logs an outage once.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    redis, database = Redis(settings), QuestDB(settings, readonly=True, timeout_s=QUERY_S)
    services, watcher, feeds = build(settings, redis, database)
    watcher.start()
    server = serve(settings, services)
    sys.setswitchinterval(SWITCH_S)
    threads = BackgroundThreads(stop)
    feeds.start(threads)
    threads.start("waitress", server.run)
    log.info("serving on %s:%d", settings.bind_host, settings.api_port)
    watcher.run(stop, POLL_S)
    feeds.stop()
    # Requests that were accepted are answered first.
    server.task_dispatcher.shutdown(cancel_pending=False, timeout=5)
    server.close()
    redis.close()
    database.close()
    threads.check()
