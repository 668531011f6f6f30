"""Health probes: each makes a request as a client would and raises `LakeError` if it fails."""

from collections.abc import Callable

import httpx

from lakehouse.errors import RetryableError
from lakehouse.settings import Settings
from lakehouse.stores import kafka
from lakehouse.stores.redis import Redis

TIMEOUT_S = 2.0
Probe = Callable[[Settings], None]


def questdb_answers(settings: Settings) -> None:
    """QuestDB runs a statement for our user."""
    password = settings.questdb_password.get_secret_value()
    url = f"http://{settings.questdb_host}:{settings.questdb_http_port}/exec?query=SELECT+1"
    get(url, auth=(settings.questdb_user, password))


def kafka_answers(settings: Settings) -> None:
    """Kafka returns its broker list."""
    kafka.reach(settings, TIMEOUT_S)


def redis_answers(settings: Settings) -> None:
    """Redis answers PING to our password."""
    client = Redis(settings)
    try:
        client.ping()
    finally:
        client.close()


def mlflow_answers(settings: Settings) -> None:
    """MLflow's health endpoint answers OK."""
    get(f"{settings.mlflow_uri}/health")


def api_answers(settings: Settings) -> None:
    """The API is up and has its stores and models."""
    get(f"{settings.api_url}/readyz")


def metrics(port: Callable[[Settings], int]) -> Probe:
    """A probe of one of our processes: its metrics endpoint answers."""

    def answers(settings: Settings) -> None:
        get(f"http://{settings.bind_host}:{port(settings)}/metrics")

    return answers


def get(url: str, auth: tuple[str, str] | None = None) -> httpx.Response:
    """The response body of a URL.

    Raises:
        RetryableError: there is no answer, or its status is not a success.
    """
    try:
        response = httpx.get(url, auth=auth, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise RetryableError(f"{type(error).__name__} on {url}") from error
    if not response.is_success:
        raise RetryableError(f"HTTP {response.status_code} on {url}: {response.text[:200]}")
    return response
