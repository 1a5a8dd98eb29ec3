"""The image set that ships with the package: a small part of Fashion-MNIST (licence in its NOTICE file)."""

import hashlib
from importlib import resources

import numpy as np

from efficientformer.data.dataset import ImageDataset, ImageSplit
from efficientformer.data.loading.memory import MemorySource


def load_sample() -> ImageDataset:
    """Ten classes of clothing, 28 x 28 pixels, 500 training and 100 validation images of each; grey turned to RGB."""
    archive = resources.files("efficientformer.data") / "fashion_mnist_mini" / "fashion-mnist-mini.npz"
    with archive.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        classes = tuple(str(name) for name in arrays["classes"])
        content = {key: arrays[key] for key in ("x_train", "y_train", "x_val", "y_val")}
    digest = hashlib.sha256("\n".join(classes).encode())
    for array in content.values():
        digest.update(np.ascontiguousarray(array).tobytes())
    return ImageDataset(
        name="fashion-mnist-mini",
        classes=classes,
        train=_split("train", classes, content["x_train"], content["y_train"]),
        val=_split("val", classes, content["x_val"], content["y_val"]),
        digest=digest.hexdigest(),
        split_rule="the set's own training and test images",
        native_resolution=int(content["x_train"].shape[1]),
        mean=(0.287, 0.287, 0.287),  # of the training images, which are grey
        std=(0.354, 0.354, 0.354),
    )


def _split(prefix: str, classes: tuple[str, ...], grey_NHW: np.ndarray, labels: np.ndarray) -> ImageSplit:
    pixels_NHWC = np.repeat(grey_NHW[..., None], 3, axis=3)
    positions = list(range(len(labels)))
    source = MemorySource([f"{prefix}/{position:05d}" for position in positions], list(pixels_NHWC))
    return ImageSplit(source, classes, labels.astype(int).tolist(), positions)
