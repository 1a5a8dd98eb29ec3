"""What every test starts from."""

import os

# pytest runs as many processes as CI has cores. With more threads than cores, PyTorch's threads mostly wait in a loop
# for one another. Processes that tests start inherit it.
os.environ["OMP_NUM_THREADS"] = "1"
# Several would be processes that import PyTorch for seconds, and compile a few networks.
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

import pytest
import torch


def pytest_collection_modifyitems(items):
    """Files with slow tests first: a process that gets a long one last leaves the others without work."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def the_same_random_numbers_and_one_thread_every_time():
    """Whatever ran before in this process: rounding that is compared with a limit then never meets a new image."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)  # fixtures of a module come before those of a test


@pytest.fixture(autouse=True, scope="session")
def a_home_of_the_tests(tmp_path_factory):
    """The key and the cache of this user stay as they are; processes that tests start share those of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
