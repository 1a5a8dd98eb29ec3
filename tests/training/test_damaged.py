"""Damaged files: truncated at many lengths, with bytes flipped at many places.

Each is either read as it was or refused in one line that names it.
"""

import os
import random
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from efficientformer.errors import RecordError, TrainingError
from efficientformer.models.network import Network
from efficientformer.models.weights.load import load_network, load_weights, save_weights
from efficientformer.models.weights_file import read_tensors, write_weights_file
from efficientformer.training.checkpoint import CheckpointFile

from ..models.small import SMALL, SMALL_V2
from .test_not_finite import Spoiled, train

STATE = {"model": {"weight": torch.arange(300.0)}, "counters": {"step": 7, "loss_sum": 1.5}}
EARLIER = {"model": {"weight": torch.zeros(300)}, "counters": {"step": 6, "loss_sum": 1.0}}


def damaged(content: bytes, count: int, head: int = 3000):
    """Copies of a file: cut short, a byte changed, a stretch zeroed. More of them where its structure is."""
    generator = random.Random(0)
    yield from (content[: len(content) * part // 20] for part in range(20))
    for index in range(count):
        position = generator.randrange(min(head, len(content)) if index % 2 else len(content))
        position = len(content) - 1 - position if index % 4 == 1 else position
        changed = bytearray(content)
        if index % 7 == 0:
            changed[position : position + 64] = bytes(len(changed[position : position + 64]))
        else:
            changed[position] ^= generator.randrange(1, 256)
        yield bytes(changed)


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return one == other


def check_every(path, content, read, expected, count=300, is_right=same):
    """Read every damaged copy; returns how many were refused."""
    refused = 0
    for copy in damaged(content, count):
        path.write_bytes(copy)
        try:
            found = read(path)
        except RecordError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 600
        else:
            assert is_right(found, expected), copy == content
    assert refused > count // 2
    return refused


def tensors_of(path):
    return load_network(path).state_dict()


def test_our_files(tmp_path):
    path, network = tmp_path / "weights.safetensors", Network(SMALL, num_classes=3, resolution=32)
    save_weights(network, path)
    check_every(path, path.read_bytes(), tensors_of, dict(network.state_dict()), is_right=lambda a, b: same(dict(a), b))


def test_checkpoints_that_torch_saved(tmp_path):
    path, network = tmp_path / "weights.pth", Network(SMALL_V2, num_classes=3, resolution=32)
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, path)
    expected = network.state_dict()

    def read(path):
        fresh = Network(SMALL_V2, num_classes=3, resolution=32)
        load_weights(fresh, path)
        return dict(fresh.state_dict())

    check_every(path, path.read_bytes(), read, dict(expected), count=150)


def test_parts_marked_as_folders_are_refused(tmp_path):
    """PyTorch would give a tensor of whatever its memory held."""
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(50.0)}, path)
    content = bytearray(path.read_bytes())
    content[content.rindex(b"archive/data/0" if b"archive/data/0" in content else b"weights/data/0") - 8] = 0x10
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert [part.external_attr for part in archive.infolist() if part.filename.endswith("data/0")] == [0x10]
    with pytest.raises(RecordError, match="marked as a folder"):
        read_tensors(path)


def test_supernets_and_recovered_weights(tmp_path):
    """Files of a run without an architecture."""
    path, tensors = tmp_path / "supernet.safetensors", {"a": torch.arange(50.0), "b": torch.ones(3, 4)}
    write_weights_file(path, tensors, {"descent": "x"})
    check_every(path, path.read_bytes(), read_tensors, tensors, count=600)


def test_archives_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(50.0)}, tmp_path / "unchecked.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read_tensors(tmp_path / "unchecked.pth"), {"a": torch.arange(50.0)})


def test_old_archives_are_refused_where_they_cannot_be_read(tmp_path):
    """Pickles from before PyTorch 1.6 have no checksums: a changed value cannot be noticed, everything else is."""
    path, tensors = tmp_path / "old.pth", {"a": torch.arange(50.0)}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    for copy in damaged(path.read_bytes(), 300):
        path.write_bytes(copy)
        try:
            found = read_tensors(path)
        except RecordError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert isinstance(found, dict)


