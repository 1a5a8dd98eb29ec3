import math
import random
from collections import Counter
from dataclasses import replace
from typing import get_args

import pytest
import torch

from efficientformer.arch.moves import Drop, Narrow
from efficientformer.arch.spaces import v1_space
from efficientformer.arch.spec import MB3D
from efficientformer.data.loading.loader import Batch
from efficientformer.data.mixing import build_mixing
from efficientformer.errors import TrainingError
from efficientformer.models.embed import Stem
from efficientformer.models.network import Network
from efficientformer.search.scoring.accuracy import SupernetAccuracy, extract_network, reestimate_batch_norm
from efficientformer.search.scoring.kept_features import cell_modules
from efficientformer.search.scoring.score import Metric, Score
from efficientformer.search.subnet import Subnet
from efficientformer.search.supernet.gumbel import path_weights
from efficientformer.search.supernet.mixing import Mixing
from efficientformer.search.supernet.supernet import Supernet
from efficientformer.search.supernet.supernet_task import SupernetTask
from efficientformer.tasks.classification.kind import ONE_LABEL
from tests.search.by_hand import swap_first
from tests.search.likelihood import likelihood

SPACE = v1_space(
    "tiny", (32, 32, 48, 48), (2, 1, 2, 2), 4, stem_strides=(2, 1), mb3d=MB3D(num_heads=2, key_dim=8, value_ratio=2)
)
HARD = Mixing(temperature=1.0, noise="none", sampling="single")


@pytest.fixture
def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(SPACE, resolution=16, num_classes=5, layer_scale_init=0.5)


def choose(supernet: Supernet, kinds: list[list[str]]) -> None:
    for stage, names in zip(supernet.stages, kinds, strict=True):
        for path, name in zip(stage.paths, names, strict=True):
            path.alpha.data.copy_(torch.tensor([5.0 if n == name else 0.0 for n in path.names]))


def test_paths_are_those_of_the_paper(supernet):
    names = [[path.names for path in stage.paths] for stage in supernet.stages]
    assert names[0] == [("MB4D", "identity")] * 2
    assert names[1] == [("MB4D", "identity")]
    assert names[2] == names[3] == [("MB4D", "MB3D", "identity")] * 2


def test_blocks_of_a_new_supernet_add_a_tenth_of_what_they_compute():
    scales = {
        name: parameter.unique().tolist()
        for name, parameter in Supernet(SPACE, resolution=16, num_classes=5).named_parameters()
        if "layer_scale" in name
    }
    assert len(scales) >= 2 * sum(SPACE.max_depths)
    assert all(value == pytest.approx([0.1]) for value in scales.values()), scales


def test_a_metapath_mixes_its_candidates_by_their_weights(supernet):
    path = supernet.stages[2].paths[0].eval()
    path.alpha.data.copy_(torch.tensor([0.3, -0.2, 0.9]))
    x = torch.randn(2, 48, 2, 2)
    torch.manual_seed(7)
    mixed = path(x, Mixing(temperature=0.5))
    torch.manual_seed(7)
    w4, w3, w1 = path_weights(path.alpha, temperature=0.5)
    tokens = path.mb3d(x.flatten(2).transpose(1, 2))
    direct = w4 * path.mb4d(x) + w3 * tokens.transpose(1, 2).reshape(2, 48, 2, 2) + w1 * x
    assert torch.allclose(mixed, direct, atol=1e-6)
    mixed.sum().backward()
    assert path.alpha.grad is not None and path.alpha.grad.abs().sum() > 0


def test_even_sampling_ignores_the_logits(supernet, monkeypatch):
    path = supernet.stages[2].paths[0]
    path.alpha.data.copy_(torch.tensor([9.0, 0.0, -9.0]))
    drawn: Counter[str] = Counter()
    monkeypatch.setattr(path, "_candidate", lambda name, x: drawn.update([name]) or x)
    x = torch.ones(1, 48, 2, 2)
    for _ in range(600):
        out = path(x, Mixing(temperature=0.5, sampling="even"))
        assert torch.equal(out, x)
    assert set(drawn) == set(path.names) and min(drawn.values()) > 150


