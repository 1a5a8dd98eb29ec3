"""A program as `--device command:...` wants it: it times an ONNX file with ONNX Runtime and prints JSON.

See docs/devices.md for the contract. `--clock` is an argument of its own, given before those of the contract.
"""

import argparse
import json
import os
import platform
import time

import numpy as np
import onnxruntime

CLOCKS = {"cpu": time.thread_time_ns, "wall": time.perf_counter_ns}


def describe(clock: str, threads: int) -> dict:
    return {
        "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "os": platform.system()},
        "runtime": {
            "name": "onnxruntime",
            "version": onnxruntime.__version__,
            "compute_unit": "CPUExecutionProvider",
            "precision": "fp32",
            "options": {"intra_op_threads": threads},
        },
        "format": "onnx",
        "clock": clock,
    }


def time_model(path: str, shape: list[int], threads: int, warmup: int, runs: int, clock: str) -> list[float]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: np.ones(shape, dtype=np.float32)}
    read, samples_ms = CLOCKS[clock], []
    for index in range(warmup + runs):
        start = read()
        session.run(None, feed)
        if index >= warmup:
            samples_ms.append((read() - start) / 1e6)
    return samples_ms


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    parser.add_argument("--describe", action="store_true")
    parser.add_argument("--model")
    parser.add_argument("--input")
    for name in ("--threads", "--warmup", "--runs"):
        parser.add_argument(name, type=int)
    given = parser.parse_args()
    if given.describe:
        print(json.dumps(describe(given.clock, given.threads)))  # noqa: T201
    else:
        shape = [int(size) for size in given.input.split("x")]
        times = time_model(given.model, shape, given.threads, given.warmup, given.runs, given.clock)
        print(json.dumps({"samples_ms": times}))  # noqa: T201
