"""Files and published networks that are scored alone: planted classifiers, whose scores are known."""

import json

import numpy as np
import onnx
import pytest
import timm
import torch
from PIL import Image
from timm.data import ImageNetInfo

from efficientformer.cli.app import run
from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import EfficientFormerError, UsageError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.models.create import create_model
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.models.weights.timm_names import timm_state_dict
from efficientformer.pipeline.exported.evaluate_model import evaluate_model
from efficientformer.pipeline.exported.open_file import open_file
from efficientformer.pipeline.predict import predict
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.settings import Settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.run_dir import RunDir

from ..exported import write_classifier
from ..models.small import SMALL_V2

WNIDS = ImageNetInfo().label_names()
COLORS = {"tench": (255, 0, 0), "goldfish": (0, 255, 0), "great_white_shark": (0, 0, 255)}
"""The first three classes of ImageNet; a planted file answers with the mean of the color of their place."""


@pytest.fixture
def fish(tmp_path):
    """Images of the colors in a folder for each name; the first two of `wrong` are those of goldfish."""

    def fish(names=tuple(COLORS), colors=tuple(COLORS.values()), counts=(4, 4, 4), size=8, wrong=None):
        root = tmp_path / "-".join(names)
        for name, color, count in zip(names, colors, counts, strict=False):
            (root / name).mkdir(parents=True)
            for index in range(count):
                shown = COLORS["goldfish"] if name == wrong and index < 2 else color
                Image.new("RGB", (size, size), shown).save(root / name / f"{index}.png")
        return root

    return fish


def scored(model, data, **given):
    return evaluate_model(model, Settings.model_validate({"data": str(data), "val_fraction": 1, **given}))


@pytest.mark.parametrize(("names", "by"), [(WNIDS[:3], "wnid"), ([*COLORS], "ImageNet's names"), (WNIDS[:2], "wnid")])
def test_a_part_of_imagenet_is_scored_by_the_names_of_its_folders(fish, tmp_path, names, by, capsys):
    """Folders come in the order of their names, which for words is not that of the outputs."""
    model = write_classifier(tmp_path / "model.onnx", WNIDS, num_outputs=1000, scale=40.0)
    record = scored(model, fish(names, wrong=names[0]))
    by_class = {row["name"]: row["top1"] for row in record["per_class"]}
    assert by_class == {name: 50.0 if name == names[0] else 100.0 for name in names}
    assert f"{len(names)} of 1,000 classes, by {by}" in " ".join(capsys.readouterr().err.split())
    # Surely goldfish, and wrong for two images.
    assert record["calibration_error"] == pytest.approx(100 * 2 / record["num_images"], abs=1e-3)


def test_openvino_scores_as_onnx_runtime_and_a_softmax_changes_nothing(fish, tmp_path):
    pytest.importorskip("openvino")
    from efficientformer.latency.runtimes.openvino import _core, _import_openvino

    root = fish(wrong="tench")
    records = []
    for name, softmax in (("plain", False), ("softmax", True)):
        path = write_classifier(tmp_path / f"{name}.onnx", [*COLORS], softmax=softmax, scale=3.0)
        _import_openvino().save_model(_core().read_model(path), path.with_suffix(".xml"))
        records += [scored(path, root), scored(path.with_suffix(".xml"), root)]
    scores = [{name: record[name] for name in record if name.startswith(("top", "cal", "neg"))} for record in records]
    first = scores[0]
    # e^3 of e^3 + 2, and ten of twelve are right.
    assert first["calibration_error"] == pytest.approx(100 * (np.exp(3) / (np.exp(3) + 2) - 10 / 12), abs=1e-3)
    for other in scores[1:]:
        assert other["top1"] == first["top1"] == pytest.approx(100 * 10 / 12)
        for name in ("calibration_error", "negative_log_likelihood"):
            assert other[name] == pytest.approx(first[name], rel=1e-5)
    image = root / "goldfish" / "0.png"
    seen = [predict(tmp_path / f"softmax{ending}", image).predictions[0] for ending in (".onnx", ".xml")]
    assert seen[0].classes[0] == "goldfish" and seen[0].classes == seen[1].classes
    assert seen[0].scores == pytest.approx(seen[1].scores, rel=1e-5)
    (tmp_path / "plain.bin").unlink()
    with pytest.raises(EfficientFormerError, match=r"has no weights: plain\.bin is not beside it"):
        open_file(tmp_path / "plain.xml")


def test_a_file_of_other_people_asks_for_what_it_lacks(fish, tmp_path):
    pytest.importorskip("openvino")
    from efficientformer.latency.runtimes.openvino import _core, _import_openvino

    path = write_classifier(tmp_path / "model.onnx", [*COLORS])
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    _import_openvino().save_model(_core().read_model(path), tmp_path / "model.xml")
    root = fish()
    for file in (path, tmp_path / "model.xml"):
        with pytest.raises(EfficientFormerError, match=r"of its metadata, classes is missing.*evaluation\.md"):
            scored(file, root)
    (tmp_path / "broken.xml").write_text("<net/>")
    (tmp_path / "broken.bin").write_bytes(b"")
    with pytest.raises(EfficientFormerError, match=r"cannot open .*broken"):
        open_file(tmp_path / "broken.xml")


