"""The setting slim.channels: whatever takes weights from the supernet takes them in one order, kept in the run."""

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.search.slimmable import SPACE as V2_SPACE

from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import MB3D, Stage
from efficientformer.data.sample import load_sample
from efficientformer.errors import UsageError
from efficientformer.models.weights_file import write_weights_file
from efficientformer.pipeline.networks.stand_alone import initial_network
from efficientformer.pipeline.phases import supernet as supernet_phase
from efficientformer.pipeline.run import workspace as workspace_module
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.inputs import image_digests
from efficientformer.pipeline.run.plan import SUPERNET
from efficientformer.pipeline.run.resolve_settings import merge_given, resolve_settings
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming import oracles
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.pipeline.slimming.descent import Descent, descent_fingerprint
from efficientformer.pipeline.slimming.oracles import build_supernet, load_supernet, supernet_weights
from efficientformer.pipeline.slimming.recovery import Recovery
from efficientformer.pipeline.slimming.versions import Versions
from efficientformer.records import write_record
from efficientformer.run_dir import RunDir
from efficientformer.search.scoring.accuracy import SupernetAccuracy, extract_network
from efficientformer.search.subnet import Subnet

V1_SPACE = v1_space(
    "tiny", (32, 32, 48, 48), (2, 1, 2, 2), 3, stem_strides=(2, 1), mb3d=MB3D(num_heads=2, key_dim=8, value_ratio=2)
)
GIVEN = {"resolution": 16, "training_threads": 1, "slim": {"images": 60, "bn_images": 0}}
IMPORTANT = {"slim": {"channels": "important"}}


class Run:
    """A run whose supernet has random weights, with a tenth of the shipped images."""

    def __init__(self, root: Path, images, given: dict[str, Any]) -> None:
        self.dir, self._images, self._given = RunDir(root), images, merge_given(GIVEN, given)
        self.train_supernet()

    def workspace(self, given: dict[str, Any] = IMPORTANT) -> Workspace:
        """As a new process opens the run."""
        workspace = Workspace(self.dir, resolve_settings(merge_given(self._given, given)), RunConsole(quiet=True))
        workspace.__dict__["dataset"] = self._images
        return workspace

    def train_supernet(self, seed: int = 0) -> None:
        workspace = self.workspace({})
        supernet = build_supernet(workspace)
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in supernet.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
        record: dict[str, Any] = {"epochs": 1, "num_steps": 1, "held_out_top1": 50.0, "settings": {}}
        if paths := supernet.path_probabilities():
            record["alphas"] = paths

        def write(_: str) -> None:
            write_weights_file(self.dir.supernet_weights, supernet.state_dict(), {})
            write_record(self.dir.supernet_record, record)

        SUPERNET.forget(workspace)
        for path in (self.dir.supernet_weights, self.dir.supernet_record):
            path.unlink(missing_ok=True)
        SUPERNET.run(workspace, write)


@pytest.fixture(scope="module")
def images():
    sample = load_sample()
    indices = [index for label in range(10) for index in np.flatnonzero(np.array(sample.train.labels) == label)[:60]]
    return replace(sample, train=sample.train.subset(indices), val=sample.val.subset(range(20)))


@pytest.fixture(params=["quick", "v2_quick"])
def run(request, tmp_path, images, monkeypatch) -> Run:
    monkeypatch.setitem(workspace_module.SPACES, "quick", V1_SPACE)
    monkeypatch.setitem(workspace_module.SPACES, "v2_quick", V2_SPACE)
    monkeypatch.setattr(oracles, "TRAINING_IMAGES", 128)
    return Run(tmp_path / "run", images, {"space": request.param})


def narrowed(space) -> Subnet:
    largest = Subnet.largest(space)
    stages = zip((16, 16, 32, 32), largest.architecture.stages, strict=True)
    return Subnet(space.network(Stage(width, stage.blocks) for width, stage in stages), largest.origins)


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@torch.no_grad()
def test_the_largest_network_is_the_same_and_narrowed_ones_are_others(run):
    x, networks = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)), {}
    for channels in ("first", "important"):
        workspace = run.workspace({"slim": {"channels": channels}})
        supernet = load_supernet(workspace)
        subnets = (Subnet.largest(workspace.space), narrowed(workspace.space))
        networks[channels] = [extract_network(supernet, subnet).eval()(x) for subnet in subnets]
        alone = initial_network(
            run.workspace({"slim": {"channels": channels}, "train": {"init": "supernet"}}), subnets[1]
        )
        scored = extract_network(supernet, subnets[1])
        assert all(map(torch.equal, alone.parameters(), scored.parameters())), "training starts from what was scored"
        assert not torch.equal(alone.eval()(x), networks[channels][1]), "with statistics of its own"
    whole, cut = zip(*networks.values(), strict=True)
    assert (whole[0] - whole[1]).abs().max() <= 1e-5 * whole[0].abs().max()
    assert (cut[0] - cut[1]).abs().max() > 1e-2 * cut[0].abs().max()


def test_the_order_is_made_once_and_kept(run, monkeypatch):
    first = supernet_weights(run.workspace())
    written = run.dir.sorted_supernet.read_bytes()
    assert not same(first, supernet_weights(run.workspace({})))
    run.dir.sorted_supernet.unlink()
    supernet_weights(run.workspace())
    assert run.dir.sorted_supernet.read_bytes() == written, "another process makes the same"
    for damage in (lambda path: path.write_bytes(written[:-9]), lambda path: path.write_bytes(b"")):
        damage(run.dir.sorted_supernet)
        assert same(supernet_weights(run.workspace()), first)
        assert run.dir.sorted_supernet.read_bytes() == written
    monkeypatch.setattr(oracles, "sort_ancestor", None)
    assert same(supernet_weights(run.workspace()), first)


