"""Tells what a file is by its first bytes, and opens what is packed in it."""

import bz2
import codecs
import gzip
import io
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal, cast

import pyarrow as pa

from formats.refusal import RefusedFileError

Packing = Literal["text", "json", "parquet", "arrow"]
Opener = Callable[[], AbstractContextManager[IO[bytes]]]
HEAD = 1 << 18
_DATA_ENDINGS = (".csv", ".txt", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".feather", ".arrow")
_ABOUT = ("readme", "license", "licence", "changelog")
_REMEDIES = (
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive: unpack it with 7z x and give the file inside"),
    (b"PK\x03\x04", "is an archive in an archive: unpack it and give the file inside"),
    (b"\x04\x22\x4d\x18", "is packed with LZ4: unpack it with lz4 -d and give the file inside"),
    (b"Rar!\x1a\x07", "is a RAR archive: unpack it and give the file inside"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook: save the sheet as CSV (UTF-8) and give that"),
    (b"FEA1", "is Feather version 1: write it again with a current pyarrow or pandas"),
    (b"%PDF", "is a PDF: give the data as CSV or Parquet"),
    (b"SQLite format 3", "is an SQLite database: export the table as CSV and give that"),
    (b"\x89HDF", "is HDF5: write the table as Parquet and give that"),
    (b"ORC", "is ORC: write the table as Parquet and give that"),
)
TYPED = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")
_ENCODINGS = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# What a file that is cut off, encrypted or damaged makes its unpacker raise.
BROKEN = (pa.ArrowException, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Member:
    """One table: a file, or what an archive holds under a name.

    Attributes:
        name: for messages, ``archive.zip: member.csv`` in an archive.
        stem: the bare name without folders.
        opener: opens it from the start, unpacked.
        head: its first bytes, unpacked.
    """

    name: str
    stem: str
    opener: Opener
    head: bytes

    @property
    def shape(self) -> Packing:
        """What the bytes are; text is told from JSON by its first sign."""
        if self.head.startswith(TYPED[0]):
            return "parquet"
        if self.head.startswith(TYPED[1:]):
            return "arrow"
        text = self.head.removeprefix(codecs.BOM_UTF8).lstrip()
        return "json" if text[:1] in (b"{", b"[") else "text"

    def seekable(self) -> IO[bytes]:
        """The unpacked bytes as a file that can be sought in: on disk, since memory must not grow with the file."""
        source = cast(IO[bytes], self.opener())
        if isinstance(getattr(source, "raw", None), io.FileIO):
            return source
        spool: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        with source:
            shutil.copyfileobj(source, spool)
        spool.seek(0)
        return spool


def members(path: Path) -> list[Member]:
    """The tables in a file; more than one only in an archive.

    Raises:
        RefusedFileError: it is missing or empty, no table, or packed in a way that is not read here.
    """
    if not path.is_file():
        raise RefusedFileError(f"no file {path}: there is no such file; check the path")
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        raise RefusedFileError(f"{path.name} holds no rows: the file is empty; get it again")
    try:
        if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            return _zipped(path)
        return [_member(path.name, path.name, lambda: _unpacked(path.open("rb")))]
    except BROKEN as error:
        raise _broken(path.name, error) from error


def _zipped(path: Path) -> list[Member]:
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if any(info.filename == "[Content_Types].xml" for info in infos):
            raise RefusedFileError(f"{path.name} is an Excel workbook: save the sheet as CSV (UTF-8) and give that")
        if any(info.flag_bits & 1 for info in infos):
            raise RefusedFileError(f"{path.name} cannot be read: it is encrypted; unpack it and give the file inside")
    names = [info.filename for info in infos if _is_data(info.filename)]
    names = [name for name in names if _base(name).lower().endswith(_DATA_ENDINGS)] or names
    names = [name for name in names if not _base(name).lower().startswith(_ABOUT)] or names
    if not names:
        raise RefusedFileError(f"{path.name} holds no rows: no table lies in the archive")
    return [
        Member(f"{path.name}: {_base(name)}", _base(name), lambda name=name: _zip_member(path, name), b"")  # type: ignore[misc]
        for name in names
    ]


def headed(member: Member) -> Member:
    """A member of an archive with its first bytes read.

    Raises:
        RefusedFileError: it is no table.
    """
    try:
        return member if member.head else _member(member.name, member.stem, member.opener)
    except BROKEN as error:
        raise _broken(member.name, error) from error


def _is_data(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not hidden and path.suffix.lower() not in (".checksum", ".md5", ".sha256", ".md", ".pdf", ".html")


def _base(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).name


def _zip_member(path: Path, name: str) -> IO[bytes]:
    return _unpacked(zipfile.ZipFile(path).open(name))


def _member(name: str, stem: str, opener: Opener) -> Member:
    with opener() as file:
        head = file.read(HEAD)
    for magic, remedy in _REMEDIES:
        if head.startswith(magic):
            raise RefusedFileError(f"{name} {remedy}")
    if head[257:262] == b"ustar":
        raise RefusedFileError(f"{name} is a tar archive: unpack it with tar xf and give the file inside")
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise RefusedFileError(f"{name} is a web page, not a table: get the file itself")
    if _is_binary(head):
        raise RefusedFileError(f"{name} is no table but binary data of another kind: give CSV, Parquet, Arrow or JSON")
    return Member(name, stem, opener, head)


def _is_binary(head: bytes) -> bool:
    """Whether bytes without a known beginning are no text: many of the first are signs that no text has."""
    sample = head[:1024]
    strange = sum(byte < 32 and byte not in b"\t\n\r\f" for byte in sample)
    return not head.startswith(TYPED) and 20 * strange > len(sample)


def _unpacked(raw: IO[bytes]) -> IO[bytes]:
    """The stream behind every layer of packing, as UTF-8 where it is text."""
    source = cast(io.BufferedReader, raw if hasattr(raw, "peek") else io.BufferedReader(raw))
    head = source.peek(6)[:6]
    if head.startswith(b"\x1f\x8b"):
        return _unpacked(cast(IO[bytes], gzip.GzipFile(fileobj=source, mode="rb")))
    if head.startswith(b"BZh"):
        return _unpacked(cast(IO[bytes], bz2.BZ2File(source)))
    if head.startswith(b"\xfd7zXZ\x00"):
        return _unpacked(cast(IO[bytes], lzma.LZMAFile(source)))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        stream = pa.input_stream(pa.PythonFile(source, "r"), compression="zstd")
        return _unpacked(cast(IO[bytes], io.BufferedReader(stream)))
    for mark, encoding in _ENCODINGS:
        if head.startswith(mark):
            return cast(IO[bytes], codecs.EncodedFile(source, "utf-8", encoding, "replace"))
    return cast(IO[bytes], source)


def _broken(name: str, error: BaseException) -> RefusedFileError:
    detail = " ".join(str(error).split())[:200] or type(error).__name__
    return RefusedFileError(f"{name} cannot be read: {detail}; it may be cut short: get it again")
