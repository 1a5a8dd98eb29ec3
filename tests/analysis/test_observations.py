import pytest

from efficientformer.analysis.observations.plan import CHAIN_LENGTH, plan_observations
from efficientformer.analysis.observations.variants import count_macs
from efficientformer.errors import UsageError

L1_ONLY = ("efficientformer_l1",)


def test_every_experiment_compares_two_candidates_on_the_same_input():
    for observation in plan_observations(224):
        shapes = {candidate.name: candidate.input_shape for candidate in observation.candidates}
        assert len(shapes) == len(observation.candidates)
        for experiment in observation.experiments:
            assert shapes[experiment.subject] == shapes[experiment.baseline]
            assert experiment.subject != experiment.baseline
            assert (experiment.claim is None) == (experiment.threshold is None)
            assert experiment.claim is None or experiment.claim.observation == observation.number
        for switch in observation.switches:
            assert switch.network in ("L1", "L3") and switch.changed in shapes


def test_every_observation_has_parts_whole_networks_and_controls_of_both():
    for observation in plan_observations(224, L1_ONLY):
        assert {experiment.is_network for experiment in observation.experiments} == {True, False}
        assert {control.is_network for control in observation.controls} == {True, False}
        names = [candidate.name for candidate in observation.candidates]
        copies = [control.copy for control in observation.controls]
        assert names[-len(copies) :] == copies


def test_pairs_that_differ_in_layout_norm_or_activation_have_equal_macs():
    for observation in plan_observations(64, L1_ONLY, (3, 4)):
        macs = {
            candidate.name: count_macs(candidate.build().eval(), candidate.input_shape)
            for candidate in observation.candidates
            if not candidate.name.startswith("L1")
        }
        pairs = [pair for pair in observation.experiments if not pair.is_network]
        assert pairs and all(macs[pair.subject] == macs[pair.baseline] for pair in pairs)


def test_attention_is_tried_against_the_blocks_that_it_replaces():
    (observation,) = plan_observations(64, L1_ONLY, (2,))
    macs = {
        candidate.name: count_macs(candidate.build().eval(), candidate.input_shape)
        for candidate in observation.candidates
        if candidate.name in ("MB3D, stage 4", "MB4D, stage 4", "attention half, stage 4")
    }
    entry = 3 * 9 * 448 * 4
    blocks = [macs[f"{kind}, stage 4"] - entry for kind in ("MB3D", "MB4D", "attention half")]
    assert blocks[1] == CHAIN_LENGTH * 8 * 448 * 448 * 4
    assert blocks[0] == blocks[1] + blocks[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resolution": 100}, "multiple of 32"),
        ({"resolution": 32}, "multiple of 32"),
        ({"resolution": 224, "networks": ("resnet50",)}, "no network 'resnet50'"),
        ({"resolution": 224, "numbers": (5,)}, "no observation 5"),
    ],
)
def test_wrong_requests_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        plan_observations(**arguments)
