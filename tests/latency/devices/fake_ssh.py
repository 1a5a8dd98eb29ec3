"""Stands in for ssh: takes its options, and gives the rest, joined into one line, to a shell, as sshd does.

The host says what happens: "unreachable" is not there, "chatty" greets. The file named by FAKE_SSH_CALLS gets a line
per call. That named by FAKE_SSH_LIVES has a line for each of the next calls: after how many lines of answers the
connection breaks, "foreign" for a far side of another architecture, or "full" for one where no file grows beyond 1 KiB.
"""

import os
import subprocess
import sys
from pathlib import Path

CONNECTION_LOST = 255


def main() -> int:
    words = sys.argv[1:]
    while words[0].startswith("-") and words[0] != "--":
        del words[: 2 if words[0] == "-o" else 1]
    assert words[0] == "--"
    host, command = words[1], " ".join(words[2:])
    with Path(os.environ["FAKE_SSH_CALLS"]).open("a") as calls:
        calls.write(f"{host} {command}\n")
    if host == "unreachable":
        sys.stderr.write("ssh: connect to host unreachable port 22: No route to host\n")
        return CONNECTION_LOST
    shell = ["sh", "-c", f"echo Welcome to the board; {command}" if host == "chatty" else command]
    life = next_life()
    if life == "foreign":
        shell = ["setarch", "i686", *shell]
    if life == "full":
        shell[-1] = f"ulimit -f 2; {command}"
    environment = {**os.environ, "TMPDIR": os.environ["FAKE_SSH_TMPDIR"]}
    far = subprocess.Popen(shell, stdout=subprocess.PIPE, env=environment)
    assert far.stdout is not None
    lines = 0
    while chunk := os.read(far.stdout.fileno(), 1 << 16):
        os.write(1, chunk)
        lines += chunk.count(b"\n")
        if life.isdigit() and lines >= int(life):
            far.kill()
            sys.stderr.write("client_loop: send disconnect: Broken pipe\n")
            return CONNECTION_LOST
    code = far.wait()
    return code if code >= 0 else 128 - code


def next_life() -> str:
    path = Path(os.environ["FAKE_SSH_LIVES"])
    first, _, rest = path.read_text().partition("\n")
    path.write_text(rest)
    return first


if __name__ == "__main__":
    sys.exit(main())
