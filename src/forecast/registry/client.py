"""Client of the MLflow model registry; the served version has the alias ``champion``."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# MLflow reads these when it is imported: fail within a minute, not after five retries of two minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import mlflow.artifacts
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from features.spec import NAMES, EngineConfig, spec_hash
from forecast.model import model_files
from forecast.model.baselines import Rule, first_rules
from forecast.model.forecaster import Forecaster, untrained
from forecast.model.targets import TARGETS, Target
from forecast.registry.packaging import DATA
from forecast.registry.recording import DIGEST, REPORT, record
from forecast.registry.way_back import way_back
from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings

log = logging.getLogger("forecast.registry.client")
CHAMPION, CHALLENGER = "champion", "challenger"
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Version:
    """One registered version: its number, aliases and tags."""

    target: Target
    number: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    run_id: str


class RegistryClient:
    """The registered models ``bid`` and ``vol``; methods raise `RetryableError` while MLflow is away."""

    def __init__(self, settings: Settings) -> None:
        self._uri = settings.mlflow_uri
        self._spec = spec_hash(EngineConfig.of(settings))
        self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def champion(self, target: Target) -> int | None:
        """The version that is served; None where there is none yet."""
        return self._aliased(target, CHAMPION)

    def opponent(self, target: Target, version: int) -> int | None:
        """The version to beat: the champion, or its predecessor where this version is the champion already.

        A decision that was cut short after the alias had moved can so be taken again.
        """
        champion = self.champion(target)
        if champion != version:
            return champion
        replaced = self._try(lambda: self._client.get_model_version(target, str(version))).tags.get("replaced")
        return None if replaced is None else int(replaced)

    def versions(self, target: Target) -> list[Version]:
        """Every version, newest first, with its aliases."""
        registered = self._absent_as_none(lambda: self._client.get_registered_model(target))
        if registered is None:
            return []
        aliases: dict[int, list[str]] = {}
        for alias, number in registered.aliases.items():
            aliases.setdefault(int(number), []).append(alias)
        found = self._try(lambda: self._client.search_model_versions(f"name='{target}'"))
        made = [
            Version(target, int(v.version), tuple(sorted(aliases.get(int(v.version), ()))), dict(v.tags), v.run_id)
            for v in found
        ]
        return sorted(made, key=lambda v: -v.number)

    def register(
        self,
        forecaster: Forecaster,
        parameters: Mapping[str, object] | None = None,
        figures: Mapping[str, float] | None = None,
        artifacts: Path | None = None,
    ) -> int:
        """Stores a forecaster as a new version, with signature, hashes, parameters, figures and further files.

        Doing it again after MLflow went away in between takes up what the first attempt left.

        Returns:
            The version's number; no alias points to it yet.
        """
        return int(self._try(lambda: record(self._client, forecaster, parameters or {}, figures or {}, artifacts)))

    def fetch(self, target: Target, version: int, folder: Path) -> None:
        """Downloads a version's forecaster into ``folder``, which `forecast.model.forecaster.load` reads."""
        source = self._try(lambda: self._client.get_model_version_download_uri(target, str(version)))
        self._download(source, model_files.FILE, folder)
        for name in model_files.names(folder)[1:]:
            self._download(source, name, folder)

    def digest(self, target: Target, version: int) -> str | None:
        """What names a version's files by their content; None where it was registered without."""
        tags: Mapping[str, str] = self._try(lambda: self._client.get_model_version(target, str(version))).tags
        return tags.get(DIGEST)

    def report(self, target: Target, version: int, name: str) -> str | None:
        """The text of one of the further files that a version was registered with; None where it has no such file."""
        run_id = self._try(lambda: self._client.get_model_version(target, str(version))).run_id
        path = f"{REPORT}/{name}"
        if path not in {held.path for held in self._try(lambda: self._client.list_artifacts(run_id, REPORT))}:
            return None
        with tempfile.TemporaryDirectory(prefix="tradelake-report-") as scratch:
            return Path(self._try(lambda: self._client.download_artifacts(run_id, path, scratch))).read_text()

    def challenge(self, target: Target, version: int) -> None:
        """Points the alias ``challenger`` at a version."""
        self._try(lambda: self._client.set_registered_model_alias(target, CHALLENGER, str(version)))

    def promote(self, target: Target, version: int, reason: str, figures: Mapping[str, Any] | None = None) -> None:
        """Makes a version the champion and records why, and which version it replaced.

        Raises:
            FatalError: there is no such version.
        """
        before = self.champion(target)
        if version not in {v.number for v in self.versions(target)}:
            raise FatalError(f"no version {version} of {target}: see `tradelake models list`")
        if before is not None and before != version:
            self._tag(target, version, "replaced", str(before))
        self._try(lambda: self._client.set_registered_model_alias(target, CHAMPION, str(version)))
        if self._aliased(target, CHALLENGER) == version:
            self._try(lambda: self._client.delete_registered_model_alias(target, CHALLENGER))
        self._decide(target, version, "promoted", reason, figures or {})

    def refuse(self, target: Target, version: int, reason: str, figures: Mapping[str, Any]) -> None:
        """Records why a version is not promoted; the champion stays."""
        self._decide(target, version, "refused", reason, figures)

    def rollback(self, target: Target, reason: str, figures: Mapping[str, Any] | None = None) -> int:
        """Moves the champion's alias back to what served before and can serve now; returns that version.

        Where no predecessor was made for the feature definitions in force, a simple rule takes over.

        Raises:
            FatalError: there is no champion, or it is the simple rule itself.
        """
        now = self.champion(target)
        held = {v.number: v.tags for v in self.versions(target)}
        if now is None or now not in held:
            raise FatalError(f"{target}: no champion to roll back; promote a version by number")
        before = way_back(held, now, self._spec)
        if before is None:
            name, rules = first_rules(target)[0]
            if held[now].get("kind") == name and held[now].get("spec") == self._spec:
                raise FatalError(f"{target}: the champion ({now}) is the simple rule already; promote one by number")
            before = self.register(self.simple(name, target, rules))
            self.promote(target, before, f"in place of {target}/{now}: {reason}")
        else:
            self._try(lambda: self._client.set_registered_model_alias(target, CHAMPION, str(before)))
        self._decide(target, now, "rolled_back", reason, figures or {})
        return before

    def ensure_baselines(self) -> None:
        """Registers the simple rules, and makes one champion, where a target has no champion yet."""
        for target in TARGETS:
            if self.champion(target) is not None:
                continue
            numbers = [self.register(self.simple(name, target, rules)) for name, rules in first_rules(target)]
            self.promote(target, numbers[0], "the first version: a simple rule, until a model beats it")

    def simple(self, name: str, target: Target, rules: Sequence[Rule]) -> Forecaster:
        """A rule as a forecaster for this lake's feature definitions."""
        return untrained(name, target, rules, self._spec, NAMES)

    def _download(self, source: str, name: str, folder: Path) -> None:
        """Copies one of a forecaster's files; the registry may hold others, which nothing here reads."""
        uri = f"{source}/{DATA.as_posix()}/{name}"
        with tempfile.TemporaryDirectory(prefix="tradelake-model-") as scratch:
            path = self._try(lambda: mlflow.artifacts.download_artifacts(uri, dst_path=scratch, tracking_uri=self._uri))
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)

    def _decide(self, target: Target, version: int, decision: str, reason: str, figures: Mapping[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        body = {"decision": decision, "reason": reason, "at": at, "figures": dict(figures)}
        run_id = str(self._try(lambda: self._client.get_model_version(target, str(version))).run_id)
        self._try(lambda: self._client.log_dict(run_id, body, f"decisions/{at.replace(':', '')} {decision}.json"))
        # The decision's own tag comes last: with it the version counts as decided.
        for key, value in {"reason": reason, "decided_at": at, "decision": decision}.items():
            self._tag(target, version, key, value)
        log.info("%s/%s %s: %s %s", target, version, decision, reason, json.dumps(dict(figures)))

    def _tag(self, target: Target, version: int, key: str, value: str) -> None:
        self._try(lambda: self._client.set_model_version_tag(target, str(version), key, value[:5000]))

    def _aliased(self, target: Target, alias: str) -> int | None:
        found = self._absent_as_none(lambda: self._client.get_model_version_by_alias(target, alias))
        return None if found is None else int(found.version)

    def _try(self, call: Callable[[], Any]) -> Any:
        """The call's result; what is absent is a `FatalError`, any other failure of MLflow a `RetryableError`."""
        try:
            return call()
        except MlflowException as error:
            if error.error_code in _ABSENT:
                raise FatalError(f"MLflow at {self._uri}: {error}") from error
            raise RetryableError(f"MLflow at {self._uri}: {error}") from error
        except OSError as error:
            raise RetryableError(f"MLflow at {self._uri}: {error}") from error

    def _absent_as_none(self, call: Callable[[], Any]) -> Any:
        try:
            return self._try(call)
        except FatalError:
            return None
