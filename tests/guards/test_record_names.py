"""The report may not import the pipeline, so it repeats the names of its records: both must agree."""

from pathlib import Path

from efficientformer.pipeline.run_dir import RunDir
from efficientformer.report import load


def test_the_report_reads_what_the_pipeline_writes():
    run_dir = RunDir(Path("run"))
    network = run_dir.network("8ms")
    written = {
        str(path.relative_to("run"))
        for path in (
            *(run_dir.settings, run_dir.data, run_dir.table, run_dir.supernet_record, run_dir.trace),
            *(run_dir.baselines, run_dir.rank, run_dir.verification, run_dir.result),
        )
    }
    assert {kind.path for kind in load.RECORDS.values()} == written
    of_networks = {network.architecture, network.train_record, network.evaluation, network.export_record}
    assert {kind.path for kind in load.NETWORK_RECORDS.values()} == {path.name for path in of_networks}
    assert network.metrics.name == run_dir.supernet_metrics.name == load.METRICS
