"""A search space in a YAML file: what goes out comes in again, and what cannot be is one line with file and field."""

import json
import random
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from efficientformer.arch.cost import network_cost
from efficientformer.arch.space import SearchSpace
from efficientformer.arch.space_file import as_yaml, find_space, read_space, space_copy
from efficientformer.arch.spaces import SPACES
from efficientformer.arch.spec import FFN, MB3D, MB4D, AttnFFN, with_heads
from efficientformer.arch.stage_space import StageSpace
from efficientformer.cli.app import run
from efficientformer.errors import ArchitectureError, RecordError, UsageError
from efficientformer.search.mutation import mutant
from efficientformer.search.subnet import Subnet

DOCUMENT = Path(__file__).parents[2] / "docs" / "spaces.md"
SMALL = {
    "stem_strides": [2, 1],
    "stages": [
        {"widths": [16, 32], "blocks": ["MB4D"], "depth": 2},
        {"widths": [16, 32], "blocks": ["MB4D"], "depth": 1},
        {"widths": [16, 64], "blocks": [{"kind": "MB3D", "num_heads": 2}, "MB4D"], "largest": ["MB4D", "MB3D"]},
        {"widths": [16, 64], "blocks": [{"kind": "MB3D", "num_heads": 2}, "MB4D"], "depth": 2, "expansions": [4, 2]},
    ],
}


def written(folder: Path, content) -> Path:
    path = folder / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
    return path


@st.composite
def stage_spaces(draw, index: int, is_v2: bool) -> StageSpace:
    numbers = draw(st.sets(st.integers(1, 9), min_size=1, max_size=3).map(lambda found: sorted(found, reverse=True)))
    options = {"num_heads": numbers[0], "key_dim": draw(st.sampled_from([8, 16]))}
    attention = AttnFFN(**options, stride=draw(st.sampled_from([1, 2]))) if is_v2 else MB3D(**options)
    kinds = (attention, FFN() if is_v2 else MB4D()) if index >= 2 else (FFN() if is_v2 else MB4D(),)
    expansions = draw(st.sets(st.integers(1, 6), min_size=1, max_size=3).map(lambda found: sorted(found, reverse=True)))
    step, low = draw(st.sampled_from([8, 16, 24])), 8 * draw(st.integers(1, 6))
    high = low + step * draw(st.integers(0, 3))
    depth = draw(st.integers(1, 4))
    attending = depth if index == 3 else draw(st.integers(0, depth))
    pick = draw(st.sampled_from(expansions))
    blocks = [kinds[-1]] * (depth - attending) + [kinds[0]] * attending
    largest = [type(block)(**{**vars(block), "mlp_ratio": pick}) for block in blocks]
    largest = tuple(with_heads(block, draw(st.sampled_from(numbers))) for block in largest)
    return StageSpace(low, high, kinds, largest, step, tuple(expansions), tuple(numbers) if index >= 2 else ())


@st.composite
def spaces(draw) -> SearchSpace:
    is_v2 = draw(st.booleans())
    stages = tuple(draw(stage_spaces(index, is_v2)) for index in range(4))
    name = draw(st.text("abc xyz-_é:#'\"{}", min_size=1, max_size=12))
    strides = draw(st.sampled_from([(2, 2), (2, 1), (1, 1), (2, 2, 2), (1, 2, 2)]))
    return SearchSpace(name, stages, strides, draw(st.sampled_from(["gelu", "hard_swish", "relu"])))


@given(spaces())
def test_any_space_makes_the_trip_through_yaml(tmp_path_factory, space):
    folder = tmp_path_factory.mktemp("spaces")
    assert read_space(written(folder, as_yaml(space))) == space
    unnamed = read_space(written(folder, as_yaml(space, with_name=False)))
    assert (unnamed.name, unnamed.stages, unnamed.stem_strides) == ("mine", space.stages, space.stem_strides)


@given(spaces(), st.integers(0, 99))
def test_every_network_of_a_space_from_a_file_can_be(space, seed):
    rng = random.Random(seed)
    subnet = Subnet.random(space, rng)
    for _ in range(8):
        subnet = mutant(subnet, space, rng)
        macs = network_cost(subnet.architecture, 32, 10).macs
        for move in space.shrinks(subnet.architecture):
            assert network_cost(move.apply(subnet.architecture), 32, 10).macs < macs


@pytest.mark.parametrize("name", SPACES)
def test_a_named_space_is_printed_and_read_back(name, tmp_path, capsys):
    assert run(["space", name]) == 0
    path = tmp_path / f"{name}.yaml"
    path.write_text(capsys.readouterr().out)
    assert read_space(path) == SPACES[name]


