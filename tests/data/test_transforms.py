import json
import pickle
import random

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from efficientformer.data.sample import load_sample
from efficientformer.data.transforms import Preprocessing, center_crop, eval_transform, train_transform
from efficientformer.errors import RecordError, UsageError

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
AUGMENTATIONS = ["light", "standard", "strong"]


def smooth_image(width, height):
    """Gradients and waves, as photos have them: noise would only show how each library rounds."""
    x, y = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 6, height))
    waves = np.stack([np.sin(x + y), np.cos(2 * x), np.sin(y * x / 3)], axis=-1)
    return Image.fromarray(np.round(127.5 * (waves + 1)).astype(np.uint8))


def seed_all(seed):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


@settings(deadline=None, max_examples=60)
@given(
    width=st.integers(20, 300),
    height=st.integers(20, 300),
    resolution=st.integers(16, 128),
    crop_ratio=st.sampled_from([0.875, 0.95, 1.0]),
)
def test_evaluation_geometry_is_that_of_torchvision(width, height, resolution, crop_ratio):
    image = smooth_image(width, height)
    size = int(resolution / crop_ratio + 1e-6)
    oracle = v2.Compose([v2.Resize(size, v2.InterpolationMode.BICUBIC), v2.CenterCrop(resolution)])
    ours = np.asarray(center_crop(image, Preprocessing(resolution, crop_ratio=crop_ratio)), dtype=int)
    difference = np.abs(ours - np.asarray(oracle(image), dtype=int))
    assert ours.shape == (resolution, resolution, 3)
    assert difference.max() <= 3 and difference.mean() < 0.5


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(20, 300), st.integers(20, 300)),
    grid=st.tuples(st.integers(16, 128), st.integers(16, 128)),
    crop_ratio=st.sampled_from([0.875, 0.95, 1.0]),
)
def test_an_input_that_is_not_square_is_covered_by_the_whole_height_or_width(size, grid, crop_ratio):
    """A gradient of known steps: the crop is centered, keeps the aspect, and takes all of one side but the ratio."""
    scale = crop_ratio * min(size[0] / grid[1], size[1] / grid[0])
    assume(scale * min(grid) >= 8)  # of fewer pixels of the image the steps say too little
    across, down = np.arange(size[0]) * 255 / size[0], np.arange(size[1]) * 255 / size[1]
    pixels = np.zeros((size[1], size[0], 3))
    pixels[:, :, 0], pixels[:, :, 1] = across[None, :], down[:, None]
    cropped = center_crop(Image.fromarray(pixels.astype(np.uint8)), Preprocessing(grid, crop_ratio=crop_ratio))
    assert (cropped.height, cropped.width) == grid
    kept = np.asarray(cropped, dtype=float)
    spans = [np.ptp(kept[:, :, 0]) * size[0] / 255 / grid[1], np.ptp(kept[:, :, 1]) * size[1] / 255 / grid[0]]
    shares = np.array([np.ptp(kept[:, :, 0]), np.ptp(kept[:, :, 1])]) / 255
    # Rounding of pixels, of the target and of the values' last step at the border.
    slack = 3 / min(*size, *grid) + 3 / 255
    assert abs(shares.max() - crop_ratio) < slack + 0.05 and spans[0] == pytest.approx(spans[1], rel=slack + 0.15)
    assert kept[:, :, 0].mean() == pytest.approx(127, abs=8 + 255 * slack)
    assert kept[:, :, 1].mean() == pytest.approx(127, abs=8 + 255 * slack)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_training_images_have_height_and_width_too(augmentation):
    transform = train_transform(Preprocessing((24, 40)), augmentation)
    assert transform(smooth_image(90, 50)).shape == (3, 24, 40)


def test_random_crops_have_the_aspect_of_the_input():
    crop = train_transform(Preprocessing((30, 60)), "standard").crop
    assert tuple(crop.size) == (30, 60) and crop.ratio == (1.5, pytest.approx(8 / 3))
    square = train_transform(Preprocessing(30), "standard").crop
    assert tuple(square.ratio) == (3 / 4, 4 / 3)


