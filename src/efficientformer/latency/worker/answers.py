"""Answers of programs that are not ours to trust: workers, and programs that time model files.

Everything is bounded and of a known type before it is used. Each check returns what is wrong in words, or None.
"""

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from efficientformer.provenance import FINGERPRINT

MAX_LINE = 1 << 20
"""Bytes of a line of JSON."""
MAX_DEPTH = 8
MAX_TEXT = 10_000
RUNTIME_FIELDS = ("name", "version", "compute_unit", "precision", "options")
NUMBERS = re.compile(r"[<>|=]?[fiub]\d{1,2}")
"""Array types of numbers, as numpy writes them."""


def parse_object(line: bytes | str) -> dict[str, Any]:
    """The JSON object in a line. Raises ValueError for anything else, however deep or long it is."""
    if len(line) > MAX_LINE:
        raise ValueError(f"a line of {len(line)} bytes")
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are a ValueError
        raise ValueError(f"no JSON: {line[:80]!r}") from error
    if not isinstance(content, dict):
        raise ValueError(f"no JSON object: {line[:80]!r}")
    return content


def is_time(value: object) -> bool:
    """Whether a value is a number of milliseconds that a clock may show. A coarse one may show zero."""
    return _is_number(value) and value >= 0  # pyright: ignore[reportOperatorIssue] (a number)


def machine_problem(machine: object) -> str | None:
    """What is wrong with a description of a machine: `provenance.machine`, and whatever identifies it further."""
    if not isinstance(machine, dict) or not all(machine.get(name) for name in FINGERPRINT):
        return f'no "machine" with {", ".join(FINGERPRINT)}, which identify the device'
    if not (isinstance(machine["cpu"], str) and isinstance(machine["os"], str) and _is_count(machine["cores"])):
        return 'a "machine" whose cpu or os is no text, or whose cores are no number'
    return _plain_problem("machine", machine)


def runtime_problem(runtime: object) -> str | None:
    """What is wrong with a description of a runtime: `Runtime.describe`."""
    if not isinstance(runtime, dict) or set(runtime) != set(RUNTIME_FIELDS):
        return f'no "runtime" with exactly {", ".join(RUNTIME_FIELDS)}'
    if not all(isinstance(runtime[name], str) for name in RUNTIME_FIELDS[:-1]):
        return 'a "runtime" whose name, version, compute_unit or precision is no text'
    if not isinstance(runtime["options"], dict):
        return 'a "runtime" whose options are no object'
    return _plain_problem("runtime", runtime)


def answer_problem(op: str, answer: Mapping[str, Any], num_bytes: int) -> str | None:
    """What is wrong with the answer of a worker to a request, which came with `num_bytes` bytes."""
    if op != "output" and num_bytes:
        return f"{num_bytes} bytes that nobody asked for"
    return _CHECKS[op](answer, num_bytes) if op in _CHECKS else None


def _hello(answer: Mapping[str, Any], _: int) -> str | None:
    suffixes = answer.get("suffixes")
    if not isinstance(suffixes, list) or not all(isinstance(suffix, str) for suffix in suffixes):
        return 'no "suffixes" of files'
    return machine_problem(answer.get("machine")) or runtime_problem(answer.get("runtime"))


def _has(answer: Mapping[str, Any], _: int) -> str | None:
    is_answer = isinstance(answer.get("has"), bool) and isinstance(answer.get("path"), str)
    return None if is_answer else "not whether it has a file"


def _open(answer: Mapping[str, Any], _: int) -> str | None:
    memory_mib = answer.get("memory_mib", ...)
    return None if memory_mib is None or is_time(memory_mib) else f"a memory of {memory_mib!r} MiB"


def _sample(answer: Mapping[str, Any], _: int) -> str | None:
    ms = answer.get("ms")
    return None if is_time(ms) and ms else f"a latency of {ms!r} ms"


def _output(answer: Mapping[str, Any], num_bytes: int) -> str | None:
    dtype, shape = answer.get("dtype"), answer.get("shape")
    if not isinstance(dtype, str) or not NUMBERS.fullmatch(dtype):
        return f"an output of type {dtype!r}"
    if not isinstance(shape, list) or len(shape) > MAX_DEPTH or not all(size == 0 or _is_count(size) for size in shape):
        return f"an output of shape {shape!r}"
    size = math.prod(shape) * int(dtype.lstrip("<>|=")[1:])
    return None if size == num_bytes else f"an output of {num_bytes} bytes for {size}"


def _conditions(answer: Mapping[str, Any], _: int) -> str | None:
    return _plain_problem("conditions", dict(answer))


_CHECKS: dict[str, Callable[[Mapping[str, Any], int], str | None]] = {
    "hello": _hello,
    "conditions": _conditions,
    "has": _has,
    "open": _open,
    "sample": _sample,
    "output": _output,
}


def _plain_problem(name: str, value: Any, depth: int = 0) -> str | None:
    """What keeps a JSON value from being written into a record."""
    if depth > MAX_DEPTH:
        return f'a "{name}" that is nested more than {MAX_DEPTH} deep'
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            return f'a "{name}" with a text of {len(value)} characters'
        return f'a "{name}" with control characters' if any(map(_is_control, value)) else None
    if isinstance(value, int | float) and not _is_number(value):
        return None if isinstance(value, bool) else f'a "{name}" with {str(value)[:20]}, which is no finite number'
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return next(filter(None, (_plain_problem(name, part, depth + 1) for part in parts)), None)


def _is_control(char: str) -> bool:
    return unicodedata.category(char).startswith("C")


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 48
