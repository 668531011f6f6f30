"""House rules for `src` and `tests/unit` that no linter knows: one name for one thing, a docstring, a mirrored test."""

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
UNIT = ROOT / "tests" / "unit"
PACKAGES = ("lakehouse", "features", "formats", "ingestion", "forecast", "downstream", "stack", "tradelake")
MODULES = sorted(path for package in PACKAGES for path in (SRC / package).rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in MODULES}
# Each room may have these.
SHARED_NAMES = {"__init__", "metrics"}
SUPERLATIVE = re.compile(r"^_?(MOST|LEAST|LONGEST|SHORTEST|LARGEST|SMALLEST|BIGGEST|HIGHEST|LOWEST|FEWEST)(_|$)")


def shown(path: Path) -> str:
    return str(path.relative_to(SRC))


def repeated(names: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: places for name, places in names.items() if len(places) > 1}


def mirrored(test: Path) -> bool:
    """Whether `tests/unit/a/test_b.py` tests `src/a/b.py`, or says in backticks which modules or files it tests."""
    if (SRC / test.relative_to(UNIT).parent / test.name.removeprefix("test_")).exists():
        return True
    names = re.findall(r"`([^`]+)`", ast.get_docstring(ast.parse(test.read_text())) or "")
    return bool(names) and all(map(is_there, names))


def is_there(name: str) -> bool:
    """Whether a path, or a module or package by its dotted name, is in the project."""
    below = Path(*name.split("."))
    found = ((root / below).with_suffix(".py").exists() or (root / below).is_dir() for root in (ROOT, SRC))
    return (ROOT / name).exists() or any(found)


def test_no_two_public_classes_share_a_name() -> None:
    places = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(shown(path))
    assert repeated(places) == {}


def test_no_two_modules_of_a_package_share_a_name() -> None:
    places = defaultdict(list)
    for path in MODULES:
        if path.stem not in SHARED_NAMES:
            places[f"{path.relative_to(SRC).parts[0]}: {path.stem}"].append(shown(path))
    assert repeated(places) == {}


def test_constants_say_min_and_max() -> None:
    found = []
    for path, tree in TREES.items():
        targets = [
            target
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        ]
        found += [f"{shown(path)}: {t.id}" for t in targets if isinstance(t, ast.Name) and SUPERLATIVE.match(t.id)]
    assert found == []


def test_one_alias_for_one_type() -> None:
    """A public alias is defined once; two modules that mean the same import it."""
    places = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            if isinstance(target, ast.Name) and re.fullmatch(r"[A-Z][a-z][A-Za-z]*", target.id):
                places[target.id].append(shown(path))
    assert repeated(places) == {}


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(TREES[path]), "begin the module with one sentence"


def test_modules_that_call_themselves_pure_are_in_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (pure,) = (contract for contract in contracts if contract["name"].startswith("pure modules"))
    covered = tuple(pure["source_modules"])
    left_out = []
    for path, tree in TREES.items():
        first = re.split(r"\.(?:\s|$)", (ast.get_docstring(tree) or "").strip(), maxsplit=1)[0]
        name = ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")
        inside = any(name == module or name.startswith(f"{module}.") for module in covered)
        if re.search(r"\bpure$", first) and not inside:
            left_out.append(name)
    assert left_out == []


def test_unit_tests_mirror_the_modules_or_say_what_they_test() -> None:
    assert [str(test.relative_to(UNIT)) for test in sorted(UNIT.rglob("test_*.py")) if not mirrored(test)] == []


@pytest.mark.parametrize(
    ("name", "docstring", "expected"),
    [
        ("features/test_engine.py", "Whatever.", True),
        ("features/test_corners.py", "Corners of `features.engine`.", True),
        ("test_shell.py", "`scripts/lib.sh` and `lakehouse.stores`.", True),
        ("features/test_corners.py", "Corners of the engine.", False),
        ("features/test_corners.py", "Corners of `features.engine` and `features.motor`.", False),
    ],
)
def test_a_test_beside_the_mirror_is_found(
    name: str, docstring: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "UNIT", tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(f'"""{docstring}"""')
    assert mirrored(tmp_path / name) is expected


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_the_one_way_in_is_the_command(path: Path) -> None:
    assert path.stem != "__main__"
    assert not re.search(r'__name__ == "__main__"|^import argparse', path.read_text(), re.MULTILINE)
