"""What the README, the cards and the app show is what was measured."""

import dataclasses
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from torch import Tensor

from benchmarks.quality import beside_known
from restore.color import grey
from restore.images import ImageError
from restore.models import hub
from restore.models.hub import SAFETENSORS, WEIGHTS, bundled, checksum
from train import card, evaluate, results
from train.card import model_card
from train.evaluate import (
    PRINTED,
    cbsd68_table,
    colour_table,
    folder_pictures,
    identifier,
    prints_table,
    real_noise_pairs,
    split_batches,
    with_peers,
)


def test_the_readme_shows_the_measured_tables() -> None:
    readme = results.README.read_text()
    tables = list(results.read().values())
    assert tables
    assert all(table.markdown() in readme for table in tables)
    assert results.with_tables(readme, tables) == readme
    measured_again = dataclasses.replace(tables[0], rows=(*tables[0].rows, ("another method", *tables[0].rows[0][1:])))
    assert measured_again.markdown() in results.with_tables(readme, [measured_again, *tables[1:]])


def test_each_figure_is_that_of_the_weights_that_are_bundled() -> None:
    for table in results.read().values():
        assert table.weights == checksum(WEIGHTS / table.model / SAFETENSORS), f"measure {table.model} again: train.evaluate"


@pytest.mark.parametrize("name", bundled())
def test_each_card_shows_the_tables_of_its_network(name: str) -> None:
    card = (WEIGHTS / name / "README.md").read_text()
    tables = [table for table in results.read().values() if table.model == name]
    assert tables
    assert all(table.markdown() in card for table in tables)
    assert str(model_card(WEIGHTS / name, name)).strip() == card.strip()


@pytest.mark.parametrize("name", bundled())
def test_each_figure_of_a_model_index_says_what_it_is_of(name: str) -> None:
    found = ModelCard.load(WEIGHTS / name / "README.md").data.eval_results
    assert Counter((result.dataset_type, result.metric_name) for result in found).most_common(1)[0][1] == 1
    assert {result.dataset_type for result in found} == {t.dataset for t in results.read().values() if t.model == name}
    assert {result.dataset_type for result in found}.isdisjoint(bundled())


def test_cards_are_written_again_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (card, hub):
        monkeypatch.setattr(module, "WEIGHTS", tmp_path)
    shutil.copytree(WEIGHTS / "denoiser-cifar10", tmp_path / "denoiser-cifar10")
    written = tmp_path / "denoiser-cifar10/README.md"
    written.write_text("")
    monkeypatch.setattr(sys, "argv", ["train.card"])
    card.main()
    assert written.read_text() == (WEIGHTS / "denoiser-cifar10/README.md").read_text()


