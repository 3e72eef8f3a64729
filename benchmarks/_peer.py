"""The peer, as a user writes it today: timm, torchvision transforms, a DataLoader, scikit-learn.

    python benchmarks/_peer.py WEIGHTS DATA OUT.json [WORKERS]

trains on ``DATA/train``, predicts ``DATA/test`` and writes the predictions. ``WEIGHTS`` is the file that
``timm.create_model(..., pretrained=True)`` would fetch from its hub.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, cast

STARTED = perf_counter()

from headway.backbones._torchvision import prepare  # noqa: E402

prepare()  # torchvision imports only after it where its compiled operators are missing; it changes nothing else

import numpy as np  # noqa: E402
import timm  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torchvision import transforms  # noqa: E402
from torchvision.datasets import ImageFolder  # noqa: E402

ARCHITECTURE = "tf_efficientnet_lite0"


def network(weights: Path) -> Any:
    model = timm.create_model(ARCHITECTURE, checkpoint_path=str(weights))
    model.reset_classifier(0)
    return model.eval()


def loader(folder: Path, *, workers: int) -> DataLoader[Any]:
    transform = transforms.Compose(
        [
            transforms.Resize(256, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )
    return DataLoader(ImageFolder(str(folder), transform, loader=on_white), batch_size=32, num_workers=workers)


def on_white(path: str) -> Image.Image:
    """ImageFolder's own loader drops alpha, which shows whatever lies under it: Headway's white is granted here."""
    with Image.open(path) as image:
        if image.mode == "RGB":
            return image.convert("RGB")
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


@torch.inference_mode()
def features(model: Any, batches: DataLoader[Any]) -> np.ndarray[Any, Any]:
    return np.concatenate([model(images).numpy() for images, _ in batches])


def main(weights: Path, data: Path, out: Path, workers: int) -> None:
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    imported = perf_counter()
    model = network(weights)
    train, test = loader(data / "train", workers=workers), loader(data / "test", workers=workers)
    learnt, asked = cast(ImageFolder, train.dataset), cast(ImageFolder, test.dataset)
    X_train, X_test = features(model, train), features(model, test)
    extracted = perf_counter()
    probe = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=10, cv=3, max_iter=1000))
    probe.fit(X_train, learnt.targets)
    predicted = probe.predict(X_test)
    answers = {
        str(Path(path).relative_to(data / "test")): asked.classes[code]
        for (path, _), code in zip(asked.samples, predicted, strict=True)
    }
    seconds = {
        "imports": imported - STARTED,
        "features": extracted - imported,
        "probe": perf_counter() - extracted,
    }
    out.write_text(json.dumps({"answers": answers, "seconds": seconds}), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0)
