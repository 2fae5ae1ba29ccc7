"""What a library author writes: a capability of their own, fully typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_type

from checkmaite_core import (
    Arity,
    Capability,
    CapabilityConfig,
    CapabilityLike,
    CapabilityOutputs,
    CapabilityRun,
    Inputs,
    Record,
    Resources,
    RunLike,
    cancelled,
    progress,
)


class Config(CapabilityConfig):
    floor: float = 0.05


class Outputs(CapabilityOutputs):
    share: float


class Share(Record, table_name="shares"):
    dataset_id: str
    share: float | None


class Run(CapabilityRun[Config, Outputs]):
    def extract(self) -> Sequence[Share]:
        assert_type(self.outputs, Outputs)
        assert_type(self.config, Config)
        return [Share(run_uid=self.run_uid, dataset_id="a", share=self.outputs.share)]

    def collect_md_report(self, threshold: float) -> str:
        return f"{self.outputs.share:.2f} against {max(threshold, self.config.floor):.2f}"


class ShareOf(Capability[Config, Outputs]):
    config_class = Config
    run_class = Run
    takes_datasets = Arity(1, 1)
    resources = Resources(num_cpus=0.5)

    def evaluate(self, inputs: Inputs, config: Config) -> Outputs:
        numbers: list[float] = [1.0, 2.0]
        total = 0.0
        for number in progress(numbers, description="adding"):
            assert_type(number, float)
            if cancelled():
                break
            total += number
        return Outputs(share=total + config.floor)


class Unrelated:
    """A capability without our base class."""

    id = "unrelated"

    def run(
        self,
        models: Any = None,
        datasets: Any = None,
        metrics: Any = None,
        config: Any = None,
        use_cache: bool = False,
    ) -> Any:
        return None


run = ShareOf().run(datasets=[], config=Config(floor=0.1))
assert_type(run, CapabilityRun[Config, Outputs])
assert_type(run.outputs.share, float)

fits: CapabilityLike = ShareOf()
fits = Unrelated()
run_fits: RunLike = run

# What must not pass; an ignore that is not needed is an error too.
Config(flor=0.1)  # type: ignore[call-arg]
Share(run_uid="a", dataset_id=1, share=None)  # type: ignore[arg-type]
ShareOf().run(config=Outputs(share=1.0))  # type: ignore[arg-type]
