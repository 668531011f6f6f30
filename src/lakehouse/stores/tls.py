"""TLS towards servers whose certificate is signed by a CA of their operator's own."""

import ssl

from lakehouse.errors import FatalError


def ca_file(setting: str, path: str) -> str:
    """``path``, once it has been seen to hold certificates: the clients' own words would not name the setting.

    Raises:
        FatalError: it cannot be read, or holds none.
    """
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise FatalError(f"{setting}={path}: want a file with certificates (PEM): {error}") from error
    return path
