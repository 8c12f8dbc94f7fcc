"""Tests of quantised dense and continuous targets, and of heat maps."""

import io
import xml.etree.ElementTree as ET

import jax
import numpy as np
import pytest
from PIL import Image

from jtransfer import class_moments, dense_h_score, h_score
from jtransfer.report.pages.heat_maps import heat_map_png, heat_map_svg
from jtransfer.scores.dense_targets import (
    block_middles,
    palette,
    palette_levels,
    quantile_levels,
)

KEY = jax.random.key(0)
COLORS = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0.5], [1, 1, 1]], np.float32)


def painted(seed, noise=0.02, shape=(6, 10, 8)):
    """Images of four colours with noise, and which colour each pixel has."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(4, size=shape).astype(np.int32)
    images = COLORS[levels] + noise * rng.normal(size=(*shape, 3))
    return images.astype(np.float32), levels


def test_the_palette_is_that_of_the_painter():
    images, levels = painted(0)
    for num_pixels in (20_000, 200):  # All 480 of them, or some.
        colors = palette(images, KEY, num_levels=4, num_pixels=num_pixels)
        np.testing.assert_allclose(colors, COLORS, atol=0.02)
        nearest = palette_levels(images, colors)
        np.testing.assert_array_equal(nearest, levels)
        assert nearest.dtype == np.int32
        again = palette(images, KEY, num_levels=4, num_pixels=num_pixels)
        np.testing.assert_array_equal(again, colors)


def test_the_nearest_colour_counts():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(6, 10, 8, 3)).astype(np.float32)
    colors = rng.normal(size=(4, 3)).astype(np.float32)
    squares = ((images[..., None, :] - colors) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(palette_levels(images, colors), squares.argmin(-1))


def test_more_colours_rebuild_more():
    """The sweep of Figures 14 and 15: what 5 lose, 16 keep."""
    ramp = np.random.default_rng(0).random((6, 10, 8, 1)).astype(np.float32)
    errors = []
    for num_levels in (4, 16):
        colors = palette(ramp, KEY, num_levels=num_levels)
        assert (np.diff(colors[:, 0]) >= 0).all()
        rebuilt = np.asarray(colors)[palette_levels(ramp, colors)]
        errors.append(np.mean((rebuilt - ramp) ** 2))
    # Of a uniform variable with L levels the best error is 1 / (12 L^2).
    np.testing.assert_allclose(errors, [1 / 192, 1 / 3072], rtol=0.25)


def test_fewer_colours_than_levels():
    images = COLORS[:2][np.arange(480).reshape(6, 10, 8) % 2]
    colors = palette(images, KEY, num_levels=4)
    levels = palette_levels(images, colors)
    assert set(np.unique(levels)) == {0, 1}
    np.testing.assert_array_equal(np.asarray(colors)[levels], images)


def test_the_middle_pixels_of_blocks():
    maps = np.arange(2 * 7 * 6).reshape(2, 7, 6)
    np.testing.assert_array_equal(block_middles(maps, block=1), maps)
    np.testing.assert_array_equal(block_middles(maps, block=3), maps[:, 1:6:3, 1:6:3])
    np.testing.assert_array_equal(block_middles(maps, block=2), maps[:, 1:6:2, 1:6:2])
    images, _ = painted(0)
    assert block_middles(images, block=5).shape == (6, 2, 1, 3)


def test_quantiles_are_of_equal_size_and_ascend():
    rng = np.random.default_rng(0)
    values = np.exp(3 * rng.normal(size=160)).astype(np.float32)
    levels = np.asarray(quantile_levels(values, num_levels=16))
    np.testing.assert_array_equal(np.bincount(levels), 10)
    assert (np.diff(levels[np.argsort(values)]) >= 0).all()
    tied = np.where(values < np.median(values), 0, values)
    few = np.asarray(quantile_levels(tied, num_levels=16))
    assert len(set(few[tied == 0])) == 1
    assert few.max() == 15
    constant = quantile_levels(np.ones_like(values), num_levels=16)
    assert len(set(constant.tolist())) == 1


def test_the_h_score_of_a_quantised_number_is_nearly_its_own():
    """Of Gaussians of correlation r it tends to r^2 from below with the levels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    y = 0.8 * x + 0.6 * rng.normal(size=20_000)
    values = []
    for num_levels in (2, 16):
        levels = quantile_levels(y.astype(np.float32), num_levels=num_levels)
        moments = class_moments(x[:, None].astype(np.float32), levels, num_classes=16)
        values.append(float(h_score(moments)))
    # Of two halves E[x | y] is r sqrt(2 / pi) to either side.
    np.testing.assert_allclose(values, [0.64 * 2 / np.pi, 0.64 * 0.98], rtol=0.03)


