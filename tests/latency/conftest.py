import pytest

from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import MB3D
from efficientformer.latency.devices import open_runtime

PACKAGES = {"openvino": "efficientformer.latency.runtimes.openvino", "mnn": "MNN"}


def small_space(name, **sizes):
    return v1_space(name=name, stem_strides=(2, 1), mb3d=MB3D(num_heads=2, key_dim=8, value_ratio=2), **sizes)


@pytest.fixture
def tiny_space():
    return small_space("tiny", max_widths=(16, 16, 32, 32), max_depths=(1, 1, 2, 2), max_mb3d=3)


@pytest.fixture
def smallest_space():
    """A space whose table needs few chains, where every sample costs the start of a program or a file a conversion."""
    return small_space("smallest", max_widths=(16, 16, 16, 16), max_depths=(1, 1, 1, 2), max_mb3d=1)


@pytest.fixture(params=["onnxruntime", "openvino", "mnn", "pytorch"])
def runtime(request):
    """Runtimes that prepare a chain of a tiny space in a fraction of a second."""
    if request.param in PACKAGES:
        pytest.importorskip(PACKAGES[request.param])
    return open_runtime(request.param, threads=1)
