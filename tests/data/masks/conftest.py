"""Small folders of images with masks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIZE = (12, 8)


@pytest.fixture
def write_masks(tmp_path) -> Callable[..., Path]:
    """write_masks({"training": 4, "validation": 2}): images of 12 x 8 whose left half is of class 1, the rest of 2."""

    def write(splits: dict[str, int], masks: str = "annotations", classes: str = "0 void\n1 sky\n2 road\n") -> Path:
        root = tmp_path / "set"
        for split, count in splits.items():
            for folder in ("images", masks):
                (root / folder / split).mkdir(parents=True, exist_ok=True)
            for index in range(count):
                values = np.full(SIZE[::-1], 2, np.uint8)
                values[:, :6] = 1
                values[0, 0] = 0
                Image.fromarray(values).save(root / masks / split / f"{index}.png")
                pixels = np.repeat(values[..., None] * 100, 3, axis=2)
                pixels[..., 2] = 10 * index
                Image.fromarray(pixels).save(root / "images" / split / f"{index}.png")
        (root / "classes.txt").write_text(classes)
        return root

    return write
