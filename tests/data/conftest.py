"""Small folders of images, and splits that need no files."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efficientformer.data import content
from efficientformer.data.dataset import ImageSplit
from efficientformer.data.loading.memory import MemorySource


@pytest.fixture
def write_images() -> Callable[..., None]:
    """write_images(folder, "a.png", "b.jpg"): small pictures, each of another color."""

    def write(folder: Path, *names: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for position, name in enumerate(names):
            color = (40 * position % 256, len(folder.name) * 9 % 256, 128)
            Image.new("RGB", (12, 9), color).save(folder / name)

    return write


@pytest.fixture
def make_split() -> Callable[..., ImageSplit]:
    """make_split([3, 5], side=8): three images of class 0, five of class 1, random pixels."""

    def make(num_per_class: Sequence[int], side: int = 8) -> ImageSplit:
        labels = [label for label, count in enumerate(num_per_class) for _ in range(count)]
        rng = np.random.default_rng(len(labels))
        pixels = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in labels]
        source = MemorySource([f"image{index}" for index in range(len(labels))], pixels)
        classes = tuple(f"class{label}" for label in range(len(num_per_class)))
        return ImageSplit(source, classes, labels, list(range(len(labels))))

    return make


@pytest.fixture
def later(monkeypatch) -> None:
    """Files are checked a minute after they were made: nothing is read again for having been made just now."""
    monkeypatch.setattr(content.time, "time_ns", lambda: time.clock_gettime_ns(time.CLOCK_REALTIME) + 60 * 10**9)
