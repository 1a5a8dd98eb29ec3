"""The images of a run: loaded once, described in `data.json`."""

from pathlib import Path
from typing import Any

from efficientformer.data.dataset import ImageDataset, ImageSplit
from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.memory import hold_in_memory
from efficientformer.data.sample import load_sample
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import RecordError
from efficientformer.formats.run import DataRecord
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.settings import Settings
from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir


def load_dataset(run_dir: RunDir, settings: Settings, console: RunConsole) -> ImageDataset:
    """The images of the setting `data`, or the shipped sample. Broken files are skipped with a warning."""
    if settings.data is None:
        dataset = load_sample()
    else:
        with console.progress("checking images") as progress:
            dataset = load_image_folder(
                Path(settings.data),
                val_fraction=settings.val_fraction,
                seed=settings.seed,
                known=_known(run_dir),
                progress=lambda done, total: progress(done, total, ""),
            )
    _write_record(run_dir, dataset, settings.resolution)
    text = f"{dataset.name}: {len(dataset.classes)} classes, {len(dataset.train)} + {len(dataset.val)} images"
    console.phase("data", text)
    for skipped in dataset.skipped[:5]:
        console.warn(f"skipped {skipped.file}: {skipped.reason}")
    if len(dataset.skipped) > 5:
        console.warn(f"skipped {len(dataset.skipped)} files in total; data.json lists them")
    return dataset


def load_training_images(dataset: ImageDataset, settings: Settings, console: RunConsole) -> ImageSplit:
    """The training images; large files are held in memory at twice the resolution if they fit."""
    with console.progress("loading images") as progress:
        return hold_in_memory(
            dataset.train,
            2 * settings.resolution,
            progress=lambda done, total: progress(done, total, ""),
        )


def _known(run_dir: RunDir) -> dict[str, Any] | None:
    try:
        return dict(read_record(run_dir.data, DataRecord))
    except RecordError:
        return None


def _write_record(run_dir: RunDir, dataset: ImageDataset, resolution: int) -> None:
    preprocessing = Preprocessing.for_dataset(dataset, resolution)
    record = {**dataset.to_record(), "preprocessing": preprocessing.to_json()}
    known = _known(run_dir)
    if known is None or any(known.get(name) != value for name, value in record.items()):
        write_record(run_dir.data, {**record, "provenance": provenance()})
