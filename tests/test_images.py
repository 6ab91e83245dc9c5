"""The door's laws: what comes in goes out as it came, and what is no picture is refused in one line."""

import errno
import io
import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from corpus import (
    EITHER,
    RESTORES,
    chunk,
    cmyk_profile,
    corpus,
    deep,
    display_p3,
    encode,
    exif,
    grey_profile,
    grey_tiff,
    photo,
    png,
    samples,
    tiff,
)
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps
from PIL.TiffImagePlugin import IFDRational

from restore.images import MAX_BYTES, WRITERS, ImageError, Picture, encode_picture, lost_in, open_picture, save_picture
from restore.images.metadata import StoredText


def there_and_back(source: bytes | Image.Image) -> Image.Image:
    picture = open_picture(source)
    return picture.to_pil(picture.rgb)


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image).astype(np.float64)


def red_square(profile: bytes, color: tuple[int, int, int] = (255, 0, 0)) -> bytes:
    return encode(Image.new("RGB", (8, 8), color), "PNG", icc_profile=profile)


# There and back


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_eight_bits_come_back_to_the_bit(mode: str, kind: str) -> None:
    original = photo(mode)
    result = there_and_back(encode(original, kind))
    assert result.mode == mode
    assert np.array_equal(pixels(result), pixels(original))


@pytest.mark.parametrize("content", [encode(deep(), "PNG"), encode(deep(), "TIFF"), corpus()["grey-16-big-endian.tif"][0]])
def test_sixteen_bit_grey_comes_back_to_the_level(content: bytes) -> None:
    result = there_and_back(content)
    assert result.mode == "I;16"
    assert np.array_equal(pixels(result), pixels(deep()))


def test_a_tiff_of_deep_planes_is_read_or_refused_but_never_torn() -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (3, 20, 30), dtype=np.uint16)
    for compression in ("zlib", None):
        file = io.BytesIO()
        tifffile.imwrite(file, levels, photometric="rgb", planarconfig="separate", compression=compression)
        if compression:
            rgb = open_picture(file.getvalue()).rgb[0].numpy()
            assert np.abs(rgb - levels / 65535).max() < 1 / 255
        else:
            with pytest.raises(ImageError, match="planes of this uncompressed 16-bit TIFF cannot be read"):
                open_picture(file.getvalue())


def test_a_tiff_whose_white_is_zero_is_inverted() -> None:
    values = np.arange(48, dtype="<u2") * 1000
    header = {256: (8,), 257: (6,), 258: (16,), 262: (0,), 277: (1,), 278: (6,)}
    result = there_and_back(tiff(header, values.tobytes()))
    assert np.array_equal(pixels(result).ravel(), 65535 - values)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 7), (0, 255), (-1e30, 1e30)])
def test_float_grey_keeps_its_range(low: float, high: float) -> None:
    values = np.linspace(low, high, 48 * 36, dtype=np.float32).reshape(36, 48)
    picture = open_picture(encode(Image.fromarray(values), "TIFF"))
    assert picture.rgb.min() == 0
    assert picture.rgb.max() == 1
    result = picture.to_pil(picture.rgb)
    assert result.mode == "F"
    np.testing.assert_allclose(np.asarray(result), values, atol=(high - low) * 1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_the_brightness_of_float_grey_is_not_that_of_its_brightest_pixel(kind: type) -> None:
    values = np.full((36, 48), 500, kind)
    values[0, 0] = 1000  # as noise is
    picture = open_picture(encode(Image.fromarray(values), "TIFF"))
    result = picture.to_pil(picture.rgb.clamp(max=0.6))
    assert open_picture(result).rgb.mean() == pytest.approx(0.5, abs=1e-3)
    assert open_picture(encode_picture(result, ".png")).rgb.mean() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("bits", "color", "row", "clear"),
    [(2, 0, b"\x1b", [3]), (4, 0, b"\x01\x2f", [15]), (16, 2, bytes(range(24)), [0x1213, 0x1415, 0x1617])],
)
def test_what_is_transparent_in_a_png_of_any_depth_stays_so(bits: int, color: int, row: bytes, clear: list[int]) -> None:
    source = png(4, 1, bits, color, b"\0" + row, chunk(b"tRNS", b"".join(level.to_bytes(2) for level in clear)))
    alpha = there_and_back(source).getchannel("A")
    assert np.array_equal(np.asarray(alpha), [[255, 255, 255, 0]])


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr", "HSV", "RGBX", "PA", "RGBa", "La"])
def test_other_modes_come_back_as_pillow_converts_them(mode: str) -> None:
    source = (
        photo("RGBA")
        .convert("LA" if mode == "La" else "P" if mode == "PA" else "RGB" if mode != "RGBa" else "RGBA")
        .convert(mode)
    )
    nearest = {"1": "L", "PA": "RGBA", "RGBa": "RGBA", "La": "LA"}.get(mode, "RGB")
    result = there_and_back(source)
    assert result.mode == nearest
    assert np.array_equal(pixels(result), pixels(source.convert(nearest)))


