"""Sections with the results: promises, accuracy against latency, slimming path, baselines, networks."""

from collections.abc import Iterator
from pathlib import PureWindowsPath
from typing import Any
from urllib.parse import quote

from efficientformer.arch.cost import network_cost
from efficientformer.arch.resolution import grid_of_input
from efficientformer.arch.spec import Architecture
from efficientformer.formats.slimming import states, states_before
from efficientformer.report import wording
from efficientformer.report.drawing import draw_architecture, draw_promise
from efficientformer.report.frame import Note
from efficientformer.report.published import is_better, published_lines, reference_words
from efficientformer.report.run import figures, slimming_figures
from efficientformer.report.run.load import NetworkRun, Run
from efficientformer.tasks.words import TaskWords

Content = dict[str, Any]
PROMISED = ("budget_ms", "predicted_ms", "measured_interval_ms", "interval_percent", "kept")
NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def headline(run: Run) -> Content:
    """The sentence and the promise table."""
    rows = [_promise_row(run, row) for row in run.promises()]
    data, verification = run.get("data") or {}, run.get("verification") or {}
    notes = [run.note(name) for name in ("verification", "result") if run.get(name) is None]
    notes += run.network_notes("export")
    return {
        "sentence": " ".join([promise_sentence(rows), *better_references(rows, run.task)]),
        "rows": rows,
        "task": run.task,
        "name": data.get("name") or run.run_dir.name,
        "resolution": (data.get("preprocessing") or {}).get("resolution"),
        "measured_on": _measured_on(verification),
        "clock": verification.get("clock"),
        "rounds": verification.get("rounds"),
        "sessions": _sessions(run),
        "opened_in": verification.get("opened_in"),
        "largest": verification.get("largest"),
        "percentile": next((row["percentile"] for row in rows if row["percentile"]), "p50"),
        "time": _newest_time(run),
        "references": other_references(rows, run.task),
        "published": published_lines(run.get("published")) if run.get("published") else [],
        "notes": notes,
    }


def _sessions(run: Run) -> str:
    """The number of sessions of each promise: a file that was measured before has more of them."""
    counts = sorted({row["sessions"] for row in run.promises() if row.get("sessions")})
    return f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else "".join(map(str, counts))


def promise_sentence(rows: list[Content]) -> str:
    """One sentence: the promises, and whether they were kept."""
    checked = [row for row in rows if row["kept"] is not None]
    if not rows:
        return "No network has been found for a latency budget yet."
    if not checked:
        asked = wording.join([row["title"] for row in rows])
        return f"Not checked yet: no exported network has been measured against {asked}."
    missed = [row for row in checked if not row["kept"]]
    if not missed and len(checked) == len(rows):
        pairs = [f"{wording.ms(row['measured_ms'])} of {wording.ms(row['budget_ms'])}" for row in checked]
        measured = f"{wording.join(pairs)}{wording.THIN_SPACE}ms measured"
        if len(rows) == 1:
            return f"The promise was kept: {measured}."
        all_of = "Both" if len(rows) == 2 else f"All {_number_word(len(rows))}"
        return f"{all_of} latency promises were kept: {measured}."
    unchecked = [f"{row['title']} is not checked yet" for row in rows if row["kept"] is None]
    rest = wording.join([*_missed_words(missed), *unchecked])
    if len(rows) == 1:
        return f"The promise was not kept: {rest}."
    return f"{len(checked) - len(missed)} of {len(rows)} latency promises were kept; {rest}."


def better_references(rows: list[Content], task: TaskWords) -> list[str]:
    """A sentence for each budget at which the fine-tuned published network is more accurate than the one found."""
    return [_compared(row, task) for row in rows if _is_compared(row) and _is_behind(row, task)]


def other_references(rows: list[Content], task: TaskWords) -> list[str]:
    """The same for the budgets at which it is not."""
    return [_compared(row, task) for row in rows if _is_compared(row) and not _is_behind(row, task)]


def _is_compared(row: Content) -> bool:
    return bool(row.get("reference")) and row["score"] is not None


def _is_behind(row: Content, task: TaskWords) -> bool:
    return is_better(row["reference"], row["score"], task)


def _compared(row: Content, task: TaskWords) -> str:
    return f"For {row['title']} {reference_words(row['reference'], row['score'], task)}."


def _missed_words(missed: list[Content]) -> list[str]:
    """By how much budgets were missed: exactly for one, the maximum for several."""
    if not missed:
        return []
    over_ms = [_proven_ms(row) - row["budget_ms"] for row in missed]
    over_percent = max(100 * over / row["budget_ms"] for over, row in zip(over_ms, missed, strict=True))
    percent = f"{over_percent:.1f}{wording.THIN_SPACE}%"
    if len(missed) == 1:
        return [f"{missed[0]['title']} was missed by {wording.ms(over_ms[0])}{wording.THIN_SPACE}ms ({percent})"]
    return [f"{wording.join([row['title'] for row in missed])} were missed by up to {percent}"]


def _proven_ms(row: Content) -> float:
    """The latency that must be within the budget: the upper end of the measured interval."""
    return (row.get("measured_interval_ms") or [row["measured_ms"]])[-1]


