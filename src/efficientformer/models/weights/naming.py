"""How other implementations name the same tensors.

Each naming is a table of patterns that rewrite their names into ours, for both families; the order of the names does
not matter. Block numbers may come out with gaps, because most implementations count the flatten before the first MB3D
as a block; ranking closes the gaps.
"""

import re
from collections.abc import Iterable

from efficientformer.errors import RecordError

Rules = tuple[tuple[str, str], ...]
V2_DOWNSAMPLE = {"conv": "conv", "bn": "norm", "attn": "attn"}

# In these two the convolutions of the stem are numbered 0 and 3, and every second entry of `network` is a downsample.
OFFICIAL: Rules = (
    (r"^patch_embed\.0\.", "stem.conv1."),
    (r"^patch_embed\.1\.", "stem.norm1."),
    (r"^patch_embed\.3\.", "stem.conv2."),
    (r"^patch_embed\.4\.", "stem.norm2."),
    *((rf"^network\.{2 * s}\.(\d+)\.", rf"stages.{s}.blocks.\1.") for s in range(4)),
    *((rf"^network\.{2 * s - 1}\.proj\.", f"stages.{s}.downsample.conv.") for s in range(1, 4)),
    *((rf"^network\.{2 * s - 1}\.norm\.", f"stages.{s}.downsample.norm.") for s in range(1, 4)),
    (r"\.attention_biases$", ".attention_bias"),
    (r"^dist_head\.", "head_dist."),
    # V2: the downsample with attention, then attention, whose projection has an activation before it.
    *((rf"^network\.5\.{theirs}\.", f"stages.3.downsample.{ours}.") for theirs, ours in V2_DOWNSAMPLE.items()),
    (r"\.q\.local\.0\.", ".q_local."),
    (r"\.q\.proj\.([01])\.", r".q.\1."),
    (r"\.(attn|token_mixer)\.(q|k|v|v_local|stride_conv)\.0\.", r".\1.\2.conv."),
    (r"\.(attn|token_mixer)\.(q|k|v|v_local|stride_conv)\.1\.", r".\1.\2.norm."),
    (r"\.(attn|token_mixer)\.proj\.1\.", r".\1.proj.conv."),
    (r"\.(attn|token_mixer)\.proj\.2\.", r".\1.proj.norm."),
)

TRANSFORMERS: Rules = (
    (r"^efficientformer\.", ""),
    (r"^patch_embed\.convolution([12])\.", r"stem.conv\1."),
    (r"^patch_embed\.batchnorm_before\.", "stem.norm1."),
    (r"^patch_embed\.batchnorm_after\.", "stem.norm2."),
    *((rf"^encoder\.intermediate_stages\.{2 * s}\.meta4D_layers\.", f"stages.{s}.") for s in range(3)),
    *((rf"^encoder\.intermediate_stages\.{2 * s - 1}\.", f"stages.{s}.downsample.") for s in range(1, 4)),
    (r"\.downsample\.projection\.", ".downsample.conv."),
    (r"^encoder\.last_stage\.meta4D_layers\.", "stages.3."),
    # MB3D blocks are numbered from 0 again: four more digits put them after every MB4D.
    (r"^encoder\.last_stage\.meta3D_layers\.blocks\.", "stages.3.blocks.1000"),
    (r"\.mlp\.convolution([12])\.", r".mlp.fc\1."),
    (r"\.mlp\.batchnorm_before\.", ".mlp.norm1."),
    (r"\.mlp\.batchnorm_after\.", ".mlp.norm2."),
    (r"\.mlp\.linear_in\.", ".mlp.fc1."),
    (r"\.mlp\.linear_out\.", ".mlp.fc2."),
    (r"\.layernorm([12])\.", r".norm\1."),
    (r"\.token_mixer\.projection\.", ".token_mixer.proj."),
    (r"\.attention_biases$", ".attention_bias"),
    (r"^layernorm\.", "norm."),
    (r"^classifier\.", "head."),
    (r"^distillation_classifier\.", "head_dist."),
)

