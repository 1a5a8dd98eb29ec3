"""Our own code as sent to a worker: the light modules, and the command that makes a bare Python import them."""

import json
import zlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2]
ROOT_MODULES = ("__init__.py", "errors.py", "leftovers.py", "provenance.py", "records.py")
FOLDERS = ("exporting", "latency")
# Read by every shell alike, whatever its rules of quoting: no quotes, no line breaks.
PYTHON_CODE = "import sys;exec(sys.stdin.buffer.readline())"


def modules() -> dict[str, tuple[str, bool]]:
    """Every module that a worker may import: name to (source, whether it is a package)."""
    paths = [PACKAGE / name for name in ROOT_MODULES]
    paths += [path for folder in FOLDERS for path in sorted((PACKAGE / folder).rglob("*.py"))]
    return {_name(path): (path.read_text(encoding="utf-8"), path.stem == "__init__") for path in paths}


@cache
def opening_bytes() -> bytes:
    """What a Python started on `PYTHON_CODE` reads first: `bootstrap.py` in one line, then the modules."""
    bootstrap = Path(__file__).with_name("bootstrap.py").read_text(encoding="utf-8")
    packed = zlib.compress(json.dumps(modules()).encode())
    # Without the current folder, whose files may have the names of modules.
    return f"sys.path[:]=filter(None,sys.path);exec({bootstrap!r})\n{len(packed)}\n".encode() + packed


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
