"""Listings of shards that are kept in this user's cache, as those of large folders are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from typing_extensions import TypedDict

from efficientformer.data.compact.texts import Texts
from efficientformer.data.dataset import SkippedFile
from efficientformer.data.large.kept import made_by, read_listing, write_listing
from efficientformer.data.shards.shard import Shard
from efficientformer.data.walk import LeftOut

_ARRAYS = ("offsets", "sizes", "labels")


class _Shard(TypedDict):
    file: str
    state: list[int]
    listed_ns: int
    num_images: int
    label_texts: list[str]
    skipped: list[list[str]]
    others: dict[str, int]


class _About(TypedDict):
    made_by: list[str]
    root: str
    shards: list[_Shard]


def read_kept(file: Path | None, root: Path) -> dict[str, Shard]:
    """The shards of a kept listing by their files; none where there is none, of another version, or damaged."""
    return read_listing(file, root, _About, _shards)


def _shards(about: _About, names: Texts, arrays: Mapping[str, np.ndarray]) -> dict[str, Shard]:
    columns = [arrays[name] for name in _ARRAYS]
    ends = np.cumsum([each["num_images"] for each in about["shards"]]).tolist()
    if {len(names), *map(len, columns)} != {ends[-1] if ends else 0} or not names.is_whole:
        return {}
    parts = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    rows = zip(about["shards"], parts, strict=True)
    shards = [_shard(each, names[part], *(column[part] for column in columns)) for each, part in rows]
    return {shard.file: shard for shard in shards if _fits(shard)}


def write_kept(file: Path | None, root: Path, shards: Sequence[Shard]) -> None:
    """Keep a listing. A disk that is full loses nothing: the shards are then listed again."""
    if file is None:
        return
    about: _About = {"made_by": made_by(), "root": str(root.resolve()), "shards": [*map(_about_shard, shards)]}
    arrays = {name: np.concatenate([getattr(shard, name) for shard in shards]) for name in _ARRAYS}
    write_listing(file, about, Texts.concatenated([shard.names for shard in shards]), arrays)


def _about_shard(shard: Shard) -> _Shard:
    return {
        "file": shard.file,
        "state": [*shard.state],
        "listed_ns": shard.listed_ns,
        "num_images": len(shard.names),
        "label_texts": [*shard.label_texts],
        "skipped": [[each.file, each.reason] for each in shard.left_out.skipped],
        "others": shard.left_out.others,
    }


def _shard(about: _Shard, names: Texts, offsets: np.ndarray, sizes: np.ndarray, labels: np.ndarray) -> Shard:
    skipped = [SkippedFile(file, reason) for file, reason in about["skipped"]]
    return Shard(
        file=about["file"],
        state=tuple(about["state"]),
        listed_ns=about["listed_ns"],
        names=names,
        offsets=offsets,
        sizes=sizes,
        labels=labels,
        label_texts=tuple(about["label_texts"]),
        left_out=LeftOut(skipped, others=Counter(about["others"])),
    )


def _fits(shard: Shard) -> bool:
    """Whether every label is one of the texts."""
    return not len(shard.labels) or 0 <= shard.labels.min() <= shard.labels.max() < len(shard.label_texts)
