"""Decoding against Pillow on every mode, damage of every kind, and bounded memory."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from headway.errors import DataError, OptionError
from headway.modalities import image as M
from headway.types import ImageInput


def photo(height: int = 300, width: int = 400) -> Image.Image:
    """Smooth colours with an edge in them: no two orientations are equal."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 / width, y * 255 / height, 128 + 127 * np.sin(x / 30)], -1)
    pixels[: height // 4, : width // 3] = (200, 30, 30)
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(float) - b.astype(float)).mean())


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP", "WEBP"])
def test_lossless_formats_give_the_exact_pixels(kind: str) -> None:
    picture = photo().quantize(64).convert("RGB")
    got = M.decode(encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, np.asarray(picture))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}])
def test_jpeg_equals_pillows(subsampling: int, options: dict[str, object]) -> None:
    data = encoded(photo(), "JPEG", subsampling=subsampling, **options)
    assert difference(M.decode(data), np.asarray(Image.open(io.BytesIO(data)))) < 0.5


@pytest.mark.parametrize("size", [(300, 400), (301, 399), (900, 1201), (3000, 500), (448, 448), (1800, 1800)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_cover_covers_and_is_never_needlessly_large(size: tuple[int, int], kind: str) -> None:
    picture = photo(*size)
    got = M.decode(encoded(picture, kind), cover=(224, 224))
    h, w = got.shape[:2]
    assert h >= 224 and w >= 224
    if kind == "PNG" or min(size) < 224 * 16:
        assert min(h, w) < 2 * 224, "twice what was asked for, in both directions"
    small, reference = M.resize(got, 64, 64), M.resize(np.asarray(picture), 64, 64)
    assert difference(small, reference) < 2


def test_cover_never_enlarges_nor_cuts_what_is_smaller() -> None:
    for kind in ("JPEG", "PNG"):
        assert M.decode(encoded(photo(50, 500), kind), cover=(224, 224)).shape == (50, 500, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert difference(M.decode(data), expected) < 0.5
    covered = M.decode(data, cover=(140, 70))
    assert difference(M.resize(covered, 32, 32), M.resize(expected, 32, 32)) < 3
    assert covered.shape[0] >= 140 and covered.shape[1] >= 70


def test_cover_is_asked_of_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("JPEG", "PNG"):  # stored 200 x 800, shown 800 x 200
        assert M.decode(encoded(photo(200, 800), kind, exif=exif), cover=(400, 100)).shape == (400, 100, 3)


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_orientation_is_found_in_both_byte_orders_and_nonsense_is_upright(byte_order: str) -> None:
    def exif(value: int) -> bytes:
        head = (b"II*\0" if byte_order == "<" else b"MM\0*") + struct.pack(byte_order + "IH", 8, 1)
        return b"Exif\0\0" + head + struct.pack(byte_order + "HHIHH", 0x0112, 3, 1, value, 0) + b"\0\0\0\0"

    for value, shape in ((6, (400, 300, 3)), (0, (300, 400, 3)), (99, (300, 400, 3))):
        assert M.decode(encoded(photo(), "JPEG", exif=exif(value))).shape == shape
    assert M.decode(encoded(photo(), "JPEG", exif=exif(6)[:-20])).shape == (300, 400, 3)


def test_alpha_is_flattened_on_the_stated_colour() -> None:
    picture = Image.new("RGBA", (4, 2), (255, 0, 0, 255))
    picture.putpixel((0, 0), (0, 255, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 128))
    for kind in ("PNG", "WEBP", "TIFF"):
        data = encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {}))
        got = M.decode(data)
        assert got[0, 0].tolist() == [255, 255, 255]
        assert np.abs(got[0, 1].astype(int) - 127).max() <= 1
        assert got[1, 1].tolist() == [255, 0, 0]
        assert M.decode(data, background=(1, 2, 3))[0, 0].tolist() == [1, 2, 3]


def test_colour_under_transparent_pixels_does_not_bleed_when_reduced() -> None:
    pixels = np.zeros((400, 400, 4), np.uint8)
    pixels[:, ::2] = (0, 0, 255, 255)  # every other column is opaque blue, the rest transparent black
    got = M.decode(encoded(Image.fromarray(pixels), "PNG"), cover=(100, 100))
    assert np.abs(got.astype(int) - (127, 127, 255)).max() <= 2


def test_palette_with_transparency_and_grey_with_alpha() -> None:
    palette = photo(20, 30).quantize(16)
    index = palette.getpixel((0, 0))
    got = M.decode(encoded(palette, "PNG", transparency=index), background=(9, 8, 7))
    assert got[0, 0].tolist() == [9, 8, 7]
    many = M.decode(encoded(palette, "PNG", transparency=bytes([0] * 16)), background=(9, 8, 7))
    assert (many == (9, 8, 7)).all()
    grey = Image.merge("LA", [Image.new("L", (3, 3), 100), Image.new("L", (3, 3), 0)])
    assert (M.decode(encoded(grey, "PNG"), background=(5, 5, 5)) == 5).all()
    assert (M.decode(encoded(Image.new("1", (3, 3), 1), "PNG")) == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 257, 32896], [65535, 300, 40000]], np.uint16)
    got = M.decode(encoded(Image.fromarray(values), kind))
    np.testing.assert_array_equal(got[..., 0], np.rint(values / 257).astype(np.uint8))
    assert (got[..., 0] == got[..., 2]).all()


