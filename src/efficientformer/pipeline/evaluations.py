"""Every subnet is judged once: accuracies outlive the process, the latency table and the budgets."""

import threading

from efficientformer import __version__
from efficientformer.pipeline.oracles import accuracy_oracle, load_supernet
from efficientformer.pipeline.workspace import Workspace
from efficientformer.records import Journal, digest
from efficientformer.search.accuracy import SupernetAccuracy
from efficientformer.search.subnet import Subnet


class Evaluations:
    """The accuracy oracle of a run, kept line by line. What another supernet or other images said is forgotten."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._made: SupernetAccuracy | None = None
        self._lock = threading.Lock()
        about = [
            workspace.chosen("slim.images", "slim.bn_images", "seed"),
            workspace.digests(workspace.run_dir.supernet_weights) | workspace.data_digest(),
            __version__,
        ]
        self._journal = Journal(workspace.run_dir.evaluations, digest(about))
        self._known: dict[str, float] = {line["subnet"]: line["top1"] for line in self._journal.lines}

    def __call__(self, subnet: Subnet) -> float:
        key = digest(subnet.to_json())
        if key not in self._known:
            top1 = self._oracle()(subnet)
            with self._lock:
                self._known[key] = top1
                self._journal.add({"subnet": key, "top1": top1})
        return self._known[key]

    def _oracle(self) -> SupernetAccuracy:
        """Made when something new is asked, since a finished run asks nothing."""
        with self._lock:
            if self._made is None:
                self._made = accuracy_oracle(self._workspace, load_supernet(self._workspace))
        return self._made
