"""Every build from small hand-made packages that stand in for the real ones. No network."""

from __future__ import annotations

import csv
import gettext
import gzip
import io
import os
import pickle
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headway import samples
from headway.samples import Sources, addresses, clipart, drums, fashion, films, letters, stamps, strings, trees
from headway.samples._images import save_capped


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def counts(folder: Path) -> dict[str, int]:
    return {path.name: len(list(path.iterdir())) for path in sorted(folder.iterdir()) if path.is_dir()}


def picture(path: Path, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA", size, (10, 20, 30, 40)).save(path)


# --- images -------------------------------------------------------------------------------------


def test_a_large_picture_is_the_plain_resize_of_itself(tmp_path: Path) -> None:
    y, x = np.mgrid[0:700, 0:3000]
    pixels = np.stack([x * 255 // 2999, y * 255 // 699, (x + y) % 256 // 2, 255 - x // 20], axis=-1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    save_capped(tmp_path / "large.png", tmp_path / "small.png", longest=256)
    with Image.open(tmp_path / "small.png") as small:
        assert small.mode == "RGBA"
        assert small.size == (256, 60)
        plain = Image.fromarray(pixels).resize((256, 60), Image.Resampling.LANCZOS)
        difference = np.abs(np.asarray(small).astype(int) - np.asarray(plain).astype(int))
    assert difference.mean() < 1
    assert difference[2:-2, 2:-2, :2].max() <= 3


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_becomes_rgba_and_nothing_is_enlarged(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (20, 10), (200, 200, 200, 255))
    image.putpixel((0, 0), (200, 200, 200, 0))
    converted = image.convert(mode)
    options = {"transparency": converted.getpixel((0, 0))} if mode == "P" else {}
    converted.save(tmp_path / "in.png", **options)
    save_capped(tmp_path / "in.png", tmp_path / "out.png", longest=512)
    with Image.open(tmp_path / "out.png") as out:
        assert (out.mode, out.size) == ("RGBA", (20, 10))
        corner = out.getpixel((0, 0))
    if mode in ("LA", "RGBA", "P"):
        assert corner[3] == 0  # type: ignore[index]
    else:
        assert corner == (200, 200, 200, 255)


def test_pillows_own_limit_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "in.png", (100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6000)
    save_capped(tmp_path / "in.png", tmp_path / "out.png", longest=50)
    assert Image.MAX_IMAGE_PIXELS == 6000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(Image.DecompressionBombError):
        save_capped(tmp_path / "in.png", tmp_path / "out.png", longest=50)


def test_clip13_takes_folders_below_and_no_links(tmp_path: Path, cache: Path) -> None:
    root = cache / "debian/openclipart-png/usr/share/openclipart/png"
    for number, folder in enumerate(clipart.FOLDERS):
        picture(root / folder / f"{number}.png", (1100, 60))
    picture(root / "animals/mammals/horses/horse.png")
    picture(root / "animals/elsewhere.png")
    os.symlink("horses/horse.png", root / "animals/mammals/link.png")
    to = samples.build("clip13", tmp_path / "to", offline=True)
    expected = {folder.rpartition("/")[2]: 1 for folder in clipart.FOLDERS} | {"mammals": 2}
    assert counts(to) == dict(sorted(expected.items()))
    with Image.open(to / "birds/0.png") as image:
        assert image.size == (512, 28)
        assert image.getpixel((0, 0))[3] == 40  # type: ignore[index]


def test_stamps_leave_cartoons_and_share_clip13s_names(tmp_path: Path, cache: Path) -> None:
    root = cache / "debian/tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
    for name, folders in stamps.FOLDERS.items():
        for folder in folders:
            picture(root / folder / f"{name}-{Path(folder).name}.png")
    picture(root / "animals/birds/cartoon/drawn.png")
    picture(root / "vehicles/ship/boat.png")
    seven = counts(samples.build("stamp7", tmp_path / "7", offline=True))
    nine = counts(samples.build("stamp9", tmp_path / "9", offline=True))
    assert nine == {name: len(folders) for name, folders in sorted(stamps.FOLDERS.items())}
    assert seven == {name: count for name, count in nine.items() if name not in ("bugs", "trees")}
    assert set(nine) <= {folder.rpartition("/")[2] for folder in clipart.FOLDERS}


def idx(content: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, content.ndim]) + struct.pack(f">{content.ndim}I", *content.shape)
    return gzip.compress(head + content.tobytes())


def test_fashion_takes_the_first_of_each_class(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = cache / "debian/dataset-fashion-mnist/usr/share/datasets/fashion-mnist"
    root.mkdir(parents=True)
    for prefix, n in {"train": 30, "t10k": 20}.items():
        images = np.arange(n, dtype=np.uint8)[:, None, None] + np.zeros((n, 3, 2), np.uint8)
        (root / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (root / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(n, dtype=np.uint8) % 10))
    fashion._fashion({"train": 2, "test": 9}, tmp_path, Sources(cache=cache, offline=True))
    assert set(counts(tmp_path / "train").values()) == {2}
    assert set(counts(tmp_path / "test").values()) == {2}
    assert sorted(p.name for p in (tmp_path / "train/dress").iterdir()) == ["00003.png", "00013.png"]
    with Image.open(tmp_path / "train/dress/00013.png") as image:
        assert image.size == (2, 3)
        assert image.getpixel((1, 2)) == 13


def test_boxes_are_read_from_voc(tmp_path: Path) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>2.0</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    (tmp_path / "a.xml").write_text(f"<annotation><object><name>Tree</name>{box}</object></annotation>")
    assert list(trees._boxes(tmp_path / "a.xml")) == [(1, 2, 3, 4, "Tree")]


# --- audio --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "label"),
    [
        ("Snare Rimshot (Pearl)", "snare"),
        ("Pearl Side Stick", "stick"),
        ("c3 - bass drum 1", "kick"),
        ("HardHse_K_02.flac", "kick"),
        ("PowR_SN_1.flac", "snare"),
        ("Pearl Tom Floor", "tom"),
        ("tomhi2", "tom"),
        ("Hi-Hat Closed (Paiste Alpha Metal edge 14)", "hihat"),
        ("Crash/Ride Bell (Paiste)", "ride"),
        ("China (Snare)", None),
        ("Splash", None),
        ("", None),
    ],
)
def test_instruments_have_classes(instrument: str, label: str | None) -> None:
    assert drums._label(instrument) == label


def test_drum_hits_name_their_kit(tmp_path: Path, cache: Path) -> None:
    for package in drums.PACKAGES:
        kit = cache / f"debian/{package}/usr/share/hydrogen/data/drumkits/Kit of {package}"
        kit.mkdir(parents=True)
        for name in ("a.wav", "b.wav", "c.wav"):
            (kit / name).write_bytes({"b.wav": b"FORM"}.get(name, b"RIFF"))
        sounds = [("Kick 1", "a.wav"), ("Kick 2", "b.wav"), ("Whistle", "c.wav"), ("Cowbell", "absent.wav")]
        text = "".join(
            f"<instrument><name>{name}</name><layer><filename>{file}</filename></layer></instrument>"
            for name, file in sounds
        )
        (kit / "drumkit.xml").write_text(f'<drumkit_info xmlns="http://x.org/y">{text}</drumkit_info>')
    to = samples.build("drum-hits", tmp_path / "to", offline=True)
    assert counts(to) == {"kick": 4}
    table = rows(to / "items.csv")
    assert {row["kit"] for row in table} == {f"Kit of {package}" for package in drums.PACKAGES}
    assert all((to / row["path"]).is_file() and row["label"] == "kick" for row in table)
    assert sorted(Path(row["path"]).suffix for row in table) == [".aiff", ".aiff", ".wav", ".wav"], "by content"


def test_letters_name_their_speaker(tmp_path: Path, cache: Path) -> None:
    for package, folder in letters.SPEAKERS.values():
        path = cache / "debian" / package / folder
        path.mkdir(parents=True)
        for name in ("A.ogg", "b.ogg", "dot.ogg"):
            (path / name).write_bytes(b"OggS")
    to = samples.build("spoken-letters", tmp_path / "to", offline=True)
    assert counts(to) == {"a": 3, "b": 3}
    assert {(row["label"], row["speaker"]) for row in rows(to / "items.csv")} == {
        (letter, speaker) for letter in "ab" for speaker in letters.SPEAKERS
    }


# --- text and tables ----------------------------------------------------------------------------


def mo(pairs: dict[str, str]) -> bytes:
    """A GNU gettext catalogue, by the format's description."""
    keys = sorted(key.encode() for key in pairs)
    values = [pairs[key.decode()].encode() for key in keys]
    n, start = len(keys), 28 + 16 * len(keys)
    table, blob = [], b""
    for text in [*keys, *values]:
        table.append(struct.pack("<2I", len(text), start + len(blob)))
        blob += text + b"\0"
    return struct.pack("<7I", 0x950412DE, 0, n, 28, 28 + 8 * n, 0, start) + b"".join(table) + blob


def test_messages_agree_with_gettext() -> None:
    pairs = {"": "Content-Type: text/plain; charset=UTF-8\n", "Yes": "Oui", "a\nb": "ä\nβ", "May": "mai"}
    content = mo({**pairs, "alt. month\x04June": "Juin", "%d day\0%d days": "%d jour\0%d jours", "empty": ""})
    ours = dict(strings._messages(content))
    oracle = gettext.GNUTranslations(io.BytesIO(content))
    for message in ("Yes", "a\nb", "May"):
        assert ours[message] == oracle.gettext(message)
    assert ours["June"] == oracle.pgettext("alt. month", "June")
    assert ours["%d day"] == "%d jour"
    assert set(ours) == {"Yes", "a\nb", "May", "June", "%d day"}


def test_words_of_one_label_side_by_side_are_one_span() -> None:
    line = ET.fromstring("<AddressString><No>1 A</No> <Name>Main</Name> <Name>St</Name> <No>2</No><X/></AddressString>")
    assert list(addresses._tagged(line)) == [
        *(("1", "B-No"), ("A", "I-No"), ("Main", "B-Name"), ("St", "I-Name"), ("2", "B-No")),
    ]


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def nested() -> Iterator[str]:
    yield from ("Heat", "Solaris", "Heat", "Drama", "Drama|War", "Drama")


def test_columns_come_from_opcodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts: list[object] = [*nested(), float("nan")]
    content = pickle.dumps([bytearray(b"first"), bytearray(b"second"), texts, Hostile()], protocol=5)
    blocks, found = films._columns(content)
    assert blocks == [b"first", b"second"]
    assert found[:7] == [*nested(), ""]
    assert not (tmp_path / "executed").exists()
    pickle.loads(content)  # noqa: S301
    assert (tmp_path / "executed").exists(), "this test no longer notices code in a pickle"
