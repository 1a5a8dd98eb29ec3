import pytest

from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.oracles import accuracy_oracle, build_supernet, in_mixed_order
from efficientformer.run_dir import RunDir


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


@pytest.mark.parametrize("images, bn_images, estimating", [(120, 0, 0), (20, 0, 512), (120, 64, 64)])
def test_images_normalize_themselves_where_they_are_asked_to_and_enough(tmp_path, images, bn_images, estimating):
    settings = resolve_settings({"slim": {"images": images, "bn_images": bn_images}})
    workspace = Workspace(RunDir(tmp_path), settings, RunConsole())
    oracle = accuracy_oracle(workspace, build_supernet(workspace))
    assert sum(map(len, oracle._images.estimating)) == estimating
    assert sum(map(len, oracle._images.scoring)) == images
    assert oracle._images.num_bytes == (estimating + images) * 3 * 28 * 28, "a byte a value, not four"
