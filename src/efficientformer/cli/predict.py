"""Verb `predict`."""

from pathlib import Path

from efficientformer.cli.options import JsonOption, print_json


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
        Image files, or folders to search for images.
    sheet: Path
        Draw an annotated contact sheet into this PNG file.
    json: bool
        Print the predictions as one JSON document.
    """
    from rich.console import Console

    from efficientformer.pipeline.out_of_date import out_of_date_file
    from efficientformer.pipeline.predict import predict as run_prediction

    result = run_prediction(model, images, sheet=sheet)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    for row in out_of_date_file(model):
        errors.print(f"{row.text}", markup=False)
    for file, reason in result.skipped:
        errors.print(f"skipped {file}: {reason}", markup=False)
    if sheet is not None:
        errors.print(f"contact sheet: {sheet}", markup=False)
    if json:
        print_json([prediction.to_json() for prediction in result.predictions])
        return
    output = Console(highlight=False, soft_wrap=True)
    for prediction in result.predictions:
        scores = ", ".join(f"{n} {s:.1f} %" for n, s in zip(prediction.classes, prediction.scores, strict=True))
        output.print(f"{prediction.file}: {scores}", markup=False)
