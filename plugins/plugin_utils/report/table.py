"""Formats tables as text for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

_GAP = "  "


@dataclass(frozen=True)
class Table:
    """The columns of a table.

    Args:
        columns: their names, from left to right.
        right: the names of right-aligned columns, such as numbers.
    """

    columns: Sequence[str]
    right: Collection[str] = ()

    def sizes(self, rows: Iterable[Sequence[str]]) -> list[int]:
        """Return the width of each column in characters.

        Args:
            rows: the texts; a row may end before the last column. The head is a row like the others.
        """
        found = [0] * len(self.columns)
        for row in rows:
            for place, text in enumerate(row):
                found[place] = max(found[place], len(text))
        return found

    def line(self, row: Sequence[str], sizes: Sequence[int], gap: str = _GAP) -> str:
        """Return an aligned row, with trailing blanks, since a sentence may follow.

        Args:
            row: the texts; a shorter row ends with its own last column.
            sizes: characters of each column; a longer text is truncated.
            gap: the text between two columns.
        """
        named = zip(self.columns, row, sizes, strict=False)
        cells = ((column, cut(text, size), size) for column, text, size in named)
        return gap.join(text.rjust(size) if column in self.right else text.ljust(size) for column, text, size in cells)

    def head(self, sizes: Sequence[int], gap: str = _GAP) -> list[str]:
        """Return the names of the columns, and a rule below them."""
        return [self.line(self.columns, sizes, gap), gap.join("-" * size for size in sizes)]


def cut(text: str, size: int) -> str:
    """Return a text that has at most so many characters; one that was cut ends with ``~``."""
    return text if len(text) <= size else text[: size - 1] + "~"