def test_32_bit_and_float_tiffs() -> None:
    cases: list[tuple[np.ndarray, list[int]]] = [
        (np.array([[0, 65535, 257]], np.int32), [0, 255, 1]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 7, 255]], np.float32), [0, 7, 255]),
        (np.array([[np.nan, 0, 1]], np.float32), [0, 0, 255]),
        (np.array([[5, 5, 5]], np.int32), [0, 0, 0]),
    ]
    for values, expected in cases:
        assert M.decode(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == expected


def test_cmyk_with_and_without_adobes_inversion() -> None:
    cmyk = photo(64, 64).convert("CMYK")
    data = encoded(cmyk, "JPEG", quality=95)
    assert difference(M.decode(data), np.asarray(photo(64, 64))) < 4
    assert difference(M.decode(encoded(cmyk, "TIFF")), np.asarray(photo(64, 64))) < 2
    large = M.decode(encoded(photo(800, 800).convert("CMYK"), "JPEG"), cover=(100, 100))
    assert 100 <= large.shape[0] < 200


def test_four_channel_jpegs_are_decoded_at_reduced_scale_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from headway.modalities import _pillow

    sizes, real = [], _pillow._factor
    monkeypatch.setattr(_pillow, "_factor", lambda image, cover: sizes.append(image.size) or real(image, cover))
    M.decode(encoded(photo(800, 800).convert("CMYK"), "JPEG"), cover=(100, 100))
    assert sizes == [(100, 100)]


def test_grey_jpeg_and_first_frame() -> None:
    grey = M.decode(encoded(photo().convert("L"), "JPEG"))
    assert grey.shape == (300, 400, 3) and (grey[..., 0] == grey[..., 1]).all()
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    for kind in ("GIF", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert (M.decode(data) == (255, 0, 0)).all()


# --- what is damaged, false or hostile ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_images_are_errors(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8))
    data = encoded(noise, kind)
    assert M.decode(data).shape == (200, 200, 3)
    with pytest.raises(DataError, match="truncated or damaged"):
        M.decode(data[: int(len(data) * share)])
    with pytest.raises(DataError, match="truncated or damaged"):
        M.decode(data[: int(len(data) * share)], cover=(50, 50))


def test_errors_name_the_file_and_the_reason(tmp_path: Path) -> None:
    for name, content, reason in (
        ("empty.jpg", b"", r"empty \(zero bytes\)"),
        ("renamed.jpg", b"%PDF-1.7 no image at all", "not JPEG, PNG, WebP, GIF, TIFF or BMP"),
        ("text.png", b"BMW is not a bitmap, although it starts like one", "not JPEG"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=reason) as caught:
            M.decode(path)
        assert name in str(caught.value)
        assert not M.sniff(path)
    with pytest.raises(DataError, match="cannot be opened"):
        M.decode(tmp_path / "absent.jpg")
    with pytest.raises(DataError, match="cannot be opened"):
        M.sniff(tmp_path / "absent.jpg")
    with pytest.raises(DataError, match="cannot be opened"):
        M.decode(tmp_path)


def test_the_content_counts_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encoded(photo(30, 40), "PNG"))
    assert M.sniff(path)
    assert M.decode(path).shape == (30, 40, 3)


def test_stray_bytes_between_jpeg_markers_are_no_damage() -> None:
    data = encoded(photo(), "JPEG")
    assert M.decode(data[:-2] + b"\0\0" + data[-2:]).shape == (300, 400, 3)
    assert M.decode(data + b"trailing").shape == (300, 400, 3)


@pytest.mark.parametrize("at", range(0, 600, 37))
def test_flipped_bytes_give_an_image_or_a_data_error(at: int) -> None:
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP"):
        data = bytearray(encoded(photo(40, 40), kind))
        data[at % len(data)] ^= 0xFF
        with contextlib.suppress(DataError):
            assert M.decode(bytes(data)).ndim == 3


def bomb(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds one compressed row's worth of zeros for each."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(1)
    rows = packer.compress(bytes(-(-width // 8) + 1) * min(height, 1)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 20_000), (2_000_000, 2_000_000), (1, 2**31 - 1)])
def test_decompression_bombs_are_refused_before_a_pixel_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=r"limit of 180,000,000|damaged"):
        M.decode(bomb(*size), cover=(224, 224))


def test_no_global_state_of_pillow_is_needed_or_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Image.open would now raise for anything
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
    assert M.decode(encoded(photo(), "PNG"), cover=(10, 10)).shape[0] >= 10
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_jpeg_above_the_limit_works_reduced_and_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photo(600, 800), "JPEG")
    monkeypatch.setattr(M, "MAX_PIXELS", 200_000)
    assert M.decode(data, cover=(224, 224)).shape == (300, 400, 3)
    with pytest.raises(DataError, match="480,000 pixels, more than the limit of 200,000"):
        M.decode(data)
    monkeypatch.setattr(M, "MAX_JPEG_PIXELS", 400_000)
    with pytest.raises(DataError, match="limit of 400,000"):
        M.decode(data, cover=(224, 224))


def test_large_images_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from headway.modalities import _pillow

    inside, most = [0], [0]
    real = _pillow.decode

    def counted(*args: object, **options: object) -> np.ndarray:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.02)
        inside[0] -= 1
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(_pillow, "decode", counted)
    data = encoded(photo(50, 50), "PNG")
    for limit, expected in ((1, {1}), (10**9, {2, 3, 4})):
        monkeypatch.setattr(M, "_LARGE", limit)
        most[0] = 0
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: M.decode(data), range(8)))
        assert most[0] in expected


def test_strips_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from headway.modalities import _pillow

    picture = photo(500, 310).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((310, 500)))
    sixteen = Image.fromarray(np.arange(500 * 310, dtype=np.uint16).reshape(500, 310) // 3)
    for source in (encoded(picture, "PNG"), encoded(sixteen, "PNG")):
        whole, whole_small = M.decode(source), M.decode(source, cover=(40, 40))
        monkeypatch.setattr(_pillow, "_STRIP", 10_000)
        np.testing.assert_array_equal(M.decode(source), whole)
        np.testing.assert_array_equal(M.decode(source, cover=(40, 40)), whole_small)
        monkeypatch.undo()


@pytest.mark.slow
def test_168_megapixels_work_in_bounded_memory(tmp_path: Path) -> None:
    """In a process of its own: its peak is what is measured."""
    import subprocess
    import sys

    path = tmp_path / "large.png"
    Image.new("RGBA", (14_000, 12_000), (255, 0, 0, 128)).save(path, compress_level=1)
    code = (
        "import re, sys; from pathlib import Path; from headway.modalities import image\n"
        "got = image.decode(Path(sys.argv[1]), cover=(224, 224))\n"
        # Not getrusage, whose peak is that of the process that started this one where that was larger.
        "peak = re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]\n"
        "print(*got.shape, *got[0, 0], int(peak) // 1024)"
    )
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    *pixels, megabytes = map(int, out.stdout.split())
    assert pixels[:3] == [227, 265, 3] or min(pixels[:2]) >= 224
    assert abs(pixels[4] - 127) <= 1
    assert megabytes < 1_000


def test_threads_give_the_same_pixels() -> None:
    sources = [encoded(photo(200 + i, 300), kind) for i in range(10) for kind in ("JPEG", "PNG", "WEBP")]
    alone = [M.decode(s, cover=(100, 100)) for s in sources]
    with ThreadPoolExecutor(4) as pool:
        for a, b in zip(alone, pool.map(lambda s: M.decode(s, cover=(100, 100)), sources), strict=True):
            np.testing.assert_array_equal(a, b)


# --- size and view ------------------------------------------------------------------------------


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(300, 400), (100, 90), (231, 500)])
def test_resize_is_pillows(interpolation: str, size: tuple[int, int]) -> None:
    picture = photo(*size)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
    expected = np.asarray(picture.resize((192, 160), filters[interpolation]))
    got = M.resize(np.asarray(picture), 160, 192, interpolation=interpolation)  # type: ignore[arg-type]
    assert difference(got, expected) < 0.1


