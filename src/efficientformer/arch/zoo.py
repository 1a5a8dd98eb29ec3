"""The published networks as values (paper, Table 1 and appendix A; L3 and L7 as released)."""

from efficientformer.arch.spec import MB3D, MB4D, Architecture, Stage


def build_architecture(
    widths: tuple[int, int, int, int],
    depths: tuple[int, int, int, int],
    num_mb3d: int,
    *,
    stem_strides: tuple[int, int] = (2, 2),
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


L1 = build_architecture((48, 96, 224, 448), (3, 2, 6, 4), 1)
L3 = build_architecture((64, 128, 320, 512), (4, 4, 12, 6), 4)
L7 = build_architecture((96, 192, 384, 768), (6, 6, 18, 8), 8)

ZOO = {"efficientformer_l1": L1, "efficientformer_l3": L3, "efficientformer_l7": L7}
