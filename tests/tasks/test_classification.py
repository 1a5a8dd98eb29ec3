import pytest
import torch
from PIL import Image

from efficientformer.data.loading.loader import Batch
from efficientformer.errors import TrainingError
from efficientformer.tasks.classification.contact_sheet import draw_contact_sheet
from efficientformer.tasks.classification.prediction import Prediction
from efficientformer.tasks.classification.scores import evaluate
from efficientformer.tasks.classification.task import Classification


class Fixed(torch.nn.Module):
    """Answers with the logits written into the images."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x.flatten(1)


def test_scores_are_counted_by_hand():
    logits = torch.tensor(
        [[9, 1, 2, 3, 4, 5, 0], [9, 8, 7, 6, 5, 4, 3], [0, 9, 0, 0, 0, 0, 0], [9, 8, 7, 6, 5, 4, 3.0]]
    )
    labels = torch.tensor([0, 4, 1, 6])
    images = logits[:, None, None, :]
    scores = evaluate(Fixed(), [(images[:3], labels[:3]), (images[3:], labels[3:])], 7)
    assert (scores.top1, scores.top5, scores.num_images) == (50.0, 75.0, 4)
    assert scores.confusion[4][0] == scores.confusion[6][0] == scores.confusion[0][0] == scores.confusion[1][1] == 1
    record = scores.to_record(list("abcdefg"))
    assert record["balanced_accuracy"] == 50.0, (
        "classes 0 and 1 are right, 4 and 6 are wrong, the others have no images"
    )
    assert record["per_class"][0] == {"name": "a", "top1": 100.0, "num_images": 1}
    assert record["per_class"][2]["top1"] is None, "a class without images has no accuracy"


def test_a_class_of_few_images_counts_as_much_in_the_balanced_accuracy():
    """Who always says the frequent class is right for 9 of 10 images and for 1 of 2 classes."""
    images = torch.tensor([1.0, 0.0]).expand(10, 1, 1, 2)
    scores = evaluate(Fixed(), [(images, torch.tensor([0] * 9 + [1]))], 2)
    assert (scores.top1, scores.balanced_accuracy) == (90.0, 50.0)


def test_with_few_classes_everything_is_in_the_top_five():
    assert evaluate(Fixed(), [(torch.randn(8, 1, 1, 3), torch.randint(3, (8,)))], 3).top5 == 100.0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("num_lost", [1, 8])
def test_logits_that_are_not_finite_have_no_accuracy(value, num_lost):
    """NaN is the largest for `topk`: a lost network would vote for the first class, 50 % of two."""
    images = torch.randn(8, 1, 1, 2)
    images[:num_lost, ..., 0] = value
    with pytest.raises(TrainingError, match=f"not finite for {num_lost} of 8 images.*lower learning rate"):
        evaluate(Fixed(), [(torch.randn(4, 1, 1, 2), torch.zeros(4).long()), (images, torch.arange(8) % 2)], 2)


def test_the_loss_is_cross_entropy_with_the_targets_of_the_mixing():
    images, labels = torch.randn(4, 1, 1, 3), torch.tensor([0, 1, 2, 0])
    soft = torch.softmax(torch.randn(4, 3), 1)
    task = Classification(lambda x, y: (x * 2, soft))
    expected = -(soft * torch.log_softmax(images.flatten(1) * 2, 1)).sum(1).mean()
    assert task.loss(Fixed(), Batch(images, labels), 0.0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_contact_sheet_shows_every_image(tmp_path):
    predictions = []
    for index in range(7):
        path = tmp_path / f"{index}.png"
        Image.new("RGB", (40, 20 + index), (0, 255, 0)).save(path)
        names = (f"a class with quite a long name {index}", "Жук")
        predictions.append(Prediction(str(path), names, (99.0, 1.0)))
    draw_contact_sheet(predictions, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        colors = {color: count for count, color in sheet.convert("RGB").getcolors(1 << 20) or []}
        assert colors[0, 255, 0] > 7 * 192 * 90
