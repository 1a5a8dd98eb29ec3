"""What a task says of parameters that its loss uses: processes that train together wait for each of their gradients."""

from dataclasses import replace

import pytest
import torch

from efficientformer.arch.dense import SemanticFpn
from efficientformer.data.dataset import UNLABELLED
from efficientformer.data.loading.loader import Batch
from efficientformer.data.masks.mask import IGNORED
from efficientformer.data.mixing import build_mixing
from efficientformer.models.network import Network
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.tasks.classification.task import Classification
from efficientformer.tasks.distillation import Distillation
from efficientformer.tasks.multi_label.task import MultiLabel
from efficientformer.tasks.semantic.kind import SEMANTIC_KIND
from efficientformer.tasks.semantic.task import Segmentation

from ..models.small import SMALL, SMALL_V2

ARCHITECTURES = [SMALL, SMALL_V2]
MIXING = build_mixing(0.8, 1.0, 3, 0.1)
LABELS = torch.tensor([0, 2, UNLABELLED, UNLABELLED])


def network(architecture, seed=0):
    torch.manual_seed(seed)
    return Network(architecture, num_classes=3, resolution=32, drop_path_rate=0.5)


def dense(architecture):
    return replace(architecture, head=SemanticFpn(16, 8))


def without_gradient(task, model, labels):
    images = torch.randn(len(labels), 3, 32, 32, generator=torch.Generator().manual_seed(1))
    task.loss(model.train(), Batch(images, labels), 0.25).backward()
    return [name for name, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_taught_classifier_uses_all(architecture, kind):
    model = network(architecture)
    task = Distillation(Classification(MIXING), network(SMALL, seed=1), kind, task_kind=ONE_LABEL)
    task.attach(model)
    assert task.uses_all_parameters
    assert without_gradient(task, model, LABELS) == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("is_taught", [False, True])
@pytest.mark.parametrize("value", [1, IGNORED])
def test_masks_use_all_also_where_every_pixel_is_ignored(architecture, is_taught, value):
    model = network(dense(architecture))
    task = Segmentation()
    if is_taught:
        task = Distillation(task, network(dense(SMALL), seed=1), task_kind=SEMANTIC_KIND)
        task.attach(model)
    assert task.uses_all_parameters
    assert without_gradient(task, model, torch.full((4, 32, 32), value)) == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_labels_use_all(architecture):
    model = network(architecture)
    assert Classification.uses_all_parameters and MultiLabel.uses_all_parameters
    assert without_gradient(Classification(MIXING), model, LABELS[:2]) == []


def test_maps_are_compared_in_a_part_of_the_training_so_their_adapters_are_not_always_used():
    model = network(SMALL_V2)
    task = Distillation(Classification(MIXING), network(SMALL, seed=1), "features", task_kind=ONE_LABEL)
    task.attach(model)
    assert not task.uses_all_parameters
    assert without_gradient(task, model, LABELS) == []
    images = Batch(torch.randn(4, 3, 32, 32), LABELS)
    model.zero_grad()
    task.loss(model, images, 0.75).backward()
    assert any(parameter.grad is None for parameter in model.parameters())
