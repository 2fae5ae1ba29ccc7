"""The ``checkmaite`` command: run the demo, ask a store questions, read reports, keep a store in order."""

__all__: list[str] = []
