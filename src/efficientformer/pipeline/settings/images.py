"""Settings of a run's images. The first sentence of a docstring is the help of its flag."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from efficientformer.arch.dense import MAX_PROPOSALS
from efficientformer.data.limits import MAX_PIXELS
from efficientformer.formats.values import TaskName

Side = Annotated[int, Field(ge=8, le=1024, multiple_of=8)]


def _part_or_all(share: float) -> float:
    if share >= 0.9 and share != 1:
        raise ValueError("must be less than 0.9, or 1 to score all images with evaluate MODEL")
    return share


class ImageSettings(BaseModel):
    """The images of a run, and what is asked of them."""

    data: str | None = None
    """Folder, list, shards or hf:NAME; else a sample. A list is CSV or JSON with path, label and
    perhaps split; the sample is a part of Fashion-MNIST."""
    task: Literal["auto"] | TaskName = "auto"
    """What is asked of an image. auto: by the data. classification: a class; multi_label: several or none; semantic: a
    class for every pixel, from masks (docs/segmentation.md). detection: boxes around objects (docs/detection.md).
    instance: their masks, too (docs/instances.md)."""
    skip_bad: bool = False
    """Leave out images with bad masks or boxes. They are named and counted; else the first one ends the command."""
    val_fraction: Annotated[float, Field(gt=0), AfterValidator(_part_or_all)] = 0.2
    """Share of images for validation. Where the folder gives no split; 1: all, for evaluate MODEL alone."""
    crop: Annotated[float | None, Field(gt=0, le=1)] = None
    """Share of an image that is scored. Of the side that limits it; by default 0.95 of photos and all of small images.
    It is that of finished networks: exported files have it, and predict follows them. Training and search have 0.95."""
    max_pixels: Annotated[int, Field(gt=0)] = MAX_PIXELS
    """Largest image that is read, in pixels. JPEG files beyond it are decoded at a reduced size, other files are
    skipped: a small file may claim billions of pixels."""


class SemanticSettings(BaseModel, extra="forbid", frozen=True):
    """A class for every pixel."""

    fpn_width: Side = 256
    """Channels of the feature pyramid behind a pretrained backbone."""
    width: Side = 128
    """Channels of the head behind the pyramid."""
    sliding: bool = False
    """Score windows of the input's size that slide over the image. The image then keeps its aspect, and covers the
    input; windows overlap by a third, and their logits are averaged."""


class DetectionSettings(BaseModel, extra="forbid", frozen=True):
    """Boxes around objects, by a one-stage head."""

    fpn_width: Side = 96
    """Channels of the feature pyramid behind a pretrained backbone."""
    width: Side = 96
    """Channels of the two branches of the head."""
    depth: Annotated[int, Field(ge=1, le=8)] = 2
    """Convolutions of a branch."""


class InstanceSettings(BaseModel, extra="forbid", frozen=True):
    """Masks of objects, by Mask R-CNN."""

    fpn_width: Side = 256
    """Channels of the feature pyramid behind a pretrained backbone."""
    width: Side = 256
    """Channels of the convolutions of masks."""
    box_width: Side = 1024
    """Neurons of the two layers of boxes."""
    proposals: Annotated[int, Field(ge=1, le=MAX_PROPOSALS)] = 1000
    """Boxes of an image that get a class and a mask. Training proposes twice as many."""
