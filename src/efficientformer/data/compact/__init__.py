"""Long sequences of numbers and texts as arrays: a million of them, without a million objects.

Processes that load images share them: reading an element writes nothing, where an object's count of references would
copy its page of memory into every process.
"""
