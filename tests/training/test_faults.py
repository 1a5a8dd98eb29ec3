"""What ends a training from outside: the last good checkpoint stays, and the training goes on to the same weights."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.loading.loader import train_batches
from efficientformer.data.mixing import build_mixing
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import DataError, RecordError, TerminatedError
from efficientformer.tasks.classification.kind import ONE_LABEL
from efficientformer.training.termination import termination

from .kills import Killed, killing_after
from .test_not_finite import RECIPE, Spoiled, saved, train

ROOT = Path(__file__).parents[2]


class Calling(Spoiled):
    """Calls something at a step."""

    def __init__(self, step, call):
        super().__init__([])
        self.step, self.call = step, call

    def loss(self, model, batch, progress):
        if round(progress * self.num_steps) == self.step:
            self.call()
        return super().loss(model, batch, progress)


def ends_alike(folder, other, **options):
    """Whether the training goes on to what one without a fault ends with."""
    ended = [train(path, Spoiled([]), **options)[0].state_dict() for path in (folder, other)]
    return all(torch.equal(tensor, ended[1][name]) for name, tensor in ended[0].items())


@pytest.mark.parametrize("seed", range(3))
def test_a_training_that_is_killed_at_random_while_it_writes_ends_with_the_same_bits(tmp_path, seed):
    """With everything that draws or remembers: workers, mixup and CutMix, adaptive clipping, accumulated batches, a
    moving average. A kill leaves half a checkpoint, and the one before it counts."""
    photos(tmp_path)
    batches = batches_of(tmp_path, 1)
    options = {"batches": lambda step: batches(2 * step), "recipe": replace(RECIPE, accumulate=2, agc=0.02)}
    task, generator = ONE_LABEL.task(build_mixing(0.8, 1.0, 4, 0.1)), random.Random(seed)
    whole, _ = train(tmp_path / "whole", task, **options)
    steps = sorted(generator.sample(range(2, 12), 3))
    for step in steps:
        with pytest.raises(Killed):
            train(tmp_path / "killed", task, **options, on_step=killing_after([step]))
        checkpoint = tmp_path / "killed" / "checkpoint.pt"
        content = checkpoint.read_bytes()
        checkpoint.write_bytes(content[: generator.randrange(len(content))])
    with pytest.warns(UserWarning, match="is damaged"):
        killed, _ = train(tmp_path / "killed", task, **options)
    assert all(torch.equal(tensor, killed.state_dict()[name]) for name, tensor in whole.state_dict().items()), steps
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "killed")]
    assert logs[0] == logs[1]


@contextlib.contextmanager
def files_of_at_most(num_bytes):
    """As if the disk were full: no file can become longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def photos(folder):
    for index in range(24):
        path = folder / "photos" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)


def batches_of(folder, workers):
    images = load_image_folder(folder / "photos", val_fraction=0.2, seed=0).train
    view = ONE_LABEL.train_view(Preprocessing(8), "standard")
    return lambda step: train_batches(images, view, batch_size=6, seed=1, start_step=step, workers=workers)


def test_a_full_disk_ends_a_training_with_a_remedy_and_keeps_the_last_checkpoint(tmp_path):
    with contextlib.ExitStack() as disk:
        fills = Calling(5, lambda: disk.enter_context(files_of_at_most(1000)))
        with pytest.raises(RecordError, match=r"Cannot write .*checkpoint.pt: .*Free some space"):
            train(tmp_path / "full", fills)
    assert saved(tmp_path / "full")["counters"]["step"] == 5
    assert ends_alike(tmp_path / "full", tmp_path / "whole")


@pytest.mark.parametrize("workers", [0, 1])
def test_images_that_vanish_end_a_training_and_come_back(tmp_path, workers):
    """As if the disk that holds them were taken away."""
    photos(tmp_path)
    batches = batches_of(tmp_path, workers)
    vanish = Calling(4, lambda: (tmp_path / "photos").rename(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"photos.*has disappeared. Restore"):
        train(tmp_path / "vanished", vanish, batches=batches)
    assert 5 <= saved(tmp_path / "vanished")["counters"]["step"] < 12
    (tmp_path / "elsewhere").rename(tmp_path / "photos")
    assert ends_alike(tmp_path / "vanished", tmp_path / "whole", batches=batches)


def test_sigterm_ends_a_training_after_its_step_with_a_checkpoint(tmp_path):
    kill = Calling(6, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TerminatedError, match="after step 7 of 12"), termination() as is_terminated:
        train(tmp_path / "killed", kill, is_terminated=is_terminated, interval_s=1e9)
    assert saved(tmp_path / "killed")["counters"]["step"] == 7
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert ends_alike(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_sigterm_to_every_process_of_a_training_ends_it_with_a_checkpoint_and_no_process_stays(tmp_path):
    """As schedulers send it: also to the processes that load images."""
    script = (
        "import os, signal\nfrom tests.training.test_faults import Calling, batches_of, train, termination\n"
        f"root = __import__('pathlib').Path({str(tmp_path)!r})\n"
        "kill = Calling(6, lambda: os.killpg(0, signal.SIGTERM))\n"
        "with termination() as is_terminated:\n"
        "    train(root / 'killed', kill, batches=batches_of(root, 1), is_terminated=is_terminated, interval_s=1e9)\n"
    )
    photos(tmp_path)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, start_new_session=True)
    assert "TerminatedError: Terminated after step 7 of 12" in done.stderr, done.stderr
    assert ends_alike(tmp_path / "killed", tmp_path / "whole", batches=batches_of(tmp_path, 0))


def test_sigterm_is_left_to_a_program_that_handles_it_and_to_other_threads(tmp_path):
    came, inside = [], []
    signal.signal(signal.SIGTERM, lambda *_: came.append(True))
    try:
        with termination() as is_terminated:
            os.kill(os.getpid(), signal.SIGTERM)
            assert came and not is_terminated()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def elsewhere():
        with termination() as is_terminated:
            inside.append(is_terminated())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert inside == [False] and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
