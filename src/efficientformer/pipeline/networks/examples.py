"""The best and the worst validation images of a network, drawn with what it finds in them, for the report."""

import hashlib
import io
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.provenance import provenance
from efficientformer.records import atomic_path, write_record
from efficientformer.tasks.detection.drawing import color_of
from efficientformer.tasks.examples.example import Example, best_and_worst
from efficientformer.tasks.examples.of_tasks import draw_examples, scores_of_images
from efficientformer.tasks.kind import Scores, TaskKind

FORMAT = 1
MOST = 4
"""Of the best images, and of the worst."""
QUALITY = 85


def write_examples(workspace: Workspace, path: Path, network: nn.Module, task: TaskKind, scores: Scores) -> None:
    """Draw the images into the folder of the record at `path`, and write it. Drawings of an earlier one are removed."""
    images, of_images = workspace.dataset.val, scores_of_images(scores)
    chosen = dict(zip(("best", "worst"), best_and_worst(of_images, MOST), strict=True))
    indices = [index for group in chosen.values() for index in group]
    drawn = dict(
        zip(indices, draw_examples(task, network, images, workspace.scored_preprocessing, indices), strict=True)
    )
    rows: dict[str, list[dict[str, Any]]] = {}
    for group, of_group in chosen.items():
        rows[group] = [
            {
                "file": images.name(index),
                "score": of_images[index],
                "drawings": _kept(path.parent, f"{group}-{place}", drawn[index]),
            }
            for place, index in enumerate(of_group, start=1)
        ]
    numbers = sorted({number for example in drawn.values() for number in example.numbers})
    record = {
        "format": FORMAT,
        **rows,
        "num_images": sum(score is not None for score in of_images),
        "classes": [{"name": images.classes[n], "color": "#{:02x}{:02x}{:02x}".format(*color_of(n))} for n in numbers],
        "provenance": provenance(),
    }
    write_record(path, record)
    _remove_others(path.parent, {name for of_group in rows.values() for row in of_group for name in row["drawings"]})


def _kept(folder: Path, name: str, example: Example) -> list[str]:
    """Names of the files of the drawings. They have a part of a digest: other content never takes a file's place, so a
    record always has the drawings that it was written for."""
    titles = ["found"] if len(example.drawings) == 1 else ["labelled", "found"]
    names = []
    for title, drawing in zip(titles, example.drawings, strict=True):
        content = _encoded(drawing)
        names.append(f"{name}-{title}-{hashlib.sha256(content).hexdigest()[:8]}.jpg")
        with atomic_path(folder / names[-1]) as temporary:
            temporary.write_bytes(content)
    return names


def _encoded(drawing: Image.Image) -> bytes:
    stream = io.BytesIO()
    drawing.save(stream, format="JPEG", quality=QUALITY, optimize=True)
    return stream.getvalue()


def _remove_others(folder: Path, kept: set[str]) -> None:
    for path in folder.glob("*.jpg"):
        if path.name not in kept and path.name.startswith(("best-", "worst-")):
            path.unlink()
