"""The verb `predict`: classes and scores of images, from an exported network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from efficientformer.errors import DataError, UsageError
from efficientformer.paths import usable_path
from efficientformer.tasks.classification.contact_sheet import draw_contact_sheet
from efficientformer.tasks.classification.prediction import Prediction, Predictor, find_images


@dataclass(frozen=True)
class Predictions:
    """Predictions of the readable images, and (file, reason) of each file that was skipped."""

    predictions: list[Prediction]
    skipped: list[tuple[Path, str]]


def predict(
    model: Path | str, images: Path | str | Sequence[Path | str], *, sheet: Path | str | None = None
) -> Predictions:
    """Classify images with an exported network: the five likeliest classes of each, with their scores.

    model: a model.onnx that `export` wrote.
    images: image files, or folders to search for images.
    sheet: a PNG file to draw an annotated contact sheet into.

    Raises UsageError for a model that does not exist, RecordError for one without class names, DataError if no image
    can be read.
    """
    model = usable_path(model, "model")
    if not model.is_file():
        raise UsageError(
            f"{model} is not a file. Give the model.onnx of a network, such as runs/…/networks/8ms/model.onnx."
        )
    paths = [usable_path(path, "image") for path in ([images] if isinstance(images, Path | str) else images)]
    files = [file for path in paths for file in (find_images(path) if path.is_dir() else [path])]
    predictions, skipped = Predictor(model).predict_files(files)
    if not predictions:
        reasons = "".join(f" Skipped {file}: {reason}" for file, reason in skipped)
        raise DataError(f"None of the images could be read.{reasons}")
    if sheet is not None:
        draw_contact_sheet(predictions, Path(sheet))
    return Predictions(predictions, skipped)
