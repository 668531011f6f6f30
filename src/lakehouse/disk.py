"""The room on the lake's disk."""

import shutil
from pathlib import Path

# Below this a server may break at any moment.
MIN_FREE_MB = 256


def free_mb(folder: Path) -> int:
    """MB (10^6 bytes) free where a folder lies or, if it does not exist yet, will lie."""
    return shutil.disk_usage(_existing(folder)).free // 10**6


def free_ratio(folder: Path) -> float:
    """The free share of that disk, between 0 and 1."""
    usage = shutil.disk_usage(_existing(folder))
    return usage.free / usage.total


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())
