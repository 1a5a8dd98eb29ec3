"""The latency of a network's exported file on the run's device: opened, and measured once without a promise."""

from efficientformer.formats.measurement import MeasurementRecord
from efficientformer.formats.network import ExportRecord
from efficientformer.latency.prepared import Prepared
from efficientformer.latency.runtime import Runtime
from efficientformer.latency.timing.measure_networks import Subject, measure_networks
from efficientformer.latency.timing.measurement import Measurement
from efficientformer.models.deploy.forms import DeployForms
from efficientformer.models.deploy.fuse import fuse
from efficientformer.models.network import Network
from efficientformer.pipeline.networks.published import deployed_timm, load_classifier
from efficientformer.pipeline.run.plan import TIME
from efficientformer.pipeline.run.run_network import RunNetwork
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.reading import read_record
from efficientformer.records import write_record
from efficientformer.run_dir import NetworkFiles


def open_exported(workspace: Workspace, runtime: Runtime, files: NetworkFiles) -> Prepared:
    """The exported file, or, on a runtime that cannot open it, the same weights in the same deploy form."""
    if files.onnx.suffix not in runtime.suffixes:
        network, record = load_classifier(files.weights), read_record(files.export_record, ExportRecord)
        if "forms" in record and isinstance(network, Network):
            deployed = fuse(network, DeployForms(**record["forms"]))
        else:
            deployed, _ = deployed_timm(network, workspace.input_shape)
        return runtime.prepare(deployed, workspace.input_shape)
    return runtime.open(files.onnx, workspace.input_shape)


def time_network(workspace: Workspace, network: RunNetwork) -> None:
    """Measure the exported file of one network, in one session, and say its latency."""
    TIME.run(workspace, lambda _: _time(workspace, network), network)
    measured = read_latency(network.files)
    low, high = measured.interval_ms
    threads = "one thread" if measured.threads == 1 else f"{measured.threads} threads"
    how = f"{workspace.settings.runtime}, {threads}, {measured.clock} clock"
    workspace.console.say(f"{measured.p50_ms:.3f} ms [{low:.3f}, {high:.3f}] (95 % interval of this session; {how})")


def read_latency(files: NetworkFiles) -> Measurement:
    """The kept measurement. Raises RecordError."""
    return Measurement.from_json(read_record(files.latency, MeasurementRecord))


def _time(workspace: Workspace, network: RunNetwork) -> None:
    runtime, settings = workspace.runtime, workspace.settings
    subject = Subject(open_exported(workspace, runtime, network.files), runtime, workspace.input_shape)
    with workspace.console.progress("measuring") as progress:
        measured = measure_networks(
            {network.name: subject}, settings.latency_clock, settings.verify.rounds, progress=progress
        )
    write_record(network.files.latency, measured[network.name].to_json())