def test_the_sets_that_are_named_are_measured_and_the_others_kept(
    photos: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = (photos[0, :, :48, :40] * 255).byte().permute(1, 2, 0).numpy()
    (folder := tmp_path / "photos").mkdir()
    Image.fromarray(pixels).save(folder / "a.png")
    known = results.Table("set", "model", "user/set", "On a set", ("method", "PSNR"), (("ours", 30.126),))
    results.write([known], out := tmp_path / "results.json")
    monkeypatch.setattr(sys, "argv", ["train.evaluate", "--cbsd68", str(folder), "--out", str(out)])
    evaluate.main()
    tables = results.read(out)
    assert tables.pop("set") == known
    assert tables.keys() == {"cbsd68", "prints", "colorizer-photo-full-size"}
    shown = capsys.readouterr().out
    for table in tables.values():
        assert table.markdown() in shown
        assert table.weights == checksum(WEIGHTS / table.model / SAFETENSORS)

    monkeypatch.setattr(sys, "argv", ["train.evaluate", "--polyu", str(tmp_path / "nowhere"), "--out", str(out)])
    before = out.read_bytes()
    with pytest.raises(SystemExit, match=r"error: .*nowhere"):
        evaluate.main()
    assert out.read_bytes() == before


def test_a_set_has_its_id_whatever_the_name_of_its_copy(tmp_path: Path) -> None:
    copy = tmp_path / "Photos of 1931"
    copy.mkdir()
    assert identifier("cifar10", str(copy)) == identifier("cifar10", "uoft-cs/cifar10") == "uoft-cs/cifar10"
    assert identifier("imagenet64", "User/ImageNet64") == "User/ImageNet64"
    assert identifier("imagenet64", str(copy)) == "photos-of-1931"  # another reduction of other photographs
    assert identifier("photo", "User/Photos") == "User/Photos"
    assert identifier("photo", str(copy)) == "photos-of-1931"


def test_a_folder_of_several_sizes_is_measured_without_what_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "validation").mkdir()
    for name, size in (("a", (8, 6)), ("b", (8, 6)), ("d", (5, 7))):
        Image.new("RGB", size, "red").save(tmp_path / f"validation/{name}.png")
    Image.new("L", (8, 6)).save(tmp_path / "validation/c.png")
    Image.new("RGB", (8, 6)).save(tmp_path / "train/a.png")
    assert [tuple(batch.shape) for batch in split_batches(str(tmp_path), 10)] == [(2, 3, 6, 8), (1, 3, 7, 5)]
    assert "picture 2 is left out: grey" in capsys.readouterr().err


def test_a_folder_of_pictures_is_read_without_what_is_hidden_and_what_fails_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6), "red").save(tmp_path / "a.png")
    (tmp_path / ".DS_Store").write_bytes(b"of the finder")
    assert [tuple(picture.shape) for picture in folder_pictures(tmp_path)] == [(1, 3, 6, 8)]
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"b\.png: the file is empty"):
        list(folder_pictures(tmp_path))


def test_tables_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = results.Table("set", "model", "user/set", "On a set", ("method", "PSNR"), (("ours", 30.126), ("theirs", "-")))
    results.write([table], path := tmp_path / "results.json")
    assert results.read(path) == {"set": table}
    assert table.markdown().splitlines()[-2:] == ["| ours | 30.13 |", "| theirs | - |"]


def test_peers_stand_beside_ours_on_the_same_set_alone() -> None:
    columns = ("method", "PSNR, mean per image", "PSNR, pooled")
    rows = (("noisy", 1.0, 1.0), ("ours", 3.0, 3.0))
    ours = results.Table("denoiser-cifar10", "denoiser-cifar10", "user/set", "Set, 2 pictures", columns, rows)
    peers = dataclasses.replace(ours, rows=(("BM3D", 2.0, 2.0),))
    table = with_peers(ours, {ours.name: peers})
    assert [row[0] for row in table.rows] == ["noisy", "BM3D", "ours", "the paper, as printed"]
    renamed = with_peers(ours, {ours.name: dataclasses.replace(peers, caption="A copy of the set, 2 pictures")})
    assert renamed == table
    fewer = with_peers(ours, {ours.name: dataclasses.replace(peers, caption="Set, 1 pictures")})
    assert [row[0] for row in fewer.rows] == ["noisy", "BM3D, first 1 pictures", "ours", "the paper, as printed"]
    elsewhere = with_peers(ours, {ours.name: dataclasses.replace(peers, dataset="user/another")})
    assert [row[0] for row in elsewhere.rows] == ["noisy", "ours", "the paper, as printed"]


def test_a_peer_measured_later_joins_the_others_on_the_same_pictures() -> None:
    columns = ("method", "PSNR, sigma 25")
    known = results.Table("cbsd68", "denoiser-photo", "cbsd68", "CBSD68", columns, (("median 3x3", 1.0), ("FFDNet", 2.0)))
    table = dataclasses.replace(known, rows=(("BM3D", 3.0), ("FFDNet", 4.0)))
    assert beside_known(table, known).rows == (("median 3x3", 1.0), ("BM3D", 3.0), ("FFDNet", 4.0))
    assert beside_known(table, dataclasses.replace(known, caption="CBSD10")) == table
    assert beside_known(table, None) == table


