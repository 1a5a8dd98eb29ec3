"""An architecture is a value: frozen, validated, hashable, and the same after a trip through JSON.

The terms are the paper's (section 4): a network is a stem and four stages of meta blocks joined by downsamples. MB4D
blocks work on maps (B, C, H, W), MB3D blocks on tokens (B, N, C). EfficientFormerV2 has blocks of its own, FFN and
AttnFFN, all of them on maps. Neither resolution nor number of classes belongs to the value: one architecture serves any
of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, NotRequired, TypeVar, assert_never, get_args

from pydantic import Field
from typing_extensions import TypedDict

from efficientformer.arch.dense import DenseHead, dense_from_json, dense_to_json
from efficientformer.arch.kinds import kind_to_json, require_option, value_of_kind
from efficientformer.errors import ArchitectureError
from efficientformer.reading import checked

NUM_STAGES = 4
# Far above every published network (width 768, 18 blocks in a stage, 82 million weights), far below what fills a
# machine.
MAX_WIDTH, MAX_DEPTH, MAX_OPTION = 4096, 64, 256
MAX_WEIGHTS = 2**28
BlockKind = Literal["MB4D", "MB3D", "FFN", "AttnFFN"]
Activation = Literal["gelu", "hard_swish", "relu"]
Strides = tuple[int, ...]
"""Of a stem's convolutions: two, as in the paper, or three, each 1 or 2."""
STRIDE_COUNTS = (2, 3)
DEFAULT_ACTIVATION: Activation = "gelu"
"""That of the paper, in every block."""


