"""Workers on this machine, run by this Python or by that of another environment."""

import importlib.util
import os
import shutil
import sys

from efficientformer.errors import LatencyError
from efficientformer.latency.worker.connection import Transport
from efficientformer.latency.worker.packages import PACKAGES
from efficientformer.latency.worker.runtime import WorkerRuntime
from efficientformer.latency.worker.source import PYTHON_CODE

# Either would make the other environment import packages of ours.
PYTHON_VARIABLES = ("PYTHONPATH", "PYTHONHOME")


def local_worker(name: str, threads: int, converter_python: str | None = None) -> WorkerRuntime:
    """A runtime of this Python in a process of its own. Raises ImportError when it is not installed.

    converter_python: makes files for LiteRT, see `exporting.formats.litert`.
    """
    module, _ = PACKAGES[name]
    if importlib.util.find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    where = f"The worker of the runtime {name!r}"
    remedy = f"Check that `{sys.executable} -c 'import {module}'` works."
    transport = Transport((sys.executable, "-c", PYTHON_CODE), where, shares_files=True, remedy=remedy)
    return WorkerRuntime(transport, name, threads, converter_python=converter_python)


def python_transport(python: str) -> Transport:
    """A worker run by another Python on this machine. Raises LatencyError when there is none at that path."""
    program = shutil.which(os.path.expanduser(python))  # noqa: PTH111 (bare names are looked up as well)
    if program is None:
        raise LatencyError(f"There is no Python at {python}. Give the path of an environment's bin/python.")
    environment = {name: value for name, value in os.environ.items() if name not in PYTHON_VARIABLES}
    return Transport(
        (program, "-c", PYTHON_CODE),
        f"The worker run by {program}",
        shares_files=True,
        remedy=f"Check that `{program} -V` prints a version.",
        environment=environment,
    )
