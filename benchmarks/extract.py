"""Features of EfficientNet-Lite0 from JPEG files: against timm by hand, against the machine's bound, cold and warm.

    python benchmarks/extract.py            about 6 minutes on 2 cores
    python benchmarks/extract.py --memory   and peak memory at 1,000 and 50,000 images, 4 minutes more

The images are the 716 drawings of clip13, flattened on white and encoded once as JPEG of quality 90 whose long side is
400 to 512 pixels. All cases are measured in turn in one process; a ratio is the median over rounds.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _shared import Target, arguments, in_turn, note, quickest, ratio, report, sample, timed
from headway import backbones, fetch
from headway.data.index import ContentIndex
from headway.data.read import read
from headway.engine.ir import IR
from headway.engine.pool import Member, open_network
from headway.features.embed import embed
from headway.features.store import Store
from headway.modalities import image
from headway.modalities.image import cover_of

NETWORK = "packaged:efficientnet_lite0.in1k"
PEERS = {f"timm + torchvision + DataLoader, {w} workers": w for w in (0, 2)}
OURS, WARM, DECODE = "headway, cold store", "headway, warm store", "decode + resize alone"
LONG_SIDE = (400, 512)
CORES = os.cpu_count() or 1
TRIAL_IMAGES = 192
FINALISTS = 2  # OpenVINO settings that are measured against each other in every round
MEMORY_COUNTS = (1_000, 50_000)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often every case is measured (default 5)")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory")
    parser.add_argument("--memory-child", metavar="FOLDER", type=Path, help="print the peak memory of one extraction")
    options = parser.parse_args()
    if options.memory_child:
        print(peak_memory(options.memory_child))
        return
    numbers, targets, tables = measure(options.rounds if not options.quick else 2, quick=options.quick)
    if options.memory:
        grown, target, table = measure_memory(MEMORY_COUNTS if not options.quick else (200, 1_000))
        numbers["memory"], targets, tables = grown, [*targets, target], [*tables, table]
    report("extract", numbers, targets, options, tables=tables)


def measure(rounds: int, *, quick: bool) -> tuple[dict[str, Any], list[Target], list[Any]]:
    with jpegs(per_class=5 if quick else None) as folder, tempfile.TemporaryDirectory() as scratch:
        cases, count = build_cases(folder, Path(scratch), quick=quick)
        found = in_turn(rounds, cases)
    peer = quickest(found, list(PEERS))
    bare = quickest(found, [name for name in cases if name.startswith("OpenVINO")])
    bound = [d + f for d, f in zip(found[DECODE], found[bare], strict=True)]  # 1 / (1/decode + 1/forward), in seconds
    ratios = {
        "headway / timm": ratio(found[peer], found[OURS]),
        "headway / bound": ratio(bound, found[OURS]),
        "warm / cold": ratio(found[OURS], found[WARM]),
    }
    rates = {name: count / median(seconds) for name, seconds in found.items()} | {"bound": count / median(bound)}
    targets = [
        Target(what="times faster than timm by hand", value=ratios["headway / timm"], limit=15, least=True),
        Target(what="share of the machine's bound", value=ratios["headway / bound"], limit=0.9, least=True),
        Target(what="times faster from a warm store", value=ratios["warm / cold"], limit=100, least=True),
    ]
    rows = [("case", "images/s", "ms in all"), *((n, f"{r:.0f}", f"{1000 * count / r:.1f}") for n, r in rates.items())]
    numbers = {"images": count, "seconds": found, "rates": rates, "ratios": ratios, "peer": peer, "forward": bare}
    return numbers, targets, [(f"{count} JPEGs through {NETWORK}", rows)]


def build_cases(folder: Path, scratch: Path, *, quick: bool) -> tuple[dict[str, Callable[[], float]], int]:
    """Everything that is measured; each case gives the seconds for all images."""
    from _peer import network

    member = open_network(backbones.open(NETWORK, offline=False), device="cpu", cache=fetch.cache_dir() / "networks")
    weights = weights_file(member)
    timm_network = network(weights)
    warm = scratch / "warm"
    extraction(folder, member, warm)
    time.sleep(2.1)  # files younger than this are not remembered by the content index
    extraction(folder, member, warm)
    cases: dict[str, Callable[[], float]] = {}
    for name, workers in PEERS.items():
        cases[name] = partial(by_hand, timm_network, folder, workers)
    sources = [Path(str(source)) for source in read(folder).sources]
    views = decode_all(sources, member.ir)
    cases[OURS] = lambda: cold(folder, member, scratch)
    cases[WARM] = lambda: timed(lambda: extraction(folder, member, warm))
    cases[DECODE] = lambda: timed(lambda: decode_all(sources, member.ir))
    return cases | openvino_alone(member, views, quick=quick), len(sources)


def by_hand(network: Any, folder: Path, workers: int) -> float:
    from _peer import features, loader

    return timed(lambda: features(network, loader(folder, workers=workers)))


def extraction(folder: Path, member: Member, cache: Path) -> None:
    """What a user waits for: reading, hashing, decoding, the network, and every stage's features on disk."""
    dataset = read(folder, index=ContentIndex(cache / "content.sqlite"))
    found = embed(dataset, [member.frozen], store=Store(cache / "features"))
    assert not found.bad and not len(found.left)


