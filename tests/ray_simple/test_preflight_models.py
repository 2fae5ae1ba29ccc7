"""What client and worker compare of a capability's models, where the classes travel by value."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Literal

from ray import cloudpickle

from checkmaite_core import Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun
from checkmaite_core.preflight.models import differences, fields_of_models


def in_a_notebook():
    """Classes made in a function, as those of a notebook are, with types of all kinds."""

    class Part(CapabilityConfig):
        size: int = 1

    class Config(CapabilityConfig):
        part: Part = Part()
        parts: list[Part] | None = None
        by_name: dict[str, Part | None] | None = None
        mode: Literal["fast", "exact"] = "fast"

    class Outputs(CapabilityOutputs):
        parts: tuple[Part, ...]

    class Run(CapabilityRun[Config, Outputs]):
        pass

    class Own(Capability[Config, Outputs]):
        id = "test.own"
        config_class = Config
        run_class = Run

        def evaluate(self, inputs, config):
            return Outputs(parts=())

    return Own(), Config()


def test_classes_that_travel_are_the_same_where_they_arrive():
    capability, config = in_a_notebook()
    sent = cloudpickle.dumps((capability, config))
    there = subprocess.run([sys.executable, "-c", ARRIVE], input=sent, capture_output=True, check=True, timeout=100)
    here = fields_of_models(capability, config)
    assert differences(here, json.loads(there.stdout)) == []
    assert here["config Config"]["by_name"] == "dict[str, Part | None] | None, with a default"
    assert here["config Config"]["mode"] == "Literal['fast', 'exact'], with a default"
    assert set(here) == {"config Config", "run Run", "outputs Outputs"}


ARRIVE = """
import json, sys
from ray import cloudpickle
from checkmaite_core.preflight.models import fields_of_models
print(json.dumps(fields_of_models(*cloudpickle.loads(sys.stdin.buffer.read()))))
"""