def test_an_evenly_drawn_path_teaches_the_logits_by_its_probability_without_noise(supernet):
    path = supernet.stages[2].paths[0]
    path.alpha.data.copy_(torch.tensor([0.3, -0.2, 0.9]))
    x = torch.randn(2, 48, 2, 2)
    for seed in range(6):
        path.alpha.grad = None
        torch.manual_seed(seed)
        path(x, Mixing(temperature=0.1, sampling="even")).sum().backward()
        torch.manual_seed(seed)
        chosen = int(torch.randint(3, ()))
        by_probability = torch.autograd.grad(torch.softmax(path.alpha, 0)[chosen], path.alpha)[0]
        out = path._candidate(path.names[chosen], x).sum().detach()
        assert torch.allclose(path.alpha.grad, out * by_probability, rtol=1e-4)


def test_the_largest_subnet_is_the_supernet_with_those_paths(supernet):
    choose(supernet, [["MB4D"] * 2, ["MB4D"], ["MB3D"] * 2, ["MB3D"] * 2])
    network = extract_network(supernet, Subnet.largest(SPACE)).eval()
    x = torch.randn(3, 3, 16, 16)
    assert torch.allclose(network(x), supernet.eval()(x, HARD), atol=1e-5)


def test_a_stem_of_three_convolutions_is_cut_with_its_stage():
    torch.manual_seed(0)
    space = replace(SPACE, stem_strides=(2, 1, 1))
    supernet = Supernet(space, resolution=16, num_classes=5, layer_scale_init=0.5).train()
    choose(supernet, [["MB4D"] * 2, ["MB4D"], ["MB3D"] * 2, ["MB3D"] * 2])
    subnet = Subnet.largest(space).after(Narrow(0, 16))
    network, x = extract_network(supernet, subnet).train(), torch.randn(8, 3, 16, 16)
    assert network.stem.first.conv.out_channels == 4
    assert torch.allclose(network(x), supernet.forward_at(subnet.architecture.widths, x, HARD), atol=1e-4)


def test_dropped_and_narrowed_subnets_equal_the_cut_supernet(supernet):
    subnet = swap_first(Subnet.largest(SPACE).after(Drop(0, 0)), SPACE).after(Drop(3, 1), Narrow(1, 16), Narrow(3, 16))
    assert subnet.origins == ((1,), (0,), (0, 1), (0,))
    choose(supernet, [["identity", "MB4D"], ["MB4D"], ["MB4D", "MB3D"], ["MB3D", "identity"]])
    network = extract_network(supernet, subnet)
    x = torch.randn(8, 3, 16, 16)
    supernet.train(), network.train()
    assert subnet.architecture.widths == (32, 16, 48, 32)
    narrow = supernet.forward_at(subnet.architecture.widths, x, HARD)
    assert torch.allclose(network(x), narrow, atol=1e-4)


def test_gradients_of_a_narrow_step_reach_only_the_kept_channels(supernet):
    supernet.forward_at((16, 16, 32, 32), torch.randn(4, 3, 16, 16), Mixing(1.0)).sum().backward()
    gradient = supernet.stages[0].paths[0].mb4d.mlp.fc1.weight.grad
    assert gradient[:64, :16].abs().sum() > 0
    assert gradient[64:].abs().sum() == 0 and gradient[:, 16:].abs().sum() == 0


def make_task(elastic_width, label_smoothing=0.1, noise="uniform", mix=None):
    return SupernetTask(
        kind=ONE_LABEL,
        temperature=(1.0, 0.1),
        noise=noise,
        sampling="soft",
        elastic_width=elastic_width,
        label_smoothing=label_smoothing,
        mix=mix,
    )


@pytest.mark.parametrize("sampling", ["soft", "single", "even"])
@pytest.mark.parametrize("widths", [SPACE.max_widths, (16, 16, 32, 32)])
def test_recomputed_activations_give_the_same_gradients(supernet, widths, sampling):
    images = torch.randn(4, 3, 16, 16)
    found = []
    for recompute in (False, True):
        supernet.zero_grad()
        torch.manual_seed(3)
        logits = supernet.forward_at(widths, images, Mixing(1.0, sampling=sampling), recompute)
        logits.square().sum().backward()
        gradients = {n: None if p.grad is None else p.grad.clone() for n, p in supernet.named_parameters()}
        found.append((logits.detach(), gradients))
    (kept_BK, kept), (again_BK, again) = found
    assert torch.allclose(kept_BK, again_BK, atol=1e-6)
    for name, gradient in kept.items():
        if gradient is None:
            assert again[name] is None
        else:
            assert torch.allclose(gradient, again[name], atol=1e-5), name


