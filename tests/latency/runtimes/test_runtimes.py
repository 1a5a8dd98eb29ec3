import pytest

from efficientformer.errors import UsageError
from efficientformer.latency.runtimes import RUNTIME_NAMES, open_runtime


@pytest.mark.parametrize("name", RUNTIME_NAMES)
def test_runtimes_open_by_name_and_describe_themselves(name):
    description = open_runtime(name, 2).describe()
    assert set(description) == {"name", "version", "compute_unit", "options"}
    assert description["name"] == name and description["version"]
    assert description["options"]["intra_op_threads"] == 2


def test_unknown_runtimes_and_no_threads_are_refused():
    with pytest.raises(UsageError, match="onnxruntime, pytorch"):
        open_runtime("abacus")
    with pytest.raises(UsageError, match="at least one thread"):
        open_runtime("onnxruntime", 0)
