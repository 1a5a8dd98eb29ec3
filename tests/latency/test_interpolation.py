import pytest

from efficientformer.arch.cost import part_cost
from efficientformer.arch.parts import Part, block_part, downsample_part, stem_part
from efficientformer.arch.spec import FFN, MB3D, MB4D, MHSA
from efficientformer.latency.tables.entries import Entry
from efficientformer.latency.tables.interpolation import PartFigures, interpolate, knot_errors

GRID = (14, 14)
FLATTEN = Part("flatten", GRID, 24, 24)


def mb4d(width):
    return block_part(MB4D(), GRID, width)


def mb3d(width):
    return block_part(MB3D(), GRID, width)


def entry(latency_ms, noise_ms=0.01):
    return Entry(latency_ms, (latency_ms - noise_ms, latency_ms + noise_ms), 24)


def test_blocks_are_interpolated_in_their_macs():
    def cost(part):
        return 0.1 + part_cost(part).macs / 1e8

    for block in (mb4d, mb3d):
        entries = {block(width): entry(cost(block(width))) for width in (96, 192, 384)}
        latencies = PartFigures.latencies_ms(entries)
        for width in (96, 112, 192, 304, 384):
            assert latencies.of(block(width)) == pytest.approx(cost(block(width)))
        assert not latencies.covers(block(80)) and not latencies.covers(block(400))
        with pytest.raises(KeyError):
            latencies.of(block(400))


@pytest.mark.parametrize("block", [FFN, MB4D, MB3D])
def test_blocks_are_interpolated_in_width_and_expansion(block):
    def part(width, expansion):
        return block_part(block(expansion), GRID, width)

    def cost(width, expansion):
        return 0.1 + part_cost(part(width, expansion)).macs / 1e8

    knots = [(width, expansion) for width in (96, 192, 384) for expansion in (1, 4)]
    latencies = PartFigures.latencies_ms({part(*knot): entry(cost(*knot)) for knot in knots})
    for width in (96, 104, 192, 304, 384):
        for expansion in (1, 2, 3, 4):
            assert latencies.of(part(width, expansion)) == pytest.approx(cost(width, expansion))
    assert (
        not latencies.covers(part(192, 5)) and not latencies.covers(part(80, 2)) and not latencies.covers(part(400, 4))
    )


def test_an_expansion_measured_at_few_widths_is_interpolated_from_others_elsewhere():
    parts = {
        (width, expansion): block_part(FFN(expansion), GRID, width)
        for width in (64, 96, 128)
        for expansion in (1, 2, 3)
    }
    entries = {parts[width, expansion]: entry(width * expansion) for width in (64, 128) for expansion in (1, 3)}
    latencies = PartFigures.latencies_ms({**entries, parts[96, 2]: entry(7.0)})
    assert latencies.of(parts[96, 2]) == 7.0
    assert latencies.of(parts[64, 2]) == pytest.approx(64 * 2) and latencies.of(parts[128, 2]) == pytest.approx(128 * 2)


def test_attention_is_interpolated_in_its_macs_and_other_options_are_others():
    options = MHSA(num_heads=4, key_dim=16, stride=2)
    parts = {width: block_part(options, GRID, width) for width in (64, 96, 192)}

    def cost(width):
        return 0.2 + part_cost(parts[width]).macs / 1e8

    latencies = PartFigures.latencies_ms({parts[width]: entry(cost(width)) for width in (64, 192)})
    assert latencies.of(parts[96]) == pytest.approx(cost(96))
    for other in (MHSA(4, 16, stride=1), MHSA(8, 16, stride=2), MHSA(4, 32, stride=2), MHSA(4, 16, 2, stride=2)):
        assert not latencies.covers(block_part(other, GRID, 64))


