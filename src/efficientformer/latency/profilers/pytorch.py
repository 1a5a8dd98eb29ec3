"""PyTorch's profiler: the operators that Python calls, each with the module whose forward calls it."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from efficientformer.exporting.files import input_sample
from efficientformer.latency.profilers.profile import Operator, OperatorTime, Profile
from efficientformer.latency.profilers.turns import run_profiled, time_in_turns
from efficientformer.latency.runtimes.pytorch import PyTorch, inference
from efficientformer.latency.timing.quiet import quiet_median

US_PER_MS = 1e3
_NUMBER = re.compile(r"/(\d+)(?=/|$)")  # "blocks/0" is "blocks.0", as in exported files
SCOPE = "module:"
CALL = "call"
OPERATOR = "aten::"
LOG_LEVEL, SILENT = "KINETO_LOG_LEVEL", "99"
SOURCE = "PyTorch's profiler: quiet medians of each operator's time; the rest is Python between them"


def profile_pytorch(runtime: PyTorch, module: nn.Module, input_shape: tuple[int, ...], rounds: int) -> Profile:
    """Times of the operators that the modules of a network call. Raises LatencyError."""
    network = runtime.prepare(module, input_shape)
    run = inference(module, torch.from_numpy(input_sample(input_shape)), runtime.threads)
    operators: list[Operator] = []
    turns_ms = []

    def call() -> None:
        with record_function(CALL):
            run()

    def profile_turn(rounds: int) -> None:
        with _scopes(module), _silenced(), profile(activities=[ProfilerActivity.CPU]) as profiler:
            run_profiled(call, runtime.threads, rounds)
        operators[:], times_ms = _operator_times(list(profiler.events() or []))
        turns_ms.append(times_ms)

    total_ms = time_in_turns(network, profile_turn, runtime.threads, rounds)
    times_ms = quiet_median(np.concatenate(turns_ms))
    return Profile(
        source=SOURCE,
        is_shares=False,
        total_ms=total_ms,
        operators=tuple(OperatorTime(op.kind, float(ms), (op,)) for op, ms in zip(operators, times_ms, strict=True)),
        written=tuple(operators),
    )


@contextmanager
def _silenced() -> Iterator[None]:
    """Without the profiler's messages to the terminal, such as that it found no graphics card."""
    before = os.environ.get(LOG_LEVEL)
    os.environ[LOG_LEVEL] = SILENT
    try:
        yield
    finally:
        if before is None:
            del os.environ[LOG_LEVEL]
        else:
            os.environ[LOG_LEVEL] = before


@contextmanager
def _scopes(module: nn.Module) -> Iterator[None]:
    """While this lasts, every part's forward is a range of the profile that is named after its path."""
    with ExitStack() as hooks:
        open_ranges: list[Any] = []

        def leave(*_: Any) -> None:
            open_ranges.pop().__exit__(None, None, None)

        for path, part in module.named_modules():
            name = SCOPE + _NUMBER.sub(r".\1", path.replace(".", "/"))

            def enter(*_: Any, name: str = name) -> None:
                open_ranges.append(record_function(name))
                open_ranges[-1].__enter__()

            hooks.callback(part.register_forward_pre_hook(enter).remove)
            hooks.callback(part.register_forward_hook(leave).remove)
        yield


def _operator_times(events: list[Any]) -> tuple[list[Operator], np.ndarray]:
    """Outermost operators of a call in order, and milliseconds (calls, operators)."""
    operators: list[Operator] = []
    times_ms: list[list[float]] = []
    for event in sorted(events, key=lambda event: event.time_range.start):
        if event.name == CALL:
            times_ms.append([])
        parent = event.cpu_parent
        if event.name.startswith(OPERATOR) and parent is not None and not parent.name.startswith(OPERATOR):
            if len(times_ms) == 1:
                operators.append(Operator(event.name.removeprefix(OPERATOR), parent.name.removeprefix(SCOPE)))
            times_ms[-1].append(event.cpu_time_total / US_PER_MS)
    return operators, np.array(times_ms)
