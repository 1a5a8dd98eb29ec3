"""Vision transformers that meet a latency budget on the user's own device.

The names below are the public interface; each is imported when it is first used, so importing the package is instant.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from efficientformer.arch.space import SearchSpace
    from efficientformer.arch.spec import Architecture
    from efficientformer.export.onnx import export_onnx
    from efficientformer.latency.devices import open_runtime
    from efficientformer.latency.tables.build import build_table
    from efficientformer.latency.tables.table import LatencyTable
    from efficientformer.latency.timing.measure_networks import Subject, measure_networks
    from efficientformer.models.create import create_model
    from efficientformer.models.deploy.fuse import fuse
    from efficientformer.models.weights.load import load_network, load_weights
    from efficientformer.search.slim import slim
    from efficientformer.search.supernet.supernet import Supernet
    from efficientformer.tasks.classification.scores import evaluate
    from efficientformer.training.loop import fit

_MODULES = {
    "Architecture": "arch.spec",
    "LatencyTable": "latency.tables.table",
    "SearchSpace": "arch.space",
    "Subject": "latency.timing.measure_networks",
    "Supernet": "search.supernet.supernet",
    "build_table": "latency.tables.build",
    "create_model": "models.create",
    "evaluate": "tasks.classification.scores",
    "export_onnx": "export.onnx",
    "fit": "training.loop",
    "fuse": "models.deploy.fuse",
    "load_network": "models.weights.load",
    "load_weights": "models.weights.load",
    "measure_networks": "latency.timing.measure_networks",
    "open_runtime": "latency.devices",
    "slim": "search.slim",
}
__all__ = [
    "Architecture",
    "LatencyTable",
    "SearchSpace",
    "Subject",
    "Supernet",
    "build_table",
    "create_model",
    "evaluate",
    "export_onnx",
    "fit",
    "fuse",
    "load_network",
    "load_weights",
    "measure_networks",
    "open_runtime",
    "slim",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'efficientformer' has no attribute {name!r}")
    return getattr(importlib.import_module(f"efficientformer.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
