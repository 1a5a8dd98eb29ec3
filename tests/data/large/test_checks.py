"""Checks of many files are those of single files, and are kept until a file changes."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from efficientformer.data.compact.texts import Texts
from efficientformer.data.large import checks as module
from efficientformer.data.large.checks import check_all
from efficientformer.data.large.source import LargeSource

FILES = ["a.png", "b.png", "broken.png", "gone.png"]


@pytest.fixture
def photos(tmp_path):
    for place, name in enumerate(FILES[:3]):
        Image.new("RGB", (9, 9), (place, 0, 0)).save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes((tmp_path / "broken.png").read_bytes()[:50])
    return tmp_path


def check(photos, files=FILES, **options):
    options = {"max_pixels": 1000, "kept": photos / "kept.npz", **options}
    unknown = np.zeros(len(files), np.int64)
    source = LargeSource(photos, Texts.of(files), unknown, unknown, max_pixels=options["max_pixels"])
    return check_all([source], **options)


def test_digests_and_problems(photos):
    done = []
    checks, num_read = check(photos, progress=lambda *numbers: done.append(numbers))
    assert num_read == 4 and done == [(0, 4), (4, 4)]
    for position, name in enumerate(FILES[:3]):
        assert checks.digests[position].tobytes() == hashlib.sha256((photos / name).read_bytes()).digest()
    assert sorted(checks.problems) == [2, 3] and checks.problems[3] == "No such file or directory"
    assert "limit" not in str(checks.problems)
    assert check(photos, ["a.png"], max_pixels=80)[0].problems[0].startswith("9 x 9 pixels")


def test_what_is_known_is_not_read_again(photos, later):
    first, _ = check(photos)
    second, num_read = check(photos)
    assert num_read == 1 and second.problems == first.problems  # of a file that is gone nothing is known
    assert np.array_equal(second.digests, first.digests)
    Image.new("RGB", (9, 9), (7, 7, 7)).save(photos / "a.png")
    Image.new("RGB", (9, 9), (8, 8, 8)).save(photos / "aa.png")
    third, num_read = check(photos, ["aa.png", "broken.png", "a.png", "b.png"])
    assert num_read == 2 and third.problems == {1: first.problems[2]}
    assert np.array_equal(third.digests[[1, 3]], first.digests[[2, 1]])
    assert not np.array_equal(third.digests[2], first.digests[0])
    assert check(photos, ["b.png"], max_pixels=999)[1] == 1


def test_a_file_written_in_the_moment_of_its_check_is_read_again(photos):
    check(photos)
    assert check(photos)[1] == 4


def test_an_interrupted_check_goes_on(photos, later, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 1)
    seen = []

    def interrupt(done, total):
        seen.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(photos, progress=interrupt)
    assert check(photos)[1] == 2 and seen == [0, 1, 2]


@pytest.mark.parametrize("damage", [b"", b"PK\3\4", None])
def test_damaged_checks_are_made_again(photos, later, damage):
    check(photos)
    kept = photos / "kept.npz"
    kept.write_bytes(kept.read_bytes()[:-40] if damage is None else damage)
    assert check(photos)[1] == 4