def plane(run: Run) -> Content:
    notes = [] if run.get("trace") else [run.note("trace")]
    return {"figure": figures.plane(run), "is_share": run.task.is_share, "notes": notes}


def slimming(run: Run) -> Content:
    """The two charts over steps, and one row per step."""
    trace = run.get("trace")
    if trace is None:
        return {"notes": [run.note("trace")]}

    def trained(before: Content) -> str:
        return f" and {before['epochs']} epochs" if before is trace.get("round") else ""

    rows = []
    for step, before in zip(trace["steps"], states_before(trace), strict=True):
        taken = step["candidates"][step["taken"]]
        rows.append(
            {
                "step": step["step"],
                "action": wording.action(taken, before["architecture"], step["architecture"])
                + (f" (after step {step['after']}" + trained(before) + ")" if "after" in step else ""),
                "saved_ms": taken["saved_ms"],
                "drop": taken["drop"],
                "latency_ms": step["latency_ms"],
                "score": step[run.task.primary],
                "num_weighed": sum(row.get("last_score") is None for row in step["candidates"]),
                "num_refused": sum(_is_refused(row) for row in step["candidates"]),
                "budgets": [row["budget"] for row in trace.get("budgets") or [] if row.get("step") == step["step"]],
            }
        )
    return {
        "figures": slimming_figures.slimming(run),
        "rows": rows,
        "num_evaluations": trace.get("num_evaluations"),
        "metric": wording.METRICS[trace["metric"]],
        "gain": wording.gain(trace.get("objective")),
        "round": _round(trace, run.task.primary),
        "polished": list(_polished(trace)),
        "tried": list(_tried(trace, f"trial_{run.task.primary}")),
        "title": run.task.title,
        "corrections": [{"step": None, "limit_ms": None, **row} for row in trace.get("corrections") or []],
        "notes": [],
    }


def _is_refused(candidate: Content) -> bool:
    return all(candidate.get(name) is None for name in ("score", "below", "last_score"))


def _round(trace: Content, score: str) -> Content | None:
    """The training between two rounds: its place, the scores before and after it, and the budgets of the second."""
    trained = trace.get("round")
    if trained is None:
        return None
    budgets = [row["budget"] for row in trace.get("budgets") or [] if row.get("weights") == trained["weights"]]
    before = states(trace)[trained["step"]]
    place = {"step": trained["step"], "epochs": trained["epochs"]}
    return {**place, "budgets": wording.join(budgets), "before": before[score], "after": trained[score]}


def _polished(trace: Content) -> Iterator[Content]:
    """Budgets whose network was replaced by polishing."""
    for row in trace.get("budgets") or []:
        if row.get("polish"):
            before = states(trace)[row["step"]]
            trained = trace.get("round")
            if trained and (row.get("weights"), row["step"]) == (trained["weights"], trained["step"]):
                before = trained
            yield {"budget": row["budget"], "before": before, "after": row["polish"][-1]}


def _tried(trace: Content, score: str) -> Iterator[Content]:
    """Short trainings of each budget: their number, the best network, and the one that slimming found."""
    for row in trace.get("budgets") or []:
        if trials := row.get("trials"):
            trials = [{**trial, "trial_score": trial[score]} for trial in trials]
            best = max(trials, key=lambda trial: trial["trial_score"])
            yield {"budget": row["budget"], "number": len(trials), "best": best, "found": trials[0]}


def baselines(run: Run) -> Content:
    """Slimming and its baselines at equal latency, all scored with the supernet's weights."""
    record = run.get("baselines")
    if record is None:
        return {"notes": [run.note("baselines")]}
    budgets = []
    for row in record["budgets"]:
        surrogate = {"optimum_gap": 0.0, **row["surrogate"]} if "surrogate" in row else None
        slimmed = {"name": "slimming", "latency_ms": row["latency_ms"], **row["slimmed"]}
        rivals = [slimmed, *row["baselines"], *([surrogate["optimum"]] if surrogate else [])]
        rows = [_baseline_row(rival, slimmed["accuracy"]) for rival in rivals]
        missing = [(wording.baseline(rival["name"]), rival["reason"]) for rival in row.get("missing", [])]
        budgets.append({**row, "surrogate": surrogate, "rows": rows, "missing": missing})
    return {"metric": wording.METRICS[record["metric"]], "budgets": budgets, "notes": []}


def _baseline_row(row: Content, slimmed_accuracy: float) -> Content:
    return {
        "title": wording.baseline(row["name"], row.get("count")),
        "words": wording.shape(row["architecture"]),
        "ahead": wording.signed(row["accuracy"] - slimmed_accuracy),
        "mean_accuracy": None,
        **row,
    }