@pytest.mark.parametrize("block", [MB3D, MHSA])
def test_heads_are_interpolated_by_what_they_save_at_few_widths_and_one_expansion(block):
    """Exact where latency is a constant and a price per MAC, also of combinations that were not measured."""

    def part(width, num_heads, expansion=0):
        options = MHSA(num_heads, 16) if block is MHSA else MB3D(expansion, num_heads, 16)
        return block_part(options, GRID, width)

    def cost(measured):
        return 0.1 + part_cost(measured).macs / 1e8

    expansions = (1, 2, 4) if block is MB3D else (0,)
    measured = [part(width, 8, expansion) for width in (64, 96, 128, 192) for expansion in expansions[::2]]
    few = [part(width, number, expansions[0]) for width in (64, 192) for number in (4, 2)]
    entries = {known: entry(cost(known)) for known in [*measured, *few]}
    latencies = PartFigures.latencies_ms(entries)
    for width in (64, 80, 96, 128, 160, 192):
        for number in (8, 7, 6, 4, 3, 2):
            for expansion in expansions:
                asked = part(width, number, expansion)
                assert latencies.of(asked) == pytest.approx(cost(asked)), asked.key
    for outside in (part(128, 1, expansions[0]), part(128, 9, expansions[0]), part(56, 4, expansions[0])):
        assert not latencies.covers(outside)
    # A step at 128 channels is one at every number of heads.
    steep = {known: entry(found.latency_ms + (known.width >= 128)) for known, found in entries.items()}
    asked = part(128, 2, expansions[0])
    assert PartFigures.latencies_ms(steep).of(asked) == pytest.approx(cost(asked) + 1)


def test_each_number_of_heads_is_predicted_from_its_neighbors():
    def mhsa(num_heads, width=64):
        return block_part(MHSA(num_heads, 16), GRID, width)

    macs = {number: part_cost(mhsa(number)).macs for number in (2, 4, 8)}
    entries = {mhsa(8): entry(4.0), mhsa(4): entry(2.0), mhsa(2): entry(1.0), mhsa(8, 128): entry(9.0)}
    errors = knot_errors(entries)["MHSA"]
    expected = 1.0 + 3.0 * (macs[4] - macs[2]) / (macs[8] - macs[2])
    assert errors.num_knots == 1 and errors.mean_ms == pytest.approx(abs(expected - 2.0))


def test_each_expansion_is_predicted_from_its_neighbors():
    def ffn(expansion):
        return block_part(FFN(expansion), GRID, 64)

    errors = knot_errors({ffn(expansion): entry(ms) for expansion, ms in {1: 1.0, 2: 2.5, 4: 4.0}.items()})["FFN"]
    assert (errors.num_knots, errors.latency_ms, errors.mean_ms) == (1, 2.5, pytest.approx(0.5))


def test_the_stem_is_interpolated_though_its_width_in_stays():
    parts = [stem_part((2, 2), 224, width) for width in (32, 64, 96)]
    entries = {part: entry(part_cost(part).macs / 1e8) for part in parts}
    between = stem_part((2, 2), 224, 48)
    assert PartFigures.latencies_ms(entries).of(between) == pytest.approx(part_cost(between).macs / 1e8, rel=0.02)


def test_parts_without_macs_and_parts_with_two_widths_are_linear_in_widths():
    assert interpolate({(16, 16): 1.0, (32, 32): 2.0}, FLATTEN) == pytest.approx(1.5)
    grid = {(16, 16): 0.0, (16, 32): 1.0, (48, 16): 2.0, (48, 32): 5.0}
    assert interpolate(grid, downsample_part(GRID, 32, 24)) == pytest.approx((0 + 1 + 2 + 5) / 4)
    assert interpolate(grid, downsample_part(GRID, 32, 16)) == pytest.approx(1.0)
    assert interpolate(grid, downsample_part(GRID, 64, 16)) is None
    assert interpolate({}, FLATTEN) is None
    assert interpolate({(16, 32): 1.0, (32, 16): 1.0}, downsample_part(GRID, 24, 24)) is None


def test_each_knot_is_predicted_from_its_neighbors():
    latencies = {64: 1.0, 128: 2.0, 256: 8.0}
    entries = {mb4d(width): entry(latency_ms, 0.02) for width, latency_ms in latencies.items()}
    expected = 1.0 + 7.0 * (128**2 - 64**2) / (256**2 - 64**2)
    errors = knot_errors(entries)["MB4D"]
    assert errors.mean_ms == errors.max_ms == pytest.approx(expected - 2.0)
    assert (errors.num_knots, errors.latency_ms, errors.noise_ms) == (1, 2.0, pytest.approx(0.02))
    assert errors.percent == pytest.approx(100 * (expected - 2.0) / 2.0)


def test_knots_on_a_grid_count_along_both_widths():
    entries = {
        downsample_part(GRID, a, b): entry(a * b / 1000, noise_ms=9.0) for a in (16, 32, 64) for b in (16, 32, 64)
    }
    errors = knot_errors(entries)["downsample"]
    assert errors.num_knots == 6 and errors.max_ms == pytest.approx(0, abs=1e-12)
    assert errors.percent is None  # all of it may be noise


def test_kinds_without_a_knot_between_others_have_no_error():
    assert knot_errors({mb4d(64): entry(1.0), mb4d(128): entry(2.0)}) == {}
