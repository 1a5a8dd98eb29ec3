"""TensorRT: an engine built from the ONNX file, timed by events of the device."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from efficientformer.errors import LatencyError
from efficientformer.exporting.files import check_only_input, existing_file, input_sample
from efficientformer.latency.runtime import InThisProcess, OpensFiles
from efficientformer.latency.runtimes.cuda import OnDevice, require_cuda

if TYPE_CHECKING:
    tensorrt: Any = None  # Where the package is not installed, pyright takes this very file for it.
else:
    import tensorrt


class _Messages(tensorrt.ILogger):
    """Keeps TensorRT's error messages, which it would otherwise print to standard output."""

    def __init__(self) -> None:
        tensorrt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: Any, msg: str) -> None:
        if severity in (tensorrt.ILogger.INTERNAL_ERROR, tensorrt.ILogger.ERROR):
            self.errors.append(msg)


class TensorRT(OpensFiles, InThisProcess):
    """Engines for the current CUDA device, in single precision without TensorFloat-32."""

    name = "tensorrt"
    suffixes = (".onnx",)

    def __init__(self, threads: int = 1) -> None:
        require_cuda(self.name, threads)
        super().__init__(threads)

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": tensorrt.__version__,
            "compute_unit": torch.cuda.get_device_name(),
            "precision": "fp32",
            "options": {
                "timed_by": "events",
                "tf32": False,
                "cuda": torch.version.cuda,
                "intra_op_threads": self.threads,
            },
        }

    def open(self, path: Path, input_shape: tuple[int, ...]) -> OnDevice:
        messages = _Messages()
        engine = _engine(existing_file(path, self.suffixes), input_shape, messages)
        context = engine.create_execution_context()
        stream = torch.cuda.Stream()
        x = torch.from_numpy(input_sample(input_shape)).cuda()
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        (input_name,) = (name for name in names if engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT)
        context.set_input_shape(input_name, input_shape)
        outputs = {
            name: torch.empty(tuple(context.get_tensor_shape(name)), device="cuda")
            for name in names
            if name != input_name
        }
        tensors = {input_name: x, **outputs}
        for name, tensor in tensors.items():
            context.set_tensor_address(name, tensor.data_ptr())
        torch.cuda.synchronize()

        def launch(engine: Any = engine, tensors: dict[str, torch.Tensor] = tensors) -> None:
            """The context reads and writes the memory of the tensors, which live as long as this function."""
            if not context.execute_async_v3(stream.cuda_stream):
                raise LatencyError(f"{path} cannot be run by TensorRT: {' '.join(messages.errors)}")

        return OnDevice(launch, stream, next(iter(outputs.values())))


def _engine(path: Path, input_shape: tuple[int, ...], messages: _Messages) -> Any:
    builder = tensorrt.Builder(messages)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, messages)
    if not parser.parse_from_file(str(path)):
        raise LatencyError(f"TensorRT cannot open {path}: {' '.join(messages.errors)}. Export the network again.")
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    check_only_input(
        path, [(item.name, [size if size >= 0 else None for size in item.shape]) for item in inputs], input_shape
    )
    profile = builder.create_optimization_profile()
    profile.set_shape(inputs[0].name, input_shape, input_shape, input_shape)
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise LatencyError(f"TensorRT cannot build an engine from {path}: {' '.join(messages.errors)}")
    return tensorrt.Runtime(messages).deserialize_cuda_engine(plan)
