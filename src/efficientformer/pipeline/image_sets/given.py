"""The images of a folder, a list, shards or Hugging Face, before any is decoded."""

from dataclasses import replace
from pathlib import Path

from efficientformer.data.hugging_face.load import found_hugging_face
from efficientformer.data.hugging_face.name import is_hugging_face
from efficientformer.data.image_list import is_image_list, read_image_list
from efficientformer.data.images import Progress
from efficientformer.data.large.checks import Checks
from efficientformer.data.large.found import FoundSet, check_found
from efficientformer.data.large.listed import found_list
from efficientformer.data.large.load import found_folder
from efficientformer.data.layout import find_layout
from efficientformer.data.shards.download import local_shards
from efficientformer.data.shards.layout import is_shard_set
from efficientformer.data.shards.load import found_shards
from efficientformer.errors import UsageError
from efficientformer.paths import usable_path
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.tasks.layouts import dense_tasks_at
from efficientformer.tasks.words import task_words


def given_images(path: Path | str, max_pixels: int, console: RunConsole) -> FoundSet:
    """Raises DataError for what cannot be used as a set of images with classes, UsageError for masks and boxes."""
    given = usable_path(Path(path).expanduser(), "the folder of images")
    with console.progress("downloading shards") as progress:
        given = local_shards(given, lambda done, total: progress(done, total, "MB"))
    with console.progress("listing images") as progress:
        return _found(given, max_pixels, lambda done, total: progress(done, total, ""))


def check_given(given: FoundSet, max_pixels: int, console: RunConsole) -> tuple[Checks, int]:
    """Read and decode every image, or know it from earlier; and the number of those that were read now."""
    with console.progress("checking images") as progress:
        known = given.num_images
        return check_found(given, max_pixels, lambda done, total: progress(done, total, f"{known - total:,} known"))


def _found(given: Path, max_pixels: int, progress: Progress) -> FoundSet:
    if dense := dense_tasks_at(given):
        raise UsageError(
            f"{given} has images with {task_words(dense[0]).labels}, which training checks. This is for images with "
            "classes: folders <class>/, or a list."
        )
    if is_hugging_face(given):
        return found_hugging_face(given, max_pixels)
    if is_shard_set(given):
        return found_shards(given, max_pixels, progress)
    if is_image_list(given):
        return found_list(given, read_image_list(given), max_pixels)
    layout = find_layout(given)
    found = found_folder(given, layout, max_pixels, progress)
    return (
        found if layout.val is None else replace(found, rule=f"the folder {layout.val.relative_to(given).as_posix()}")
    )
