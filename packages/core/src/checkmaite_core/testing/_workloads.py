"""Capabilities that the suites run: each does one thing that a backend must cope with."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import create_model

from checkmaite_core.capability import Arity, Capability
from checkmaite_core.context import cancelled, progress
from checkmaite_core.inputs import Inputs
from checkmaite_core.record import Record
from checkmaite_core.report import INLINE_REPORT_LIMIT, InlineTextReport, Report
from checkmaite_core.run import CapabilityConfig, CapabilityOutputs, CapabilityRun
from checkmaite_core.testing._waiting import DEADLINE

__all__ = [
    "LARGE_REPORT",
    "ROWS",
    "AwkwardError",
    "Clash",
    "ClashConfig",
    "Data",
    "Die",
    "Park",
    "ParkConfig",
    "Raise",
    "RaiseConfig",
    "Write",
    "WriteConfig",
    "load_data",
]

ROWS = "conformance_rows"
"""The table that most of these capabilities write to."""

LARGE_REPORT = "# Large\n" + "é" * INLINE_REPORT_LIMIT
"""A report that is too large to travel in a reference, in bytes though not in characters."""


class Data:
    """A dataset that is only an id and a number."""

    def __init__(self, id: str, value: float | None = None) -> None:  # noqa: A002 - MAITE's name for it
        self.metadata = {"id": id}
        self.value = value


def load_data(uri: str) -> Data:
    """Read ``id value`` from the file at ``uri``, and leave a mark beside it for each time that it was read."""
    path = Path(uri)
    identity, value = path.read_text().split()
    with path.with_suffix(".loads").open("a") as marks:
        marks.write(f"{os.getpid()}\n")
    return Data(identity, float(value))


def load_label(uri: str) -> Data:
    """A dataset of whose content nobody can tell whether it is what it was."""
    return Data(uri.removeprefix("memory:"), 1.0)


class Row(Record, table_name=ROWS):
    """One row."""

    label: str
    position: int
    value: float


class Number(CapabilityOutputs):
    """What these capabilities find."""

    value: float = 0.0


class WriteConfig(CapabilityConfig):
    """How much is written, and what report is made."""

    value: float = 1.0
    rows: int = 1
    report: Literal["none", "text", "inline", "large", "raises"] = "none"


class WriteRun(CapabilityRun[WriteConfig, Number]):
    """Its rows and its report."""

    def extract(self) -> Sequence[Record]:
        label = self.dataset_metadata[0]["id"]
        return [
            Row(run_uid=self.run_uid, label=label, position=position, value=self.outputs.value)
            for position in range(self.config.rows)
        ]

    def collect_md_report(self, threshold: float) -> Report | str | None:
        text = f"# Report\nthreshold {threshold}"
        match self.config.report:
            case "text":
                return text
            case "inline":
                return InlineTextReport(filename="own.md", content=text)
            case "large":
                return LARGE_REPORT
            case "raises":
                raise ValueError("the report cannot be drawn")
            case "none":
                raise NotImplementedError


class Write(Capability[WriteConfig, Number]):
    """Writes rows: the dataset's value, or the config's."""

    config_class = WriteConfig
    run_class = WriteRun
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs: Inputs, config: WriteConfig) -> Number:
        value = getattr(inputs.datasets[0], "value", None)
        return Number(value=config.value if value is None else value)


class ParkConfig(CapabilityConfig):
    """Where a parked job waits, and how it takes being cancelled.

    Attributes:
        folder: Shared with the test. The job makes ``started`` there (with its process id) and waits for ``go``.
        pace: Seconds that each step before the wait takes.
        manner: ``cooperative`` code asks whether to stop, ``busy`` code never does, and ``stubborn`` code goes
            on whatever is raised in it.
    """

    folder: str
    pace: float = 0.0
    manner: Literal["cooperative", "busy", "stubborn"] = "busy"


class ParkRun(CapabilityRun[ParkConfig, Number]):
    """One row, so that a job which should not have stored anything is found out."""

    def extract(self) -> Sequence[Record]:
        return [Row(run_uid=self.run_uid, label=self.dataset_metadata[0]["id"], position=0, value=0.0)]


class Park(Capability[ParkConfig, Number]):
    """Says that it is half through (2 of 4), then waits for a file."""

    config_class = ParkConfig
    run_class = ParkRun
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs: Inputs, config: ParkConfig) -> Number:
        folder = Path(config.folder)
        pause = threading.Event()
        for item in progress(range(4), description="parking"):
            if item < 2:
                pause.wait(config.pace)
            elif item == 2:
                with (folder / "started").open("a") as marks:
                    marks.write(f"{os.getpid()}\n")
                self._wait(folder / "go", config.manner)
        return Number()

    @staticmethod
    def _wait(go: Path, manner: str) -> None:
        pause, end = threading.Event(), time.monotonic() + DEADLINE
        while not go.exists() and time.monotonic() < end:
            try:
                pause.wait(0.01)
            except BaseException:  # what a cancel may raise here: stubborn code swallows it
                if manner != "stubborn":
                    raise
            if manner == "cooperative" and cancelled():
                return


class AwkwardError(Exception):
    """Has no text: asking for it raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class RaiseConfig(CapabilityConfig):
    """What is raised."""

    what: Literal["value", "exit", "interrupt", "memory", "awkward", "group", "colour", "chained"]


