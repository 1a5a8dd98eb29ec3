"""Suites of networks to compare: those of the paper's Table 1, and recent mobile networks. No torch."""

from dataclasses import dataclass
from typing import Literal

from efficientformer.errors import UsageError


@dataclass(frozen=True)
class Suite:
    """A named list of networks: `titles` by name, `reference` is one of the names, `missing` are reasons by title."""

    name: str
    description: str
    reference: str
    titles: dict[str, str]
    missing: dict[str, str]


PAPER = Suite(
    name="paper",
    description="the networks of the paper's Table 1 that timm has, each at the input size of its published accuracy",
    reference="mobilenetv2_140.ra_in1k",
    titles={
        "mobilenetv2_100.ra_in1k": "MobileNetV2 x1.0",
        "mobilenetv2_140.ra_in1k": "MobileNetV2 x1.4",
        "resnet50.a1_in1k": "ResNet50",
        "efficientnet_b0.ra_in1k": "EfficientNet-B0",
        "efficientnet_b3.ra2_in1k": "EfficientNet-B3",
        "tf_efficientnet_b5.ra_in1k": "EfficientNet-B5",
        "deit_tiny_distilled_patch16_224.fb_in1k": "DeiT-T",
        "deit_small_distilled_patch16_224.fb_in1k": "DeiT-S",
        "swin_tiny_patch4_window7_224.ms_in1k": "Swin-T",
        "poolformer_s12.sail_in1k": "PoolFormer-S12",
        "poolformer_s24.sail_in1k": "PoolFormer-S24",
        "poolformer_s36.sail_in1k": "PoolFormer-S36",
        "resmlp_24_224.fb_in1k": "ResMLP-S24",
        "convmixer_768_32.in1k": "ConvMixer-768",
        "levit_256.fb_dist_in1k": "LeViT-256",
        "mobilevit_xs.cvnets_in1k": "MobileViT-XS",
        "efficientformer_l1": "EfficientFormer-L1",
        "efficientformer_l3": "EfficientFormer-L3",
        "efficientformer_l7": "EfficientFormer-L7",
    },
    missing={
        "PVT-Small": "timm has only the second version of PVT",
        "T2T-ViT-14": "not in timm",
        "CSwin-T": "not in timm",
        "NASViT-A5": "not in timm",
        "Mobile-Former-508M": "not in timm",
    },
)

MOBILE = Suite(
    name="mobile",
    description="networks designed for phones, from MobileNetV2 to today",
    reference="mobilenetv2_140.ra_in1k",
    titles={
        "mobilenetv2_100.ra_in1k": "MobileNetV2 x1.0",
        "mobilenetv2_140.ra_in1k": "MobileNetV2 x1.4",
        "mobilenetv3_large_100.ra_in1k": "MobileNetV3-Large",
        "mobilenetv4_conv_small.e2400_r224_in1k": "MobileNetV4-Conv-S",
        "mobilenetv4_conv_medium.e500_r224_in1k": "MobileNetV4-Conv-M",
        "mobilenetv4_hybrid_medium.e500_r224_in1k": "MobileNetV4-Hybrid-M",
        "efficientnet_b0.ra_in1k": "EfficientNet-B0",
        "ghostnetv2_100.in1k": "GhostNetV2 x1.0",
        "mobileone_s1.apple_in1k": "MobileOne-S1",
        "mobileone_s2.apple_in1k": "MobileOne-S2",
        "mobilevit_xs.cvnets_in1k": "MobileViT-XS",
        "mobilevitv2_075.cvnets_in1k": "MobileViTv2-0.75",
        "edgenext_x_small.in1k": "EdgeNeXt-XS",
        "edgenext_small.usi_in1k": "EdgeNeXt-S",
        "efficientvit_b1.r224_in1k": "EfficientViT-B1 (MIT)",
        "efficientvit_m5.r224_in1k": "EfficientViT-M5 (MSRA)",
        "fastvit_t8.apple_dist_in1k": "FastViT-T8",
        "fastvit_t12.apple_dist_in1k": "FastViT-T12",
        "repvit_m0_9.dist_450e_in1k": "RepViT-M0.9",
        "repvit_m1_1.dist_450e_in1k": "RepViT-M1.1",
        "swiftformer_xs.dist_in1k": "SwiftFormer-XS",
        "swiftformer_s.dist_in1k": "SwiftFormer-S",
        "shvit_s3.in1k": "SHViT-S3",
        "starnet_s3.in1k": "StarNet-S3",
        "efficientformerv2_s0.snap_dist_in1k": "EfficientFormerV2-S0",
        "efficientformerv2_s1.snap_dist_in1k": "EfficientFormerV2-S1",
        "efficientformerv2_s2.snap_dist_in1k": "EfficientFormerV2-S2",
        "efficientformer_l1": "EfficientFormer-L1",
    },
    missing={},
)

TABLE_2 = Suite(
    name="paper",
    description="the EfficientFormers of the paper's Table 2, and those of the second version's, with one head",
    reference="efficientformer_l1",
    titles={
        "efficientformer_l1": "EfficientFormer-L1",
        "efficientformer_l3": "EfficientFormer-L3",
        "efficientformer_l7": "EfficientFormer-L7",
        "efficientformerv2_s2": "EfficientFormerV2-S2",
        "efficientformerv2_l": "EfficientFormerV2-L",
    },
    missing={"ResNets, PoolFormers": "their backbones have no head here; the published figures have them"},
)

SuiteName = Literal["paper", "mobile"]
SUITES: dict[SuiteName, Suite] = {"paper": PAPER, "mobile": MOBILE}


def find_suite(name: SuiteName, *, of_task_models: bool = False) -> Suite:
    """The suite of that name. Raises UsageError for an unknown one."""
    if of_task_models:
        if name != TABLE_2.name:
            raise UsageError(f"--suite {name} is of classifiers; of task models there is --suite {TABLE_2.name}.")
        return TABLE_2
    if name not in SUITES:
        raise UsageError(f"There is no suite {name!r}; the suites are {' and '.join(SUITES)}.")
    return SUITES[name]


def known_title(name: str) -> str | None:
    """The title that papers use for a network of the suites, with or without the tag of its weights."""
    titles = {key.partition(".")[0]: title for suite in SUITES.values() for key, title in suite.titles.items()}
    return titles.get(name.partition(".")[0])
