"""Networks timed in another process: one that may crash, has other packages, or runs on another machine.

`runtime.py` is a runtime like any other on this side; `serve.py` runs the real one on the far side. Between them go
messages (`messages.py`) through the far process's stdin and stdout. Our code travels with each start (`source.py`), so
the far side needs Python, numpy and the runtime's package, and nothing of ours.
"""
