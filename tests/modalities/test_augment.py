"""Random views: decided by the generator alone, and each part of the policy does what it says and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.errors import OptionError
from headway.modalities.image import Augmentation, augment, resize

NOTHING = Augmentation(scale=(1, 1), ratio=(1, 1), flip=False, brightness=0, contrast=0, saturation=0)


def _picture(height=90, width=120, seed=0):
    coarse = np.random.default_rng(seed).integers(30, 220, (6, 8, 3), dtype=np.uint8)
    return resize(coarse, height, width)


def _view(image, policy, seed=0, height=32, width=48):
    return augment(image, height, width, rng=np.random.default_rng(seed), policy=policy)


def test_a_policy_of_nothing_is_the_clean_view():
    image = _picture()
    np.testing.assert_array_equal(_view(image, NOTHING), resize(image, 32, 48))


def test_the_generator_alone_decides():
    image, policy = _picture(), Augmentation(rotate=20, shift=0.1, erase=0.5)
    for seed in range(5):
        np.testing.assert_array_equal(_view(image, policy, seed), _view(image.copy(), policy, seed))
    assert len({_view(image, policy, seed).tobytes() for seed in range(20)}) == 20


def test_half_the_views_are_mirrored_and_none_without_flip():
    image = _picture()
    clean, views = resize(image, 32, 48), [_view(image, replace(NOTHING, flip=True), seed) for seed in range(200)]
    mirrored = [np.array_equal(view, clean[:, ::-1]) for view in views]
    assert all(other or np.array_equal(view, clean) for view, other in zip(views, mirrored, strict=True))
    assert 70 < sum(mirrored) < 130


def test_a_crop_has_the_area_and_the_place_it_should():
    """Pixels of a picture whose colours are its coordinates tell where a view came from."""
    rows, columns = np.meshgrid(np.arange(200), np.arange(250), indexing="ij")
    image = np.stack([rows, columns, np.zeros_like(rows)], -1).astype(np.uint8)
    policy = replace(NOTHING, scale=(0.3, 0.6), ratio=(0.75, 4 / 3))
    areas, shapes, tops = [], [], []
    for seed in range(300):
        view = _view(image, policy, seed, 40, 50).astype(float)
        # Between the centres of the outermost pixels of a view lie 39 of 40 steps
        down = (view[-1, :, 0].mean() - view[0, :, 0].mean()) * 40 / 39 / 200
        across = (view[:, -1, 1].mean() - view[:, 0, 1].mean()) * 50 / 49 / 250
        areas.append(down * across)
        shapes.append(across / down)
        tops.append(view[0, :, 0].mean() / 200)
    assert 0.27 < min(areas) < 0.36
    assert 0.54 < max(areas) < 0.65
    assert abs(np.mean(areas) - 0.45) < 0.03
    assert 0.70 < min(shapes) < 0.82
    assert 1.2 < max(shapes) < 1.42
    assert min(tops) < 0.03
    assert max(tops) > 0.3


def test_colours_change_by_the_factors_drawn():
    grey = np.full((20, 20, 3), 100, np.uint8)
    seen = np.array([_view(grey, replace(NOTHING, brightness=0.2), seed).mean() for seed in range(300)])
    assert 79 < seen.min() < 84
    assert 116 < seen.max() < 121
    for part in ("contrast", "saturation"):  # neither changes a picture that has none
        flat = [_view(grey, replace(NOTHING, **{part: 0.5}), seed) for seed in range(20)]
        assert all(np.abs(view.astype(int) - 100).max() <= 1 for view in flat)
    image = _picture()
    clean = resize(image, 32, 48).astype(float)
    spread = [_view(image, replace(NOTHING, contrast=0.5), seed).std() / clean.std() for seed in range(60)]
    assert min(spread) < 0.65
    assert max(spread) > 1.2
    luma = np.array([0.299, 0.587, 0.114])
    for seed in range(10):  # saturation keeps the luma, but for what is clipped
        view = _view(image, replace(NOTHING, saturation=0.3), seed).astype(float)
        inside = ((view > 0) & (view < 255)).all(-1)
        assert np.abs((view - clean) @ luma)[inside].max() < 2


def test_turning_keeps_the_middle_and_fills_with_the_borders_colour():
    image = np.zeros((64, 64, 3), np.uint8)
    image[24:40, 24:40] = 255
    turned = [_view(image, replace(NOTHING, rotate=45), seed, 64, 64) for seed in range(20)]
    assert all(view[32, 32].tolist() == [255] * 3 and view[0, 0].tolist() == [0] * 3 for view in turned)
    assert len({view.tobytes() for view in turned}) > 10
    shifted = [_view(255 - image, replace(NOTHING, shift=0.25), seed, 64, 64) for seed in range(40)]
    middles = [np.argwhere(view[..., 0] < 128).mean(0) - 31.5 for view in shifted]
    assert np.abs(middles).max() <= 16.5
    assert np.abs(middles).max(0).min() > 10
    assert all(view[0].min() == 255 for view in shifted)


def test_a_rectangle_is_covered_as_often_as_asked():
    image = _picture(seed=2)
    clean = resize(image, 60, 60)
    views = [_view(image, replace(NOTHING, erase=0.5), seed, 60, 60) for seed in range(200)]
    covered = [(view != clean).any(-1) for view in views]
    hit = [mask for mask in covered if mask.any()]
    assert 70 < len(hit) < 130
    for mask in hit:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert 0.01 < len(rows) * len(columns) / mask.size < 0.23
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.9


def test_changing_one_part_leaves_the_others_as_they_were():
    image = _picture()
    for seed in range(10):
        plain = _view(image, NOTHING, seed)
        mirrored = np.array_equal(_view(image, replace(NOTHING, flip=True), seed), plain[:, ::-1])
        cropped = _view(image, replace(NOTHING, scale=(0.5, 0.5)), seed)
        both = _view(image, replace(NOTHING, scale=(0.5, 0.5), flip=True), seed)
        np.testing.assert_array_equal(both, cropped[:, ::-1] if mirrored else cropped)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 1000))
def test_any_size_gives_a_view(height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    view = _view(image, Augmentation(rotate=10, shift=0.1, erase=0.9), seed, 7, 9)
    assert (view.shape, view.dtype, view.flags.c_contiguous) == ((7, 9, 3), np.uint8, True)


@pytest.mark.parametrize(
    "wrong",
    [{"scale": (0, 1)}, {"scale": (0.9, 0.5)}, {"scale": (0.5, 1.5)}, {"ratio": (2, 1)}, {"rotate": -1}, {"erase": 2},
     {"brightness": float("nan")}],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(OptionError, match="out of range"):
        Augmentation(**wrong)