def test_resize_is_antialiased() -> None:
    checks = np.indices((256, 256)).sum(0) % 2 * 255
    image = np.repeat(checks[..., None], 3, 2).astype(np.uint8)
    assert np.abs(M.resize(image, 32, 32).astype(int) - 127).max() < 25


def test_squash_keeps_the_edges_and_crop_the_proportions() -> None:
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, :30], image[:, -30:] = 255, 255  # white at both ends
    assert M.resize(image, 50, 50)[25, [0, -1], 0].tolist() == [255, 255]
    assert not M.resize(image, 50, 50, fit="crop").any()
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[45:55, 145:155] = 255  # a centred square stays centred and square
    ys, xs = np.nonzero(M.resize(wide, 50, 50, fit="crop")[..., 0] > 127)
    assert np.ptp(ys) == np.ptp(xs) and ys.mean() == xs.mean() == 24.5


def test_resize_takes_any_memory_layout() -> None:
    image = np.asarray(photo())
    expected = M.resize(np.ascontiguousarray(image[::2, ::-1]), 40, 40)
    np.testing.assert_array_equal(M.resize(image[::2, ::-1], 40, 40), expected)


def test_bad_requests_are_option_errors() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    for options in ({"interpolation": "nearest"}, {"fit": "pad"}):
        with pytest.raises(OptionError, match="Allowed"):
            M.resize(image, 4, 4, **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError):
        M.resize(image, 0, 4)
    for bad in (
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ):
        with pytest.raises(DataError, match="wrong shape or type"):
            M.decode(bad)  # type: ignore[arg-type]


