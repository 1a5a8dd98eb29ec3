"""Which outputs of a classifier are those of a set's classes: by name, or by what ImageNet calls them.

ImageNet's classes are WordNet's synsets. Its folders are called by their numbers (wnids, `n01440764`), people call them
by their lemmas (`tench`, `Tinca tinca`), and published networks have them in the order of sorted wnids.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from efficientformer.errors import UsageError

WNID = re.compile(r"n\d{8}(?!\d)")
"""At the start of a name: `n01440764`, `n01440764-tench`."""
IN_ORDER = 0.9
"""Share of names at their place in ImageNet's order above which they are in that order; lists differ in a few names."""


@dataclass(frozen=True)
class Columns:
    """For each class its output; and how they were found, in a line, which is empty for the classes as they are."""

    indices: tuple[int, ...]
    said: str = ""


class Chosen(nn.Module):
    """Some outputs of a classifier, in another order."""

    def __init__(self, network: nn.Module, columns: Columns) -> None:
        super().__init__()
        self.network, self._indices = network, list(columns.indices)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.network(x_BCHW)[:, self._indices]


def imagenet_classes(num_classes: int) -> list[str] | None:
    """The wnids of a published network's classes, in their order, by their number; None where it is not ImageNet's."""
    from timm.data import ImageNetInfo, infer_imagenet_subset  # type: ignore[attr-defined]  # seconds to import

    subset = infer_imagenet_subset({"num_classes": num_classes})
    return ImageNetInfo(subset).label_names() if subset else None


def find_columns(theirs: Sequence[str], ours: Sequence[str]) -> Columns | None:
    """Outputs for our classes among theirs: by name where all have the same; else, if theirs or ours are ImageNet's,
    by wnid or lemma. None where a class of ours has none.

    Raises UsageError for a name of several classes, and for several names of one class.
    """
    if list(theirs) == list(ours):
        return Columns(tuple(range(len(ours))))
    if set(ours) <= set(theirs):
        _require_one_each({name: theirs.count(name) for name in ours})
        return _columns(theirs, ours, "wnid" if all(map(WNID.match, ours)) else "name")
    known, wanted = _in_wnids(theirs) or _in_order(theirs), _in_wnids(ours)
    if known is None and wanted is None:
        return None
    known, wanted = known or _by_lemma(theirs, strict=False), wanted or _by_lemma(ours)
    if not set(wanted) <= set(filter(None, known)):
        return None
    _require_one_each(Counter(wanted))
    both = all(map(WNID.match, theirs)) and all(map(WNID.match, ours))
    return _columns(known, wanted, "wnid" if both else "ImageNet's names")


def unknown_classes(theirs: Sequence[str], ours: Sequence[str]) -> list[str]:
    """Our classes that are not among theirs; nothing where theirs are not ImageNet's."""
    known = _in_wnids(theirs) or _in_order(theirs)
    if known is None:
        return []
    wanted = _in_wnids(ours) or _by_lemma(ours)
    return [name for name, wnid in zip(ours, wanted, strict=True) if wnid not in known]


def _columns(theirs: Sequence[str | None], ours: Sequence[str | None], by: str) -> Columns:
    place = {name: index for index, name in enumerate(theirs)}
    num = f"{len(ours):,} of {len(theirs):,}" if len(ours) < len(theirs) else f"{len(ours):,}"
    order = "" if len(ours) < len(theirs) else " in another order"
    return Columns(tuple(place[name] for name in ours), f"{num} classes{order}, by {by}")


def _require_one_each(counts: Mapping[str | None, int]) -> None:
    if several := [str(name) for name, count in counts.items() if count > 1]:
        raise UsageError(f"{several[0]} stands for several classes. Give each class a name of its own.")


def _in_wnids(names: Sequence[str]) -> list[str] | None:
    """Names that all are wnids, or begin with one; None for others."""
    found = [match[0] for match in map(WNID.match, names) if match]
    return found if found and len(found) == len(names) else None


def _in_order(names: Sequence[str]) -> list[str] | None:
    """The wnids of names in words that are ImageNet's in its order; None for others."""
    standard = imagenet_classes(len(names))
    if standard is None:
        return None
    words = _words(standard)
    at_place = sum(_plain(name) in words[wnid] for name, wnid in zip(names, standard, strict=True))
    return standard if at_place >= IN_ORDER * len(names) else None


def _by_lemma(names: Sequence[str], *, strict: bool = True) -> list[str | None]:
    """The wnid of each name among the thousand classes, or None: by its first lemma or its whole description, else by
    any lemma. Raises UsageError for a name of several classes where `strict`."""
    words = _words(imagenet_classes(1000) or [])
    first, others = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for wnid, (whole, lemma, *further) in words.items():
        for name in {whole, lemma}:
            first[name].append(wnid)
        for name in set(further):
            others[name].append(wnid)
    wnids = list[str | None]()
    for name in names:
        match = WNID.match(name)
        found = [match[0]] if match else first.get(_plain(name)) or others.get(_plain(name), [])
        if strict and len(found) > 1:
            raise UsageError(
                f"{name} is the name of {len(found)} classes of ImageNet ({', '.join(found)}). Call its folder by the "
                "number of its class."
            )
        wnids.append(found[0] if len(found) == 1 else None)
    return wnids


def _words(wnids: Sequence[str]) -> dict[str, list[str]]:
    """The whole description of each class, and its lemmas, in plain letters."""
    from timm.data import ImageNetInfo  # type: ignore[attr-defined]

    info = ImageNetInfo()  # which has the words of all its subsets
    texts = {wnid: info.label_name_to_description(wnid) for wnid in wnids}
    return {wnid: [_plain(text), *map(_plain, text.split(", "))] for wnid, text in texts.items()}


def _plain(name: str) -> str:
    """Lower case, words apart by single spaces: `English_springer` -> `english springer`."""
    return " ".join(re.findall(r"\w+", name.replace("_", " ").casefold()))
