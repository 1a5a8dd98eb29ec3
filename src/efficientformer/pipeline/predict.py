"""The verb `predict`: what an exported network sees in images: classes, masks or boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.walk import find_images, reason_of
from efficientformer.errors import DataError, UsageError
from efficientformer.formats.values import DENSE_TASKS
from efficientformer.paths import usable_path
from efficientformer.pipeline.exported.open_file import open_file
from efficientformer.pipeline.exported.predict_dense import DensePrediction, predict_dense
from efficientformer.tasks.classification.contact_sheet import draw_contact_sheet
from efficientformer.tasks.classification.prediction import Prediction, Predictor

Skipped = list[tuple[Path, str]]

MOST_NAMED = 10


@dataclass(frozen=True)
class Predictions:
    """Predictions of the readable images, and (file or folder, reason) of what was skipped.

    notes: what was left out of the folders without a reason of its own, and how the predictions were made, a line each.
    """

    predictions: list[Prediction] | list[DensePrediction]
    skipped: Skipped
    notes: list[str] = field(default_factory=list)


def predict(
    model: Path | str,
    images: Path | str | Sequence[Path | str],
    *,
    sheet: Path | str | None = None,
    draw: Path | str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Predictions:
    """Classify images with an exported network: the five likeliest classes of each, with their scores; of a network for
    several labels an image every label above 50 %; of one for masks the class of every pixel, of a detector boxes, of
    Mask R-CNN boxes and masks.

    model: a model.onnx that `export` wrote.
    images: image files, or folders to search for images, as training does.
    sheet: a PNG file to draw an annotated contact sheet into, of classes of whole images.
    draw: a folder for a drawing of each image with the masks or boxes that were found.
    max_pixels: larger images are skipped, or decoded at a reduced size if they are JPEG files.

    Raises UsageError for a model that does not exist, RecordError for one without class names, DataError if no image
    can be read.
    """
    if max_pixels < 1:
        raise UsageError(f"--max-pixels must be at least 1, got {max_pixels}.")
    model = usable_path(model, "model")
    if not model.is_file():
        raise UsageError(
            f"{model} is not a file. Give the model.onnx of a network, such as runs/…/networks/8ms/model.onnx."
        )
    paths = [Path(path) for path in ([images] if isinstance(images, Path | str) else images)]
    file = open_file(model)
    task = file.task
    is_dense = task in DENSE_TASKS
    if is_dense and sheet is not None:
        raise UsageError(f"--sheet is of classes of whole images, and {model} is for {task}: use --draw FOLDER.")
    if not is_dense and draw is not None:
        raise UsageError(f"--draw is of masks and boxes, and {model} is for {task}: use --sheet FILE.")
    files, skipped, notes = _find(paths)
    if is_dense:
        folder = None if draw is None else Path(draw)
        predictions, unreadable, missing = predict_dense(file, files, draw=folder, max_pixels=max_pixels)
        _require_some(predictions, skipped + unreadable)
        if folder is not None:
            notes.append(f"drawings: {folder}{_without_fonts(missing)}")
        return Predictions(predictions, skipped + unreadable, notes)
    predictor = Predictor(file)
    predictions, unreadable = predictor.predict_files(files, max_pixels)
    skipped += unreadable
    _require_some(predictions, skipped)
    if predictor.gives_probabilities:
        operator = predictor.reading.operator.lower()
        notes.append(f"{model} ends in a {operator}: its outputs are taken as probabilities, as they are")
    if sheet is not None:
        missing = draw_contact_sheet(predictions, Path(sheet))
        notes.append(f"contact sheet: {sheet}{_without_fonts(missing)}")
    return Predictions(predictions, skipped, notes)


def _require_some(predictions: Sequence[Prediction | DensePrediction], skipped: Skipped) -> None:
    if not predictions:
        reasons = "".join(f" Skipped {file}: {reason}." for file, reason in skipped[:MOST_NAMED])
        more = f" And {len(skipped) - MOST_NAMED:,} more." if len(skipped) > MOST_NAMED else ""
        raise DataError(f"None of the images could be read.{reasons}{more}")


def _find(paths: Sequence[Path]) -> tuple[list[Path], Skipped, list[str]]:
    """Files to read, what is skipped before it is read, and notes."""
    files: list[Path] = []
    skipped: Skipped = []
    notes: list[str] = []
    for path in paths:
        try:
            if not path.is_dir():
                path.stat()
                files.append(path)
                continue
            found = find_images(path)
        except (FileNotFoundError, ValueError):
            skipped.append((path, "does not exist"))
        except OSError as error:
            skipped.append((path, f"cannot be opened: {reason_of(error)}"))
        except DataError as error:
            skipped.append((path, str(error).rstrip(".")))
        else:
            files += found.files
            skipped += [(path / entry.file, entry.reason) for entry in found.left_out.skipped]
            notes += found.left_out.notes()
            if not found.files:
                skipped.append((path, f"no images in it ({found.left_out.in_words()})"))
    return files, skipped, list(dict.fromkeys(notes))


def _without_fonts(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    named = ", ".join(f"{character} (U+{ord(character):04X})" for character in missing[:MOST_NAMED])
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    return (
        f"; no font on this machine has {named}{more}, which stand there without accents or as escapes. Install one "
        "that has them, such as Noto Sans"
    )
