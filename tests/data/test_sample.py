from importlib import resources

import numpy as np
import pytest

from efficientformer.data.sample import load_sample
from efficientformer.records import write_record


@pytest.fixture(scope="module")
def sample():
    return load_sample()


def test_ten_classes_of_500_and_100(sample):
    assert len(sample.classes) == 10 and sample.classes[0] == "t-shirt_top" and sample.classes[9] == "ankle_boot"
    assert sample.train.num_images_per_class() == [500] * 10
    assert sample.val.num_images_per_class() == [100] * 10


def test_images_are_rgb_of_the_native_size(sample):
    image = sample.train.image(0)
    assert image.mode == "RGB" and image.size == (28, 28) and sample.native_resolution == 28
    grey = np.asarray(image)
    assert (grey[..., 0] == grey[..., 2]).all() and grey.max() > 200
    # The first image of Fashion-MNIST is an ankle boot.
    assert sample.classes[sample.train.labels[0]] == "ankle_boot"


def test_names_are_unique_across_splits(sample):
    names = [split.name(index) for split in (sample.train, sample.val) for index in range(len(split))]
    assert len(set(names)) == 6000


def test_mean_and_std_are_those_of_the_training_images(sample):
    pixels = np.stack([np.asarray(sample.train.image(index)) for index in range(len(sample.train))]) / 255
    assert pixels.mean((0, 1, 2)) == pytest.approx(sample.mean, abs=1e-3)
    assert pixels.std((0, 1, 2)) == pytest.approx(sample.std, abs=1e-3)


def test_the_digest_names_these_very_pixels(sample):
    assert sample.digest == "ad51b5e8a3c285a65d9096650586f7413fac555cce26ede567b8aac06df3420d"


def test_the_record_holds_the_counts_and_can_be_written(sample, tmp_path):
    record = sample.to_record()
    write_record(tmp_path / "data.json", record)
    assert record["train"] == {"num_images": 5000, "per_class": [500] * 10}
    assert record["val"]["num_images"] == 1000 and record["skipped"] == []
    assert record["name"] == "fashion-mnist-mini"


def test_the_licence_travels_with_the_images():
    notice = (
        resources.files("efficientformer.data").joinpath("fashion_mnist_mini", "NOTICE").read_text(encoding="utf-8")
    )
    assert "Copyright (c) 2017 Zalando SE" in notice and "Permission is hereby granted" in notice
