"""Images with shapes of their objects: the loss of Mask R-CNN and average precision. Trained and evaluated only."""

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

from torch import Tensor, nn

from efficientformer.arch.resolution import Grid
from efficientformer.data.augmentation import Augmentation
from efficientformer.data.boxes.instances import ScoredInstances, TrainInstances
from efficientformer.data.boxes.load import load_boxes
from efficientformer.data.dataset import ImageDataset, ImageSplit, LoadOptions
from efficientformer.data.mixing import Mixing, refuse_mixing
from efficientformer.data.transforms import Preprocessing
from efficientformer.models.heads.mask_rcnn import MaskRcnnHead
from efficientformer.models.layout import grid_of
from efficientformer.models.network import Network
from efficientformer.tasks.detection.precision import require_scoring
from efficientformer.tasks.instance.scores import InstanceScores, evaluate
from efficientformer.tasks.instance.task import InstanceSegmentation
from efficientformer.tasks.kind import Batches
from efficientformer.tasks.words import INSTANCE

OBJECTS = "objects"
"""The output of an exported file."""


class Instances:
    """The `TaskKind` of instance segmentation. Labels are a list with an entry for each image, see `boxes.instances`;
    outputs (B, 100, 6 + 28 * 28) are those of a Mask R-CNN head."""

    words = INSTANCE
    eval_batch_size = 8

    def load(self, path: Path, **options: Unpack[LoadOptions]) -> ImageDataset:
        require_scoring()
        return load_boxes(path, needs_masks=True, **options)

    def train_view(self, preprocessing: Preprocessing, augmentation: Augmentation) -> TrainInstances:
        return TrainInstances(preprocessing, augmentation)

    def score_view(self, preprocessing: Preprocessing) -> ScoredInstances:
        return ScoredInstances(preprocessing)

    def task(self, mixing: Mixing) -> InstanceSegmentation:
        return InstanceSegmentation()

    def mixing(
        self, images: ImageSplit, label_smoothing: float, *, is_weighted: bool, mixup: float = 0.0, cutmix: float = 0.0
    ) -> Mixing:
        refuse_mixing("masks", is_weighted, mixup, cutmix)
        return lambda images_BCHW, labels: (images_BCHW, labels)

    def comparable(self, network: nn.Module) -> nn.Module:
        return AtBoxes(network)

    def exported(self, network: nn.Module, grid: Grid) -> tuple[nn.Module, str]:
        return network, OBJECTS

    def evaluate(
        self, model: nn.Module, batches: Batches, num_classes: int, *, on_batch: Callable[[int], None] | None = None
    ) -> InstanceScores:
        return evaluate(model, batches, num_classes, on_batch=on_batch)


class AtBoxes(nn.Module):
    """What a network with a Mask R-CNN head computes where nothing is chosen, for one image; see `at_boxes` there."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_1CHW: Tensor) -> Tensor:
        assert isinstance(self.network, Network) and isinstance(self.network.head, MaskRcnnHead)
        return self.network.head.at_boxes(self.network.forward_normed_maps(x_1CHW), grid_of(x_1CHW))


INSTANCES = Instances()
