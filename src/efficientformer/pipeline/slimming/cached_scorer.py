"""Scores of subnets, computed once and kept for other processes, latency tables and budgets."""

import math
import threading
from collections.abc import Callable, Mapping

from torch import Tensor

from efficientformer import __version__
from efficientformer.formats.slimming import EvaluationLine
from efficientformer.journal import Journal
from efficientformer.pipeline.run.inputs import image_digests, supernet_digests
from efficientformer.pipeline.run.stamps import chosen
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.held_out import require_metric
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

    def _score_if(self, subnet: Subnet, least_accuracy: float) -> Score | None:
        own = subnet.to_json()
        key = digest(own if self._weights_name is None else [own, self._weights_name])
        if key not in self._known:
            score = self._oracle().if_at_least(subnet, least_accuracy)
            if score is None:
                return None
            with self._lock:
                self._known[key] = score
                self._journal.add({"subnet": key, self.primary: score.primary, "likelihood": score.likelihood})
        return self._known[key]

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
            if self._loaded_name != self._weights_name:
                self._made.use_weights(self._load_weights())
                self._loaded_name = self._weights_name
        return self._made

    def _supernet_weights(self) -> Mapping[str, Tensor]:
        return supernet_weights(self._workspace)
