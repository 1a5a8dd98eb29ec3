"""Phase `rank`: measure how well supernet scores rank networks against training each one from scratch.

Slimming relies on supernet scores of networks that are never trained. Here random networks of the space are trained by
the run's own settings and scored on validation images, which the search never sees. The ranking by latency alone is
given as well: a supernet that only ranks larger networks higher is not worth its training.
"""

import random
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from efficientformer.arch.space import SearchSpace
from efficientformer.errors import UsageError
from efficientformer.formats.slimming import RankRecord
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.pipeline.networks.led import led
from efficientformer.pipeline.networks.stand_alone import initial_network, stand_alone_score
from efficientformer.pipeline.run.inputs import supernet_digests
from efficientformer.pipeline.run.outputs import load_table
from efficientformer.pipeline.run.plan import RANK, SUPERNET
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.jobs import TrainAlone
from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.search.rivals.baselines import MAX_DRAWS
from efficientformer.search.subnet import Subnet

NUM_RESAMPLES = 1000
FEWEST = 3
"""Networks that can be ranked at all, as in the setting."""


def run(workspace: Workspace) -> None:
    led(workspace, _run)


def _run(workspace: Workspace) -> None:
    run_dir = workspace.run_dir
    table = load_table(workspace)
    SUPERNET.require(workspace)
    RANK.run(workspace, lambda _: _rank(workspace, table))
    record = read_record(run_dir.rank, RankRecord)
    low, high = record["interval"]
    workspace.console.say(
        f"Kendall tau {record['kendall_tau']:.2f} [{low:.2f}, {high:.2f}] between supernet scores and training "
        f"alone, over {len(record['networks'])} random networks; latency alone gives {record['latency_tau']:.2f}"
    )


def _rank(workspace: Workspace, table: LatencyTable) -> None:
    drawn = drawn_subnets(workspace.space, workspace.settings.rank.networks, workspace.settings.seed)
    scorer = CachedScorer(workspace)
    scorer.all_ahead(drawn)
    primary, rows = scorer.primary, []
    for number, subnet in enumerate(drawn, start=1):
        alone = alone_score(workspace, subnet, f"network {number} of {len(drawn)}")
        latency_ms, accuracy = table.predict(subnet.architecture), scorer(subnet)
        rows.append(
            {
                **subnet.to_json(),
                "latency_ms": latency_ms,
                "supernet_accuracy": accuracy,
                f"alone_{primary}": alone[primary],
                "seconds": alone["seconds"],
            }
        )
        workspace.console.say(
            f"{number} of {len(drawn)}: {subnet.architecture}: supernet {accuracy:.1f} %, alone {alone[primary]:.1f} %"
        )
    write_record(
        workspace.run_dir.rank, {**ranking(rows, f"alone_{primary}"), "networks": rows, "provenance": provenance()}
    )


def drawn_subnets(space: SearchSpace, count: int, seed: int) -> list[Subnet]:
    """The random networks to train, all different. Fewer networks are the first of a longer list.

    Raises UsageError where MAX_DRAWS draws find fewer than `count`.
    """
    rng = random.Random(f"{seed}/rank")
    drawn: dict[Subnet, None] = {}
    for _ in range(MAX_DRAWS):
        drawn[Subnet.random(space, rng)] = None
        if len(drawn) == count:
            return list(drawn)
    fewer = f"Ask for --rank.networks {len(drawn)}, or for" if len(drawn) >= FEWEST else "Ask for"
    raise UsageError(
        f"{MAX_DRAWS:,} random draws from this space found {len(drawn)} different networks, not the {count} of "
        f"--rank.networks. {fewer} a space with more widths, depths or blocks."
    )


def alone_score(workspace: Workspace, subnet: Subnet, title: str) -> dict[str, float]:
    """Validation score and seconds of training the subnet alone, kept in the run."""
    what = subnet.to_json()
    if workspace.settings.train.init == "supernet":
        what |= supernet_digests(workspace)
    return stand_alone_score(
        workspace,
        workspace.run_dir.rank_trained,
        what,
        lambda: initial_network(workspace, subnet),
        title=title,
        job=TrainAlone(subnet, title),
    )


def ranking(rows: list[dict[str, Any]], of_alone: str = "alone_top1") -> dict[str, Any]:
    """Kendall's tau with its 95 % interval over resampled networks, and the tau of latency alone.

    of_alone: the name of the score after training alone.
    """
    alone, scores, latency_ms = (
        np.array([row[name] for row in rows]) for name in (of_alone, "supernet_accuracy", "latency_ms")
    )
    rng = np.random.default_rng(0)
    resampled = [
        _tau(scores[picked], alone[picked]) for picked in rng.integers(len(rows), size=(NUM_RESAMPLES, len(rows)))
    ]
    return {
        "kendall_tau": _tau(scores, alone),
        "interval": [float(end) for end in np.percentile(resampled, [2.5, 97.5])],
        "latency_tau": _tau(latency_ms, alone),
    }


def _tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b; 0 if either input is constant."""
    value = float(np.asarray(kendalltau(first, second)[0]))
    return 0.0 if np.isnan(value) else value
