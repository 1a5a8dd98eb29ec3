"""The paper's four observations (section 3) as controlled experiments: pairs that differ in one choice only.

Each observation is tried on single parts and in whole networks. A part is a stem or a chain of blocks of one kind; in a
chain the overhead of a call is negligible. Experiments do not depend on the runtime.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial

from torch import nn

from efficientformer.analysis.observations import claims, variants
from efficientformer.analysis.observations.claims import Claim, PaperFigure
from efficientformer.analysis.observations.experiment import Candidate, Observation, Plan
from efficientformer.arch.parts import stage_grids
from efficientformer.arch.resolution import Grid
from efficientformer.arch.spec import Architecture
from efficientformer.arch.zoo import L1, ZOO, build_architecture
from efficientformer.errors import UsageError

CHAIN_LENGTH = 4
ENTRY_WIDTHS = {4: 64, 16: 384}
"""Width of a patch embedding by its stride: 64 for stride 4 (PoolFormer-S24), 384 for stride 16 (DeiT-S)."""
NUMBER_WORDS = {2: "two", 4: "four"}
RESOLUTION_STEP = 32

# Thresholds of ratios. They are ours, since the paper gives no numbers; each record states the ones it used.
NOT_SLOWER, SLOWER, NEARLY, BADLY_SUPPORTED = 1.0, 1.05, 1.1, 1.5
BLOCK_FACTOR, NETWORK_FACTOR = 2.0, 1.25
ORDERS = {"in turns": True, "one boundary": False}


def plan_observations(
    resolution: int, networks: Iterable[str] = ("efficientformer_l1", "efficientformer_l3"), numbers: Iterable[int] = ()
) -> list[Observation]:
    """The experiments for images of this size; all four observations unless `numbers` selects some.

    Raises UsageError for a resolution that patch embeddings do not divide, a network that is unknown or of
    EfficientFormerV2, or an unknown number.
    """
    if resolution < 2 * RESOLUTION_STEP or resolution % RESOLUTION_STEP:
        raise UsageError(
            f"At resolution {resolution} patch embedding and stem have different output sizes. Choose a multiple of "
            f"{RESOLUTION_STEP}, at least {2 * RESOLUTION_STEP}, such as 224."
        )
    chosen, known = {}, [name for name, architecture in ZOO.items() if not architecture.is_v2]
    for name in networks:
        if name not in ZOO:
            raise UsageError(f"There is no network {name!r}; the networks are {', '.join(known)}.")
        if name not in known:
            raise UsageError(
                f"{name} is of EfficientFormerV2, and the observations are of EfficientFormer's blocks: "
                f"{', '.join(known)}. `efficientformer benchmark {name}` times it."
            )
        chosen[name.rpartition("_")[2].upper()] = ZOO[name]
    makers = {1: _patch_embedding, 2: _mixers, 3: _norms, 4: _activations}
    if unknown := set(numbers) - set(makers):
        raise UsageError(f"There is no observation {min(unknown)}; the paper makes observations 1 to 4.")
    return [makers[number](_Setting(resolution, chosen)) for number in sorted(set(numbers) or makers)]


@dataclass(frozen=True)
class _Setting:
    resolution: int
    networks: dict[str, Architecture]

    @cached_property
    def grids(self) -> list[Grid]:
        return stage_grids((2, 2), self.resolution)

    @property
    def image(self) -> tuple[int, int, int, int]:
        return (1, 3, self.resolution, self.resolution)

    def chain(self, name: str, stage: int, on_tokens: bool, make: Callable[[int, Grid], nn.Module]) -> Candidate:
        """`CHAIN_LENGTH` blocks with L1's width and grid at a stage, counted from 1."""
        grid, width = self.grids[stage - 1], L1.widths[stage - 1]
        return Candidate(
            f"{name}, stage {stage}",
            lambda: variants.chain(width, [make(width, grid) for _ in range(CHAIN_LENGTH)], on_tokens=on_tokens),
            (1, 3, *grid),
        )

    def at(self, stage: int) -> str:
        """A stage's shape in words."""
        (height, width), channels = self.grids[stage - 1], L1.widths[stage - 1]
        return f"{CHAIN_LENGTH} in a row, {channels} channels on {height}x{width}"

    def network(self, name: str) -> Candidate:
        return Candidate(name, lambda: variants.whole_network(self.networks[name], self.resolution), self.image)

    def variant(self, name: str, choice: str, change: Callable[[nn.Module], nn.Module]) -> Candidate:
        published = self.network(name)
        return Candidate(f"{name} with {choice}", lambda: change(published.build()), self.image)


