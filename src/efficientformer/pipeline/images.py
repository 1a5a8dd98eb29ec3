"""The images of a run: loaded once, described in `data.json`; and the parts of them that the search may see."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from efficientformer.data.dataset import ImageDataset, ImageSplit, holdout
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.memory import hold_in_memory
from efficientformer.data.sample import load_sample
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import RecordError
from efficientformer.provenance import provenance
from efficientformer.records import read_record, write_record

if TYPE_CHECKING:
    from efficientformer.pipeline.workspace import Workspace


def load_dataset(workspace: "Workspace") -> ImageDataset:
    """The person's folder or the shipped sample. Broken files are named once and skipped."""
    settings = workspace.settings
    if settings.data is None:
        dataset = load_sample()
    else:
        with workspace.console.progress("checking images") as progress:
            dataset = load_image_folder(
                Path(settings.data),
                val_fraction=settings.val_fraction,
                seed=settings.seed,
                known=_known(workspace),
                progress=lambda done, total: progress(done, total, ""),
            )
    _write_record(workspace, dataset)
    text = f"{dataset.name}: {len(dataset.classes)} classes, {len(dataset.train)} + {len(dataset.val)} images"
    workspace.console.phase("data", text)
    for skipped in dataset.skipped[:5]:
        workspace.console.warn(f"skipped {skipped.file}: {skipped.reason}")
    if len(dataset.skipped) > 5:
        workspace.console.warn(f"skipped {len(dataset.skipped)} files in all; data.json names every one")
    return dataset


def search_splits(workspace: "Workspace") -> tuple[ImageSplit, ImageSplit]:
    """Training images of the supernet, and those held out to judge subnets; validation images stay untouched."""
    return _held_out(workspace, workspace.training_images)


def judging_splits(workspace: "Workspace") -> tuple[ImageSplit, ImageSplit]:
    """The same images where they lie: few of them judge, and for these the others need not be read."""
    return _held_out(workspace, workspace.dataset.train)


def _held_out(workspace: "Workspace", images: ImageSplit) -> tuple[ImageSplit, ImageSplit]:
    return holdout(images, workspace.settings.supernet.held_out, workspace.settings.seed)


def load_training_images(workspace: "Workspace") -> ImageSplit:
    """The training images, held in memory at twice the resolution where they are large files and fit."""
    with workspace.console.progress("loading images") as progress:
        return hold_in_memory(
            workspace.dataset.train,
            2 * workspace.settings.resolution,
            progress=lambda done, total: progress(done, total, ""),
        )


def _known(workspace: "Workspace") -> dict[str, Any] | None:
    try:
        return read_record(workspace.run_dir.data)
    except RecordError:
        return None


def _write_record(workspace: "Workspace", dataset: ImageDataset) -> None:
    preprocessing = Preprocessing.for_dataset(dataset, workspace.settings.resolution)
    record = {**dataset.to_record(), "preprocessing": preprocessing.to_json()}
    known = _known(workspace)
    if known is None or any(known.get(name) != value for name, value in record.items()):
        write_record(workspace.run_dir.data, {**record, "provenance": provenance()})
