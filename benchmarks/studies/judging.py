"""Does a supernet rank networks of equal latency better by top-1 or by likelihood, and from how many images?

    python benchmarks/studies/judging.py --run runs/supernets/evenly-15-10

Uses the networks of slimming.py and trials.py, whose top-1 after training alone is in their records: those of one seed
and budget are a group. The supernet of a run on the same images scores them on all its held-out images. For random
subsets of the images, and for all, the record has the agreement of three scores with training alone: the correlation
over all groups, each centered and scaled, the mean of Kendall's tau, and the lead of the network with the best score
over the mean of its group, in points.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor

from compact import expanded
from efficientformer.arch.spaces import QUICK
from efficientformer.data.loading.loader import Batch, eval_batches
from efficientformer.pipeline.slimming.held_out import scoring_splits
from efficientformer.pipeline.slimming.oracles import load_supernet
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.scoring.accuracy import extract_network, reestimate_batch_norm
from efficientformer.search.scoring.tally import SHARPNESS, losses_by_sharpness
from efficientformer.search.subnet import Subnet
from efficientformer.tasks.classification.kind import ONE_LABEL
from naming import newest
from shared import keep_outcome, shared_run

SPACE = QUICK
DATA = "cifar10_32k"
NUM_IMAGES = (32, 64, 100, 200, 300, 500, 1000, 2000, 3000)
NUM_BN_IMAGES = 512
DRAWS = 20
METRICS = ("top1", "likelihood_as_trained", "likelihood")
"""Likelihood at the temperature that the supernet was trained with, and at the best of each network."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder of a run with a supernet of the paper's blocks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    groups = known_networks()
    scores = scores_of(arguments.run, groups)
    pairs = [(np.array([top1 for _, top1 in networks]), scores[key]) for key, networks in groups.items()]
    rows = [agreement(pairs, number) for number in (*NUM_IMAGES, None)]
    keep_outcome(
        "judging",
        "agreement of a supernet's top-1 and likelihood with training alone, among networks of equal latency",
        RunDir(arguments.run),
        groups=[
            {"seed": seed, "budget": budget, "networks": len(networks)} for (seed, budget), networks in groups.items()
        ],
        draws=DRAWS,
        rows=rows,
    )
    for row in rows:
        by = ", ".join(
            f"{name} {row[name]['correlation']:.2f} (tau {row[name]['tau']:.2f}, {row[name]['gain']:+.2f} points)"
            for name in METRICS
        )
        sys.stdout.write(f"{row['images']} images: {by}\n")


@dataclass(frozen=True)
class ImageScores:
    """Of every held-out image: whether its class is found (images), and its losses (factors of the logits, images)."""

    right: np.ndarray
    losses: np.ndarray

    def of(self, images: np.ndarray) -> tuple[float, ...]:
        """Scores by these images, in the order of METRICS; likelihoods as logarithms."""
        losses = self.losses[:, images].mean(axis=1)
        as_trained = losses[np.abs(SHARPNESS.numpy() - 1).argmin()]
        return float(self.right[images].mean()), -float(as_trained), -float(losses.min())


def known_networks() -> dict[tuple[int, str], list[tuple[Subnet, float]]]:
    """Different networks of each seed and budget with their top-1 after training alone, from the studies' records."""
    study, trials = (
        expanded(read_record(newest(*which), Any)["rows"], SPACE)
        for which in (("slimming", DATA, "gumbel"), ("trials", DATA))
    )
    groups: dict[tuple[int, str], dict[Any, tuple[Subnet, float]]] = {}
    trained = [(row, network, network["top1"]) for row in study for network in row["networks"].values()]
    trained += [(row, network, network["final_top1"]) for row in trials for network in row["trials"]]
    for row, network, top1 in trained:
        subnet = Subnet.from_json(network)
        groups.setdefault((row["seed"], row["budget"]), {}).setdefault(subnet.architecture, (subnet, top1))
    return {key: list(networks.values()) for key, networks in groups.items()}


def scores_of(
    root: Path, groups: Mapping[tuple[int, str], list[tuple[Subnet, float]]]
) -> dict[tuple[int, str], list[ImageScores]]:
    workspace = shared_run(root)
    supernet = load_supernet(workspace)
    train, held_out = scoring_splits(workspace)
    view, spread = workspace.task.eval_view(workspace.preprocessing), np.linspace(0, len(train) - 1, NUM_BN_IMAGES)
    bn_batches = [
        images for images, _ in eval_batches(train.subset(spread.round().astype(int).tolist()), view, batch_size=128)
    ]
    scoring = list(eval_batches(held_out, view, batch_size=250))
    return {
        key: [image_scores(supernet, subnet, bn_batches, scoring) for subnet, _ in networks]
        for key, networks in groups.items()
    }


@torch.inference_mode()
def image_scores(supernet: Ancestor, subnet: Subnet, bn_batches: list[Tensor], scoring: list[Batch]) -> ImageScores:
    network = extract_network(supernet, subnet)
    reestimate_batch_norm(network, bn_batches)
    right, losses = [], []
    for images, labels in scoring:
        logits = network(images)
        right.append((logits.argmax(dim=1) == labels).float())
        losses.append(losses_by_sharpness(logits, labels, ONE_LABEL))
    return ImageScores(torch.cat(right).numpy(), torch.cat(losses, dim=1).numpy())


def agreement(known: list[tuple[np.ndarray, list[ImageScores]]], number: int | None) -> dict[str, Any]:
    """Agreement of the scores with training alone, from `number` random images or from all, over all groups."""
    rng = np.random.default_rng(0)
    values: dict[str, list[list[float]]] = {name: [] for name in METRICS}
    for _ in range(DRAWS if number else 1):
        drawn = [rng.permutation(len(scores[0].right))[:number] for _, scores in known]
        scored = [
            np.array([score.of(images) for score in scores]) for (_, scores), images in zip(known, drawn, strict=True)
        ]
        for index, name in enumerate(METRICS):
            pairs = [(alone, scores[:, index]) for (alone, _), scores in zip(known, scored, strict=True)]
            centered = [(alone - alone.mean(), (score - score.mean()) / score.std()) for alone, score in pairs]
            correlation = np.corrcoef(*(np.concatenate(values) for values in zip(*centered, strict=True)))[0, 1]
            taus = [kendalltau(*pair).statistic for pair in pairs]
            gains = [alone[score.argmax()] - alone.mean() for alone, score in pairs]
            values[name].append([correlation, np.mean(taus), np.mean(gains)])
    means = {name: np.mean(rows, axis=0).tolist() for name, rows in values.items()}
    named = {name: dict(zip(("correlation", "tau", "gain"), row, strict=True)) for name, row in means.items()}
    return {"images": number or "all", **named}


if __name__ == "__main__":
    main()
