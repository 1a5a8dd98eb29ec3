"""Small sets of real image files and small runs, for tests of the whole way."""

import contextlib
import io
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from efficientformer.cli.app import run
from efficientformer.latency.tables.build import build_table
from efficientformer.latency.timing import timer
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights

from ..models.small import SMALL_V2

SCALE = f"command:sh {Path(__file__).with_name('scale.sh')}"
"""A device of known latency: runs on it are compared step by step, and no busy machine changes where they end."""
SPACE = Path(__file__).with_name("small.yaml")
SMALL = [
    *("--preset", "quick", "--resolution", "16", "--seed", "1"),
    *("--verify.rounds", "40", "--supernet.epochs", "2", "--supernet.batch-size", "16", "--slim.bn-images", "32"),
    *("--train.epochs", "2", "--train.batch-size", "16", "--training-processes", "1", "--training-threads", "1"),
]
TINY = [
    *(*SMALL, "--space", str(SPACE), "--device", f"{SCALE} first", "--slim.actions", "paper", "--slim.stride", "0"),
    *("--table.rounds", "2", "--slim.polish", "6", "--slim.workers", "2"),
    *("--budget", "60%", "--budget", "40%"),
]


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Three classes of noisy stripes, in train and val folders, with one broken file."""
    root = tmp_path_factory.mktemp("images") / "stripes"
    generator = np.random.default_rng(0)
    for part, count in (("train", 24), ("val", 8)):
        for label, name in enumerate(("flat", "across", "down")):
            folder = root / part / name
            folder.mkdir(parents=True)
            for index in range(count):
                wave = np.sin(np.arange(24) * 1.2) * 80 * (label > 0)
                pixels = 128 + generator.normal(0, 20, (24, 24)) + (wave[:, None] if label == 1 else wave[None, :])
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB").save(folder / f"{index}.png")
    (root / "train" / "flat" / "broken.png").write_bytes(b"this is not an image")
    return root


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """Of a small classifier for five classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "net" / "small.safetensors"
    save_weights(Network(SMALL_V2, num_classes=5, resolution=64), path, {"classes": json.dumps(list("abcde"))})
    return path


PROGRAM = """
import os, signal, sys
for number, path in enumerate(printed, start=1):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test runner in the background ignores Ctrl-C
from efficientformer.cli.app import main
main(arguments)
"""


class Started:
    """The program in a process of its own, as subprocess.Popen knows it."""

    def __init__(self, fork: Callable[..., Any], folder: Path, arguments: list[str]) -> None:
        self._printed = [folder / "stdout", folder / "stderr"]
        self._process = fork(target=exec, args=(PROGRAM, {"arguments": arguments, "printed": self._printed}))
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self) -> tuple[str, ...]:
        self._process.join()
        return tuple(path.read_text(encoding="utf-8") if path.exists() else "" for path in self._printed)


@pytest.fixture(scope="session")
def command(tmp_path_factory) -> Callable[..., Started]:
    """Starts the program in a process of its own, forked from one that has imported what takes seconds and did no
    more."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["efficientformer.pipeline.design", "torch._dynamo", "torch.onnx", "timm"])

    def start(*arguments: Any) -> Started:
        return Started(context.Process, tmp_path_factory.mktemp("printed"), [*map(str, arguments)])

    return start


@pytest.fixture
def program(capsys):
    """The program in this process, run to its end: the exit code, and what went to stdout and stderr."""

    def finish(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return (run([*map(str, arguments)]), *capsys.readouterr())

    return finish


def answer(*arguments: str | Path) -> tuple[Any, str]:
    """The JSON that the program in this process printed, which ended well, and what it said."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = run([*map(str, arguments), "--json"])
    assert code == 0, stderr.getvalue()
    return json.loads(stdout.getvalue()), stderr.getvalue()


@contextlib.contextmanager
def few_samples() -> Iterator[None]:
    """Tables of few networks, and warm-ups of few samples: a device of known latency is the same at every time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(build_table.__kwdefaults__, "num_networks", 8)
        patch.setattr(timer, "WARMUP_RUNS", 1)
        yield


@pytest.fixture(autouse=True, scope="module")
def few_samples_in_this_process():
    with few_samples():
        yield


@pytest.fixture(scope="session")
def designed(photos, tmp_path_factory) -> tuple[Path, list, str]:
    """A finished tiny run: its directory, the JSON it printed, and what it said."""
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    with few_samples():
        return run_dir, *answer("design", "--data", photos, "--run-dir", run_dir, *TINY)
