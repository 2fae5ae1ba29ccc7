"""``checkmaite demo``: real models on a real dataset, from submission to SQL.

Read it as an example: ``data`` and ``models`` put things behind MAITE's protocols, ``plan`` submits them as jobs, and
``questions`` asks the store. The rest looks after the terminal.
"""

__all__: list[str] = []
