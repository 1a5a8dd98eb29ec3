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


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    return json.loads((Path(__file__).parents[1] / "golden" / "official_models.json").read_text(encoding="utf-8"))


@pytest.fixture
def randomize() -> Callable[[nn.Module], nn.Module]:
    """Draw all that a fresh model holds at a constant: with a layer scale of 1e-5 a broken block would go unseen."""

    def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        for name, tensor in sorted(module.state_dict().items()):
            if not tensor.is_floating_point():
                continue
            if re.search(r"layer_scale|ls\d\.gamma|running_var", name):
                tensor.copy_(torch.empty(tensor.shape).uniform_(0.3, 1.0, generator=generator))
            elif "attention_bias" in name:
                tensor.copy_(torch.empty(tensor.shape).normal_(generator=generator))
            elif tensor.ndim > 1:
                tensor.copy_(torch.empty(tensor.shape).normal_(std=tensor[0].numel() ** -0.5, generator=generator))
            else:
                mean = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                tensor.copy_(torch.empty(tensor.shape).normal_(mean, 0.3, generator=generator))
        return module

    return randomize


@pytest.fixture
def official_name() -> Callable[[str, Architecture], str]:
    """The official release's name of one of our tensors, written down apart from the importer."""
    stem = {"conv1": "0", "norm1": "1", "conv2": "3", "norm2": "4"}

    def official_name(name: str, architecture: Architecture) -> str:
        first, *rest = name.split(".")
        if first == "stem":
            return ".".join(["patch_embed", stem[rest[0]], *rest[1:]])
        if first == "head_dist":
            return ".".join(["dist_head", *rest])
        if first != "stages":
            return name
        stage = int(rest[0])
        if rest[1] == "downsample":
            return ".".join(["network", str(2 * stage - 1), {"conv": "proj", "norm": "norm"}[rest[2]], *rest[3:]])
        block = int(rest[2])
        # The flatten before the first MB3D takes a number of its own.
        entry = block + isinstance(architecture.stages[stage].blocks[block], MB3D)
        tail = ".".join(rest[3:]).replace("attention_bias", "attention_biases")
        return f"network.{2 * stage}.{entry}.{tail}"

    return official_name
