"""The choices that a search space leaves to its author, and what the measured ratios mean for each. No torch.

They are no claims of the paper: a space of EfficientFormerV2's blocks has one activation, one stem, and expansions and
kinds of blocks per stage. Every sentence follows from the rows of the record alone. Accuracy is not measured.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from efficientformer.analysis.observations.conclusions import UNKNOWN
from efficientformer.analysis.observations.verdict import COSTS, EQUAL, IN_PART, SAVES, UNDECIDED, overall

Rows = Sequence[dict[str, Any]]
ChoiceKey = Literal["activation", "expansion", "fused-mbconv", "stem"]
CHOICES: tuple[ChoiceKey, ...] = get_args(ChoiceKey)

EXPANSIONS = (4, 3, 2, 1)
FUSED_EXPANSIONS = (1, 2, 4)
FFN, FUSED, STRIDES = "FFN x{}", "fused MBConv x{}", "stem [{}]"
"""Options in words, with an expansion or the strides."""
STEM_ALONE = "stem alone"

EFFECTS = {
    SAVES: "{option} is faster than {against}",
    COSTS: "{option} is slower than {against}",
    EQUAL: "{option} is as fast as {against}",
    IN_PART: "{option} is faster than {against} in some places only",
    UNDECIDED: "whether {option} is faster than {against} cannot be told",
}


@dataclass(frozen=True)
class Choice:
    """A choice of a space: its title, its options in words, and the conclusion from its rows on one runtime."""

    title: str
    words: str
    conclude: Callable[[Rows], str]


def summarize_choices(trials: Rows) -> list[dict[str, Any]]:
    """One row {choice, title, words, runtimes: {name: {options, meaning}}} per choice that was tried.

    `options` has a row {option, against, effect, low, high} per pair: its effect, and its smallest and largest ratio.
    """
    rows = []
    for key, choice in MENU.items():
        by_runtime = _by([row for row in trials if row["choice"] == key], "runtime")
        runtimes = {
            runtime: {"options": _options(tried), "meaning": _meaning(choice, tried)}
            for (runtime,), tried in by_runtime.items()
        }
        if runtimes:
            rows.append({"choice": key, "title": choice.title, "words": choice.words, "runtimes": runtimes})
    return rows


def _meaning(choice: Choice, rows: Rows) -> str:
    return UNKNOWN if all(row["effect"] == UNDECIDED for row in rows) else choice.conclude(rows)


def _options(rows: Rows) -> list[dict[str, Any]]:
    options = []
    for (option, against), tried in _by(rows, "option", "against").items():
        ratios = [row["ratio"] for row in tried]
        about = {"option": option, "against": against, "effect": _effect(tried)}
        options.append({**about, "low": min(ratios), "high": max(ratios)})
    return options


def _activation(rows: Rows) -> str:
    """All blocks of a network have the same activation, so the whole network decides. Options whose intervals overlap
    are not told apart."""
    options = _by(rows, "option")
    faster = {option: tried for (option,), tried in options.items() if _effect(tried) == SAVES}
    if not faster:
        return f"Keep {rows[0]['against']}: {_described(rows)}."
    best = min(faster, key=lambda option: max(row["ratio"] for row in _deciding(faster[option])))
    close = [option for (option,), tried in options.items() if option != best and _overlap(tried, faster[best])]
    if not close:
        return f"{best} is the fastest. {_sentence(_described(rows))}."
    names = _joined([option for option in faster if option == best or option in close])
    intervals = [
        f"{option} {_range(row['interval'])} in {row['place']}"
        for (option,), tried in options.items()
        if option == best or option in close
        for row in _deciding(tried)
    ]
    are = "is" if names == best else "are"
    return f"{names} {are} faster. Intervals overlap: {_joined(intervals)}. {_sentence(_described(rows))}."


def _expansion(rows: Rows) -> str:
    """An expansion that is no faster than the next larger one saves nothing that would pay for its weaker block."""
    sentences = []
    for effects, words in (
        ((EQUAL, COSTS), "Leave {option} out at {places}, where it is no faster than {against}."),
        ((UNDECIDED,), "Whether {option} is faster than {against} at {places} cannot be told."),
    ):
        for (option, against), tried in _by(rows, "option", "against").items():
            if places := [row["place"] for row in tried if row["effect"] in effects]:
                sentences.append(words.format(option=option, against=against, places=_joined(places)))
    if not sentences:
        sentences.append("Offer every expansion: each is faster than the next larger one at every stage.")
    ends = [(steps[-1]["subject_ms"], steps[0]["baseline_ms"]) for steps in _by(rows, "place").values()]
    ratios = _range(smallest / largest for smallest, largest in ends)
    return f"{' '.join(sentences)} {rows[-1]['option']} takes {ratios} times as long as {rows[0]['against']}."


def _fused_mbconv(rows: Rows) -> str:
    """Fusing pays where a fused block is no slower than an FFN of the same expansion, which is EfficientNetV2's reason
    for it."""
    equal = {row["place"]: row for row in rows if row["option"] == FUSED.format(max(FUSED_EXPANSIONS))}
    sentences = []
    for effects, words in (
        (
            (SAVES, EQUAL),
            "Fused MBConv is worth a place at {places}: {option} takes {ratios} times as long as {against}.",
        ),
        ((COSTS,), "Leave fused MBConv out at {places}: {option} takes {ratios} times as long as {against}. {room}"),
        ((UNDECIDED,), "Whether {option} is as fast as {against} at {places} cannot be told."),
    ):
        if found := [row for row in equal.values() if row["effect"] in effects]:
            places = [row["place"] for row in found]
            ratios, room = _range(row["ratio"] for row in found), _room(rows, places)
            names = {"option": found[0]["option"], "against": found[0]["against"]}
            sentences.append(words.format(places=_joined(places), ratios=ratios, room=room, **names).strip())
    return " ".join(sentences)


def _room(rows: Rows, places: Sequence[str]) -> str:
    """The largest fused block that is no slower than the FFN at each of these places."""
    fitting = []
    for place in places:
        options = [row["option"] for row in rows if row["place"] == place and row["effect"] in (SAVES, EQUAL)]
        fitting.append(f"{options[-1] if options else 'none that was timed'} at {place}")
    return f"As fast as {rows[0]['against']}: {_joined(fitting)}."


def _stem(rows: Rows) -> str:
    """Each stride quarters every map after the stem, at the same image size; the whole network decides."""
    stems = {row["option"]: row["subject_ms"] for row in rows if row["place"] == STEM_ALONE}
    shares = [
        f"{100 * stems[row['option']] / row['subject_ms']:.0f} % with {row['option']}"
        for row in rows
        if row["is_network"] and row["option"] in stems
    ]
    own = f" Of the whole network's latency the stem itself takes {_joined(shares)}." if shares else ""
    return f"{_sentence(_described(rows))}.{own}"


MENU: dict[ChoiceKey, Choice] = {
    "activation": Choice("Activation", "GELU, HardSwish or ReLU in every block of a network.", _activation),
    "expansion": Choice("Expansion", "Expansions 1 to 4 of an FFN, each against the next larger one.", _expansion),
    "fused-mbconv": Choice("Fused MBConv", "Fused MBConv against an FFN in stages 1 and 2.", _fused_mbconv),
    "stem": Choice("Stem strides", "Stems of more strides against those of fewer, at the same image size.", _stem),
}


def _by(rows: Rows, *names: str) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """Rows in groups that agree in these fields."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _deciding(rows: Rows) -> Rows:
    """The rows of whole networks; all rows where no whole network was timed."""
    return [row for row in rows if row["is_network"]] or rows


def _effect(rows: Rows) -> str:
    return overall([row["effect"] for row in _deciding(rows)])


def _overlap(rows: Rows, others: Rows) -> bool:
    """Whether the intervals of two options have ratios in common at some place, or the options no place."""
    places = {row["place"]: row["interval"] for row in _deciding(others)}
    pairs = [(row["interval"], places[row["place"]]) for row in _deciding(rows) if row["place"] in places]
    return not pairs or any(low <= other_high and other_low <= high for (low, high), (other_low, other_high) in pairs)


def _described(rows: Rows) -> str:
    """Every pair of options with its effect, and its ratios on whole networks and on parts."""
    words = []
    for (option, against), tried in _by(rows, "option", "against").items():
        effect = EFFECTS[_effect(tried)].format(option=option, against=against)
        networks = [f"{_range([row['ratio']])} in {row['place']}" for row in tried if row["is_network"]]
        parts = [row["ratio"] for row in tried if not row["is_network"]]
        ratios = [*networks, *([f"{_range(parts)} in parts"] if parts else [])]
        words.append(f"{effect} (ratio {', '.join(ratios)})")
    return "; ".join(words)


def _range(ratios: Iterable[float]) -> str:
    values = list(ratios)
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