@pytest.mark.parametrize("elastic_width", ["none", "random", "sandwich"])
def test_training_moves_weights_and_logits_together(supernet, elastic_width):
    task = make_task(elastic_width)
    before = {name: tensor.clone() for name, tensor in supernet.named_parameters()}
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1)
    random.seed(0)
    for progress in (0.0, 0.5):
        task.loss(supernet, Batch(torch.randn(8, 3, 16, 16), torch.randint(5, (8,))), progress).backward()
        optimizer.step()
    assert task.logged()["temperature"] == pytest.approx(0.1**0.5)
    unmoved = [name for name, tensor in supernet.named_parameters() if torch.equal(tensor, before[name])]
    assert not [name for name in unmoved if name.endswith("alpha")]
    assert not [name for name in unmoved if "weight" in name]


def test_widths_are_trained_as_asked(supernet, monkeypatch):
    widths = []
    forward_at = Supernet.forward_at
    monkeypatch.setattr(
        Supernet, "forward_at", lambda self, at, *rest: widths.append(at) or forward_at(self, at, *rest)
    )
    images, labels = torch.randn(4, 3, 16, 16), torch.randint(5, (4,))
    random.seed(0)
    for _ in range(20):
        make_task("none").loss(supernet, Batch(images, labels), 0.0)
    assert set(widths) == {SPACE.max_widths}
    widths.clear()
    for _ in range(20):
        make_task("random").loss(supernet, Batch(images, labels), 0.0)
    assert len(set(widths)) > 3 and 4 < widths.count(SPACE.max_widths) < 17
    widths.clear()
    for _ in range(5):
        make_task("sandwich").loss(supernet, Batch(images, labels), 0.0)
    assert widths[0::3] == [SPACE.max_widths] * 5 and widths[1::3] == [SPACE.min_widths] * 5
    assert len(set(widths[2::3])) > 1


def test_in_a_sandwich_the_narrow_ones_learn_from_the_outputs_of_the_largest(supernet):
    supernet.eval()
    images, labels = torch.randn(6, 3, 16, 16), torch.randint(5, (6,))
    random.seed(1)
    loss = make_task("sandwich", label_smoothing=0.0, noise="none").loss(supernet, Batch(images, labels), 0.0)
    random.seed(1)
    drawn = tuple(random.choice(SPACE.widths(index)) for index in range(4))
    mixing = Mixing(1.0, "none")
    logits = {widths: supernet.forward_at(widths, images, mixing) for widths in (SPACE.max_widths, (16,) * 4, drawn)}
    targets = logits[SPACE.max_widths].detach().softmax(1)
    expected = torch.nn.functional.cross_entropy(logits[SPACE.max_widths], labels)
    for widths in ((16,) * 4, drawn):
        expected = expected - (targets * logits[widths].log_softmax(1)).sum(1).mean()
    assert torch.allclose(loss, expected / 3, atol=1e-6)
    assert drawn[3] < SPACE.max_widths[3], "some channels are of the largest alone"
    weight = supernet.stages[3].paths[0].mb4d.mlp.fc1.weight
    by_labels = torch.nn.functional.cross_entropy(logits[SPACE.max_widths], labels) / 3
    (teacher_alone,) = torch.autograd.grad(by_labels, weight, retain_graph=True)
    (expected_gradient,) = torch.autograd.grad(expected / 3, weight)
    loss.backward()
    beyond = weight.grad[:, drawn[3] :]
    assert beyond.abs().max() > 1e-6
    assert torch.allclose(beyond, teacher_alone[:, drawn[3] :], atol=1e-7), "only the labels teach the largest"
    assert torch.allclose(weight.grad, expected_gradient, atol=1e-7)


def test_the_labels_are_smoothed_as_asked(supernet):
    supernet.eval()
    images, labels = torch.randn(6, 3, 16, 16), torch.randint(5, (6,))
    logits = supernet(images, Mixing(1.0, "none"))
    for smoothing in (0.0, 0.1, 0.4):
        loss = make_task("none", label_smoothing=smoothing, noise="none").loss(supernet, Batch(images, labels), 0.0)
        targets = torch.nn.functional.one_hot(labels, 5) * (1 - smoothing) + smoothing / 5
        assert torch.allclose(loss, -(targets * logits.log_softmax(1)).sum(1).mean(), atol=1e-6)


