"""Ways to write down the same function that runtimes run at different speeds. All are exact."""

from dataclasses import asdict, dataclass, replace
from typing import Literal

from efficientformer.arch.spec import Architecture


@dataclass(frozen=True)
class DeployForms:
    """The choices that a deploy form leaves open.

    pooling: the first branch of an MB4D as (1 - s) * x + s * pooled, or as x + s * (pooled - x). projections: queries,
    keys and values of map attention by one convolution, or by one each.
    """

    pooling: Literal["products", "difference"] = "products"
    projections: Literal["joined", "separate"] = "joined"

    def others(self, architecture: Architecture) -> "list[DeployForms]":
        """What else a network of the architecture may be written as."""
        if architecture.is_v2:
            return [replace(self, projections="separate" if self.projections == "joined" else "joined")]
        return [replace(self, pooling="difference" if self.pooling == "products" else "products")]

    def to_json(self) -> dict[str, str]:
        return asdict(self)


# Measured (benchmarks/LOG.md): channels that are split again cost a copy, on OpenVINO up to a tenth of
# EfficientFormerV2-S0, on ONNX Runtime about a percent.
_SEPARATE = DeployForms(projections="separate")
_USUAL = {"onnxruntime": _SEPARATE, "openvino": _SEPARATE}


def forms_of(runtime: str) -> DeployForms:
    """The forms that a runtime, by its name, usually runs fastest."""
    return _USUAL.get(runtime, DeployForms())
