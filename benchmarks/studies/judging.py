"""Does a supernet rank networks of equal latency better by top-1 or by likelihood, and from how many images?

    python benchmarks/studies/judging.py --work runs/study

Uses the networks of slimming.py and trials.py, whose top-1 after training alone is in their records. The supernets of
the runs in `--work` score them on all held-out images. The networks of one seed and budget are a group. For random
subsets of the images, and for all, the record has the agreement of both scores with training alone: the correlation
over all groups, each centered and scaled, the mean of Kendall's tau, and the lead of the network with the best score
over the mean of its group, in points.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau
from torch import Tensor
from torch.nn import functional

from compact import expanded
from efficientformer.arch.spaces import QUICK
from efficientformer.data.loader import eval_batches
from efficientformer.data.transforms import eval_transform
from efficientformer.pipeline.slimming.held_out import scoring_splits
from efficientformer.pipeline.slimming.oracles import load_supernet
from efficientformer.reading import read_record
from efficientformer.run_dir import RunDir
from efficientformer.search.scoring.accuracy import Batch, extract_network, reestimate_batch_norm
from efficientformer.search.scoring.score import Metric
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.supernet import Supernet
from naming import newest
from shared import keep_outcome, shared_run

SPACE = QUICK
DATA = "cifar10_32k"
NUM_IMAGES = (32, 64, 100, 200, 300, 500, 1000, 2000, 3000)
NUM_BN_IMAGES = 512
DRAWS = 20
METRICS: tuple[Metric, ...] = ("top1", "likelihood")
"""In the order of `score_of`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs of slimming.py")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    groups = known_networks()
    seeds = sorted({seed for seed, _ in groups})
    scores = {seed: scores_of(arguments.work / f"seed-{seed}", seed, groups) for seed in seeds}
    pairs = [
        (np.array([top1 for _, top1 in networks]), scores[seed][budget]) for (seed, budget), networks in groups.items()
    ]
    rows = [agreement(pairs, number) for number in (*NUM_IMAGES, None)]
    keep_outcome(
        "judging",
        "agreement of a supernet's top-1 and likelihood with training alone, among networks of equal latency",
        RunDir(arguments.work / f"seed-{seeds[0]}"),
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
    root: Path, seed: int, groups: dict[tuple[int, str], list[tuple[Subnet, float]]]
) -> dict[str, np.ndarray]:
    """Scores of each image by budget, (METRICS, networks, images): 1 for a correct class, and the log-likelihood."""
    workspace = shared_run(root)
    supernet = load_supernet(workspace)
    train, held_out = scoring_splits(workspace)
    transform, spread = eval_transform(workspace.preprocessing), np.linspace(0, len(train) - 1, NUM_BN_IMAGES)
    bn_batches = [
        images
        for images, _ in eval_batches(train.subset(spread.round().astype(int).tolist()), transform, batch_size=128)
    ]
    scoring = list(eval_batches(held_out, transform, batch_size=250))
    scores = {}
    for (at, budget), networks in groups.items():
        if at == seed:
            scores[budget] = np.stack([score_of(supernet, net, bn_batches, scoring) for net, _ in networks], axis=1)
    return scores


@torch.inference_mode()
def score_of(supernet: Supernet, subnet: Subnet, bn_batches: list[Tensor], scoring: list[Batch]) -> np.ndarray:
    network = extract_network(supernet, subnet)
    reestimate_batch_norm(network, bn_batches)
    right, log_likelihood = [], []
    for images, labels in scoring:
        logits = network(images)
        right.append((logits.argmax(dim=1) == labels).float())
        log_likelihood.append(-functional.cross_entropy(logits, labels, reduction="none"))
    return np.stack([torch.cat(right).numpy(), torch.cat(log_likelihood).numpy()])


def agreement(known: list[tuple[np.ndarray, np.ndarray]], number: int | None) -> dict[str, Any]:
    """Agreement of both scores with training alone, from `number` random images or from all, over all groups."""
    rng = np.random.default_rng(0)
    values: dict[str, list[list[float]]] = {name: [] for name in METRICS}
    for _ in range(DRAWS if number else 1):
        drawn = [rng.permutation(scores.shape[2])[:number] for _, scores in known]
        for index, name in enumerate(METRICS):
            pairs = [
                (alone, scores[index][:, images].mean(axis=1))
                for (alone, scores), images in zip(known, drawn, strict=True)
            ]
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
