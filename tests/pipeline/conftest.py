"""Made up runs."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from efficientformer.pipeline.phases import slim, supernet
from efficientformer.pipeline.run import outputs

from .made_run import Run, draw


@pytest.fixture
def images(tmp_path) -> Path:
    return draw(tmp_path / "images", "cat", "dog")


@pytest.fixture
def run(tmp_path, images) -> Run:
    run = Run(tmp_path / "run", images)
    run.finish()
    return run


@pytest.fixture
def stub(monkeypatch):
    """A table that fits any device, and no network that cannot be reached."""
    table = SimpleNamespace(check_device=lambda *_: None, check_error=lambda _: None)
    monkeypatch.setattr(outputs.LatencyTable, "load", lambda _: table)
    for module in (slim, supernet):
        monkeypatch.setattr(module, "require_reachable", lambda *_: None)
