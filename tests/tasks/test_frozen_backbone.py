import timm

from efficientformer.models.network import Network
from efficientformer.tasks.frozen_backbone import FrozenBackbone
from efficientformer.tasks.task import Task

from ..models.small import SMALL_V2


class Hooked(Task):
    """A task that uses every hook of the loop."""

    def __init__(self):
        self.prepared = []

    def loss(self, model, batch, progress):
        return model, batch, progress

    def prepare(self, model, step):
        self.prepared.append((model, step))

    def lr_scales(self):
        return {"alpha": 5.0}

    def logged(self):
        return {"temperature": 0.5}


def test_the_backbone_is_frozen_at_first_and_every_hook_reaches_the_task():
    network, inner = Network(SMALL_V2, num_classes=3, resolution=32), Hooked()
    task = FrozenBackbone(inner, 2)
    for step, is_frozen in [(0, True), (1, True), (2, False), (1, True)]:
        task.prepare(network, step)
        network.train()
        assert network.stem.norm1.training is not is_frozen and network.head.training
        assert network.stem.conv1.weight.requires_grad is not is_frozen and network.head.weight.requires_grad
    assert inner.prepared == [(network, step) for step in (0, 1, 2, 1)]
    assert task.loss(network, "batch", 0.5) == (network, "batch", 0.5)
    assert task.lr_scales() == {"alpha": 5.0} and task.logged() == {"temperature": 0.5}


def test_of_a_network_of_timm_the_classifier_alone_is_trained_and_batch_norm_stays():
    network, task = timm.create_model("test_resnet", num_classes=3), FrozenBackbone(Hooked(), 2)
    for step, is_frozen in [(0, True), (2, False), (1, True)]:
        task.prepare(network, step)
        network.train()
        task.loss(network, "batch", 0.5)
        assert network.bn1.training is not is_frozen and network.fc.training
        assert network.conv1[0].weight.requires_grad is not is_frozen and network.fc.weight.requires_grad
