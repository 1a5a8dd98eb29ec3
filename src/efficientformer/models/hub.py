"""The Hugging Face hub: networks saved to and loaded from it, and the published weights.

The published EfficientFormers are in timm's repositories; timm converted them from the authors' files.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from huggingface_hub import ModelHubMixin, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
from torch import Tensor

from efficientformer.errors import RecordError
from efficientformer.formats.network import HubConfig
from efficientformer.models.weights_file import read_tensors, read_weights_metadata, write_weights_file
from efficientformer.reading import read_record
from efficientformer.records import atomic_path

WEIGHTS, CONFIG, ENTRY = "model.safetensors", "config.json", "efficientformer"
PUBLISHED_PREPROCESSING = {
    "resolution": 224,
    "crop_pct": 0.95,
    "interpolation": "bicubic",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


class OnHub(
    ModelHubMixin,
    library_name="efficientformer",
    pipeline_tag="image-classification",
    license="apache-2.0",
    paper_url="https://arxiv.org/abs/2206.01191",
):
    """`save_pretrained`, `from_pretrained` and `push_to_hub` of a network, with its architecture in the config."""

    if TYPE_CHECKING:  # what Network provides
        preprocessing: dict[str, Any] | None

        def about(self) -> dict[str, str]: ...

        state_dict: Callable[..., dict[str, Tensor]]

    def _save_pretrained(self, save_directory: Path) -> None:
        write_weights_file(save_directory / WEIGHTS, self.state_dict(), self.about())
        config = {name: json.loads(value) for name, value in self.about().items()}
        config["preprocessing"] = self.preprocessing
        # Under one entry: the mixin would pass entries that are named like our arguments to the constructor.
        with atomic_path(save_directory / CONFIG) as temporary:
            temporary.write_text(json.dumps({ENTRY: config}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **options: Any) -> Self:
        folder = Path(model_id)
        wanted = {name: options.get(name) for name in ("revision", "cache_dir", "token")}
        weights = folder / WEIGHTS if folder.is_dir() else download(model_id, WEIGHTS, **wanted)
        network = cls.of(read_weights_metadata(weights), read_tensors(weights), weights)  # type: ignore[attr-defined]
        config = folder / CONFIG if folder.is_dir() else download(model_id, CONFIG, **wanted)
        network.preprocessing = read_record(config, HubConfig).get("efficientformer", {}).get("preprocessing")
        return network


def published_weights(name: str, *, revision: str | None = None) -> Path:
    """The published weights of a network of `arch.zoo.ZOO`, from the cache or downloaded. Raises RecordError when
    they cannot be downloaded."""
    return download(f"timm/{name}.snap_dist_in1k", WEIGHTS, revision=revision)


def download(repository: str, file: str, **options: Any) -> Path:
    """A file of the hub, from the local cache or downloaded. Raises RecordError when neither works."""
    try:
        return Path(hf_hub_download(repository, file, **options))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RecordError(
            f"{file} of {repository} could not be downloaded and is not in the local cache ({reason}). Offline, "
            "copy the file to this machine and give its path."
        ) from error
