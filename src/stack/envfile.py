"""The `.env` file: generated secrets that are never overwritten, completed when settings are added; pure."""

import os
import re
from collections.abc import Callable

from pydantic import SecretStr

from lakehouse.settings import Settings, is_generated

HEADER = "# Secrets of this lake, made by scripts/up.sh. Other settings: see .env.example.\n"


def completed(text: str, new_secret: Callable[[], str]) -> str:
    """The text of `.env` with a new secret for each secret setting that has no line yet."""
    present = set(re.findall(r"^\s*(?:export\s+)?(\w+)\s*=", text, re.MULTILINE))
    missing = [name.upper() for name in secret_names() if name.upper() not in present]
    if not missing:
        return text
    start = text if not text or text.endswith("\n") else text + "\n"
    return (start or HEADER) + "".join(f"{name}={new_secret()}\n" for name in missing)


def secret_names() -> list[str]:
    """The settings whose secret the lake generates, in order."""
    return [name for name, field in Settings.model_fields.items() if is_generated(field)]


def example() -> str:
    """`.env.example`: every setting with its meaning and default, commented out."""
    lines = [
        "# Every setting, with its default. Copy a line to .env (scripts/up.sh makes that file) and change it there.\n"
    ]
    for name, field in Settings.model_fields.items():
        lines.append(f"\n# {field.description}\n# {name.upper()}={_as_text(field.default)}\n")
    return "".join(lines)


def child_environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for a child process that must not read `.env`."""
    values = settings.model_dump()
    return {"ENV_FILE": os.devnull} | {name.upper(): _as_text(value) for name, value in values.items()}


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