def test_a_dense_task_from_images_to_a_picture():
    """A feature that is the colour of the left half tells nothing of the right one."""
    images, levels = painted(0, shape=(60, 4, 4))
    levels[:, :, :2] = levels[:, :1, :1]
    images[:, :, :2] = COLORS[levels[:, :, :2]]
    nearest = palette_levels(images, COLORS)
    features = np.eye(4, dtype=np.float32)[levels[:, 0, 0]]
    scores = np.asarray(dense_h_score(features, nearest, num_levels=4))
    np.testing.assert_allclose(scores[:, :2], 3, rtol=1e-4)
    assert scores[:, 2:].max() < 1
    lightness = np.asarray(_image(heat_map_png(scores, low=0, high=3)).convert("L"))
    assert lightness[:, :2].min() > lightness[:, 2:].max()


def test_images_without_any_level_are_left_out():
    """Their features may even be NaN."""
    _, levels = painted(0, shape=(60, 4, 4))
    features = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    expected = dense_h_score(features[9:], levels[9:], num_levels=4)
    levels[:9], features[:9] = -1, np.nan
    np.testing.assert_allclose(
        dense_h_score(features, levels, num_levels=4), expected, 1e-4
    )


def _image(png):
    return Image.open(io.BytesIO(png))


def test_pictures_are_dark_to_light_and_grey_where_nothing_is_known():
    scores = np.append(np.linspace(-1, 2, 31), [np.nan, np.inf])[None]
    picture = _image(heat_map_png(scores, low=0, high=1))
    assert (picture.mode, picture.size) == ("RGB", (33, 1))
    colors = np.asarray(picture)[0].astype(int)
    lightness = colors @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness[10:21]) > 0).all()
    np.testing.assert_array_equal(colors[:10], colors[[10] * 10])
    np.testing.assert_array_equal(colors[21:31], colors[[20] * 10])
    np.testing.assert_array_equal(colors[31:], 128)


@pytest.mark.parametrize("scores", [[[0.5, 2]], [[1.0, 1]], [[np.nan]]])
def test_the_svg_stands_alone(scores):
    svg = heat_map_svg(scores, title='<b> "H" & co')
    root = ET.fromstring(svg)
    assert root[0].text == '<b> "H" & co'
    links = [part.attrib["href"] for part in root.iter() if "href" in part.attrib]
    assert len(links) == 2
    assert all(link.startswith("data:image/png;base64,") for link in links)
    assert "0.50" in svg or scores[0][0] != 0.5


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: palette(np.ones((2, 3, 3)), KEY), ValueError, "images must have 4"),
        (lambda: palette(np.ones((2, 3, 3, 1), int), KEY), TypeError, "images"),
        (
            lambda: palette(np.ones((2, 3, 3, 1)), KEY, num_levels=0),
            ValueError,
            "num_clusters",
        ),
        (
            lambda: palette_levels(np.ones((2, 3, 3, 1)), np.ones((4, 3))),
            ValueError,
            "channels",
        ),
        (lambda: block_middles(np.ones((2, 3, 3)), block=4), ValueError, "blocks of 4"),
        (lambda: quantile_levels(np.ones(0), num_levels=2), ValueError, "number of"),
        (lambda: quantile_levels(np.ones(3, int), num_levels=2), TypeError, "values"),
        (lambda: heat_map_svg(np.ones(3), title=""), ValueError, r"\[h, w\]"),
    ],
)
def test_rejects(call, error, words):
    with pytest.raises(error, match=words):
        call()
