"""The published networks as values (paper, Table 1 and appendix A; L3 and L7 and all of V2 as released)."""

from efficientformer.arch.spec import FFN, MB3D, MB4D, Architecture, AttnFFN, Stage, Strides

Four = tuple[int, int, int, int]


def build_architecture(
    widths: Four,
    depths: Four,
    num_mb3d: int,
    *,
    stem_strides: Strides = (2, 2),
    mb4d: MB4D = MB4D(),
    mb3d: MB3D = MB3D(),
) -> Architecture:
    """The architecture whose last `num_mb3d` blocks, counted from the end of stage 4 back into stage 3, are MB3D."""
    stages = []
    remaining = num_mb3d
    for width, depth in zip(reversed(widths), reversed(depths), strict=True):
        tokens = min(remaining, depth)
        remaining -= tokens
        stages.append(Stage(width, (mb4d,) * (depth - tokens) + (mb3d,) * tokens))
    return Architecture(tuple(reversed(stages)), stem_strides)


def build_v2(widths: Four, mlp_ratios: tuple[str, str, str, str], num_attention: int) -> Architecture:
    """The V2 architecture whose stages have one block per digit of `mlp_ratios`.

    In stages 3 and 4 each, the last `num_attention` blocks have attention, in stage 3 with stride 2.
    """
    stages = []
    for index, (width, ratios) in enumerate(zip(widths, mlp_ratios, strict=True)):
        first = len(ratios) - (num_attention if index >= 2 else 0)
        stride = 2 if index == 2 else 1
        blocks = [
            AttnFFN(mlp_ratio=int(ratio), stride=stride) if number >= first else FFN(mlp_ratio=int(ratio))
            for number, ratio in enumerate(ratios)
        ]
        stages.append(Stage(width, tuple(blocks)))
    return Architecture(tuple(stages))


L1 = build_architecture((48, 96, 224, 448), (3, 2, 6, 4), 1)
L3 = build_architecture((64, 128, 320, 512), (4, 4, 12, 6), 4)
L7 = build_architecture((96, 192, 384, 768), (6, 6, 18, 8), 8)

V2_S0 = build_v2((32, 48, 96, 176), ("44", "44", "433344", "4334"), 2)
V2_S1 = build_v2((32, 48, 120, 224), ("444", "444", "443333444", "443344"), 2)
V2_S2 = build_v2((32, 64, 144, 288), ("4444", "4444", "443333334444", "44333344"), 4)
V2_L = build_v2((40, 80, 192, 384), ("44444", "44444", "444433333334444", "4443333444"), 6)

ZOO = {
    "efficientformer_l1": L1,
    "efficientformer_l3": L3,
    "efficientformer_l7": L7,
    "efficientformerv2_s0": V2_S0,
    "efficientformerv2_s1": V2_S1,
    "efficientformerv2_s2": V2_S2,
    "efficientformerv2_l": V2_L,
}
