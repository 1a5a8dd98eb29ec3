"""Verb `slim`."""

from typing import Any

from efficientformer.cli.options import RunOptions, SettingsOption
from efficientformer.cli.printing import print_json, print_lines, print_rows
from efficientformer.pipeline.run.settings import Settings


def slim(
    *, explain: int | None = None, options: RunOptions = RunOptions(), settings: SettingsOption = Settings()
) -> None:
    """Slim the supernet by accuracy lost per millisecond saved until every budget is met.

    Run `supernet` first. A further budget reuses all steps so far.

    For example:

        efficientformer slim --budget 8ms --budget 4ms --run-dir runs/photos
        efficientformer slim --run-dir runs/photos --explain 12

    Parameters
    ----------
    explain: int
        Explain why this step of the finished descent took its action, with all other candidates; nothing is run.
    """
    from efficientformer.pipeline import verbs

    if explain is None:
        options.show(verbs.slim(settings, **options.place))
        return
    explained = verbs.explain(explain, settings, **options.place)
    if options.json:
        print_json(explained)
    else:
        _print_step(explained)


def _print_step(step: dict[str, Any]) -> None:
    before, after = step["before"], step["after"]
    words = (
        f"Step {step['step']}: {before['latency_ms']:.3f} ms and {before['accuracy']:.2f} % {step['metric']} before, "
        f"{after['latency_ms']:.3f} ms and {after['accuracy']:.2f} % after."
    )
    print_lines([words, step["why"]])
    rows, is_latency = [], step["objective"] == "latency"
    for row in step["candidates"]:
        if row["score"] is not None:
            weighed = (f"{row['drop']:.2f}", f"{row['score']:.2f}")
        elif row["below"] is not None:
            weighed = (f"> {before['accuracy'] - row['below']:.2f}", "more")
        elif row.get("last_score") is not None:
            weighed = ("not scored", f"{row['last_score']:.2f} before")
        else:
            weighed = ("-", "refused")
        gain = () if is_latency else (f"{row['gain']:.4g}",)
        rows.append((row["text"], f"{row['saved_ms']:.4f}", *gain, *weighed))
    gained = ("loses points", "points per ms") if is_latency else ("gains", "loses points", "points per gain")
    print_rows(("action", "saves ms", *gained), rows)
