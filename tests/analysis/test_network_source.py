import pytest

from efficientformer.analysis.comparison.network_source import find_sources
from efficientformer.errors import UsageError


def test_names_of_ours_come_before_names_of_timm():
    ours, theirs, plain, tagged = find_sources(
        ["efficientformer_l1", "timm:efficientformer_l1", "resnet18", "resnet50.a2_in1k"]
    )
    assert (ours.kind, ours.target) == ("zoo", "efficientformer_l1")
    assert (theirs.kind, theirs.target, theirs.name) == ("timm", "efficientformer_l1", "timm:efficientformer_l1")
    assert (plain.kind, plain.target) == ("timm", "resnet18")
    assert tagged.target == "resnet50.a2_in1k"


def test_a_network_named_twice_counts_once():
    assert len(find_sources(["resnet18", "timm:resnet18", "resnet18"])) == 1


def test_run_directories_give_all_of_their_networks_and_equal_names_are_told_apart(tmp_path):
    for run in ("one", "two"):
        for slug in ("8ms", "4ms"):
            folder = tmp_path / run / "networks" / slug
            folder.mkdir(parents=True)
            (folder / "model.onnx").touch()
    sources = find_sources([str(tmp_path / "one")])
    assert [source.name for source in sources] == ["4ms", "8ms"]
    both = find_sources([str(tmp_path / "one"), str(tmp_path / "two" / "networks" / "8ms")])
    assert len({source.name for source in both}) == 3
    assert {source.kind for source in both} == {"onnx"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilnetv2_140", "similar names are mobilenetv2_140"),
        ("efficientformer_l2", "similar names are efficientformer_l"),
        ("resnet50.a9_in1k", r"timm has no weights 'resnet50.a9_in1k'; similar names are resnet50\."),
        ("nowhere.onnx", "does not exist"),
        (".", "holds no network"),
    ],
)
def test_an_unknown_name_is_refused_with_similar_names(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        find_sources([name])
