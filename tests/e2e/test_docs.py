"""The commands of the README and of the runbooks do what they say on a lake that runs."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.lakes import ROOT, Lake

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/runbooks").glob("*.md"))]
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """The shell blocks that are meant to be typed as they stand on a running core.

    ``bash`` fences those that set it up, need the object store, or end by what they find, which other tests run.
    """
    return [match[1] for match in BLOCK.finditer(page.read_text())]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_work(lake: Lake, page: Path) -> None:
    for block in commands(page):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=ROOT,
            env=lake.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


def test_the_pages_have_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 10
