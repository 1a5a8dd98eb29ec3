"""Images that are drawn: which ones, their scores by hand, and what the drawings show."""

import numpy as np
import pytest
import torch
from PIL import Image

from efficientformer.data.boxes.joint import FRAME, IGNORED
from efficientformer.data.masks.mask import IGNORED as UNLABELLED
from efficientformer.tasks.detection.drawing import color_of
from efficientformer.tasks.detection.matching import LEAST_SCORE, box_matches
from efficientformer.tasks.examples.boxes import draw_found_boxes
from efficientformer.tasks.examples.example import LONGER_SIDE, best_and_worst
from efficientformer.tasks.examples.masks import draw_masks
from efficientformer.tasks.semantic.scores import Confusion

from .test_detection_scores import SIDE, Fixed, nothing
from .test_detection_scores import found as let_find

PHOTO = Image.new("RGB", (48, 32), (120, 120, 120))


def test_the_best_and_the_worst_are_disjoint_and_in_order():
    assert best_and_worst([50.0, None, 10.0, 90.0, 50.0, 70.0], 2) == ([3, 5], [2, 0])
    assert best_and_worst([50.0, 50.0, 50.0], 4) == ([1, 2], [0]), "of equal scores the first comes first"
    assert best_and_worst([None, 3.0], 4) == ([1], []) and best_and_worst([], 4) == ([], [])


def test_the_score_of_an_image_is_of_its_own_classes_and_pixels():
    confusion = Confusion(3)
    confusion.add(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 0, 0, 1]]))  # IoU 2/3 and 1/2; class 2 is not there
    confusion.add(torch.tensor([[2, 0]]), torch.tensor([[UNLABELLED, 0]]))
    confusion.add(torch.tensor([[0, 1]]), torch.full((1, 2), UNLABELLED))
    confusion.add(torch.tensor([[2, 2]]), torch.tensor([[1, 1]]))
    confusion.add(torch.tensor([[0, 2]]), torch.tensor([[0, 0]]))
    assert confusion.scores().of_images == (pytest.approx(100 * (2 / 3 + 1 / 2) / 2), 100.0, None, 0.0, 50.0)


def objects(*rows):
    return np.array([[*row, 0.0] for row in rows], dtype=float).reshape(-1, 6)


def found(*rows):
    """Boxes, scores and classes of rows (score, class, box)."""
    table = np.array([[*row] for row in rows], dtype=float).reshape(-1, 6)
    return table[:, 2:], table[:, 0], table[:, 1].astype(int)


def test_quality_by_hand():
    truth = objects((0, 0, 0, 10, 10), (1, 20, 0, 30, 10), (IGNORED - 1, 0, 20, 40, 40))
    right = box_matches(*found((0.9, 0, 0, 0, 10, 8), (0.8, 1, 20, 0, 30, 10)), truth)
    assert (right.overlaps, right.missed, right.num_wrong) == ((pytest.approx(0.8), 1.0), (), 0)
    assert right.quality == pytest.approx(90)
    mixed = box_matches(
        *found(
            (0.9, 0, 0, 0, 10, 10),
            (0.8, 0, 0, 0, 10, 10),  # the same object again
            (0.7, 0, 20, 0, 30, 10),  # another class
            (0.6, 1, 5, 22, 9, 30),  # in the crowd of its class
            (LEAST_SCORE - 0.01, 1, 20, 0, 30, 10),  # not shown
        ),
        truth,
    )
    assert (mixed.shown, mixed.missed, mixed.num_wrong) == ((0, 1, 2, 3), (1,), 2)
    assert mixed.quality == pytest.approx(100 / (1 + (1 + 2) / 2))
    assert box_matches(*found(), objects((IGNORED, 0, 0, 5, 5))).quality is None, "nothing to find, nothing found"
    assert box_matches(*found((0.5, 0, 0, 0, 5, 5)), objects()).quality == 0
    assert box_matches(*found(), truth).quality == 0
    assert box_matches(*found((0.9, 0, 0, 0, 10, 4.9)), truth).overlaps == (), "less than half of it"


def test_masks_are_drawn_beside_what_was_found_without_ignored_pixels():
    left_1KHW = torch.zeros(1, 2, 8, 12)
    left_1KHW[:, 1, :, :6] = 1
    mask_HW = torch.zeros(32, 48, dtype=torch.int64)
    mask_HW[:16] = UNLABELLED
    example = draw_masks(Fixed(left_1KHW), PHOTO, (torch.zeros(1, 3, 8, 12), mask_HW[None]))
    labelled, seen = example.drawings
    assert labelled.size == seen.size == (LONGER_SIDE, 320) and example.numbers == (0, 1)
    assert labelled.getpixel((100, 50)) == seen.getpixel((100, 50)) == (120, 120, 120)
    assert labelled.getpixel((100, 250)) == labelled.getpixel((400, 250)) == seen.getpixel((400, 250))
    assert seen.getpixel((100, 250)) != seen.getpixel((400, 250))


def test_found_boxes_are_drawn_with_dashed_labels():
    rows_N6 = torch.tensor(
        [
            [FRAME, 0, 0, 64, 64, 96],
            [FRAME, 64 / 96, 64 / 96, 0, 10, 64],
            [1, 8, 16, 40, 48, 2304],
            [0, 50, 12, 60, 20, 180],
        ]
    )

    outputs = nothing(1)
    let_find(outputs, 0, (2, 3), (8, 16, 40, 48), 1)
    batch = torch.zeros(1, 3, SIDE, SIDE), rows_N6[None]
    with torch.inference_mode():
        (drawing,) = draw_found_boxes(Fixed(outputs), Image.new("RGB", (96, 64)), batch, "ab").drawings
    assert drawing.size == (LONGER_SIDE, 320)
    pixels = np.asarray(drawing).astype(int)
    white = (pixels == 255).all(axis=2)
    # The object that is missed, in pixels of the drawing: x from 375 to 450, y from 15 to 75.
    assert white[14:80, 373:378].any() and white[14:80, 446:452].any(), "it is dashed"
    assert white[45:50, 60:300].any(), "so is the one that is found"
    assert not white[100:, 320:].any() and not white[:, 460:].any(), "nothing elsewhere"
    assert (pixels == color_of(1)).all(axis=2).any(), "what is found has the color of its class"
