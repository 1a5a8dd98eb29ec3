import pytest

from efficientformer.latency.timing import timer


@pytest.fixture(autouse=True)
def windows_of_one_sample(monkeypatch):
    """Every sample costs the start of a program, which warms up by itself; how a warm-up ends has its own tests."""
    monkeypatch.setattr(timer, "WARMUP_RUNS", 1)
    monkeypatch.setattr(timer, "MAX_WARMUP_WINDOWS", 1)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "a model.onnx"
    path.write_bytes(b"only the program reads it")
    return path
