"""The choices of a space as experiments: options of EfficientFormerV2's block and stem, at V2-S0's widths.

Blocks are timed in chains with the width and the grid of a stage, activations and stems in the whole V2-S0 as well.
Pairs of expansions and of kinds have ReLU, which costs least, so their ratios are those of the convolutions.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from torch import nn

from efficientformer.analysis.observations import variants
from efficientformer.analysis.observations.choices import (
    CHOICES,
    EXPANSIONS,
    FFN,
    FUSED,
    FUSED_EXPANSIONS,
    STEM_ALONE,
    STRIDES,
    ChoiceKey,
)
from efficientformer.analysis.observations.experiment import Candidate, Observation, Plan
from efficientformer.analysis.observations.plan import CHAIN_LENGTH
from efficientformer.arch.parts import stage_grids
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import DEFAULT_ACTIVATION, Activation, Strides
from efficientformer.arch.zoo import V2_S0
from efficientformer.errors import UsageError

NETWORK = "V2-S0"
NAMES: dict[Activation, str] = {"gelu": "GELU", "hard_swish": "HardSwish", "relu": "ReLU"}
FUSED_STAGES = (1, 2)
STEMS = ((2, 1), (2, 2), (2, 2, 2))
MIN_RESOLUTION = 32


def plan_choices(resolution: int, chosen: Iterable[ChoiceKey] = ()) -> Observation:
    """The experiments for images of this size; all choices unless `chosen` selects some.

    Raises UsageError for images below `MIN_RESOLUTION` pixels.
    """
    if resolution < MIN_RESOLUTION:
        raise UsageError(f"At resolution {resolution} the last maps are empty. Choose at least {MIN_RESOLUTION}.")
    plan, shop = Plan(None), _Shop(resolution)
    makers: dict[ChoiceKey, Callable[[Plan, _Shop], None]] = {
        "activation": _activations,
        "expansion": _expansions,
        "fused-mbconv": _fused_mbconvs,
        "stem": _stems,
    }
    for key in CHOICES:
        if key in (set(chosen) or makers):
            makers[key](plan, shop)
    return plan.finished()


@dataclass(frozen=True)
class _Shop:
    """Candidates for images of one size."""

    resolution: int

    def chain(self, name: str, stage: int, make: Callable[[int, Grid], nn.Module]) -> Candidate:
        """`CHAIN_LENGTH` blocks with V2-S0's width and grid at a stage, counted from 1."""
        grid, width = self._grids[stage - 1], V2_S0.widths[stage - 1]
        return Candidate(
            f"{name}, stage {stage}",
            lambda: variants.chain(width, [make(width, grid) for _ in range(CHAIN_LENGTH)], on_tokens=False),
            (1, 3, *grid),
        )

    def ffn(self, stage: int, expansion: int, activation: Activation = "relu") -> Candidate:
        def make(width: int, grid: Grid) -> nn.Module:
            return variants.ffn_block(width, expansion, grid, activation)

        return self.chain(f"{FFN.format(expansion)} with {NAMES[activation]}", stage, make)

    def at(self, stage: int) -> tuple[str, str]:
        """A stage as place and setting."""
        (height, width), channels = self._grids[stage - 1], V2_S0.widths[stage - 1]
        place = f"stage {stage}"
        return place, f"{place}: {CHAIN_LENGTH} in a row, {channels} channels on {height}x{width}"

    def network(self, name: str, **changes: Any) -> Candidate:
        """V2-S0 with these fields changed."""
        architecture = replace(V2_S0, **changes)
        return self.on_image(name, partial(variants.whole_network, architecture, self.resolution))

    def on_image(self, name: str, build: Callable[[], nn.Module]) -> Candidate:
        return Candidate(name, build, (1, 3, self.resolution, self.resolution))

    @property
    def _grids(self) -> list[Grid]:
        return stage_grids(V2_S0.stem_strides, self.resolution)


def _activations(plan: Plan, shop: _Shop) -> None:
    usual, whole = NAMES[DEFAULT_ACTIVATION], f"whole {NETWORK}"
    for activation, name in NAMES.items():
        if activation == DEFAULT_ACTIVATION:
            continue
        changed = shop.network(f"{NETWORK} with {name}", activation=activation)
        plan.try_option("activation", name, usual, (whole, whole), changed, shop.network(NETWORK))
        for stage in range(1, 5):
            pair = shop.ffn(stage, 4, activation), shop.ffn(stage, 4, DEFAULT_ACTIVATION)
            plan.try_option("activation", name, usual, shop.at(stage), *pair)


def _expansions(plan: Plan, shop: _Shop) -> None:
    for larger, smaller in pairwise(EXPANSIONS):
        for stage in range(1, 5):
            pair = shop.ffn(stage, smaller), shop.ffn(stage, larger)
            plan.try_option("expansion", FFN.format(smaller), FFN.format(larger), shop.at(stage), *pair)


def _fused_mbconvs(plan: Plan, shop: _Shop) -> None:
    for expansion in FUSED_EXPANSIONS:
        for stage in FUSED_STAGES:
            name = FUSED.format(expansion)
            fused = shop.chain(name, stage, lambda width, grid, e=expansion: variants.FusedMBConv(width, e, "relu"))
            against = max(EXPANSIONS)
            plan.try_option("fused-mbconv", name, FFN.format(against), shop.at(stage), fused, shop.ffn(stage, against))


def _stems(plan: Plan, shop: _Shop) -> None:
    """Stems alone, with the blocks of the first stage, and in the whole network."""
    for fewer, more in pairwise(STEMS):
        names = [STRIDES.format(", ".join(map(str, strides))) for strides in (more, fewer)]
        for place in (STEM_ALONE, "stem and stage 1", f"whole {NETWORK}"):
            pair = [_with_stem(shop, place, strides, name) for strides, name in zip((more, fewer), names, strict=True)]
            plan.try_option("stem", *names, (place, place), *pair)  # type: ignore[arg-type]


def _with_stem(shop: _Shop, place: str, strides: Strides, name: str) -> Candidate:
    if place.startswith("whole"):
        usual = strides == V2_S0.stem_strides
        return shop.network(NETWORK if usual else f"{NETWORK} with {name}", stem_strides=strides)
    width, activation = V2_S0.widths[0], V2_S0.activation
    blocks = () if place == STEM_ALONE else V2_S0.stages[0].blocks
    grid = stage_grids(strides, shop.resolution)[0]

    def build() -> nn.Module:
        stem = variants.stem(width, strides, activation)
        return nn.Sequential(stem, *(variants.ffn_block(width, b.mlp_ratio, grid, activation) for b in blocks))

    return shop.on_image(f"{place} with {name}", build)
