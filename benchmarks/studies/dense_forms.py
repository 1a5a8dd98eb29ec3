"""Do the published networks train at the paper's dense sizes: are all maps, losses and gradients finite?

    python benchmarks/studies/dense_forms.py

Each of them, or those that are named, behind a Semantic FPN at 512 x 512 and behind Mask R-CNN at 800 x 1333: one step
with one image from new weights, in a process of its own, which knows its peak memory. The record is of all of them.
"""

import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import torch

from efficientformer.arch.dense import DenseHead, MaskRcnn, SemanticFpn
from efficientformer.arch.resolution import Grid
from efficientformer.arch.zoo import ZOO
from efficientformer.models.heads.mask_rcnn import MaskRcnnHead
from efficientformer.models.network import Network
from efficientformer.provenance import provenance
from naming import keep

FORMS: tuple[tuple[DenseHead, Grid, int], ...] = ((SemanticFpn(), (512, 512), 150), (MaskRcnn(), (800, 1333), 80))
"""Head, height and width, and classes: those of ADE20K and COCO."""


def main(names: list[str]) -> None:
    rows = []
    for name, form in ((name, form) for name in names or ZOO for form in FORMS):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            rows.append(process.submit(one_step, name, *form).result())
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()
    if not names:
        keep("dense_forms", "published", {"forms": rows, "provenance": provenance()})


def one_step(name: str, head: DenseHead, size: Grid, num_classes: int) -> dict[str, Any]:
    torch.manual_seed(0)
    network = Network(replace(ZOO[name], head=head), num_classes=num_classes, resolution=size).train()
    started, (height, width) = time.monotonic(), size
    maps = network.forward_normed_maps(torch.randn(1, 3, *size))
    if isinstance(network.head, MaskRcnnHead):
        mask_1HW = torch.zeros(1, *size)
        mask_1HW[:, : height // 2, : width // 2] = 1
        box_14 = torch.tensor([[0.0, 0.0, width // 2, height // 2]])
        losses = network.head.losses(maps, size, [{"boxes": box_14, "labels": torch.tensor([1]), "masks": mask_1HW}])
    else:
        losses = {"loss": torch.nn.functional.cross_entropy(network.head(maps, size), torch.zeros(1, *size).long())}
    forward_s = time.monotonic() - started
    torch.stack(list(losses.values())).sum().backward()
    gradients = {key: parameter.grad for key, parameter in network.named_parameters() if parameter.requires_grad}
    tensors = {f"map {number}": x for number, x in enumerate(maps, start=1)} | losses | gradients
    return {
        **{"network": name, "head": head.kind, "size": size, "maps": [tuple(x.shape) for x in maps]},
        **{"gradients": len(gradients), "lost": [k for k, x in tensors.items() if x is None or not x.isfinite().all()]},
        **{"forward_s": round(forward_s, 1), "step_s": round(time.monotonic() - started, 1)},
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
