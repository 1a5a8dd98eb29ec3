"""The verb `predict`: classes and scores of images, from an exported network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from efficientformer.data.limits import MAX_PIXELS
from efficientformer.data.walk import find_images, reason_of
from efficientformer.errors import DataError, UsageError
from efficientformer.tasks.classification.contact_sheet import draw_contact_sheet
from efficientformer.tasks.classification.prediction import Prediction, Predictor

Skipped = list[tuple[Path, str]]


@dataclass(frozen=True)
class Predictions:
    """Predictions of the readable images, and (file or folder, reason) of what was skipped.

    notes: what was left out of the folders without a reason of its own, a line each.
    """

    predictions: list[Prediction]
    skipped: Skipped
    notes: tuple[str, ...] = ()


def predict(
    model: Path | str,
    images: Path | str | Sequence[Path | str],
    *,
    sheet: Path | str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Predictions:
    """Classify images with an exported network: the five likeliest classes of each, with their scores.

    model: a model.onnx that `export` wrote.
    images: image files, or folders to search for images, as training does.
    sheet: a PNG file to draw an annotated contact sheet into.
    max_pixels: larger images are skipped, or decoded at a reduced size if they are JPEG files.

    Raises UsageError for a model that does not exist, RecordError for one without class names, DataError if no image
    can be read.
    """
    if max_pixels < 1:
        raise UsageError(f"--max-pixels must be at least 1, got {max_pixels}.")
    model = Path(model)
    if not model.is_file():
        raise UsageError(
            f"{model} is not a file. Give the model.onnx of a network, such as runs/…/networks/8ms/model.onnx."
        )
    paths = [Path(path) for path in ([images] if isinstance(images, Path | str) else images)]
    files, skipped, notes = _find(paths)
    predictions, unreadable = Predictor(model).predict_files(files, max_pixels)
    skipped += unreadable
    if not predictions:
        reasons = "".join(f" Skipped {file}: {reason}." for file, reason in skipped[:_SHOWN])
        more = f" And {len(skipped) - _SHOWN:,} more." if len(skipped) > _SHOWN else ""
        raise DataError(f"None of the images could be read.{reasons}{more}")
    if sheet is not None:
        draw_contact_sheet(predictions, Path(sheet))
    return Predictions(predictions, skipped, notes)


_SHOWN = 10


def _find(paths: Sequence[Path]) -> tuple[list[Path], Skipped, tuple[str, ...]]:
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
    return files, skipped, tuple(dict.fromkeys(notes))
