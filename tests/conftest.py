"""What every test starts from."""

import pytest
import torch


@pytest.fixture(autouse=True)
def the_same_random_numbers_every_time():
    """Whatever ran before in this process: rounding that is compared with a limit then never meets a new image."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def a_home_of_the_tests(tmp_path_factory):
    """The key and the cache of this user stay as they are; processes that tests start share those of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