def test_weights_of_a_run_score_as_the_file_that_is_exported_of_them(fish, tmp_path):
    torch.manual_seed(0)
    network, classes = Network(SMALL_V2, num_classes=3, resolution=32).eval(), json.dumps(sorted(COLORS))
    network.preprocessing = Preprocessing(32).to_json()
    save_weights(network, tmp_path / "weights.safetensors", {"classes": classes})
    about = {"classes": classes, "preprocessing": json.dumps(network.preprocessing)}
    export_onnx(network, (1, 3, 32, 32), tmp_path / "model.onnx", about)
    root = fish(size=40, wrong="tench")
    weights, exported = (
        scored(tmp_path / name, root, training_threads=1) for name in ("weights.safetensors", "model.onnx")
    )
    assert weights["confusion"] == exported["confusion"] and sum(map(sum, weights["confusion"])) == 12
    assert weights["negative_log_likelihood"] == pytest.approx(exported["negative_log_likelihood"], rel=1e-4)
    save_weights(network, tmp_path / "unnamed.safetensors")
    with pytest.raises(EfficientFormerError, match=r"does not say its classes\. Score the model\.onnx"):
        scored(tmp_path / "unnamed.safetensors", root)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Of a published network as others name them, whose head always says tench."""
    network = create_model("efficientformerv2_s0", has_distillation_head=True)
    with torch.no_grad():
        for head in (network.head, network.head_dist):
            head.weight.zero_()
            head.bias.zero_()
            head.bias[0] = 50.0
    path = tmp_path_factory.mktemp("weights") / "s0.pth"
    torch.save(timm_state_dict(network), path)
    return path


def test_a_published_network_is_scored_by_name_or_file(fish, weights, capsys):
    """On all images of a folder, also of a class that has one: none of them trained it."""
    root = fish(counts=(1, 3), size=40)
    given = ["--data", str(root), "--resolution", "32", "--training-threads", "1"]
    assert run(["evaluate", "efficientformerv2_s0", "--weights", str(weights), *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "network",
        *["top-1", "%", "balanced", "accuracy", "%", "top-5", "%", "calibration", "error", "%", "NLL", "images"],
    ]
    assert lines[1].split()[:5] == ["s0.pth", "25.0", "50.0", "100.0", "75.0"] and lines[1].split()[-1] == "4"
    assert run(["evaluate", str(weights), *given, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["file"], record["top1"], record["num_images"]) == (str(weights), 25.0, 4)
    assert [row["top1"] for row in record["per_class"]] == [0.0, 100.0]


def test_a_network_of_timm_is_scored_with_its_own_preprocessing(fish, tmp_path, capsys):
    network = timm.create_model("test_efficientnet", num_classes=1000)
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.zero_()
        network.classifier.bias[1] = 50.0
    torch.save(network.state_dict(), tmp_path / "theirs.pth")
    record = evaluate_model(
        "test_efficientnet.r160_in1k",
        Settings(data=str(fish(size=16)), training_threads=1),
        weights=tmp_path / "theirs.pth",
    )
    assert record["top1"] == pytest.approx(100 / 3) and record["num_images"] == 12


@pytest.mark.parametrize(
    ("model", "more", "says"),
    [
        ("efficientformer_l9", {}, "There is no network 'efficientformer_l9'"),
        ("absent.onnx", {}, "absent.onnx is not a file"),
        ("model.onnx", {"weights": "s0.pth"}, "Leave it out"),
        ("efficientformerv2_s0", {"weights": "absent.pth"}, "--weights .*absent.pth is not a file"),
        ("model.onnx", {"names": ["tench", "cat"]}, "does not know 'cat' of .*Its 1,000 classes are ImageNet's"),
        ("model.onnx", {"names": ["tench", "crane"]}, "crane is the name of 2 classes"),
        ("own.onnx", {"names": ["tench", "cat"]}, "of the classes goldfish, .*of cat, tench. Name the images"),
    ],
)
def test_what_cannot_be_scored_is_one_line(fish, tmp_path, monkeypatch, model, more, says):
    monkeypatch.chdir(tmp_path)
    write_classifier(tmp_path / "model.onnx", WNIDS, num_outputs=1000)
    write_classifier(tmp_path / "own.onnx", sorted(COLORS))
    data = fish(more.pop("names", [*COLORS]))
    with pytest.raises(EfficientFormerError, match=says) as error:
        evaluate_model(model, Settings(data=str(data)), **more)
    assert "\n" not in str(error.value)


def test_a_run_is_not_left_without_images_to_train_with(fish, tmp_path):
    settings = Settings(data=str(fish()), val_fraction=1)
    with pytest.raises(UsageError, match="val_fraction 1 leaves no image to train with"):
        _ = Workspace(RunDir(tmp_path / "run"), settings, RunConsole(quiet=True)).dataset
    with pytest.raises(ValueError, match=r"less than 0\.9, or 1"):
        Settings(val_fraction=0.95)