def cold(folder: Path, member: Member, scratch: Path) -> float:
    with tempfile.TemporaryDirectory(dir=scratch) as fresh:
        return timed(lambda: extraction(folder, member, Path(fresh)))


def decode_all(sources: list[Path], ir: IR) -> NDArray[np.uint8]:
    """Our decoding and resizing on all cores, and nothing else."""
    views = np.empty((len(sources), ir.view.height, ir.view.width, 3), np.uint8)
    cover = (cover_of(ir.view.height, ir.view.width),) * 2

    def one(row: int) -> None:
        decoded = image.decode(sources[row], cover=cover)
        views[row] = image.resize(decoded, ir.view.height, ir.view.width, interpolation=ir.view.interpolation)  # type: ignore[arg-type]

    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(one, range(len(sources))))
    return views


def openvino_alone(member: Member, views: NDArray[np.uint8], *, quick: bool) -> dict[str, Callable[[], float]]:
    """OpenVINO on decoded tensors as its own benchmark_app drives it: the settings that did best in two trials."""
    batches = (4,) if quick else (1, 2, 4, 8, 16, 32)
    streams = ("auto",) if quick else tuple(dict.fromkeys(("auto", "1", str(CORES))))
    few = views[:TRIAL_IMAGES]
    rates: dict[tuple[int, str, bool], float] = {}
    for setting in itertools.product(batches, streams, (False, True)):
        run = bare_run(member, few, *setting)  # compiled anew for the finalists: all of them at once hold gigabytes
        run()
        rates[setting] = len(few) / min(run(), run())
        note(f"{rates[setting]:8.0f} images/s  {setting_name(*setting)}")
    best = sorted(rates, key=lambda setting: -rates[setting])[:FINALISTS]
    return {setting_name(*setting): bare_run(member, views, *setting) for setting in best}


@cache
def openvino_core() -> Any:
    """One for the whole process: several that go out of order leave it a freed signal stack, and it crashes later."""
    import openvino as ov

    return ov.Core()


def setting_name(batch: int, streams: str, pinned: bool) -> str:
    return f"OpenVINO alone, batch {batch}, streams {streams}{', pinned' if pinned else ''}"


