"""Random batches, the same whenever a training begins at the same step."""

import torch

from efficientformer.data.loading.loader import Batch


def batches_from(step):
    while True:
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(6, 3, 8, 8, generator=generator)
        yield Batch(images, torch.randint(4, (6,), generator=generator))
        step += 1
