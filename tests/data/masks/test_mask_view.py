"""Images and masks stay aligned through every transform, and masks are never mixed."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from efficientformer.data.dataset import UNLABELLED, ImageSplit
from efficientformer.data.loading.loader import eval_batches, train_batches
from efficientformer.data.loading.memory import MemorySource, hold_in_memory
from efficientformer.data.masks.mask import IGNORED, Mask
from efficientformer.data.masks.mask_folder import load_mask_folder
from efficientformer.data.masks.view import PADDING, FullSizeMaskView, MaskView, TrainMaskView
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import UsageError

GRID = (24, 40)
PIXELS = Preprocessing(GRID, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), crop_ratio=1.0, is_stretched=True)


def painted(height, width, seed=0):
    """An image whose blocks have the red of their class, and its mask."""
    rng = np.random.default_rng(seed)
    blocks = 2 * rng.integers(0, 4, (3, 4), dtype=np.uint8)  # a mixture would be odd
    mask_HW = blocks[np.arange(height)[:, None] * 3 // height, np.arange(width) * 4 // width]
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = 30 * mask_HW
    return pixels, Mask(mask_HW, tuple(sorted({*mask_HW.flat})))


def made(*sizes):
    pairs = [painted(*size, seed) for seed, size in enumerate(sizes)]
    source = MemorySource([f"image{index}" for index in range(len(pairs))], [pixels for pixels, _ in pairs])
    return ImageSplit(source, tuple("abcdefg"), [mask for _, mask in pairs], list(range(len(pairs))))


@pytest.mark.parametrize("size", [(48, 80), (33, 51), (24, 40)])
def test_scaled_cropped_and_mirrored_pixels_keep_their_class(size):
    split, view = made(size), TrainMaskView(PIXELS, "standard")
    view._color = None
    ignored, mirrored = 0, set()
    for seed in range(40):
        random.seed(seed)
        pixels, mask_HW = view.example(split.image(0), split.labels[0])
        image_CHW = pixels.normalized()
        assert image_CHW.shape == (3, *GRID) and mask_HW.shape == GRID and mask_HW.dtype == torch.int64
        red_HW = (255 * (image_CHW[0] + 0.5)).round()
        is_seen_HW = mask_HW != IGNORED
        assert set(mask_HW.unique().tolist()) <= {0, 2, 4, 6, IGNORED}
        right = (red_HW - 30 * mask_HW).abs()[is_seen_HW] < 30
        assert right.float().mean() > 0.85, "but for the borders of blocks, which the image mixes"
        assert ((red_HW[~is_seen_HW] - 127.5).abs() <= 1).all(), "around the image is the mean color"
        ignored += int((~is_seen_HW).sum() > 0)
        mirrored.add(tuple(mask_HW[12].tolist()) == tuple(mask_HW[12].flip(0).tolist()))
    assert 3 < ignored < 20, "a third of the scales is below 1"


def test_the_whole_image_is_seen_in_evaluation(tmp_path):
    split = made((48, 40), (20, 60))
    x_BCHW, masks_BHW = next(eval_batches(split, MaskView(PIXELS), batch_size=2))
    assert x_BCHW.shape == (2, 3, *GRID) and masks_BHW.shape == (2, *GRID)
    for index in range(2):
        own_HW = torch.from_numpy(split.labels[index].pixels())
        for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            assert masks_BHW[index, row, column] == own_HW[row, column], "no corner is cut off"
            red = 255 * (x_BCHW[index, 0, row, column] + 0.5)
            assert red == pytest.approx(30 * own_HW[row, column].item(), abs=12)


def test_scores_are_of_masks_at_their_own_size():
    split = made((48, 40), (20, 60))
    x_BCHW, masks_BHW = next(eval_batches(split, FullSizeMaskView(PIXELS), batch_size=2))
    assert x_BCHW.shape == (2, 3, *GRID) and masks_BHW.shape == (2, 48, 60)
    for index in range(2):
        own_HW = torch.from_numpy(split.labels[index].pixels())
        height, width = own_HW.shape
        assert torch.equal(masks_BHW[index, :height, :width], own_HW.long())
        assert (masks_BHW[index, height:] == PADDING).all() and (masks_BHW[index, :, width:] == PADDING).all()


def test_a_resumed_stream_has_the_same_masks(write_masks):
    train = hold_in_memory(load_mask_folder(write_masks({"training": 6, "validation": 2})).train, 6)
    assert train.labels[0].values.shape == (6, 9), "masks shrink with their images"
    view = TrainMaskView(PIXELS, "light")
    stream = train_batches(train, view, batch_size=2, seed=5)
    whole = [next(stream) for _ in range(5)]
    resumed = next(train_batches(train, view, batch_size=2, seed=5, start_step=4))
    assert all(torch.equal(*pair) for pair in zip(whole[4], resumed, strict=True))
    assert not torch.equal(whole[0][1], whole[3][1])


def test_images_without_masks_are_ignored_as_a_whole():
    image = Image.new("RGB", (30, 20))
    for view in (MaskView(PIXELS), TrainMaskView(PIXELS, "standard")):
        assert (view.example(image, UNLABELLED)[1] == IGNORED).all()


def test_an_augmentation_that_masks_do_not_follow_is_refused():
    with pytest.raises(UsageError, match="augmentation strong is not for images with masks: use light or standard"):
        TrainMaskView(PIXELS, "strong")


def test_the_preprocessing_says_that_the_whole_image_is_seen(write_masks):
    preprocessing = Preprocessing.for_dataset(load_mask_folder(write_masks({"training": 2, "validation": 2})), GRID)
    assert preprocessing.is_stretched and Preprocessing.from_json(preprocessing.to_json()) == preprocessing
    assert "is_stretched" not in Preprocessing(8).to_json()
