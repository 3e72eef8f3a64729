"""Peers that fine-tune, as users write them today: fastai's ``fine_tune(10)``, and a plain torch loop.

    python benchmarks/_ladder_peers.py fastai|full WEIGHTS DATA OUT.json [SECONDS] [IMAGES_A_SECOND]

trains on ``DATA/train``, predicts ``DATA/test`` and writes the predictions. ``SECONDS`` is the time for training alone:
imports, decoding and predicting are on top, in the peer's favour. With ``IMAGES_A_SECOND`` the time is counted in
training images at that pace, so that a busy machine gives what a quiet one would.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

STARTED = perf_counter()

from headway.backbones._torchvision import prepare  # noqa: E402

prepare()  # torchvision imports only after it where its compiled operators are missing; it changes nothing else

import numpy as np  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from _peer import ARCHITECTURE, on_white  # noqa: E402

BATCH, SIDE, CROP = 32, 256, 224
LR_HEAD, LR_BODY, WEIGHT_DECAY = 1e-3, 5e-4, 0.01
FULL_EPOCHS = 10  # of fastai's fine_tune
TEXT_LIKE = {str(digit) for digit in range(10)}  # classes that a mirror would change: digits are not flipped


class Clock(Protocol):
    def __call__(self, images: int) -> float:
        """Seconds of training after so many images."""


def clock(pace: float | None) -> Clock:
    started = perf_counter()
    return (lambda images: images / pace) if pace else (lambda images: perf_counter() - started)  # noqa: ARG005


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def decoded(path: Path) -> np.ndarray[Any, Any]:
    """``[256, 256, 3]`` bytes: short side to 256, the middle of the long one; decoded once, not once an epoch."""
    image = on_white(str(path))
    scale = SIDE / min(image.size)
    size = [max(SIDE, round(side * scale)) for side in image.size]
    left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    resized = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)))


def overlay(weights: Path) -> dict[str, str]:
    """timm's way to name a file in place of its hub."""
    return {"file": str(weights)}


# --- fastai -------------------------------------------------------------------------------------


def fastai(
    weights: Path, data: Path, seconds: float, pace: float | None
) -> tuple[np.ndarray[Any, Any], list[str], Any]:
    """All training images are trained on, none held out: the most that the documented recipe can get from them.

    With a limit, its epochs are as many as fit after the frozen one, and training stops at the limit whatever happens.
    """
    from fastai.callback.channelslast import ChannelsLast
    from fastai.vision.all import (
        Callback,
        CancelFitException,
        CategoryBlock,
        DataBlock,
        ImageBlock,
        IndexSplitter,
        PILImage,
        aug_transforms,
        set_seed,
        vision_learner,
    )

    set_seed(0)
    names = sorted(folder.name for folder in (data / "train").iterdir())
    learnt, asked = files_of(data / "train"), files_of(data / "test")
    pixels = [decoded(path) for path in learnt + asked]
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=names)),
        get_x=lambda row: PILImage.create(pixels[row]),
        get_y=lambda row: learnt[row].parent.name,
        splitter=IndexSplitter([]),
        batch_tfms=aug_transforms(size=CROP, min_scale=0.75, do_flip=not TEXT_LIKE.issuperset(names)),
    )
    loaders = block.dataloaders(range(len(learnt)), bs=min(BATCH, len(learnt)), num_workers=0)
    learner = vision_learner(loaders, ARCHITECTURE, pretrained_cfg_overlay=overlay(weights), cbs=ChannelsLast())
    elapsed = clock(pace)

    class Limit(Callback):  # type: ignore[misc, unused-ignore]
        images = 0

        def after_batch(self) -> None:
            self.images += len(self.x) if self.training else 0
            if self.training and elapsed(self.images) >= seconds:
                raise CancelFitException

    limit = Limit()
    with learner.no_bar(), learner.no_logging():
        epochs = FULL_EPOCHS
        if math.isinf(seconds):
            learner.fine_tune(epochs)
        else:
            # fine_tune is a frozen epoch and then the epochs asked for: here as many as fit, 10 at most.
            learner.fit_one_cycle(1, slice(2e-3), pct_start=0.99, cbs=limit)
            used = elapsed(limit.images)
            epochs = min(FULL_EPOCHS, int((seconds - used) / used))
            learner.unfreeze()
            if epochs and used < seconds:
                learner.fit_one_cycle(epochs, slice(1e-3 / 100, 1e-3), pct_start=0.3, div=5.0, cbs=limit)
        trained = elapsed(limit.images)
        scores, _ = learner.get_preds(dl=loaders.test_dl(range(len(learnt), len(pixels))))
    return scores.numpy(), names, {"train": trained, "epochs": epochs, "images": limit.images}


