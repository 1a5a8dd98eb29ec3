"""Vision transformers that meet a latency budget on the user's own device.

The names imported below are the public interface. Type checkers follow these imports; Python skips them and imports
each name when it is first used, so importing the package is instant.
"""

import ast
import importlib
import inspect
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from efficientformer.arch.space import SearchSpace as SearchSpace
    from efficientformer.arch.spec import Architecture as Architecture
    from efficientformer.exporting.onnx import export_onnx as export_onnx
    from efficientformer.latency.devices import open_runtime as open_runtime
    from efficientformer.latency.tables.build import build_table as build_table
    from efficientformer.latency.tables.table import LatencyTable as LatencyTable
    from efficientformer.latency.timing.measure_networks import Subject as Subject
    from efficientformer.latency.timing.measure_networks import measure_networks as measure_networks
    from efficientformer.models.create import create_model as create_model
    from efficientformer.models.deploy.fuse import fuse as fuse
    from efficientformer.models.weights.load import load_network as load_network
    from efficientformer.models.weights.load import load_weights as load_weights
    from efficientformer.pipeline.analyze import analyze as analyze
    from efficientformer.pipeline.benchmark import benchmark as benchmark
    from efficientformer.pipeline.image_sets.check import check_images as check_images
    from efficientformer.pipeline.image_sets.pack import pack_images as pack_images
    from efficientformer.pipeline.predict import predict as predict
    from efficientformer.pipeline.run.settings import Settings as Settings
    from efficientformer.pipeline.shortlists.measure import shortlist as shortlist
    from efficientformer.pipeline.verbs import design as design
    from efficientformer.pipeline.verbs import export as export
    from efficientformer.pipeline.verbs import train as train
    from efficientformer.search.slim import slim as slim
    from efficientformer.search.supernet.supernet import Supernet as Supernet
    from efficientformer.tasks.kinds import evaluate as evaluate
    from efficientformer.training.loop import fit as fit


@cache
def _public_names() -> dict[str, str]:
    """The module of each public name, read from the imports above."""
    statements = ast.walk(ast.parse(inspect.getsource(sys.modules[__name__])))
    imports = [statement for statement in statements if isinstance(statement, ast.ImportFrom)]
    return {alias.name: str(found.module) for found in imports for alias in found.names if alias.asname}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted(_public_names())
    if name.startswith("_") or name not in _public_names():
        raise AttributeError(f"module 'efficientformer' has no attribute {name!r}")
    return getattr(importlib.import_module(_public_names()[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_public_names()])
