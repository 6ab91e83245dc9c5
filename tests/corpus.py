"""Bad and odd files, made here: what strangers upload by accident, by curiosity and by malice.

for name, (content, expected) in corpus().items():   # expected: RESTORES, EITHER, or a phrase of the error
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, PngImagePlugin

RESTORES = "restores"  # it is a picture, if an odd one
EITHER = "either"  # damage that a reader may or may not survive: a picture or one clear line

Table = dict[str, tuple[bytes, str]]


def photo(mode: str = "RGB", size: tuple[int, int] = (48, 36)) -> Image.Image:
    """A small picture of smooth colours with grain, the same every time."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([x / width, y / height, (x + y) / (width + height), 0.3 + 0.7 * x / width], axis=-1) * 215
    grain = np.random.default_rng(0).integers(0, 40, waves.shape)
    return Image.fromarray((waves + grain).astype(np.uint8), "RGBA").convert(mode)


def deep(kind: type = np.uint16) -> Image.Image:
    """A grey picture with more than 8 bits a pixel."""
    return Image.fromarray(np.random.default_rng(1).integers(0, 65536, (36, 48)).astype(kind))


def encode(image: Image.Image, name: str, **options: Any) -> bytes:
    """The bytes of a file in Pillow's format `name`, or HEIC."""
    file = io.BytesIO()
    if name == "HEIC":
        pillow_heif.from_pillow(image).save(file, **options)
    else:
        image.save(file, name, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, color: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG by hand: `rows` are unpacked scanlines with their filter bytes, `extra` are chunks before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows, 9)) if rows else b""
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body + chunk(b"IEND", b"")


def deep_png(channels: int, color: int) -> bytes:
    """An 8 x 6 PNG of 16 bits a channel with random pixels."""
    pixels = np.random.default_rng(2).integers(0, 256, (6, 8 * channels * 2), np.uint8)
    return png(8, 6, 16, color, b"".join(b"\0" + row.tobytes() for row in pixels))


def tiff(tags: Mapping[int, tuple[int, ...]], pixels: bytes, mark: bytes = b"") -> bytes:
    """A little-endian TIFF of one strip by hand; `tags` are short numbers by tag number, and `mark` stands before them."""
    offset = 8 + len(mark) + 2 + 12 * (len(tags) + 2) + 4
    entries = {**tags, 273: (offset,), 279: (len(pixels),)}
    body = b"".join(struct.pack("<HHIHH", tag, 3, 1, *entries[tag], 0) for tag in sorted(entries))
    head = b"II*\0" + struct.pack("<I", 8 + len(mark)) + mark + struct.pack("<H", len(entries))
    return head + body + struct.pack("<I", 0) + pixels


def grey_tiff(levels: np.ndarray[Any, Any], kind: int, white_is_zero: bool = False) -> bytes:
    """A TIFF of one channel; `kind` is 1 for unsigned numbers, 2 for signed ones, 3 for floating point."""
    height, width = levels.shape
    size = {256: (width,), 257: (height,), 278: (height,)}
    channel = {258: (8 * levels.itemsize,), 259: (1,), 262: (0 if white_is_zero else 1,), 277: (1,), 339: (kind,)}
    return tiff(size | channel, levels.tobytes())


def icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A colour profile of version 2 for a display, from its tags."""
    table, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += b"\0" * (-len(value) % 4)
        table += name + struct.pack(">II", start + len(data), len(value))
        data += value
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    pcs = b"Lab " if space == b"CMYK" else b"XYZ "
    header = struct.pack(">I4sI4s4s4s", start + len(data), b"lcms", 0x02400000, kind, space, pcs)
    header += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp").ljust(44, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def gamma_curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def display_p3() -> bytes:
    """The wide gamut of phones: Display P3's primaries, with a gamma of 2.2."""
    primaries = {b"rXYZ": (0.51512, 0.2412, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189), b"bXYZ": (0.1571, 0.06657, 0.78407)}
    tags = {name: b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in xyz)) for name, xyz in primaries.items()}
    return icc(b"RGB ", {**tags, **{name: gamma_curve(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")}})


def grey_profile() -> bytes:
    """A grey profile with a gamma of 1.8."""
    return icc(b"GRAY", {b"kTRC": gamma_curve(1.8)})


def cmyk_profile() -> bytes:
    """A press by 16 corners, cyan to key; its paper is a little yellow, unlike Pillow's plain conversion."""
    corners = np.array([[c, m, y, k] for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)], float)
    light = (1 - 0.9 * corners[:, 3]) * (1 - 0.25 * corners[:, :3].sum(axis=1))
    a = 40 * (corners[:, 1] - corners[:, 0])
    b = 8 + 40 * (corners[:, 2] - corners[:, 0])
    lab = np.stack([light * 255, a + 128, b + 128], axis=-1).round().astype(np.uint8)
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    ramp = bytes(range(256))
    return icc(b"CMYK", {b"A2B0": b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + lab.tobytes() + ramp * 3})


def exif(**tags: Any) -> Image.Exif:
    """EXIF data by tag name."""
    numbers = {"model": 0x0110, "orientation": 0x0112, "across": 0x011A, "down": 0x011B, "artist": 0x013B, "gps": 0x8825}
    numbers |= {"camera": 0x8769, "copyright": 0x8298}
    data = Image.Exif()
    for name, value in tags.items():
        data[numbers[name]] = value
    return data


def archive(**files: bytes) -> bytes:
    """A ZIP archive; "/" in names is written "__"."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in files.items():
            writer.writestr(name.replace("__", "/"), content)
    return file.getvalue()


@cache
def samples() -> dict[str, bytes]:
    """One good file of each format, by suffix."""
    return {
        "jpg": encode(photo(), "JPEG", quality=90),
        "png": encode(photo(), "PNG"),
        "webp": encode(photo(), "WEBP", quality=90),
        "tif": encode(photo(), "TIFF"),
        "avif": encode(photo(), "AVIF"),
        "heic": encode(photo(), "HEIC"),
        "bmp": encode(photo(), "BMP"),
        "gif": encode(photo(), "GIF"),
    }


def cut_short() -> Table:
    """Every format, cut at every tenth."""
    return {
        f"cut-{tenth}0.{suffix}": (content[: len(content) * tenth // 10], "truncated")
        for suffix, content in samples().items()
        for tenth in range(1, 10)
    }


def damaged() -> Table:
    """Flipped bytes, checksums that do not match, headers that contradict what follows."""
    table: Table = {}
    rng = np.random.default_rng(3)
    for suffix, content in samples().items():
        for place in (0.02, 0.5, 0.9):
            flipped = bytearray(content)
            for position in rng.integers(int(len(content) * place), len(content), 8):
                flipped[position] ^= int(rng.integers(1, 256))
            table[f"flipped-{place}.{suffix}"] = (bytes(flipped), EITHER)
        table[f"magic-only.{suffix}"] = (content[:16], "truncated")
    good = samples()["png"]
    middle = good.index(b"IDAT") + 4 + len(good) // 2
    sof = (jpg := samples()["jpg"]).index(b"\xff\xc0")
    row = b"\0" + bytes(24)
    table |= {
        "bad-crc.png": (good[:29] + b"\0\0\0\0" + good[33:], "broken PNG"),
        "bad-pixels.png": (good[:middle] + bytes(40) + good[middle + 40 :], "damaged"),
        "no-pixels.png": (png(8, 6, 8, 2, b""), "damaged"),
        "no-palette.png": (png(8, 6, 8, 3, row[:9] * 6), EITHER),
        "zero-width.png": (png(0, 6, 8, 2, row * 6), "damaged"),
        "three-bits.png": (png(8, 6, 3, 0, row * 6), "damaged"),
        "too-few-rows.png": (png(8, 6, 8, 2, row * 2), EITHER),
        "no-scan.jpg": (jpg[:sof] + b"\xff\xd9", "truncated"),
        "zero-height.jpg": (jpg[: sof + 5] + b"\0\0" + jpg[sof + 7 :], "damaged"),
        "seven-channels.jpg": (jpg[: sof + 9] + b"\7" + jpg[sof + 10 :], "damaged"),
        "no-frame.gif": (samples()["gif"][:13] + b";", "damaged"),
        "text-bomb.png": (png(8, 6, 8, 2, row * 6, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10_000_000)))), "damaged"),
        "wrong-length.webp": (b"RIFF\xff\xff\xff\x7f" + samples()["webp"][8:], "truncated"),
        "empty-directory.tif": (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "damaged"),
        "directory-beyond.tif": (b"II*\0\xff\xff\xff\x7f", "damaged"),
    }
    return table


def strangers() -> Table:
    """What is no picture, under a picture's name, and pictures under another's."""
    unread = "not a picture of a format that is read"
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\nshowpage\n"
    inner = archive(a=bytes(1_000_000))
    return {
        "empty.jpg": (b"", "the file is empty"),
        "one-byte.jpg": (b"\xff", unread),
        "text.jpg": (b"I am a text file.\n", unread),
        "zeros.png": (bytes(4096), unread),
        "noise.png": (np.random.default_rng(4).bytes(4096), unread),
        "page.jpg": (b"<!doctype html><script>alert(1)</script>", unread),
        "drawing.jpg": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', unread),
        "postscript.jpg": (postscript, unread),
        "postscript-preview.jpg": (
            b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 32, len(postscript), 0, 0, 0, 0) + postscript,
            unread,
        ),
        "document.png": (b"%PDF-1.7\n%%EOF", unread),
        "program.jpg": (b"MZ" + bytes(100), unread),
        "pickle.png": (b"\x80\x04cos\nsystem\n(S'true'\ntR.", unread),
        "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", unread),
        "archive.jpg": (archive(photo=samples()["jpg"]), unread),
        "archive-in-archive.jpg": (archive(inner=archive(inner=archive(photo=samples()["jpg"]))), unread),
        "archive-slip.png": (archive(**{"..__..__..__tmp__slipped.png": samples()["png"]}), unread),
        "archive-bomb.jpg": (archive(**{f"f{number}": inner for number in range(20)}), unread),
        "portable-map.jpg": (b"P6 2 2 255\n" + bytes(12), unread),
        "icon.png": (encode(photo(), "ICO"), unread),
        "jpeg-2000.jpg": (encode(photo(), "JPEG2000"), unread),
        "png.jpg": (samples()["png"], RESTORES),
        "jpg.png": (samples()["jpg"], RESTORES),
        "webp.gif": (samples()["webp"], RESTORES),
        "heic.jpg": (samples()["heic"], RESTORES),
        "tif.eps": (samples()["tif"], RESTORES),
        "no-suffix": (samples()["png"], RESTORES),
        "png-and-archive.png": (samples()["png"] + archive(a=b"hidden"), RESTORES),
        "jpg-and-page.jpg": (samples()["jpg"] + b"<script>alert(1)</script>", RESTORES),
        "gif-and-script.gif": (b"GIF89a/*" + bytes(5) + b"*/=1;alert(1)//", "damaged"),
        "jpg-and-postscript.jpg": (samples()["jpg"] + postscript, RESTORES),
    }


def bombs() -> Table:
    """Small files that say, or are, too many pixels."""
    jpg, webp = samples()["jpg"], encode(photo("RGBA"), "WEBP", exif=exif(model="x"))
    sof = jpg.index(b"\xff\xc0")
    canvas = webp.index(b"VP8X") + 12
    gif = samples()["gif"]
    table: Table = {
        "169-megapixels.png": (
            png(13_000, 13_000, 1, 0, bytes((13_000 // 8 + 1) * 13_000)),
            "169.0 megapixels; the limit is 100",
        ),
        "30000.png": (png(30_000, 30_000, 8, 2, bytes(99)), "900.0 megapixels"),
        "header-only.png": (png(30_000, 30_000, 8, 2, b"")[:33], "truncated"),
        "65500.jpg": (jpg[: sof + 5] + b"\xff\xdc\xff\xdc" + jpg[sof + 9 :], "4,290.2 megapixels"),
        "65535.gif": (gif[:6] + b"\xff\xff\xff\xff" + gif[10:], "4,294.8 megapixels"),
        "16383.webp": (webp[:canvas] + b"\xfe\x3f\0\xfe\x3f\0" + webp[canvas + 6 :], "damaged"),
        "60000.tif": (
            tiff({256: (60_000,), 257: (60_000,), 258: (8,), 262: (1,), 277: (1,), 278: (60_000,)}, bytes(99)),
            "3,600.0",
        ),
        "30000.bmp": (b"BM" + struct.pack("<IIIIiiHHIIIIII", 99, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0), "900.0"),
        "one-by-65536.png": (png(1, 65_536, 8, 0, bytes(2 * 65_536)), "limit is 65,535 a side"),
        "one-by-65535.png": (png(1, 65_535, 8, 0, bytes(2 * 65_535)), RESTORES),
        "65535-by-one.png": (png(65_535, 1, 8, 0, bytes(65_536)), RESTORES),
        "one-pixel.png": (encode(photo(size=(1, 1)), "PNG"), RESTORES),
        "one-pixel.jpg": (encode(photo(size=(1, 1)), "JPEG"), RESTORES),
        "two-pixels.gif": (encode(photo(size=(2, 1)), "GIF"), RESTORES),
    }
    for suffix, kind in (("avif", "AVIF"), ("heic", "HEIC")):
        content = encode(photo(size=(64, 64)), kind)
        size = content.index(b"ispe") + 8
        table[f"12000.{suffix}"] = (content[:size] + struct.pack(">II", 12_000, 12_000) + content[size + 8 :], "144.0 megapixels")
    return table


def modes() -> Table:
    """Every way to store a pixel."""
    lab = ImageCms.profileToProfile(photo(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB")
    assert lab is not None
    holes = deep(np.float32)
    holes.putpixel((3, 3), float("nan"))
    endless = deep(np.float32)
    endless.putpixel((3, 3), float("inf"))
    grey16 = {256: (8,), 257: (6,), 258: (16,), 277: (1,), 278: (6,)}
    values = np.arange(48, dtype="<u2").tobytes()
    files = {
        "one-bit.png": encode(photo("1"), "PNG"),
        "one-bit-fax.tif": encode(photo("1"), "TIFF", compression="group4"),
        "grey.jpg": encode(photo("L"), "JPEG"),
        "grey-alpha.png": encode(photo("LA"), "PNG"),
        "grey-transparent.png": encode(photo("L"), "PNG", transparency=40),
        "palette.png": encode(photo("P"), "PNG"),
        "palette-transparent.png": encode(photo("P"), "PNG", transparency=bytes(range(256))),
        "color-transparent.png": encode(photo(), "PNG", transparency=(9, 9, 9)),
        "alpha.png": encode(photo("RGBA"), "PNG"),
        "alpha.webp": encode(photo("RGBA"), "WEBP", lossless=True),
        "alpha.avif": encode(photo("RGBA"), "AVIF"),
        "alpha.heic": encode(photo("RGBA"), "HEIC"),
        "progressive.jpg": encode(photo(), "JPEG", progressive=True),
        "grey-16.png": encode(deep(), "PNG"),
        "grey-16-transparent.png": png(8, 6, 16, 0, (b"\0" + bytes(16)) * 6, chunk(b"tRNS", b"\1\2")),
        "grey-alpha-16.png": deep_png(2, 4),
        "color-16.png": deep_png(3, 2),
        "alpha-16.png": deep_png(4, 6),
        "grey-16.tif": encode(deep(), "TIFF"),
        "grey-16-big-endian.tif": encode(Image.fromarray(np.asarray(deep()).astype(">u2")), "TIFF"),
        "grey-16-negative.tif": tiff({**grey16, 262: (0,)}, values),
        "grey-32.tif": encode(deep(np.int32), "TIFF"),
        "float.tif": encode(deep(np.float32), "TIFF"),
        "lzw.tif": encode(photo(), "TIFF", compression="tiff_lzw"),
        "jpeg-in.tif": encode(photo(), "TIFF", compression="jpeg"),
        "lab.tif": encode(lab, "TIFF"),
        "cmyk.jpg": encode(photo("CMYK"), "JPEG"),
        "cmyk.tif": encode(photo("CMYK"), "TIFF"),
        "cmyk-profile.jpg": encode(photo("CMYK"), "JPEG", icc_profile=cmyk_profile()),
        "p3.jpg": encode(photo(), "JPEG", icc_profile=display_p3()),
        "p3.heic": encode(photo(), "HEIC", icc_profile=display_p3()),
        "grey-profile.png": encode(photo("L"), "PNG", icc_profile=grey_profile()),
        "grey-profile-in-color.png": encode(photo(), "PNG", icc_profile=grey_profile()),
        "broken-profile.png": encode(photo(), "PNG", icc_profile=b"not a profile"),
        "cut-profile.jpg": encode(photo(), "JPEG", icc_profile=display_p3()[:300]),
    }
    table = {name: (content, RESTORES) for name, content in files.items()}
    table["not-a-number.tif"] = (encode(holes, "TIFF"), "NaN or infinite")
    table["infinite.tif"] = (encode(endless, "TIFF"), "NaN or infinite")
    return table


def movies() -> Table:
    """Files of more than one frame."""
    frames = [photo().rotate(90 * turn) for turn in range(3)]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    kinds = {"gif": "GIF", "png": "PNG", "webp": "WEBP", "avif": "AVIF", "tif": "TIFF"}
    table = {f"three-frames.{suffix}": (encode(frames[0], kind, **options), RESTORES) for suffix, kind in kinds.items()}
    table["previews.jpg"] = (encode(frames[0], "MPO", **options), RESTORES)
    return table


def metadata() -> Table:
    """EXIF data, true and false."""
    files = {f"orientation-{value}.jpg": exif(orientation=value) for value in (0, 1, 2, 3, 4, 5, 6, 7, 8, 99)}
    files["place.jpg"] = exif(model="camera", gps={1: "N", 2: (48.0, 51.0, 30.0)})
    table = {name: (encode(photo(), "JPEG", exif=data), RESTORES) for name, data in files.items()}
    turned = exif(orientation=6).tobytes()
    comment = PngImagePlugin.PngInfo()
    comment.add_text("XML:com.adobe.xmp", "<x:xmpmeta tiff:Orientation='6' <<<")
    table |= {
        "broken-exif.jpg": (encode(photo(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(40)), RESTORES),
        "orientation-text.jpg": (encode(photo(), "JPEG", exif=turned.replace(b"\x01\x12\0\3", b"\x01\x12\0\2")), RESTORES),
        "cut-exif.jpg": (encode(photo(), "JPEG", exif=exif(orientation=6, artist="A" * 99).tobytes()[:40]), RESTORES),
        "orientation.webp": (encode(photo(), "WEBP", exif=exif(orientation=6)), RESTORES),
        "orientation.tif": (encode(photo(), "TIFF", exif=exif(orientation=6)), RESTORES),
        "orientation.png": (encode(photo(), "PNG", exif=exif(orientation=6)), RESTORES),
        "broken-xmp.png": (encode(photo(), "PNG", pnginfo=comment), RESTORES),
    }
    return table


@cache
def corpus() -> Table:
    """All files, by name: content and what must come of it."""
    parts = (cut_short(), damaged(), strangers(), bombs(), modes(), movies(), metadata())
    table = {name: case for part in parts for name, case in part.items()}
    assert len(table) == sum(len(part) for part in parts), "two files of one name"
    return table
