import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from torch import nn

from efficientformer.exporting.onnx import export_onnx
from efficientformer.latency.worker.connection import Transport
from efficientformer.latency.worker.source import PYTHON_CODE

SHAPE = (1, 3, 16, 16)


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "network.onnx"
    export_onnx(nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU()), SHAPE, path)
    return path


@pytest.fixture(scope="session")
def make_python(tmp_path_factory):
    """Makes an environment of its own that has nothing but the packages named, and gives its Python."""

    def make(*packages: str) -> Path:
        folder = tmp_path_factory.mktemp("environment")
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        (site_packages,) = folder.glob("lib/python*/site-packages")
        for package in packages:
            spec = find_spec(package)
            assert spec is not None and spec.origin is not None
            found = Path(spec.origin).parent
            for part in (found, found.with_name(f"{package}.libs")):
                if part.exists():
                    (site_packages / part.name).symlink_to(part)
        return folder / "bin" / "python"

    return make


def transport(*argv: str) -> Transport:
    return Transport(argv or (sys.executable, "-c", PYTHON_CODE), "The worker", shares_files=True, remedy="Look at it.")
