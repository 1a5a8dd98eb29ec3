"""Several labels an image: what a network is given of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from efficientformer.data.dataset import Label, classes_of
from efficientformer.data.loading.loader import View


class LabelSetView(View):
    """Labels (B, K), float: 1 for the classes of an image and 0 for others."""

    def labels(self, labels: Sequence[Label], num_classes: int) -> Tensor:
        marks_BK = torch.zeros(len(labels), num_classes)
        for marks_K, label in zip(marks_BK, labels, strict=True):
            for number in classes_of(label):
                marks_K[number] = 1.0
        return marks_BK
