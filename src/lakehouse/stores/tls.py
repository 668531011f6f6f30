"""TLS for servers whose certificate is signed by a private CA."""

import ssl

from lakehouse.errors import FatalError


def ca_file(setting: str, path: str) -> str:
    """Returns ``path`` if it holds certificates; the clients' own errors would not name the setting.

    Raises:
        FatalError: the file cannot be read or holds no certificate.
    """
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise FatalError(f"{setting}={path}: want a file with certificates (PEM): {error}") from error
    return path
