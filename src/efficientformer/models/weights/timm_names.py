"""Weights of a published architecture under timm's names, for a network that timm has built.

timm's networks have two heads and average their logits, so a single head is written twice. A network that slimming
found has no counterpart in timm, except through `models.registry`.
"""

import re

from torch import Tensor

from efficientformer.arch.spec import MB3D, Architecture
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import UsageError
from efficientformer.models.attention_bias import BiasedAttention
from efficientformer.models.network import Network
from efficientformer.models.weights.naming import Rules

BOTH: Rules = (
    (r"\.layer_scale_([12])$", r".ls\1.gamma"),
    (r"\.attention_bias$", ".attention_biases"),
)
V2: Rules = (
    (r"^stem\.conv([12])\.", r"stem.conv\1.conv."),
    (r"^stem\.norm([12])\.", r"stem.conv\1.bn."),
    (r"\.mlp\.(fc1|mid|fc2)\.", r".mlp.\1.conv."),
    (r"\.mlp\.norm([12])\.", r".mlp.fc\1.bn."),
    (r"\.mlp\.mid_norm\.", ".mlp.mid.bn."),
    (r"\.downsample\.(conv|norm)\.", r".downsample.conv.\1."),
    (r"\.attn\.q_local\.", ".attn.q.local."),
    (r"\.attn\.q\.(conv|norm)\.", r".attn.q.proj.\1."),
    (r"^(stages\..*)\.norm\.", r"\1.bn."),
)


def timm_state_dict(network: Network) -> dict[str, Tensor]:
    """The network's tensors as the state dict of timm's network of the same architecture.

    Raises UsageError for an architecture that timm does not have.
    """
    architecture = network.architecture
    if architecture not in ZOO.values():
        raise UsageError(
            f"timm has no network of {architecture}. Register ours instead: import efficientformer.models.registry, "
            "then timm.create_model('ef_network', architecture=...)."
        )
    tensors = network.state_dict()
    if network.head_dist is None:
        heads = {name: tensor for name, tensor in tensors.items() if name.startswith("head.")}
        tensors |= {name.replace("head.", "head_dist."): tensor for name, tensor in heads.items()}
    renamed = {timm_name(name, architecture): tensor for name, tensor in tensors.items()}
    if not architecture.is_v2:
        # For the first family timm also stores the tables of distances.
        for name, module in network.named_modules():
            if isinstance(module, BiasedAttention):
                renamed[timm_name(f"{name}.attention_bias_idxs", architecture)] = module.offset_index
    return renamed


def timm_name(name: str, architecture: Architecture) -> str:
    """timm's name of one of our tensors; in the first family the flatten before the first MB3D counts as a block."""
    if match := re.match(r"stages\.(\d)\.blocks\.(\d+)\.", name):
        stage, block = int(match[1]), int(match[2])
        number = block + isinstance(architecture.stages[stage].blocks[block], MB3D)
        name = f"stages.{stage}.blocks.{number}.{name[match.end() :]}"
    for pattern, replacement in (*BOTH, *(V2 if architecture.is_v2 else ())):
        name = re.sub(pattern, replacement, name)
    return name
