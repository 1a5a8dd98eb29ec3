"""What the tests of models share: weights that hide nothing, the golden figures, and the official names."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from efficientformer.arch.spec import MB3D, Architecture


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    return json.loads((Path(__file__).parents[1] / "golden" / "official_models.json").read_text(encoding="utf-8"))


@pytest.fixture
def randomize() -> Callable[[nn.Module], nn.Module]:
    """Draw all that a fresh model holds at a constant: with a layer scale of 1e-5 a broken block would go unseen.

    Nothing normalizes the sum of V2's blocks, so its layer scales are kept lower: logits would be in the thousands.
    """

    def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        is_v2 = any(re.search(r"\bmlp\.mid|\btalking_head", name) for name in module.state_dict())
        for name, tensor in sorted(module.state_dict().items()):
            if not tensor.is_floating_point():
                continue
            if is_v2 and re.search(r"layer_scale|ls\d\.gamma", name):
                tensor.copy_(torch.empty(tensor.shape).uniform_(0.05, 0.15, generator=generator))
            elif re.search(r"layer_scale|ls\d\.gamma|running_var", name):
                tensor.copy_(torch.empty(tensor.shape).uniform_(0.3, 1.0, generator=generator))
            elif "attention_bias" in name:
                tensor.copy_(torch.empty(tensor.shape).normal_(generator=generator))
            elif tensor.ndim > 1:
                tensor.copy_(torch.empty(tensor.shape).normal_(std=tensor[0].numel() ** -0.5, generator=generator))
            else:
                mean = 1.0 if re.search(r"(norm\d?|bn)\.weight$", name) else 0.0
                tensor.copy_(torch.empty(tensor.shape).normal_(mean, 0.3, generator=generator))
        return module

    return randomize


@pytest.fixture
def official_name() -> Callable[[str, Architecture], str]:
    """The official release's name of one of our tensors, written down apart from the importer."""
    stem = {"conv1": "0", "norm1": "1", "conv2": "3", "norm2": "4"}

    def attention_name(rest: list[str]) -> str:
        """V2: convolutions and norms by their place in a list, which a projection's activation comes before."""
        if rest[0] == "q_local":
            return ".".join(["q.local.0", *rest[1:]])
        if len(rest) < 3:
            return ".".join(rest)
        layer, kind, leaf = rest
        place = {"conv": 0, "norm": 1}[kind] + (layer == "proj")
        return f"{layer}.{place}.{leaf}"

    def official_name(name: str, architecture: Architecture) -> str:
        first, *rest = name.split(".")
        if first == "stem":
            return ".".join(["patch_embed", stem[rest[0]], *rest[1:]])
        if first == "head_dist":
            return ".".join(["dist_head", *rest])
        if first != "stages":
            return name
        stage = int(rest[0])
        if rest[1:3] == ["downsample", "attn"]:
            return (
                f"network.5.attn.{attention_name(rest[3:])}".replace("attn.q.0", "attn.q.proj.0")
                .replace("attn.q.1", "attn.q.proj.1")
                .replace("attention_bias", "attention_biases")
            )
        if rest[1] == "downsample" and architecture.is_v2 and stage == 3:
            return ".".join(["network.5", {"conv": "conv", "norm": "bn"}[rest[2]], *rest[3:]])
        if rest[1] == "downsample":
            return ".".join(["network", str(2 * stage - 1), {"conv": "proj", "norm": "norm"}[rest[2]], *rest[3:]])
        block = int(rest[2])
        # The flatten before the first MB3D takes a number of its own.
        entry = block + isinstance(architecture.stages[stage].blocks[block], MB3D)
        tail = ".".join(rest[3:])
        if architecture.is_v2 and rest[3] == "token_mixer":
            tail = f"token_mixer.{attention_name(rest[4:])}"
        tail = tail.replace("attention_bias", "attention_biases")
        return f"network.{2 * stage}.{entry}.{tail}"

    return official_name
