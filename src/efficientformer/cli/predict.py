"""Verb `predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from efficientformer.cli.options import JsonOption
from efficientformer.cli.printing import print_json, print_lines
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.visible import shortened

if TYPE_CHECKING:
    from efficientformer.pipeline.exported.predict_dense import DensePrediction
    from efficientformer.tasks.classification.prediction import Prediction

LONGEST_NAME, LONGEST_LINE = 80, 1000

# A file may be called "[1].png", which is no JSON.
Images = Annotated[list[Path], Parameter(json_list=False)]


def predict(
    model: Path,
    images: Images,
    *,
    sheet: Path | None = None,
    draw: Path | None = None,
    max_pixels: int = MAX_PIXELS,
    json: JsonOption = False,
) -> None:
    """Classify images with an exported network: the five likeliest classes with their scores.

    A network for several labels an image gives every label above 50 %, one for masks the class of every pixel and their
    shares of the image, a detector boxes, Mask R-CNN boxes and masks; all but labels can be drawn over the images.

    For example:

        efficientformer predict runs/photos/networks/8ms/model.onnx cat.jpg holiday/
        efficientformer predict runs/photos/networks/8ms/model.onnx holiday/ --sheet sheet.png --json
        efficientformer predict runs/streets/networks/l1/model.onnx drive/ --draw drawn

    Parameters
    ----------
    model: Path
        A model.onnx that `export` wrote.
    images: list[Path]
        Image files, or folders to search for images.
    sheet: Path
        Draw an annotated contact sheet of classes into this PNG file.
    draw: Path
        Draw each image with its masks or boxes into this folder; of masks also their class numbers, NAME.mask.png.
    max_pixels: int
        Largest image that is read, in pixels. JPEG files beyond it are decoded at a reduced size.
    json: bool
        Print the predictions as one JSON document.
    """
    from efficientformer.pipeline.out_of_date import out_of_date_file
    from efficientformer.pipeline.predict import predict as run_prediction
    from efficientformer.pipeline.run.console import TextConsole

    result = run_prediction(model, images, sheet=sheet, draw=draw, max_pixels=max_pixels)
    errors = TextConsole(stderr=True, soft_wrap=True)
    for row in out_of_date_file(model):
        errors.print(row.text)
    for file, reason in result.skipped:
        errors.print(f"skipped {file}: {reason}")
    for note in result.notes:
        errors.print(note)
    if json:
        print_json([prediction.to_json() for prediction in result.predictions])
        return
    print_lines(f"{prediction.file}: {_scores(prediction)}" for prediction in result.predictions)


def _scores(prediction: "Prediction | DensePrediction") -> str:
    from efficientformer.pipeline.exported.predict_dense import DensePrediction

    if isinstance(prediction, DensePrediction):
        return shortened(prediction.text, LONGEST_LINE)
    pairs = zip(prediction.classes, prediction.scores, strict=True)
    shown = ", ".join(f"{shortened(name, LONGEST_NAME)} {score:.1f} %" for name, score in pairs)
    return shown or "none of the labels"
