"""Compiles kernels with numba and caches the machine code on disk, keyed by the source."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def _cache_dir() -> Path:
    """Folder of compiled code for exactly this source.

    Numba checks only the file that defines a kernel. After a change in a constant or helper imported from another
    module it would keep running old machine code, so the folder's name hashes all of this package's source.
    """
    here = Path(__file__).parent
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(here.glob("*.py")))).hexdigest()[:12]
    writable = os.access(here, os.W_OK)
    base = here / "__pycache__" if writable else Path(tempfile.gettempdir()) / f"tradelake-numba-{os.getuid()}"
    return base / f"numba-{digest}"


if not numba.config.CACHE_DIR:
    numba.config.CACHE_DIR = str(_cache_dir())


def jit(function: F) -> F:
    """Compiles a kernel that Python calls, on first use (divisions follow IEEE: x / 0 is inf or NaN)."""
    compiled: F = numba.njit(cache=True, error_model="numpy")(function)
    return compiled


def inlined(function: F) -> F:
    """Compiles a kernel into the kernels that call it: handing a `Book` over costs more than most of them do."""
    compiled: F = numba.njit(cache=True, error_model="numpy", forceinline=True)(function)
    return compiled
