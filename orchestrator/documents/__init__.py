"""The JSON that burst prints and writes, as types: one class a schema name, and their parts.

`docs/reference/json.md` (`python -m tests.documents.reference`) and the JSON Schemas are made from these classes and
the texts below their fields. Nothing here is imported where no JSON is printed.
"""