def architectures(run: Run) -> Content:
    """A drawing of each network that was found, and of the largest."""
    largest = _largest(run)
    described = [(index, network, run.described(network)) for index, network in enumerate(run.networks)]
    known = [(index, network, record) for index, network, record in described if record]
    drawings = []
    for index, network, record in known:
        title = slimming_figures.network_title(network)
        title = title if run.is_training else f"Found for {title}"
        architecture = Architecture.from_json(record["architecture"])
        drawings.append({"title": title, "series": index, **_drawing(architecture, largest, record)})
    setting = known[0][2] if known else run.get("table") or {}
    if largest and setting.get("resolution"):
        words = {"title": "The largest network, the start of slimming", "series": None}
        drawings.append({**words, **_drawing(largest, None, setting)})
    notes = [] if run.networks else [Note("No network has been found yet.", run.command("slim"))]
    drawn = [Architecture.from_json(record["architecture"]) for _, _, record in known] + ([largest] if largest else [])
    held = {block.kind for architecture in drawn for stage in architecture.stages for block in stage.blocks}
    kinds = [(name, words) for name, words in wording.KINDS.items() if name in held or not held]
    return {
        "drawings": drawings,
        "kinds": kinds,
        "is_v2": "FFN" in held,
        "is_search": not run.is_training,
        "notes": notes,
    }


def _drawing(architecture: Architecture, largest: Architecture | None, setting: Content) -> Content:
    """The network, drawn for the resolution and the number of classes of `setting`."""
    grid, num_classes = grid_of_input(setting["resolution"]), setting["num_classes"]
    cost = network_cost(architecture, grid, num_classes)
    svg = draw_architecture(architecture, largest, grid, num_classes, f"Network with {wording.network(architecture)}")
    return {"svg": svg, "words": wording.network(architecture), "num_params": cost.num_params, "macs": cost.macs}


def _promise_row(run: Run, promise: Content) -> Content:
    network = next((network for network in run.networks if network.slug == promise.get("slug")), None)
    evaluation = (network and network.get("evaluation")) or {}
    measured = promise.get("measured_ms")
    row = {
        "title": wording.budget_title(str(promise["budget"]), promise.get("budget_ms")),
        "budget": str(promise["budget"]),
        "series": run.networks.index(network) if network else None,
        "top5": evaluation.get("top5"),
        "balanced": figures.balanced_accuracy(evaluation) if figures.is_uneven(evaluation) else None,
        "bar": "",
        "percentile": promise.get("percentile"),
        **{name: promise.get(name) for name in PROMISED},
        "measured_ms": measured,
        "limits": list(_limit_words(promise)),
        "score": promise.get(run.task.primary, evaluation.get(run.task.primary)),
        "reference": promise.get("reference"),
        **_costs(run, promise, network),
        **exported_file(run, network),
    }
    if measured is not None and row["budget_ms"] and row["kept"] is not None:
        known = [value for other in run.promises() for value in (other.get("budget_ms"), other.get("measured_ms"))]
        end_ms = 1.05 * max(value for value in known if value is not None)
        low, high = row["measured_interval_ms"] or (measured, measured)
        row["bar"] = draw_promise(row["budget_ms"], measured, (low, high), end_ms, kept=row["kept"])
    return row


def _limit_words(promise: Content) -> Iterator[str]:
    for name, row in (promise.get("limits") or {}).items():
        yield f"{row['measured']:.3g} of {row['most']:.3g} {wording.LIMITS.get(name, name)}"


def _costs(run: Run, promise: Content, network: NetworkRun | None) -> Content:
    if promise.get("num_params") is not None:
        return {"num_params": promise["num_params"], "macs": promise.get("macs")}
    record = network and run.described(network)
    if not record:
        return {"num_params": None, "macs": None}
    architecture = Architecture.from_json(record["architecture"])
    cost = network_cost(architecture, grid_of_input(record["resolution"]), record["num_classes"])
    return {"num_params": cost.num_params, "macs": cost.macs}


def exported_file(run: Run, network: NetworkRun | None) -> Content:
    """The exported file, with a link relative to the page if the file exists."""
    export = network and network.get("export")
    if not network or not export:
        return {"href": "", "file": "", "bytes": None}
    file = PureWindowsPath(str(export["file"])).name  # either kind of slash
    path = f"networks/{network.slug}/{file}"
    there = (run.run_dir / path).is_file()
    return {"href": quote(path) if there else "", "file": file, "bytes": export.get("bytes")}


def _largest(run: Run) -> Architecture | None:
    trace, table = run.get("trace"), run.get("table")
    if trace:
        return Architecture.from_json(trace["start"]["architecture"])
    return Architecture.from_json(table["largest"]["architecture"]) if table and table.get("largest") else None


def _measured_on(verification: Content) -> str:
    if not verification:
        return ""
    machine = (verification.get("provenance") or {}).get("machine") or {}
    threads = (verification.get("runtime") or {}).get("threads")
    return " with ".join(
        filter(None, (str(machine.get("cpu") or ""), wording.runtime(verification.get("runtime"), threads)))
    )


def _newest_time(run: Run) -> str:
    times = [
        str((record.get("provenance") or {}).get("time") or "")
        for record in run.records.values()
        if isinstance(record, dict)
    ]
    return max(times, default="")[:10]


def _number_word(number: int) -> str:
    return NUMBER_WORDS[number] if number < len(NUMBER_WORDS) else str(number)
