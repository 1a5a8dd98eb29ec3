"""Verb `predict`."""

from pathlib import Path

from efficientformer.cli.options import JsonOption, print_json
from efficientformer.errors import DataError, UsageError


def predict(model: Path, images: list[Path], *, sheet: Path | None = None, json: JsonOption = False) -> None:
    """Classify images with an exported network: the five likeliest classes with their scores.

    For example:

        efficientformer predict runs/photos/networks/8ms/model.onnx cat.jpg holiday/
        efficientformer predict runs/photos/networks/8ms/model.onnx holiday/ --sheet sheet.png --json

    Parameters
    ----------
    model: Path
        A model.onnx that `export` wrote.
    images: list[Path]
        Image files, or folders that are searched for images.
    sheet: Path
        Draw an annotated contact sheet into this PNG file.
    json: bool
        Print the predictions as one JSON document.
    """
    from rich.console import Console

    from efficientformer.tasks.classification.contact_sheet import draw_contact_sheet
    from efficientformer.tasks.classification.prediction import Predictor, find_images

    if not model.is_file():
        raise UsageError(
            f"{model} is not a file. Give the model.onnx of a network, such as runs/…/networks/8ms/model.onnx."
        )
    files = [file for path in images for file in (find_images(path) if path.is_dir() else [path])]
    predictions, skipped = Predictor(model).predict_files(files)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for file, reason in skipped:
        errors.print(f"skipped {file}: {reason}", markup=False)
    if not predictions:
        raise DataError("None of the images could be read.")
    if sheet is not None:
        draw_contact_sheet(predictions, sheet)
        errors.print(f"contact sheet: {sheet}", markup=False)
    if json:
        print_json([prediction.to_json() for prediction in predictions])
        return
    output = Console(highlight=False, soft_wrap=True)
    for prediction in predictions:
        scores = ", ".join(f"{n} {s:.1f} %" for n, s in zip(prediction.classes, prediction.scores, strict=True))
        output.print(f"{prediction.file}: {scores}", markup=False)
