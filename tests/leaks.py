"""Looks for secrets where they must not be: in files that others may read, in logs and metadata, on command lines."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from lakehouse.settings import Settings
from stack.envfile import secret_names


def secrets_of(settings: Settings) -> dict[str, bytes]:
    """Every secret of the settings by name; each is long and random enough to be searched for."""
    found = {name: getattr(settings, name).get_secret_value().encode() for name in secret_names()}
    assert all(len(value) >= 16 for value in found.values()), "a secret is empty or guessable"
    assert len(set(found.values())) == len(found), "two secrets are the same"
    return found


def leaks(settings: Settings, folder: Path) -> list[str]:
    """Files below ``folder`` that hold a secret, but for those outside logs that only their owner can read."""
    secrets, found = secrets_of(settings), []
    # Servers at work remove files and folders meanwhile: os.walk passes over the folders.
    for path in (Path(place, name) for place, _, names in os.walk(folder) for name in names):
        with suppress(FileNotFoundError):
            if path.is_file() and not path.is_symlink() and (_logged(path) or not _private(path, folder)):
                data = path.read_bytes()
                found += [f"{path}: {name}" for name, value in secrets.items() if value in data]
    return found


def _logged(path: Path) -> bool:
    return "logs" in path.parts or path.suffix in (".db", ".log")


def _private(path: Path, folder: Path) -> bool:
    """Whether only its owner can read a file: by its own mode, or by that of a folder on the way to it."""
    way = (path, *(parent for parent in path.parents if parent.is_relative_to(folder) and parent != folder))
    return any(step.stat().st_mode & 0o077 == 0 for step in way)


def told(settings: Settings, processes: Iterable[psutil.Process]) -> list[str]:
    """Processes whose command line, which everybody on the machine can read, holds a secret."""
    secrets, found = secrets_of(settings), []
    for process in processes:
        words = " ".join(process.cmdline()).encode()
        found += [f"{process.name()}: {name}" for name, value in secrets.items() if value in words]
    return found