def test_the_list_of_spaces_names_each_of_them(capsys):
    assert run(["space"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == list(SPACES)


def test_a_kind_in_largest_has_the_options_of_blocks(tmp_path):
    stage = read_space(written(tmp_path, SMALL)).stages[3]
    assert stage.largest == (MB3D(num_heads=2, mlp_ratio=4),) * 2 and stage.depth == 2
    assert read_space(written(tmp_path, SMALL)).stages[2].largest == (MB4D(), MB3D(num_heads=2))


def test_heads_are_those_of_the_block_or_a_list(tmp_path):
    """A list of one is the number of the block; none leaves the record of a space as it was."""
    heads = (("stages", 3, "blocks", 0), "MB3D"), (("stages", 3, "heads"), [6, 3, 1])
    stage = read_space(written(tmp_path, damaged(*heads))).stages[3]
    assert stage.largest == (MB3D(num_heads=6),) * 2 and stage.heads == (6, 3, 1)
    assert [block.num_heads for block in stage.candidates if isinstance(block, MB3D)] == [6, 3, 1] * 2
    assert stage.to_json()["heads"] == [6, 3, 1] and stage.to_json()["blocks"][0] == {"kind": "MB3D"}
    one = read_space(written(tmp_path, damaged(heads[0], (("stages", 3, "heads"), [2]))))
    assert one == read_space(written(tmp_path, SMALL)) and "heads" not in one.stages[3].to_json()


def damaged(*changes) -> dict:
    content = json.loads(json.dumps(SMALL))
    for path, value in changes:
        place = content
        for step in path[:-1]:
            place = place[step]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
    return content


HEAVY = {
    "widths": [4096, 4096],
    "blocks": ["FFN"],
    "expansions": [256, 1],
    "largest": [{"kind": "FFN", "mlp_ratio": 1}],
}
"""A stage of the supernet has 8.6 billion weights, that of the largest network 34 million."""
V2 = [(("stages", index, "blocks"), ["FFN"]) for index in (2, 3)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (damaged((("stages", 2, "widths"), [64, 16])), "stages.2.widths cannot go from 16 down to 64"),
        (damaged((("stages", 2, "widths"), [16, 72])), "stages.2.widths cannot go from 72 down to 16 in steps of 16"),
        (damaged((("stages", 2, "widths"), [20, 36])), "stages.2.widths must be multiples of 8"),
        (damaged((("stages", 2, "widths"), ["16", 36])), "stages.2.widths.0 must be a whole number, not '16'"),
        (damaged((("stages", 2, "widths"), [True, 36])), "stages.2.widths.0 must be a whole number, not True"),
        (damaged((("stages", 0, "width_step"), 4)), "stages.0.width_step must be a positive multiple of 8, not 4"),
        (damaged((("stages", 0, "widht_step"), 8)), "stages.0.widht_step is not a field .* did you mean width_step"),
        (damaged((("stem_stride",), [2, 2])), "stem_stride is not a field of a space; did you mean stem_strides"),
        (damaged(((7,), 8)), "7 is not a field of a space; the fields are name, stem_strides, stages"),
        (damaged((("stages", 1, "depth"), None)), "stages.1.largest or depth is needed, and not both"),
        (damaged((("stages", 1, "depth"), 99)), "stages.1.depth must be less than or equal to 64, not 99"),
        (damaged((("stages", 1), None)), "stages has too few items"),
        (damaged((("stages",), None)), "stages is missing"),
        (damaged((("stem_strides",), [3, 1])), "stem_strides.0 must be less than or equal to 2, not 3"),
        (damaged((("stem_strides",), [2])), "stem_strides"),
        (damaged((("stem_strides",), [2, 2, 2, 2])), "stem_strides"),
        (damaged((("name",), "")), "name must have at least 1 character|name String"),
        (damaged((("name",), "a\nb")), "name must be printable text"),
        (damaged((("name",), "quick")), "name: 'quick' is another space already"),
        (damaged((("stages", 2, "blocks"), ["MB4D", "MB3D"])), "stages.2.blocks must have the costliest kind"),
        (damaged((("stages", 2, "blocks", 0, "heads"), 2)), "stages.2.blocks: MB3D has no option .*num_heads"),
        (damaged((("stages", 2, "blocks", 0, "mlp_ratio"), 2)), "stages.2.blocks have no mlp_ratio .* expansions"),
        (damaged((("stages", 2, "blocks"), ["MB5D"])), "stages.2.blocks: Unknown block kind 'MB5D'"),
        (damaged((("stages", 2, "largest"), ["AttnFFN"])), "stages.2.largest has a block that .* do not allow"),
        (damaged((("stages", 3, "expansions"), [2, 4])), "stages.3.expansions must be in descending order"),
        (damaged((("stages", 3, "heads"), [2, 1])), "stages.3.blocks have no num_heads .* heads is the list of them"),
        (damaged((("stages", 0, "heads"), [2, 1])), "stages.0.heads are of blocks with attention"),
        (damaged((("stages", 3, "heads"), [])), "stages.3.heads has too few items"),
        (damaged((("stages", 3, "heads"), [2, 0])), "stages.3.heads.1 must be greater than or equal to 1"),
        (
            damaged((("stages", 3, "blocks", 0), "MB3D"), (("stages", 3, "heads"), [1, 2])),
            "stages.3.heads must be in desc",
        ),
        (
            damaged(
                (("stages", 2, "blocks", 0), "MB3D"),
                (("stages", 2, "heads"), [4, 2]),
                (("stages", 2, "largest"), ["MB4D", {"kind": "MB3D", "num_heads": 3}]),
            ),
            "stages.2.largest has a block that blocks, expansions and heads do not allow",
        ),
        (
            damaged((("stages", 2, "largest"), None), (("stages", 2, "depth"), 1), *V2),
            "stages.2.blocks must be MB4D and",
        ),
        (damaged((("stages", 0, "blocks"), ["MB3D", "MB4D"])), "stages.0.blocks cannot have MB3D"),
        (damaged((("stages", 3, "blocks"), ["MB4D"])), "When stage 3 has an MB3D, every block of stage 4"),
        (
            {"stages": [HEAVY] * 4},
            "An architecture with .* weights in its blocks is refused",
        ),
        ("stages:\n- {widths: [16, 32], blocks: [FFN], depth: 1,\n   depth: 3}", "line 3 gives depth a second time"),
        ("- 1", "it must hold names and values"),
        ("stages: [", "is not readable YAML"),
        ("!!python/object:os.system {}", "is not readable YAML"),
    ],
)
def test_a_space_that_cannot_be_is_one_line_with_the_file_and_the_field(content, problem, tmp_path):
    with pytest.raises(RecordError, match=problem) as refused:
        read_space(written(tmp_path, content))
    text = str(refused.value)
    assert "mine.yaml" in text and "\n" not in text and text.endswith(".")


def test_blocks_of_both_families_are_refused_wherever_they_stand():
    """The largest and the smallest network may be of one family each."""
    stages = [StageSpace(16, 16, (MB4D(), FFN()), (MB4D(),))] * 4
    with pytest.raises(ArchitectureError, match=r"stages\.0\.blocks must be MB4D and MB3D, or FFN and AttnFFN"):
        SearchSpace("both", tuple(stages))


def test_the_command_line_refuses_a_file_before_anything_runs(tmp_path, capsys):
    path = written(tmp_path, damaged((("stages", 2, "widths"), [64, 16])))
    for arguments in (["space", str(path)], ["table", "--space", str(path), "--run-dir", str(tmp_path / "run")]):
        assert run(arguments) == 2
        error = " ".join(capsys.readouterr().err.split())
        assert error.startswith("error --space") and "mine.yaml: stages.2.widths" in error
    assert not (tmp_path / "run" / "settings.json").exists()
    assert run(["table", "--space", "quik"]) == 2 and "choose one of quick, standard" in capsys.readouterr().err


def test_a_copy_stands_for_a_file_that_is_gone_and_for_no_other(tmp_path):
    path = written(tmp_path, SMALL)
    space, copy = read_space(path), tmp_path / "space.json"
    copy.write_text(json.dumps(space_copy(path, space)))
    path.unlink()
    assert find_space(path, [tmp_path / "none.json", copy]) == space
    with pytest.raises(UsageError, match=r"other\.yaml does not exist"):
        find_space(tmp_path / "other.yaml", [copy])


EXAMPLES = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_documentation_are_spaces(number, tmp_path, capsys):
    path = written(tmp_path, EXAMPLES[number])
    assert len(EXAMPLES) == 2 and run(["space", str(path)]) == 0
    again = tmp_path / "again.yaml"
    again.write_text(capsys.readouterr().out)
    space = read_space(path)
    assert read_space(again).stages == space.stages
    assert space.largest().num_attending == (0, 2)[number]
    assert network_cost(space.smallest(), 96, 10).macs < 0.2 * network_cost(space.largest(), 96, 10).macs


def test_the_error_of_the_documentation_is_the_one_that_is_shown(tmp_path):
    path = written(tmp_path, damaged((("stages", 2, "widths"), [64, 200])))
    with pytest.raises(RecordError) as refused:
        read_space(path)
    assert f"`mine.yaml{str(refused.value).partition('mine.yaml')[2]}`" in DOCUMENT.read_text(encoding="utf-8")
