"""The generated pages under docs/ are those that the code would generate now."""

from pathlib import Path

import pytest

from lakehouse.docs import PAGES

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "run `tradelake docs`"