def test_another_supernet_or_other_images_are_sorted_anew(run, images):
    first = supernet_weights(run.workspace())
    run.train_supernet(seed=1)
    second, again = supernet_weights(run.workspace()), run.workspace()
    assert not same(first, second)
    before = run.dir.sorted_supernet.read_bytes()
    again.__dict__["dataset"] = replace(images, train=images.train.subset(range(300)), digest="others")
    assert image_digests(again) != image_digests(run.workspace())
    supernet_weights(again)
    assert run.dir.sorted_supernet.read_bytes() != before


def test_scores_are_of_the_channels_asked_for(run):
    """Known scores of the first channels are not taken for those of the important ones, and the other way round."""
    scores, subnet = {}, narrowed(run.workspace().space)
    for channels in ("first", "important", "first"):
        workspace = run.workspace({"slim": {"channels": channels}})
        score = CachedScorer(workspace).score(subnet)
        assert scores.setdefault(channels, score) == score
        direct = oracles.accuracy_oracle(workspace, load_supernet(workspace)).score(subnet)
        assert direct == score
    assert scores["first"] != scores["important"]


def test_after_other_weights_the_sorted_ones_score_again(run):
    """Recovery and polishing change weights on their way."""
    workspace, subnet = run.workspace(), narrowed(run.workspace().space)
    expected = CachedScorer(workspace).score(subnet)
    run.dir.evaluations.unlink()
    scorer = CachedScorer(workspace)
    scorer.use_weights("zeros", lambda: {name: torch.zeros_like(t) for name, t in supernet_weights(workspace).items()})
    assert scorer.score(subnet) != expected
    scorer.use_supernet_weights()
    assert scorer.score(subnet) == expected


def test_a_supernet_taken_over_comes_with_its_order(run, tmp_path, images, monkeypatch):
    first = supernet_weights(run.workspace())
    source = {"supernet_from": str(run.dir.root)}
    other = Run.__new__(Run)
    other.dir, other._images, other._given = RunDir(tmp_path / "other"), images, merge_given(run._given, source)
    supernet_phase.run(other.workspace())
    monkeypatch.setattr(oracles, "sort_ancestor", None)
    assert same(supernet_weights(other.workspace()), first)


class Killed(BaseException):
    """The process is gone."""


class Table:
    """Latencies of networks, in milliseconds."""

    resolution, num_classes = 16, 10
    spread = SimpleNamespace(interval_ms=lambda latency_ms: (latency_ms, latency_ms))

    def predict(self, architecture) -> float:
        hidden = sum(block.mlp_ratio for stage in architecture.stages for block in stage.blocks)
        return hidden + architecture.num_attending + sum(architecture.widths) / 8


def descend(run: Run, share: float = 0.85, **slim: Any) -> tuple[Any, str]:
    """What a budget gets, and the journal of the descent."""
    workspace = run.workspace(
        {"slim": {"channels": "important", "actions": "paper", "polish": 0, "stride": 0.1, **slim}}
    )
    scorer, fingerprint = CachedScorer(workspace), descent_fingerprint(workspace)
    versions = (Recovery if slim.get("recover_every") else Versions)(workspace, scorer, fingerprint)
    descent = Descent(workspace, Table(), scorer, fingerprint, versions)  # type: ignore[arg-type]
    target_ms = share * Table().predict(workspace.space.largest())
    _, state = descent.first_within(target_ms, lambda net: True, progress=lambda *_: None)
    return state.to_record(), run.dir.slim_steps.read_text()


@pytest.mark.parametrize(
    ("slim", "is_kept"),
    [({}, False), ({"recover_every": 1, "recover_steps": 2}, True)],
    ids=["order lost", "recovering"],
)
def test_a_killed_slimming_ends_bitwise_like_one_that_was_not(run, tmp_path, monkeypatch, slim, is_kept):
    scored, score = [0, 10**9], SupernetAccuracy.if_at_least

    def counted(self, *arguments):
        scored[0] += 1
        if scored[0] == scored[1]:
            raise Killed
        return score(self, *arguments)

    monkeypatch.setattr(SupernetAccuracy, "if_at_least", counted)
    whole = descend(run, **slim)
    num_scored = scored[0]
    assert len(whole[1].splitlines()) > 2 and whole != descend(run, **slim, channels="first")
    other = copy.copy(run)
    other.dir = RunDir(tmp_path / "killed")
    other.train_supernet()
    scored[:] = [0, num_scored // 2]
    with pytest.raises(Killed):
        descend(other, **slim)
    scored[1] = 10**9
    if not is_kept:
        other.dir.sorted_supernet.unlink()
    assert descend(other, **slim) == whole


def test_switchable_batch_norm_keeps_the_first_channels():
    given = {"space": "v2_quick", "supernet": {"batch_norm": "switchable"}}
    assert resolve_settings(given).slim.channels == "first"
    with pytest.raises(UsageError, match=r"slim.channels 'important' needs supernet.batch_norm 'shared'") as refused:
        resolve_settings(merge_given(given, IMPORTANT))
    assert "\n" not in str(refused.value)
