"""What a network is given of images with boxes."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from efficientformer.data.boxes.joint import JointTransform, padded
from efficientformer.data.boxes.objects import Objects
from efficientformer.data.dataset import Label
from efficientformer.data.loading.loader import View
from efficientformer.data.transforms import Pixels


class BoxView(View):
    """Labels (B, N, 5), float: the boxes that each input shows, see `data.boxes.joint`."""

    def __init__(self, transform: JointTransform) -> None:
        self._joint = transform

    def example(self, image: Image.Image, label: Label) -> tuple[Pixels, Tensor]:
        objects = label if isinstance(label, Objects) else Objects(*image.size, (), 0)
        return self._joint(image, objects)

    def labels(self, labels: Sequence[Tensor], num_classes: int) -> Tensor:
        return padded(labels)