# --- a plain loop -------------------------------------------------------------------------------


def full(weights: Path, data: Path, seconds: float, pace: float | None) -> tuple[np.ndarray[Any, Any], list[str], Any]:
    """Full fine-tuning: AdamW, 1e-3 for the head and 5e-4 below it, falling by a cosine to 0 at the limit."""
    torch.manual_seed(0)
    names = sorted(folder.name for folder in (data / "train").iterdir())
    model = timm.create_model(
        ARCHITECTURE, pretrained=True, pretrained_cfg_overlay=overlay(weights), num_classes=len(names)
    ).to(memory_format=torch.channels_last)
    head = {id(parameter) for parameter in model.get_classifier().parameters()}
    groups = [
        {"params": [p for p in model.parameters() if id(p) in head], "lr": LR_HEAD},
        {"params": [p for p in model.parameters() if id(p) not in head], "lr": LR_BODY},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    paths = files_of(data / "train")
    images = torch.from_numpy(np.stack([decoded(path) for path in paths])).permute(0, 3, 1, 2)
    targets = torch.tensor([names.index(path.parent.name) for path in paths])
    flip = not TEXT_LIKE.issuperset(names)
    elapsed, seen = clock(pace), 0
    model.train()
    for rows in shuffled(len(paths)):
        part = elapsed(seen) / seconds
        if part >= 1:
            break
        for group, rate in zip(optimiser.param_groups, (LR_HEAD, LR_BODY), strict=True):
            group["lr"] = rate * min(1.0, part / 0.05 + 0.1) * (1 + math.cos(math.pi * part)) / 2
        loss = torch.nn.functional.cross_entropy(model(augmented(images[rows], flip=flip)), targets[rows])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
        optimiser.step()
        seen += len(rows)
    trained = elapsed(seen)
    return predicted(model.eval(), data), names, {"train": trained, "epochs": seen / len(paths), "images": seen}


def shuffled(n: int) -> Iterator[torch.Tensor]:
    while True:
        order = torch.randperm(n)
        size = min(BATCH, n)
        yield from (order[start : start + size] for start in range(0, n - size + 1, size))


def augmented(images: torch.Tensor, *, flip: bool) -> torch.Tensor:
    """A crop of 0.75 to 1 of the side each, at random, and a mirror image half of the time where that means nothing."""
    made = []
    for image in images:
        side = int(torch.randint(int(0.75 * SIDE), SIDE + 1, ()))
        top, left = (int(torch.randint(0, SIDE - side + 1, ())) for _ in range(2))
        crop = image[None, :, top : top + side, left : left + side].float()
        sized = torch.nn.functional.interpolate(crop, (CROP, CROP), mode="bilinear", antialias=True)[0]
        made.append(sized.flip(-1) if flip and torch.rand(()) < 0.5 else sized)
    return (torch.stack(made) / 127.5 - 1).contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def predicted(model: Any, data: Path) -> np.ndarray[Any, Any]:
    found, margin = [], (SIDE - CROP) // 2
    paths = files_of(data / "test")
    for start in range(0, len(paths), BATCH):
        batch = np.stack([decoded(path) for path in paths[start : start + BATCH]])
        middle = torch.from_numpy(batch).permute(0, 3, 1, 2)[:, :, margin:-margin, margin:-margin]
        found.append(model(middle.float() / 127.5 - 1).numpy())
    return np.concatenate(found)


PEERS: dict[str, Callable[..., tuple[np.ndarray[Any, Any], list[str], Any]]] = {"fastai": fastai, "full": full}


def main(kind: str, weights: Path, data: Path, out: Path, seconds: float, pace: float | None) -> None:
    scores, names, facts = PEERS[kind](weights, data, seconds, pace)
    paths = files_of(data / "test")
    answers = {
        f"{path.parent.name}/{path.name}": names[code] for path, code in zip(paths, scores.argmax(1), strict=True)
    }
    out.write_text(json.dumps({"answers": answers, "seconds": {**facts, "all": perf_counter() - STARTED}}), "utf-8")


if __name__ == "__main__":
    _, kind, weights, data, out, *limits = sys.argv
    given = [float(limit) for limit in limits] + [math.inf, 0.0][len(limits) :]
    main(kind, Path(weights), Path(data), Path(out), given[0], given[1] or None)
