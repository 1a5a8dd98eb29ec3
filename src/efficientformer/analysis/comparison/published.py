"""Published accuracy by network and input size, and what the paper reports, each with its source. No torch.

Accuracy belongs to weights at one input size: a network measured at another size has no published accuracy here.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

PAPER_RESOLUTION = 224


@dataclass(frozen=True)
class PublishedTop1:
    """ImageNet-1K accuracy in percent of one set of weights; `top5` is None if the source does not give it."""

    top1: float
    top5: float | None
    source: str


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's Table 1: top-1 in percent, and milliseconds on the neural engine of an iPhone 12."""

    key: str
    title: str
    top1: float
    npu_ms: float


def zoo_top1(name: str, resolution: int) -> PublishedTop1 | None:
    """The paper's accuracy of one of our own networks (300 epochs with distillation)."""
    row = _content()["paper"].get(name)
    if row is None or resolution != PAPER_RESOLUTION:
        return None
    return PublishedTop1(row["top1"], None, _content()["sources"]["paper"]["title"])


def timm_top1(tagged_name: str, resolution: int) -> PublishedTop1 | None:
    """timm's accuracy of weights such as `resnet50.a1_in1k`, at this input size."""
    for size, top1, top5 in _content()["timm"].get(tagged_name, ()):
        if size == resolution:
            source = _content()["sources"]["timm"]
            return PublishedTop1(top1, top5, f"{source['title']}, {source['date']}, {tagged_name}")
    return None


def paper_row(name: str) -> PaperRow | None:
    """The paper's row for a network of ours or of timm, with or without the tag of its weights."""
    base = name.partition(".")[0]
    for key, row in _content()["paper"].items():
        if base in row["timm"]:
            return PaperRow(key, row["title"], row["top1"], row["npu_ms"])
    return None


def sources() -> dict[str, dict[str, str]]:
    """{title, url, ...} of every source."""
    return _content()["sources"]


def dense_rows() -> list[dict[str, Any]]:
    """The paper's Table 2, and what the paper of EfficientFormerV2 has alike: {name, title, source, scores ...}, in
    percent; a figure that nothing confirms is not there."""
    return _content("published_dense.json")["rows"]


def dense_sources() -> dict[str, dict[str, str]]:
    """{title, url, ...} of every source of `dense_rows`."""
    return _content("published_dense.json")["sources"]


def dense_recipes() -> dict[str, str]:
    """By task, head, data and training of the networks of `dense_rows`."""
    return _content("published_dense.json")["recipes"]


@cache
def _content(name: str = "published_top1.json") -> dict[str, Any]:
    file = resources.files("efficientformer.analysis.comparison") / name
    return json.loads(file.read_text(encoding="utf-8"))
