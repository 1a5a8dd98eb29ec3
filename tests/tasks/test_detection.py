"""Detection: targets, losses and decoding by hand, and against definitions of other people's."""

import math

import pytest
import torch
from torchvision.ops import generalized_box_iou, nms, sigmoid_focal_loss

from efficientformer.data.boxes.joint import FRAME, IGNORED, padded
from efficientformer.models.heads.cells import cells_of
from efficientformer.models.heads.decoding import boxes_and_scores, decode
from efficientformer.models.heads.one_stage import points
from efficientformer.tasks.detection.assignment import BACKGROUND, NOT_JUDGED, assign, grid_of_frames
from efficientformer.tasks.detection.loss import at_factors, focal, giou, of_answers, of_boxes, parts_of_loss
from efficientformer.tasks.detection.task import batch_loss

GRID = 64, 128
NUM_CELLS = 8 * 16 + 4 * 8 + 2 * 4 + 1 * 2
NUM_CLASSES = 3


def labels(*images):
    """Labels of images of `GRID`, from rows (class, x1, y1, x2, y2)."""
    frame = [FRAME, 0, 0, GRID[1], GRID[0]]
    return padded([torch.tensor([frame, *rows], dtype=torch.float32) for rows in images])


def outputs(num_images=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(num_images, NUM_CELLS, 5 + NUM_CLASSES, generator=generator)
    distances = 40 * torch.rand(num_images, NUM_CELLS, 4, generator=generator)
    return torch.cat([distances, logits[:, :, 4:]], dim=2)


def perfect(boxes_BN5, sureness=12.0):
    """What a network would answer that has learned its targets."""
    assigned = assign(boxes_BN5, NUM_CELLS)
    logits = torch.full((*assigned.classes.shape, NUM_CLASSES), -sureness)
    for image, cell in (assigned.classes >= 0).nonzero().tolist():
        logits[image, cell, assigned.classes[image, cell]] = sureness
    centrality = torch.logit(assigned.centrality.clamp(1e-6, 1 - 1e-6))[:, :, None]
    return torch.cat([assigned.distances, centrality, logits], dim=2)


def test_cells_are_those_of_the_head_whatever_its_stem():
    cells = cells_of(GRID, NUM_CELLS)
    assert torch.equal(cells.points, points(GRID, (8, 16, 32, 64)))
    assert (cells.least[0], cells.most[0], cells.least[-1], cells.most[-1]) == (0, 64, 256, math.inf)
    assert cells_of((64, 64), len(points((64, 64), (4, 8, 16, 32)))).strides[0] == 4
    with pytest.raises(ValueError, match="no network has 7 cells for an input of 64 x 128 pixels"):
        cells_of(GRID, 7)


def test_a_box_is_learned_by_the_cells_around_its_center():
    """24 x 40 pixels around (44, 28), which is the center of a cell of 8 pixels: 3 x 3 cells are within 1.5 cells."""
    assigned = assign(labels([(1, 32, 8, 56, 48)]), NUM_CELLS)
    taken = (assigned.classes[0] >= 0).nonzero().flatten()
    centers = cells_of(GRID, NUM_CELLS).points[taken]
    assert sorted(map(tuple, centers.tolist())) == [(x, y) for x in (36, 44, 52) for y in (20, 28, 36)]
    assert (assigned.classes[0][taken] == 1).all() and (assigned.classes[0] == BACKGROUND).sum() == NUM_CELLS - 9
    corner = taken[(centers == torch.tensor([36.0, 20.0])).all(dim=1)]
    assert assigned.distances[0, corner].tolist() == [[4, 12, 20, 28]]
    assert assigned.centrality[0, corner].item() == pytest.approx(math.sqrt(4 / 20 * 12 / 28))
    assert assigned.centrality[0].max() == 1 and not assigned.centrality[0][assigned.classes[0] < 0].any()


def test_the_level_is_that_of_the_longer_side():
    strides = cells_of(GRID, NUM_CELLS).strides
    for side, stride in ((5, 8), (64, 8), (65, 16), (128, 16)):
        assigned = assign(labels([(0, 0, 20, side, 44)]), NUM_CELLS)
        assert set(strides[assigned.classes[0] >= 0].tolist()) == {stride}


def test_of_two_boxes_a_cell_learns_the_smaller():
    assigned = assign(labels([(0, 20, 8, 68, 48), (2, 32, 16, 56, 40)]), NUM_CELLS)
    at_center = (cells_of(GRID, NUM_CELLS).points == torch.tensor([44.0, 28.0])).all(dim=1)
    assert assigned.classes[0, at_center].tolist() == [2]


@pytest.mark.parametrize("x", [24.0, 27.0, 29.5])
def test_a_box_smaller_than_a_cell_has_one_too(x):
    assigned = assign(labels([(1, x, 33, x + 2, 36)]), NUM_CELLS)
    taken = assigned.classes[0] >= 0
    assert 1 <= taken.sum() <= 4 and (assigned.distances[0] >= 0).all() and (assigned.centrality[0][taken] > 0).all()
    left, top, right, bottom = assigned.distances[0][taken][0].tolist()
    x_of_cell, y_of_cell = cells_of(GRID, NUM_CELLS).points[taken][0].tolist()
    assert x_of_cell - left == min(x, x_of_cell) and y_of_cell + bottom == max(36, y_of_cell)
    assert right == max(x + 2 - x_of_cell, 0) and top == max(y_of_cell - 33, 0)


def test_cells_in_crowds_are_not_judged_unless_they_have_a_box():
    crowd, box = (IGNORED - 1, 0, 0, 64, 64), (2, 32, 8, 56, 48)
    assigned = assign(labels([crowd, box], [box]), NUM_CELLS)
    points_A2 = cells_of(GRID, NUM_CELLS).points
    in_crowd = (points_A2 < 64).all(dim=1)
    assert torch.equal(assigned.classes[0] == NOT_JUDGED, in_crowd & (assigned.classes[0] != 2))
    assert torch.equal(assigned.classes[0] == 2, assigned.classes[1] == 2)
    sure = outputs()
    sure[0, in_crowd, 5:] = 9.0
    sure[0, assigned.classes[0] == 2] = perfect(labels([box]))[0, assigned.classes[0] == 2]
    losses = [batch_loss(sure, labels(rows)) for rows in ([crowd, box], [box])]
    assert losses[0] < 0.2 * losses[1], "what is found in a crowd is no mistake"


def test_the_frame_is_the_first_row():
    assert grid_of_frames(labels([])) == GRID
    for wrong in (torch.zeros(1, 0, 5), torch.ones(1, 2, 5), torch.tensor([[[FRAME, 0, 0, 0, 0]]])):
        with pytest.raises(ValueError, match="the first row of boxes must be the frame"):
            grid_of_frames(wrong)


def test_losses_are_those_of_torchvision():
    generator = torch.Generator().manual_seed(1)
    logits, marks = torch.randn(2, 5, 3, generator=generator), torch.rand(2, 5, 3, generator=generator) > 0.6
    expected = sigmoid_focal_loss(logits, marks.float(), alpha=0.25, gamma=2.0).sum(dim=2)
    assert torch.allclose(focal(logits, marks.float()), expected, atol=1e-6)
    one, other = (20 * torch.rand(7, 4, generator=generator) for _ in range(2))
    boxes = [torch.cat([30 - distances[:, :2], 30 + distances[:, 2:]], dim=1) for distances in (one, other)]
    assert torch.allclose(giou(one, other), generalized_box_iou(*boxes).diagonal(), atol=1e-5)


def test_a_loss_by_hand():
    """One image with one cell on a box: every part of the loss is that of the definitions."""
    boxes = labels([(1, 41, 25, 47, 31)])
    assigned = assign(boxes, NUM_CELLS)
    (cell,) = (assigned.classes[0] >= 0).nonzero().flatten().tolist()
    given = outputs()
    expected = focal(given[:, :, 5:], of_boxes(assigned, NUM_CLASSES).classes).sum()
    expected += 1 - giou(given[0, cell, :4], torch.tensor([3.0, 3, 3, 3]))
    expected += -torch.nn.functional.logsigmoid(given[0, cell, 4])
    assert batch_loss(given, boxes) == pytest.approx(expected.item(), rel=1e-5)


def test_losses_of_images_stand_for_themselves_and_that_of_a_batch_for_its_boxes():
    rows = [[(0, 32, 8, 56, 48), (1, 90, 8, 100, 20)], [], [(2, 2, 2, 60, 60)]]
    boxes, given = labels(*rows), outputs(3)
    parts = parts_of_loss(given, of_boxes(assign(boxes, NUM_CELLS), NUM_CLASSES))
    for index, image in enumerate(rows):
        alone = batch_loss(given[index : index + 1], labels(image))
        assert parts.per_image()[index] == pytest.approx(alone.item(), rel=1e-5)
    assert parts.of_batch() == pytest.approx(batch_loss(given, boxes).item())
    sums = parts.classes + parts.centrality
    by_hand = sums.sum() / parts.num_cells.sum() + parts.boxes.sum() / parts.weight.sum()
    assert parts.of_batch() == pytest.approx(by_hand.item(), rel=1e-5)


def test_a_batch_without_boxes_has_a_finite_loss_and_gradient():
    given = outputs(2).requires_grad_()
    loss = batch_loss(given, labels([], []))
    loss.backward()
    assert loss.isfinite() and loss > 0 and given.grad.isfinite().all()
    assert given.grad[:, :, 5:].abs().sum() > 0 and not given.grad[:, :, :5].any()


def test_learned_targets_have_almost_no_loss_and_decode_to_the_boxes():
    rows = [[(0, 32, 8, 56, 48), (1, 90, 9, 101, 20), (1, 4, 40, 90, 62)], [(2, 2, 2, 60, 60)]]
    boxes = labels(*rows)
    learned = perfect(boxes)
    floor = parts_of_loss(learned, of_boxes(assign(boxes, NUM_CELLS), NUM_CLASSES))
    assert floor.classes.max() < 1e-3 and floor.boxes.max() < 1e-4
    for detections, image in zip(decode(learned, GRID), rows, strict=True):
        best = len(image)
        found = sorted(zip(detections.classes[:best].tolist(), detections.boxes[:best].round().tolist(), strict=True))
        assert found == sorted((number, [*map(float, box)]) for number, *box in image)
        assert detections.scores[best - 1] > 0.5 and len(detections.scores) <= 100
        assert len(detections.scores) == best or detections.scores[best] < 0.01


def test_scores_are_geometric_means_and_boxes_end_at_the_border():
    given = outputs()
    boxes, scores = boxes_and_scores(given, GRID)
    assert boxes[..., 0].min() >= 0 and boxes[..., 2].max() <= 128 and boxes[..., 3].max() <= 64
    assert scores[0, 5, 1] == pytest.approx(math.sqrt(given[0, 5, 6].sigmoid() * given[0, 5, 4].sigmoid()))
    (kept,) = decode(given, GRID)
    assert (kept.scores.diff() <= 0).all()
    for number in range(NUM_CLASSES):
        of_class = kept.classes == number
        assert len(nms(kept.boxes[of_class], kept.scores[of_class], 0.6)) == of_class.sum()


def test_boxes_of_two_classes_in_one_place_stay_and_a_worse_one_of_a_class_goes():
    boxes = labels([(0, 32, 8, 56, 48)])
    learned = perfect(boxes)
    learned[0, :, 6] = learned[0, :, 5] - 2
    (kept,) = decode(learned, GRID)
    sure = kept.scores > 0.2
    assert sorted(kept.classes[sure].tolist()) == [0, 1] and kept.boxes[sure].round().unique(dim=0).shape[0] == 1


def test_losses_at_a_factor_are_those_of_multiplied_logits():
    boxes, given = labels([(0, 32, 8, 56, 48)], []), outputs(2)
    targets = of_boxes(assign(boxes, NUM_CELLS), NUM_CLASSES)
    losses = at_factors(torch.tensor([0.5, 1.0, 3.0]), given, targets)
    for factor, of_factor in zip((0.5, 1.0, 3.0), losses, strict=True):
        scaled = torch.cat([given[..., :4], factor * given[..., 4:]], dim=2)
        assert torch.allclose(of_factor, parts_of_loss(scaled, targets).per_image(), rtol=1e-5)


def test_another_networks_answers_are_learned_where_it_is_sure():
    """The loss is least for a network that answers the same, and boxes count by how sure the other is."""
    teacher = outputs(seed=3)
    answers = torch.cat([teacher[..., :4], teacher[..., 4:].sigmoid()], dim=2)
    targets = of_answers(answers)
    same = parts_of_loss(teacher, targets)
    assert same.boxes.max() < 1e-4 and same.classes.max() < 1e-9
    student = teacher.clone().requires_grad_()
    parts_of_loss(student, targets).of_batch().backward()
    assert student.grad.abs().max() < 1e-6
    other = parts_of_loss(outputs(seed=4), targets)
    assert other.of_batch() > same.of_batch() and (targets.weights <= targets.classes.amax(dim=2)).all()
