"""Kill a `quick` design at random moments, restart it each time, and compare it with an uninterrupted run.

    python benchmarks/studies/kill_nine.py --work runs/kill-nine --kills 10

The uninterrupted run makes the latency table. The killed one gets a copy of it, because timings differ from run to run.
Everything but times must then be equal: supernet log and logits, every slimming step, the
architectures, the training logs, the weights byte for byte, the scores.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from efficientformer.provenance import provenance
from efficientformer.reading import read_record
from efficientformer.records import file_digest
from naming import keep

PROGRAM = [sys.executable, "-m", "efficientformer"]
TIMED = {"provenance", "seconds", "time", "load", "command"}


def untimed(content):
    if isinstance(content, dict):
        return {name: untimed(value) for name, value in content.items() if name not in TIMED}
    return [untimed(value) for value in content] if isinstance(content, list) else content


def design(run_dir: Path, log: Path, timeout_s: float | None = None) -> bool:
    """True when the design finished, False when it was killed after `timeout_s`."""
    with log.open("a") as stream:
        process = subprocess.Popen([*PROGRAM, "design", "--run-dir", str(run_dir)], stdout=stream, stderr=stream)
        try:
            if process.wait(timeout_s) != 0:
                raise SystemExit(f"design failed with exit code {process.returncode}; see {log}")
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False
    return True


def compare(whole: Path, killed: Path) -> dict[str, bool]:
    names = ["supernet/metrics.jsonl", "supernet/record.json", "supernet/weights.safetensors", "slim/steps.jsonl"]
    for slug in (entry["slug"] for entry in read_record(whole / "slim" / "trace.json", Any)["budgets"]):
        files = ("architecture.json", "metrics.jsonl", "weights.safetensors", "evaluation.json", "model.onnx")
        names += [f"networks/{slug}/{file}" for file in files]
    equal = {}
    for name in names:
        if not (killed / name).exists():
            equal[name] = False
        elif name.endswith(".json"):
            equal[name] = untimed(read_record(whole / name, Any)) == untimed(read_record(killed / name, Any))
        else:
            equal[name] = file_digest(whole / name) == file_digest(killed / name)
    return equal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the two runs")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    arguments = parser.parse_args()
    whole, killed = arguments.work / "whole", arguments.work / "killed"
    arguments.work.mkdir(parents=True, exist_ok=True)

    started = time.monotonic()
    design(whole, arguments.work / "whole.log")
    whole_s = time.monotonic() - started
    (killed / "stamps").mkdir(parents=True)
    for name in ("table.json", "stamps/table.json"):
        shutil.copy(whole / name, killed / name)

    moments = random.Random(arguments.seed)
    kills: list[dict[str, object]] = []
    finished = False
    while len(kills) < arguments.kills and not finished:
        after_s = moments.uniform(0.02, 0.2) * whole_s
        finished = design(killed, arguments.work / "killed.log", after_s)
        if not finished:
            stamps = sorted(path.stem for path in (killed / "stamps").iterdir())
            kills.append({"after_s": round(after_s, 1), "phases_done": len(stamps)})
    if not finished:
        design(killed, arguments.work / "killed.log")
    equal = compare(whole, killed)
    keep(
        "kill_nine",
        "quick",
        {
            "what": "kill -9 at random moments of a quick design, restarted each time, against an uninterrupted run",
            "uninterrupted_s": round(whole_s, 1),
            "kills": kills,
            "equal": equal,
            "all_equal": all(equal.values()),
            "provenance": provenance(),
        },
    )
    sys.stdout.write(json.dumps({"kills": len(kills), "all_equal": all(equal.values())}) + "\n")
    sys.exit(not all(equal.values()))


if __name__ == "__main__":
    main()
