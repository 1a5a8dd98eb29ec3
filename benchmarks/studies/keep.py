"""Keep the result of a finished command as a record: a design, the analysis of a device, a comparison, a shortlist.

    python benchmarks/studies/keep.py design runs/fashion-mnist-mini quick
    python benchmarks/studies/keep.py analyze runs/analysis/analysis.json observations
    python benchmarks/studies/keep.py benchmark runs/benchmark/benchmark.json paper
    python benchmarks/studies/keep.py shortlist runs/shortlist/shortlist.json published --again again.json

Of a design it keeps the promises, table error, scores, given settings, machine and command. Seconds of a design are
those between its first record (data.json) and its last (result.json); --paused leaves them out.
Of a shortlist it keeps the medians, and how far those of a second session agree.
"""

import argparse
from pathlib import Path
from statistics import median
from typing import Any

from scipy.stats import kendalltau

from compact import compacted
from efficientformer.arch.space import SearchSpace
from efficientformer.reading import read_record
from naming import keep
from shared import without_folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("design", "analyze", "benchmark", "shortlist"))
    parser.add_argument("path", type=Path, help="run directory of a design; else the record that the command wrote")
    parser.add_argument("subject", help="first word of the record's name, such as the images or the suite")
    parser.add_argument("--paused", action="store_true", help="the design was interrupted, or shared its machine")
    parser.add_argument("--again", type=Path, help="shortlist.json of a second session")
    arguments = parser.parse_args()
    if arguments.command == "design":
        record = design_record(arguments.path, is_whole=not arguments.paused)
    elif arguments.command == "shortlist":
        record = shortlist_record(arguments.path, arguments.again)
    else:
        record = read_record(arguments.path, Any)
    keep(arguments.command, arguments.subject, record)


def design_record(run_dir: Path, is_whole: bool = True) -> dict[str, Any]:
    verification = read_record(run_dir / "verification.json", Any)
    table, trace = read_record(run_dir / "table.json", Any), read_record(run_dir / "slim" / "trace.json", Any)
    data, supernet = read_record(run_dir / "data.json", Any), read_record(run_dir / "supernet" / "record.json", Any)
    result = read_record(run_dir / "result.json", Any)
    for entry in result:
        entry["onnx"] = f"networks/{entry['slug']}/model.onnx"
        entry["train_seconds"] = read_record(run_dir / "networks" / entry["slug"] / "train.json", Any)["seconds"]
    given = without_folders(read_record(run_dir / "settings.json", Any)["given"])
    record = {
        "data": {name: data[name] for name in ("name", "split_rule")}
        | {part: data[part]["num_images"] for part in ("train", "val")},
        "given_settings": {key: value for key, value in given.items() if key != "data"},
        "seconds": _seconds(run_dir) if is_whole else None,
        "table": {name: table[name] for name in ("runtime", "threads", "clock", "error", "largest", "smallest")},
        **{f"supernet_{name}": score for name, score in supernet.items() if name.startswith("held_out_")},
        "slimming": {"steps": len(trace["steps"]), "evaluations": trace["num_evaluations"]}
        | {"corrections": trace["corrections"]},
        "largest": verification["largest"],
        "result": result,
        "provenance": {**verification["provenance"], "command": "efficientformer design"},
    }
    return compacted(record, SearchSpace.from_json(table["space"]))


def _seconds(run_dir: Path) -> float:
    return round((run_dir / "result.json").stat().st_mtime - (run_dir / "data.json").stat().st_mtime, 1)


def shortlist_record(path: Path, again: Path | None) -> dict[str, Any]:
    record = read_record(path, Any)
    latencies = {entry["name"]: entry["p50_ms"] for entry in record["networks"]}
    kept = ("runtime", "threads", "clock", "rounds", "front", "budgets", "seconds", "provenance")
    kept_record = {**{name: record[name] for name in kept}, "p50_ms": latencies}
    if again is not None:
        later = {entry["name"]: entry["p50_ms"] for entry in read_record(again, Any)["networks"]}
        both = [name for name in latencies if latencies[name] and later.get(name)]
        first, second = [latencies[name] for name in both], [later[name] for name in both]
        changes = [100 * abs(latencies[name] / later[name] - 1) for name in both]
        kept_record["again"] = {
            "p50_ms": later,
            "networks": len(both),
            "kendall_tau": float(kendalltau(first, second)[0]),
        }
        kept_record["again"] |= {"median_change_percent": median(changes), "largest_change_percent": max(changes)}
    return kept_record


if __name__ == "__main__":
    main()
