"""The code version that a model is tagged with: git revision if available, else the package's version."""

import subprocess
from importlib import metadata
from pathlib import Path


def code_version() -> str:
    """E.g. ``55b6a55`` or ``0.1.0``; ``+`` marks changes that are not committed."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return metadata.version("tradelake")
    return found.stdout.strip()
