"""Shards of an address: downloaded once, going on where they were cut."""

import http.server
import threading
from pathlib import Path

import pytest

from efficientformer.data.image_folder import load_image_folder
from efficientformer.data.shards import download
from efficientformer.data.shards.download import local_shards
from efficientformer.data.shards.urls import parse_addresses
from efficientformer.errors import DataError, UsageError


@pytest.fixture
def serve(shards, tmp_path, monkeypatch):
    """serve(): the address of a server of the shards, with what it was asked for; `cut` ends each answer early."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            file, asked = shards / self.path.rpartition("/")[2], self.headers.get("Range", "")
            server.asked.append((file.name, asked))
            if not file.exists():
                return self.send_error(404)
            content, tag = file.read_bytes(), f'"{server.version}"'
            start = int(asked[6:-1]) if asked and self.headers["If-Range"] == tag else 0
            self.send_response(206 if start else 200)
            self.send_header("ETag", tag)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : start + server.cut])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.cut, server.version = [], 10**9, 1
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    server.address = f"http://127.0.0.1:{server.server_port}/sets/pets"
    yield server
    server.shutdown()
    server.server_close()


def patterns(server):
    return Path(f"{server.address}/train-{{000000..000001}}.tar::{server.address}/val-000000.tar")


def test_they_are_downloaded_once_and_are_the_same_set(serve, shards):
    (shards / "classes.txt").write_text("cat\ndog\n")
    seen = []
    folder = local_shards(patterns(serve), lambda done, total: seen.append((done, total)))
    assert [name for name, _ in serve.asked] == [
        "classes.txt",
        "train-000000.tar",
        "train-000001.tar",
        "val-000000.tar",
    ]
    assert seen and all(done <= total for done, total in seen)
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in shards.iterdir())
    serve.asked.clear()
    dataset = load_image_folder(str(patterns(serve)))
    assert not serve.asked and dataset.classes == ("cat", "dog") and dataset.name == "pets"
    assert dataset.digest == load_image_folder(shards).digest


def test_a_download_that_was_cut_goes_on(serve, shards):
    whole = (shards / "train-000000.tar").read_bytes()
    serve.cut = 4000
    with pytest.raises(DataError, match=rf"train-000000\.tar ended at 4,000 of {len(whole):,} bytes. Run the same"):
        local_shards(patterns(serve))
    serve.asked.clear()
    serve.cut = 10**9
    folder = local_shards(patterns(serve))
    assert ("train-000000.tar", "bytes=4000-") in serve.asked
    assert (folder / "train-000000.tar").read_bytes() == whole and not list(folder.glob(".*"))


def test_another_file_of_the_same_name_is_never_mixed_with_what_was_there(serve, shards):
    serve.cut = 4000
    with pytest.raises(DataError):
        local_shards(patterns(serve))
    serve.cut, serve.version = 10**9, 2
    other = (shards / "val-000000.tar").read_bytes()
    (shards / "train-000000.tar").write_bytes(other)
    assert (local_shards(patterns(serve)) / "train-000000.tar").read_bytes() == other


def test_what_cannot_be_downloaded_is_one_line_and_loses_nothing(serve, monkeypatch):
    with pytest.raises(DataError, match=r"train-000002\.tar cannot be downloaded: 404 Not Found. Check the address"):
        local_shards(Path(f"{serve.address}/train-{{000000..000002}}.tar"))
    serve.asked.clear()
    with pytest.raises(DataError):
        local_shards(Path(f"{serve.address}/train-{{000000..000002}}.tar"))
    assert [name for name, _ in serve.asked] == ["classes.txt", "train-000002.tar"]
    monkeypatch.setattr(download, "_TIMEOUT_S", 1.0)
    with pytest.raises(DataError, match=r"cannot be downloaded: .*refused.* Run the same command again"):
        local_shards(Path("http://127.0.0.1:9/a.tar"))


def test_addresses():
    found = parse_addresses(Path("https://h/a/t/{1..2}-{08..10}.tar::https://h/a/v/x%20y.tar?key=1"))
    assert found.name == "a" and list(found.files.values()) == [
        *(f"t/{number}-{digits}.tar" for number in (1, 2) for digits in ("08", "09", "10")),
        "v/x y.tar",
    ]
    assert next(iter(found.files)) == "https://h/a/t/1-08.tar"
    assert found.beside("classes.txt") == "https://h/a/classes.txt"
    assert parse_addresses(Path("https://h/x.tar")).name == "h"
    for bad in ("https://h/x.zip", "https://h/{2..1}.tar", "https://h/../x.tar", "https://h/{a..b}.tar", "https://h"):
        with pytest.raises(UsageError):
            parse_addresses(Path(bad))
