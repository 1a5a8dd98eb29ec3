"""Scores of subnets, computed once and kept for other processes, latency tables and budgets."""

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor

from efficientformer import __version__
from efficientformer.formats.slimming import EvaluationLine
from efficientformer.journal import Journal
from efficientformer.pipeline.run.inputs import image_digests, supernet_digests
from efficientformer.pipeline.run.stamps import chosen
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import require_metric
from efficientformer.pipeline.slimming.jobs import Asked, ScoreOneEach, UseWeights
from efficientformer.pipeline.slimming.oracles import accuracy_oracle, load_supernet, supernet_weights
from efficientformer.records import digest
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.scoring.accuracy import SupernetAccuracy
from efficientformer.search.scoring.score import Metric, Score
from efficientformer.search.scoring.tally import SHARPNESS
from efficientformer.search.subnet import Subnet


class CachedScorer:
    """The accuracy oracle of a run, with a journal. Scores of another supernet or of other images are discarded."""

    def __init__(self, workspace: Workspace) -> None:
        require_metric(workspace)
        self._workspace = workspace
        self.metric: Metric = workspace.settings.slim.metric
        self.channels = workspace.settings.slim.channels
        self.primary = workspace.task.words.primary
        self._made: SupernetAccuracy | None = None
        self._lock = threading.Lock()
        about = [
            chosen(workspace.settings, "slim.images", "slim.bn_images", "seed"),
            supernet_digests(workspace) | image_digests(workspace),
            __version__,
            [self.primary, "likelihood"],
            SHARPNESS.tolist(),
        ]
        self._journal = Journal(workspace.run_dir.evaluations, digest(about), EvaluationLine)
        self._known = {line["subnet"]: Score(line[self.primary], line["likelihood"]) for line in self._journal.lines}
        self._least_missed: dict[str, float] = {}
        self._weights_name: str | None = None
        self._load_weights: Callable[[], Mapping[str, Tensor]] = self._supernet_weights
        self._loaded_name: str | None = None

    def __call__(self, subnet: Subnet) -> float:
        return self.score(subnet).value(self.metric)

    def if_at_least(self, subnet: Subnet, least_accuracy: float) -> float | None:
        """Accuracy, or None if it is below `least_accuracy`, whether it is cached or not: what a descent weighs, and
        records, does not depend on the networks scored before."""
        score = self._score_if(subnet, least_accuracy)
        accuracy = None if score is None else score.value(self.metric)
        return None if accuracy is None or accuracy < least_accuracy else accuracy

    def score(self, subnet: Subnet) -> Score:
        """The primary score and the likelihood of a subnet."""
        score = self._score_if(subnet, -math.inf)
        assert score is not None
        return score

    def ahead(self, asked: Iterable[Asked]) -> None:
        """The subnets that will be asked for next: if the first is not known, each process scores one of them.

        Only their time depends on it.
        """
        if (crew := self._workspace.crew) is None:
            return
        unknown: list[Asked] = []
        for subnet, least_accuracy in asked:
            if self._is_known(self._key(subnet), least_accuracy):
                if not unknown:
                    return
                continue
            unknown.append((subnet, least_accuracy))
            if len(unknown) == crew.size:
                break
        if not unknown:
            return
        oracle = self._oracle()
        scores = crew.ask(ScoreOneEach(tuple(unknown)), lambda: oracle.if_at_least(*unknown[0]))
        for (subnet, least_accuracy), score in zip(unknown, scores, strict=False):
            self._keep(self._key(subnet), least_accuracy, score)

    def whole_ahead(self, asked: Iterable[Asked]) -> None:
        """The same where evaluations are completed, whatever accuracy has to be reached."""
        self.ahead((subnet, -math.inf) for subnet, _ in asked)

    def all_ahead(self, subnets: Sequence[Subnet]) -> None:
        """Score subnets that will all be asked for, several at a time if there are several processes."""
        for place in range(len(subnets) if self._workspace.crew else 0):
            self.ahead((subnet, -math.inf) for subnet in subnets[place:])

    def _score_if(self, subnet: Subnet, least_accuracy: float) -> Score | None:
        key = self._key(subnet)
        if not self._is_known(key, least_accuracy):
            self._keep(key, least_accuracy, self._oracle().if_at_least(subnet, least_accuracy))
        return self._known.get(key)

    def _key(self, subnet: Subnet) -> str:
        own = subnet.to_json()
        return digest(own if self._weights_name is None else [own, self._weights_name])

    def _is_known(self, key: str, least_accuracy: float) -> bool:
        """Whether the score is known, or known to be less than this."""
        return key in self._known or self._least_missed.get(key, math.inf) <= least_accuracy

    def _keep(self, key: str, least_accuracy: float, score: Score | None) -> None:
        with self._lock:
            if score is None:
                self._least_missed[key] = min(least_accuracy, self._least_missed.get(key, math.inf))
            else:
                self._known[key] = score
                self._journal.add({"subnet": key, self.primary: score.primary, "likelihood": score.likelihood})

    def use_weights(self, name: str, load: Callable[[], Mapping[str, Tensor]]) -> None:
        """Score with other weights of the supernet from now on; the cache distinguishes weights by `name`.

        load: returns them; called when the first score is not cached.
        """
        self._weights_name, self._load_weights = name, load

    def use_supernet_weights(self) -> None:
        """Score with the weights of the trained supernet again."""
        self._weights_name, self._load_weights = None, self._supernet_weights

    @property
    def supernet(self) -> Ancestor:
        return self._oracle().supernet

    def _oracle(self) -> SupernetAccuracy:
        """Built on first use: a finished run does not need it."""
        with self._lock:
            if self._made is None:
                self._made = accuracy_oracle(self._workspace, load_supernet(self._workspace))
                self._share_weights(self._made.supernet.state_dict())
            if self._loaded_name != self._weights_name:
                weights = self._load_weights()
                self._made.use_weights(weights)
                self._share_weights(weights)
                self._loaded_name = self._weights_name
        return self._made

    def _share_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Have the other processes score with these weights as well, if there are others."""
        if (crew := self._workspace.crew) is not None:
            crew.ask(UseWeights({name: tensor.cpu() for name, tensor in weights.items()}), lambda: None)

    def _supernet_weights(self) -> Mapping[str, Tensor]:
        return supernet_weights(self._workspace)
