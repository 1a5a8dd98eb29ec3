"""The paper's claims about latency on a phone (section 3), each as a bound on a ratio of two latencies.

The paper's figures come from an iPhone 12 with CoreML, and are quoted as other texts report them. They are no standard
that a device has to meet. No torch.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Bound = Literal["at least", "at most"]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper about `subject latency / baseline latency`: a lower or an upper bound of the ratio."""

    key: str
    observation: int
    words: str
    bound: Bound


@dataclass(frozen=True)
class PaperFigure:
    """What the paper measured: in words, as a ratio if its numbers give one, and how reliable the source is."""

    words: str
    source: str
    ratio: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


PATCH_EMBEDDING = Claim(
    "patch_embedding",
    1,
    "Patch embedding with a large kernel and stride is slower than a convolution stem.",
    "at least",
)
ATTENTION = Claim("attention", 2, "Attention is not necessarily a bottleneck.", "at most")
LAYOUT = Claim("layout", 2, "Reshaping between maps and tokens at every block is slow.", "at least")
NORM = Claim("norm", 3, "Layer norm and group norm are slower than batch norm, which can be folded.", "at least")
GELU = Claim("gelu", 4, "GELU is nearly as fast as ReLU.", "at most")
HARDSWISH = Claim("hardswish", 4, "HardSwish can be badly supported and then slow.", "at least")
COMPILER = Claim("compiler", 4, "The cost of an activation depends on the compiler.", "at least")

CLAIMS = {claim.key: claim for claim in (PATCH_EMBEDDING, ATTENTION, LAYOUT, NORM, GELU, HARDSWISH, COMPILER)}

SECOND_HAND = "paper, as reported; not checked against the text"
UNCONFIRMED = "paper's appendix, as reported; which row a number belongs to is uncertain"

STEM_FIGURE = PaperFigure("a convolution stem takes 48 % off the latency", UNCONFIRMED, 1 / (1 - 0.48))
MIXER_FIGURE = PaperFigure("removing attention saves about 0.5 of 3.0 ms", UNCONFIRMED, 3.0 / 2.5)
LAYOUT_FIGURE = PaperFigure(
    "LeViT-256, which alternates, takes 11.9 ms; PoolFormer-S24, all on maps, takes 6.2 ms: different networks, not a "
    "controlled pair",
    SECOND_HAND,
)
NORM_FIGURE = PaperFigure("layer norm makes up 10 to 20 % of DeiT-S and PoolFormer-S24", SECOND_HAND)
GELU_FIGURE = PaperFigure("GELU is nearly as fast as ReLU", SECOND_HAND)
HARDSWISH_FIGURE = PaperFigure("LeViT-256 takes 44.5 ms with HardSwish and 11.9 ms with GELU", SECOND_HAND, 44.5 / 11.9)
