"""Stands in for `adb`, for a phone, and for the benchmark programs on it. A folder is the phone.

The folder named by FAKE_PHONE has state.json ({serial: state}, as `adb devices` prints it), `files` (the phone's file
system) and log.txt (all that was asked). The programs on it print what the real ones print; how long a network takes
follows from the size of its file, with noise. A file called `lose` makes the phone vanish at the next program.

A table starts these programs hundreds of times: they import little, and become the shell instead of waiting for it.
"""

# ruff: noqa: PTH110, PTH123, PTH202
import os
import sys
import zlib

PHONE = os.environ.get("FAKE_PHONE", ".")
FILES = f"{PHONE}/files"
GETPROP = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 7",
    "ro.soc.model": "GS201",
    "ro.board.platform": "gs201",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.build.version.release": "14",
}
CORES = ["0xd05"] * 4 + ["0xd41"] * 2 + ["0xd44"] * 2


def adb(arguments: list[str]) -> int | None:
    import json

    with open(f"{PHONE}/log.txt", "a") as log, open(f"{PHONE}/state.json") as state:
        log.write(json.dumps(arguments) + "\n")
        states = json.load(state)
    if arguments == ["devices"]:
        say("List of devices attached")
        for serial, state in states.items():
            say(f"{serial}\t{state}")
        say("")
        return 0
    assert arguments[0] == "-s", arguments
    serial, verb, *rest = arguments[1:]
    if states.get(serial) != "device":
        complain(f"adb: device '{serial}' not found" if serial not in states else f"error: device {states[serial]}.")
        return 1
    if verb == "push":
        source, target = rest
        with open(source, "rb") as original, open(f"{FILES}{target}", "wb") as copy:
            size = copy.write(original.read())
        say(f"{source}: 1 file pushed, 0 skipped. 31.4 MB/s ({size} bytes in 0.100s)")
        return 0
    assert verb == "shell" and len(rest) == 1, arguments
    return shell(rest[0])


def shell(script: str) -> None:
    """This machine's shell, with the phone's paths, and the phone's own commands in front of others of that name."""
    for folder in ("/data/", "/proc/"):
        script = script.replace(folder, f"{FILES}{folder}")
    os.execvpe("sh", ["sh", "-c", script], {**os.environ, "PATH": f"{FILES}/bin:{os.environ['PATH']}"})


def getprop(name: str) -> int:
    say(GETPROP.get(name, ""))
    return 0


def taskset(mask: str, *command: str) -> None:
    assert mask and set(mask) <= set("0123456789abcdef")
    os.execvp(command[0], command)


def onnxruntime_perf_test(*arguments: str) -> int:
    lose()
    options = dict(zip(arguments[1:-2:2], arguments[2:-2:2], strict=True))
    assert arguments[0] == "-I" and set(options) == {"-S", "-e", "-o", "-x", "-y", "-m", "-r"}
    *_, model, result = arguments
    seconds = [ms / 1e3 for ms in latencies(model, int(options["-r"]), int(options["-x"]))]
    say(f"Setting intra_op_num_threads to {options['-x']}")
    say("Session creation time cost: 0.0217932 s")
    say("First inference time cost: 9 ms")
    say(f"Total inference time cost: {sum(seconds):g} s")
    say(f"Total inference requests: {len(seconds)}")
    say(f"Average inference time cost total: {1e3 * sum(seconds) / len(seconds):f} ms")
    say("Avg CPU usage: 11 %\nPeak working set size: 271122432 bytes")
    with open(result, "a") as rows:
        for index, value in enumerate(seconds):
            rows.write(f"efficientformer,{value:g},271122432,11,{index}\n")
    return 0


