"""What CONTRIBUTING.md says holds: the files it names exist, and what it calls noticed is noticed."""

import re
from pathlib import Path
from typing import get_args

import pytest

import efficientformer
from efficientformer.errors import LatencyError
from efficientformer.latency.runtime import RUNTIME_NAMES
from efficientformer.latency.runtimes import open_in_process
from efficientformer.report import wording
from efficientformer.search.actions import ActionName

REPOSITORY = Path(__file__).parents[2]
PACKAGE = Path(efficientformer.__file__).parent
CONTRIBUTING = REPOSITORY / "CONTRIBUTING.md"
if not CONTRIBUTING.exists():
    pytest.skip("an archive of sources has no CONTRIBUTING.md", allow_module_level=True)


def test_every_file_that_is_named_exists():
    named = re.findall(r"`([\w/.]+\.(?:py|md|toml))`", CONTRIBUTING.read_text(encoding="utf-8"))
    folders = (REPOSITORY, PACKAGE, PACKAGE / "pipeline" / "run", REPOSITORY / "tests" / "guards")
    assert len(named) > 20 and not [name for name in named if not any((folder / name).exists() for folder in folders)]


@pytest.mark.parametrize("name", RUNTIME_NAMES)
def test_every_runtime_can_be_opened_or_says_what_is_missing(name):
    try:
        assert open_in_process(name).name == name
    except LatencyError as error:
        assert name in str(error) or "GPU" in str(error)


def test_every_action_has_its_words():
    assert set(wording.ACTIONS) == set(get_args(ActionName))
