"""The package `datasets`, which an extra installs: the only file that imports it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from efficientformer.data.hugging_face.name import HubName
from efficientformer.errors import DataError, UsageError

NEEDED = "Hugging Face data sets need the package datasets: pip install 'efficientformer[datasets]'."


def open_splits(name: HubName) -> Mapping[str, Any]:
    """The splits of a data set by name, as the library's `Dataset`; of the hub it is downloaded once.

    Raises UsageError where the library is not installed, DataError for what it cannot open.
    """
    datasets = _library()
    try:
        if name.is_saved:
            opened = datasets.load_from_disk(name.source)
        else:
            opened = datasets.load_dataset(name.source, name.config)
    except Exception as error:  # of connections, files and builders: too many kinds to list
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        remedy = (
            "Write or download it again."
            if name.is_folder
            else "Check the name and the connection; a folder that save_to_disk of datasets wrote needs none."
        )
        what = f"The data set {name.source} cannot be opened"
        raise DataError(f"{what}: {first_line.rstrip('.')}. {remedy}") from error
    return opened if isinstance(opened, dict) else {"train": opened}


def columns(split: Any, name: HubName) -> tuple[str, str]:
    """The names of the column of images and of that of classes, by their types.

    Raises DataError that names the columns where there is none, or one of several.
    """
    datasets = _library()
    images = [column for column, feature in split.features.items() if isinstance(feature, datasets.Image)]
    labels = [column for column, feature in split.features.items() if isinstance(feature, datasets.ClassLabel)]
    if name.label is not None:
        labels = [column for column in labels if column == name.label]
    if len(labels) > 1 and "label" in labels:
        labels = ["label"]
    typed = (f"{column} ({type(feature).__name__})" for column, feature in split.features.items())
    has = f"{name.source} has the columns {', '.join(typed)}"
    if len(images) != 1:
        raise DataError(f"{has}; one of the type Image is needed, and no more. Cast or remove columns with datasets.")
    if not labels:
        called = f" called {name.label}" if name.label else ""
        raise DataError(f"{has}, and none of the type ClassLabel{called}. Make one: class_encode_column of datasets.")
    if len(labels) > 1:
        raise DataError(f"{has}. Choose the column of the classes: hf:{name.source}#{labels[0]}.")
    return images[0], labels[0]


def class_names(split: Any, label: str) -> tuple[str, ...]:
    return tuple(split.features[label].names)


def numbers(split: Any, label: str) -> np.ndarray:
    """(N,) int32: of classes, -1 for an image without one."""
    values = split.data.column(label).to_pylist()
    return np.array([-1 if value is None else value for value in values], np.int32)


def undecoded(split: Any, image: str) -> Any:
    """The column of images alone, each as {"bytes": ..., "path": ...}."""
    return split.select_columns([image]).cast_column(image, _library().Image(decode=False))


def num_bytes(images: Any, image: str) -> np.ndarray:
    """(N,) int64: the bytes of each image, 0 where they are in a file of their own."""
    import pyarrow.compute  # type: ignore[import-not-found,unused-ignore]

    compute: Any = pyarrow.compute
    chunks = images.data.column(image).chunks
    sizes = [compute.fill_null(compute.binary_length(compute.struct_field(chunk, "bytes")), 0) for chunk in chunks]
    arrays = [size.to_numpy(zero_copy_only=False).astype(np.int64) for size in sizes]
    return np.concatenate([np.empty(0, np.int64), *arrays])


def _library() -> Any:
    try:
        import datasets  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise UsageError(NEEDED) from error
    return datasets
