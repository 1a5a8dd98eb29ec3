"""Networks of a run in processes of their own: what each gets, what comes back, how all of them end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from efficientformer.arch.spaces import V2_QUICK
from efficientformer.errors import TrainingError
from efficientformer.pipeline.networks.side_by_side import side_by_side, with_share_of_threads
from efficientformer.pipeline.run.console import RunConsole
from efficientformer.pipeline.run.resolve_settings import resolve_settings
from efficientformer.pipeline.run.run_network import RunNetwork
from efficientformer.pipeline.run.workspace import Workspace
from efficientformer.run_dir import RunDir
from efficientformer.training.termination import termination

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """New processes import this module for its functions, with the paths of this one."""
    monkeypatch.syspath_prepend(ROOT)


class Listening(RunConsole):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.said: list[str] = []

    def phase(self, name: str, text: str = "") -> None:
        self.said.append(f"phase {name} {text}")

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(f"warning {text}")


def workspace(root: Path, **given) -> Workspace:
    given = {"training_processes": 2, "training_threads": 2, **given}
    made = Workspace(RunDir(root), resolve_settings(given), Listening())
    vars(made)["dataset"] = "the parent's images"
    return made


def networks(made: Workspace, *titles: str) -> list[RunNetwork]:
    folder = made.run_dir.network
    return [RunNetwork(title, title, V2_QUICK.smallest(), folder(title), {}) for title in titles]


def run(made: Workspace, work, *titles: str) -> list[str]:
    side_by_side(made, networks(made, *titles), work, doing="training")
    return made.console.said  # type: ignore[attr-defined]


def note(made: Workspace, network: RunNetwork) -> None:
    made.console.phase("train", network.name)
    made.console.say_once("of all")
    made.console.warn(f"{network.title} has {made.settings.training_threads} thread and {made.dataset}")
    with made.console.progress(f"training {network.title}") as progress:
        progress(3, 3, "done")
    root = made.run_dir.root
    root.mkdir(exist_ok=True)
    (root / f"{network.name}-started").write_text(str(time.time()))
    time.sleep(0.3)
    (root / f"{network.name}-ended").write_text(str(time.time()))


def fail_or_wait(made: Workspace, network: RunNetwork) -> None:
    if network.name == "a":
        raise TrainingError("The loss is not finite.")
    wait(made, network)


def load_or_raise(made: Workspace, network: RunNetwork) -> None:
    """What a training does: other processes load its images."""
    if network.name == "b":
        until_there(made.run_dir.root / "pid-a")
        raise ValueError("unforeseen")
    assert sum(batch.item() for batch in DataLoader(range(4), num_workers=1)) == 6  # type: ignore[arg-type]
    made.console.warn("a loaded")
    wait(made, network)


def leave_or_wait(made: Workspace, network: RunNetwork) -> None:
    if network.name == "b":
        wait(made, network)
    until_there(made.run_dir.root / "pid-b")


def until_there(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def die_or_wait(made: Workspace, network: RunNetwork) -> None:
    if network.name == "a":
        os._exit(3)
    wait(made, network)


def wait(made: Workspace, network: RunNetwork) -> None:
    made.run_dir.root.mkdir(exist_ok=True)
    with termination() as is_terminated:
        (made.run_dir.root / f"pid-{network.name}").write_text(str(os.getpid()))
        deadline = time.monotonic() + 120
        while not is_terminated() and time.monotonic() < deadline:
            time.sleep(0.05)
        (made.run_dir.root / f"asked-{network.name}").touch()


def test_every_network_has_its_share_of_the_threads_and_the_images_and_is_heard(tmp_path):
    said = run(workspace(tmp_path / "run"), note, "a", "b", "c")
    for name in "abc":
        assert said.count(f"phase train {name}") == 1
        assert said.count(f"warning {name} has 1 thread and the parent's images") == 1
    assert said.count("of all") == 1 and len(said) == 7
    times = {path.name: float(path.read_text()) for path in (tmp_path / "run").iterdir()}
    ends = sorted(times[f"{name}-ended"] for name in "abc")
    assert times["c-started"] > ends[0], "two at a time"


def test_threads_are_shared_by_the_setting_whatever_the_number_of_networks():
    settings = resolve_settings({"training_processes": 3, "training_threads": 8})
    shared = with_share_of_threads(settings)
    assert (shared.training_threads, shared.training_processes) == (2, 1)
    assert (
        with_share_of_threads(resolve_settings({"training_processes": 4, "training_threads": 2})).training_threads == 1
    )


def test_what_one_network_raises_ends_the_others(tmp_path):
    started = time.monotonic()
    with pytest.raises(TrainingError, match="The loss is not finite"):
        run(workspace(tmp_path / "run"), fail_or_wait, "a", "b")
    assert time.monotonic() - started < 60
    assert_gone(tmp_path / "run")


def test_a_process_loads_images_in_others_and_an_unforeseen_error_is_its_own(tmp_path, capfd):
    made = workspace(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"trained b ended \(exit code 1\); its own error stands above"):
        run(made, load_or_raise, "a", "b")
    assert "ValueError: unforeseen" in capfd.readouterr().err
    assert "warning a loaded" in made.console.said  # type: ignore[attr-defined]
    assert_gone(tmp_path / "run")


def kill_itself_or_wait(made: Workspace, network: RunNetwork) -> None:
    if network.name == "a":
        os.kill(os.getpid(), signal.SIGKILL)
    wait(made, network)


def test_a_process_that_is_killed_is_named_with_a_remedy(tmp_path):
    with pytest.raises(TrainingError, match=r"trained a was killed \(SIGKILL\).*--training-processes 1"):
        run(workspace(tmp_path / "run"), kill_itself_or_wait, "a", "b")
    assert_gone(tmp_path / "run")


def test_a_process_that_cannot_start_ends_the_others(tmp_path, monkeypatch):
    start = subprocess.Popen

    def second_fails(*arguments, **options):
        if list((tmp_path / "run").glob("pid-*")):
            raise OSError(11, "Resource temporarily unavailable")
        return start(*arguments, **options)

    made = workspace(tmp_path / "run")
    monkeypatch.setattr(subprocess, "Popen", second_fails)
    with pytest.raises(TrainingError, match=r"trains c cannot start.*--training-processes 1"):
        run(made, leave_or_wait, "a", "b", "c")
    assert_gone(tmp_path / "run", at_least=1)


def test_a_process_that_dies_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"trained a ended \(exit code 3\)"):
        run(workspace(tmp_path / "run"), die_or_wait, "a", "b")
    assert_gone(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_process_outlives_the_run(tmp_path, sent):
    """Two trainings of a network would write the same files. The script is one that may not run twice either."""
    script = (
        "from pathlib import Path\nfrom tests.pipeline.test_side_by_side import run, wait, workspace\n"
        f"run(workspace(Path({str(tmp_path / 'run')!r})), wait, 'a', 'b')\n"
    )
    (tmp_path / "main.py").write_text(script)
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "main.py"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        # A test runner in the background ignores Ctrl-C, and so would every child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "run").glob("pid-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    parent.send_signal(sent)
    parent.wait(60)
    assert_gone(tmp_path / "run", at_least=2)
    # Asked to end, trainings finish their step; without a parent, which nobody asked, they end at once.
    assert len(list((tmp_path / "run").glob("asked-*"))) == (0 if sent == signal.SIGKILL else 2)


def assert_gone(root: Path, at_least: int = 0) -> None:
    pids = [int(path.read_text()) for path in root.glob("pid-*")]
    assert len(pids) >= at_least
    deadline = time.monotonic() + 30
    while alive := [pid for pid in pids if is_alive(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
