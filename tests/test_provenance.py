import datetime
import json
import subprocess
import sys

from efficientformer import provenance as origin


def test_provenance_names_machine_versions_time_load_and_command():
    record = json.loads(json.dumps(origin.provenance()))
    assert set(record) == {"machine", "versions", "time", "load", "command"}
    assert set(record["machine"]) == {"cpu", "cores", "memory_gib", "os", "python"}
    assert record["machine"]["cpu"] and record["machine"]["cores"] >= 1
    assert record["versions"]["torch"] and record["versions"]["efficientformer"]
    assert datetime.datetime.fromisoformat(record["time"]).tzinfo is not None


def test_command_leaves_out_the_folder_of_the_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/home/somebody/bin/efficientformer", "table", "--out", "a b"])
    assert origin.provenance()["command"] == "efficientformer table --out 'a b'"


def test_versions_are_read_without_importing_packages():
    code = "import sys; from efficientformer.provenance import provenance; provenance(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_chips_of_one_name_are_told_apart_by_model():
    text = "processor : 0\nmodel name : AMD EPYC\ncpu family : 25\nmodel : 17\n\nprocessor : 1\nmodel name : AMD EPYC\n"
    assert origin._name_from_cpuinfo(text) == "AMD EPYC (family 25, model 17)"
    assert origin._name_from_cpuinfo("nothing of use") is None


def test_arm_chips_are_named_by_their_part():
    assert "part 0xd0b" in str(origin._name_from_cpuinfo("CPU implementer : 0x41\nCPU part : 0xd0b\n"))


def test_machines_differ_by_chip_cores_and_system_only():
    here = {"cpu": "A", "cores": 4, "os": "Linux x86_64", "python": "3.12", "memory_gib": 8}
    assert origin.differences({**here, "python": "3.11", "memory_gib": 16}, here) == []
    assert origin.differences({**here, "cpu": "B"}, here) == ["cpu is A, recorded was B"]
