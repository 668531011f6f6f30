"""Lists the registry's versions with their aliases and last decisions."""

from dataclasses import dataclass

from forecast.model.targets import TARGETS
from forecast.registry.client import RegistryClient


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """A model version as ``tradelake models list`` shows it."""

    model: str
    aliases: tuple[str, ...]
    kind: str
    spec: str
    dataset: str
    decision: str
    reason: str


def versions(registry: RegistryClient) -> list[ListedVersion]:
    """Every version of every target.

    Raises:
        RetryableError: MLflow is down.
    """
    found = []
    for target in TARGETS:
        for version in registry.versions(target):
            tags = version.tags
            told = (tags.get(name, default) for name, default in TAGS)
            found.append(ListedVersion(f"{target}/{version.number}", tuple(version.aliases), *told))
    return found


TAGS = (("kind", "?"), ("spec", "?"), ("dataset", "-"), ("decision", "-"), ("reason", "-"))


def line(version: ListedVersion) -> str:
    """The version in one line."""
    what = f"{version.kind:12} spec {version.spec} dataset {version.dataset}"
    return f"{version.model:<8} {','.join(version.aliases) or '-':20} {what}  {version.decision}: {version.reason}"