MMPRETRAIN: Rules = (
    (r"^backbone\.", ""),
    (r"^head\.(head|dist_head)\.", r"\1."),
    (r"^patch_embed\.0\.conv\.", "stem.conv1."),
    (r"^patch_embed\.0\.bn\.", "stem.norm1."),
    (r"^patch_embed\.1\.conv\.", "stem.conv2."),
    (r"^patch_embed\.1\.bn\.", "stem.norm2."),
    (r"^network\.([123])\.0\.conv\.", r"stages.\1.downsample.conv."),
    (r"^network\.([123])\.0\.bn\.", r"stages.\1.downsample.norm."),
    (r"^network\.(\d)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"\.ls([12])\.weight$", r".layer_scale_\1"),
    (r"\.attention_biases$", ".attention_bias"),
    (r"^norm3\.", "norm."),
    (r"^dist_head\.", "head_dist."),
)

TIMM: Rules = (
    (r"\.ls([12])\.gamma$", r".layer_scale_\1"),
    (r"\.attention_biases$", ".attention_bias"),
    # V2.
    (r"^stem\.conv([12])\.conv\.", r"stem.conv\1."),
    (r"^stem\.conv([12])\.bn\.", r"stem.norm\1."),
    (r"\.mlp\.(fc1|mid|fc2)\.conv\.", r".mlp.\1."),
    (r"\.mlp\.fc([12])\.bn\.", r".mlp.norm\1."),
    (r"\.mlp\.mid\.bn\.", ".mlp.mid_norm."),
    (r"\.downsample\.conv\.(conv|bn)\.", r".downsample.\1."),
    (r"\.attn\.q\.local\.", ".attn.q_local."),
    (r"\.attn\.q\.proj\.", ".attn.q."),
    (r"^(stages\..*)\.bn\.", r"\1.norm."),
)

OURS: Rules = ()

# A name that only this naming has.
MARKERS: tuple[tuple[str, Rules], ...] = (
    (r"stages\.\d\.blocks\.\d+\.layer_scale_[12]$", OURS),
    (r"stages\.\d\.blocks\.\d+\.ls[12]\.gamma$", TIMM),
    (r"network\.\d\.\d+\.layer_scale_[12]$", OFFICIAL),
    (r"(efficientformer\.)?encoder\.(intermediate_stages\.\d|last_stage)\.", TRANSFORMERS),
    (r"(backbone\.)?network\.\d\.\d+\.ls1\.weight$", MMPRETRAIN),
)
PREFIX = r"^((?:[^.]+\.)*?)"
"""Names of modules around the network, such as `_orig_mod.`, `module.` or `model.backbone.`."""
HEADS = ("head.", "head_dist.")
NOT_BACKBONE = (*HEADS, "norm.", "output_norms.")
"""A head, and the norms in front of it."""
DENSE_CLASSES = ("head.classes.", "head.branches.classes.")
CLASSES = ("head.weight", "head.bias", "head_dist.", *DENSE_CLASSES)
"""What of a head has one output a class."""

BLOCK = re.compile(r"^(stages\.\d\.blocks\.)(\d+)(\..*)$")


def our_names(names: Iterable[str]) -> dict[str, str]:
    """Our name of every tensor of the network, by the given name.

    Names of modules around the network are taken off; what is outside of the network, but for heads, is left out. Of
    several networks the one that is called a moving average is taken. Raises RecordError for an unknown naming and for
    several networks.
    """
    names = list(names)
    prefix, rules = _recognized(names)
    # The table of token distances is computed, never loaded.
    inside = {name: _inside(prefix, name) for name in names if not name.endswith("attention_bias_idxs")}
    renamed = {name: _apply(rules, inner) for name, inner in inside.items()}
    renamed = {name: ours for name, ours in renamed.items() if name.startswith(prefix) or ours.startswith(HEADS)}
    ranks = _block_ranks(renamed.values())
    return {theirs: BLOCK.sub(lambda match: _ranked(match, ranks), ours) for theirs, ours in renamed.items()}


def _recognized(names: list[str]) -> tuple[str, Rules]:
    """The names of modules around the network, and how the tensors in it are named."""
    for marker, rules in MARKERS:
        prefixes = sorted({match[1] for name in names if (match := re.match(PREFIX + marker, name))})
        averages = [prefix for prefix in prefixes if is_average(prefix)]
        if len(prefixes) == 1 or len(averages) == 1:
            return (averages or prefixes)[0], rules
        if prefixes:
            listed = ", ".join(prefix.rstrip(".") or "one without a prefix" for prefix in prefixes)
            raise RecordError(f"The weights are of several networks: {listed}. Save the state dict of one of them.")
    raise RecordError(
        "These are not EfficientFormer weights: the tensors have no names of this package, the official release, timm, "
        f"Transformers or MMPreTrain. The first names are {', '.join(sorted(names)[:3]) or 'missing'}."
    )


def is_average(name: str) -> bool:
    """Whether a container or a prefix is called an exponential moving average, as in `state_dict_ema`."""
    return "ema" in re.split(r"[._]", name.lower())


def _inside(prefix: str, name: str) -> str:
    """The name without the modules around the network, or, outside of it, without those that it shares with them."""
    for module in prefix.split(".")[:-1]:
        if not name.startswith(f"{module}."):
            break
        name = name.removeprefix(f"{module}.")
    return name


def _apply(rules: Rules, name: str) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _block_ranks(names: Iterable[str]) -> dict[str, dict[int, int]]:
    """For every stage, the rank of each block number that occurs."""
    numbers: dict[str, set[int]] = {}
    for name in names:
        if match := BLOCK.match(name):
            numbers.setdefault(match[1], set()).add(int(match[2]))
    return {stage: {number: rank for rank, number in enumerate(sorted(present))} for stage, present in numbers.items()}


def _ranked(match: re.Match[str], ranks: dict[str, dict[int, int]]) -> str:
    return f"{match[1]}{ranks[match[1]][int(match[2])]}{match[3]}"
