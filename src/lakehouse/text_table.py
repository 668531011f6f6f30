"""Aligns rows of text as a table for people; pure."""

from collections.abc import Sequence


def columns(rows: Sequence[Sequence[str]], header: bool = True) -> str:
    """Rows of text as aligned columns, the first row underlined if it is a header."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]] if header else lines)
