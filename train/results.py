"""Measured tables: `evaluate` writes them as JSON, and the cards, the README and the app read them."""

import dataclasses
import json
from pathlib import Path

from restore.files import replacing

ROOT = Path(__file__).parents[1]
RESULTS, README = ROOT / "docs" / "results.json", ROOT / "README.md"
PEERS = ROOT / "docs" / "peers.json"  # rows of other methods, for the same tables
BEGIN, END = "<!-- measured: written by train.evaluate -->\n", "<!-- end of measured -->"
Row = tuple[str | float, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """Measured rows under a caption that says on what."""

    name: str
    model: str  # the bundled weights that it measures
    dataset: str  # the set that it measures them on, as the Hub names it
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    weights: str = ""  # SHA-256 of the file of those weights, so that figures of others are not taken for theirs

    def markdown(self) -> str:
        """The table as Markdown, numbers to two decimals."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        cells = [[f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in line] for line in lines]
        return f"{self.caption}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in cells)


def read(path: Path = RESULTS) -> dict[str, Table]:
    """The tables by name; none where nothing has been measured."""
    known = json.loads(path.read_text()) if path.exists() else {}
    return {
        name: Table(**table | {"columns": tuple(table["columns"]), "rows": tuple(map(tuple, table["rows"]))})
        for name, table in known.items()
    }


def write(tables: list[Table], path: Path = RESULTS) -> None:
    """Put the tables in place of those of the same names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = read(path) | {table.name: table for table in tables}
    text = json.dumps({name: dataclasses.asdict(table) for name, table in known.items()}, indent=1) + "\n"
    with replacing(path) as file:  # hours of measuring are in it
        file.write(text.encode())


def with_tables(readme: str, tables: list[Table]) -> str:
    """The README with its measured section replaced by these tables."""
    head, rest = readme.split(BEGIN)
    _, tail = rest.split(END)
    return head + BEGIN + "\n" + "".join(f"{table.markdown()}\n\n" for table in tables) + END + tail
