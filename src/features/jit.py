"""Compiles kernels with numba and keeps the machine code on disk under a name that changes with the source."""

import hashlib
import inspect
import os
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])
_HERE = Path(__file__).parent
_GIVEN = numba.config.CACHE_DIR


@cache
def _cache_dir(package: Path) -> str:
    """Folder of compiled code for exactly this source.

    Numba looks only at the file a kernel stands in; a change in a constant or helper imported from another module
    would go unseen and old machine code would run on. So the folder is named after all source of the kernel's package
    and of this one. A kernel takes whatever is defined elsewhere as an argument.
    """
    files = sorted({*_HERE.glob("*.py"), *package.glob("*.py")})
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    base = package / "__pycache__" if os.access(package, os.W_OK) else private_cache()
    return str(base / f"numba-{digest}")


@cache
def private_cache() -> Path:
    """The user's own cache folder; a new one for this process where that belongs to somebody else or others may write.

    Who can write there chooses the machine code that we run.
    """
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradelake"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = folder.lstat()
        if stat.S_ISDIR(held.st_mode) and held.st_uid == os.getuid() and not held.st_mode & 0o022:
            return folder
    except (OSError, RuntimeError):
        # No home, or a file system that is read-only.
        pass
    return Path(tempfile.mkdtemp(prefix="tradelake-numba-"))


def _njit(function: F, **options: bool) -> F:
    # Numba reads the setting here, when a function is decorated.
    numba.config.CACHE_DIR = _GIVEN or _cache_dir(Path(inspect.getfile(function)).parent)
    compiled: F = numba.njit(cache=True, error_model="numpy", **options)(function)
    return compiled


def jit(function: F) -> F:
    """Compiles a kernel that Python calls, on first use (divisions follow IEEE: x / 0 is inf or NaN)."""
    return _njit(function)


def inlined(function: F) -> F:
    """Compiles a kernel into the kernels that call it: passing a `SymbolState` costs more than most of them do."""
    return _njit(function, forceinline=True)
