import io
import re

import pytest

from efficientformer.pipeline.run import console


def test_a_log_gets_a_line_a_minute_with_the_time_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.RunConsole().progress("measuring") as update:
        for done in range(1, 11):
            update(done, 10, f"round {done}")
            now[0] += 25.0
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "measuring: round 4 (4 of 10, about 2 min left)",
        "measuring: round 7 (7 of 10, about 1 min left)",
    ]


def test_pace_is_that_of_the_last_half_minute():
    seconds = iter([0.0, 2.0, 4.0, 4.0 + console.PACE_S, 5.0 + console.PACE_S])
    pace = console.Pace(32, lambda: next(seconds))
    assert pace.after(7) == ""  # of a resumed training
    assert pace.after(8) == "16 images/s"
    assert pace.after(9) == "16 images/s"
    assert pace.after(10) == "1.1 images/s"  # the one step within the window
    assert pace.after(11) == f"{32 * 2 / (1 + console.PACE_S):.1f} images/s"


def test_steps_at_the_same_time_have_no_pace():
    pace = console.Pace(4096, iter([1.0, 1.0, 3.0]).__next__)
    assert (pace.after(1), pace.after(2)) == ("", "")
    assert pace.after(3) == "4,096 images/s"


@pytest.mark.parametrize(("width", "has_bar"), [(80, False), (120, True)])
def test_progress_is_whole_in_a_terminal_of_any_width(monkeypatch, width, has_bar):
    output, messages = io.StringIO(), console.RunConsole()
    monkeypatch.setattr(messages, "_console", console.TextConsole(file=output, width=width, force_terminal=True))
    with messages.progress("training imagenette_s0") as update:
        update(7, 30, "loss 1.025, 24 images/s")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())
    assert re.search(r"training imagenette_s0 .*7/30 .*left .*loss 1.025, 24 images/s", shown)
    assert ("━" in shown) == has_bar
