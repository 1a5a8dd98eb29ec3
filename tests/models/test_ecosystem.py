"""Other libraries drive our networks after one import, as they drive timm's."""

import json

import pytest
import timm
import torch
from timm.optim import create_optimizer_v2
from torch import nn

import efficientformer.models.registry  # noqa: F401
from efficientformer.arch.zoo import ZOO
from efficientformer.errors import ArchitectureError
from efficientformer.models.registry import NAMES

from .small import SMALL, SMALL_V2


@pytest.mark.parametrize(("ours", "name"), NAMES.items())
def test_names_are_ours_alone(ours, name):
    assert timm.is_model(ours) and ours != name
    with torch.device("meta"):
        model = timm.create_model(ours)
        assert type(timm.create_model(name)) is not type(model)
    assert model.architecture == ZOO[name]
    assert model.pretrained_cfg["hf_hub_id"] == f"timm/{name}.snap_dist_in1k"


@pytest.mark.parametrize("name", ["ef_l1", "ef_v2_s0"])
def test_timm_trains_one_with_layer_decay(name):
    model = timm.create_model(name, num_classes=4, in_chans=1, img_size=64, drop_path_rate=0.1)
    model.set_grad_checkpointing()
    optimizer = create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.75)
    scales = sorted({group["lr_scale"] for group in optimizer.param_groups})
    assert len(scales) > 10 and scales[-1] == 1.0
    decayed = [p for group in optimizer.param_groups if group["weight_decay"] > 0 for p in group["params"]]
    tables = {id(p) for key, p in model.named_parameters() if key.endswith(("attention_bias", "bias")) or p.ndim == 1}
    assert tables and not tables & {id(p) for p in decayed}
    images, labels = torch.randn(4, 1, 64, 64), torch.tensor([0, 1, 2, 3])
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["ef_l1", "ef_v2_s0"])
def test_timm_takes_features(name):
    images = torch.randn(1, 3, 96, 64)
    features = timm.create_model(name, features_only=True, img_size=(96, 64)).eval()
    widths = ZOO[NAMES[name]].widths
    assert features.feature_info.channels() == list(widths) and features.feature_info.reduction() == [4, 8, 16, 32]
    assert [tuple(x.shape) for x in features(images)] == [
        (1, width, 96 // stride, 64 // stride) for width, stride in zip(widths, (4, 8, 16, 32), strict=True)
    ]
    early = timm.create_model(name, features_only=True, out_indices=(0, 2), img_size=(96, 64)).eval()
    assert [x.shape[1] for x in early(images)] == [widths[0], widths[2]]
    assert sum(p.numel() for p in early.parameters()) < sum(p.numel() for p in features.parameters()) / 2


@pytest.mark.parametrize("small", [SMALL, SMALL_V2])
def test_heads_and_features_as_timm_has_them(small, randomize):
    model = randomize(timm.create_model("ef_network", architecture=small, num_classes=5, img_size=32)).eval()
    images = torch.randn(2, 3, 32, 32)
    logits, features = model(images), model.forward_features(images)
    assert torch.equal(model.forward_head(features), logits)
    assert torch.equal(model.get_classifier()(model.forward_head(features, pre_logits=True)), logits)
    last, maps = model.forward_intermediates(images, indices=2, norm=True)
    assert torch.equal(last, features) and len(maps) == 2
    assert torch.equal(model.forward_head(last), logits)
    model.reset_classifier(0)
    assert model(images).shape == (2, model.num_features) and model.num_classes == 0
    model.reset_classifier(7)
    assert model(images).shape == (2, 7)


def test_checkpointing_changes_no_gradient(randomize):
    for small in (SMALL, SMALL_V2):
        model = randomize(timm.create_model("ef_network", architecture=small, num_classes=5, img_size=32))
        images, gradients = torch.randn(2, 3, 32, 32), []
        for enabled in (False, True):
            model.set_grad_checkpointing(enabled)
            model.zero_grad()
            model(images).sum().backward()
            gradients.append([p.grad.clone() for p in model.parameters()])
        for kept, recomputed in zip(*gradients, strict=True):
            torch.testing.assert_close(kept, recomputed)


def test_a_network_that_slimming_found(tmp_path):
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps({"architecture": SMALL.to_json(), "num_classes": 3}))
    assert timm.create_model("ef_network", architecture=path, num_classes=3).architecture == SMALL
    path.write_text("{}")
    with pytest.raises(ArchitectureError, match="Not an architecture"):
        timm.create_model("ef_network", architecture=path)
    with pytest.raises(ArchitectureError, match=r"missing\.json does not exist"):
        timm.create_model("ef_network", architecture=tmp_path / "missing.json")


def test_segmentation_models_take_one_as_an_encoder():
    smp = pytest.importorskip("segmentation_models_pytorch")
    network = smp.Unet("tu-ef_v2_s0", encoder_weights=None, classes=3).eval()
    assert network(torch.randn(1, 3, 64, 96)).shape == (1, 3, 64, 96)


def test_transformers_take_one_as_a_backbone():
    transformers = pytest.importorskip("transformers")
    config = transformers.TimmBackboneConfig(backbone="ef_l1", use_pretrained_backbone=False, out_indices=(1, 3))
    backbone = transformers.TimmBackbone(config).eval()
    maps = backbone(torch.randn(1, 3, 64, 64)).feature_maps
    assert [x.shape[1:] for x in maps] == [(96, 8, 8), (448, 2, 2)]


def test_torchvision_detects_with_one():
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops import FeaturePyramidNetwork

    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = timm.create_model("ef_v2_s0", features_only=True)
            self.out_channels = 32
            self.fpn = FeaturePyramidNetwork(self.body.feature_info.channels(), self.out_channels)

        def forward(self, x):
            return self.fpn({str(index): x for index, x in enumerate(self.body(x))})

    anchors = AnchorGenerator(tuple((16 * 2**level,) for level in range(4)), ((0.5, 1.0, 2.0),) * 4)
    detector = FasterRCNN(Backbone(), num_classes=3, rpn_anchor_generator=anchors, min_size=64, max_size=96)
    targets = [{"boxes": torch.tensor([[4.0, 4.0, 40.0, 50.0]]), "labels": torch.tensor([1])}]
    losses = detector.train()([torch.rand(3, 70, 90)], targets)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in detector.backbone.body.model.stages[2].parameters())
    assert set(detector.eval()([torch.rand(3, 70, 90)])[0]) == {"boxes", "labels", "scores"}
