"""Building the latency table of a search space on this device (paper, section 4.2).

Chains of parts and whole networks are prepared once and then timed together, in randomly interleaved rounds, so that
both see the same machine. Finished rounds are kept on disk; an interrupted build continues from there.
"""

from pathlib import Path

from efficientformer.arch.resolution import Grid
from efficientformer.arch.space import SearchSpace
from efficientformer.errors import LatencyError
from efficientformer.latency.clock import Clock, check_clock
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.tables.fit import fit_table, plan_table
from efficientformer.latency.tables.preparation import preparations
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.latency.timing.session import TimedSession
from efficientformer.latency.timing.timer import Progress
from efficientformer.provenance import provenance

ROUNDS = 24
NUM_NETWORKS = 24
CHAIN_LENGTH = 4


def build_table(
    space: SearchSpace,
    *,
    resolution: int | Grid,
    num_classes: int,
    runtime: Runtime,
    clock: Clock,
    rounds: int = ROUNDS,
    num_networks: int = NUM_NETWORKS,
    chain_length: int = CHAIN_LENGTH,
    seed: int = 0,
    partial_path: Path | None = None,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure every part of the space on this device, in the deploy form and one image at a time.

    `num_networks` random networks, the largest and the smallest are measured as well. The calibration is fitted on all
    of them; the table's error is that of each random network predicted from the others. Rounds in disturbed windows are
    taken again and left out (see `timing.calm`); the table's provenance lists them, and what had not settled after its
    warm-up. Rounds are kept in `partial_path`; a later call with the same arguments on the same machine continues from
    them. `progress(done, total, text)` counts prepared chains and networks, then rounds.
    Raises LatencyError for a clock that does not fit the runtime's threads, and for too few rounds, networks or blocks.
    """
    check_clock(clock, runtime.threads)
    if min(rounds, num_networks, chain_length) < 2:
        raise LatencyError("A table needs at least two rounds, two random networks, and chains of two blocks.")
    plan = plan_table(space, resolution, num_classes, chain_length=chain_length, num_networks=num_networks, seed=seed)
    origin = provenance(runtime.machine())
    setting = [space.to_json(), resolution, num_classes, clock, runtime.describe()]
    session = TimedSession(
        preparations(dict(zip(plan.names, plan.items, strict=True)), resolution, num_classes, runtime),
        clock=clock,
        threads=runtime.threads,
        about=[setting, origin["machine"], origin["versions"]],
        partial_path=partial_path,
        seed=seed,
    )
    preparing, timing = _both_counted(progress, len(plan.names), rounds)
    session.take(rounds, largest=plan.names[-1], preparing=preparing, progress=timing)
    return fit_table(
        plan,
        session.samples_ms(),
        runtime=runtime.describe(),
        threads=runtime.threads,
        clock=clock,
        provenance={
            **origin,
            "rounds": {
                "taken": session.num_rounds,
                "disturbed": session.disturbed_rounds,
                "calm": session.is_calm(rounds),
            },
            "unsettled": [name for name, noted in session.warm_up.items() if not noted["settled"]],
        },
    )


def _both_counted(
    progress: Progress | None, num_candidates: int, rounds: int
) -> tuple[Progress, Progress] | tuple[None, None]:
    """Progress of preparing, and of the rounds, whose count starts at the number of prepared candidates."""
    if progress is None:
        return None, None

    def preparing(done: int, total: int, text: str) -> None:
        progress(done, total + rounds, f"{text} chains and networks")

    def timing(done: int, total: int, text: str) -> None:
        progress(num_candidates + done, num_candidates + total, text)

    return preparing, timing
