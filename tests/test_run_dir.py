"""Names from records, and links, do not lead out of a run directory."""

import json

import pytest

from efficientformer.errors import EfficientFormerError, RecordError
from efficientformer.pipeline.run.run_network import read_found
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir

OUTSIDE = ["/tmp/x", "../x", "..", ".", "", "a/b", "a\\b", "..\\x", "C:x"]
NO_NAMES = ["a\0b", "a\nb", "x" * 300, "\ud800", "é" * 150, None, 5, ["8ms"], {"slug": 1}]


@pytest.mark.parametrize("slug", [*OUTSIDE, *NO_NAMES], ids=ascii)
def test_a_name_of_a_network_stays_in_the_directory(slug, tmp_path):
    with pytest.raises(RecordError, match="network"):
        RunDir(tmp_path).network(slug)


@pytest.mark.parametrize("slug", ["8ms", "40pct", "1e-05ms", "..8ms", "My photos (2)", "写真", ".5ms"])
def test_ordinary_names_are_folders(slug, tmp_path):
    assert RunDir(tmp_path).network(slug).folder == tmp_path / "networks" / slug


@pytest.mark.parametrize("slug", ["/tmp/canary", "../../canary", "a/../../../canary"])
def test_a_trace_cannot_name_a_folder_elsewhere(slug, tmp_path):
    run_dir = RunDir(tmp_path)
    write_record(run_dir.trace, {"budgets": [{**entry(), "slug": slug}]})
    with pytest.raises(RecordError):
        read_found(run_dir)


def test_a_stamp_cannot_be_elsewhere(tmp_path):
    """The unit of a budget in someone's trace is part of the names of stamps."""
    with pytest.raises(RecordError):
        RunDir(tmp_path).stamp("train 8/../../../x")
    assert RunDir(tmp_path).stamp("train 8ms") == tmp_path / "stamps" / "train 8ms.json"


@pytest.mark.parametrize(
    "link",
    ["networks", "networks/8ms", "supernet", "stamps", "slim/steps.jsonl", "settings.json", ".lock", "data.json"],
)
def test_a_link_that_leads_out_of_the_directory_is_refused(link, tmp_path):
    root, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = root / link
    path.parent.mkdir(parents=True)
    is_file = "." in path.name
    target = elsewhere / "absent" if is_file else elsewhere
    path.symlink_to(target)
    with pytest.raises(EfficientFormerError, match=f"{path.name}.*leads out of"), RunDir(root).locked():
        pass
    assert not list(elsewhere.iterdir())


def test_links_to_the_directory_and_inside_it_are_followed(tmp_path):
    large, root = tmp_path / "large", tmp_path / "run"
    (large / "networks" / "8ms").mkdir(parents=True)
    (large / "networks" / "9ms").symlink_to("8ms")
    (large / "photos").symlink_to(tmp_path)
    root.symlink_to(large)
    with RunDir(root).locked():
        assert RunDir(root).network("9ms").folder.resolve() == large / "networks" / "8ms"


def test_a_loop_of_links_is_one_line(tmp_path):
    (tmp_path / "networks").symlink_to("networks")
    with pytest.raises(EfficientFormerError, match="networks"), RunDir(tmp_path).locked():
        pass


def entry():
    from efficientformer.arch.spaces import SPACES

    return {
        "budget_value": {"text": "8ms", "value": 8.0, "unit": "ms"},
        "budget_ms": 8.0,
        "predicted_ms": 7.5,
        "architecture": json.loads(json.dumps(SPACES["quick"].smallest().to_json())),
        "origins": [],
    }
