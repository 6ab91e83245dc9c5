"""The app's laws, through its endpoints: what a button does, what is refused, and that visitors never meet."""

import asyncio
import http.client
import json
import os
import pickle
import re
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from app_server import Endless, serve
from conftest import TEMPORARY
from gradio.components.imageslider import SliderData
from gradio.data_classes import FileData, ImageData, ListFiles
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from jsonschema import Draft202012Validator
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult, Tool
from PIL import Image, ImageChops

import app
from restore.images import Picture, encode_picture
from web import batch, brush, choices, compare, jobs, server, work
from web.examples import EXAMPLES
from web.files import open_photo

ROOT = Path(__file__).parents[1]
CAR = next(example.path for example in EXAMPLES if example.path.stem == "car")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve() as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False)


def by_name(scores: list[dict[str, Any]]) -> dict[str, Any]:
    return {score["name"]: score["value"] for score in scores}


def make_noisy(client: Client, **settings: Any) -> tuple[str, dict[str, Any]]:
    _, png, _, scores = client.predict(
        photo=handle_file(CAR), kind="Gaussian", api_name="/add_noise", **{"sigma": 25, "seed": 1} | settings
    )
    return png, by_name(scores)


def test_gaussian_noise_has_the_psnr_of_its_sigma(client: Client) -> None:
    _, scores = make_noisy(client, sigma=25)
    assert scores["PSNR"] == pytest.approx(20.17, abs=0.7)  # -20 log10(25 / 255); clipping at black and white helps a little


@pytest.mark.parametrize("kind", ["Gaussian", "Blotches", "Film grain"])
def test_noise_on_a_grey_photo_is_as_strong_as_on_one_in_colour(kind: str, tmp_path: Path) -> None:
    def deviation(mode: str) -> float:
        Image.new(mode, (200, 200), {"L": 128, "RGB": (128,) * 3}[mode]).save(path := tmp_path / f"{mode}.png")
        settings = choices.NoiseSettings(25, 1, 50, 50, 1, 4, 16)
        return float(np.asarray(Image.open(work.add_noise(str(path), kind, settings, 0, lambda _: None).png)).std())

    assert deviation("L") == pytest.approx(25, rel=0.04)
    assert deviation("RGB") == pytest.approx(25, rel=0.04)


def test_a_seed_is_a_noise(client: Client) -> None:
    first, second, other = (Path(make_noisy(client, seed=seed)[0]).read_bytes() for seed in (1, 1, 2))
    assert first == second != other


def test_the_page_offers_every_kind_of_noise_and_no_other() -> None:
    assert list(choices.NOISES) == list(work.NOISES)
    assert {name for names in choices.NOISES.values() for name in names} == set(choices.SETTINGS)


def test_every_kind_of_noise_keeps_the_size(client: Client) -> None:
    for kind in work.NOISES:
        _, png, _, _ = client.predict(photo=handle_file(CAR), kind=kind, api_name="/add_noise")
        assert Image.open(png).size == Image.open(CAR).size, kind


def test_a_grey_photo_is_printed_in_black_and_one_in_colour_with_three_inks() -> None:
    photo = open_photo(str(CAR)).rgb
    in_colour, in_black = work.printed(photo, 4.0), work.printed(photo[:, 1:2].expand(-1, 3, -1, -1), 4.0)
    assert torch.equal(in_black[:, 0], in_black[:, 2])
    assert (in_colour - photo).flatten(2).squeeze().corrcoef().triu(1).abs().max() < 0.3


def test_denoising_comes_closer_to_the_truth(client: Client) -> None:
    noisy, _ = make_noisy(client)
    _, png, jpeg, scores = client.predict(photo=handle_file(noisy), clean_original=handle_file(CAR), api_name="/denoise")
    numbers = by_name(scores)
    assert numbers["PSNR now"] > numbers["PSNR noisy"] + 3
    assert numbers["SSIM now"] > numbers["SSIM noisy"]
    assert (Image.open(png).format, Image.open(jpeg).format) == ("PNG", "JPEG")


def test_strength_zero_changes_nothing(client: Client) -> None:
    _, png, _, _ = client.predict(photo=handle_file(CAR), strength=0, api_name="/denoise")
    assert Image.open(png).tobytes() == Image.open(CAR).tobytes()


def test_colorizing_measures_against_the_grey_picture(client: Client) -> None:
    pair, png, _, scores = client.predict(photo=handle_file(CAR), api_name="/colorize")
    assert {"PSNR grey", "PSNR now", "Gain"} <= by_name(scores).keys()
    red, green, blue = Image.open(pair[0]).split()
    assert all(ImageChops.difference(first, second).getextrema()[1] <= 1 for first, second in ((red, green), (green, blue)))
    assert Image.open(png).mode == "RGB"


