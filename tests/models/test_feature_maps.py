import pytest
import torch

from efficientformer.models.create import create_model
from efficientformer.models.feature_maps import FeatureMaps


@pytest.mark.parametrize("name", ["efficientformer_l1", "efficientformerv2_s0"])
def test_each_stage_gives_a_map_of_its_stride(name):
    backbone = FeatureMaps(create_model(name, resolution=(96, 64), has_distillation_head=True), has_norms=True).eval()
    with torch.inference_mode():
        maps = backbone(torch.randn(2, 3, 96, 64))
    assert backbone.strides == (4, 8, 16, 32)
    for map_BCHW, width, stride in zip(maps, backbone.widths, backbone.strides, strict=True):
        assert map_BCHW.shape == (2, width, 96 // stride, 64 // stride)
        means_B = map_BCHW.mean(dim=(1, 2, 3))
        torch.testing.assert_close(means_B, torch.zeros(2), atol=1e-4, rtol=0)


def test_norms_are_those_of_the_family_and_every_parameter_learns():
    raw = FeatureMaps(create_model("efficientformerv2_s0", resolution=64))
    assert not list(raw.norms.parameters())
    normalized = FeatureMaps(create_model("efficientformer_l1", resolution=64))
    assert len(list(normalized.norms.parameters())) == 8
    for backbone in (raw, normalized):
        sum(map_BCHW.square().mean() for map_BCHW in backbone(torch.randn(2, 3, 64, 64))).backward()
        unused = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
        assert unused == []


def test_without_norms_the_maps_are_those_of_the_network():
    network = create_model("efficientformer_l1", resolution=64).eval()
    x_BCHW = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = network.forward_maps(x_BCHW)
        maps = FeatureMaps(network, has_norms=False).eval()(x_BCHW)
    torch.testing.assert_close(maps, expected, rtol=0, atol=0)
