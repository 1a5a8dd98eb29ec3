"""Earlier checks of files count only while nothing says that the file is another."""

import json
import os

import pytest
from PIL import Image

from efficientformer.data import content
from efficientformer.data.content import check_files


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photos" / "a.bmp"
    path.parent.mkdir()
    Image.new("RGB", (4, 4), (1, 2, 3)).save(path)
    return path


@pytest.fixture
def check(tmp_path, photo):
    """check(): the contents, and the number of files that were read."""

    def run(**options):
        read = []
        contents = check_files(
            photo.parent,
            [photo.name],
            **{"max_pixels": 10**6, "record": tmp_path / "images.json", **options},
            progress=lambda done, total: read.append(done),
        )
        return contents[photo.name], len(read)

    return run


def overwrite(path, color, times=None):
    status = path.stat()
    Image.new("RGB", (4, 4), color).save(path)
    os.utime(path, ns=times or (status.st_atime_ns, status.st_mtime_ns))


def test_a_second_check_reads_nothing(check, later):
    first, num_read = check()
    assert num_read == 1 and len(first.digest) == 64 and first.problem is None
    assert check() == (first, 0)


def test_a_file_written_in_the_moment_of_its_check_is_read_again(check, photo):
    first, _ = check()
    assert check()[1] == 1
    overwrite(photo, (9, 9, 9))
    second, num_read = check()
    assert num_read == 1 and second.digest != first.digest


def test_content_is_noticed_when_size_and_time_are_the_same(check, photo, later):
    first, _ = check()
    overwrite(photo, (9, 9, 9))
    second, num_read = check()
    assert num_read == 1 and second.digest != first.digest
    assert second.state[:2] == first.state[:2]


def test_another_file_in_its_place_is_noticed(check, photo, later):
    first, _ = check()
    Image.new("RGB", (4, 4), (9, 9, 9)).save(photo.with_name("b.bmp"))
    os.utime(photo.with_name("b.bmp"), ns=(0, photo.stat().st_mtime_ns))
    photo.with_name("b.bmp").replace(photo)
    second, num_read = check()
    assert num_read == 1 and second.digest != first.digest


def test_a_touched_file_is_read_but_not_decoded_again(check, photo, later, monkeypatch):
    first, _ = check()
    photo.touch()
    monkeypatch.setattr(content, "read_image", None)
    second, num_read = check()
    assert num_read == 1 and second.digest == first.digest and second.problem is None


DAMAGES = [
    lambda record: record.unlink(),
    lambda record: record.write_text(""),
    lambda record: record.write_bytes(record.read_bytes()[:-20]),
    lambda record: record.write_bytes(b"\xff\xfe\x00"),
    lambda record: record.write_text("[]"),
    lambda record: record.write_text("[" * 100_000),
    lambda record: record.write_text("null"),
    lambda record: _change(record, lambda document: document.update(images=[1])),
    lambda record: _change(record, lambda document: document["images"].update({"a.bmp": [1, 2]})),
    lambda record: _change(record, lambda document: document["images"]["a.bmp"].__setitem__(5, None)),
    lambda record: _change(record, lambda document: document["images"]["a.bmp"].__setitem__(4, "soon")),
    lambda record: _change(record, lambda document: document["about"].update(root="/elsewhere")),
]


def _change(record, edit):
    document = json.loads(record.read_text())
    edit(document)
    record.write_text(json.dumps(document))


@pytest.mark.parametrize("damage", DAMAGES, ids=range(len(DAMAGES)))
def test_a_lost_or_damaged_record_is_made_again(check, later, tmp_path, damage):
    first, _ = check()
    damage(tmp_path / "images.json")
    again, num_read = check()
    assert num_read == 1 and again.digest == first.digest
    assert check()[1] == 0


def test_another_limit_checks_again(check, later):
    assert check()[0].problem is None
    small, num_read = check(max_pixels=15)
    assert num_read == 1 and "4 x 4 pixels" in small.problem
    assert check()[0].problem is None


def test_what_was_checked_before_an_interruption_is_kept(tmp_path, write_images, later):
    names = [f"{index}.png" for index in range(40)]
    write_images(tmp_path / "photos", *names)

    def interrupt(done, total):
        if done == 30:
            raise KeyboardInterrupt

    options = {"max_pixels": 10**6, "record": tmp_path / "images.json"}
    with pytest.raises(KeyboardInterrupt):
        check_files(tmp_path / "photos", names, **options, progress=interrupt)
    seen = []
    assert len(check_files(tmp_path / "photos", names, **options, progress=lambda *_: seen.append(1))) == 40
    assert len(seen) == 11


def test_a_file_that_cannot_be_read_is_a_problem_each_time(check, photo, later):
    photo.unlink()
    for _ in range(2):
        gone, num_read = check()
        assert num_read == 1 and "No such file" in gone.problem and gone.digest == ""