def test_a_training_goes_on_from_the_checkpoint_before(tmp_path):
    path, said = tmp_path / "checkpoint.pt", []
    file = CheckpointFile(path, "run")
    file.save(EARLIER)
    file.save(STATE)
    before, last = (tmp_path / "checkpoint.before.pt").read_bytes(), path.read_bytes()
    back = 0
    for copy in damaged(last, 400):
        path.write_bytes(copy)
        file, said = CheckpointFile(path, "run"), []
        file.say = said.append
        state = file.load()
        if same(state, STATE):
            assert not said
            continue
        back += 1
        assert same(state, EARLIER)
        assert len(said) == 1 and str(path) in said[0] and "goes on from the checkpoint before it" in said[0]
    assert back > 100 and (tmp_path / "checkpoint.before.pt").read_bytes() == before


def test_without_one_before_it_training_starts_over(tmp_path):
    path = tmp_path / "recovery.pt"
    CheckpointFile(path, "run").save(STATE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.warns(UserWarning, match=r"recovery\.pt is damaged .*: training starts over"):
        assert CheckpointFile(path, "run").load() is None
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="other settings or other images: training starts over"):
        assert CheckpointFile(path, "another").load() is None


def test_a_damaged_checkpoint_never_replaces_the_one_before(tmp_path):
    path = tmp_path / "checkpoint.pt"
    file = CheckpointFile(path, "run")
    file.save(EARLIER)
    file.save(STATE)
    path.write_bytes(b"damaged")
    file = CheckpointFile(path, "run")
    file.say = lambda text: None
    assert same(file.load(), EARLIER)
    file.save(STATE)
    path.write_bytes(b"damaged again")
    file = CheckpointFile(path, "run")
    file.say = lambda text: None
    assert same(file.load(), EARLIER)
    file.remove()
    assert not list(tmp_path.iterdir())


def test_a_crash_between_two_checkpoints(tmp_path):
    path = tmp_path / "checkpoint.pt"
    CheckpointFile(path, "run").save(STATE)
    path.rename(tmp_path / "checkpoint.before.pt")
    assert same(CheckpointFile(path, "run").load(), STATE)


@pytest.mark.parametrize("name", ["absent.pth", "absent.safetensors", "folder.pth", "folder.safetensors"])
def test_what_is_no_file_is_said(tmp_path, name):
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(RecordError, match=f"{name} .*Give") as caught:
        read_tensors(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"model": {"weight": torch.zeros(3)}, "optimizer": {}, "ema": None, "counters": {"step": 1}},
        {"model": "text", "optimizer": None, "ema": 1, "counters": []},
    ],
)
def test_a_whole_checkpoint_of_another_content_is_named(tmp_path, state):
    CheckpointFile(tmp_path / "checkpoint.pt", "run").save(state)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt does not fit this training .*Delete it"):
        train(tmp_path, Spoiled([]))


def test_counters_of_a_checkpoint_are_numbers_of_the_training_and_nothing_else(tmp_path):
    train(tmp_path, Spoiled([]))
    file = CheckpointFile(tmp_path / "checkpoint.pt", "run")
    state = file.load()
    assert state is not None
    state["counters"] |= {"model": "text", "step": "many"}
    file.save(state)
    with pytest.raises(TrainingError, match=r"does not fit this training .*many"):
        train(tmp_path, Spoiled([]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are of POSIX")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    names = ("checkpoint.pt", "weights.safetensors", "weights.pth")
    for name in names:
        os.mkfifo(tmp_path / name)
    reads = [lambda path: CheckpointFile(path, "run").load(), load_network, read_tensors]
    with ThreadPoolExecutor() as pool:
        for name, read in zip(names, reads, strict=True):
            answer = pool.submit(read, tmp_path / name)
            try:
                error = answer.exception(timeout=10)
            finally:  # a reader that waits is let go
                if not answer.done():
                    os.close(os.open(tmp_path / name, os.O_WRONLY | os.O_NONBLOCK))
            assert error is None or (isinstance(error, RecordError) and "a pipe or a device" in str(error))