def test_preprocessing_of_any_size_makes_the_trip_through_json():
    for resolution in (32, (24, 40)):
        preprocessing = Preprocessing(resolution)
        assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing
    with pytest.raises(RecordError, match="height and width"):
        Preprocessing.from_json({**Preprocessing(32).to_json(), "resolution": [24, 32, 40]})


def test_evaluation_normalizes_like_torchvision():
    image, preprocessing = smooth_image(50, 40), Preprocessing(32)
    oracle = v2.Compose(
        [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(preprocessing.mean, preprocessing.std)]
    )
    x_CHW = eval_transform(preprocessing)(image)
    assert x_CHW.dtype == torch.float32 and x_CHW.is_contiguous()
    torch.testing.assert_close(x_CHW, oracle(center_crop(image, preprocessing)), atol=1e-5, rtol=0)


def test_an_image_that_fits_is_not_resampled():
    image = smooth_image(28, 28)
    x_CHW = eval_transform(Preprocessing(28, **PLAIN, crop_ratio=1.0))(image)
    assert np.array_equal(np.round(x_CHW.numpy() * 255).transpose(1, 2, 0), np.asarray(image))


@pytest.mark.parametrize("side, resolution, crop_ratio", [(40, 32, 0.8), (25, 14, 0.56), (60, 33, 0.55)])
def test_ratios_that_come_out_even_are_not_lost_to_rounding(side, resolution, crop_ratio):
    image = smooth_image(side, side)
    cropped = center_crop(image, Preprocessing(resolution, crop_ratio=crop_ratio))
    assert cropped.tobytes() in {
        image.crop((start, start, start + resolution, start + resolution)).tobytes() for start in range(side)
    }


def test_a_crop_at_the_right_scale_is_not_resampled():
    image = smooth_image(50, 40)
    cropped = center_crop(image, Preprocessing(32, crop_ratio=0.8))
    assert np.array_equal(np.asarray(cropped), np.asarray(image)[4:36, 9:41])


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 3), (2, 2)])
@pytest.mark.parametrize("augmentation", [None, *AUGMENTATIONS])
def test_odd_shapes_pass(size, augmentation):
    preprocessing = Preprocessing(32)
    transform = train_transform(preprocessing, augmentation) if augmentation else eval_transform(preprocessing)
    assert transform(Image.new("RGB", size)).shape == (3, 32, 32)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("resolution", [1, 2, 28, 96])
def test_training_shapes_and_types(augmentation, resolution):
    x_CHW = train_transform(Preprocessing(resolution), augmentation)(smooth_image(60, 45))
    assert x_CHW.shape == (3, resolution, resolution) and x_CHW.dtype == torch.float32


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_seeding_the_generators_decides_everything(augmentation):
    transform, image = train_transform(Preprocessing(32), augmentation), smooth_image(64, 48)
    copy = pickle.loads(pickle.dumps(transform))  # as it travels to a worker process
    outcomes = []
    for seed in range(40):
        seed_all(seed)
        outcomes.append(transform(image))
        seed_all(seed)
        assert torch.equal(copy(image), outcomes[-1])
    assert len({outcome.numpy().tobytes() for outcome in outcomes}) > 20


