"""Parses and validates request bodies of /predict_* into feature rows; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from forecast.serving.problems import FieldError, Problem

MAX_ROWS = 10_000
# Boosters compare 32-bit floats; a larger number would overflow to infinity.
MAX_NUMBER = 3.4e38
MAX_WHOLE = 2**53
NUMBERS = frozenset((float, int, type(None)))
# Optional labels of a row, echoed in the answer.
LABELS: Mapping[str, tuple[type, ...]] = {
    "symbol": (str,),
    "as_of": (str,),
    "spec": (str,),
    "epoch": (int,),
    "seq": (int,),
}
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RequestRows:
    """Rows to forecast: ``matrix`` is (rows, features) in spec order, NaN = unknown; one dict of labels per row."""

    matrix: Matrix
    labels: list[dict[str, Any]]


class Parser:
    """Reads the bodies that carry features.

    Args:
        names: the features, in spec order.
        spec: hash of the feature definitions; a row computed under another one is refused.
    """

    def __init__(self, names: Sequence[str], spec: str) -> None:
        self.names = tuple(names)
        self.spec = spec
        self._take = itemgetter(*names)
        self._known = frozenset(names) | frozenset(LABELS)

    def rows(self, data: object) -> RequestRows:
        """The value of ``data``: a list of numbers in spec order, or a list of such lists or of objects by name.

        Raises:
            Problem: 422, naming each field that is missing, unknown or not a number.
        """
        if not isinstance(data, list) or not data:
            raise invalid("/data", "want a list of feature objects, or of numbers in spec order")
        if type(data[0]) in NUMBERS:
            return RequestRows(self._matrix([self._numbers(data, "/data")], "/data", nested=False), [{}])
        if len(data) > MAX_ROWS:
            raise invalid("/data", f"{len(data)} rows; at most {MAX_ROWS} in one call")
        values, labels = [], []
        for i, row in enumerate(data):
            pointer = f"/data/{i}"
            if isinstance(row, dict):
                values.append(self._named(row, pointer))
                labels.append(self._labels(row, pointer))
            elif isinstance(row, list):
                values.append(self._numbers(row, pointer))
                labels.append({})
            else:
                raise invalid(pointer, f"want an object or a list of numbers, got {_kind(row)}")
        return RequestRows(self._matrix(values, "/data", nested=True), labels)

    def named(self, row: Mapping[str, Any]) -> RequestRows:
        """One row of ``{name: number or null}``, as Redis holds it."""
        return RequestRows(self._matrix([self._named(dict(row), "/data/0")], "/data", nested=True), [{}])

    def _named(self, row: dict[str, Any], pointer: str) -> Sequence[Any]:
        unknown = row.keys() - self._known
        try:
            values: Sequence[Any] = self._take(row)
        except KeyError:
            values = ()
        if unknown or not values:
            missing = [n for n in self.names if n not in row]
            errors = [FieldError(f"{pointer}/{_escape(n)}", "missing; send null if unknown") for n in missing]
            errors += [FieldError(f"{pointer}/{_escape(n)}", "no such feature") for n in sorted(unknown)]
            raise _problem(f"row {pointer}: {len(missing)} features missing, {len(unknown)} unknown", errors)
        if not NUMBERS.issuperset(map(type, values)):
            wrong = [(n, v) for n, v in zip(self.names, values, strict=True) if type(v) not in NUMBERS]
            errors = [FieldError(f"{pointer}/{_escape(n)}", f"want a number or null, got {_kind(v)}") for n, v in wrong]
            raise _problem(f"row {pointer}: {len(wrong)} features are not numbers", errors)
        return values

    def _labels(self, row: dict[str, Any], pointer: str) -> dict[str, Any]:
        labels = {name: _whole(row[name]) for name in LABELS if row.get(name) is not None}
        for name, value in labels.items():
            if type(value) not in LABELS[name]:
                raise invalid(f"{pointer}/{name}", f"want {LABELS[name][0].__name__}, got {_kind(value)}")
        if labels.get("spec", self.spec) != self.spec:
            raise invalid(
                f"{pointer}/spec",
                f"row of feature definitions {labels['spec']}, this API serves {self.spec}: compute it anew",
            )
        return labels

    def _numbers(self, row: list[Any], pointer: str) -> Sequence[Any]:
        if len(row) != len(self.names):
            raise invalid(
                pointer, f"want {len(self.names)} numbers in spec order (GET /models lists it), got {len(row)}"
            )
        if not NUMBERS.issuperset(map(type, row)):
            errors = [
                FieldError(f"{pointer}/{i}", f"{name}: want a number or null, got {_kind(v)}")
                for i, (name, v) in enumerate(zip(self.names, row, strict=True))
                if type(v) not in NUMBERS
            ]
            raise _problem(f"row {pointer}: {len(errors)} features are not numbers", errors)
        return row

    def _matrix(self, values: list[Sequence[Any]], pointer: str, nested: bool) -> Matrix:
        matrix = np.array(values, dtype=np.float64)
        beyond = np.abs(matrix) > MAX_NUMBER
        if beyond.any():
            errors = [
                FieldError(f"{pointer}/{i}/{self.names[j]}" if nested else f"{pointer}/{j}", "number too large")
                for i, j in np.argwhere(beyond)
            ]
            raise _problem(f"{len(errors)} features beyond ±3.4e38", errors)
        return matrix


def load_object(raw: bytes) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        Problem: 400 when it is not JSON (NaN and Infinity are not), 422 when it is JSON but no object.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "not-json", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise invalid("", f"want a JSON object, got {_kind(body)}")
    return body


def invalid(pointer: str, detail: str) -> Problem:
    """A body that is JSON but not what was asked for, in one place."""
    return _problem(f"{pointer or 'body'}: {detail}", [FieldError(pointer, detail)])


def _problem(detail: str, errors: Sequence[FieldError]) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-body", detail, errors)


def _whole(value: object) -> object:
    """JSON does not tell 1.0 from 1: a whole number that a float holds exactly is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_WHOLE else value


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