def test_a_peer_measured_on_fewer_pictures_says_so_whichever_came_first() -> None:
    columns = ("method", "PSNR, mean per image")
    many = results.Table("cifar10", "denoiser-cifar10", "cifar10", "CIFAR-10, 90 pictures", columns, (("FFDNet", 2.0),))
    few = dataclasses.replace(many, caption="CIFAR-10, 5 pictures", rows=(("BM3D", 3.0),))
    for table in (beside_known(few, many), beside_known(many, few), beside_known(few, beside_known(few, many))):
        assert table.caption == many.caption
        assert table.rows == (("BM3D, first 5 pictures", 3.0), ("FFDNet", 2.0))


@pytest.mark.parametrize(("noisy_name", "clean_name"), [("a_noisy.png", "a_clean.png"), ("a_real.JPG", "a_mean.JPG")])
def test_a_noisy_photograph_is_paired_with_its_clean_one(noisy_name: str, clean_name: str, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (64, 64, 64)).save(tmp_path / noisy_name)
    Image.new("RGB", (16, 16), (74, 74, 74)).save(tmp_path / clean_name)
    [(noisy, clean, sigma)] = real_noise_pairs(tmp_path)
    assert (clean - noisy).mean().item() == pytest.approx(10 / 255, abs=1e-3)
    assert sigma == pytest.approx(10 / 255, abs=1e-3)


def test_colour_is_scored_between_grey_and_the_truth(photos: Tensor) -> None:
    def paint(rgb: Tensor, vividness: float) -> Tensor:
        return torch.lerp(grey(rgb), rgb, vividness / 2)

    table = colour_table("set", "colorizer-photo", "user/set", "On a set", paint, iter([photos]))
    assert table.caption == "On a set, 3 colour pictures"
    (_, *baseline), (_, *none), (_, *half), (_, *all_of_it) = table.rows
    assert baseline == none
    assert half[1] == pytest.approx(half[3], abs=0.5)
    assert half[1] == pytest.approx(20 * np.log10(2), abs=0.5)  # half the colour, half the error
    assert half[4] == pytest.approx(50, abs=2)
    assert all_of_it[:1] == [100]
    assert all_of_it[4:] == pytest.approx([100, 0], abs=1e-3)


def test_methods_are_scored_on_what_they_are_told(tmp_path: Path) -> None:
    """A method that knows the noise takes it away; at sigma 0 nothing is left to take."""
    for seed in range(2):
        Image.fromarray(np.random.default_rng(seed).integers(60, 190, (12, 10, 3), dtype=np.uint8)).save(tmp_path / f"{seed}.png")
    table = cbsd68_table({"noisy": lambda noisy, _: noisy, "ruined": lambda noisy, sigma: noisy * 0 + sigma}, tmp_path)
    (_, *noisy), (_, *ruined) = table.rows
    assert noisy[0] == 100
    assert noisy[1:] == pytest.approx([24.6, 20.2, 14.2], abs=0.6)  # -20 log10(sigma / 255)
    assert ruined == sorted(ruined)


def test_prints_are_scored_against_what_was_printed(tmp_path: Path) -> None:
    Image.new("RGB", (32, 24), (200, 100, 50)).save(tmp_path / "a.png")
    truth = {"noisy": lambda noisy, _: noisy, "mean": lambda noisy, _: noisy.mean((2, 3), keepdim=True).expand_as(noisy)}
    table = prints_table(truth, tmp_path)
    (_, *printed), (_, *averaged) = table.rows
    assert len(table.columns) == 1 + len(PRINTED)
    assert min(averaged) > 28  # dots keep a tone in the mean
    assert sorted(printed)[2] < 25
    assert max(printed) == 100  # one colour is among its own sixteen