def test_light_shifts_mirrors_and_reflects():
    image, margin, resolution = smooth_image(16, 16), 2, 16
    padded = np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    windows = {}
    for top in range(2 * margin + 1):
        for left in range(2 * margin + 1):
            window = padded[top : top + resolution, left : left + resolution]
            windows[window.tobytes()] = (top, left, False)
            windows[window[:, ::-1].tobytes()] = (top, left, True)
    transform = train_transform(Preprocessing(resolution, **PLAIN, crop_ratio=1.0), "light")
    seen = set()
    for seed in range(600):
        seed_all(seed)
        pixels = np.round(transform(image).numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
        seen.add(windows[pixels.tobytes()])
    assert seen == set(windows.values())


def outcomes_of(augmentation, image, draws):
    """Arrays (H, W, C) in units of pixels: whole numbers where nothing was erased."""
    transform = train_transform(Preprocessing(image.width, **PLAIN, crop_ratio=1.0), augmentation)
    for seed in range(draws):
        seed_all(seed)
        yield 255 * transform(image).numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("augmentation, share", [("light", 0.0), ("standard", 0.1), ("strong", 0.25)])
def test_a_share_of_the_images_is_erased_in_part(augmentation, share):
    draws = 500
    erased = 0
    for pixels in outcomes_of(augmentation, smooth_image(16, 16), draws):
        is_noise = np.abs(pixels - np.round(pixels)) > 0.01  # noise is no whole number of gray levels
        erased += is_noise.any()
        assert is_noise.mean() < 0.4, "a third of the image at most"
    assert share * draws - 30 <= erased <= share * draws + 30


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_half_of_the_images_are_mirrored(augmentation):
    """The right half of the image is brighter; some operations of "strong" invert it, so half of those too."""
    ramp = Image.fromarray(np.tile(np.linspace(40, 200, 16, dtype=np.uint8)[None, :, None], (16, 1, 3)))
    draws = 400
    mirrored = sum(pixels[:, :8].mean() > pixels[:, 8:].mean() for pixels in outcomes_of(augmentation, ramp, draws))
    assert 0.4 * draws < mirrored < 0.6 * draws


def test_strong_is_the_paper_s_randaugment():
    """Two operations of magnitude 9, its standard deviation 0.5, all of them stronger with the magnitude."""
    randaugment = train_transform(Preprocessing(32), "strong").color
    assert randaugment.num_layers == 2
    assert {(op.magnitude, op.magnitude_std, op.prob) for op in randaugment.ops} == {(9, 0.5, 0.5)}
    assert {"PosterizeIncreasing", "SolarizeIncreasing"} <= {op.name for op in randaugment.ops}


def test_strong_changes_colors_more_than_standard():
    """Of a gray image, which crops and mirrors leave as it is."""
    gray = Image.new("RGB", (16, 16), (120, 120, 120))
    changes = {
        augmentation: [np.abs(np.median(pixels) - 120) for pixels in outcomes_of(augmentation, gray, 300)]
        for augmentation in AUGMENTATIONS
    }
    assert max(changes["light"]) < 0.01
    assert 40 > max(changes["standard"]) > 10
    assert max(changes["strong"]) > 60


def test_strong_never_fails_on_the_extremes_of_its_ops():
    transform, image = train_transform(Preprocessing(8), "strong"), smooth_image(12, 12)
    for seed in range(300):  # several of them meet the largest posterization
        seed_all(seed)
        assert transform(image).isfinite().all()


def test_unknown_augmentation():
    with pytest.raises(UsageError, match="light, standard, strong"):
        train_transform(Preprocessing(32), "wild")  # type: ignore[arg-type]


def test_preprocessing_travels_through_json():
    preprocessing = Preprocessing(96, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 0.9)
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing
    assert preprocessing.to_json()["mean"] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    "change", [{"resolution": 0}, {"resolution": "x"}, {"mean": [1]}, {"std": [0, 1, 1]}, {"crop_ratio": None}]
)
def test_bad_preprocessing_records(change):
    with pytest.raises(RecordError, match="preprocessing"):
        Preprocessing.from_json({**Preprocessing(32).to_json(), **change})
    with pytest.raises(RecordError, match="preprocessing"):
        Preprocessing.from_json({})


def test_preprocessing_for_a_data_set():
    sample = load_sample()
    assert Preprocessing.for_dataset(sample) == Preprocessing(28, sample.mean, sample.std, 1.0)
    assert Preprocessing.for_dataset(sample, 32).resolution == 32
