"""The published networks for torch.hub, with the arguments of `efficientformer.create_model`.

torch.hub.load("OWNER/efficientformer", "efficientformer_l1", pretrained=True)
torch.hub.load(".", "efficientformerv2_s0", source="local", num_classes=10, resolution=160)
"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))

from efficientformer.arch.zoo import ZOO
from efficientformer.models.create import create_model

dependencies = ["huggingface_hub", "safetensors", "timm", "torch"]

for _name in ZOO:
    globals()[_name] = functools.partial(create_model, _name)
    globals()[_name].__doc__ = f"The published {_name}. {create_model.__doc__}"
