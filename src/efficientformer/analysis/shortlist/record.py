"""The rows of `shortlist.json`: what was measured of each network, with what is published of it."""

from collections.abc import Sequence
from typing import cast

from efficientformer.analysis.comparison.compare import Comparison
from efficientformer.analysis.comparison.compared_network import ComparedNetwork
from efficientformer.analysis.comparison.network_source import NetworkSource
from efficientformer.analysis.comparison.record import Row, failed_row, network_rows
from efficientformer.analysis.shortlist.published_networks import PublishedNetwork
from efficientformer.formats.shortlist import ShortlistRow

OF_NETWORK = ("resolution", "num_params", "macs", "deploy_form")
OF_RESULT = ("p50_ms", "interval_ms", "p90_ms", "disturbed_percent", "calm", "settled", "problem", "samples_ms")


def shortlist_rows(
    networks: Sequence[PublishedNetwork],
    prepared: Sequence[ComparedNetwork],
    failed: Sequence[tuple[NetworkSource, str]],
    comparison: Comparison,
    runtime: str,
) -> list[ShortlistRow]:
    """One row for each network, in their order: those `prepared` were compared, those `failed` could not be built."""
    rows = network_rows(prepared, [runtime], comparison, prepared[0].source.name)
    rows += [failed_row(source, [runtime], reason) for source, reason in failed]
    measured = {row["name"]: row for row in rows}
    return [_row(network, measured[network.name]) for network in networks]


def _row(network: PublishedNetwork, measured: Row) -> ShortlistRow:
    (result,) = measured["results"]
    published = network.top1
    row = {
        "name": network.name,
        "title": network.title,
        "top1": published.top1,
        "top1_resolution": network.resolution,
        "top1_source": published.source,
        "license": network.license,
        "more_data": network.more_data,
        **{name: measured[name] for name in OF_NETWORK},
        **{name: result[name] for name in OF_RESULT},
    }
    return cast(ShortlistRow, row)