@pytest.mark.parametrize("elastic_width", ["none", "sandwich"])
def test_a_mix_of_the_batch_trains_the_supernet(supernet, elastic_width):
    """All of its widths see the mixed images, and the largest their smoothed targets."""
    supernet.eval()
    images, labels = torch.randn(6, 3, 16, 16), torch.randint(5, (6,))
    mix = build_mixing(0.8, 0.0, 5, 0.0)
    torch.manual_seed(4), random.seed(4)
    loss = make_task(elastic_width, noise="none", mix=mix).loss(supernet, Batch(images, labels), 0.0)
    torch.manual_seed(4), random.seed(4)
    mixed, targets = mix(images, labels)
    assert not torch.equal(mixed, images)
    mixing = Mixing(1.0, "none")
    logits = supernet(mixed, mixing)
    expected = -((targets * 0.9 + 0.1 / 5) * logits.log_softmax(1)).sum(1).mean()
    if elastic_width == "sandwich":
        for widths in ((16,) * 4, tuple(random.choice(SPACE.widths(index)) for index in range(4))):
            narrow = supernet.forward_at(widths, mixed, mixing)
            expected = expected - (logits.softmax(1) * narrow.log_softmax(1)).sum(1).mean()
        expected = expected / 3
    assert torch.allclose(loss, expected, atol=1e-5)


def test_batch_norm_is_estimated_from_the_images_given(supernet):
    network = extract_network(supernet, Subnet.largest(SPACE))
    images = torch.randn(64, 3, 16, 16) * 3 + 1
    reestimate_batch_norm(network, images.split(16))
    with torch.no_grad():
        first = network.stem.conv1(images)
    assert torch.allclose(network.stem.norm1.running_mean, first.mean((0, 2, 3)), atol=1e-4)
    assert not network.training and network.stem.norm1.momentum == 0.1


def test_the_oracle_scores_a_subnet_with_statistics_of_its_own(supernet):
    images, labels = torch.randn(32, 3, 16, 16), torch.randint(5, (32,))
    oracle = SupernetAccuracy(supernet, list(images.split(16)), [(images, labels)], ONE_LABEL)
    subnet = Subnet.largest(SPACE).after(Narrow(2, 16))
    first = oracle(subnet)
    for norm in [module for module in supernet.modules() if isinstance(module, torch.nn.BatchNorm2d)]:
        norm.running_mean.fill_(1e3)
    assert oracle(subnet) == first, "the supernet's own statistics must not matter"


def test_scored_images_may_be_normalized_by_their_own_statistics(supernet):
    images, labels = torch.randn(40, 3, 16, 16), torch.randint(5, (40,))
    held_out = list(zip(images.split(20), labels.split(20), strict=True))
    oracle = SupernetAccuracy(supernet, [], held_out, ONE_LABEL)
    for subnet in (
        Subnet.largest(SPACE),
        Subnet.largest(SPACE).after(Narrow(3, 16)),
        Subnet.largest(SPACE).after(Drop(2, 1)),
    ):
        network = extract_network(supernet, subnet).train()
        with torch.no_grad():
            logits = torch.cat([network(x) for x, _ in held_out])
        assert oracle.score(subnet).likelihood == pytest.approx(likelihood(logits, labels), rel=1e-4)
        assert oracle.score(subnet).primary == pytest.approx(100 * float((logits.argmax(1) == labels).double().mean()))


def test_cells_before_the_first_one_needed_have_no_weights(supernet):
    subnet = Subnet.largest(SPACE).after(Narrow(2, 16))
    whole, rest = extract_network(supernet, subnet), extract_network(supernet, subnet, first_cell=4)
    for number, (mine, theirs) in enumerate(zip(cell_modules(rest), cell_modules(whole), strict=True)):
        for weight, expected in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert weight.is_meta == (number < 4)
            assert weight.is_meta or torch.equal(weight, expected)
    assert torch.equal(rest.head.weight, whole.head.weight) and torch.equal(rest.norm.weight, whole.norm.weight)


