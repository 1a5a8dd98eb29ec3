"""The verb `predict`: classes and scores of images, from an exported network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from efficientformer.errors import DataError, UsageError
from efficientformer.tasks.classification.contact_sheet import draw_contact_sheet
from efficientformer.tasks.classification.prediction import Prediction, Predictor, find_images

MOST_NAMED = 10


@dataclass(frozen=True)
class Predictions:
    """Predictions of the readable images, (file, reason) of each file that was skipped, and remarks on how they were
    made."""

    predictions: list[Prediction]
    skipped: list[tuple[Path, str]]
    notes: list[str] = field(default_factory=list)


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
    model = Path(model)
    if not model.is_file():
        raise UsageError(
            f"{model} is not a file. Give the model.onnx of a network, such as runs/…/networks/8ms/model.onnx."
        )
    paths = [Path(path) for path in ([images] if isinstance(images, Path | str) else images)]
    files = [file for path in paths for file in (find_images(path) if path.is_dir() else [path])]
    predictor = Predictor(model)
    predictions, skipped = predictor.predict_files(files)
    if not predictions:
        reasons = "".join(f" Skipped {file}: {reason}" for file, reason in skipped)
        raise DataError(f"None of the images could be read.{reasons}")
    notes = []
    if predictor.gives_probabilities:
        notes.append(f"{model} ends in a softmax: its outputs are taken as probabilities, as they are")
    if sheet is not None:
        missing = draw_contact_sheet(predictions, Path(sheet))
        notes.append(f"contact sheet: {sheet}{_without_fonts(missing)}")
    return Predictions(predictions, skipped, notes)


def _without_fonts(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    named = ", ".join(f"{character} (U+{ord(character):04X})" for character in missing[:MOST_NAMED])
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    return (
        f"; no font on this machine has {named}{more}, which stand there without accents or as escapes. Install one "
        "that has them, such as Noto Sans"
    )
