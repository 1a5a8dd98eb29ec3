"""Small networks with everything in them."""

from dataclasses import replace

from efficientformer.arch.spec import FFN, MB3D, Architecture, AttnFFN, Stage
from efficientformer.arch.zoo import ZOO, build_architecture

# MB3D in stage 3 as well, two heads of attention, a stem of stride 2.
SMALL = build_architecture((8, 16, 24, 32), (2, 1, 3, 2), 4, stem_strides=(2, 1), mb3d=MB3D(2, 2, 8, 2))
# Attention of both strides, and an FFN after one.
SMALL_V2 = Architecture(
    (
        Stage(8, (FFN(2), FFN(1))),
        Stage(16, (FFN(),)),
        Stage(24, (FFN(3), AttnFFN(2, 2, 8, 2, stride=2))),
        Stage(32, (AttnFFN(2, 2, 8, 3), FFN(2), AttnFFN())),
    ),
    stem_strides=(2, 1),
)
BOTH = [SMALL, SMALL_V2]
BOTH_IDS = ["v1", "v2"]
STEMS = [*BOTH, *(replace(small, stem_strides=(2, 1, 1)) for small in BOTH)]
"""Both, and both behind a stem of three convolutions."""
STEMS_IDS = [*BOTH_IDS, "v1, three strides", "v2, three strides"]
V1_NAMES = [name for name, architecture in ZOO.items() if not architecture.is_v2]