class Raise(Capability[RaiseConfig, Number]):
    """Raises."""

    config_class = RaiseConfig
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs: Inputs, config: RaiseConfig) -> Number:
        match config.what:
            case "value":
                raise ValueError("the seventh image is empty")
            case "exit":
                raise SystemExit(3)
            case "interrupt":
                raise KeyboardInterrupt
            case "memory":
                raise MemoryError("no room for the embeddings")
            case "awkward":
                raise AwkwardError
            case "group":
                raise ExceptionGroup("two things", [ValueError("first"), AwkwardError()])
            case "colour":
                raise ValueError("\x1b[31mred\x1b[0m \x1b]0;title\x07and \ud800 broken")
            case "chained":
                try:
                    raise KeyError("the cause")
                except KeyError as error:
                    raise ValueError("the consequence") from error


class FlakyConfig(CapabilityConfig):
    """How often it fails.

    Attributes:
        folder: Shared with the test. Each start adds a line to ``starts`` there.
        failures: How many starts fail before one succeeds.
        what: ``connection`` raises a ConnectionResetError, which is a ConnectionError; ``value`` a ValueError.
    """

    folder: str
    failures: int
    what: Literal["connection", "value"] = "connection"


class FlakyRun(CapabilityRun[FlakyConfig, Number]):
    """One row, whose value is the number of the start that made it."""

    def extract(self) -> Sequence[Record]:
        label = self.dataset_metadata[0]["id"]
        return [Row(run_uid=self.run_uid, label=label, position=0, value=self.outputs.value)]


class Flaky(Capability[FlakyConfig, Number]):
    """Fails some times, then succeeds."""

    config_class = FlakyConfig
    run_class = FlakyRun
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs: Inputs, config: FlakyConfig) -> Number:
        starts = Path(config.folder) / "starts"
        with starts.open("a") as marks:
            marks.write(f"{os.getpid()}\n")
        start = len(starts.read_text().splitlines())
        if start <= config.failures:
            raise ConnectionResetError("the archive hung up") if config.what == "connection" else ValueError("no")
        return Number(value=start)


class Die(Capability[CapabilityConfig, Number]):
    """Ends its process without a word."""

    config_class = CapabilityConfig
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs: Inputs, config: CapabilityConfig) -> Number:
        os._exit(7)


class ClashConfig(CapabilityConfig):
    """The table, and the type that its column has this time."""

    table: str
    kind: Literal["int", "text"]


class ClashRun(CapabilityRun[ClashConfig, Number]):
    """One row whose column may have another type than before, and a healthy one beside it."""

    def extract(self) -> Sequence[Record]:
        text = self.config.kind == "text"
        columns: dict[str, Any] = {"disputed": (str if text else int, ...)}
        record = create_model("ClashRow", __base__=Record, __cls_kwargs__={"table_name": self.config.table}, **columns)
        healthy = Row(run_uid=self.run_uid, label=self.dataset_metadata[0]["id"], position=0, value=0.0)
        disputed = {"disputed": "7" if text else 7}
        return [healthy, record(run_uid=self.run_uid, **disputed)]


class Clash(Capability[ClashConfig, Number]):
    """Run with both kinds on one table, the second run's commit is refused by any store."""

    config_class = ClashConfig
    run_class = ClashRun
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs: Inputs, config: ClashConfig) -> Number:
        return Number()
