"""Batches without state: those of step k follow from the seed and k alone.

The order of epoch e is a permutation drawn from (seed, e), or an order in which all classes are equally frequent; the
augmentation of image i in epoch e is drawn from (seed, e, i). So a run that resumes at step k sees the same bytes as
one that never stopped, with any number of workers. Images stay bytes until they are on their device, where they are
normalized.
"""

import contextlib
import itertools
import random
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from efficientformer.data.dataset import (
    UNLABELLED,
    ImageSplit,
    Label,
    SkippedFile,
    UncheckedSource,
    UnreadableImageError,
)
from efficientformer.data.loading.order import Key, apart, balanced_order, mix, random_order, repeated_order, train_keys
from efficientformer.data.loading.worker_end import outlive_termination
from efficientformer.data.transforms import PixelBatch, Pixels, Transform
from efficientformer.errors import DataError, UsageError

CPU = torch.device("cpu")
Images = Tensor | PixelBatch
"""Of a batch: `to(device)` makes a tensor (B, C, H, W) of either, as the network takes them."""
_MOST_PLACES = 10
"""Images that are tried in the place of one that cannot be decoded; more in a row are no accident."""


class Batch(NamedTuple):
    """What a training step or a scoring step is given. Only a task looks inside.

    images: (B, C, H, W), as the network takes them.
    labels: of each image what its task learns, as the view made them of its `labels`: a tensor (B, ...), or a list of B
        dictionaries of tensors.
    """

    images: Tensor
    labels: Any

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device, its images channels last. Of what is pinned, the copy is not waited for."""
        images = self.images.to(device, memory_format=torch.channels_last, non_blocking=True)
        return Batch(images, _each_tensor(self.labels, lambda tensor: tensor.to(device, non_blocking=True)))


class KeptBatch(NamedTuple):
    """A batch that is used more than once: its images are bytes in main memory until `images.to(device)`."""

    images: Images
    labels: Any


def _each_tensor(labels: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Labels of a batch, a tensor or a list of dictionaries, with their tensors changed. Other labels stay."""
    if isinstance(labels, Tensor):
        return change(labels)
    return [
        {name: change(tensor) for name, tensor in label.items()} if isinstance(label, dict) else label
        for label in labels
    ]


class View:
    """What a network is given of images and their labels: tensors. Of this one a label is the number of a class.

    Labels that lie in the images are transformed with them, in `example` of another view. Of images without a label it
    gets `UNLABELLED`, and what becomes of that does not matter.
    """

    def __init__(self, transform: Transform | Callable[[Image.Image], Tensor]) -> None:
        # Bytes where it has them: the last step, normalization, is done on the device.
        self._transform: Callable[[Image.Image], Tensor | Pixels] = getattr(transform, "pixels", transform)

    def example(self, image: Image.Image, label: Label) -> tuple[Tensor | Pixels, Any]:
        """The image as bytes, or as the network takes it (C, H, W), and what `labels` makes a part of a batch of. May
        draw from the global generators."""
        return self._transform(image), label

    def labels(self, labels: Sequence[Any], num_classes: int) -> Any:
        """The labels of a batch, of those that `example` returned: a tensor (B, ...), see `Batch`."""
        return torch.tensor(labels)


