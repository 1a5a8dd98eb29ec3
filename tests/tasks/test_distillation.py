"""The losses of a teacher, by hand; what the student and the teacher see; what is attached and taken away."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from efficientformer.data.dataset import UNLABELLED
from efficientformer.data.loading.loader import Batch
from efficientformer.data.mixing import build_mixing
from efficientformer.errors import UsageError
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.classification.task import Classification
from efficientformer.tasks.distillation import ADAPTERS, Distillation, map_loss
from efficientformer.tasks.task import Task
from efficientformer.tasks.teachers import Teacher

from ..models.small import SMALL, SMALL_V2

divergence = ONE_LABEL.divergence
PLAIN = Classification(build_mixing(0.0, 0.0, 3, 0.0))


def network(architecture=SMALL_V2, num_classes=3, seed=0, **options):
    torch.manual_seed(seed)
    return Network(architecture, num_classes=num_classes, resolution=32, **options)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(5)
    return Batch(torch.randn(6, 3, 32, 32, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2]))


def test_equal_logits_have_no_loss_and_no_gradient():
    logits = torch.randn(4, 3, requires_grad=True)
    loss = divergence(logits, logits.detach() + 7, 2.0)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == pytest.approx(0, abs=1e-6) and gradient.abs().max() < 1e-6


def test_the_soft_loss_is_the_divergence_by_hand():
    """Probabilities 3/4, 1/4 of the teacher, 1/2, 1/2 of the student; at temperature 2 of squared odds."""
    student = torch.zeros(1, 2, requires_grad=True)
    by_hand = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    loss = divergence(student, torch.tensor([[math.log(3.0), 0.0]]), 1.0)
    assert loss.item() == pytest.approx(by_hand)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient[0].tolist() == pytest.approx([0.5 - 0.75, 0.5 - 0.25])
    at_two = divergence(student, torch.tensor([[2 * math.log(3.0), 0.0]]), 2.0)
    assert at_two.item() == pytest.approx(4 * by_hand)
    # d/dz of T^2 KL is T (p - q): the gradient keeps its size.
    (gradient,) = torch.autograd.grad(at_two, student)
    assert gradient[0].tolist() == pytest.approx([2 * -0.25, 2 * 0.25])


def test_the_loss_of_maps_is_a_share_of_the_teacher_s_mean_square():
    taught = torch.full((2, 3, 4, 4), 2.0)
    assert map_loss(taught, taught).item() == 0
    assert map_loss(torch.zeros(2, 3, 4, 4), taught).item() == pytest.approx(1)
    assert map_loss(torch.full((2, 3, 4, 4), 3.0), taught).item() == pytest.approx(0.25)
    assert map_loss(torch.full((2, 3, 8, 8), 3.0), taught).item() == pytest.approx(0.25), "of another size"
    assert map_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).item() == 0


@pytest.mark.parametrize("weight", [0.5, 0.3, 1.0])
def test_hard_is_cross_entropy_of_the_second_head_with_the_likeliest_class(batch, weight):
    student, teacher = network(has_distillation_head=True), network(SMALL, seed=1).eval()
    task = Distillation(PLAIN, teacher, "hard", weight=weight, task_kind=ONE_LABEL)
    task.attach(student)
    student.train()
    loss = task.loss(student, batch, 0.0)
    logits, distilled = student(batch[0])
    by_hand = (1 - weight) * functional.cross_entropy(logits, batch[1])
    by_hand = by_hand + weight * functional.cross_entropy(distilled, teacher(batch[0]).argmax(1))
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-5)
    heads = [student.head.weight, student.head_dist.weight]
    by_loss = torch.autograd.grad(loss, heads)
    assert all(
        torch.allclose(one, other, atol=1e-5)
        for one, other in zip(by_loss, torch.autograd.grad(by_hand, heads), strict=True)
    )


def test_soft_is_the_task_s_loss_and_the_divergence(batch):
    student, teacher = network(), network(SMALL, seed=1).eval()
    task = Distillation(PLAIN, teacher, "soft", weight=0.9, temperature=3.0, task_kind=ONE_LABEL)
    task.attach(student)
    student.train()
    loss = task.loss(student, batch, 0.0)
    logits = student(batch[0])
    taught = divergence(logits, teacher(batch[0]), 3.0)
    by_hand = 0.1 * functional.cross_entropy(logits, batch[1]) + 0.9 * taught
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-5)
    assert task.logged()["teacher_loss"] == pytest.approx(taught.item(), abs=1e-5)


@pytest.mark.parametrize("progress, share", [(0.0, 1.0), (0.25, 0.5), (0.5, 0.0), (0.9, 0.0)])
@pytest.mark.parametrize("architecture", [SMALL, SMALL_V2])
def test_maps_count_less_and_less_until_half_of_the_training(batch, architecture, progress, share):
    student, teacher = network(architecture), network(architecture, seed=1).eval()
    task = Distillation(PLAIN, teacher, "features", weight=0.5, task_kind=ONE_LABEL)
    task.attach(student)
    student.train()
    loss = task.loss(student, batch, progress)
    adapters = getattr(student, ADAPTERS)
    maps, theirs = student.forward_maps(batch[0]), teacher.forward_maps(batch[0])
    by_maps = torch.stack(
        [map_loss(adapter(own), their) for adapter, own, their in zip(adapters, maps, theirs, strict=True)]
    )
    logits = student(batch[0])
    by_hand = 0.5 * functional.cross_entropy(logits, batch[1]) + 0.5 * divergence(logits, teacher(batch[0]), 1.0)
    assert loss.item() == pytest.approx((by_hand + 0.5 * share * by_maps.mean()).item(), rel=1e-4)
    loss.backward()
    assert all((adapter.weight.grad is not None) == (share > 0) for adapter in adapters)


class Seen(Teacher):
    """A teacher that keeps what it saw."""

    def logits(self, images_BCHW):
        self.images = images_BCHW
        return super().logits(images_BCHW)


class Watched(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        self.images = x
        return self.scale * x.mean((2, 3))


def test_the_teacher_sees_the_mixed_images_of_the_student(batch):
    student, teacher = Watched(), Seen(network(seed=1))
    task = Distillation(Classification(build_mixing(0.8, 1.0, 3, 0.1)), teacher, task_kind=ONE_LABEL)
    torch.manual_seed(3)
    task.loss(student, batch, 0.0)
    assert torch.equal(student.images, teacher.images) and not torch.equal(student.images, batch[0])


def test_images_without_labels_have_the_teacher_s_loss_alone(batch):
    images, labels = batch
    student, teacher = Watched(), network(seed=1).eval()
    taught = Distillation(PLAIN, teacher, "soft", weight=0.5, task_kind=ONE_LABEL)
    labels = labels.clone()
    labels[4:] = UNLABELLED
    loss = taught.loss(student, Batch(images, labels), 0.0)
    assert torch.equal(student.images, images), "one pass for all images"
    logits = student(images)
    by_hand = 0.5 * functional.cross_entropy(logits[:4], labels[:4]) + 0.5 * divergence(logits, teacher(images), 1.0)
    assert loss.item() == pytest.approx(by_hand.item(), abs=1e-6)


@pytest.mark.parametrize("kind", ["hard", "soft", "features"])
def test_the_teacher_is_unchanged_and_has_no_gradient(batch, kind):
    student, teacher = network(), network(seed=1)
    before = copy.deepcopy(teacher.state_dict())
    task = Distillation(PLAIN, teacher, kind, task_kind=ONE_LABEL)
    task.attach(student)
    optimizer = torch.optim.SGD([*student.parameters(), *teacher.parameters()], lr=0.1)
    for step in range(3):
        student.train()
        teacher.train()  # by whoever else has it
        task.prepare(student, step)
        task.loss(student, batch, step / 3).backward()
        optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize("kind", ["hard", "soft", "features"])
def test_what_is_attached_changes_no_output_and_is_taken_away(batch, kind):
    student = network().eval()
    before, names = student(batch[0]), set(student.state_dict())
    task = Distillation(PLAIN, network(seed=1), kind, task_kind=ONE_LABEL)
    task.attach(student)
    assert torch.allclose(student.eval()(batch[0]), before, atol=1e-6)
    task.detach(student)
    more = {"head_dist.weight", "head_dist.bias"} if kind == "hard" else set()
    assert set(student.state_dict()) == names | more
    assert isinstance(student.train()(batch[0]), torch.Tensor)


@pytest.mark.parametrize("architecture", [SMALL, SMALL_V2])
def test_both_heads_are_one_in_the_deploy_form(batch, architecture):
    student = network(architecture, has_distillation_head=True)
    nn.init.normal_(student.head.weight)
    nn.init.normal_(student.head_dist.weight)
    student.eval()
    deployed = fuse(student)
    assert not hasattr(deployed, "head_dist") or deployed.head_dist is None
    assert torch.allclose(deployed(batch[0]), student(batch[0]), atol=1e-4)


def test_a_teacher_of_other_classes_is_refused_in_one_line():
    task = Distillation(PLAIN, network(num_classes=4), task_kind=ONE_LABEL)
    with pytest.raises(UsageError, match=r"has 4 classes, and the images have 3\. Fine-tune it") as error:
        task.attach(network())
    assert "\n" not in str(error.value)


def test_a_teacher_without_stages_cannot_teach_maps():
    task = Distillation(PLAIN, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "features", task_kind=ONE_LABEL)
    with pytest.raises(UsageError, match=r"no maps of stride 2, 4, 8, 16.*--distillation soft"):
        task.attach(network())


def test_a_teacher_that_is_no_classifier_is_refused():
    with pytest.raises(UsageError, match=r"gives \[1, 3, 32, 32\] for 1 images"):
        Distillation(PLAIN, nn.Identity(), task_kind=ONE_LABEL).attach(network())


def test_hooks_reach_the_task_inside():
    class Inner(Task):
        def lr_scales(self):
            return {"alpha": 2.0}

        def logged(self):
            return {"temperature": 1.0}

        def prepare(self, model, step):
            self.step = step

        def loss(self, model, batch, progress):
            self.progress = progress
            return model(batch.images).sum()

    inner = Inner()
    task = Distillation(inner, network(), task_kind=ONE_LABEL)
    task.prepare(nn.Identity(), 4)
    task.loss(Watched(), Batch(torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])), 0.7)
    assert inner.step == 4 and inner.progress == 0.7 and task.lr_scales() == {"alpha": 2.0}
    assert set(task.logged()) == {"temperature", "teacher_loss"}
