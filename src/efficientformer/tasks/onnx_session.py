"""Sessions of exported files: what `tasks.exported_file` asks of a runtime, and ONNX Runtime, which answers it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from efficientformer.errors import LatencyError, RecordError
from efficientformer.exporting.files import in_one_line
from efficientformer.exporting.onnx_graph import last_operator, read_graph

if TYPE_CHECKING:
    import onnxruntime

ERRORS_ONLY = 3


class Declared(NamedTuple):
    """An input or output as a file declares it. Sizes that are open are None or a name; see `numpy_type` for types."""

    name: str
    shape: list[Any]
    type: str


class Session(Protocol):
    """A file that a runtime has loaded, on the CPU."""

    @property
    def inputs(self) -> Sequence[Declared]: ...

    @property
    def outputs(self) -> Sequence[Declared]: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...

    def run(self, output: str, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        """An output for these inputs. Raises whatever the runtime raises."""
        ...

    def last_operator(self, output: str) -> str | None:
        """The operator that an output comes from, by its name in ONNX. Raises RecordError if it cannot be read."""
        ...


class OnnxSession:
    """An ONNX file in ONNX Runtime, with all threads or with some that do not spin between runs. Raises RecordError for
    a file that cannot be loaded."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._path, self._session = path, _open(path, threads)
        self.inputs = [Declared(item.name, item.shape, item.type) for item in self._session.get_inputs()]
        self.outputs = [Declared(item.name, item.shape, item.type) for item in self._session.get_outputs()]
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(self, output: str, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.asarray(self._session.run([output], feed)[0])

    def last_operator(self, output: str) -> str | None:
        try:
            return last_operator(read_graph(self._path, weights=False), output)
        except LatencyError as error:
            raise RecordError(str(error)) from error


def _open(path: Path, threads: int | None) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no base class of their own
        raise RecordError(
            f"{path} is not an ONNX file that this ONNX Runtime can load ({in_one_line(error)})."
        ) from error