def bare_run(member: Member, views: NDArray[np.uint8], batch: int, streams: str, pinned: bool) -> Callable[[], float]:
    """One setting, compiled; each call runs all views and gives the seconds that they take."""
    import openvino as ov

    core = openvino_core()
    model = core.read_model(member.ir.folder / "model.xml")
    model.reshape([batch, member.ir.view.height, member.ir.view.width, 3])
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": member.frozen.engine.rpartition("-")[2],
        "PERFORMANCE_HINT": "THROUGHPUT",
        "ENABLE_CPU_PINNING": pinned,
    }
    if streams != "auto":
        options["NUM_STREAMS"] = streams
    queue = ov.AsyncInferQueue(core.compile_model(model, "CPU", options), 0)
    whole = len(views) - len(views) % batch

    def run() -> None:
        for start in range(0, whole, batch):
            queue.start_async({0: views[start : start + batch]}, share_inputs=True)
        queue.wait_all()

    return lambda: timed(run) * len(views) / whole


def weights_file(member: Member) -> Path:
    """The file of weights for the peer; building the network once makes it where it is not there yet."""
    if member.backbone.weights_file() is None:
        member.backbone.module()
    found = member.backbone.weights_file()
    assert found is not None
    return found


@contextmanager
def jpegs(*, per_class: int | None) -> Iterator[Path]:
    """A folder a class of JPEGs, encoded once beside the cache; with ``per_class`` a folder of the first few only."""
    whole = fetch.cache_dir() / "benchmarks" / "clip13-jpeg"
    if not whole.exists():
        with tempfile.TemporaryDirectory(dir=sample("clip13").parent) as partial_folder:
            for path in sorted(sample("clip13").rglob("*.png")):
                encode(path, Path(partial_folder) / "all" / path.parent.name / f"{path.stem}.jpg")
            (Path(partial_folder) / "all").rename(whole)
    if per_class is None:
        yield whole
        return
    with tempfile.TemporaryDirectory() as few:
        for folder in sorted(whole.iterdir()):
            (Path(few) / folder.name).mkdir()
            for path in sorted(folder.iterdir())[:per_class]:
                (Path(few) / folder.name / path.name).symlink_to(path)
        yield Path(few)


def encode(source: Path, target: Path) -> None:
    from PIL import Image

    picture = Image.fromarray(image.decode(source))
    longest = max(picture.size)
    factor = min(max(longest, LONG_SIDE[0]), LONG_SIDE[1]) / longest
    size = [max(round(side * factor), 1) for side in picture.size]
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((size[0], size[1]), Image.Resampling.LANCZOS).save(target, quality=90)


# --- memory -------------------------------------------------------------------------------------


def measure_memory(counts: tuple[int, int]) -> tuple[dict[str, float], Target, Any]:
    """Peak memory of a process that extracts ``counts`` images: small, all different, in one folder a class."""
    peaks = []
    with tempfile.TemporaryDirectory() as scratch:
        for count in counts:
            folder = Path(scratch) / str(count)
            note(f"making {count} images")
            make_small(folder, count)
            command = [sys.executable, __file__, "--memory-child", str(folder)]
            peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            note(f"peak memory at {count} images: {peaks[-1]:.0f} MiB")
    grown = peaks[1] / peaks[0]
    numbers = {f"MiB at {count}": peak for count, peak in zip(counts, peaks, strict=True)} | {"ratio": grown}
    target = Target(
        what=f"times the memory at {counts[1]} of that at {counts[0]} images", value=grown, limit=1.2, least=False
    )
    rows = [("images", "peak MiB"), *((str(c), f"{p:.0f}") for c, p in zip(counts, peaks, strict=True))]
    return numbers, target, ("peak memory of one process", rows)


def make_small(folder: Path, count: int) -> None:
    import simplejpeg

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        pixels = np.kron(rng.integers(0, 256, (12, 12, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
        (folder / "ab"[number % 2] / f"{number:05d}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels, quality=90))


def peak_memory(folder: Path) -> float:
    """MiB that this process held at most. Linux's own figure: getrusage would count the parent's before exec."""
    member = open_network(backbones.open(NETWORK, offline=False), device="cpu", cache=fetch.cache_dir() / "networks")
    with tempfile.TemporaryDirectory() as fresh:
        extraction(folder, member, Path(fresh))
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
