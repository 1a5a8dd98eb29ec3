"""What lies in images, by an exported network: a class for every pixel, boxes, or boxes with masks, as JSON and drawn
over the photos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image

from efficientformer.formats.values import TaskName
from efficientformer.records import atomic_path
from efficientformer.tasks.classification.fonts import Lettering
from efficientformer.tasks.exported_file import ExportedFile, predict_readable

if TYPE_CHECKING:
    from efficientformer.tasks.detection.prediction import BoxPredictor, ObjectPrediction

LETTERS = "0123456789 .%"


@dataclass(frozen=True)
class DensePrediction:
    """What was found in one image: as JSON, and in a line."""

    file: str
    record: dict[str, Any]
    text: str

    def to_json(self) -> dict[str, Any]:
        return self.record


class _Finder(Protocol):
    """A network of one dense task: finds in an image, and draws what it found."""

    classes: list[str]

    def find(self, image: Image.Image, file: str, drawings: "_Drawings | None") -> DensePrediction: ...


class _Masks:
    def __init__(self, model: ExportedFile) -> None:
        from efficientformer.tasks.semantic.prediction import MaskPredictor

        self._predictor = MaskPredictor(model)
        self.classes = self._predictor.classes

    def find(self, image: Image.Image, file: str, drawings: "_Drawings | None") -> DensePrediction:
        from efficientformer.tasks.semantic.drawing import draw_segments

        found = self._predictor.predict(image, file)
        written: dict[str, str] = {}
        if drawings is not None:
            name = drawings.name_of(file)
            written["drawing"] = drawings.save(draw_segments(image, found, drawings.lettering), f"{name}.png")
            written["mask"] = drawings.save(Image.fromarray(found.mask), f"{name}.mask.png")
        text = ", ".join(f"{segment.name} {segment.share:.1f} %" for segment in found.segments)
        return DensePrediction(file, {**found.to_json(), **written}, text)


class _Objects:
    """draw: makes a drawing of a photo and what was found in it."""

    def __init__(
        self, predictor: "BoxPredictor", draw: Callable[[Image.Image, "ObjectPrediction", Lettering], Image.Image]
    ) -> None:
        self._predictor, self._draw = predictor, draw
        self.classes = predictor.classes

    def find(self, image: Image.Image, file: str, drawings: "_Drawings | None") -> DensePrediction:
        found = self._predictor.predict(image, file)
        written: dict[str, str] = {}
        if drawings is not None:
            drawing = self._draw(image, found, drawings.lettering)
            written["drawing"] = drawings.save(drawing, f"{drawings.name_of(file)}.png")
        text = ", ".join(f"{each.name} {each.score:.0f} %" for each in found.objects) or "nothing"
        return DensePrediction(file, {**found.to_json(), **written}, text)


def _boxes(model: ExportedFile) -> _Objects:
    from efficientformer.tasks.detection.drawing import draw_boxes
    from efficientformer.tasks.detection.prediction import BoxPredictor

    return _Objects(BoxPredictor(model), lambda photo, found, letters: draw_boxes(photo, found.labelled(), letters))


def _instances(model: ExportedFile) -> _Objects:
    from efficientformer.tasks.instance.drawing import draw_instances
    from efficientformer.tasks.instance.prediction import InstancePredictor

    return _Objects(InstancePredictor(model), draw_instances)


FINDERS: dict[TaskName, Callable[[ExportedFile], _Finder]] = {
    "semantic": _Masks,
    "detection": _boxes,
    "instance": _instances,
}


class _Drawings:
    """PNG files in a folder, with the names of their photos."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._taken = folder, set[str]()
        self.lettering = Lettering((*classes, LETTERS), 15)

    def name_of(self, file: str) -> str:
        """The name of a photo without its ending; with a number where photos of several folders have the same."""
        stem = name = Path(file).stem
        number = 2
        while name.lower() in self._taken:
            name, number = f"{stem}-{number}", number + 1
        self._taken.add(name.lower())
        return name

    def save(self, drawing: Image.Image, name: str) -> str:
        with atomic_path(self._folder / name) as temporary:
            drawing.save(temporary, format="PNG")
        return str(self._folder / name)


def predict_dense(
    model: ExportedFile, files: Sequence[Path], *, draw: Path | None, max_pixels: int
) -> tuple[list[DensePrediction], list[tuple[Path, str]], list[str]]:
    """Predictions of the readable files, (file, reason) of the others, and the characters that no font here has.

    draw: a folder for a PNG of each image with what was found; of masks also one of the numbers of the classes.

    Raises RecordError for a model that cannot be used.
    """
    finder = FINDERS[model.task](model)
    drawings = None if draw is None else _Drawings(draw, finder.classes)
    predictions, skipped = predict_readable(files, partial(finder.find, drawings=drawings), max_pixels)
    return predictions, skipped, [] if drawings is None else drawings.lettering.missing