def test_a_hint_colours_its_surroundings(client: Client, tmp_path: Path) -> None:
    Image.new("L", (96, 96), 140).save(tmp_path / "grey.png")
    reds = []
    for hints in ([], [[48, 48, "#d02020"]]):
        _, png, _, _ = client.predict(photo=handle_file(tmp_path / "grey.png"), hints=hints, api_name="/colorize")
        red, _, blue = Image.open(png).getpixel((48, 48))
        reds.append(red - blue)
    assert reds[1] > reds[0]


@pytest.mark.parametrize("hints", [[[500, 0, "#ffffff"]], [[0, 0, "no colour"]], [["x"]]])
def test_a_wrong_hint_is_told(client: Client, hints: list[Any]) -> None:
    with pytest.raises(Exception, match="hint"):
        client.predict(photo=handle_file(CAR), hints=hints, api_name="/colorize")


def test_more_noise_means_less_psnr(client: Client) -> None:
    plot = client.predict(examples=["Car"], seed=0, api_name="/noise_curve")
    table = json.loads(plot["plot"]) if "plot" in plot else plot
    noisy = [psnr for _, method, psnr in table["data"] if method == "Noisy"]
    assert len(noisy) == len(compare.CURVE_SIGMAS)
    assert noisy == sorted(set(noisy), reverse=True)


def test_restoring_gives_a_grey_photo_colour(client: Client) -> None:
    aged = work.aged_example(CAR)
    pair, png, _, _ = client.predict(photo=handle_file(aged), api_name="/restore")
    assert Image.open(aged).mode == "L"
    assert (Image.open(png).mode, Image.open(png).size) == ("RGB", Image.open(aged).size)
    assert Image.open(pair[0]).tobytes() == Image.open(aged).tobytes()


def test_profile_and_exif_come_back_without_the_place(client: Client, tmp_path: Path) -> None:
    photo = Image.new("RGB", (24, 16), (90, 120, 150))
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    exif.get_ifd(0x8825)[1] = "N"
    photo.save(tmp_path / "gps.jpg", exif=exif, dpi=(300, 300))
    _, _, jpeg, _ = client.predict(photo=handle_file(tmp_path / "gps.jpg"), api_name="/denoise")
    kept = Image.open(jpeg).getexif()
    assert kept[0x010F] == "A maker"
    assert not kept.get_ifd(0x8825)


def test_comparing_lists_every_method_with_its_numbers(client: Client) -> None:
    tiles, table, path = client.predict(examples=["Car"], sigma=25, api_name="/compare")
    numbers = {method: psnr for _, method, psnr, _, _ in table["data"]}
    assert len(tiles) == 1 + len(numbers) == 8
    names = {Path(tile["image"]).name for tile in tiles}
    assert names >= {"car-original.png", "car-denoised-ours.png", "car-non-local-means.png", "car-noisy-grey-restored.png"}
    assert numbers["Denoised, ours"] > numbers["Noisy"]
    assert len(Path(path).read_text().splitlines()) == 1 + len(numbers)


def test_the_colours_of_a_grey_photo_are_shown_and_not_measured(client: Client, tmp_path: Path) -> None:
    Image.open(CAR).convert("L").resize((64, 64)).save(tmp_path / "old.png")
    tiles, table, _ = client.predict(examples=[], photos=[handle_file(tmp_path / "old.png")], sigma=25, api_name="/compare")
    numbers = {method: psnr for _, method, psnr, _, _ in table["data"]}
    assert numbers["Denoised, ours"] > numbers["Noisy"]
    assert [numbers[method] for method in ("Grey", "Colorized, ours", "Noisy grey, restored")] == [None] * 3
    assert "dB" not in next(tile["caption"] for tile in tiles if tile["caption"].startswith("Colorized"))


