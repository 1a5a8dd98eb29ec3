import pytest

from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import MB3D


@pytest.fixture
def smallest_space():
    """A space whose table needs few chains, since every sample on a device costs the start of a program."""
    return v1_space(
        name="smallest",
        max_widths=(16, 16, 16, 16),
        max_depths=(1, 1, 1, 2),
        max_mb3d=1,
        stem_strides=(2, 1),
        mb3d=MB3D(num_heads=2, key_dim=8, value_ratio=2),
    )


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "a model.onnx"
    path.write_bytes(b"only the program reads it")
    return path
