"""Keep what a finished run measured: promises, table error, scores, settings that were given, machine, command.

    python benchmarks/record_design.py runs/fashion-mnist-mini quick_design

writes benchmarks/records/quick_design.json from the run's own records. Seconds are those between the first record
(data.json) and the last (result.json), so they hold for a run without pauses only.
"""

import argparse
from pathlib import Path

from efficientformer.records import read_record, write_record

RECORDS = Path(__file__).parent / "records"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    run_dir: Path = arguments.run_dir
    verification = read_record(run_dir / "verification.json")
    table, trace = read_record(run_dir / "table.json"), read_record(run_dir / "slim" / "trace.json")
    data, supernet = read_record(run_dir / "data.json"), read_record(run_dir / "supernet" / "record.json")
    result = read_record(run_dir / "result.json")
    for entry in result:
        entry["onnx"] = f"networks/{entry['slug']}/model.onnx"
        entry["train_seconds"] = read_record(run_dir / "networks" / entry["slug"] / "train.json")["seconds"]
    write_record(
        RECORDS / f"{arguments.name}.json",
        {
            "data": {name: data[name] for name in ("name", "split_rule")}
            | {part: data[part]["num_images"] for part in ("train", "val")},
            "given_settings": {k: v for k, v in read_record(run_dir / "settings.json")["given"].items() if k != "data"},
            "seconds": round((run_dir / "result.json").stat().st_mtime - (run_dir / "data.json").stat().st_mtime, 1),
            "table": {name: table[name] for name in ("runtime", "threads", "clock", "error", "largest", "smallest")},
            "supernet_held_out_top1": supernet["held_out_top1"],
            "slimming": {"steps": len(trace["steps"]), "evaluations": trace["num_evaluations"]}
            | {"corrections": trace["corrections"]},
            "largest": verification["largest"],
            "result": result,
            "provenance": {**verification["provenance"], "command": "efficientformer design"},
        },
    )


if __name__ == "__main__":
    main()
