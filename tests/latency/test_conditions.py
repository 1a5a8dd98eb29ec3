import subprocess
import sys

import pytest

from efficientformer.latency.devices import open_runtime
from efficientformer.latency.timing.conditions import conditions, conditions_at, memory_growth
from efficientformer.provenance import load_average

from .synthetic import Device


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def board(tmp_path):
    for core, (governor, khz) in enumerate((("schedutil", 1800000), ("performance", 2200000))):
        write(tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor", f"{governor}\n")
        write(tmp_path / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", f"{khz}\n")
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "47500\n")
    write(tmp_path / "sys/class/thermal/thermal_zone1/temp", "not a number\n")
    write(tmp_path / "sys/class/hwmon/hwmon0/temp1_input", "61250\n")
    return tmp_path


def test_what_a_board_tells_is_read(board):
    found = conditions(board)
    assert found["governor"] == "performance, schedutil"
    assert found["frequency_mhz"] == 2000
    assert found["temperature_c"] == 61.2
    assert set(found) == {"load", "governor", "frequency_mhz", "temperature_c", "involuntary_switches"}


def test_virtual_machines_tell_the_frequency_elsewhere(tmp_path):
    write(tmp_path / "proc/cpuinfo", "processor\t: 0\ncpu MHz\t\t: 2600.5\n\nprocessor\t: 1\ncpu MHz\t\t: 2599.5\n")
    assert conditions(tmp_path)["frequency_mhz"] == 2600


def test_what_a_system_does_not_tell_is_none(tmp_path):
    found = conditions(tmp_path)
    assert found["governor"] is found["frequency_mhz"] is found["temperature_c"] is None
    with memory_growth(tmp_path) as grown:
        pass
    assert grown.peak_mib is None


def test_conditions_are_those_where_the_network_runs():
    here = conditions_at(open_runtime("pytorch"))
    assert here is not None and here.keys() == conditions().keys()
    assert (here["load"] is None) == (load_average() is None)
    assert conditions_at(Device("elsewhere")) is None

    class Telling(Device):
        def conditions(self):
            return {"load": 0.5}

    assert conditions_at(Telling("elsewhere")) == {"load": 0.5}


CLAIMING = """
import numpy as np
from efficientformer.latency.timing.conditions import memory_growth
with memory_growth() as grown:
    block = np.ones(12 * 2**20, dtype=np.float32)
    del block
print(grown.peak_mib)
"""


def test_memory_counts_what_the_block_claimed_at_its_peak():
    """In a process of its own, as workers are: one that has had more memory before shows no new peak."""
    done = subprocess.run([sys.executable, "-c", CLAIMING], capture_output=True, text=True, check=True)
    if done.stdout.strip() == "None":
        pytest.skip("this system does not tell")
    assert 47 < float(done.stdout) < 80
