"""A capability in a package that has no ``__init__.py``: imported as ``tests.support.spaced_capability``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkmaite_core import Arity, Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun, Inputs, Record

__all__ = ["Spaced"]


class SpacedConfig(CapabilityConfig):
    """None."""


class SpacedOutputs(CapabilityOutputs):
    """One number."""

    value: int


class SpacedRow(Record, table_name="spaced"):
    """The same."""

    value: int


class SpacedRun(CapabilityRun[SpacedConfig, SpacedOutputs]):
    """One row."""

    def extract(self) -> list[Record]:
        return [SpacedRow(run_uid=self.run_uid, value=self.outputs.value)]


class Spaced(Capability[SpacedConfig, SpacedOutputs]):
    """Reads this file by a name that no look at the code can foresee, if it is told to."""

    config_class = SpacedConfig
    run_class = SpacedRun
    takes_datasets = Arity(0, 0)

    def __init__(self, reads: str = "") -> None:
        self.reads = reads

    def evaluate(self, inputs: Inputs, config: SpacedConfig) -> SpacedOutputs:
        found: Any = (Path(__file__).parent / self.reads.lower()).read_text() if self.reads else "abc"
        return SpacedOutputs(value=len(found))
