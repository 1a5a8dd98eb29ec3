"""Outputs by the names of classes: ImageNet's numbers, its words, and names of anybody."""

import pytest
import torch
from timm.data import ImageNetInfo

from efficientformer.errors import UsageError
from efficientformer.tasks.classification.columns import (
    Chosen,
    Columns,
    find_columns,
    imagenet_classes,
    unknown_classes,
)

WNIDS = ImageNetInfo().label_names()
WORDS = ImageNetInfo().label_descriptions()
NETTE = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)
"""Imagenette's ten classes, as its authors number them."""
PLAIN = ["cassette player", "chain_saw", "church", "English springer", "french-horn"]
PLAIN += ["garbage truck", "gas pump", "golf ball", "parachute", "tench"]
PLACES = (482, 491, 497, 217, 566, 569, 571, 574, 701, 0)


def test_the_same_classes_need_no_words():
    assert find_columns(WNIDS, WNIDS) == Columns(tuple(range(1000)))
    assert find_columns(["b", "a"], ["b", "a"]) == Columns((0, 1))


@pytest.mark.parametrize(
    ("theirs", "ours", "indices", "said"),
    [
        (WNIDS, [WNIDS[place] for place in NETTE], NETTE, "10 of 1,000 classes, by wnid"),
        (WNIDS, [f"{WNIDS[3]}-shark", f"{WNIDS[1]}_fish"], (3, 1), "2 of 1,000 classes, by wnid"),
        (WNIDS, PLAIN, PLACES, "10 of 1,000 classes, by ImageNet's names"),
        (WORDS, PLAIN, PLACES, "10 of 1,000 classes, by ImageNet's names"),
        ([text.split(", ")[0] for text in WORDS], ["n01440764"], (0,), "1 of 1,000 classes, by ImageNet's names"),
        (PLAIN, [WNIDS[0], WNIDS[217]], (9, 3), "2 of 10 classes, by ImageNet's names"),
        (WNIDS, WNIDS[::-1], tuple(range(999, -1, -1)), "1,000 classes in another order, by wnid"),
        (["dog", "cat", "bird"], ["cat", "dog"], (1, 0), "2 of 3 classes, by name"),
        (
            imagenet_classes(11821),
            ["n01440764"],
            (ImageNetInfo("imagenet-12k").label_names().index("n01440764"),),
            "1 of 11,821 classes, by wnid",
        ),
    ],
)
def test_outputs_are_found_by_name(theirs, ours, indices, said):
    columns = find_columns(theirs, ours)
    assert columns is not None and (columns.indices, columns.said) == (indices, said)


def test_a_thousand_words_in_alphabetical_order_are_not_taken_for_the_order_of_the_numbers():
    """Without the three words that stand for two classes each, which are refused."""
    names = {text.split(", ")[0] for text in WORDS} - {"crane", "maillot", "cardigan", "Cardigan"}
    ours = sorted(names)
    columns = find_columns(WNIDS, ours)
    assert columns is not None and all(
        WORDS[index].startswith(name) for index, name in zip(columns.indices, ours, strict=True)
    )
    strange = sorted(f"strange {place}" for place in range(1000))
    assert find_columns(WNIDS, strange) is None and unknown_classes(WNIDS, strange) == strange
    assert find_columns(WNIDS, [*WNIDS[1:], "n99999999"]) is None
    assert unknown_classes(WNIDS, [*WNIDS[1:], "n99999999"]) == ["n99999999"]


@pytest.mark.parametrize(
    ("theirs", "ours", "says"),
    [
        (WNIDS, ["crane", "tench"], r"crane is the name of 2 classes of ImageNet \(n02012849, n03126707\)"),
        (WNIDS, ["panda", "tench"], "panda is the name of 2 classes"),
        (WNIDS, ["tench", "Tinca tinca"], "n01440764 stands for several classes"),
        (WNIDS, ["n01440764", "n01440764-tench"], "n01440764 stands for several classes"),
        (["cat", "dog", "dog"], ["cat", "dog"], "dog stands for several classes"),
    ],
)
def test_what_is_not_certain_is_refused(theirs, ours, says):
    with pytest.raises(UsageError, match=says):
        find_columns(theirs, ours)


def test_other_people_s_classes_have_no_numbers():
    assert find_columns(["cat", "dog"], ["cat", "tench"]) is None and unknown_classes(["cat", "dog"], ["tench"]) == []
    assert find_columns(WNIDS, ["tench", "cat"]) is None and unknown_classes(WNIDS, ["tench", "cat"]) == ["cat"]


def test_chosen_outputs_are_in_our_order():
    chosen = Chosen(torch.nn.Identity(), Columns((2, 0)))
    assert chosen(torch.tensor([[5.0, 6.0, 7.0]])).tolist() == [[7.0, 5.0]]
