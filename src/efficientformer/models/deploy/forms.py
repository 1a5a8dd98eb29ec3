"""Exact ways to write the same function, which runtimes run at different speeds."""

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
        """The other forms that make a difference to the architecture."""
        if architecture.is_v2:
            return [replace(self, projections="separate" if self.projections == "joined" else "joined")]
        return [replace(self, pooling="difference" if self.pooling == "products" else "products")]

    def to_json(self) -> dict[str, str]:
        return asdict(self)


# Measured (benchmarks/LOG.md): splitting joined channels costs a copy, on OpenVINO up to a tenth of the latency of
# EfficientFormerV2-S0, on ONNX Runtime about one percent.
_SEPARATE = DeployForms(projections="separate")
_USUAL = {"onnxruntime": _SEPARATE, "openvino": _SEPARATE}


def forms_of(runtime: str) -> DeployForms:
    """The forms that a runtime, by its name, usually runs fastest."""
    return _USUAL.get(runtime, DeployForms())
