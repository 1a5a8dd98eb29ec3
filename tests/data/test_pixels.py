"""Images leave the loader's workers as bytes and are normalized in batches, with the bits that they had before."""

import itertools

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from efficientformer.data.loading import loader
from efficientformer.data.loading.loader import KeptBatch, View, _Made, eval_batches, kept_batches, train_batches
from efficientformer.data.loading.order import mix
from efficientformer.data.transforms import PixelBatch, Preprocessing, eval_transform, train_transform

PREPROCESSING = Preprocessing((24, 32))
VIEW = View(eval_transform(PREPROCESSING))


class AsBefore:
    """The transform as it was: every image is normalized by itself, and then a part of it is erased."""

    def __init__(self, transform):
        self._parts = v2.Compose([transform.crop, transform.mirror, transform.color, self._normalized, transform.erase])

    def __call__(self, image):
        return self._parts(image)

    def _normalized(self, image):
        mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (PREPROCESSING.mean, PREPROCESSING.std))
        x_CHW = np.asarray(image).transpose(2, 0, 1).astype(np.float32, order="C")
        return torch.from_numpy(x_CHW * (1 / (255 * std)) - mean / std)


@pytest.mark.parametrize("augmentation", ["standard", "strong"])
def test_batches_have_the_bits_of_images_that_are_normalized_one_by_one(make_split, augmentation):
    split, transform = make_split([8, 8], side=40), train_transform(PREPROCESSING, augmentation)
    transform.erase.p, num_erased = 0.5, 0
    seen, expected = (
        itertools.islice(train_batches(split, View(made), batch_size=8, seed=3), 4)
        for made in (transform, AsBefore(transform))
    )
    for (x_BCHW, labels), (before_BCHW, labels_before) in zip(seen, expected, strict=True):
        assert torch.equal(x_BCHW, before_BCHW) and torch.equal(labels, labels_before)
        assert x_BCHW.is_contiguous(memory_format=torch.channels_last)
    for draw in range(16):
        loader._seed_generators(mix(3, 0, draw))
        num_erased += transform.pixels(split.image(draw)).noise is not None
    assert 2 < num_erased < 14, "both kinds of image were compared"


@pytest.mark.parametrize("workers", [0, 1])
def test_what_workers_send_and_searches_keep_is_bytes(make_split, workers):
    split = make_split([5], side=40)
    (first, _), (last, _) = kept_batches(split, VIEW, batch_size=3, workers=workers)
    assert isinstance(first, PixelBatch) and first.values.dtype == torch.uint8 and len(last) == 2
    assert first.nbytes == 3 * 3 * 24 * 32 and first.values.is_shared() == (workers == 1)
    x_BCHW, _ = next(eval_batches(split, VIEW, batch_size=3))
    assert torch.equal(first.to(torch.device("cpu")), x_BCHW) and x_BCHW.is_contiguous()


def test_batches_for_a_gpu_are_pinned_whole(make_split, monkeypatch):
    """Without a GPU: what `DataLoader` is asked for, and what it pins when it asks the batch to pin itself."""
    pinned, asked = [], []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    transform = train_transform(PREPROCESSING, "strong")
    transform.erase.p = 1.0
    images = PixelBatch.of([transform.pixels(make_split([1], side=40).image(0))])
    boxes, masks = torch.zeros(2, 4), torch.zeros(2, 24, 32)
    made = _Made(KeptBatch(images, [{"boxes": boxes, "masks": masks}]), []).pin_memory()
    assert [id(tensor) for tensor in pinned] == [*map(id, (images.values, images.noise, boxes, masks))]
    assert made.batch.images.noise is not images.noise and made.batch.labels[0]["boxes"] is not boxes
    monkeypatch.setattr(loader, "DataLoader", lambda *_, pin_memory, **__: asked.append(pin_memory) or iter(()))
    for device in ("cpu", "cuda"):
        list(eval_batches(make_split([2]), VIEW, batch_size=2, workers=1, device=torch.device(device)))
    assert asked == [False, True]
