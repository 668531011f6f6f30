"""Compiled code is kept only where nobody else can put some of theirs."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.jit import private_cache


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    private_cache.cache_clear()
    yield tmp_path
    private_cache.cache_clear()


def _is_private(folder: Path) -> bool:
    held = folder.lstat()
    return held.st_uid == os.getuid() and stat.S_IMODE(held.st_mode) == 0o700


def test_it_is_the_users_own_folder_and_stays_the_same(home: Path) -> None:
    assert private_cache() == home / "tradelake"
    assert _is_private(home / "tradelake")
    private_cache.cache_clear()
    assert private_cache() == home / "tradelake"


def test_a_folder_that_others_may_write_is_not_used(home: Path) -> None:
    (home / "tradelake").mkdir()
    (home / "tradelake").chmod(0o777)
    found = private_cache()
    assert found != home / "tradelake"
    assert _is_private(found)
    found.rmdir()


def test_a_link_to_another_place_is_not_followed(home: Path) -> None:
    (home / "elsewhere").mkdir()
    (home / "tradelake").symlink_to(home / "elsewhere")
    found = private_cache()
    assert found.resolve() != (home / "elsewhere").resolve()
    found.rmdir()
