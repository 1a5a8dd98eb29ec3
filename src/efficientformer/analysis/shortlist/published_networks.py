"""The stored list of published networks, each with its accuracy, licence and sources. No torch."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from efficientformer.analysis.comparison.network_source import NetworkSource, published_source
from efficientformer.analysis.comparison.published import PublishedTop1, timm_top1


@dataclass(frozen=True)
class PublishedNetwork:
    """A published network with one set of weights.

    name: architecture and weights, as timm names them.
    title: as papers name it.
    resolution: in pixels, of the published top-1.
    license: of the weights.
    more_data: what the weights saw besides ImageNet-1k; None for nothing.
    """

    name: str
    title: str
    resolution: int
    license: str
    more_data: str | None = None

    @property
    def top1(self) -> PublishedTop1:
        """Published ImageNet-1k accuracy at `resolution`, with its source."""
        published = timm_top1(self.name, self.resolution)
        assert published is not None, self.name
        return published

    @property
    def source(self) -> NetworkSource:
        """What to build: this package's network, in the form that it exports, where it has the architecture."""
        return published_source(self.name, self.title)


def published_networks() -> list[PublishedNetwork]:
    """Every network of the list."""
    return [PublishedNetwork(**row) for row in _content()["networks"]]


def list_sources() -> dict[str, str]:
    """Where the figures of the list come from: {top1, license, more_data}."""
    return dict(_content()["sources"])


@cache
def _content() -> dict[str, Any]:
    file = resources.files("efficientformer.analysis.shortlist") / "networks.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))
