"""Versions of the supernet's weights that score a descent: as it was trained, and after trainings on the way down.

Every version after a training stays on disk: a killed descent resumes with it, every network that is compared with one
of the descent is scored with the same weights, and networks that start from the supernet start from it.
"""

from collections.abc import Mapping
from pathlib import Path

from efficientformer.errors import RecordError
from efficientformer.models.weights_file import read_tensors, read_weights_metadata, write_weights_file
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.pipeline.slimming.cached_scorer import CachedScorer
from efficientformer.records import digest, file_digest
from efficientformer.search.ancestor import Ancestor
from efficientformer.search.candidates import State

DESCENT = "descent"
"""The fingerprint of the descent that made a version, in the metadata of its file."""


class Versions:
    """The weights that score the descent with this `fingerprint`: without a training, the supernet's alone."""

    def __init__(self, workspace: Workspace, scorer: CachedScorer, fingerprint: str) -> None:
        self._workspace, self._scorer, self._fingerprint = workspace, scorer, fingerprint
        self._contents: dict[str, str] = {}

    def name_at(self, step: int, target_ms: float | None, num_shared: int) -> str | None:
        """The name of the version that scores after `step` steps; None: the supernet as it was trained.

        target_ms: of the target whose own steps follow `num_shared` steps of all targets; None without own steps.
        """
        return None

    def after(self, step: int, target_ms: float | None, state: State) -> State:
        """The state after `step` steps, with its accuracy by the weights that score the next step."""
        return state

    def use(self, name: str | None) -> None:
        """Score with the version of this name; None: the supernet. Raises RecordError if it is gone."""
        if name is None:
            self._scorer.use_supernet_weights()
            return
        path = self._workspace.run_dir.recovered(name)
        if not self.has(name):
            raise RecordError(
                f"{path}, the weights after a step of slimming, is missing or of another descent. Delete "
                f"{self._workspace.run_dir.slim_steps} and run 'efficientformer slim' to search again."
            )
        if name not in self._contents:
            self._contents[name] = file_digest(path)
        self._scorer.use_weights(digest([self._known_as(name), self._contents[name]]), lambda: read_tensors(path))

    def has(self, name: str) -> bool:
        """Whether the file of a version is there, and of this descent."""
        return _descent_of(self._workspace.run_dir.recovered(name)) == self._fingerprint

    def keep(self, name: str, supernet: Ancestor, about: Mapping[str, str] | None = None) -> None:
        """Write the weights of a version. `about` is further metadata of the file."""
        path = self._workspace.run_dir.recovered(name)
        write_weights_file(path, supernet.state_dict(), {DESCENT: self._fingerprint, **(about or {})})
        self._contents.pop(name, None)

    def remove_others(self) -> None:
        """Remove the versions of other descents."""
        for path in self._workspace.run_dir.all_recovered():
            if _descent_of(path) != self._fingerprint:
                path.unlink()

    def _known_as(self, name: str) -> str:
        """Distinguishes the version from those of other descents."""
        return digest([self._fingerprint, name])


def _descent_of(path: Path) -> str | None:
    """The fingerprint of the descent that wrote a file of weights; None if it cannot be read."""
    try:
        return read_weights_metadata(path).get(DESCENT)
    except RecordError:
        return None
