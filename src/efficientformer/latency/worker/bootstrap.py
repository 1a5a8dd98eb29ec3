"""What a worker runs first: it receives our sources through its stdin and imports them from memory.

Nothing is installed on the other machine and none of our code is left there. Old Pythons must be able to parse this
file, to report that they are too old.
"""

import importlib.abc
import importlib.util
import json
import os
import sys
import zlib

# The shipped files use `match` and `zip(strict=True)`.
OLDEST_PYTHON = (3, 10)


class Sources(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Imports from a dictionary: module name to (source, whether it is a package)."""

    def __init__(self, modules):
        self._modules = modules

    def find_spec(self, fullname, path, target=None):
        return importlib.util.spec_from_loader(fullname, self) if fullname in self._modules else None

    def get_filename(self, fullname):
        return fullname.replace(".", "/") + ("/__init__.py" if self.is_package(fullname) else ".py")

    def get_source(self, fullname):
        return self._modules[fullname][0]

    def is_package(self, fullname):
        return self._modules[fullname][1]


def main():
    requests = sys.stdin.buffer
    # Runtimes print to C's stdout; only answers may go through this pipe.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    modules = json.loads(zlib.decompress(requests.read(int(requests.readline()))).decode())
    if sys.version_info < OLDEST_PYTHON:
        refuse(answers, "is Python {}, and a worker needs {}.{} or newer.", sys.version.split()[0], *OLDEST_PYTHON)
    sys.meta_path.insert(0, Sources(modules))
    try:
        from efficientformer.latency.worker.serve import serve
    except ModuleNotFoundError as error:
        refuse(answers, "has no {0}. Run there: {1} -m pip install {0}", error.name, sys.executable)
    else:
        serve(requests, answers)


def refuse(answers, text, *arguments):
    message = {"error": sys.executable + " " + text.format(*arguments), "bytes": 0}
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()
    sys.exit(1)


if __name__ == "__main__":
    main()
