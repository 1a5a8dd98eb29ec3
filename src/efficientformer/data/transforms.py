"""From a picture to what the network sees: PIL image in RGB -> normalized float tensor CHW.

Training transforms draw from the global generators of torch, random and numpy, which the loader seeds.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Protocol, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from efficientformer.arch.resolution import Grid, Resolution, grid_of_input, resolution_of
from efficientformer.data.augmentation import Augmentation
from efficientformer.data.dataset import IMAGENET_MEAN, IMAGENET_STD, Channels, ImageDataset
from efficientformer.errors import RecordError, UsageError
from efficientformer.formats.values import DENSE_TASKS

UNCROPPED = "--crop is for images with classes: masks and boxes are scored on whole images. Leave it out."


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become numbers. `resolution` is the side of a square or (H, W); `mean` and `std` are those of pixels
    from 0 to 1; `crop_ratio` is the part that evaluation keeps of the side that limits the crop: of a square the
    shorter one. `is_stretched` images are resized as a whole instead, their aspect given up. Raises UsageError for
    impossible values."""

    resolution: Resolution
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    crop_ratio: float = 0.95
    is_stretched: bool = False

    def __post_init__(self) -> None:
        if min(self.grid) < 1:
            raise UsageError(f"The resolution must be at least 1 pixel, got {self.resolution}.")
        if not 0 < self.crop_ratio <= 1:
            raise UsageError(f"crop_ratio must be above 0 and at most 1, got {self.crop_ratio}.")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise UsageError(f"mean and std need three values, std above 0; got {self.mean} and {self.std}.")

    @property
    def grid(self) -> Grid:
        """Height and width of the network's input."""
        return grid_of_input(self.resolution)

    @property
    def mean_color(self) -> tuple[int, int, int]:
        """From 0 to 255: what becomes about 0 in the input."""
        red, green, blue = (round(255 * value) for value in self.mean)
        return red, green, blue

    @classmethod
    def for_dataset(
        cls, dataset: ImageDataset, resolution: Resolution | None = None, crop_ratio: float | None = None
    ) -> "Preprocessing":
        """For a data set with a native resolution: that, uncropped, unless `resolution` replaces it. For any other:
        `resolution` and a center crop, or for masks the whole image, stretched. For boxes it is the whole image too,
        which keeps its aspect, see `boxes.placement`. A crop ratio replaces that of these. Raises UsageError when there
        is no resolution, and for a crop ratio of masks or boxes."""
        chosen = resolution or dataset.native_resolution
        if chosen is None:
            raise UsageError(f"The images of {dataset.name} have no common size: give a resolution, for example 160.")
        if dataset.task in DENSE_TASKS:
            if crop_ratio is not None:
                raise UsageError(UNCROPPED)
            return cls(chosen, dataset.mean, dataset.std, crop_ratio=1.0, is_stretched=dataset.task == "semantic")
        usual = cls.crop_ratio if dataset.native_resolution is None else 1.0
        return cls(chosen, dataset.mean, dataset.std, usual if crop_ratio is None else crop_ratio)

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        if not self.is_stretched:  # as it always was
            del content["is_stretched"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Preprocessing":
        """Inverse of `to_json`. Raises RecordError for anything else."""
        try:
            return cls(
                resolution=resolution_of(content["resolution"]),
                mean=tuple(map(float, content["mean"])),  # type: ignore[arg-type]
                std=tuple(map(float, content["std"])),  # type: ignore[arg-type]
                crop_ratio=float(content["crop_ratio"]),
                is_stretched=content.get("is_stretched", False) is True,
            )
        except (KeyError, TypeError, ValueError, UsageError) as error:
            raise RecordError(f"Not a preprocessing record: {error}.") from error


class Transform(Protocol):
    """From a picture to the input of a network."""

    def pixels(self, image: Image.Image) -> "Pixels":
        """The input as bytes, which the loader normalizes on the device of its batch."""
        ...

    def __call__(self, image: Image.Image) -> Tensor:
        """The input (C, H, W), normalized."""
        return self.pixels(image).normalized()


class Normalize:
    """RGB pixels -> (pixel / 255 - mean) / std, in single precision: the same bits for an image and for a batch."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        mean_C11 = np.array(preprocessing.mean, dtype=np.float32).reshape(3, 1, 1)
        std_C11 = np.array(preprocessing.std, dtype=np.float32).reshape(3, 1, 1)
        self._scale_C11 = 1 / (255 * std_C11)
        self._shift_C11 = mean_C11 / std_C11

    def __call__(self, image: Image.Image) -> Tensor:
        """The image as a tensor (C, H, W)."""
        return self.later(image).normalized()

    def later(self, image: Image.Image) -> "Pixels":
        """The image as bytes, to be normalized with its batch."""
        return Pixels(np.asarray(image), self)

    def image(self, pixels_HWC: np.ndarray) -> Tensor:
        x_CHW = pixels_HWC.transpose(2, 0, 1).astype(np.float32, order="C")
        x_CHW *= self._scale_C11
        x_CHW -= self._shift_C11
        return torch.from_numpy(x_CHW)

    def batch(self, pixels_BCHW: Tensor, memory_format: torch.memory_format) -> Tensor:
        """The same of bytes on any device."""
        x_BCHW = pixels_BCHW.to(torch.float32, memory_format=memory_format)
        scale, shift = (
            torch.from_numpy(values).to(x_BCHW.device, non_blocking=True)
            for values in (self._scale_C11, self._shift_C11)
        )
        values = x_BCHW
        if memory_format == torch.channels_last:
            # By rows of pixels: three times as fast as by pixels of three values.
            size, channels, height, width = x_BCHW.shape
            values = x_BCHW.permute(0, 2, 3, 1).view(size, height, width * channels)
            scale, shift = (values.flatten().repeat(width) for values in (scale, shift))
        # Two operations, each rounded, as for one image.
        values.mul_(scale).sub_(shift)
        return x_BCHW


@dataclass(frozen=True, eq=False)
class Pixels:
    """The input of one image as bytes.

    values: (H, W, C), uint8.
    noise: top and left of a rectangle that is erased, and the normalized values (C, h, w) in its place.
    """

    values: np.ndarray
    normalize: Normalize
    noise: tuple[int, int, Tensor] | None = None

    def normalized(self) -> Tensor:
        """The input (C, H, W) of the network."""
        x_CHW = self.normalize.image(self.values)
        if self.noise is not None:
            top, left, noise_CHW = self.noise
            x_CHW[_rectangle(top, left, *noise_CHW.shape[1:])] = noise_CHW
        return x_CHW


@dataclass(frozen=True, eq=False)
class PixelBatch:
    """Images of a batch as bytes, in a quarter of the memory of what the network is given: that is what `to` makes.

    values: (B, C, H, W), uint8, channels last in memory.
    erased: rectangles of noise: image, top, left, height and width of each.
    noise: the values of all rectangles, one after the other.
    """

    values: Tensor
    normalize: Normalize
    erased: tuple[tuple[int, ...], ...]
    noise: Tensor

    @classmethod
    def of(cls, images: Sequence[Pixels]) -> "PixelBatch":
        """The images, at least one, all of one size and normalized alike."""
        pixels_BCHW = torch.from_numpy(np.stack([image.values for image in images])).permute(0, 3, 1, 2)
        noises = [(index, *image.noise) for index, image in enumerate(images) if image.noise is not None]
        erased = tuple((index, top, left, *noise_CHW.shape[1:]) for index, top, left, noise_CHW in noises)
        noise = torch.cat([torch.empty(0), *(noise_CHW.flatten() for *_, noise_CHW in noises)])
        return cls(pixels_BCHW, images[0].normalize, erased, noise)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.noise.nbytes

    def pin_memory(self) -> "PixelBatch":
        return replace(self, values=self.values.pin_memory(), noise=self.noise.pin_memory())

    def to(self, device: torch.device, memory_format: torch.memory_format = torch.channels_last) -> Tensor:
        """The normalized images (B, C, H, W) on a device. From pinned memory the copy is not waited for."""
        x_BCHW = self.normalize.batch(self.values.to(device, non_blocking=True), memory_format)
        sizes = [len(self.values[0]) * height * width for *_, height, width in self.erased]
        noises = self.noise.to(device, non_blocking=True).split(sizes) if sizes else ()
        for (index, *place), values in zip(self.erased, noises, strict=True):
            x_CHW = x_BCHW[index][_rectangle(*place)]
            x_CHW.copy_(values.view_as(x_CHW))
        return x_BCHW


def _rectangle(top: int, left: int, height: int, width: int) -> tuple[slice, slice, slice]:
    return slice(None), slice(top, top + height), slice(left, left + width)


def eval_transform(preprocessing: Preprocessing) -> Transform:
    """Resize (bicubic, antialiased) until the picture covers resolution / crop_ratio, crop the center, normalize. Draws
    nothing."""
    return EvalTransform(preprocessing)


def train_transform(preprocessing: Preprocessing, augmentation: Augmentation) -> Transform:
    """The training counterpart of `eval_transform`.

    "light": shift by up to 1/8, mirror; for small images. "standard": random resized crop, whose aspect is from 3/4 to
    4/3 of the input's, mirror, slight color changes, erasing 0.1. "strong": the paper's recipe (RandAugment m9, erasing
    0.25).
    """
    match augmentation:
        case "light":
            return LightTransform(preprocessing)
        case "standard":
            return _standard(preprocessing)
        case "strong":
            return _strong(preprocessing)
    raise UsageError(f"Unknown augmentation '{augmentation}': choose one of {', '.join(get_args(Augmentation))}.")


class EvalTransform(Transform):
    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing
        self._normalize = Normalize(preprocessing)

    def pixels(self, image: Image.Image) -> Pixels:
        return self._normalize.later(fitted(image, self._preprocessing))


def fitted(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """What evaluation sees of an image, at the size of the input: the whole of it, or its center."""
    if preprocessing.is_stretched:
        height, width = preprocessing.grid
        return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BICUBIC)
    return center_crop(image, preprocessing)


def center_crop(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """Resize until the image just covers resolution / crop_ratio, its aspect kept, and crop the center: for a square,
    the shorter side is resized to that. Only the pixels that are kept are computed: a long thin picture would otherwise
    take gigabytes. An image that already fits is not resampled."""
    kept_height, kept_width = preprocessing.grid
    high, wide = (math.floor(side / preprocessing.crop_ratio + 1e-6) for side in preprocessing.grid)
    width, height = image.size
    # The side that has less to spare is resized to its target.
    target, side = (wide, width) if wide * height >= high * width else (high, height)
    new_width, new_height = int(target * width / side), int(target * height / side)
    left, top = round((new_width - kept_width) / 2), round((new_height - kept_height) / 2)
    right, bottom = left + kept_width, top + kept_height
    if target == side:
        return image if (width, height) == (kept_width, kept_height) else image.crop((left, top, right, bottom))
    across, down = width / new_width, height / new_height
    box = (left * across, top * down, min(right * across, width), min(bottom * down, height))
    return image.resize((kept_width, kept_height), Image.Resampling.BICUBIC, box=box)


class LightTransform(Transform):
    """Shift and mirror by indexing rows and columns: cheap enough for tiny images on one core."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing
        self._normalize = Normalize(preprocessing)

    def pixels(self, image: Image.Image) -> Pixels:
        pixels_HWC = np.asarray(center_crop(image, self._preprocessing))
        rows, columns = map(_shifted, self._preprocessing.grid)
        if random.random() < 0.5:
            columns = columns[::-1]
        return Pixels(pixels_HWC[rows[:, None], columns], self._normalize)


def _shifted(side: int) -> np.ndarray:
    """Positions of a side's pixels after a random shift; those that it uncovers are reflected at the border."""
    reflected, max_shift = _reflected(side)
    start = random.randint(0, 2 * max_shift)
    return reflected[start : start + side]


@cache
def _reflected(side: int) -> tuple[np.ndarray, int]:
    max_shift = min(max(round(side / 8), 1), side - 1)
    return np.pad(np.arange(side), max_shift, mode="reflect"), max_shift


class PhotoTransform(Transform):
    """Random resized crop, mirror, changes of color, and erasing by noise.

    smallest_crop: part of the area that a crop has at least.
    erasing: probability.
    """

    def __init__(self, preprocessing: Preprocessing, color: Any, *, smallest_crop: float, erasing: float) -> None:
        from torchvision.transforms import v2  # seconds to import; evaluation and "light" do not need it

        height, width = preprocessing.grid
        self.crop = v2.RandomResizedCrop(
            (height, width),
            scale=(smallest_crop, 1.0),
            ratio=(3 / 4 * (width / height), 4 / 3 * (width / height)),
            interpolation=v2.InterpolationMode.BICUBIC,
        )
        self.mirror, self.color = v2.RandomHorizontalFlip(), color
        self.erase = v2.RandomErasing(p=erasing, value="random")  # type: ignore[arg-type]
        self._normalize = Normalize(preprocessing)
        self._blank_CHW = torch.empty(3, height, width, device="meta")

    def pixels(self, image: Image.Image) -> Pixels:
        image = self.color(self.mirror(self._cropped(image)))
        return replace(self._normalize.later(image), noise=self._noise())

    def _cropped(self, image: Image.Image) -> Image.Image:
        """What `RandomResizedCrop` makes of the image, without looking for kinds of input that it is not."""
        drawn, (height, width) = self.crop.make_params([image]), self._blank_CHW.shape[1:]
        left, top = drawn["left"], drawn["top"]
        cut = image.crop((left, top, left + drawn["width"], top + drawn["height"]))
        return cut.resize((width, height), Image.Resampling.BICUBIC)

    def _noise(self) -> tuple[int, int, Tensor] | None:
        """What erases a part of the image, drawn as `RandomErasing` draws it: no image has to be there."""
        if torch.rand(1) >= self.erase.p:
            return None
        drawn = self.erase.make_params([self._blank_CHW])
        return None if drawn["v"] is None else (drawn["i"], drawn["j"], drawn["v"])


def _standard(preprocessing: Preprocessing) -> Transform:
    from torchvision.transforms import v2

    color = v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2)
    return PhotoTransform(preprocessing, color, smallest_crop=0.25, erasing=0.1)


def _strong(preprocessing: Preprocessing) -> Transform:
    from timm.data.auto_augment import rand_augment_transform  # seconds to import

    color = rand_augment_transform(
        "rand-m9-mstd0.5-inc1",
        {
            "interpolation": Image.Resampling.BICUBIC,
            "img_mean": preprocessing.mean_color,
            # At 10, posterizing keeps no bits: a black image, which newer versions of Pillow refuse to make.
            "magnitude_max": 9.99,
        },
    )
    return PhotoTransform(preprocessing, color, smallest_crop=0.08, erasing=0.25)
