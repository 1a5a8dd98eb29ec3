import pytest

from efficientformer.pipeline.oracles import in_mixed_order


@pytest.mark.parametrize("num_images, most", [(1000, 250), (500, 250), (301, 250), (100, 250), (1, 250), (0, 250)])
def test_every_batch_has_images_of_the_whole_range(num_images, most):
    order = in_mixed_order(list(range(num_images)), most)
    assert sorted(order) == list(range(num_images))
    num_batches = -(-num_images // most)
    size = -(-num_images // max(1, num_batches))
    for start in range(0, num_images, max(1, size)):
        batch = order[start : start + size]
        assert len(batch) <= most
        # Of ten classes that lie one behind the other, each is there as often, give or take one image.
        counts = [sum(index * 10 // num_images == label for index in batch) for label in range(10)]
        assert num_images < 10 or max(counts) - min(counts) <= 2
