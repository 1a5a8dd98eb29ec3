"""The classes of operators in the paper's figure 2, and the class of an operator.

The class of a convolution or matrix product is that of its module in the network's source: a convolution may embed
patches, be half of an MLP, or be part of a convolutional block. The class of any other operator is its type. A fused
operator has the class of its convolution or matrix product. No torch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from efficientformer.latency.profilers.kinds import COMPUTING, Family, family_of
from efficientformer.latency.profilers.profile import Operator, OperatorTime

CLASSES = {
    "patch_embedding": "stem, patch embedding and the downsamples between stages",
    "convolution": "convolutions of convolutional blocks, with squeeze-and-excitation",
    "attention": "attention: projections, products, softmax",
    "mlp": "MLPs: linear layers and 1x1 convolutions",
    "pooling": "pooling: token mixers and global average pooling",
    "normalization": "normalization that was not folded",
    "activation": "activations that were not fused into other operators",
    "reshape": "reshapes, transposes, splits, changes of layout",
    "elementwise": "additions and scales of branches",
    "head": "classifier",
    "other": "not recognized",
}
"""The content of each class, in the order of figures. All names but the last three are the paper's."""
# A fused operator of unknown type has the first of these classes that one of its members has.
WEIGHTIEST = ("attention", "mlp", "patch_embedding", "convolution", "head", "normalization", "activation", "pooling")
FUSABLE: tuple[Family, ...] = ("normalization", "activation")

_BY_FAMILY: dict[Family, str] = {
    "attention": "attention",
    "normalization": "normalization",
    "activation": "activation",
    "pooling": "pooling",
    "reshape": "reshape",
    "elementwise": "elementwise",
}
_ATTENTION = re.compile(r"attn|attention|mhsa")
_MLP = re.compile(r"mlp\d*|ffn\d*|feed_?forward|fc[12]|channel_mixer|conv_?mlp")
_SQUEEZE = re.compile(r"se|squeeze_?excite|se_module")
_EMBEDDING = re.compile(r"stem\w*|conv_stem|patch_embed\w*")
_STAGE = re.compile(r"(stages?|layers)[._]?\d*")
_HEAD = re.compile(r"heads?|head_dist|classifier|fc")
_ACTIVATION = re.compile(r"act\d*|act_layer|non_?linearity")


@dataclass(frozen=True)
class Roles:
    """The roles of a network's modules that can be inferred from their operators; modules are given by path."""

    attention: frozenset[str]
    normalization: frozenset[str]
    first: str
    last: str

    @classmethod
    def of(cls, written: Sequence[Operator]) -> "Roles":
        """The roles in a network with these operators, in order of execution."""
        paths: dict[Family | None, set[str]] = {}
        for operator in written:
            paths.setdefault(family_of(operator.kind), set()).add(operator.path)
        computing = [operator.path for operator in written if family_of(operator.kind) in COMPUTING] or [""]
        mixing = paths.get("product", set()) | {op.path for op in written if "attention" in op.kind.lower()}
        return cls(
            attention=frozenset(paths.get("attention", set()) & mixing - {""}),
            normalization=frozenset(paths.get("normalization", set()) - set(computing) - {""}),
            first=computing[0],
            last=computing[-1],
        )


def class_of(executed: OperatorTime, roles: Roles) -> str:
    """The class, one of `CLASSES`, of an operator that a runtime executed."""
    family = family_of(executed.kind)
    classes = [written_class(operator, roles) for operator in executed.computes]
    if family in COMPUTING:
        computing = [name for name, operator in zip(classes, executed.computes, strict=True) if _computes(operator)]
        return (computing or classes or ["other"])[0]
    if family not in (None, "elementwise"):
        path = executed.computes[0].path if executed.computes else ""
        return written_class(Operator(executed.kind, path), roles)
    known = [name for name in WEIGHTIEST if name in classes]
    return (known or classes or [_BY_FAMILY.get(family, "other") if family else "other"])[0]


def written_class(operator: Operator, roles: Roles) -> str:
    """The class of an operator of the network's source."""
    family = family_of(operator.kind)
    if operator.path in roles.normalization and family not in COMPUTING:
        return "normalization"
    if family in COMPUTING:
        return _class_of_computing(operator, roles)
    parts = operator.path.split("/")
    if family == "elementwise":
        if _in_attention(parts, roles):
            return "attention"
        if _ACTIVATION.fullmatch(parts[-1]):
            return "activation"
        if "token_mixer" in parts:
            return "pooling"
    return _BY_FAMILY.get(family, "other") if family else "other"


def num_fused(operators: Sequence[OperatorTime], written: Sequence[Operator], roles: Roles) -> dict[str, int]:
    """The number of normalizations and of activations that run inside other operators; their time counts for those."""
    numbers = {}
    for family in FUSABLE:
        alone = {op for item in operators if class_of(item, roles) == family for op in item.computes}
        numbers[family] = sum(family_of(op.kind) == family and op not in alone for op in written)
    return {family: number for family, number in numbers.items() if number}


def _class_of_computing(operator: Operator, roles: Roles) -> str:
    """The class of the innermost module whose name or role determines one."""
    parts = operator.path.split("/")
    is_product = family_of(operator.kind) == "product"
    if any(_SQUEEZE.fullmatch(part) for part in parts):
        return "convolution"
    for depth in range(len(parts), 0, -1):
        path, part = "/".join(parts[:depth]), parts[depth - 1]
        name = re.sub(r"\.\d+$", "", part)
        if path in roles.attention or _ATTENTION.search(name):
            return "attention"
        if _MLP.fullmatch(name):
            return "mlp"
        if _EMBEDDING.fullmatch(name) or path == roles.first:
            return "patch_embedding"
        if name == "downsample" and (depth == 1 or _STAGE.fullmatch(parts[depth - 2])):
            return "patch_embedding"
    if is_product and (_HEAD.fullmatch(parts[0]) or operator.path == roles.last):
        return "head"
    return "other" if is_product else "convolution"


def _in_attention(parts: list[str], roles: Roles) -> bool:
    return any("/".join(parts[:depth]) in roles.attention for depth in range(1, len(parts) + 1))


def _computes(operator: Operator) -> bool:
    return family_of(operator.kind) in COMPUTING
