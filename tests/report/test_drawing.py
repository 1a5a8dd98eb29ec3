from dataclasses import replace
from xml.etree import ElementTree

import pytest

from efficientformer.arch.dense import DenseHead, MaskRcnn, OneStage, SemanticFpn
from efficientformer.arch.moves import Contract, Drop, Narrow, Swap
from efficientformer.arch.spaces import IMAGENET, QUICK, V2_QUICK
from efficientformer.arch.spec import FFN, MB4D, Architecture
from efficientformer.arch.zoo import L1, L7, V2_S0, build_architecture
from efficientformer.report.drawing import draw_architecture, draw_promise


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg.replace(' xmlns="http://www.w3.org/2000/svg"', ""))


def of_class(svg: ElementTree.Element, tag: str, name: str) -> list[ElementTree.Element]:
    return [element for element in svg.iter(tag) if name in element.attrib.get("class", "").split()]


@pytest.mark.parametrize("architecture", [L1, L7, QUICK.largest(), QUICK.smallest(), IMAGENET.largest()])
def test_every_block_is_drawn_once_and_by_kind(architecture: Architecture) -> None:
    svg = parse(draw_architecture(architecture, None, 224, 10, "a network"))
    assert len(of_class(svg, "rect", "mb3d")) == architecture.num_on_tokens
    assert len(of_class(svg, "rect", "mb4d")) == sum(architecture.depths) - architecture.num_on_tokens
    assert not of_class(svg, "rect", "ghost")


def test_flatten_stands_where_tokens_begin() -> None:
    words = [text.text for text in parse(draw_architecture(L1, None, 224, 10, "L1")).iter("text")]
    assert words.count("flatten") == 1 and words.count("unflatten") == 0
    assert words[words.index("flatten") + 1 :].index("MB3D") == 0


@pytest.mark.parametrize("head", [SemanticFpn(), OneStage(), MaskRcnn()], ids=["semantic", "boxes", "instances"])
def test_a_dense_head_is_one_slab_behind_the_last_stage(head: DenseHead) -> None:
    words = [text.text for text in parse(draw_architecture(replace(L1, head=head), None, 224, 10, "L1")).iter("text")]
    assert words.count("head") == 1 and words.count("unflatten") == 1
    assert [word for word in words if word and "level" in word] == []


def test_what_slimming_took_is_a_ghost() -> None:
    full = build_architecture((32, 48, 96, 128), (2, 2, 4, 3), 7)
    small = Narrow(3, 16).apply(Drop(0, 1).apply(Drop(2, 0).apply(full)))
    svg = parse(draw_architecture(small, full, 64, 10, "small"))
    # Two blocks are gone, and each of the three blocks of the narrowed stage has an outline behind it.
    assert len(of_class(svg, "rect", "ghost")) == 2 + 3
    assert "112 of 128 ch." in [text.text for text in svg.iter("text")]


def test_nothing_leaves_the_drawing() -> None:
    full = IMAGENET.largest()
    for architecture in (full, Swap(2, 0, MB4D()).apply(full), IMAGENET.smallest()):
        svg = parse(draw_architecture(architecture, full, 224, 1000, "bounds"))
        _, _, width, height = map(float, svg.attrib["viewBox"].split())
        for box in svg.iter("rect"):
            assert float(box.attrib["x"]) >= 0 and float(box.attrib["x"]) + float(box.attrib["width"]) <= width
            assert float(box.attrib["y"]) >= 0 and float(box.attrib["y"]) + float(box.attrib["height"]) <= height


def test_titles_are_escaped() -> None:
    svg = draw_architecture(L1, None, 224, 10, '"><script>alert(1)</script>')
    assert "<script>" not in svg
    assert parse(svg).attrib["aria-label"] == '"><script>alert(1)</script>'


def test_a_missed_promise_passes_its_tick() -> None:
    svg = parse(draw_promise(2.0, 3.0, (2.9, 3.1), 4.0, kept=False))
    (bar,), (tick,) = of_class(svg, "rect", "missed"), of_class(svg, "line", "budget")
    assert float(bar.attrib["width"]) > float(tick.attrib["x1"])
    assert svg.attrib["aria-label"] == "3 ms measured, 2 ms allowed"


@pytest.mark.parametrize("architecture", [V2_S0, V2_QUICK.largest(), V2_QUICK.smallest()])
def test_blocks_of_v2_are_drawn_by_kind_with_their_expansion(architecture: Architecture) -> None:
    svg = parse(draw_architecture(architecture, None, 224, 10, "a network of V2"))
    blocks = [block for stage in architecture.stages for block in stage.blocks]
    assert len(of_class(svg, "rect", "attnffn")) == architecture.num_attending
    assert len(of_class(svg, "rect", "ffn")) == len(blocks) - architecture.num_attending
    words = [text.text for text in of_class(svg, "text", "on-block")]
    assert words == [f"{block.kind} \u00d7{block.mlp_ratio}" for block in blocks]
    assert [text.text for text in of_class(svg, "text", "slab")] == ["stem", *["downsample"] * 2, "attn. down", "head"]


def test_a_narrow_block_of_v2_keeps_its_expansion() -> None:
    full = V2_QUICK.largest()
    small = Narrow(3, 64).apply(Contract(3, 0, 2).apply(Swap(3, 1, FFN()).apply(full)))
    svg = parse(draw_architecture(small, full, 64, 10, "small"))
    assert [text.text for text in of_class(svg, "text", "on-block")][-2:] == ["\u00d72", "\u00d74"]