@pytest.fixture
def passes(monkeypatch):
    """Names of the parts of networks that batches went through."""
    seen = []
    for name, part in (("stem", Stem), ("head", Network)):
        method = "forward_head" if part is Network else "forward"

        def counted(self, x, name=name, do=getattr(part, method)):
            seen.append(name)
            return do(self, x)

        monkeypatch.setattr(part, method, counted)
    return seen


@pytest.mark.parametrize("metric", get_args(Metric))
def test_the_oracle_gives_up_on_what_cannot_be_good_enough(supernet, passes, metric):
    images, labels = torch.randn(32, 3, 16, 16), torch.randint(5, (32,))
    held_out = list(zip(images.split(8), labels.split(8), strict=True))
    oracle = SupernetAccuracy(supernet, [images], held_out, ONE_LABEL, metric)
    subnet = Subnet.largest(SPACE)
    accuracy = oracle(subnet)
    passes.clear()
    assert oracle.if_at_least(subnet, accuracy).value(metric) == accuracy and passes.count("head") == 4
    passes.clear()
    assert oracle.if_at_least(subnet, 100.0) is None and passes.count("head") == 1
    assert oracle.if_at_least(subnet, accuracy + 1) is None


def test_a_score_is_top1_and_the_mean_probability_of_the_correct_class_at_the_best_temperature(supernet):
    images, labels = torch.randn(32, 3, 16, 16), torch.randint(5, (32,))
    held_out = list(zip(images.split(20), labels.split(20), strict=True))
    subnet = Subnet.largest(SPACE)
    score = SupernetAccuracy(supernet, [images], held_out, ONE_LABEL).if_at_least(subnet, 0.0)
    network = extract_network(supernet, subnet)
    reestimate_batch_norm(network, [images])
    with torch.no_grad():
        logits = network(images)
    assert score.primary == pytest.approx(100 * float((logits.argmax(dim=1) == labels).double().mean()))
    assert score.likelihood == pytest.approx(likelihood(logits, labels), rel=1e-5)


@pytest.mark.parametrize("metric", get_args(Metric))
def test_a_subnet_that_overflows_is_the_worst_of_all(supernet, metric):
    """Whatever its labels are: NaN counts as a vote for the first class."""
    images, labels = torch.randn(8, 3, 16, 16), torch.zeros(8, dtype=torch.long)
    with torch.no_grad():
        supernet.head.weight.copy_(3e38 * supernet.head.weight.sign())
    oracle = SupernetAccuracy(supernet, [images], [(images, labels)], ONE_LABEL, metric)
    assert oracle(Subnet.largest(SPACE)) == 0.0 and oracle.score(Subnet.largest(SPACE)) == Score(0.0, 0.0)
    assert oracle.if_at_least(Subnet.largest(SPACE), 0.1) is None


@pytest.mark.parametrize("metric", get_args(Metric))
@pytest.mark.parametrize("name", ["head.bias", "stem.conv1.weight", "stages.2.paths.0.mb4d.layer_scale_1"])
def test_a_supernet_whose_weights_are_not_finite_scores_nothing(supernet, metric, name):
    images, labels = torch.randn(8, 3, 16, 16), torch.zeros(8, dtype=torch.long)
    with torch.no_grad():
        supernet.get_parameter(name).view(-1)[0] = math.nan
    choose(supernet, [["MB4D"] * 2, ["MB4D"], ["MB4D"] * 2, ["MB3D"] * 2])
    subnet = swap_first(Subnet.largest(SPACE), SPACE)
    with pytest.raises(TrainingError, match=r"weights are not finite.*lower --supernet.lr"):
        SupernetAccuracy(supernet, [images], [(images, labels)], ONE_LABEL, metric)(subnet)


def test_other_weights_share_nothing_with_those_before(supernet, passes):
    images, labels = torch.randn(16, 3, 16, 16), torch.randint(5, (16,))
    oracle = SupernetAccuracy(supernet, [images], [(images, labels)], ONE_LABEL)
    oracle(Subnet.largest(SPACE))
    oracle.use_weights({name: tensor.clone() for name, tensor in supernet.state_dict().items()})
    passes.clear()
    oracle(Subnet.largest(SPACE))
    assert passes.count("stem") == 2
