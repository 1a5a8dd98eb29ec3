"""Headers are read as `tarfile` reads them, and what is cut short or damaged is never taken for the end."""

import gzip
import io
import tarfile

import pytest

from efficientformer.data.shards.tar import Member, members
from efficientformer.errors import DataError

NAMES = [
    "a.png",
    "./b/c.png",
    "é/ü ß.png",
    f"{'d' * 90}/{'e' * 90}.png",  # the prefix of ustar
    f"{'f' * 200}.png",
]


def listed(path):
    with path.open("rb") as stream:
        return [*members(stream, path)]


@pytest.fixture
def archive(tmp_path):
    """archive(format): a tar file with NAMES, a folder and a link among them, contents of 0, 100, 600, ... bytes."""

    def write(file_format):
        path = tmp_path / "a.tar"
        with tarfile.open(path, "w", format=file_format) as tar:
            for number, name in enumerate(NAMES):
                if file_format == tarfile.USTAR_FORMAT and len(name) > 195:
                    continue
                content = bytes([number]) * [0, 100, 600, 512, 7][number]
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            for kind, name in ((tarfile.DIRTYPE, "folder"), (tarfile.SYMTYPE, "link.png")):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, "a.png"
                tar.addfile(member)
        return path

    return write


@pytest.mark.parametrize("file_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_of_tarfile(archive, file_format):
    path = archive(file_format)
    with tarfile.open(path) as tar:
        expected = [
            Member(each.name.removeprefix("./"), each.offset_data, each.size, each.issym())
            for each in tar
            if not each.isdir()
        ]
    assert listed(path) == expected and len(expected) >= 5 and expected[-1].is_link


def test_sizes_beyond_octal_digits_are_read(tmp_path):
    path = tmp_path / "large.tar"
    member = tarfile.TarInfo("large.bin")
    member.size = 9 * 2**30
    with path.open("wb") as stream:  # with a hole in it
        stream.write(member.tobuf(tarfile.GNU_FORMAT))
        stream.seek(512 + member.size)
        stream.write(bytes(1024))
    assert listed(path) == [Member("large.bin", 512, 9 * 2**30, False)]


def test_wherever_it_is_cut_it_is_refused(archive):
    path = archive(tarfile.PAX_FORMAT)
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0"))  # within the last header
    last_block = -(-end // 512) * 512
    for length in {0, 1, 511, *range(512, last_block + 1, 512), 513, 2000, last_block + 511}:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.tar is cut short: .* Copy or download it again"):
            listed(path)
    path.write_bytes(whole[: last_block + 512])
    assert len(listed(path)) == 6


def test_a_damaged_header_is_refused_with_its_place(archive):
    path = archive(tarfile.GNU_FORMAT)
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        place = tar.getmembers()[2].offset
    content[place + 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"a.tar is damaged at byte {place:,}, or no tar file"):
        listed(path)
    path.write_bytes(b"<html>" * 200)
    with pytest.raises(DataError, match="at byte 0, or no tar file"):
        listed(path)


def test_what_is_behind_the_end_is_never_left_out(archive):
    path = archive(tarfile.GNU_FORMAT)
    whole = path.read_bytes()
    path.write_bytes(whole + whole)
    with pytest.raises(DataError, match=r"goes on behind its end at byte .* several tar files were joined"):
        listed(path)
    path.write_bytes(whole[:1024] + bytes(2**21))
    with pytest.raises(DataError, match=r"holds only zeros from byte 2,048 on, as if a copy was not finished"):
        listed(path)


def test_a_compressed_file_is_refused_with_the_remedy(archive):
    path = archive(tarfile.GNU_FORMAT)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(DataError, match=r"is compressed.* Unpack it"):
        listed(path)
