"""Reads the archive: lists, loads and verifies day files against their manifests."""

import hashlib
import logging
from collections.abc import Iterator
from datetime import date

import polars as pl

from downstream.archive.manifest import DayFile, Manifest, decode, part_of
from lakehouse.errors import FatalError
from lakehouse.stores.objects import Objects

log = logging.getLogger(__name__)


def backed_up(objects: Objects, day: date | None = None) -> Iterator[DayFile]:
    """Every day file with a manifest, or only those of ``day``, in key order."""
    for stored in objects.list(""):
        if stored.key.endswith("/_manifest.json") and (day is None or f"/dt={day}/" in stored.key):
            yield part_of(stored.key)


def read_manifest(objects: Objects, part: DayFile) -> Manifest | None:
    """A day file's manifest; None if it was never completely backed up."""
    data = objects.get(part.manifest_key)
    return None if data is None else Manifest.load(data, part.manifest_key)


def load(objects: Objects, part: DayFile, manifest: Manifest) -> pl.DataFrame:
    """The rows of a day file, from the object version that its manifest names.

    Raises:
        FatalError: the file is missing or contradicts the manifest. RetryableError: the store is down.
    """
    data = objects.get(part.data_key, manifest.version)
    if data is None:
        raise FatalError(f"{part.data_key} is missing, but its manifest exists: run tradelake backup --day {part.day}")
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise FatalError(f"{part.data_key} does not match its manifest (sha256): run tradelake backup --day {part.day}")
    return decode(data, part.data_key)


def check(objects: Objects, part: DayFile, manifest: Manifest) -> None:
    """Reads a day file back and checks that readers who ignore manifests get the same bytes.

    Raises:
        FatalError: the file is missing, hidden by another version, or contradicts the manifest.
        RetryableError: the store is down.
    """
    newest = objects.newest(part.data_key)
    if newest is None or newest.version != manifest.version:
        raise FatalError(
            f"{part.data_key} is missing or not the version in its manifest: run tradelake backup --day {part.day}"
        )
    load(objects, part, manifest)


def intact(objects: Objects, part: DayFile, manifest: Manifest) -> bool:
    """Whether `check` passes; logs what it finds.

    Raises:
        RetryableError: the store is down.
    """
    try:
        check(objects, part, manifest)
    except FatalError as error:
        log.warning("%s", error)
        return False
    return True
