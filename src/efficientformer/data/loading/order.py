"""The order of images: that of an epoch follows from the seed and the epoch alone."""

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch

# An epoch, and the draws of one batch: a draw below the number of images is that image, and its further draws in the
# epoch are the image plus multiples of the number, so that each is augmented in its own way.
Key = tuple[int, list[int]]


def train_keys(
    order_of: Callable[[torch.Generator], list[int]], num_images: int, batch_size: int, seed: int, start_step: int
) -> Iterator[Key]:
    steps = max(1, num_images // batch_size)
    order: list[int] = []
    for step in itertools.count(start_step):
        epoch, position = divmod(step, steps)
        if position == 0 or not order:
            order = order_of(torch.Generator().manual_seed(mix(seed, epoch)))
        yield epoch, order[position * batch_size : (position + 1) * batch_size]


def random_order(num_images: int, generator: torch.Generator) -> list[int]:
    return torch.randperm(num_images, generator=generator).tolist()


def balanced_order(groups: Sequence[int], num_drawn: int, generator: torch.Generator) -> list[int]:
    """Draws of the images of these groups, equally many of every group; random groups share the remainder.

    Of a group all images are drawn equally often, but for one: those of a large group at most once.
    """
    by_group: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        by_group.setdefault(group, []).append(index)
    each, remainder = divmod(num_drawn, len(by_group))
    with_one_more = set(random_order(len(by_group), generator)[:remainder])
    drawn: list[int] = []
    for position, group in enumerate(sorted(by_group)):
        images, shuffled = by_group[group], list[int]()
        for draw in range(each + (position in with_one_more)):
            repeat, place = divmod(draw, len(images))
            if place == 0:
                shuffled = [images[i] for i in random_order(len(images), generator)]
            drawn.append(shuffled[place] + repeat * len(groups))
    return [drawn[i] for i in random_order(len(drawn), generator)]


def repeated_order(
    order_of: Callable[[torch.Generator], list[int]], num_images: int, repeated: int, generator: torch.Generator
) -> list[int]:
    """The first draws of another order, each `repeated` times: as many in all as there are images, all different."""
    drawn = [
        draw % num_images + num_images * (repeated * (draw // num_images) + repeat)
        for draw in order_of(generator)[: -(-num_images // repeated)]
        for repeat in range(repeated)
    ]
    return drawn[:num_images]


def apart(draws: list[int], repeated: int) -> list[int]:
    """The draws of a batch, no image next to itself unless there are few: mixup blends neighbors."""
    return [draw for first in range(repeated) for draw in draws[first::repeated]]


def mix(*numbers: int) -> int:
    """One 63-bit seed from several integers; those of neighbors are unrelated (the finalizer of SplitMix64)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1
