"""Small tar files of images, written member by member."""

import io
import tarfile

import pytest
from PIL import Image


@pytest.fixture
def write_shard(tmp_path):
    """write_shard("train-0.tar", {"a.png": 7, "a.cls": "0"}): numbers are pictures of that grey, texts their bytes.

    The tar files are in `tmp_path / "shards"`.
    """

    def write(name, members, file_format=tarfile.PAX_FORMAT):
        path = tmp_path / "shards" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w", format=file_format) as archive:
            for member, content in members.items():
                add(archive, member, png(content) if isinstance(content, int) else content)
        return path

    return write


def add(archive, name, content):
    content = content if isinstance(content, bytes) else content.encode()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def png(grey):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), (grey,) * 3).save(picture, "PNG")
    return picture.getvalue()


@pytest.fixture
def shards(write_shard, tmp_path):
    """Two shards for training with ten images of class 0, grey 0 to 9, and ten of class 1, grey 100 to 109, and one for
    validation with two images of each class."""
    greys = [grey for pair in zip(range(10), range(100, 110), strict=True) for grey in pair]
    for number, part in enumerate((greys[:12], greys[12:])):
        write_shard(f"train-{number:06d}.tar", labelled(part))
    write_shard("val-000000.tar", labelled((20, 120, 21, 121)))
    return tmp_path / "shards"


def labelled(greys):
    return {
        f"{grey:03d}.{extension}": content
        for grey in greys
        for extension, content in (("png", grey), ("cls", str(int(grey >= 100))))
    }
