"""A phase that several processes share: one writes the records, and all do the same work."""

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from efficientformer.errors import UsageError
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.phase import Input, Phase
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.run_dir import RunDir


@dataclass
class Meeting:
    """What the processes of a world gather; here they are threads."""

    size: int = 2
    values: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.barrier = threading.Barrier(self.size, timeout=20)


@dataclass
class Rank:
    meeting: Meeting
    rank: int
    size: int = 2

    @property
    def is_first(self):
        return self.rank == 0

    def gather(self, value):
        self.meeting.barrier.wait()
        self.meeting.values[self.rank] = value
        self.meeting.barrier.wait()
        gathered = [self.meeting.values[rank] for rank in range(self.size)]
        self.meeting.barrier.wait()
        return gathered

    def of_first(self, answer):
        return self.gather(answer)[0]


def workspace(root, settings, world=None):
    run = Workspace(RunDir(root), settings, RunConsole(quiet=True))
    if world is not None:
        run.__dict__["world"] = world
    return run


@pytest.fixture
def photos(tmp_path):
    for part in ("train", "val"):
        for value, name in enumerate(("dark", "light")):
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for index in range(3):
                pixels = np.full((20, 20, 3), 200 * value + index, np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "photos"


def test_the_first_process_alone_writes_the_images_record(photos, tmp_path):
    settings = Settings(data=str(photos))
    for rank in (1, 0):
        run = workspace(tmp_path / str(rank), settings, Rank(Meeting(), rank))
        assert len(run.dataset.train) == 6 and len(run.training_images) == 6
        assert run.run_dir.data.exists() == (rank == 0)
    assert not list((tmp_path / "1").rglob("*")), "nothing at all is written by another process"


def shared(images=lambda run, _: {"the images": "same"}):
    return Phase("train", "", ("train", "seed"), (Input(images),), ("weights",), is_shared=True)


def run_both(phase, runs):
    """The outcome of each process: what it did, or how it failed."""
    outcomes: dict[int, Any] = {}

    def work(rank):
        def write(fingerprint):
            outcomes[f"work {rank}"] = fingerprint
            if rank == 0:
                runs[rank].run_dir.root.mkdir(exist_ok=True)
                runs[rank].run_dir.weights.write_text("trained")

        try:
            outcomes[rank] = phase.run(runs[rank], write)
        except UsageError as error:
            outcomes[rank] = str(error)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


class Files(RunDir):
    def __init__(self, root):
        super().__init__(root)
        self.weights = root / "weights"


@pytest.mark.parametrize(
    ("theirs", "images", "named"),
    [
        ({"train": {"lr": 0.5}}, "same", "train.lr"),
        ({"seed": 3}, "same", "seed changed from 0 to 3"),
        ({}, "other", "the images changed"),
    ],
)
def test_processes_with_other_settings_or_images_are_refused(tmp_path, theirs, images, named):
    meeting = Meeting()
    runs = [
        workspace(tmp_path, Settings.model_validate(given), Rank(meeting, rank))
        for rank, given in enumerate(({}, theirs))
    ]
    runs = [Workspace(Files(tmp_path), run.settings, run.console) for run in runs]
    for rank, run in enumerate(runs):
        run.__dict__["world"] = Rank(meeting, rank)
    phase = shared(lambda run, _: {"the images": "same" if run.world.is_first else images})
    outcomes = run_both(phase, runs)
    assert set(outcomes) == {0, 1}, "no work was done"
    for rank in range(2):
        assert "Process 1" in outcomes[rank] and named in outcomes[rank] and "\n" not in outcomes[rank]


def test_processes_with_equal_ones_share_the_work_and_one_keeps_the_stamp(tmp_path):
    meeting = Meeting()
    runs = [Workspace(Files(tmp_path / str(rank)), Settings(), RunConsole(quiet=True)) for rank in range(2)]
    for rank, run in enumerate(runs):
        run.__dict__["world"] = Rank(meeting, rank)
    outcomes = run_both(shared(), runs)
    assert outcomes[0] is outcomes[1] is True and outcomes["work 0"] == outcomes["work 1"]
    assert (tmp_path / "0" / "stamps" / "train.json").exists() and not (tmp_path / "1").exists()
