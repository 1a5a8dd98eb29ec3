"""Teachers by name and from files: their classes in our order, their own images, and one line for a wrong one."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from efficientformer.data.transforms import Preprocessing
from efficientformer.errors import EfficientFormerError, RecordError, UsageError
from efficientformer.exporting.onnx import export_onnx
from efficientformer.models.network import Network
from efficientformer.models.weights.load import save_weights
from efficientformer.tasks.teacher_files import open_teacher
from efficientformer.tasks.teacher_source import TeacherSource
from efficientformer.tasks.teachers import Teacher, View, class_order

from ..models.small import SMALL, SMALL_V2

CLASSES = ("cat", "dog", "owl")
OURS = Preprocessing(32)
NAME = "efficientvit_b0"
"""A network of timm's that is quick to build; any other would do."""


@pytest.fixture
def images():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def network(seed=1, num_classes=3):
    torch.manual_seed(seed)
    return Network(SMALL, num_classes=num_classes, resolution=32).eval()


def saved(folder: Path, classes=CLASSES, preprocessing=OURS, **options) -> tuple[Path, Network]:
    ours = network(**options)
    ours.preprocessing = preprocessing.to_json()
    path = folder / "teacher.safetensors"
    save_weights(ours, path, {"classes": json.dumps(list(classes))})
    return path, ours


def exported(folder: Path, classes=CLASSES, **metadata) -> tuple[Path, Network]:
    ours, path = network(), folder / "teacher.onnx"
    about = {"classes": json.dumps(list(classes)), "preprocessing": json.dumps(OURS.to_json()), **metadata}
    export_onnx(ours, (1, 3, 32, 32), path, about)
    return path, ours


@pytest.mark.parametrize(
    "text, name, file",
    [
        ("regnety_160.deit_in1k", "regnety_160.deit_in1k", None),
        ("resnet18:some/weights.pth", "resnet18", "some/weights.pth"),
        ("resnet18:/a/weights.pth", "resnet18", "/a/weights.pth"),
        ("teacher.onnx", None, "teacher.onnx"),
        ("runs/mine/weights.safetensors", None, "runs/mine/weights.safetensors"),
        ("/a:b/net.onnx", None, "/a:b/net.onnx"),
        (r"C:\nets\net.onnx", None, r"C:\nets\net.onnx"),
        ("hf-hub:timm/resnet18.a1_in1k", "hf-hub:timm/resnet18.a1_in1k", None),
    ],
)
def test_a_teacher_is_a_name_a_file_or_both(text, name, file):
    source = TeacherSource.parse(text)
    assert (source.name, source.file) == (name, None if file is None else Path(file)) and str(source) == text


def test_a_file_of_ours_teaches_what_its_network_says(tmp_path, images):
    path, ours = saved(tmp_path)
    assert torch.equal(open_teacher(str(path), CLASSES, OURS).logits(images), ours(images))


@pytest.mark.parametrize("kind", ["weights", "onnx"])
def test_classes_in_another_order_are_put_into_ours(tmp_path, images, kind):
    path, ours = (saved if kind == "weights" else exported)(tmp_path, ("owl", "cat", "dog"))
    logits = open_teacher(str(path), CLASSES, OURS).logits(images)
    assert torch.allclose(logits, ours(images)[:, [1, 2, 0]], atol=1e-5)


def test_the_order_by_hand():
    assert class_order("t", ("owl", "cat", "dog"), CLASSES) == [1, 2, 0]
    assert class_order("t", None, CLASSES) is None
    with pytest.raises(UsageError, match="does not know the class 'dog' of the images"):
        class_order("t", ("owl", "cat", "fox"), CLASSES)
    with pytest.raises(UsageError, match="does not know the class 'cat' and 2 more"):
        class_order("t", ("a", "b", "c"), CLASSES)


