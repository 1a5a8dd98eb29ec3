"""Do intervals over fresh sessions cover the median process, and is the p50 unbiased?

    python benchmarks/studies/sessions.py --seeds 60

On the synthetic machine of the tests, so a checkout is needed: networks vary by themselves, processes differ by 1 %,
other work disturbs samples. Nothing is timed and no record is kept: the same seeds give the same figures anywhere.
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.latency.synthetic import Machine, measurements_of

from efficientformer.latency.timing.repeated import NUM_SESSIONS, Repeated
from efficientformer.latency.timing.session import TimedSession

LATENCIES_MS = {"network": 1.2, "largest": 2.0}
ROUNDS = 17
BETWEEN = 0.01
"""Standard deviation of the factors of processes; repeatability records have 0.5 to 1.6 %."""
MOVING = ("steps", "tails")
"""Disturbances that move the median of all processes away from the latency of an idle machine."""
CASES = (
    *(("none", variation) for variation in (0.004, 0.01, 0.03, 0.05, 0.1)),
    *itertools.product(["modes"], (0.004, 0.01)),
    *itertools.product(["spikes"], (0.004, 0.03)),
    *(("steps", 0.004), ("tails", 0.004)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=60)
    seeds = range(parser.parse_args().seeds)
    sys.stdout.write("own variation, disturbance: covered by one session, by six, ratio by six; bias of the p50\n")
    for disturbance, variation in CASES:
        found = [verification(seed, disturbance, variation) for seed in seeds]
        networks = [row["network"] for row in found]
        all_ms = [session.p50_ms for network in networks for session in network.sessions]
        truth_ms = float(np.median(all_ms)) if disturbance in MOVING else LATENCIES_MS["network"]
        ratios = [row["network"].ratio_to(row["largest"], "largest") for row in found]
        one = coverage([network.sessions[0].interval_ms for network in networks], truth_ms)
        six = coverage([network.interval_ms for network in networks], truth_ms)
        of_ratio = coverage([ratio.interval for ratio in ratios], LATENCIES_MS["network"] / LATENCIES_MS["largest"])
        bias = 100 * np.mean([network.p50_ms / truth_ms - 1 for network in networks])
        sys.stdout.write(
            f"{100 * variation:4.1f} %, {disturbance}: {one:.0f}, {six:.0f}, {of_ratio:.0f} %; {bias:+.2f} %\n"
        )
        sys.stdout.flush()


def verification(seed: int, disturbance: str, variation: float) -> dict[str, Repeated]:
    """Networks measured in as many sessions as `verify` takes, on one machine."""
    disturbances: Iterable[str] = () if disturbance == "none" else (disturbance,)
    machine = Machine(seed, *disturbances, noise=variation, between=BETWEEN)
    taken = []
    for index in range(NUM_SESSIONS):
        candidates = {name: (lambda ms=ms: machine.candidate(ms)) for name, ms in LATENCIES_MS.items()}
        session = TimedSession(candidates, clock="cpu", threads=1, about="synthetic", seed=index)
        session.take(ROUNDS)
        taken.append(measurements_of(session))
    return {name: Repeated([measured[name] for measured in taken]) for name in LATENCIES_MS}


def coverage(intervals: Sequence[tuple[float, float]], truth: float) -> float:
    """Share of the intervals that hold the true value, in percent."""
    return float(100 * np.mean([low <= truth <= high for low, high in intervals]))


if __name__ == "__main__":
    main()
