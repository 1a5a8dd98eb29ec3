"""A search that several processes score for: what each does, and that it finds what one alone finds."""

from types import SimpleNamespace
from typing import Any

import pytest

from efficientformer.errors import TrainingError
from efficientformer.pipeline.networks import led
from efficientformer.pipeline.slimming.jobs import ScoreOneEach, UseWeights

from .test_slimming import Oracle, Runs, Supernet
from .threads import Threads, crew_of


@pytest.mark.parametrize(
    "options",
    [{}, {"lazy": True}, {"lazy": False, "workers": 2}, {"stride": 0.15}],
    ids=["plain", "lazy", "whole", "stride"],
)
def test_several_processes_find_what_one_finds(tmp_path, monkeypatch, options):
    """Weights are trained on the way, so the others have to follow those, too."""
    runs = Runs(tmp_path, monkeypatch)
    alone = runs.slim(runs.folder(), "75%", "50%", **options)
    num_alone, jobs = runs.ticks, []
    monkeypatch.setattr(led, "accuracy_oracle", lambda _, supernet: Oracle(supernet, lambda: None))
    monkeypatch.setattr(led, "with_weights", lambda _, weights: Supernet(weights["weight"].item()))

    def helper(world: Threads) -> Any:
        own: Any = led._Helper(SimpleNamespace(world=world))  # type: ignore[arg-type]
        return lambda job: jobs.append((world.rank, job)) or own.do(job)

    with crew_of(3, helper) as crew:
        assert runs.slim(runs.folder(), "75%", "50%", crew=crew, **options) == alone
    scored = [job for rank, job in jobs if rank == 1 and isinstance(job, ScoreOneEach)]
    assert sum(len(job.asked) > 1 for job in scored) > len(scored) / 2
    assert sum(isinstance(job, UseWeights) for rank, job in jobs if rank == 2) > 1
    assert runs.ticks < 0.9 * num_alone, "much is done by the others"


def test_what_a_job_raises_is_raised_by_the_first_and_the_others_go_on():
    def helper(world: Threads) -> Any:
        def do(job: str) -> str:
            if job == "fail" and world.rank == 2:
                raise TrainingError("no")
            return f"{job} {world.rank}"

        return do

    with crew_of(3, helper) as crew:
        with pytest.raises(TrainingError, match="no"):
            crew.ask("fail", lambda: "own")
        with pytest.raises(ZeroDivisionError):
            crew.ask("work", lambda: 1 / 0)
        assert crew.ask("work", lambda: "own") == ["own", "work 1", "work 2"]
