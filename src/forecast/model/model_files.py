"""The files of a saved forecaster: their names, and the digest that tells whether a copy is the registered one."""

import hashlib
import json
from pathlib import Path

from forecast.model import correction_files
from lakehouse.errors import FatalError

# The forecaster but for its boosters, as JSON.
FILE = "forecaster.json"


def names(folder: Path) -> list[str]:
    """The files that belong to the `FILE` in a folder, itself included, whether they are there or not.

    Raises:
        FatalError: it cannot be read.
    """
    try:
        correction = json.loads((folder / FILE).read_text())["correction"]
        return [FILE, *(correction_files.names(correction["library"]) if correction else ())]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FatalError(f"no readable {FILE} in {folder}: {error!r}; download the model again") from error


def digest(folder: Path) -> str:
    """Names a saved forecaster by its files' names and content: 16 hex digits."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]
