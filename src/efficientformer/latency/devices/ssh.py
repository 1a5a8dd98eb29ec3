"""A machine reached by the user's own ssh: a board, a server, a desktop elsewhere.

Keys, ports and proxies belong in ssh's configuration; nothing is ever asked for. The far side needs Python, numpy and
the runtime's package.
"""

import shlex
import shutil

from efficientformer.errors import LatencyError, UsageError
from efficientformer.latency.worker.connection import Transport
from efficientformer.latency.worker.source import PYTHON_CODE

PYTHON = "python3"
# A dead connection is noticed after a minute, also while the other machine computes and sends nothing.
OPTIONS = ("BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4")


def ssh_transport(target: str) -> Transport:
    """A worker on [USER@]HOST[:PYTHON]; ports and everything else come from ssh's configuration.

    Raises UsageError for a target that ssh would take for an option, LatencyError when ssh is not installed.
    """
    host, _, python = target.partition(":")
    if not host or host.startswith("-") or any(character.isspace() for character in host):
        raise UsageError(f"{target!r} is no host for ssh. Write ssh:USER@HOST or ssh:USER@HOST:/path/to/python.")
    program = shutil.which("ssh")
    if program is None:
        raise LatencyError("There is no ssh on this machine. Install an OpenSSH client.")
    options = [word for option in OPTIONS for word in ("-o", option)]
    # ssh joins its arguments into one line for the far shell, so what that shell must not split is quoted here.
    command = shlex.join([python or PYTHON, "-c", PYTHON_CODE])
    return Transport(
        (program, "-T", *options, "--", host, command),
        f"The worker on {host}",
        shares_files=False,
        remedy=f"Check that `ssh {shlex.quote(host)} {shlex.quote(python or PYTHON)} -V` prints a version without "
        "asking for anything.",
    )
