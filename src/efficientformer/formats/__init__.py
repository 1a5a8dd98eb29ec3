"""The JSON type of every record: its fields, their units and bounds. Writers are tested against it, readers read by it.

Fields that a type does not have are kept: newer versions may write more. What older versions did not write is
`NotRequired`.
"""
