"""docs/features.md is what the spec says now."""

from pathlib import Path

from features.docs import page
from features.spec import NAMES

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_current() -> None:
    assert (DOCS / "features.md").read_text() == page(), "run `tradelake docs`"


def test_the_page_names_every_feature() -> None:
    assert all(f"`{name}`" in page() for name in NAMES)