class _Options:
    """Options of a block, all of them positive integers. Raises ArchitectureError otherwise."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            require_option(f"{type(self).__name__}.{field.name}", getattr(self, field.name), MAX_OPTION)


class _Attending(_Options):
    """Options of what attends."""

    key_dim: int
    value_ratio: int

    @property
    def value_dim(self) -> int:
        return self.key_dim * self.value_ratio


class _AttendingOnMaps(_Attending):
    """Options of attention on maps, whose stride is at most 2."""

    stride: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stride > 2:
            raise ArchitectureError(f"{type(self).__name__}.stride is 1 or 2, not {self.stride}.")


@dataclass(frozen=True)
class MB4D(_Options):
    """Meta block on maps: pooling token mixer, then a convolutional MLP with batch norm (section 4.1)."""

    kind: ClassVar[Literal["MB4D"]] = "MB4D"
    mlp_ratio: int = 4


@dataclass(frozen=True)
class MB3D(_Attending):
    """Meta block on tokens: layer norm, attention with a learned bias, then a linear MLP (section 4.1)."""

    kind: ClassVar[Literal["MB3D"]] = "MB3D"
    mlp_ratio: int = 4
    num_heads: int = 8
    key_dim: int = 32
    value_ratio: int = 4


@dataclass(frozen=True)
class FFN(_Options):
    """Block of EfficientFormerV2: an MLP with a depth-wise 3x3 convolution between its two 1x1 ones, which mixes
    positions in place of pooling (V2's unified FFN)."""

    kind: ClassVar[Literal["FFN"]] = "FFN"
    mlp_ratio: int = 4


@dataclass(frozen=True)
class MHSA(_AttendingOnMaps):
    """The attention of an AttnFFN, without the FFN behind it: a part of a network, though not a block of one."""

    kind: ClassVar[Literal["MHSA"]] = "MHSA"
    num_heads: int = 8
    key_dim: int = 32
    value_ratio: int = 4
    stride: int = 1


@dataclass(frozen=True)
class AttnFFN(_AttendingOnMaps):
    """Block of EfficientFormerV2: attention on the map, then the MLP of an FFN.

    With `stride` 2 the attention works on a map of half the size, whose result is upsampled again (V2's stride
    attention).
    """

    kind: ClassVar[Literal["AttnFFN"]] = "AttnFFN"
    mlp_ratio: int = 4
    num_heads: int = 8
    key_dim: int = 32
    value_ratio: int = 4
    stride: int = 1

    @property
    def attention(self) -> MHSA:
        """The first half of the block."""
        return MHSA(self.num_heads, self.key_dim, self.value_ratio, self.stride)

    @property
    def ffn(self) -> FFN:
        """The second half of the block."""
        return FFN(self.mlp_ratio)


@dataclass(frozen=True)
class DownsampleAttention:
    """Attention in EfficientFormerV2's last downsample, whose queries come from a map of half the size."""

    num_heads: int = 8
    key_dim: int = 16
    value_dim: int = 64


Block = MB4D | MB3D | FFN | AttnFFN
KINDS: dict[BlockKind, type[Block]] = {block.kind: block for block in get_args(Block)}
AnyBlock = TypeVar("AnyBlock", bound=Block | MHSA)


def takes_tokens(block: Block) -> bool:
    """Whether a block works on tokens (B, N, C) instead of maps (B, C, H, W)."""
    match block:
        case MB3D():
            return True
        case MB4D() | FFN() | AttnFFN():
            return False
        case _:
            assert_never(block)


def num_heads_of(block: Block | MHSA) -> int:
    """Heads of a block's attention; 0 for a block without attention."""
    return block.num_heads if isinstance(block, MB3D | AttnFFN | MHSA) else 0


def with_heads(block: AnyBlock, num_heads: int) -> AnyBlock:
    """The block with this number of heads; the block itself if it has no attention."""
    return replace(block, num_heads=num_heads) if isinstance(block, MB3D | AttnFFN | MHSA) else block


def in_kind(block: Block, kind: Block) -> Block:
    """`kind` in place of `block`: with the MLP ratio of that and, if both attend, its number of heads."""
    turned = replace(kind, mlp_ratio=block.mlp_ratio)
    return with_heads(turned, num_heads_of(block) or num_heads_of(kind))


@dataclass(frozen=True)
class Stage:
    """Blocks that share one width and one resolution, of one family. `blocks` lists MB4D first, then MB3D."""

    width: int
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if not isinstance(self.width, int) or self.width < 8 or self.width % 8:
            raise ArchitectureError(f"A stage's width must be a positive multiple of 8, not {self.width!r}.")
        if self.width > MAX_WIDTH:
            raise ArchitectureError(f"A stage's width must be at most {MAX_WIDTH}, not {self.width}.")
        if not self.blocks:
            raise ArchitectureError("A stage needs at least one block.")
        if len(self.blocks) > MAX_DEPTH:
            raise ArchitectureError(f"A stage has at most {MAX_DEPTH} blocks, not {len(self.blocks)}.")
        if any(isinstance(first, MB3D) and isinstance(second, MB4D) for first, second in pairwise(self.blocks)):
            kinds = [block.kind for block in self.blocks]
            raise ArchitectureError(f"Inside a stage every MB3D must follow every MB4D, but the order is {kinds}.")

    @property
    def depth(self) -> int:
        return len(self.blocks)

    @property
    def num_on_tokens(self) -> int:
        return sum(map(takes_tokens, self.blocks))

    @property
    def num_attending(self) -> int:
        return sum(isinstance(block, MB3D | AttnFFN) for block in self.blocks)

    @property
    def is_v2(self) -> bool:
        return isinstance(self.blocks[0], FFN | AttnFFN)


@dataclass(frozen=True)
class Architecture:
    """Four stages behind a stem of two or three 3x3 convolutions with the given strides, with one activation in all
    blocks, and the head of a dense task or, with None, that of a classifier.

    The family follows from the blocks. In EfficientFormerV2 (`is_v2`) the stem has the blocks' activation instead of
    ReLU, the downsample between stages 3 and 4 attends (V2's dual-path attention downsampling), and the head normalizes
    the map. Raises ArchitectureError on blocks of both families, on an MB3D before stage 3, and on one in stage 3 while
    stage 4 still has MB4D: tokens would have to become maps again for more than the one downsample.
    """

    stages: tuple[Stage, ...]
    stem_strides: Strides = (2, 2)
    activation: Activation = DEFAULT_ACTIVATION
    head: DenseHead | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        object.__setattr__(self, "stem_strides", tuple(self.stem_strides))
        if self.activation not in get_args(Activation):
            known = ", ".join(get_args(Activation))
            raise ArchitectureError(f"Unknown activation {str(self.activation)[:60]!r}; there are {known}.")
        if len(self.stages) != NUM_STAGES:
            raise ArchitectureError(f"An architecture has {NUM_STAGES} stages, not {len(self.stages)}.")
        if len(self.stem_strides) not in STRIDE_COUNTS or any(stride not in (1, 2) for stride in self.stem_strides):
            raise ArchitectureError(f"The stem has two or three strides of 1 or 2, not {self.stem_strides!r}.")
        if len({isinstance(block, FFN | AttnFFN) for stage in self.stages for block in stage.blocks}) > 1:
            raise ArchitectureError("A network has blocks MB4D and MB3D, or FFN and AttnFFN, but not both.")
        if self.head is not None and not isinstance(self.head, DenseHead):
            raise ArchitectureError(
                f"head must be a SemanticFpn, a OneStage, a MaskRcnn or None, not {str(self.head)[:60]!r}."
            )
        if any(stage.num_on_tokens for stage in self.stages[:2]):
            raise ArchitectureError("MB3D blocks are allowed in the last two stages only.")
        if self.stages[2].num_on_tokens and self.stages[3].num_on_tokens < self.stages[3].depth:
            raise ArchitectureError("When stage 3 has an MB3D, every block of stage 4 must be one.")

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(stage.width for stage in self.stages)

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(stage.depth for stage in self.stages)

    @property
    def num_on_tokens(self) -> int:
        return sum(stage.num_on_tokens for stage in self.stages)

    @property
    def num_attending(self) -> int:
        return sum(stage.num_attending for stage in self.stages)

    @property
    def is_v2(self) -> bool:
        return self.stages[0].is_v2

    @property
    def ends_in_tokens(self) -> bool:
        """Whether the last stage gives tokens, as a classifier's head of the first family takes them."""
        return not self.is_v2 and self.head is None

    @property
    def head_activation(self) -> Activation:
        """That of the stem and of a dense head: ReLU, and in V2 that of the blocks."""
        return self.activation if self.is_v2 else "relu"

    def __str__(self) -> str:
        widths, depths = ("-".join(map(str, values)) for values in (self.widths, self.depths))
        attending = AttnFFN if self.is_v2 else MB3D
        other = "" if self.activation == DEFAULT_ACTIVATION else f", {self.activation}"
        head = "" if self.head is None else f", {self.head}"
        return f"widths {widths}, depths {depths}, {self.num_attending} {attending.kind}{other}{head}"

    def with_stage(self, index: int, stage: Stage) -> "Architecture":
        return replace(self, stages=(*self.stages[:index], stage, *self.stages[index + 1 :]))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value; options at their default are left out."""
        stages = [{"width": s.width, "blocks": [block_to_json(b) for b in s.blocks]} for s in self.stages]
        content: dict[str, Any] = {"stem_strides": list(self.stem_strides), "stages": stages}
        content |= {} if self.activation == DEFAULT_ACTIVATION else {"activation": self.activation}
        return content if self.head is None else content | {"head": dense_to_json(self.head)}

    @classmethod
    def from_json(cls, content: Any) -> "Architecture":
        """Inverse of `to_json`. Raises ArchitectureError that names what does not belong, and for one whose blocks have
        more than `MAX_WEIGHTS` weights."""
        try:
            record = checked(content, ArchitectureRecord)
        except ValueError as error:
            raise ArchitectureError(f"Not an architecture: {error}.") from error
        stages = []
        for index, stage in enumerate(record["stages"]):
            try:
                stages.append(Stage(stage["width"], tuple(map(block_from_json, stage["blocks"]))))
            except ArchitectureError as error:
                raise ArchitectureError(f"Not an architecture: stages.{index}: {error}") from error
        strides = record["stem_strides"]
        activation = record.get("activation", DEFAULT_ACTIVATION)
        head = None
        if (described := record.get("head")) is not None:
            try:
                head = dense_from_json(described)
            except ArchitectureError as error:
                raise ArchitectureError(f"Not an architecture: head: {error}") from error
        architecture = cls(tuple(stages), tuple(strides), activation, head)
        require_few_weights(architecture.stages)
        return architecture


class StageRecord(TypedDict):
    width: int
    blocks: Annotated[list[dict[str, Any]], Field(max_length=MAX_DEPTH)]
    """Each with its "kind", and those of the kind's options that are not at their defaults."""


class ArchitectureRecord(TypedDict):
    """An architecture in a record."""

    stem_strides: Annotated[list[int], Field(min_length=STRIDE_COUNTS[0], max_length=STRIDE_COUNTS[1])]
    stages: Annotated[list[StageRecord], Field(min_length=NUM_STAGES, max_length=NUM_STAGES)]
    activation: NotRequired[Activation]
    head: NotRequired[dict[str, Any] | None]
    """The head of a dense task, with its "kind" as a block has one."""


def block_to_json(block: Block | MHSA) -> dict[str, Any]:
    return kind_to_json(block)


def block_from_json(content: Any) -> Block:
    """Inverse of `block_to_json`. Raises ArchitectureError."""
    return value_of_kind(content, KINDS)


def require_few_weights(stages: Iterable[Stage]) -> None:
    """Raise ArchitectureError where the matrices in all blocks have more than `MAX_WEIGHTS` weights."""
    total = 0
    for stage in stages:
        for block in stage.blocks:
            total += 2 * stage.width**2 * block.mlp_ratio
            if isinstance(block, MB3D | AttnFFN):
                total += 2 * stage.width * block.num_heads * (block.key_dim + block.value_dim)
    if total > MAX_WEIGHTS:
        raise ArchitectureError(
            f"An architecture with {total} weights in its blocks is refused; {MAX_WEIGHTS} are the most."
        )
