"""Open an exported file in the runtime that its ending names: ONNX Runtime, or OpenVINO for `.xml`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.errors import LatencyError, RecordError
from efficientformer.exporting.onnx_graph import PASSED_ON
from efficientformer.latency.runtimes import usable
from efficientformer.pipeline.run.console import usable_cores
from efficientformer.tasks.exported_file import KNOWN, ExportedFile
from efficientformer.tasks.onnx_session import Declared

OPENVINO = ".xml"
EXPORTED = (".onnx", OPENVINO)
METADATA = "framework"
"""Where OpenVINO's converter keeps the metadata of an ONNX file."""
_OF_ONNX = {"SoftMax": "Softmax", "Convert": "Cast"}
"""Operators of OpenVINO, by those of ONNX that they are called after."""


def open_file(path: Path, threads: int | None = None) -> ExportedFile:
    """An exported file; threads: of its runtime, by default all. Raises RecordError for one that cannot be loaded,
    LatencyError without the package of its runtime."""
    if path.suffix.lower() != OPENVINO:
        return ExportedFile(path, threads)
    return ExportedFile(path, session=OpenVinoSession(path, threads or usable_cores()))


class OpenVinoSession:
    """A file of OpenVINO, whose weights lie beside it (`.bin`), in single precision: a `tasks.onnx_session.Session`."""

    def __init__(self, path: Path, threads: int) -> None:
        weights = path.with_suffix(".bin")
        if not weights.is_file():
            raise RecordError(f"{path} has no weights: {weights.name} is not beside it. Copy both files together.")
        with usable("openvino", threads):
            from efficientformer.latency.runtimes.openvino import OpenVino, declared

            runtime = OpenVino(threads)
        try:
            self._model = model = runtime.read(path)
            self._request = runtime.compile(model).create_infer_request()
        except (LatencyError, RuntimeError) as error:
            raise RecordError(str(error)) from error

        def of(items: Any) -> list[Declared]:
            return [Declared(*declared(item), item.element_type.get_type_name()) for item in items]

        self.inputs, self.outputs = of(model.inputs), of(model.outputs)

    @property
    def metadata(self) -> Mapping[str, str]:
        paths = {name: [METADATA, name] for name in KNOWN if self._model.has_rt_info([METADATA, name])}
        return {name: self._model.get_rt_info(path).astype(str) for name, path in paths.items()}

    def run(self, output: str, feed: Mapping[str, np.ndarray]) -> np.ndarray:
        self._request.infer(dict(feed))
        return self._request.get_tensor(output).data.copy()

    def last_operator(self, output: str) -> str | None:
        node = self._model.output(output).get_node()
        while True:
            kind = node.get_type_name()
            kind = _OF_ONNX.get(kind, kind)
            if kind not in (*PASSED_ON, "Result") or not node.get_input_size():
                return kind
            node = node.input_value(0).get_node()
