"""Where a job ran: for tests that have to know."""

from __future__ import annotations

import sys
from typing import Any

from checkmaite_core import Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun, Record


class Place(Record, table_name="places"):
    """One row of each run."""

    prefix: str
    greeting: str


class Config(CapabilityConfig):
    greeting: str = "hello"


class Outputs(CapabilityOutputs):
    prefix: str
    greeting: str


class Run(CapabilityRun[Config, Outputs]):
    def extract(self) -> list[Place]:
        return [Place(run_uid=self.run_uid, prefix=self.outputs.prefix, greeting=self.outputs.greeting)]


class WhereAmI(Capability[Config, Outputs]):
    """Answers with the environment that it runs in."""

    id = "team.where_am_i"
    config_class = Config
    run_class = Run

    def evaluate(self, inputs: Any, config: Config) -> Outputs:
        return Outputs(prefix=sys.prefix, greeting=config.greeting)