def test_a_bad_file_costs_a_batch_nothing(client: Client, tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("Dear photographer")
    with zipfile.ZipFile(tmp_path / "album.zip", "w") as album:
        album.write(CAR, "summer/car.png")
        album.write(tmp_path / "letter.jpg", "../../letter.jpg")
        album.write(CAR, "winter/car.png")
    archive, table = client.predict(
        photos=[handle_file(tmp_path / "album.zip")], task="Denoise", suffix=".jpg", api_name="/batch"
    )
    assert zipfile.ZipFile(archive).namelist() == ["car.jpg", "car-2.jpg"]
    name, result, _ = table["data"][1]
    assert name == "letter.jpg"
    assert result.startswith("Failed: this is not a picture")


def zipped(path: Path, *names: str, method: int = zipfile.ZIP_STORED) -> Path:
    """A ZIP of one photo under several names."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.write(CAR, name)
    return path


def unchanged(picture: Picture, **_: Any) -> Image.Image:
    return picture.to_pil(picture.rgb)


def run_batch(*paths: Path) -> list[batch.BatchRow]:
    return batch.run_batch([str(path) for path in paths], "denoise", ".png", lambda _: None).rows


def test_a_bad_zip_costs_a_batch_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(batch.TASKS, "denoise", unchanged)
    monkeypatch.setattr(batch, "MAX_FILE_BYTES", 1 << 20)
    damaged = bytearray(zipped(tmp_path / "damaged.zip", "car.png", method=zipfile.ZIP_LZMA).read_bytes())
    damaged[60:100] = bytes(40)
    (tmp_path / "damaged.zip").write_bytes(damaged)
    (tmp_path / "cut.zip").write_bytes(zipped(tmp_path / "whole.zip", "car.png").read_bytes()[:-30])
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as many:
        for number in range(batch.MAX_LIST_BYTES // 250):
            many.writestr(f"{number}/{'x' * 250}", b"")
    (tmp_path / "photo.png").write_bytes(CAR.read_bytes() + (tmp_path / "whole.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "bombs.zip", "w", zipfile.ZIP_DEFLATED) as bombs:
        bombs.writestr("bomb.png", bytes(batch.MAX_FILE_BYTES + 1))
        bombs.write(tmp_path / "whole.zip", "nested.png")
        bombs.writestr("strip.png", encode_picture(Image.new("L", (65_501, 1)), ".png"))
    names = ("damaged.zip", "cut.zip", "many.zip", "bombs.zip", "swept.png", "photo.png")
    results = [result for _, result, _ in run_batch(*(tmp_path / name for name in names))]
    causes = (
        "does not give it out",
        "cannot be read",
        "too many files",
        "unpacks to more than",
        "not a picture",
        "65,500 pixels a side",
        "deleted from the server",
        "photo.png",
    )
    assert all(cause in result for cause, result in zip(causes, results, strict=True)), "\n".join(results)


def test_what_a_batch_has_done_in_time_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(picture: Picture, progress: choices.Report, in_place: bool) -> Image.Image:  # noqa: ARG001
        progress(0.0)
        return picture.to_pil(picture.rgb)

    def report(fraction: float) -> None:
        if fraction > 0.5:
            raise choices.TooSlowError(600)

    opened: list[str] = []
    monkeypatch.setattr(batch, "open_photo", lambda path: opened.append(path) or open_photo(path))
    monkeypatch.setitem(batch.TASKS, "denoise", slow)
    archive, rows = batch.run_batch([str(CAR)] * 5, "denoise", ".png", report)
    late = "Not done: the limit is 10 minutes"
    assert [row[1] for row in rows] == ["car.png", "car-2.png", "car-3.png", late, late]
    assert len(opened) == 4  # the last is not even read
    with zipfile.ZipFile(str(archive)) as file:
        assert file.namelist() == ["car.png", "car-2.png", "car-3.png"]


@pytest.mark.parametrize(("task", "suffix"), [("none", ".png"), ("denoise", ".exe")])
def test_a_batch_of_what_it_cannot_do_does_not_begin(task: str, suffix: str) -> None:
    with pytest.raises(ValueError, match=r"a batch does restore, denoise, colorize and writes \.png or \.jpg"):
        batch.run_batch([str(CAR)], task, suffix, pytest.fail)


def test_a_photo_of_a_batch_that_breaks_something_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([RuntimeError("/srv/secret: out of memory"), None])

    def fragile(picture: Picture, **_: Any) -> Image.Image:
        if (error := next(answers)) is not None:
            raise error
        return picture.to_pil(picture.rgb)

    monkeypatch.setitem(batch.TASKS, "denoise", fragile)
    archive, rows = batch.run_batch([str(CAR)] * 2, "denoise", ".png", lambda _: None)
    assert [row[1] for row in rows] == ["Failed: something broke on our side", "car.png"]
    assert archive
    assert "/srv/secret" in caplog.text


def test_a_batch_tells_what_its_format_does_not_hold(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (10, 20, 30, 40)).save(tmp_path / "logo.png")
    _, [(_, result, _)] = batch.run_batch([str(tmp_path / "logo.png")], "denoise", ".jpg", lambda _: None)
    assert result == "logo.jpg; what is transparent becomes white, since JPEG holds no transparency"


def test_a_batch_tells_what_was_left_out_of_a_file(tmp_path: Path) -> None:
    pages = [Image.new("L", (32, 32), shade) for shade in (60, 200)]
    pages[0].save(tmp_path / "album.tif", save_all=True, append_images=pages[1:])
    [(_, result, _)] = run_batch(tmp_path / "album.tif")
    assert result.startswith("album.png; showing the first of")


@pytest.mark.parametrize(("seconds", "words"), [(50, "50 seconds"), (110, "110 seconds"), (600, "10 minutes")])
def test_a_limit_is_told_as_one_says_it(seconds: int, words: str) -> None:
    assert choices.TooSlowError(seconds).limit == words
    assert pickle.loads(pickle.dumps(choices.TooSlowError(seconds))).limit == words  # noqa: S301  # it comes from a process of ours


def test_a_photo_that_no_jpeg_holds_is_refused_before_the_work(tmp_path: Path) -> None:
    Image.new("L", (65_501, 1)).save(tmp_path / "strip.png")
    with pytest.raises(ValueError, match=r"65,500 pixels a side; the photo has 65,501"):
        work.denoise_photo(str(tmp_path / "strip.png"), None, choices.DENOISER, 1.0, False, lambda _: None)


@pytest.mark.parametrize("size", [(1000, 3000), (3000, 1000), (300, 200)])
def test_a_colour_lands_where_the_brush_was(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("L", size).save(tmp_path / "photo.png")
    _, base = brush.open_canvas(str(tmp_path / "photo.png"), lambda _: None)
    hints: list[list[Any]] = []
    corners = [(0, 0), (base.shown[0] - 1, base.shown[1] - 1)]
    for x, y in corners:
        hints = brush.add_mark(hints, base, x, y, "#ff0000")
    assert hints[0] == [0, 0, "#ff0000"]
    assert all(0 <= full - 1 - at <= full / shown for at, full, shown in zip(hints[1], size, base.shown, strict=False))
    with Image.open(brush.draw_marks(base, hints)) as drawn:
        assert all(drawn.getpixel(corner) == (255, 0, 0) for corner in corners)


def test_a_dot_hides_little_of_a_tiny_photo(tmp_path: Path) -> None:
    Image.new("L", (32, 20)).save(tmp_path / "photo.png")
    _, base = brush.open_canvas(str(tmp_path / "photo.png"), lambda _: None)
    assert base.shown == (640, 400)
    hints = brush.add_mark([], base, 639, 0, "#ff0000")
    assert hints == [[31, 0, "#ff0000"]]
    with Image.open(brush.draw_marks(base, hints)) as drawn:
        marked = np.asarray(drawn).any(axis=2)
    assert marked[:20, -20:].mean() > 0.5 > 0.01 > marked.mean()


def test_the_brush_shows_no_pixel_that_is_transparent(tmp_path: Path) -> None:
    cutout = Image.new("LA", (700, 10), (90, 255))
    cutout.paste((0, 0), (0, 0, 350, 10))
    cutout.save(tmp_path / "photo.png")
    shown, _ = brush.open_canvas(str(tmp_path / "photo.png"), lambda _: None)
    with Image.open(shown) as canvas:
        assert [canvas.getpixel(at) for at in ((100, 4), (600, 4))] == [255, 90]


@pytest.mark.parametrize("place", [["9" * 1000, 5], [1.5, 2], [1], None, {"x": 1}])
def test_a_click_at_no_pixel_is_told(place: Any, tmp_path: Path) -> None:
    base = choices.Base(str(tmp_path / "photo.png"), (10, 10), (60_000, 20))
    with pytest.raises(gr.Error, match="goes to a pixel of the photo"):
        app.place_color(base, [], "#ff0000", gr.SelectData(None, {"index": place, "value": None}))


@pytest.mark.parametrize("hints", [7, [[1, 2]], [[1, 2, "rgba(1e400, 0, 0, 1)"]], [[1, 2, None]]])
def test_hints_that_are_none_are_told(hints: Any) -> None:
    with pytest.raises(ValueError, match=r'a hint is \[x, y, "#rrggbb"\]'):
        work.colorize_photo(str(CAR), choices.COLORIZER, 1.0, hints, lambda _: None)


def test_a_kind_of_noise_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match=r"the kinds of noise are Gaussian, .*; Rain is none"):
        work.add_noise(str(CAR), "Rain", choices.NoiseSettings(25, 1, 50, 50, 1, 4, 16), 0, lambda _: None)


@pytest.mark.parametrize(("size", "shrunk"), [((4, 6000), (1, 512)), ((1024, 512), (512, 256)), ((300, 512), (300, 512))])
def test_photos_of_any_shape_are_shrunk_for_the_gallery(size: tuple[int, int], shrunk: tuple[int, int]) -> None:
    assert compare._shrunk(torch.rand(1, 3, *size)).shape[2:] == shrunk


def test_only_a_folder_of_our_own_is_swept() -> None:
    assert server.FOLDER.parent == Path(TEMPORARY)
    assert os.environ["GRADIO_TEMP_DIR"] == str(server.FOLDER)


def test_the_brush_tells_its_limits(tmp_path: Path) -> None:
    base = choices.Base(str(tmp_path / "swept.png"), (10, 10), (20, 20))
    with pytest.raises(ValueError, match="200 colours are the most"):
        brush.add_mark([[0, 0, "#ff0000"]] * 200, base, 1, 1, "#ff0000")
    with pytest.raises(ValueError, match="was deleted"):
        brush.draw_marks(base, [])


def test_folders_in_a_zip_are_no_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(batch.TASKS, "denoise", unchanged)
    with zipfile.ZipFile(zipped(tmp_path / "a.zip", "trip/car.png", "trip\\more\\bus.png"), "a") as archive:
        for name in ("trip/", "trip\\more\\"):
            archive.writestr(zipfile.ZipInfo(name), b"")
    assert [name for name, _, _ in run_batch(tmp_path / "a.zip")] == ["car.png", "bus.png"]


def test_a_long_name_in_a_zip_is_cut_between_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(batch.TASKS, "denoise", unchanged)
    ((_, result, _),) = run_batch(zipped(tmp_path / "a.zip", "\N{FILM FRAMES}\N{VARIATION SELECTOR-16}" * 60 + ".png"))
    assert 100 < len(result.encode()) < 255
    assert result.endswith(".png")


def test_a_bad_picture_gets_one_plain_line_and_the_next_is_served(client: Client, tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("<script>alert(1)</script>")
    with pytest.raises(Exception, match="not a picture") as refusal:
        client.predict(photo=handle_file(tmp_path / "letter.jpg"), api_name="/denoise")
    assert "\n" not in str(refusal.value)
    assert server.FOLDER.name not in str(refusal.value)
    assert client.predict(photo=handle_file(CAR), api_name="/denoise")


def test_originals_of_another_size_are_refused(client: Client, tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "other.png")
    with pytest.raises(Exception, match="20 x 10"):
        client.predict(photo=handle_file(CAR), clean_original=handle_file(tmp_path / "other.png"), api_name="/denoise")


def documented(language: str, address: str) -> str:
    """The example in docs/api.md, for the server of the tests."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0]).replace("http://127.0.0.1:7860", address)


def test_the_documented_python_runs(address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(documented("python", address), {})  # noqa: S102  # our own text
    assert "car-denoised.png" in (output := capsys.readouterr().out)
    assert "PSNR now" in output


def test_the_documented_curl_runs(address: str) -> None:
    output = subprocess.run(["sh", "-c", documented("sh", address)], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603, S607
    assert "event: complete" in output
    assert "car-restored.png" in output


# What the server refuses


def join(address: str, data: list[Any], session: str) -> httpx.Response:
    """Queue for /restore, as the page does."""
    body = {"data": data, "fn_index": function(address, "restore"), "session_hash": session}
    return httpx.post(f"{address}/gradio_api/queue/join", json=body)


def function(address: str, name: str) -> int:
    return int(next(fn["id"] for fn in config(address)["dependencies"] if fn["api_name"] == name))


def events(address: str, joined: httpx.Response, session: str) -> list[dict[str, Any]]:
    """What the server tells the page about a job, until it is completed."""
    joined.raise_for_status()
    with httpx.stream("GET", f"{address}/gradio_api/queue/data?session_hash={session}", timeout=60) as stream:
        told = [json.loads(line.removeprefix("data:")) for line in stream.iter_lines() if line.startswith("data:")]
    return told[: 1 + next(index for index, event in enumerate(told) if event["msg"] == "process_completed")]


@cache
def config(address: str) -> dict[str, Any]:
    return dict(httpx.get(f"{address}/config").json())


MARK = {"_type": "gradio.FileData"}  # by which gradio knows a file, and without which it looks at none


@pytest.mark.parametrize(
    "file",
    [
        {"path": "http://127.0.0.1:9/a.png"},
        {"path": "data:image/png;base64,AAAA"},
        {"path": "x.png", "url": "data:image/png;base64,AAAA"},
        {"path": str(ROOT / "docs" / "result.jpg")},
        {"path": f"{server.FOLDER}/../outside.png"},
        {"path": f"{EXAMPLES[0].path.parent}-not/a.png"},
        {"path": "/" * 5000},
    ],
)
def test_no_file_is_read_but_uploads_and_examples(address: str, file: dict[str, str]) -> None:
    response = join(address, [file | {"meta": MARK}, 1, 1], "elsewhere")
    assert response.status_code == 400
    assert response.json()["detail"].startswith("Upload the picture")  # which is what the page shows


@pytest.mark.parametrize("mark", [{"meta": MARK}, {"meta": {"_type": "a picture"}}, {}])
@pytest.mark.parametrize("route", ["queue/join", "call/restore", "call/v2/restore", "run/restore", "api/restore"])
def test_no_route_reads_another_file(address: str, route: str, mark: dict[str, Any]) -> None:
    file = {"path": "/etc/passwd", **mark}
    body = {"data": [file, 1, 1], "photo": file, "fn_index": function(address, "restore"), "session_hash": "elsewhere"}
    assert httpx.post(f"{address}/gradio_api/{route}", json=body).status_code == 400


@pytest.mark.parametrize(
    "body", ["[" * 100_000, "no JSON", '{"data": [' + "1" * 5000 + "]}", '{"session_hash": "' + "x" * 65 + '"}']
)
def test_what_another_reader_may_read_otherwise_is_refused(address: str, body: str) -> None:
    assert httpx.post(f"{address}/gradio_api/queue/join", content=body).status_code == 400


def test_deep_nesting_does_not_hold_up_the_others(address: str) -> None:
    deep = "[" * 900 + ",".join("0" * 400_000) + "]" * 900
    start = time.process_time()
    httpx.post(f"{address}/gradio_api/cancel", content=deep, timeout=600)
    assert time.process_time() - start < 10  # 300 if each value is handed up through all levels


def test_endless_addresses_are_refused(address: str) -> None:
    assert httpx.get(f"{address}/gradio_api/upload_progress?upload_id={'x' * 5000}").status_code == 414


def upload(address: str, path: Path = CAR) -> str:
    """Give the server a file; gives its path there."""
    return str(httpx.post(f"{address}/gradio_api/upload", files={"files": path.read_bytes()}).json()[0])


@pytest.mark.parametrize("server", ["https://behind.a.proxy", "http://proxy:8080/for/photos"])
def test_an_upload_may_be_named_by_its_address(server: str, address: str) -> None:
    data = [{"path": f"{server}/gradio_api/file={upload(address)}", "meta": {"_type": "gradio.FileData"}}, 1, 1]
    assert events(address, join(address, data, "own"), "own")[-1]["success"]


@asynccontextmanager
async def mcp_session(address: str) -> AsyncIterator[ClientSession]:
    async with (
        streamable_http_client(f"{address}/gradio_api/mcp/") as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        yield session


@pytest.mark.parametrize("asks", [False, True])
def test_mcp_clients_get_a_picture_from_an_upload(asks: bool, address: str) -> None:
    async def tell(*_: Any) -> None:
        """Asked to tell of progress, gradio would send the pictures themselves."""

    async def call(photo: str) -> CallToolResult:
        async with mcp_session(address) as session:
            return await session.call_tool("denoise", {"photo": photo}, progress_callback=tell if asks else None)

    answer = asyncio.run(call(f"{address}/gradio_api/file={upload(address)}"))
    assert not answer.isError
    assert "PSNR" not in str(answer.content)  # the clean original is not known
    assert "Noise level, estimated" in str(answer.content)
    assert {part.type for part in answer.content} == {"text"}  # gradio would encode a large picture while all others wait
    for elsewhere in ("http://127.0.0.1:9/a.png", "data:image/png;base64,AAAA"):
        refusal = httpx.post(
            f"{address}/gradio_api/mcp/", json={"params": {"name": "denoise", "arguments": {"photo": elsewhere}}}
        )
        assert refusal.status_code == 400


def test_every_tool_tells_mcp_clients_what_it_takes(address: str) -> None:
    async def call(photo: str) -> tuple[list[Tool], CallToolResult]:
        hints = [[20, 30, "#d02020"]]
        async with mcp_session(address) as session:
            return (await session.list_tools()).tools, await session.call_tool("colorize", {"photo": photo, "hints": hints})

    tools, answer = asyncio.run(call(f"{address}/gradio_api/file={upload(address)}"))
    assert {tool.name for tool in tools} > {"restore", "denoise", "colorize", "add_noise"}
    for tool in tools:
        Draft202012Validator.check_schema(tool.inputSchema)
    assert not answer.isError, answer.content


def test_bodies_are_bounded(address: str) -> None:
    for path, limit in (("/gradio_api/queue/join", server.MAX_BODY_BYTES), (server.UPLOAD, server.MAX_UPLOAD_BYTES)):
        connection = http.client.HTTPConnection(address.removeprefix("http://"))
        connection.putrequest("POST", path)
        connection.putheader("content-length", str(limit + 1))
        connection.endheaders()
        assert connection.getresponse().status == 413  # before a byte of the body


def test_bodies_that_hide_their_size_are_bounded(address: str) -> None:
    chunks = (b" " * (1 << 16) for _ in range(1 + (server.MAX_BODY_BYTES >> 16)))
    refused = httpx.post(f"{address}/gradio_api/queue/join", content=chunks)
    assert refused.status_code == 413
    assert "over 1 MB" in refused.json()["detail"]


def test_a_chunked_upload_is_bounded_too(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_UPLOAD_BYTES", 1 << 20)
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    chunks = (head, *(bytes(1 << 16) for _ in range(20)))
    refused = httpx.post(
        address + server.UPLOAD, content=iter(chunks), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert refused.status_code == 413


def test_a_full_disk_takes_no_uploads(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MIN_FREE_BYTES", 1 << 62)
    refused = httpx.post(address + server.UPLOAD, files={"files": CAR.read_bytes()})
    assert (refused.status_code, "try again" in refused.text) == (503, True)


def test_uploads_go_on_where_the_folder_has_been_cleaned_away(address: str) -> None:
    shutil.rmtree(server.FOLDER)
    assert Path(upload(address)).is_file()
    assert server.FOLDER.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=http://127.0.0.1",
        "/gradio_api/file/http://127.0.0.1",
        "/gradio_api/proxy=http://127.0.0.1",
        "/gradio_api/component_server",
        "/gradio_api/process_recording",
        "/gradio_api/deep_link",
        "/gradio_api/vibe-edit/",
        "/gradio_api/undo-vibe-edit/",
        "/monitoring",
    ],
)
def test_closed_doors(address: str, path: str) -> None:
    assert httpx.get(address + path).status_code == 403


def test_endpoints_cannot_be_called_past_the_queue(address: str) -> None:
    assert httpx.post(f"{address}/gradio_api/run/restore", json={"data": [None, 1, 1]}).status_code == 404


def test_an_upload_never_comes_back_as_a_page(address: str) -> None:
    for name in ("page.html", "drawing.svg"):
        upload = {"files": (name, b"<svg onload='alert(1)'/>", "image/png")}
        path = httpx.post(f"{address}/gradio_api/upload", files=upload).json()[0]
        headers = httpx.get(f"{address}/gradio_api/file={path}").headers
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"].startswith("attachment")
        assert headers["x-content-type-options"] == "nosniff"


# Visitors


def test_one_inference_at_a_time_and_nobody_gets_anothers_picture(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most = 0, 0
    count = threading.Lock()
    original = work.restore.denoise

    def counted(*arguments: Any, **options: Any) -> Image.Image:
        nonlocal running, most
        with count:
            running += 1
            most = max(most, running)
        try:
            return original(*arguments, **options)
        finally:
            with count:
                running -= 1

    monkeypatch.setattr(work.restore, "denoise", counted)

    def visit(shade: int) -> int:
        path = tmp_path / f"{shade}.png"
        Image.new("RGB", (64, 64), (shade,) * 3).save(path)
        _, png, _, _ = Client(address, verbose=False).predict(photo=handle_file(path), strength=0, api_name="/denoise")
        return int(Image.open(png).getpixel((5, 5))[0])

    shades = [20, 60, 100, 140, 180, 220]
    with ThreadPoolExecutor(len(shades)) as visitors:
        assert list(visitors.map(visit, shades)) == shades
    assert most == 1


def test_a_cancelled_job_frees_the_worker(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Endless()
    with monkeypatch.context() as patch:
        patch.setattr(work.restore, "denoise", endless)
        job = client.submit(photo=handle_file(CAR), api_name="/denoise")
        assert endless.started.wait(30)
        job.cancel()
        assert endless.stopped.wait(10)
    assert client.predict(photo=handle_file(CAR), api_name="/denoise")


def test_a_job_whose_result_nobody_waits_for_is_stopped(address: str, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Endless()
    (number,) = (each["id"] for each in client.config["dependencies"] if each["api_name"] == "denoise")
    photo = {"path": upload(address), "meta": {"_type": "gradio.FileData"}}
    call = {"data": [photo, choices.DENOISER, 1.0, False, None], "fn_index": number, "session_hash": "one"}
    with monkeypatch.context() as patch:
        patch.setattr(work.restore, "denoise", endless)
        httpx.post(f"{address}/gradio_api/queue/join", json=call).raise_for_status()
        for session in ("another", "one"):
            assert not endless.stopped.wait(0.5)
            with httpx.stream("GET", f"{address}/gradio_api/queue/data?session_hash={session}"):
                assert endless.started.wait(30)
        assert endless.stopped.wait(10)
    assert client.predict(photo=handle_file(CAR), api_name="/denoise")


def test_a_job_whose_caller_has_left_is_stopped(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    endless, call = Endless(), f"{address}/gradio_api/call/denoise"
    photo = {"path": upload(address), "meta": {"_type": "gradio.FileData"}}
    monkeypatch.setattr(work.restore, "denoise", endless)
    event = httpx.post(call, json={"data": [photo, choices.DENOISER, 1.0, False, None]}).json()["event_id"]
    with httpx.stream("GET", f"{call}/{event}"):
        assert endless.started.wait(30)
        assert not endless.stopped.wait(0.5)
    assert endless.stopped.wait(10)


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def test_a_job_that_takes_too_long_is_stopped(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "MAX_JOB_SECONDS", -1)
    with pytest.raises(AppError, match="Try a smaller picture"):
        client.predict(photo=handle_file(CAR), api_name="/denoise")


def test_a_job_that_is_done_at_the_limit_is_saved(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def last_moment(picture: Picture, *_: Any, **__: Any) -> Image.Image:
        monkeypatch.setattr(jobs, "MAX_JOB_SECONDS", -1)
        return picture.to_pil(picture.rgb)

    with monkeypatch.context() as patch:
        patch.setattr(work.restore, "denoise", last_moment)
        assert client.predict(photo=handle_file(CAR), api_name="/denoise")


def test_the_time_left_is_told_until_there_is_none() -> None:
    assert [jobs._time_left(*at) for at in ((0.5, 0.5), (0.5, 20), (0.1, 60), (1.0, 20))] == [
        "Working",
        "About 20 s left",
        "About 9 min left",
        "Measuring and saving",
    ]


def test_what_the_lender_of_a_gpu_says_is_passed_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work.restore, "denoise", failing(gr.Error("You have used up your GPU quota.")))
    with pytest.raises(AppError, match="used up your GPU quota"):
        client.predict(photo=handle_file(CAR), api_name="/denoise")


@pytest.mark.parametrize(("shade", "line"), [((90, 90, 90), work.GIVEN_COLOR), ((40, 90, 200), work.HAS_COLOR)])
def test_restore_says_what_it_took_the_photo_for(shade: tuple[int, int, int], line: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pixels = np.clip(shade + draw.normal(0, 10, (48, 64, 1)) + np.linspace(-40, 40, 64)[:, None], 0, 255)
    if line == work.HAS_COLOR:
        pixels[:24] = pixels[:24, :, ::-1]
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photo.png")
    scores = work.restore_photo(str(tmp_path / "photo.png"), 1.0, 1.0, lambda _: None).scores
    assert [score["value"] for score in scores if score["name"] == "Note"] == [line]


def test_the_brush_stays_empty_where_the_photo_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("Dear photographer")
    assert brush.open_canvas(str(tmp_path / "letter.jpg"), lambda _: None) == (None, None)


def test_what_breaks_inside_stays_inside(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(work.restore, "denoise", failing(RuntimeError("/srv/secret/path")))
        with pytest.raises(AppError, match="Something broke on our side") as told:
            client.predict(photo=handle_file(CAR), api_name="/denoise")
    assert "secret" not in str(told.value)
    assert "/srv/secret/path" in caplog.text  # the log has it
    assert client.predict(photo=handle_file(CAR), api_name="/denoise")


def test_what_an_error_quotes_is_no_html(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work.restore, "denoise", failing(ValueError("<img src=x onerror=alert(1)>")))
    with pytest.raises(AppError, match="&lt;img src=x onerror"):
        client.predict(photo=handle_file(CAR), api_name="/denoise")
    with pytest.raises(AppError, match=r'is \[x, y, "#rrggbb"\]'):  # as it is for who reads it elsewhere
        client.predict(photo=handle_file(CAR), hints=[[1, 2]], api_name="/colorize")


def test_a_file_that_is_no_photo_costs_a_batch_nothing_else(client: Client, tmp_path: Path) -> None:
    (tmp_path / "Thumbs.db").write_bytes(b"no picture")
    archive, table = client.predict(
        photos=[handle_file(tmp_path / "Thumbs.db"), handle_file(CAR)], task="Denoise", suffix=".png", api_name="/batch"
    )
    (name, cause, _), (_, result, _) = table["data"]
    assert name == "Thumbs.db"
    assert cause.startswith("Failed: this is not a picture of a format that is read here")
    assert result == "car.png"
    assert zipfile.ZipFile(archive).namelist() == ["car.png"]


def test_whatever_gradio_makes_anew_hands_over_files_as_they_came() -> None:
    photo, other = ImageData(path="a.heic"), ImageData(path="b.heic")
    assert gr.Image().preprocess(photo) == "a.heic"
    assert gr.Image().preprocess(None) is None
    assert gr.ImageSlider().preprocess(SliderData(root=(photo, other))) == ["a.heic", "b.heic"]
    assert gr.ImageSlider().preprocess(SliderData(root=(photo, None))) is None
    files = ListFiles(root=[FileData(path="scan")])
    assert gr.File(file_types=[".png"], file_count="multiple").preprocess(files) == ["scan"]


def test_the_brush_keeps_its_colours_on_the_same_photo_alone() -> None:
    marks = [[1, 2, "#ff0000"]]
    *_, kept = app.lay_out("a.png", True, "a.png", marks)
    assert kept == marks
    assert app.lay_out("b.png", True, "a.png", marks) == ("b.png", None, None, [], [])
    assert app.lay_out(None, True, "a.png", marks) == (None, None, None, [], [])


def test_a_full_queue_says_so(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def wait(*_: Any) -> None:
        release.wait(60)
        raise ValueError("done")

    monkeypatch.setattr(work, "restore_photo", wait)
    answers = [join(address, [None, 1, 1], f"visitor-{number}") for number in range(50)]
    release.set()
    accepted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(accepted) in (jobs.QUEUE_SIZE, jobs.QUEUE_SIZE + 1)  # those that wait, and one at work if it has begun
    assert len(accepted) + len(refused) == 50
    assert all("full" in answer.text for answer in refused)


def test_what_is_swept_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "kept.png").touch()
    known = {str(tmp_path / "kept.png"), str(tmp_path / "gone.png")}
    server.forget_what_is_gone([known, set()])
    assert known == {str(tmp_path / "kept.png")}


def test_the_sweep_leaves_nothing_old(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "picture.png").write_bytes(b"x")
    server.sweep(tmp_path, keep_seconds=60)
    assert (tmp_path / "full" / "picture.png").exists()
    server.sweep(tmp_path, keep_seconds=-60)
    server.sweep(tmp_path, keep_seconds=-60)
    assert not list(tmp_path.iterdir())