def benchmark_model(*arguments: str) -> int:
    lose()
    options = dict(argument.removeprefix("--").split("=") for argument in arguments)
    assert set(options) == {
        *("graph", "num_threads", "use_xnnpack", "warmup_runs", "warmup_min_secs", "num_runs", "min_secs")
    }
    say("INFO: STARTING!\nINFO: Log parameter values verbosely: [0]")
    complain("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.")
    applied = "Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the delegate."
    if "no_delegate" in os.environ.get("FAKE_PHONE_FLAWS", ""):
        applied = "Though XNNPACK delegate is explicitly applied, the model graph will not be executed by the delegate."
    say(f"INFO: {applied}")
    for name in ("warmup_runs", "num_runs"):
        times = [round(1e3 * ms) for ms in latencies(options["graph"], int(options[name]), int(options["num_threads"]))]
        say(f"INFO: Running benchmark for at least {len(times)} iterations and at least 0 seconds but terminate if")
        say(f"INFO: {statistics(times)}\n")
    say(f"INFO: Inference timings in us: Init: 3846, First inference: 1, Warmup (avg): 1, Inference (avg): {times[0]}")
    return 0


def statistics(times: list[int]) -> str:
    if not times:
        return "count=0 p5=0 median=0 p95=0"
    tail = f" p5={min(times)} median={sorted(times)[len(times) // 2]} p95={max(times)}"
    if min(times) == max(times):
        return f"count={len(times)} curr={times[-1]}" + ("(all same)" if len(times) > 1 else "") + tail
    return (
        f"count={len(times)} first={times[0]} curr={times[-1]} min={min(times)} max={max(times)} "
        f"avg={sum(times) / len(times):g} std=92" + tail
    )


def benchncnn(*arguments: str) -> int:
    lose()
    loops, threads, powersave, gpu, cooling, param, shape = arguments
    assert (powersave, gpu, cooling) == ("2", "-1", "0")
    assert shape[:7] + shape[-1:] == "shape=[]" and all(size.isdigit() for size in shape[7:-1].split(",", maxsplit=2))
    times = latencies(param.removeprefix("param="), int(loops), int(threads))
    complain(f"loop_count = {loops}\nnum_threads = {threads}\npowersave = 2\ngpu_device = -1\ncooling_down = 0")
    average = sum(times) / len(times)
    complain(f"{param:>20}  min = {min(times):7.2f}  max = {max(times):7.2f}  avg = {average:7.2f}")
    return 0


def latencies(model: str, count: int, threads: int) -> list[float]:
    """Within 2 % of what the file's size gives."""
    fixed = 0.02 + os.path.getsize(model) / 2e5 / threads
    off = (zlib.crc32(f"{model} {os.getpid()} {index}".encode()) % 401 - 200 for index in range(count))
    return [fixed * (1 + 1e-4 * noise) for noise in off]


def lose() -> None:
    """The cable comes loose while a program runs: adb dies with it."""
    if os.path.exists(f"{PHONE}/lose"):
        with open(f"{PHONE}/state.json", "w") as state:
            state.write("{}")
        sys.exit(255)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    sys.stderr.write(text + "\n")


def install(phone, *programs: str) -> None:
    """A phone in the folder: its own commands, and the programs that a user has put on it."""
    import shlex

    for folder in ("bin", "proc", "data/local/tmp"):
        (phone / "files" / folder).mkdir(parents=True)
    (phone / "state.json").write_text('{"8A1X0": "device"}')
    cpuinfo = "".join(f"processor\t: {index}\nCPU part\t: {part}\n\n" for index, part in enumerate(CORES))
    (phone / "files/proc/cpuinfo").write_text(cpuinfo)
    (phone / "files/proc/meminfo").write_text("MemTotal:        7812345 kB\nMemFree:          101234 kB\n")
    places = [(name, "bin") for name in ("getprop", "taskset")] + [(name, "data/local/tmp") for name in programs]
    for name, place in [*places, ("adb", "..")]:
        path = phone / "files" / place / name
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {shlex.quote(__file__)} {name} "$@"\n')
        path.chmod(0o755)


if __name__ == "__main__":
    name, *given = sys.argv[1:]
    sys.exit(adb(given) if name == "adb" else globals()[name](*given))
