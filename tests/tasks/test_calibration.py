"""Confidence against accuracy, solved by hand."""

import math

import pytest
import torch

from efficientformer.formats.network import Evaluation
from efficientformer.reading import checked
from efficientformer.tasks.classification.calibration import calibration
from efficientformer.tasks.classification.scores import evaluate


class Fixed(torch.nn.Module):
    """Answers with the logits written into the images."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x.flatten(1)


def answers(*groups):
    """Images of two classes, and labels: `(number of images, of which right, confidence)` of each group."""
    images, labels = [], []
    for count, num_right, confidence in groups:
        images += [[math.log(confidence), math.log(1 - confidence)]] * count
        labels += [0] * num_right + [1] * (count - num_right)
    return torch.tensor(images)[:, None, None, :], torch.tensor(labels)


def test_an_overconfident_classifier_is_off_by_what_it_claims_too_much():
    scores = evaluate(Fixed(), [answers((10, 6, 0.9))], 2)
    assert scores.top1 == 60.0 and scores.calibration.error == pytest.approx(30.0, abs=1e-5)
    by_hand = -(6 * math.log(0.9) + 4 * math.log(0.1)) / 10
    assert scores.negative_log_likelihood == pytest.approx(by_hand, rel=1e-6)
    (used,) = [row for row in scores.calibration.bins if row.num_images]
    assert scores.calibration.bins.index(used) == 13, "from 86.7 to 93.3 %"
    assert (used.num_images, used.top1, used.confidence) == (10, 60.0, pytest.approx(90.0))


def test_a_calibrated_classifier_has_no_error_and_groups_count_by_their_images():
    assert evaluate(Fixed(), [answers((10, 9, 0.9), (5, 3, 0.6))], 2).calibration.error == pytest.approx(0, abs=1e-5)
    uneven = evaluate(Fixed(), [answers((30, 27, 0.9), (10, 1, 0.6))], 2)
    assert uneven.calibration.error == pytest.approx(50 * 10 / 40, abs=1e-5)


@pytest.mark.parametrize("edge", [1 / 3, 0.6, 0.8])
def test_confidence_on_an_edge_belongs_to_the_bin_below_it(edge):
    below = calibration(torch.tensor([edge, edge - 0.05], dtype=torch.float64), torch.tensor([True, False]))
    (shared,) = [row for row in below.bins if row.num_images]
    assert below.bins.index(shared) == round(15 * edge) - 1 and shared.top1 == 50.0
    assert below.error == pytest.approx(abs(100 * edge - 2.5 - 50))
    above = calibration(torch.tensor([edge, edge + 0.05], dtype=torch.float64), torch.tensor([True, False]))
    assert [row.num_images for row in above.bins if row.num_images] == [1, 1]


def test_the_ends_have_bins():
    both = calibration(torch.tensor([1.0, 1e-9], dtype=torch.float64), torch.tensor([True, False]))
    assert [both.bins[place].num_images for place in (0, 14)] == [1, 1] and both.error == pytest.approx(5e-8)
    even = evaluate(Fixed(), [(torch.zeros(2, 1, 1, 3), torch.tensor([0, 1]))], 3)
    assert even.calibration.bins[4].num_images == 2, "a third is an edge, whatever it is as a sum"


def test_the_same_images_score_the_same_in_any_batches():
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(50, 1, 1, 4, generator=generator), torch.randint(4, (50,), generator=generator)
    whole = evaluate(Fixed(), [(images, labels)], 4).to_record(list("abcd"))
    order = torch.randperm(50, generator=generator)
    parts = zip(images[order].split(7), labels[order].split(7), strict=True)
    assert evaluate(Fixed(), parts, 4).to_record(list("abcd")) == whole


def test_records_have_it_and_earlier_ones_load_without():
    record = evaluate(Fixed(), [answers((10, 6, 0.9))], 2).to_record(["a", "b"])
    assert checked(record, Evaluation)["calibration_error"] == pytest.approx(30.0, abs=1e-5)
    assert record["calibration"][0] == {"confidence": None, "top1": None, "num_images": 0}
    before = {name: record[name] for name in ("top1", "top5", "num_images", "per_class", "confusion")}
    assert checked(before, Evaluation) == before
    with pytest.raises(ValueError, match="calibration_error"):
        checked({**record, "calibration_error": 100.5}, Evaluation)