def test_view_is_the_backbones_geometry() -> None:
    spec = ImageInput(height=96, width=64, mean=(0, 0, 0), std=(1, 1, 1), channels="bgr", interpolation="bilinear")
    image = np.asarray(photo())
    np.testing.assert_array_equal(M.view(image, spec), M.resize(image, 96, 64, interpolation="bilinear"))


# --- descriptions -------------------------------------------------------------------------------


def test_classical_features_see_colour_orientation_and_place() -> None:
    def stripes(across: bool) -> np.ndarray:
        wave = (np.indices((128, 128))[0 if across else 1] // 8 % 2 * 255).astype(np.uint8)
        return np.repeat(wave[..., None], 3, 2)

    red, blue = (np.full((64, 64, 3), c, np.uint8) for c in ((255, 0, 0), (0, 0, 255)))
    lying, standing = M.classical(stripes(True)), M.classical(stripes(False))
    assert np.abs(M.classical(red) - M.classical(blue)).max() > 0.5
    assert np.abs(lying[168:] - standing[168:]).max() > 0.3  # the same colours, other directions
    assert np.abs(lying[:72] - standing[:72]).max() < 0.05
    left = np.full((64, 64, 3), 255, np.uint8)
    left[:, :32] = 0
    assert np.abs(M.classical(left) - M.classical(left[:, ::-1].copy())).max() > 0.5


def test_classical_features_are_finite_bounded_and_nearly_free_of_size() -> None:
    for image in (np.zeros((1, 1, 3), np.uint8), np.full((5, 900, 3), 255, np.uint8), np.asarray(photo())):
        features = M.classical(image)
        assert features.dtype == np.float32 and features.shape == (369,)
        assert np.isfinite(features).all() and features.min() >= 0 and features.max() <= 1
    small, large = (M.classical(np.asarray(photo().resize(size))) for size in ((200, 150), (800, 600)))
    assert np.abs(small - large).max() < 0.15


def test_a_perceptual_hash_survives_copying_and_tells_pictures_apart() -> None:
    rng = np.random.default_rng(3)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((240, 200), Image.Resampling.BICUBIC)
        for _ in range(8)
    ]
    hashes = [M.perceptual_hash(np.asarray(p)) for p in pictures]
    for picture, own in zip(pictures, hashes, strict=True):
        for copy in (M.decode(encoded(picture, "JPEG", quality=60)), np.asarray(picture.resize((131, 97)))):
            assert np.bitwise_count(M.perceptual_hash(copy) ^ own).sum() <= 20
    distances = [np.bitwise_count(a ^ b).sum() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(distances) > 60