def test_the_teacher_s_own_size_and_normalization_are_honoured(images):
    own = Preprocessing(48, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    pixels = images.clamp(-1, 1) * torch.tensor(OURS.std).view(3, 1, 1) + torch.tensor(OURS.mean).view(3, 1, 1)
    seen = View(OURS, own)(images.clamp(-1, 1))
    larger = nn.functional.interpolate(pixels, size=(48, 48), mode="bilinear", antialias=True)
    by_hand = (larger - torch.tensor(own.mean).view(3, 1, 1)) / torch.tensor(own.std).view(3, 1, 1)
    assert torch.allclose(seen, by_hand, atol=1e-5)
    assert View(OURS, Preprocessing(32))(images) is images


def test_a_file_s_own_preprocessing_is_used(tmp_path, images):
    own = Preprocessing(48, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    path, ours = saved(tmp_path, preprocessing=own)
    logits = open_teacher(str(path), CLASSES, OURS).logits(images)
    assert torch.allclose(logits, ours(View(OURS, own)(images)), atol=1e-6)


def test_onnx_teaches_as_its_network(tmp_path, images):
    path, ours = exported(tmp_path)
    assert torch.allclose(open_teacher(str(path), CLASSES, OURS).logits(images), ours(images), atol=1e-5)


def test_onnx_without_our_metadata_and_with_probabilities(tmp_path, images):
    """Logarithms of probabilities differ from logits by a constant, which softmax leaves out at any temperature."""
    ours, path = network(), tmp_path / "other.onnx"
    export_onnx(nn.Sequential(ours, nn.Softmax(dim=1)), (1, 3, 32, 32), path, output_name="scores")
    logits = open_teacher(str(path), CLASSES, OURS).logits(images)
    assert torch.allclose(logits.div(3).softmax(1), ours(images).div(3).softmax(1), atol=1e-5)


def test_onnx_of_a_fixed_size_gets_images_of_it(tmp_path, images):
    path = tmp_path / "other.onnx"
    export_onnx(ours := network(), (1, 3, 64, 64), path)
    logits = open_teacher(str(path), CLASSES, OURS).logits(images)
    larger = nn.functional.interpolate(images, size=(64, 64), mode="bilinear", antialias=True)
    assert torch.allclose(logits, ours.set_resolution(64)(larger), atol=1e-4)


def test_torchscript_teaches_as_its_network(tmp_path, images):
    ours, path = network(), tmp_path / "teacher.pt"
    torch.jit.trace(ours, images).save(path)
    assert torch.allclose(open_teacher(str(path), CLASSES, OURS).logits(images), ours(images), atol=1e-6)


@pytest.mark.parametrize("suffix, named", [("pth", False), ("safetensors", True)])
def test_weights_for_a_name_of_timm(tmp_path, images, suffix, named):
    torch.manual_seed(0)
    theirs = timm.create_model(NAME, num_classes=3).eval()
    path = tmp_path / f"weights.{suffix}"
    if named:
        save_file(theirs.state_dict(), path, {"classes": json.dumps(["owl", "cat", "dog"])})
    else:
        torch.save({"state_dict": theirs.state_dict()}, path)
    logits = open_teacher(f"{NAME}:{path}", CLASSES, OURS).logits(images)
    size = timm.data.resolve_model_data_config(theirs)["input_size"][1:]
    with torch.no_grad():
        expected = theirs(nn.functional.interpolate(images, size=size, mode="bilinear", antialias=True))
    assert torch.allclose(logits, expected[:, [1, 2, 0]] if named else expected, atol=1e-4)


def test_maps_of_timm_s_networks_are_those_of_the_ends_of_stages(images):
    teacher = Teacher(timm.create_model("regnety_002", num_classes=3))
    assert teacher.map_widths([4, 8, 16, 32]) == [24, 56, 152, 368]
    logits, maps = teacher.logits_and_maps(torch.randn(2, 3, 64, 64), [4, 8, 16, 32])
    assert [tuple(each.shape[1:]) for each in maps] == [(24, 16, 16), (56, 8, 8), (152, 4, 4), (368, 2, 2)]
    assert logits.shape == (2, 3) and not maps[0].requires_grad


def test_maps_go_with_the_same_logits(images):
    teacher = Teacher(network(), order=[2, 0, 1])
    logits, maps = teacher.logits_and_maps(images, [2, 4, 8, 16])
    assert torch.allclose(logits, teacher.logits(images), atol=1e-6) and len(maps) == 4


def published(name, **options):
    raise OSError("no route to host\nand a page of advice")


def broken(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"this is no network")
    (tmp_path / "broken.pt").write_bytes(b"this is no network")
    (tmp_path / "broken.safetensors").write_bytes(b"this is no network")
    torch.save(network().state_dict(), tmp_path / "weights.pt")
    torch.save(timm.create_model(NAME, num_classes=7).state_dict(), tmp_path / "seven.pth")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    export_onnx(nn.Flatten(2), (1, 3, 32, 32), tmp_path / "flat.onnx")
    saved(tmp_path, ("cat", "dog", "fox"))
    exported(tmp_path, ("a", "b", "c", "d"))


@pytest.mark.parametrize(
    "text, says",
    [
        ("nothing.onnx", "does not exist.*--teacher none"),
        ("broken.onnx", "not an ONNX file"),
        ("broken.pt", "no TorchScript file"),
        ("broken.safetensors", "not a readable weights file"),
        ("weights.pt", r"no TorchScript file.*--teacher NAME:weights\.pt"),
        ("foreign.safetensors", r"which network.*--teacher NAME:foreign\.safetensors"),
        ("flat.onnx", r"gives \[1, 3, 1024\].*Choose a classifier"),
        ("teacher.safetensors", "does not know the class 'owl' of the images.*--teacher none"),
        ("teacher.onnx", "has 4 classes, and the images have 3.*--teacher none"),
        (f"{NAME}:seven.pth", "has 7 classes, and the images have 3.*--teacher none"),
        ("resnet18:seven.pth", "does not fit resnet18"),
        ("resnet18:nothing.pth", "do not exist"),
        ("no_such_network", "neither a file .* nor a network of timm"),
        ("regnety_160.deit_in1k", "has 1000 classes, and the images have 3"),  # and nothing is downloaded
        ("regnety_160.no_tag", r"could not be downloaded.*no route to host\).*no_tag:FILE.*--teacher none"),
        ("./folder", "is a folder. Give a file in it"),
    ],
)
def test_a_wrong_teacher_is_one_line(tmp_path, monkeypatch, text, says):
    broken(tmp_path)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    if not Path(text.partition(":")[2] or text).suffix.startswith((".on", ".p", ".s")):
        monkeypatch.setattr(timm, "create_model", published)
    with pytest.raises(EfficientFormerError, match=says) as error:
        open_teacher(text, CLASSES, OURS)
    assert isinstance(error.value, UsageError | RecordError) and "\n" not in str(error.value)


def test_published_classes_of_imagenet_are_compared_by_name(monkeypatch):
    """A thousand folders that are called otherwise, in another order, are not taken for those of ImageNet."""
    from timm.data import ImageNetInfo

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create(name))
    names = ImageNetInfo("imagenet-1k").label_names()
    small = Preprocessing(224)
    images = torch.randn(1, 3, 224, 224)
    teacher = open_teacher("efficientvit_b0.r224_in1k", tuple(reversed(names)), small)
    assert torch.equal(teacher.logits(images), teacher._module(images)[:, list(reversed(range(1000)))])
    with pytest.raises(UsageError, match="does not know the class 'tench'"):
        open_teacher("efficientvit_b0.r224_in1k", ("tench", *names[1:]), small)
    with pytest.raises(UsageError, match="has 1000 classes, and the images have 3"):
        open_teacher("efficientvit_b0.r224_in1k", CLASSES, small)


def test_a_student_of_another_space_may_have_the_teacher(images):
    assert Teacher(Network(SMALL_V2, num_classes=3, resolution=32)).logits(images).shape == (3, 3)
