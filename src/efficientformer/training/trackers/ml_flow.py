"""MLflow: a run for each training, on the server of MLFLOW_TRACKING_URI or in a database of the run directory."""

import os
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient  # type: ignore[import-not-found]

from efficientformer.records import write_text

EXPERIMENT = "efficientformer"


class MLflow:
    """The run of a training, by an identity that is kept in `folder`.

    A training that is resumed repeats the steps since its checkpoint, with the same values: they are not written again.
    """

    def __init__(self, folder: Path, database: Path, title: str, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        local = f"sqlite:///{database.resolve()}"
        self._client = client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or local)
        self._last: dict[str, int] = {}
        kept = folder / "mlflow.id"
        if step and kept.is_file():
            self._id = kept.read_text(encoding="utf-8").strip()
            client.update_run(self._id, status="RUNNING")
            for name in client.get_run(self._id).data.metrics:
                self._last[name] = max(metric.step for metric in client.get_metric_history(self._id, name))
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name)
        self._id = client.create_run(experiment, run_name=title).info.run_id
        write_text(kept, self._id + "\n")

    def write(self, step: int, scores: Mapping[str, float]) -> None:
        for name, value in scores.items():
            if step > self._last.get(name, -1):
                self._client.log_metric(self._id, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._id)
