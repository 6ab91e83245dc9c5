"""One line an error, nothing left behind, trees kept, done work skipped."""

import contextlib
import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corpus import png
from PIL import Image

from restore import __main__ as command_line
from restore import colorize, folder, restore
from restore.__main__ import main
from restore.files import folds_case
from restore.folder import Job, Plan, UsageError, plan
from restore.images import open_picture
from restore.models.colorizer import Colorizer
from restore.models.denoiser import Denoiser

Run = Callable[..., int]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of two small networks, not trained."""
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("models")
    Denoiser(widths=(4, 8), depths=(1, 1)).save_pretrained(folder / "denoiser")
    Colorizer(widths=(4, 8), depths=(1, 1), shuffle=2, work_size=16).save_pretrained(folder / "colorizer")
    return {name: str(folder / name) for name in ("denoiser", "colorizer")}


@pytest.fixture
def run(models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with the small networks, where `album` holds a tree of pictures and one that is none."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.JPG", "more/c.png", "more/deep/d.gif"):
        (tmp_path / "album" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").resize((20, 14)).convert("RGB").save(tmp_path / "album" / name)
    (tmp_path / "album/notes.txt").write_text("not a picture, and not named like one")
    names = {"denoise": {"--model": "denoiser"}, "colorize": {"--model": "colorizer"}}
    names["restore"] = {"--denoiser": "denoiser", "--colorizer": "colorizer"}

    def command(task: str, *arguments: str) -> int:
        return main([task, *arguments, *(text for flag, name in names[task].items() for text in (flag, models[name]))])

    return command


def files_below(folder: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("task", ["denoise", "colorize", "restore"])
def test_one_file_to_one_file(run: Run, task: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(task, "album/a.png", "-o", "out.png") == 0
    assert Image.open("out.png").size == (20, 14)
    assert capfd.readouterr() == ("", "")


def test_the_settings_arrive(run: Run, models: dict[str, str]) -> None:
    assert run("denoise", "album/a.png", "-o", "same.png", "--strength", "0") == 0
    assert torch.equal(open_picture("same.png").rgb, open_picture("album/a.png").rgb)
    assert run("denoise", "album/a.png", "-o", "mean.png", "--self-ensemble") == 0
    assert run("denoise", "album/a.png", "-o", "plain.png") == 0
    assert Path("mean.png").read_bytes() != Path("plain.png").read_bytes()
    colour = ("--vividness", "0", "--hint", "3,4,#ff0000", "--hint", "9,9,blue")
    settings: dict[str, Any] = {"vividness": 0, "hints": [(3, 4, (255, 0, 0)), (9, 9, (0, 0, 255))]}
    assert run("colorize", "album/a.png", "-o", "safe.png", *colour) == 0
    expected = colorize("album/a.png", models["colorizer"], **settings)
    assert Image.open("safe.png").tobytes() == expected.tobytes()
    assert run("restore", "album/a.png", "-o", "all.png", "--strength", "0.5", "--self-ensemble", *colour) == 0
    both = {"denoiser": models["denoiser"], "colorizer": models["colorizer"], "strength": 0.5, "self_ensemble": True}
    assert Image.open("all.png").tobytes() == restore("album/a.png", **both, **settings).tobytes()


def test_the_place_goes_unless_it_is_wanted(run: Run) -> None:
    tags = Image.Exif()
    tags[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0)}
    Path("trip").mkdir()
    Image.new("RGB", (9, 9)).save("trip/a.jpg", exif=tags)
    for output, flags in (("without", []), ("with", ["--keep-gps"])):
        assert run("denoise", "trip", "-o", output, *flags) == 0
        assert bool(Image.open(f"{output}/a.jpg").getexif().get_ifd(0x8825)) == bool(flags)


def test_a_folder_keeps_its_tree(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("denoise", "album", "-o", "out") == 0
    assert files_below("out") == {"a.png", "b.JPG", "more/c.png", "more/deep/d.gif.png"}
    assert capfd.readouterr().err.splitlines()[-1] == "4 done, 0 skipped, 0 failed"


def test_what_is_left_out_is_told_of(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    Path("album/more/up").symlink_to("..")
    Path("album/more/like a.png").symlink_to("..")
    Path("album/itself.png").symlink_to("itself.png")
    Path("album/gone.jpg").symlink_to("/on a disk/that is/elsewhere.jpg")
    os.mkfifo("album/pipe.png")
    Path("album/scan").write_bytes(Path("album/a.png").read_bytes())
    assert run("denoise", "album", "-o", "out") == 1
    assert files_below("out") == {"a.png", "b.JPG", "more/c.png", "more/deep/d.gif.png", "failures.csv"}
    lines = capfd.readouterr().err.splitlines()
    assert "note: album: notes.txt and the like, 2 in all, are not named like pictures" in lines
    assert {f"note: album/more/{name}: a link to a folder is not followed" for name in ("up", "like a.png")} <= set(lines)
    assert {line.split(": ")[1] for line in lines if line.startswith("error")} == {
        "album/itself.png",
        "album/gone.jpg",
        "album/pipe.png",
    }


def test_a_folder_that_cannot_be_read_is_told_of(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def locked(path: Any) -> Any:
        if str(path).endswith("deep"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    assert run("denoise", "album", "-o", "out") == 1
    assert "error: album/more/deep: Permission denied" in capfd.readouterr().err
    assert Path("out/failures.csv").read_text().splitlines()[1:] == ["album/more/deep,Permission denied"]
    assert files_below("out") - {"failures.csv"} == {"a.png", "b.JPG", "more/c.png"}


def test_a_folder_may_be_restored_into_the_one_around_it(run: Run) -> None:
    assert run("denoise", "album/more", "-o", "album") == 0
    assert {"c.png", "deep/d.gif.png", "more/c.png"} <= files_below("album")


@pytest.mark.parametrize(
    ("arguments", "place"), [(("album", "-o", "out"), "out"), (("album/a.png", "-o", "out/below/a.png"), "out/below")]
)
def test_an_output_that_cannot_be_written_is_told_before_the_work(
    run: Run, arguments: tuple[str, ...], place: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out").write_text("a file")
    monkeypatch.setattr("restore.pipeline.denoise_tensor", None)
    assert run("denoise", *arguments) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("note: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {place}: no result can be written there: ")
    assert Path("out").read_text() == "a file"


def test_a_list_of_failures_that_cannot_be_written_costs_no_summary(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("restore.folder._write_report", full)
    Path("album/bad.png").touch()
    assert run("denoise", "album", "-o", "out") == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[-2:] == [
        "error: out/failures.csv: the list of failures cannot be written: No space left on device",
        "4 done, 0 skipped, 1 failed",
    ]


def test_names_are_kept_whatever_they_are_and_one_too_long_fails_alone(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    picture = Path("album/a.png").read_bytes()
    kept = {"\N{CYRILLIC CAPITAL LETTER YA} \N{FILM FRAMES}.png", "x" * 251 + ".png", "-o.png", "%00 $(x).png", "a.jpg", "a.png"}
    for name in (*kept, "y" * 251 + ".gif"):  # the last becomes .gif.png
        Path("many", name).parent.mkdir(exist_ok=True)
        Path("many", name).write_bytes(picture)
    assert run("denoise", "many", "-o", "out") == 1
    assert files_below("out") == kept | {"failures.csv"}
    assert "6 done, 0 skipped, 1 failed" in capfd.readouterr().err


def test_a_file_that_vanishes_costs_one_line(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(*arguments: Any, **options: Any) -> Plan:
        planned = plan(*arguments, **options)
        Path("album/a.png").unlink()
        return planned

    monkeypatch.setattr("restore.__main__.plan", vanish)
    assert run("denoise", "album", "-o", "out") == 1
    assert "error: album/a.png: there is no 'album/a.png'" in capfd.readouterr().err


def test_several_inputs_keep_their_names(run: Run) -> None:
    assert run("denoise", "album/more", "album/a.png", "-o", "out") == 0
    assert files_below("out") == {"a.png", "more/c.png", "more/deep/d.gif.png"}


def test_a_folder_above_gives_its_own_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("album/more/deep")
    assert run("denoise", "..", "../../a.png", ".", "-o", "out") == 0
    assert files_below("out") == {"a.png", "more/c.png", "more/deep/d.gif.png", "deep/d.gif.png"}


def test_a_link_in_a_circle_fails_alone(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    Path("loop.png").symlink_to("loop.png")
    assert run("denoise", "loop.png", "album/a.png", "-o", "out") == 1
    assert "error: loop.png: " in capfd.readouterr().err
    assert files_below("out") == {"a.png", "failures.csv"}


def test_an_output_within_the_input_is_not_read_again(run: Run) -> None:
    assert run("denoise", "album", "-o", "album/out") == 0
    done = files_below("album")
    assert run("denoise", "album", "-o", "album/out", "--overwrite") == 0
    assert files_below("album") == done


def test_what_is_done_is_skipped_in_a_folder(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("denoise", "album", "-o", "out") == 0
    before = Path("out/a.png").read_bytes()
    Path("out/b.JPG").unlink()
    assert run("denoise", "album", "-o", "out", "--strength", "0") == 0
    assert capfd.readouterr().err.splitlines()[-1] == "1 done, 3 skipped, 0 failed"
    assert Path("out/a.png").read_bytes() == before
    os.utime("album/a.png")  # as if it had been worked on
    assert run("denoise", "album", "-o", "out", "--strength", "0") == 0
    assert Path("out/a.png").read_bytes() != before
    lines = capfd.readouterr().err.splitlines()
    assert "note: 3 are in out already; --overwrite does them again" in lines
    assert lines[-1] == "1 done, 3 skipped, 0 failed"
    before = Path("out/more/c.png").read_bytes()
    assert run("denoise", "album", "-o", "out", "--strength", "0", "--overwrite") == 0
    assert Path("out/more/c.png").read_bytes() != before


def test_a_file_named_is_always_written(run: Run) -> None:
    assert run("denoise", "album/a.png", "-o", "out.png") == 0
    before = Path("out.png").read_bytes()
    assert run("denoise", "album/a.png", "-o", "out.png", "--strength", "0") == 0
    assert Path("out.png").read_bytes() != before
    for strength in ("1", "0"):
        assert run("denoise", "album/a.png", "-o", "folder.d/", "--strength", strength) == 0
    assert Path("folder.d/a.png").read_bytes() == Path("out.png").read_bytes()


@pytest.mark.parametrize("inputs", [["album"], ["album/a.png", "album/b.JPG"]])
def test_several_pictures_do_not_go_into_a_folder_named_like_one(
    inputs: list[str], run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("denoise", *inputs, "-o", "clean.png") == 2
    assert "several go into a folder; clean.png/ names one" in capfd.readouterr().err
    assert run("denoise", *inputs, "-o", "clean.png/") == 0
    assert "a.png" in files_below("clean.png")


def test_a_folder_without_pictures_fails_alone(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert run("denoise", "album", "empty", "-o", "out") == 1
    assert "error: empty: the folder holds no picture" in capfd.readouterr().err
    assert len(files_below("out/album")) == 4


def test_a_picture_too_large_for_its_format_is_refused_before_the_work(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (16_384, 1)).save("wide.png")
    monkeypatch.setattr("restore.pipeline.denoise_tensor", None)
    assert run("denoise", "wide.png", "-o", "wide.webp") == 2
    assert "error: wide.png: cannot write 16,384 x 1 pixels as WebP: the limit is 16,383 a side" in capfd.readouterr().err


def test_what_a_format_does_not_hold_is_told_of(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    Path("odd").mkdir()
    Image.new("RGBA", (9, 9)).save("odd/clear.jpg", "PNG")
    Image.fromarray(np.full((9, 9), 3000, np.uint16)).save("odd/deep.jpg", "PNG")
    assert run("denoise", "odd", "-o", "out") == 0
    lines = capfd.readouterr().err
    assert "note: odd/clear.jpg: what is transparent becomes white, since JPEG holds no transparency" in lines
    assert "note: odd/deep.jpg: its depth becomes 8 bits, since JPEG holds no more" in lines


def write_bad_file(kind: str) -> str:
    """Write a file that is no good picture, and give its name."""
    name = f"{kind}.png" if kind == "huge" else f"{kind}.jpg"
    if kind == "text":
        Path(name).write_text("hello")
    elif kind == "empty":
        Path(name).touch()
    elif kind == "truncated":
        Path(name).write_bytes(Path("album/b.JPG").read_bytes()[:-200])
    elif kind == "huge":
        Path(name).write_bytes(png(20_000, 20_000, 1, 0, bytes(20_000 * 2501)))
    return name


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("text", "this is not a picture"),
        ("empty", "the file is empty"),
        ("truncated", "truncated"),
        ("huge", "20,000 x 20,000 pixels.* limit is 100"),
        ("missing", "there is no"),
    ],
)
@pytest.mark.parametrize("task", ["denoise", "restore"])
def test_a_bad_file_costs_one_line(run: Run, task: str, kind: str, cause: str, capfd: pytest.CaptureFixture[str]) -> None:
    name = write_bad_file(kind)
    before = files_below(".")
    assert run(task, name, "-o", "out/out.png") == 2
    output, errors = capfd.readouterr()
    assert output == ""
    assert re.fullmatch(f"error: {name}: .*{cause}.*\n", errors)
    assert files_below(".") == before
    assert not Path("out").exists()


def test_one_bad_file_of_several_costs_only_itself(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    Path("album/bad.jpg").write_text("hello")
    assert run("denoise", "album", "-o", "out") == 1
    errors = capfd.readouterr().err.splitlines()
    assert errors[-2].startswith("error: album/bad.jpg: this is not a picture")
    assert errors[-1] == "4 done, 0 skipped, 1 failed"
    assert files_below("out") == {"a.png", "b.JPG", "more/c.png", "more/deep/d.gif.png", "failures.csv"}


def test_a_name_of_several_lines_costs_one(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    Path("two\nlines\x1b.png").touch()
    assert run("denoise", "two\nlines\x1b.png", "-o", "out.png") == 2
    assert capfd.readouterr().err == "error: two lines .png: the file is empty\n"


def test_a_list_that_is_not_ours_is_left_by_every_process(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    Path("mine").mkdir()
    Path("mine/failures-1.csv").write_text("of the heart\n")
    assert run("denoise", "album", "-o", "mine") == 2
    assert "mine/failures-1.csv: this file is not a list of failures" in capfd.readouterr().err
    assert files_below("mine") == {"failures-1.csv"}


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["album/a.png", "-o", "out.xyz"], "out.xyz: the suffix must be one of .jpg"),
        (["album/a.png", "-o", "letter"], "letter: the suffix must be one of .jpg"),
        (["album", "-o", "mine"], "mine/failures.csv: this file is not a list of failures"),
        (["album/a.png", "-o", "album/a.png"], "take the place of an input"),
        (["album", "-o", "album"], "take the place of an input"),
        (["album/a.png", "album/../album/a.png", "-o", "out"], "the result of both"),
        (["nothing", "-o", "out"], "nothing: the folder holds no picture"),
    ],
)
def test_a_senseless_command_costs_one_line(
    run: Run, arguments: list[str], cause: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("nothing").mkdir()
    Path("letter").touch()
    Path("mine").mkdir()
    Path("mine/failures.csv").write_text("of the heart\n")
    before = files_below(".")
    assert run("denoise", *arguments) == 2
    errors = capfd.readouterr().err
    assert re.fullmatch(f"error: .*{cause}.*\n", errors)
    assert files_below(".") == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--strength", "1.6"],
        ["--strength", "much"],
        ["--vividness", "-1"],
        ["--hint", "1,2"],
        ["--hint", "1,2,#xyz"],
        ["--max-megapixels", "many"],
        ["--max-megapixels", "inf"],
        ["--processes", "0"],
        ["--processes", "two"],
    ],
)
def test_a_bad_setting_is_refused_by_name(run: Run, arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run("restore", "album/a.png", "-o", "out.png", *arguments)
    assert exit_info.value.code == 2
    assert f"error: argument {arguments[0]}" in capfd.readouterr().err


def test_a_hint_outside_the_picture_costs_one_line(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("colorize", "album/a.png", "-o", "out.png", "--hint", "20,3,red") == 2
    assert capfd.readouterr().err == "error: album/a.png: the hint at x = 20, y = 3 lies outside the picture of 20 x 14 pixels\n"


def test_a_picture_beyond_the_limit_is_refused(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("denoise", "album/a.png", "-o", "out.png", "--max-megapixels", "0.0002") == 2
    assert "20 x 14 pixels" in capfd.readouterr().err


def test_unknown_weights_cost_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["denoise", "a.png", "-o", str(tmp_path / "out.png"), "--model", "denoiser-typo"]) == 2
    assert re.fullmatch("error: .*denoiser-typo.*\n", capfd.readouterr().err)


def test_what_the_visitor_should_know_is_said(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    frames = [Image.new("L", (9, 9), level) for level in (0, 90, 180)]
    frames[0].save("animated.gif", save_all=True, append_images=frames[1:])
    assert run("denoise", "animated.gif", "-o", "out.png") == 0
    assert re.fullmatch("note: animated.gif: showing the first of .*frames\n", capfd.readouterr().err)


def test_ctrl_c_stops_cleanly(run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    forward = Denoiser.forward
    calls = []

    def interrupted(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return forward(*arguments)

    monkeypatch.setattr(Denoiser, "forward", interrupted)
    assert run("denoise", "album", "-o", "out") == 130
    assert capfd.readouterr().err.splitlines()[-1] == "stopped: 1 of 4 done"
    assert files_below("out") == {"a.png"}


def test_ctrl_c_before_the_first_picture_is_clean_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("restore.__main__.plan", interrupted)
    assert run("denoise", "album", "-o", "out") == 130
    assert capfd.readouterr().err == "stopped\n"


@pytest.mark.parametrize("folds", [True, False])
def test_names_that_differ_in_case_alone_clash_only_where_the_disk_folds_it(
    folds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [Job(Path("1.png"), tmp_path / "out/a.png"), Job(Path("2.png"), tmp_path / "out/A.png")]
    monkeypatch.setattr(folder, "folds_case", lambda _: folds)
    monkeypatch.setattr(folder, "_plan_input", lambda *_: Plan(jobs, []))
    with pytest.raises(UsageError, match=r"a\.png: .*1\.png and 2\.png") if folds else contextlib.nullcontext():
        assert plan([tmp_path], tmp_path / "out").jobs == jobs


def test_whether_a_disk_folds_case_is_seen_and_leaves_nothing(tmp_path: Path) -> None:
    folds = folds_case(tmp_path / "not/yet/there")
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").touch()
    assert folds == (tmp_path / "A").exists()


def test_plan_pairs_every_picture_with_its_result(tmp_path: Path) -> None:
    for name in ("x/1.png", "y/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    planned = plan([tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    assert planned.jobs == [Job(tmp_path / f"{name}/1.png", tmp_path / f"out/{name}/1.png") for name in "xy"]
    with pytest.raises(UsageError, match="of both"):
        plan([tmp_path / "x/1.png", tmp_path / "y/1.png"], tmp_path / "out")


def test_windows_gets_no_more_processes_than_python_holds_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 128)
    assert command_line._processes(0) == 128
    monkeypatch.setattr(command_line.sys, "platform", "win32")
    assert [command_line._processes(wanted) for wanted in (0, 64, 4)] == [61, 61, 4]


@pytest.mark.parametrize(("flags", "is_told"), [(["a.png"], False), (["--dataset", "user/set"], True)])
def test_only_data_sets_ask_for_what_they_need(
    flags: list[str], is_told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> int:
        raise ImportError("import of something failed")

    for name in ("_restore_files", "_restore_dataset"):
        monkeypatch.setattr(command_line, name, fail)
    assert main(["denoise", *flags, "-o", "out"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: import of something failed")
    assert (".[datasets]" in told) == is_told


@pytest.mark.usefixtures("run")
def test_it_runs_as_a_module(models: dict[str, str], tmp_path: Path) -> None:
    """As a process, with a file that fails and one that does not."""
    Path("bad.jpg").touch()
    command = [sys.executable, "-m", "restore", "denoise", "bad.jpg", "album/a.png", "-o", "out", "--model", models["denoiser"]]
    environment: dict[str, Any] = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)  # noqa: S603
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: bad.jpg: the file is empty\n1 done, 0 skipped, 1 failed\n"
    assert files_below("out") == {"a.png", "failures.csv"}
