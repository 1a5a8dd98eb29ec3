"""Classify images with an exported file, which contains its class names and preprocessing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from efficientformer.data.images import EXTENSIONS, read_image
from efficientformer.data.transforms import Preprocessing, eval_transform
from efficientformer.errors import DataError, RecordError
from efficientformer.formats.network import ExportedAbout
from efficientformer.reading import checked, parse_json, shown_path


@dataclass(frozen=True)
class Prediction:
    """The likeliest classes of one image, best first; scores are probabilities in percent."""

    file: str
    classes: tuple[str, ...]
    scores: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        best = [{"class": name, "score": score} for name, score in zip(self.classes, self.scores, strict=True)]
        return {"file": self.file, "top5": best}


class Predictor:
    """An exported network with its class names. Raises RecordError when the file does not contain them."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exceptions share no base class of their own
            raise RecordError(f"{path} is not an ONNX file that this ONNX Runtime can load ({error}).") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        try:
            about = {name: parse_json(text) for name, text in metadata.items() if name in ExportedAbout.__annotations__}
            record = checked(about, ExportedAbout)
        except ValueError as error:
            raise RecordError(
                f"{shown_path(path)} was not exported by 'efficientformer export': its metadata: {error}."
            ) from error
        self.classes = record["classes"]
        num_scores = [1, *self._session.get_outputs()[0].shape][-1]
        if isinstance(num_scores, int) and num_scores != len(self.classes):
            raise RecordError(
                f"{shown_path(path)} gives {num_scores} scores and names {len(self.classes)} classes. Export it again."
            )
        self._transform = eval_transform(Preprocessing.from_json(record["preprocessing"]))
        self._input = self._session.get_inputs()[0].name

    def predict(self, image: Image.Image, file: str) -> Prediction:
        """Score one RGB image."""
        images_BCHW = self._transform(image)[None].numpy()
        logits_K = np.asarray(self._session.run(None, {self._input: images_BCHW})[0])[0]
        exponents_K = np.exp(logits_K - logits_K.max())
        scores_K = 100 * exponents_K / exponents_K.sum()
        best = np.argsort(-scores_K, kind="stable")[:5]
        return Prediction(file, tuple(self.classes[i] for i in best), tuple(float(scores_K[i]) for i in best))

    def predict_files(self, files: Sequence[Path]) -> tuple[list[Prediction], list[tuple[Path, str]]]:
        """Predictions of the readable files, and (file, reason) of the others."""
        predictions, skipped = [], []
        for file in files:
            try:
                predictions.append(self.predict(read_image(file), str(file)))
            except DataError as error:
                skipped.append((file, str(error)))
        return predictions, skipped


def find_images(folder: Path) -> list[Path]:
    """Every image file below a folder, in the order of their paths; hidden files and folders are left out."""
    below = (path for path in folder.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    return sorted(path for path in below if not any(part.startswith(".") for part in path.relative_to(folder).parts))
