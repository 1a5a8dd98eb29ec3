"""Pictures and their boxes are changed alike: a colored rectangle stays inside of its box."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from efficientformer.data.boxes.joint import (
    FRAME,
    IGNORED,
    PADDING,
    eval_boxes_transform,
    padded,
    score_boxes_transform,
    train_boxes_transform,
)
from efficientformer.data.boxes.objects import Instance, Objects, area_of
from efficientformer.data.boxes.placement import Placement, fitted, placed
from efficientformer.data.transforms import Preprocessing

GREY = Preprocessing((48, 64), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
BOX = (30.0, 12.0, 66.0, 48.0)


def picture(size=(120, 80), box=BOX):
    """Blue, with a red rectangle where the box is."""
    pixels = np.full((size[1], size[0], 3), (0, 0, 255), dtype=np.uint8)
    x1, y1, x2, y2 = map(int, box)
    pixels[y1:y2, x1:x2] = 255, 0, 0
    return Image.fromarray(pixels)


def objects(*boxes, size=(120, 80), number=2, is_crowd=False):
    return Objects(*size, tuple(Instance(number, box, is_crowd, area_of(box)) for box in boxes), 1)


def red(x_CHW):
    """x1, y1, x2, y2 of the red pixels, in whole pixels. Whatever became of the colors, blue is beyond grey."""
    redness_HW = x_CHW[0] - x_CHW[2]
    places = (redness_HW > redness_HW.amax() / 2).nonzero()
    (y1, x1), (y2, x2) = places.amin(dim=0).tolist(), places.amax(dim=0).tolist()
    return [x1, y1, x2 + 1, y2 + 1]


def test_evaluation_fits_the_picture_into_the_middle_and_back():
    pixels, rows = eval_boxes_transform(GREY)(picture(), objects(BOX))
    x_CHW = pixels.normalized()
    # 120 x 80 to 64 x 43 pixels, 2 rows above.
    assert x_CHW.shape == (3, 48, 64) and rows[0].tolist() == [FRAME, 0, 0, 64, 48]
    scale_x, scale_y = 64 / 120, 43 / 80
    expected = [30 * scale_x, 12 * scale_y + 2, 66 * scale_x, 48 * scale_y + 2]
    assert rows[1].tolist() == [2, *[pytest.approx(value, abs=1e-4) for value in expected]]
    assert red(x_CHW) == pytest.approx(expected, abs=1.0)
    assert x_CHW[:, :2].abs().max() < 0.01 and x_CHW[0, 3:6, :10].max() < -0.9, "the ground has the mean color"
    placement = fitted((120, 80), (48, 64))
    assert placement.to_picture(rows[1:, 1:].numpy(), (120, 80)) == pytest.approx(np.array([BOX]), abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 64), st.integers(8, 64), st.data())
def test_the_way_back_is_the_inverse_for_any_sizes(width, height, high, wide, data):
    low = data.draw(st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)))
    box = np.array([[low[0] * width, low[1] * height, width, height]])
    placement = fitted((width, height), (high, wide))
    there = placement.to_input(box)
    assert there.min() >= 0 and (there[0, 2:] <= [wide + 1e-6, high + 1e-6]).all()
    assert max(there[0, 2] / wide, there[0, 3] / high) > 0.45, "nothing is smaller than it needs to be"
    assert placement.to_picture(there, (width, height)) == pytest.approx(box, abs=1e-6)


@pytest.mark.parametrize("augmentation", ["light", "standard", "strong"])
def test_boxes_move_with_the_picture(augmentation):
    transform, seen, ignored = train_boxes_transform(GREY, augmentation), set(), 0
    for seed in range(40):
        random.seed(seed)
        pixels, rows = transform(picture(), objects(BOX))
        assert rows[0].tolist() == [FRAME, 0, 0, 64, 48] and pixels.values.shape == (48, 64, 3)
        if len(rows) == 1 or rows[1, 0] != 2:
            ignored += 1
            assert len(rows) == 1 or rows[1, 0] == IGNORED - 2
            continue
        assert red(pixels.normalized()) == pytest.approx(rows[1, 1:].tolist(), abs=1.6)
        seen.add(tuple(rows[1, 1:].round().tolist()))
    assert len(seen) > 10 and (ignored == 0 or augmentation != "light")


def test_a_mirrored_picture_has_mirrored_boxes(monkeypatch):
    monkeypatch.setattr(random, "random", lambda: 0.0)
    monkeypatch.setattr(random, "randint", lambda low, high: low)
    transform = train_boxes_transform(GREY, "light")
    _, rows = transform(picture(), objects(BOX, (0.0, 0.0, 10.0, 10.0)))
    monkeypatch.setattr(random, "random", lambda: 0.5)
    pixels, straight = transform(picture(), objects(BOX))
    assert rows[2, 3] > rows[1, 3], "what was on the left is on the right"
    assert red(pixels.normalized()) == pytest.approx(straight[1, 1:].tolist(), abs=1.2)


def test_what_is_hardly_in_the_picture_is_ignored(monkeypatch):
    """Zoomed in to twice the size at the upper left corner: the box on the right is out of the picture."""
    monkeypatch.setattr(random, "random", lambda: 0.999999)
    monkeypatch.setattr(random, "randint", lambda low, high: high)
    transform = train_boxes_transform(Preprocessing((80, 120)), "strong")
    boxes = (4.0, 4.0, 14.0, 14.0), (45.0, 10.0, 70.0, 20.0), (52.0, 10.0, 80.0, 20.0), (100.0, 10.0, 110.0, 20.0)
    _, rows = transform(picture(), objects(*boxes))
    assert rows[1:, 0].tolist() == [2, 2, IGNORED - 2]
    assert rows[2, 3] == 120 and rows[3, 3] == 120


def test_crowds_are_ignored_and_a_smaller_picture_has_smaller_boxes():
    _, rows = eval_boxes_transform(GREY)(picture(), objects(BOX, is_crowd=True))
    assert rows[1, 0] == IGNORED - 2
    _, halved = eval_boxes_transform(GREY)(picture().resize((60, 40)), objects(BOX, is_crowd=True))
    assert torch.allclose(halved, rows, atol=1e-4)


def test_scores_are_of_the_picture_at_its_own_size():
    pixels, rows = score_boxes_transform(GREY)(picture().resize((60, 40)), objects(BOX))
    frame, where, only = rows.tolist()
    assert frame == [FRAME, 0, 0, 64, 48, 120] and (where[0], where[5]) == (FRAME, 80) and only[5] == area_of(BOX)
    back = Placement(*where[1:5]).to_picture(np.array([only[1:5]]), (120, 80))
    assert back == pytest.approx(np.array([BOX]), abs=1e-4) and pixels.values.shape == (48, 64, 3)


def test_batches_are_padded():
    frame = torch.tensor([[FRAME, 0, 0, 8, 8]])
    batch = padded([torch.cat([frame, torch.ones(2, 5)]), frame])
    assert (
        batch.shape == (2, 3, 5) and batch[1, :, 0].tolist() == [FRAME, PADDING, PADDING] and not batch[1, 1:, 1:].any()
    )


def test_a_picture_that_fits_is_not_resampled():
    image = picture((64, 48), (3, 4, 9, 12))
    assert (np.asarray(placed(image, fitted(image.size, (48, 64)), (48, 64), (9, 9, 9))) == np.asarray(image)).all()
