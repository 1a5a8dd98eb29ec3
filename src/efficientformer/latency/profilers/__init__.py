"""Time of every operator of a network, from the runtime's own profiler: one file per runtime.

A runtime renames, joins and adds operators. Each of its times comes with the operators of the network as written that
it stands for, so that readers need not guess from the runtime's names where a matrix product belongs.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from efficientformer.latency.profilers.profile import Profile
from efficientformer.latency.runtime import Runtime

if TYPE_CHECKING:
    from torch import nn

ROUNDS = 20
Profiler = Callable[["nn.Module", tuple[int, ...], int], Profile]
"""From a module in deploy form, its input shape and a number of rounds to the times of its operators."""


def find_profiler(runtime: Runtime) -> Profiler | None:
    """What profiles networks on a runtime of this process; None where nothing does. It raises LatencyError."""
    # A runtime of the same name on another device is of another class.
    match runtime.name:
        case "onnxruntime":
            from efficientformer.latency.profilers.onnxruntime import profile_onnxruntime
            from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime

            return partial(profile_onnxruntime, runtime) if isinstance(runtime, OnnxRuntime) else None
        case "openvino":
            from efficientformer.latency.profilers.openvino import profile_openvino
            from efficientformer.latency.runtimes.openvino import OpenVino

            return partial(profile_openvino, runtime) if isinstance(runtime, OpenVino) else None
        case "pytorch":
            from efficientformer.latency.profilers.pytorch import profile_pytorch
            from efficientformer.latency.runtimes.pytorch import PyTorch

            return partial(profile_pytorch, runtime) if isinstance(runtime, PyTorch) else None
    return None