def _patch_embedding(setting: _Setting) -> Observation:
    plan = Plan(1)
    for kernel, stride in ((16, 16), (7, 4), (4, 4)):
        width, num_convolutions = ENTRY_WIDTHS[stride], stride.bit_length() - 1
        side = setting.resolution // stride
        embedding, stem = f"{kernel}x{kernel} stride {stride}", f"{NUMBER_WORDS[num_convolutions]} 3x3 convolutions"
        plan.compare(
            claims.PATCH_EMBEDDING,
            SLOWER,
            f"{embedding} against {stem}",
            f"alone, to {width} channels on {side}x{side}",
            Candidate(
                f"patch embedding {embedding}", partial(variants.patch_embedding, width, kernel, stride), setting.image
            ),
            Candidate(f"stem of {stem}", partial(variants.convolution_stem, width, num_convolutions), setting.image),
        )
    for name, architecture in setting.networks.items():
        published = setting.network(name)
        for kernel in (7, 4):
            choice = f"{kernel}x{kernel} stride 4 patch embedding"
            embedding = partial(variants.patch_embedding, architecture.widths[0], kernel, 4)
            changed = setting.variant(name, choice, lambda net, embed=embedding: variants.with_stem(net, embed()))
            plan.compare(
                claims.PATCH_EMBEDDING,
                SLOWER,
                f"{kernel}x{kernel} stride 4 against the stem",
                f"whole {name}",
                changed,
                published,
                paper=claims.STEM_FIGURE,
            )
            plan.switch(choice, published, changed)
    return plan.finished()


def _mixers(setting: _Setting) -> Observation:
    plan = Plan(2)
    for stage in (3, 4):
        token_chain = setting.chain("MB3D", stage, True, variants.token_block)
        map_chain = setting.chain("MB4D", stage, False, variants.map_block)
        name = "block with attention against block with pooling"
        plan.compare(claims.ATTENTION, BLOCK_FACTOR, name, setting.at(stage), token_chain, map_chain)
    for stage in (3, 4):
        mixing = setting.chain("attention half", stage, True, _half(variants.TokenMixing))
        mlp = setting.chain("MLP half", stage, True, _half(variants.TokenMlp))
        name = "attention against the MLP in its block"
        plan.compare(claims.ATTENTION, NOT_SLOWER, name, setting.at(stage), mixing, mlp)
    for name, architecture in setting.networks.items():
        published = setting.network(name)
        pooling = build_architecture(architecture.widths, architecture.depths, 0)  # type: ignore[arg-type]
        changed = Candidate(
            f"{name} with pooling only", partial(variants.whole_network, pooling, setting.resolution), setting.image
        )
        plan.compare(
            claims.ATTENTION,
            NETWORK_FACTOR,
            f"{architecture.num_attending} attention of {sum(architecture.depths)} blocks against pooling only",
            f"whole {name}",
            published,
            changed,
            paper=claims.MIXER_FIGURE,
        )
        plan.switch("pooling only", published, changed)
    _add_layouts(plan, setting)
    return plan.finished()


def _add_layouts(plan: Plan, setting: _Setting) -> None:
    """The same blocks in two orders: MB4D and MB3D alternating, with a reshape at each, or with one boundary."""
    words = "a reshape at every block against one boundary"
    for stage in (3, 4):
        grid, width = setting.grids[stage - 1], L1.widths[stage - 1]
        in_turns, behind = (
            Candidate(
                f"{order}, stage {stage}",
                partial(variants.mixed_chain, width, grid, 2 * CHAIN_LENGTH, alternating=alternating),
                (1, 3, *grid),
            )
            for order, alternating in ORDERS.items()
        )
        shape = f"{CHAIN_LENGTH} MB4D and {CHAIN_LENGTH} MB3D, {width} channels on {grid[0]}x{grid[1]}"
        plan.compare(claims.LAYOUT, SLOWER, words, shape, in_turns, behind, paper=claims.LAYOUT_FIGURE)
    for name, architecture in setting.networks.items():
        for stages, where in (((4,), "stage 4"), ((3, 4), "stages 3 and 4")):
            mixed = partial(
                variants.with_mixed_stages,
                architecture=architecture,
                grids=setting.grids,
                indices=[stage - 1 for stage in stages],
            )
            in_turns, behind = (
                setting.variant(name, f"half of {where} MB3D, {order}", partial(mixed, alternating=alternating))
                for order, alternating in ORDERS.items()
            )
            shape = f"whole {name}, half of {where} MB3D"
            plan.compare(claims.LAYOUT, SLOWER, words, shape, in_turns, behind, paper=claims.LAYOUT_FIGURE)


