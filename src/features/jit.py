"""Compiles kernels with numba and keeps the machine code on disk under a name that changes with the source."""

import hashlib
import inspect
import os
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
    writable = os.access(package, os.W_OK)
    base = package / "__pycache__" if writable else Path(tempfile.gettempdir()) / f"tradelake-numba-{os.getuid()}"
    return str(base / f"numba-{digest}")


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
