"""Our code as it travels: whole, readable by older Pythons, and enough for a bare one."""

import ast
import subprocess
import sys

import pytest

from efficientformer.errors import LatencyError
from efficientformer.latency.runtimes.onnxruntime import OnnxRuntime
from efficientformer.latency.worker.bootstrap import OLDEST_PYTHON
from efficientformer.latency.worker.connection import Connection
from efficientformer.latency.worker.local import python_transport
from efficientformer.latency.worker.runtime import WorkerRuntime
from efficientformer.latency.worker.source import PYTHON_CODE, modules, opening_bytes

from .conftest import SHAPE, transport


@pytest.mark.parametrize("name", sorted(modules()))
def test_the_oldest_python_can_read_every_module(name):
    source, _ = modules()[name]
    assert ast.parse(source, feature_version=OLDEST_PYTHON)


def test_the_bootstrap_is_readable_by_pythons_that_it_refuses():
    source, _ = modules()["efficientformer.latency.worker.bootstrap"]
    assert ast.parse(source, feature_version=(3, 4))


def test_the_command_needs_no_quoting_and_the_code_is_small():
    assert not set(PYTHON_CODE) & set("'\"\\$`!\n")
    assert len(opening_bytes()) < 500_000


def test_a_bare_environment_runs_networks_without_torch_and_without_us(make_python, onnx_file):
    python = make_python("numpy", "onnxruntime")
    runtime = WorkerRuntime(python_transport(str(python)), "onnxruntime")
    here = OnnxRuntime(1)
    assert runtime.describe() == here.describe() and runtime.machine() == here.machine()
    assert (runtime.open(onnx_file, SHAPE).output() == here.open(onnx_file, SHAPE).output()).all()
    absent = transport(str(python), "-c", "import torch")
    with pytest.raises(LatencyError, match="No module named 'torch'"):
        Connection(absent, "onnxruntime", 1)


def test_our_variables_do_not_lead_another_python_astray(make_python, monkeypatch, tmp_path):
    python = make_python("numpy", "onnxruntime")
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit('imported from here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert WorkerRuntime(python_transport(str(python)), "onnxruntime").describe()["name"] == "onnxruntime"


def test_what_the_far_side_lacks_is_named_with_the_command_to_run_there(make_python):
    python = make_python()
    with pytest.raises(LatencyError, match=rf"{python} has no numpy\. Run there: {python} -m pip install numpy"):
        WorkerRuntime(python_transport(str(python)), "onnxruntime")
    python = make_python("numpy")
    with pytest.raises(LatencyError, match=rf"{python} has no MNN\. Run there: {python} -m pip install MNN"):
        WorkerRuntime(python_transport(str(python)), "mnn")


def test_a_python_that_is_too_old_says_so(make_python):
    python = str(make_python())
    old = transport(python, "-c", f"import sys;sys.version_info=(3,9,1);{PYTHON_CODE}")
    with pytest.raises(LatencyError, match=r"needs 3\.10 or newer"):
        Connection(old, "onnxruntime", 1)


def test_a_python_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(LatencyError, match=r"There is no Python at .*bin/python"):
        python_transport(str(tmp_path / "bin" / "python"))


def test_no_shipped_module_that_a_worker_imports_needs_pydantic():
    """Boards have numpy and a runtime; records are read elsewhere."""
    code = (
        "import sys; sys.modules['pydantic'] = None\n"
        "import efficientformer.latency.worker.serve, efficientformer.records, efficientformer.exporting.onnx_graph\n"
        "assert 'efficientformer.reading' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