def steps_per_epoch(split: ImageSplit, batch_size: int) -> int:
    """Batches per epoch: the last, partial one is dropped, unless it is the only one."""
    return max(1, len(split) // batch_size)


def train_batches(
    split: ImageSplit,
    view: View,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    workers: int = 0,
    part_of: Callable[[list[int]], list[int]] = list,
    is_balanced: bool = False,
    repeated: int = 1,
    device: torch.device = CPU,
) -> Generator[Batch, None, None]:
    """Batches without end from step `start_step` on, in the order of steps: images are floats on `device`, channels
    last, labels in main memory, which is pinned for a GPU.

    Labels are what the view makes of them, by default the numbers (B,) of classes, int64. `part_of` picks the images of
    a batch for this process, where several train together. With `is_balanced` an epoch has equally many images of every
    class, see `ImageSplit.groups` and `balanced_order`. Each image that an epoch draws it has `repeated` times, close
    to one another and each augmented in its own way; it is as long as otherwise, with so many times fewer images
    (Hoffer et al., 2020). Close the generator (or drop it) to end the worker processes. The caller's random generators
    are left unchanged. An image that turns out to be undecodable is named, and the nearest of its class takes its
    place. Raises DataError when an image can no longer be read.
    """
    _check(split, batch_size)
    num_drawn = -(-len(split) // repeated)
    order_of = partial(balanced_order, split.groups(), num_drawn) if is_balanced else partial(random_order, len(split))
    if repeated > 1:
        order_of = partial(repeated_order, order_of, len(split), repeated)
    keys = (
        (epoch, apart(part_of(batch), repeated))
        for epoch, batch in train_keys(order_of, len(split), batch_size, seed, start_step)
    )
    made = _produce(_Batches(split, view, seed), keys, workers, is_pinned=device.type == "cuda")
    return _normalized(made, device, torch.channels_last)


def with_unlabelled(labelled: Iterator[Batch], unlabelled: Iterator[Batch]) -> Generator[Batch, None, None]:
    """Batches of both streams, the unlabelled images after the others."""
    for (x_BCHW, labels), (more_BCHW, _) in zip(labelled, unlabelled, strict=True):
        without = torch.full((len(more_BCHW), *labels.shape[1:]), UNLABELLED, dtype=labels.dtype)
        yield Batch(torch.cat([x_BCHW, more_BCHW]), torch.cat([labels, without]))


def eval_batches(
    split: ImageSplit, view: View, *, batch_size: int, workers: int = 0, device: torch.device = CPU
) -> Generator[Batch, None, None]:
    """Batches of the whole split, as those of `train_batches`, in order, once; the last may be smaller. Channels are
    not last.

    An image that turns out to be undecodable is named and left out.
    """
    made = _in_order(split, view, batch_size, workers, is_pinned=device.type == "cuda")
    return _normalized(made, device, torch.contiguous_format)


def _normalized(
    made: Iterable[KeptBatch], device: torch.device, memory_format: torch.memory_format
) -> Generator[Batch, None, None]:
    for images, labels in made:
        is_ready = isinstance(images, Tensor)
        x = images.to(device, non_blocking=True) if is_ready else images.to(device, memory_format)
        yield Batch(x, labels)


def kept_batches(split: ImageSplit, view: View, *, batch_size: int, workers: int = 0) -> list[KeptBatch]:
    """The batches of `eval_batches` in a quarter of their memory."""
    return list(_in_order(split, view, batch_size, workers))


def _in_order(
    split: ImageSplit, view: View, batch_size: int, workers: int, *, is_pinned: bool = False
) -> Generator[KeptBatch, None, None]:
    _check(split, batch_size)
    starts = range(0, len(split), batch_size)
    keys = ((0, list(range(start, min(start + batch_size, len(split))))) for start in starts)
    return _produce(_Batches(split, view, seed=0, replaces=False), keys, workers, is_pinned=is_pinned)


@dataclass(frozen=True)
class _Made:
    """A batch, None without images, and the images that turned out to be undecodable on its way."""

    batch: KeptBatch | None
    unreadable: list[SkippedFile]

    def pin_memory(self) -> "_Made":
        """What `DataLoader` calls for batches that go to a GPU."""
        if self.batch is None:
            return self
        images, labels = self.batch
        return replace(self, batch=KeptBatch(images.pin_memory(), _each_tensor(labels, Tensor.pin_memory)))


@dataclass(frozen=True, eq=False)
class _Batches:
    """Whole batches by key, in this process or in a worker.

    replaces: whether another image takes the place of one that cannot be decoded.
    """

    split: ImageSplit
    view: View
    seed: int
    replaces: bool = True

    def __getitem__(self, key: Key) -> _Made | DataError:
        epoch, draws = key
        images, labels = list[Tensor | Pixels](), list[Any]()
        unreadable = list[SkippedFile]()
        try:
            for draw in draws:
                example = self._example(draw % len(self.split), mix(self.seed, epoch, draw), unreadable)
                if example is not None:
                    images.append(example[0])
                    labels.append(example[1])
        except DataError as error:
            return error  # raised in a worker, it would arrive wrapped in a page of traceback
        if not images:
            return _Made(None, unreadable)
        return _Made(KeptBatch(_stacked(images), self.view.labels(labels, len(self.split.classes))), unreadable)

    def _example(self, index: int, seed: int, unreadable: list[SkippedFile]) -> tuple[Tensor | Pixels, Any] | None:
        """An image and its label, or those of the image in its place. Names of the undecodable are added."""
        for place in itertools.islice(_with_neighbors(self.split, index), _MOST_PLACES if self.replaces else 1):
            _seed_generators(seed)
            try:
                return self.view.example(self.split.image(place), self.split.labels[place])
            except UnreadableImageError as error:
                unreadable.append(error.skipped)
        if self.replaces:
            last = unreadable[-1]
            raise DataError(
                f"No image near {last.file} in its class can be decoded, so none can take its place ({last.reason}). "
                "Check them with 'efficientformer data' and replace or remove the damaged ones."
            )
        return None


def _with_neighbors(split: ImageSplit, index: int) -> Iterator[int]:
    """An image and those with its label that follow it, then those before it, in a split that is sorted by class."""
    yield index
    label = split.labels[index]
    for places in (range(index + 1, len(split)), range(index - 1, -1, -1)):
        yield from itertools.takewhile(lambda place: split.labels[place] == label, places)


def _stacked(images: Sequence[Tensor | Pixels]) -> Images:
    as_bytes = [image for image in images if isinstance(image, Pixels)]
    return PixelBatch.of(as_bytes) if as_bytes else torch.stack(cast(list[Tensor], images))


def _produce(
    batches: _Batches, keys: Iterable[Key], workers: int, *, is_pinned: bool
) -> Generator[KeptBatch, None, None]:
    made_in = _made_by_workers if workers else _made_here
    for made in made_in(batches, keys, workers, is_pinned):
        if isinstance(made, DataError):
            raise made
        for skipped in made.unreadable:
            cast(UncheckedSource, batches.split.source).report(skipped)
        if made.batch is not None:
            yield made.batch


def _made_here(batches: _Batches, keys: Iterable[Key], workers: int, is_pinned: bool) -> Iterator[_Made | DataError]:
    for key in keys:
        with _untouched_generators():
            made = batches[key]
        yield made.pin_memory() if is_pinned and isinstance(made, _Made) else made


def _made_by_workers(
    batches: _Batches, keys: Iterable[Key], workers: int, is_pinned: bool
) -> Iterator[_Made | DataError]:
    loader = DataLoader(
        batches,  # type: ignore[arg-type]
        batch_size=None,
        sampler=keys,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=is_pinned,
        generator=torch.Generator(),  # otherwise the loader draws from the caller's
        worker_init_fn=outlive_termination,
    )
    yield from loader


def _as_it_is(batch: Any) -> Any:
    return batch


def _seed_generators(seed: int) -> None:
    # Not torch.manual_seed, which also seeds every accelerator and takes a hundred times longer.
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)


@contextlib.contextmanager
def _untouched_generators() -> Iterator[None]:
    torch_state, python_state, numpy_state = (
        torch.default_generator.get_state(),
        random.getstate(),
        np.random.get_state(),
    )
    try:
        yield
    finally:
        torch.default_generator.set_state(torch_state)
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _check(split: ImageSplit, batch_size: int) -> None:
    if len(split) == 0:
        raise DataError("This split has no images. Add some.")
    if batch_size < 1:
        raise UsageError(f"The batch size must be at least 1, got {batch_size}.")
