"""Small random changes of a subnet, which make it larger or smaller. No torch."""

import random
from collections.abc import Container
from dataclasses import replace

from efficientformer.arch.space import SearchSpace
from efficientformer.arch.spec import in_kind, num_heads_of, takes_tokens, with_heads
from efficientformer.search.subnet import Subnet
from efficientformer.search.weighing import LatencyOracle

MAX_WALKS, MAX_MUTATIONS = 200, 8


def new_mutant(
    parent: Subnet,
    space: SearchSpace,
    rng: random.Random,
    *,
    known: Container[Subnet],
    latency: LatencyOracle,
    budget_ms: float,
) -> Subnet | None:
    """A new mutant within the budget, or None if none was found.

    A mutant that is known or too slow is mutated again, up to MAX_MUTATIONS times before a new walk from the parent.
    """
    for _ in range(MAX_WALKS):
        child = parent
        for _ in range(MAX_MUTATIONS):
            child = mutant(child, space, rng)
            if child not in known and latency(child.architecture) <= budget_ms:
                return child
    return None


def mutant(subnet: Subnet, space: SearchSpace, rng: random.Random) -> Subnet:
    """Change one thing: a stage one width step wider or narrower, a block added or dropped, a block of another kind,
    expansion or number of heads, or an option of a dense head.

    Of kinds on tokens and on maps, one block more or fewer works on tokens: the last ones do.
    """
    index = rng.randrange(len(space.stages))
    stage, allowed, origins = subnet.architecture.stages[index], space.stages[index], subnet.origins[index]
    num_on_tokens, head = subnet.architecture.num_on_tokens, subnet.architecture.head
    width, blocks = stage.width, dict(zip(origins, stage.blocks, strict=True))
    further = [*(["expansion"] if space.has_expansions else []), *(["heads"] if space.has_heads else [])]
    further += ["dense head"] if space.head is not None and space.head.has_choice else []
    match rng.choice(["width", "block", "kind", *further]):
        case "width":
            wanted = stage.width + rng.choice((-1, 1)) * allowed.width_step
            width = min(allowed.max_width, max(allowed.min_width, wanted))
        case "block":
            place = rng.randrange(allowed.depth)
            if place not in blocks:
                (blocks[place],) = allowed.random_heads(allowed.random_blocks(1, rng), rng)
            elif len(blocks) > 1:
                del blocks[place]
        case "kind" if any(stage.has_tokens for stage in space.stages):
            num_on_tokens += rng.choice((-1, 1))
        case "kind" if len(allowed.blocks) > 1:
            place = rng.choice(origins)
            others = [block for block in allowed.blocks if block.kind != blocks[place].kind]
            blocks[place] = in_kind(blocks[place], rng.choice(others))
        case "expansion" if len(allowed.expansions) > 1:
            place = rng.choice(origins)
            others = [ratio for ratio in allowed.expansions if ratio != blocks[place].mlp_ratio]
            blocks[place] = replace(blocks[place], mlp_ratio=rng.choice(others))
        case "heads" if attending := [place for place in origins if len(allowed.heads_of(blocks[place])) > 1]:
            place = rng.choice(attending)
            others = [number for number in allowed.heads_of(blocks[place]) if number != num_heads_of(blocks[place])]
            blocks[place] = with_heads(blocks[place], rng.choice(others))
        case "dense head" if space.head is not None and head is not None:
            head = space.head.mutant(head, rng)
    if len(allowed.blocks) == 1:
        # Its blocks on tokens come and go with the stage's depth, at no expense of another stage's.
        num_on_tokens += sum(map(takes_tokens, blocks.values())) - stage.num_on_tokens
    places = tuple(sorted(blocks))
    stages = [(stage.width, stage.blocks) for stage in subnet.architecture.stages]
    stages[index] = (width, tuple(blocks[place] for place in places))
    kept = (*subnet.origins[:index], places, *subnet.origins[index + 1 :])
    return Subnet(space.arranged(stages, num_on_tokens, head), kept)
