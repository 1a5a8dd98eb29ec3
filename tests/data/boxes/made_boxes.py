"""A small set of images with boxes, as COCO JSON and as YOLO folders."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 40, 30
BOXES = [[4.0, 6.0, 20.0, 12.0], [22.0, 2.0, 10.0, 24.0]]
"""x, y, width, height; of the categories 3 and 7."""


def content(num_images: int = 4, start: int = 0) -> dict:
    """Images `a0.png`, `a1.png`, ..., each with both boxes, but the last has none."""
    images = [
        {"id": 10 + start + index, "file_name": f"a{start + index}.png", "width": SIZE[0], "height": SIZE[1]}
        for index in range(num_images)
    ]
    annotations = [
        {"image_id": image["id"], "category_id": category, "bbox": box, "iscrowd": 0, "area": box[2] * box[3]}
        for image in images[:-1]
        for category, box in zip((3, 7), BOXES, strict=True)
    ]
    numbered = [{"id": 100 + number, **annotation} for number, annotation in enumerate(annotations)]
    return {
        "images": images,
        "annotations": numbered,
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


def write_images(folder: Path, num_images: int = 4, start: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(start)
    for index in range(num_images):
        pixels = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"a{start + index}.png")


def write_coco(root: Path, document: dict | None = None, *, has_val: bool = False) -> Path:
    """A folder as COCO has it; `document` takes the place of the training annotations."""
    write_images(root / "train2017")
    (root / "annotations").mkdir()
    write = (root / "annotations" / "instances_train2017.json").write_text
    write(json.dumps(document or content()))
    if has_val:
        write_images(root / "val2017", 3, start=4)
        (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content(3, start=4)))
    return root


def yolo_lines() -> str:
    lines = []
    for number, (x, y, width, height) in enumerate(BOXES):
        shares = (x + width / 2) / SIZE[0], (y + height / 2) / SIZE[1], width / SIZE[0], height / SIZE[1]
        lines.append(" ".join(map(str, (number, *shares))))
    return "\n".join(lines) + "\n"


def write_yolo(root: Path, *, has_yaml: bool = True) -> Path:
    """The same training images and boxes as YOLO folders."""
    write_images(root / "images" / "train")
    (root / "labels" / "train").mkdir(parents=True)
    for index in range(3):
        (root / "labels" / "train" / f"a{index}.txt").write_text(yolo_lines())
    if has_yaml:
        (root / "data.yaml").write_text("path: ../somewhere\ntrain: images/train\nnc: 2\nnames: {0: cat, 1: dog}\n")
    else:
        (root / "classes.txt").write_text("cat\ndog\n")
    return root