def test_a_picture_is_float_rgb_between_zero_and_one() -> None:
    picture = open_picture(encode(photo(), "PNG"))
    expected = torch.from_numpy(np.asarray(photo()).copy()).permute(2, 0, 1)[None] / 255
    assert picture.rgb.dtype == torch.float32
    assert torch.equal(picture.rgb, expected)
    assert not picture.is_grey


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    source = encode(photo(), "PNG", icc_profile=display_p3())
    whole = open_picture(source)
    monkeypatch.setattr("restore.images.pixels.STRIP_PIXELS", 48 * 5)
    striped = open_picture(source)
    assert torch.equal(striped.rgb, whole.rgb)
    assert np.array_equal(pixels(striped.to_pil(whole.rgb)), pixels(photo()))


def test_a_pil_image_stays_as_it_is() -> None:
    source = photo()
    source.info["icc_profile"] = display_p3()
    before = source.tobytes(), source.mode, dict(source.info)
    picture = open_picture(source)
    assert (source.tobytes(), source.mode, source.info) == before
    source.paste((0, 0, 0), (0, 0, 48, 36))
    assert np.array_equal(pixels(picture.to_pil(picture.rgb)), pixels(photo()))


@pytest.mark.parametrize("value", [*range(10), 99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_applied_as_pillow_does(value: int, kind: str) -> None:
    content = encode(photo(), kind, exif=exif(orientation=value))
    result = there_and_back(content)
    assert np.array_equal(pixels(result), pixels(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))
    assert ExifTags.Base.Orientation not in result.getexif()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("value", [1, 3, 6])
def test_dots_an_inch_turn_with_the_picture(value: int, kind: str) -> None:
    source = encode(photo(), kind, exif=exif(orientation=value, across=200, down=100), dpi=(200, 100))
    for result in (there_and_back(source), there_and_back(encode_picture(Image.open(io.BytesIO(source)), ".jpg"))):
        across, down = (100, 200) if value == 6 else (200, 100)
        assert result.info["dpi"] == pytest.approx((across, down), abs=0.1)
        assert [result.getexif()[tag] for tag in (0x011A, 0x011B)] == [across, down]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_an_image_that_lies_on_its_side_is_saved_upright(kind: str, tmp_path: Path) -> None:
    source = Image.open(io.BytesIO(encode(photo(), kind, exif=exif(orientation=6))))
    save_picture(source, tmp_path / "upright.png")
    with pytest.raises(ImageError, match="cannot write <_io"):
        save_picture(source, io.BytesIO())
    assert np.array_equal(pixels(Image.open(tmp_path / "upright.png")), pixels(photo().transpose(Image.Transpose.ROTATE_270)))


RAW_FILES = {
    "Nikon": encode(photo(), "TIFF", tiffinfo={254: 1}),
    "DNG": encode(photo(), "TIFF", tiffinfo={50706: b"\1\4\0\0"}),
    "Canon": tiff({256: (8,), 257: (6,), 258: (8,), 259: (1,), 262: (1,), 277: (1,)}, bytes(48), b"CR\2\0\0\0\0\0"),
}


@pytest.mark.parametrize("maker", RAW_FILES)
def test_the_preview_of_a_raw_file_is_not_taken_for_the_photograph(maker: str) -> None:
    with pytest.raises(ImageError, match="raw file"):
        open_picture(RAW_FILES[maker])


RAMP = np.arange(48, dtype=np.float64).reshape(6, 8) / 47


@pytest.mark.parametrize(
    ("levels", "kind", "scale"),
    [(RAMP.astype("<f4"), 3, 1.0), ((255 * RAMP).astype("<i4"), 2, 255.0), ((65535 * RAMP).astype("<u4"), 1, 65535.0)],
    ids=["float", "signed", "unsigned"],
)
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_deep_grey_is_read_as_it_looks(levels: Any, kind: int, scale: float, white_is_zero: bool) -> None:
    picture = picture_or_line(grey_tiff(levels, kind, white_is_zero))
    if isinstance(picture, str):
        assert white_is_zero  # of which Pillow reads not all
        return
    seen = levels / scale
    assert np.allclose(picture.rgb[0, 0], 1 - seen if white_is_zero else seen, atol=1e-6)


@pytest.mark.parametrize(
    ("levels", "kind", "cause"),
    [
        ((255 * RAMP - 128).astype("i1"), 2, "signed bytes"),
        ((4294967295 * RAMP).astype("<u4"), 1, "32-bit levels from 2,147,483,648 on"),
    ],
)
def test_levels_that_pillow_takes_for_others_are_refused(levels: Any, kind: int, cause: str) -> None:
    assert cause in str(picture_or_line(grey_tiff(levels, kind)))


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_file_that_ends_too_early_is_called_truncated_and_nothing_else(kind: str) -> None:
    content = samples()[kind]
    assert str(picture_or_line(content[: len(content) // 2])).endswith("is truncated")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic", ".bmp"])
@pytest.mark.parametrize(("mode", "profile"), [("L", grey_profile()), ("RGB", display_p3()), ("RGBA", display_p3())])
def test_colours_stay_where_a_format_cannot_hold_their_profile(mode: str, profile: bytes, suffix: str, tmp_path: Path) -> None:
    flat = Image.new(mode, (16, 16), {"L": 90, "RGB": (200, 60, 60), "RGBA": (200, 60, 60, 255)}[mode])
    picture = open_picture(encode(flat, "PNG", icc_profile=profile))
    save_picture(picture.to_pil(picture.rgb), tmp_path / f"photo{suffix}")
    again = open_picture(tmp_path / f"photo{suffix}").rgb
    assert (again - picture.rgb).abs().max() * 255 < 4


def test_alpha_turns_with_the_picture() -> None:
    result = there_and_back(encode(photo("RGBA"), "PNG", exif=exif(orientation=6)))
    assert np.array_equal(pixels(result), pixels(photo("RGBA").transpose(Image.Transpose.ROTATE_270)))


# Giving back


def test_values_outside_the_range_are_clamped() -> None:
    picture = open_picture(photo())
    assert picture.to_pil(torch.full_like(picture.rgb, 1.7)).getextrema() == ((255, 255),) * 3
    assert picture.to_pil(torch.full_like(picture.rgb, -1.7)).getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_never_reach_a_picture(value: float) -> None:
    picture = open_picture(photo())
    result = picture.rgb.clone()
    result[0, 1, -1, -1] = value
    with pytest.raises(ImageError, match="NaN or infinite"):
        picture.to_pil(result)


def test_a_result_of_another_size_is_refused() -> None:
    picture = open_picture(photo())
    with pytest.raises(ImageError, match="shape"):
        picture.to_pil(picture.rgb[..., 1:])


@pytest.mark.parametrize(("kind", "levels"), [(torch.float64, 0), (torch.float16, 0), (torch.bfloat16, 1)])
def test_any_precision_and_gradients_are_welcome(kind: torch.dtype, levels: int) -> None:
    picture = open_picture(photo())
    result = picture.to_pil(picture.rgb.to(kind).requires_grad_())
    assert np.abs(pixels(result) - pixels(photo())).max() <= levels


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_goes_out_grey_unless_color_is_asked_for(mode: str) -> None:
    picture = open_picture(encode(photo(mode), "PNG", icc_profile=grey_profile()))
    alpha = "A" if mode == "LA" else ""
    assert picture.is_grey
    assert picture.to_pil(picture.rgb).mode == "L" + alpha
    colored = picture.to_pil(picture.rgb, color=True)
    assert colored.mode == "RGB" + alpha
    assert "icc_profile" not in colored.info  # a grey profile is no profile of its colours


def test_deep_grey_can_be_colored_too() -> None:
    picture = open_picture(deep())
    expected = np.repeat(np.rint(pixels(deep()) / 65535 * 255)[..., None], 3, axis=2)
    assert np.array_equal(pixels(picture.to_pil(picture.rgb, color=True)), expected)


# Colour profiles


@pytest.mark.parametrize(
    ("mode", "profile"), [("RGB", display_p3()), ("RGBA", display_p3()), ("L", grey_profile()), ("LA", grey_profile())]
)
def test_a_profile_comes_back_to_the_bit(mode: str, profile: bytes) -> None:
    result = there_and_back(encode(photo(mode), "PNG", icc_profile=profile))
    assert result.mode == mode
    assert result.info["icc_profile"] == profile
    assert np.array_equal(pixels(result), pixels(photo(mode)))


@pytest.mark.parametrize(("mode", "profile"), [("RGB", display_p3()), ("L", grey_profile()), ("CMYK", cmyk_profile())])
def test_profiles_are_converted_as_littlecms_does(mode: str, profile: bytes) -> None:
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    expected = ImageCms.profileToProfile(photo(mode), own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    picture = open_picture(encode(photo(mode), "TIFF", icc_profile=profile))
    assert expected is not None
    assert np.array_equal((picture.rgb[0] * 255).round().permute(1, 2, 0).numpy(), pixels(expected))


def test_a_red_beyond_srgb_is_not_dulled() -> None:
    picture = open_picture(red_square(display_p3()))
    slightly_darker = picture.rgb - 2 / 255
    red, green, blue = picture.to_pil(slightly_darker).getpixel((4, 4))  # type: ignore[misc]
    assert red >= 250
    assert max(green, blue) <= 6


def test_what_a_network_replaces_keeps_nothing_of_what_was_clipped() -> None:
    picture = open_picture(red_square(display_p3()))
    assert np.ptp(pixels(picture.to_pil(torch.full_like(picture.rgb, 0.5)))) <= 1


def test_an_srgb_profile_is_kept_and_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = open_picture(encode(photo(), "PNG", icc_profile=profile))
    assert picture.space is None
    assert torch.equal(picture.rgb, open_picture(photo()).rgb)
    assert picture.to_pil(picture.rgb).info["icc_profile"] == profile


@pytest.mark.parametrize("profile", [b"not a profile", display_p3()[:300], grey_profile(), cmyk_profile()])
def test_a_profile_that_does_not_fit_is_noted_and_dropped(profile: bytes) -> None:
    picture = open_picture(encode(photo(), "PNG", icc_profile=profile))
    assert "colour profile" in picture.notes[0]
    assert "icc_profile" not in picture.to_pil(picture.rgb).info


# EXIF and files


def photo_with_place() -> Picture:
    tags = exif(orientation=6, model="Camera", camera={0x829A: 0.5, 0x927C: b"maker"}, gps={1: "N", 2: (48.0, 51.0, 30.0)})
    return open_picture(encode(photo(), "JPEG", exif=tags, dpi=(300, 300)))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
@pytest.mark.parametrize("keep_gps", [False, True])
def test_exif_stays_and_the_place_goes(suffix: str, keep_gps: bool, tmp_path: Path) -> None:
    picture = photo_with_place()
    save_picture(picture.to_pil(picture.rgb), tmp_path / f"out{suffix}", keep_gps=keep_gps)
    saved = open_picture(tmp_path / f"out{suffix}")
    tags = Image.Exif()
    tags.load(saved.info["exif"])
    assert tags[ExifTags.Base.Model] == "Camera"
    assert float(tags.get_ifd(ExifTags.IFD.Exif)[0x829A]) == 0.5
    assert 0x927C not in tags.get_ifd(ExifTags.IFD.Exif)
    assert bool(tags.get_ifd(ExifTags.IFD.GPSInfo)) == keep_gps
    assert saved.rgb.shape == picture.rgb.shape


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
def test_text_in_exif_comes_back_to_the_byte(suffix: str) -> None:
    utf8, latin1 = "\N{COPYRIGHT SIGN} Caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode(), b"Caf\xe9 1:1.4"
    text, lens = (StoredText(stored.decode("latin-1")) for stored in (utf8, latin1))
    source = encode(photo(), "JPEG", exif=exif(copyright=text, camera={0xA434: lens}))
    for stored in (source, encode_picture(there_and_back(source), suffix)):
        assert utf8 in stored
        assert latin1 in stored


@pytest.mark.parametrize(
    ("good", "odd"),
    [
        (struct.pack(">HHIBxxx", 5, 1, 1, 1), struct.pack(">HHI4s", 5, 2, 2, b"0")),  # GPSAltitudeRef as text
        (struct.pack(">HHI", 0x011A, 5, 1), struct.pack(">HHI4s", 0x011A, 2, 3, b"72")),  # XResolution as text
        (struct.pack(">ii", 7, 9), struct.pack(">ii", -1, 0)),  # BrightnessValue, infinitely dark
    ],
    ids=["place", "resolution", "brightness"],
)
def test_a_tag_that_cannot_be_written_costs_no_other(good: bytes, odd: bytes) -> None:
    camera = {0x9003: "1931:07:04 12:00:00", 0x9203: IFDRational(7, 9)}
    tags = exif(model="Camera", across=300, gps={5: b"\1"}, camera=camera).tobytes()
    assert tags.count(good) == 1
    start = tags.index(good)
    saved = there_and_back(encode(photo(), "JPEG", exif=tags[:start] + odd + tags[start + len(odd) :])).getexif()
    assert saved[0x0110] == "Camera"
    assert saved.get_ifd(0x8769)[0x9003] == camera[0x9003]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_colours_that_only_exif_calls_adobe_s_stay_so(suffix: str) -> None:
    tags = exif(camera={0xA001: 65535, 0xA005: {1: "R03"}})
    result = there_and_back(encode(photo(), "JPEG", exif=tags))
    kept = Image.Exif()
    kept.load(open_picture(encode_picture(result, suffix)).info["exif"])
    assert kept.get_ifd(0x8769)[0xA001] == 65535
    assert kept.get_ifd(0xA005)[1].rstrip("\0") == "R03"


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".png", ".jpg"])
def test_a_profile_of_other_colours_is_no_reason_not_to_save(suffix: str) -> None:
    image = photo().convert("L")
    image.info["icc_profile"] = display_p3()
    saved = Image.open(io.BytesIO(encode_picture(image, suffix))).convert("L")
    assert np.abs(pixels(saved) - pixels(image)).max() <= 9


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
def test_the_resolution_stays(suffix: str, tmp_path: Path) -> None:
    picture = photo_with_place()
    save_picture(picture.to_pil(picture.rgb), tmp_path / f"out{suffix}")
    assert open_picture(tmp_path / f"out{suffix}").info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("suffix", list(WRITERS))
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_is_written_in_every_format(mode: str, suffix: str, tmp_path: Path) -> None:
    kinds = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    source = deep(kinds[mode]) if mode in kinds else photo(mode)
    save_picture(source, tmp_path / f"out{suffix.upper()}")
    assert open_picture(tmp_path / f"out{suffix.upper()}").rgb.shape == (1, 3, 36, 48)
    assert [path.name for path in tmp_path.iterdir()] == [f"out{suffix.upper()}"]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_lossless_formats_lose_nothing(mode: str, tmp_path: Path) -> None:
    source = deep() if mode == "I;16" else photo(mode)
    for name in ("out.png", "out.tif"):
        save_picture(source, tmp_path / name)
        assert np.array_equal(pixels(there_and_back((tmp_path / name).read_bytes())), pixels(source))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif", ".heic"])
def test_exif_of_any_length_stays_where_the_format_holds_it(suffix: str) -> None:
    picture = open_picture(
        encode(photo(), "PNG", exif=exif(model="Camera", camera={0x9286: b"ASCII" + bytes(3) + b"a" * 66_000}))
    )
    tags = Image.Exif()
    tags.load(open_picture(encode_picture(picture.to_pil(picture.rgb), suffix)).info.get("exif", b""))
    assert tags.get(ExifTags.Base.Model) == (None if suffix == ".jpg" else "Camera")
    assert any("its EXIF data are left out" in line for line in lost_in(suffix, picture)) == (suffix == ".jpg")


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 3), np.uint8), torch.zeros(1, 3, 4, 4), None])
def test_what_is_no_image_is_named(pixels: Any, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"expected a PIL image, as denoise gives, not {type(pixels).__name__}"):
        save_picture(pixels, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "phrase"), [("a.xyz", "suffix"), ("a", "suffix"), ("no/folder/a.png", "No such file"), ("wide.webp", "16,383")]
)
def test_what_cannot_be_written_is_one_line(name: str, phrase: str, tmp_path: Path) -> None:
    size = (16_384, 1) if name == "wide.webp" else (4, 4)
    with pytest.raises(ImageError, match=phrase):
        save_picture(photo(size=size), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ImageError, match="No space left"):
        save_picture(photo(), target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupt_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_picture(photo(), tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


def test_a_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    save_picture(photo(), tmp_path / "out.png")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "out.png").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


# Bad and odd files


def picture_or_line(source: Path | bytes) -> Picture | str:
    """What the door makes of a file; anything else than an ImageError escapes."""
    try:
        return open_picture(source)
    except ImageError as error:
        return str(error)


@pytest.mark.parametrize("name", list(corpus()))
@pytest.mark.filterwarnings("ignore")
def test_the_corpus_restores_or_gives_one_clear_line(name: str, tmp_path: Path) -> None:
    content, expected = corpus()[name]
    path = tmp_path / name
    path.write_bytes(content)
    opened = picture_or_line(path)
    if isinstance(opened, str):
        assert expected == EITHER or expected in opened
        assert opened.isprintable()
        assert len(opened) < 300
    else:
        assert expected in (RESTORES, EITHER)
        assert bool(((opened.rgb >= 0) & (opened.rgb <= 1)).all())
        assert opened.to_pil(opened.rgb).size == (opened.rgb.shape[3], opened.rgb.shape[2])
        assert torch.equal(open_picture(content).rgb, opened.rgb)
    assert list(tmp_path.iterdir()) == [path]
    assert open_picture(samples()["png"]).rgb.shape == (1, 3, 36, 48)


def test_the_corpus_is_large_and_pillow_is_as_it_was() -> None:
    assert len(corpus()) >= 100
    assert Image.MAX_IMAGE_PIXELS == 1024 * 1024 * 1024 // 4 // 3
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert "HEIF" not in Image.OPEN


def test_the_limit_is_the_last_size_that_passes() -> None:
    assert open_picture(photo(), max_pixels=48 * 36).rgb.shape == (1, 3, 36, 48)
    with pytest.raises(ImageError, match="48 x 36 pixels"):
        open_picture(photo(), max_pixels=48 * 36 - 1)


@pytest.mark.parametrize(
    "source", [None, 3, 1.5, [], io.BytesIO(), "", ".", "missing.png", "line\nbreak.png", "nul\0.png", "\udc80.png"]
)
def test_what_is_no_source_is_one_line(source: Any) -> None:
    with pytest.raises(ImageError) as caught:
        open_picture(source)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="no pixels"):
        open_picture(Image.new("RGB", size))


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a file"):
        open_picture(tmp_path / "pipe.png")


