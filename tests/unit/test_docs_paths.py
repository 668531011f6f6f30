"""Paths and modules that `README.md` and `docs` name exist, and so do the functions of the architecture's walk."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PACKAGES = "ingestion|forecast|downstream|stack|features|lakehouse"
CODE = re.compile(r"`([^`\n]+)`|^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
FOLDERS = f"src|tests|docs|bench|dags|docker|grafana|scripts|{PACKAGES}"
PATH = re.compile(rf"(?<![\w./*{{-])((?:{FOLDERS})/[\w./-]*\w)(?![\w{{*])")
MODULE = re.compile(rf"(?<![\w./-])((?:{PACKAGES}|tradelake|bench|tests)(?:\.[a-z_0-9]+)+)(?![\w/*])")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
STEP = re.compile(r"^\| \d+\. .*\| `(src/[^`]+)` \| (.+) \|$", re.MULTILINE)


def exists(path: str) -> bool:
    """Whether a path, or one below src/, is in the project."""
    return (ROOT / path).exists() or (ROOT / "src" / path).exists()


def resolves(dotted: str) -> bool:
    """Whether a dotted name is a module, or an attribute that a module's source mentions."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        base = (ROOT if parts[0] in ("bench", "tests") else ROOT / "src").joinpath(*parts[:count])
        source = base.with_suffix(".py") if base.with_suffix(".py").exists() else base / "__init__.py"
        if source.exists():
            return all(re.search(rf"\b{re.escape(name)}\b", source.read_text()) for name in parts[count:])
    return (ROOT / dotted).exists()


def missing(text: str) -> list[str]:
    """The paths and modules that a page's code names and the project does not have."""
    code = " \n".join(inline or block for inline, block in CODE.findall(text))
    return [path for path in PATH.findall(code) if not exists(path)] + [
        name for name in MODULE.findall(code) if not resolves(name)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    links = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    assert missing(text) + links == []


def test_a_wrong_name_is_found() -> None:
    text = "`src/ingestion/sink.py` and `ingestion.consumer.loop` beside `ingestion.letterbox` and `features/spec.py`"
    assert missing(text) == ["src/ingestion/sink.py", "ingestion.letterbox"]


def test_the_walk_names_functions_that_exist() -> None:
    steps = STEP.findall((ROOT / "docs/architecture.md").read_text())
    assert len(steps) > 10
    for path, functions in steps:
        source = (ROOT / path).read_text()
        for function in re.findall(r"`([^`]+)`", functions):
            for name in function.split("."):
                assert re.search(rf"^ *(?:def|class) {name}\b", source, re.MULTILINE), f"{path}: {function}"
