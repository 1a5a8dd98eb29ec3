from collections.abc import Callable
from pathlib import Path

import pytest

from .made_run import V2_SPACE, write_run


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "fruit & co")


@pytest.fixture
def v2_run_dir(tmp_path: Path) -> Path:
    return write_run(tmp_path / "v2", V2_SPACE)


@pytest.fixture(scope="session")
def write_large_run() -> Callable[..., Path]:
    return write_run