def test_too_many_bytes_are_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "sparse.png", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageError, match="limit is 1,073,741,824"):
        open_picture(tmp_path / "sparse.png")


def test_a_lazy_postscript_image_never_reaches_ghostscript() -> None:
    lazy = Image.open(io.BytesIO(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"))
    with pytest.raises(ImageError, match="EPS is not read"):
        open_picture(lazy)


def test_too_little_memory_is_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def starve(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(torch, "empty", starve)
    with pytest.raises(ImageError, match="not enough memory"):
        open_picture(samples()["png"])


def test_endless_recursion_is_an_image_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def recurse(image: Image.Image) -> None:
        recurse(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", recurse)
    with pytest.raises(ImageError, match="damaged"):
        open_picture(samples()["bmp"])


def test_the_visitor_is_told_of_what_is_not_shown() -> None:
    assert open_picture(corpus()["three-frames.png"][0]).notes == ("showing the first of 3 frames",)
    assert open_picture(corpus()["three-frames.gif"][0]).notes == ("showing the first of several frames",)
    assert open_picture(corpus()["color-16.png"][0]).notes == ("16 bits a channel were read as 8",)
    assert open_picture(corpus()["cmyk.jpg"][0]).notes == ("CMYK colours become RGB",)
    assert open_picture(samples()["jpg"]).notes == ()


def test_broken_exif_costs_a_note_and_not_the_picture() -> None:
    picture = open_picture(encode(photo(), "PNG", exif=b"Exif\0\0nonsense"))
    assert picture.notes == ("the EXIF data is broken and was left out",)
    assert torch.equal(picture.rgb, open_picture(photo()).rgb)