def _norms(setting: _Setting) -> Observation:
    plan = Plan(3)
    for stage in (1, 3):
        folded = setting.chain("MLP with batch norm", stage, False, _map_mlp())
        for norm in variants.NORMS:
            other = setting.chain(f"MLP with {norm}", stage, False, _map_mlp(norm=norm))
            name = f"{norm} against batch norm in the MLP"
            plan.compare(claims.NORM, SLOWER, name, setting.at(stage), other, folded, paper=claims.NORM_FIGURE)
    for stage in (3, 4):
        tokens = setting.chain("layer norm and linear MLP", stage, True, _half(variants.TokenMlp))
        folded = setting.chain("MLP with batch norm", stage, False, _map_mlp())
        name = "layer norm and linear layers against convolutions with batch norm"
        plan.compare(claims.NORM, SLOWER, name, setting.at(stage), tokens, folded, paper=claims.NORM_FIGURE)
    for name in setting.networks:
        published = setting.network(name)
        for norm in variants.NORMS:
            changed = setting.variant(name, norm, partial(variants.with_map_norm, norm=norm))
            words = f"{norm} against batch norm in every MB4D"
            plan.compare(claims.NORM, SLOWER, words, f"whole {name}", changed, published, paper=claims.NORM_FIGURE)
            plan.switch(norm, published, changed)
    return plan.finished()


ACTIVATION_CLAIMS: dict[str, tuple[Claim | None, float | None, PaperFigure | None]] = {
    "GELU": (claims.GELU, NEARLY, claims.GELU_FIGURE),
    "HardSwish": (claims.HARDSWISH, BADLY_SUPPORTED, claims.HARDSWISH_FIGURE),
    "SiLU": (None, None, None),
    "tanh-GELU": (None, None, None),
}
"""The paper's claim about each activation other than ReLU. Its figure for HardSwish is relative to GELU."""


def _activations(setting: _Setting) -> Observation:
    plan = Plan(4)
    for stage in (1, 3):
        relu = setting.chain("MLP with ReLU", stage, False, _map_mlp("ReLU"))
        for activation, (claim, threshold, paper) in ACTIVATION_CLAIMS.items():
            other = setting.chain(f"MLP with {activation}", stage, False, _map_mlp(activation))
            name = f"{activation} against ReLU in the MLP"
            plan.compare(claim, threshold, name, setting.at(stage), other, relu, paper=paper)
    for name in setting.networks:
        published = setting.network(name)
        changed = {
            activation: setting.variant(name, activation, partial(variants.with_activation, activation=activation))
            for activation in variants.ACTIVATIONS
            if activation != "GELU"
        }
        for activation, (claim, threshold, paper) in ACTIVATION_CLAIMS.items():
            subject = changed.get(activation, published)
            words = f"{activation} against ReLU in every block"
            plan.compare(claim, threshold, words, f"whole {name}", subject, changed["ReLU"], paper=paper)
        for activation, candidate in changed.items():
            plan.switch(activation, published, candidate)
    return plan.finished()


def _map_mlp(activation: str = "GELU", norm: str | None = None) -> Callable[[int, Grid], nn.Module]:
    return lambda width, grid: variants.MapMlp(variants.map_block(width, grid), activation, norm)


def _half(kind: Callable[[variants.DeployMB3D], nn.Module]) -> Callable[[int, Grid], nn.Module]:
    return lambda width, grid: kind(variants.token_block(width, grid))
