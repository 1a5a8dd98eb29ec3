"""Does a table predict better if it counts the uncached weights that its chains already include?

    python benchmarks/studies/calibration.py runs/a/table.json runs/b/table.json

Calibrates each table again on its own entries and networks, with and without this correction, and compares its errors
on networks that the calibration had not seen. Nothing is timed.
"""

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from efficientformer.latency.tables.fit import recalibrated_table
from efficientformer.latency.tables.table import LatencyTable
from efficientformer.provenance import provenance
from naming import keep

WAYS = ("told", "not told")
"""Keys of the record: with the uncached weights of the chains, and without."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=Path)
    arguments = parser.parse_args()
    rows = [compare(LatencyTable.load(path)) for path in arguments.tables]
    record = {
        "what": "errors of tables on held-out networks, with and without the weights that missed a cache in the chains",
        "tables": rows,
        "mean error in percent": {way: float(np.mean([row[way]["mean_percent"] for row in rows])) for way in WAYS},
        "provenance": provenance(),
    }
    for row in rows:
        figures = ", ".join(
            f"{way} {row[way]['mean_percent']:.2f} % (largest {row[way]['max_percent']:.1f})" for way in WAYS
        )
        sys.stdout.write(f"{row['space']} at {row['resolution']} px, {row['runtime']}: {figures}\n")
    keep("calibration", "tables", record)


def compare(table: LatencyTable) -> dict[str, Any]:
    about = {"space": table.space.name, "resolution": table.resolution, "runtime": table.runtime["name"]}
    about |= {"threads": table.threads, "measured": table.provenance["time"], "cpu": table.provenance["machine"]["cpu"]}
    without = {key: replace(entry, chains_mib=()) for key, entry in table.entries.items()}
    for way, entries in zip(WAYS, (table.entries, without), strict=True):
        again = recalibrated_table(table, dict(entries), table.networks)
        about[way] = {**asdict(again.error), "calibration": asdict(again.calibration)}
    return about


if __name__ == "__main__":
    main()
