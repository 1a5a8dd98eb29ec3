import numpy as np
import pytest

from efficientformer.arch.cost import part_cost
from efficientformer.arch.parts import block_part
from efficientformer.arch.spec import MB3D, MB4D
from efficientformer.latency.tables.entries import Entry
from efficientformer.latency.tables.staircases import Step, fast_widths, find_steps

GRID = (7, 7)
WIDTHS = range(64, 257, 16)


def entries_of(block, cost, noise=0.005):
    found = {}
    for width in WIDTHS:
        part = block_part(block, GRID, width)
        latency_ms = cost(part)
        found[part] = Entry(latency_ms, (latency_ms * (1 - noise), latency_ms * (1 + noise)), 24)
    return found


def smooth(part):
    return 0.05 + part_cost(part).macs / 1e8


@pytest.mark.parametrize("block", [MB4D(), MB3D()])
def test_a_device_that_rewards_every_width_has_no_steps(block):
    assert find_steps(entries_of(block, smooth)) == ()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        noisy = entries_of(block, lambda part, rng=rng: smooth(part) * rng.normal(1, 0.02), noise=0.05)
        assert find_steps(noisy) == ()


def test_blocks_of_64_channels_are_found_as_steps():
    def in_blocks(part):
        rounded = -(-part.width // 64) * 64
        return smooth(block_part(MB4D(), GRID, rounded))

    steps = find_steps(entries_of(MB4D(), in_blocks))
    assert {(step.narrow, step.wide) for step in steps} == {
        (narrow, narrow + 16) for narrow in WIDTHS if narrow % 64 and narrow < 256
    }
    family = block_part(MB4D(), GRID, 64).family
    assert fast_widths(list(WIDTHS), steps, [family]) == [64, 128, 192, 256]
    assert fast_widths(list(WIDTHS), steps, ["another"]) == list(WIDTHS)


def test_a_narrower_block_that_is_slower_is_told_in_words():
    slow = {192: 1.3}
    steps = find_steps(entries_of(MB4D(), lambda part: smooth(part) * slow.get(part.width, 1.0)))
    assert [(step.narrow, step.wide, step.is_slower) for step in steps] == [(192, 208, True)]
    assert "208 to 192 channels saves -" in str(steps[0])
    assert not Step("f", 16, 32, 0.9, 1.0).is_slower
