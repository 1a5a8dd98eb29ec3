"""What the Python with litert-torch runs: it reads one JSON request a line and answers each with one line.

It runs where nothing of ours is installed, so it imports nothing of ours.
"""

import json
import os
import sys


def main():
    # The converter reports on standard output; only answers may go there.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        import litert_torch  # pyright: ignore[reportMissingImports]
        import torch
    except ImportError as error:
        _answer(answers, {"error": str(error)})
        return
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request:
                module = torch.export.load(request["program"]).module()
                # What `eval` would do, had such modules one.
                module.training = False
                litert_torch.convert(module, (torch.zeros(request["input_shape"]),)).export(request["target"])
            _answer(answers, {})
        except Exception as error:  # Any error is reported to the other side.
            _answer(answers, {"error": f"{type(error).__name__}: {error}"})


def _answer(answers, message):
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
