"""What the README, the cards and the app show is what was measured."""

from pathlib import Path

import pytest

from restore.models.hub import WEIGHTS, bundled
from train import results


def test_the_readme_shows_the_measured_tables() -> None:
    readme = results.README.read_text()
    assert results.read()
    assert results.with_tables(readme, list(results.read().values())) == readme


@pytest.mark.parametrize("name", bundled())
def test_each_card_shows_the_tables_of_its_network(name: str) -> None:
    card = (WEIGHTS / name / "README.md").read_text()
    tables = [table for table in results.read().values() if table.model == name]
    assert tables
    assert all(table.markdown() in card for table in tables)


def test_tables_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = results.Table("set", "model", "On a set", ("method", "PSNR"), (("ours", 30.126), ("theirs", "-")))
    results.write([table], path := tmp_path / "results.json")
    assert results.read(path) == {"set": table}
    assert table.markdown().splitlines()[-2:] == ["| ours | 30.13 |", "| theirs | - |"]
