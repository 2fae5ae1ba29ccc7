"""A job whose store goes away while it computes: a real S3 server behind a proxy that refuses, fails and expires.

The default tests shorten the outages, and with them the patience of the connector, so that what waits is the commit.
"""

from __future__ import annotations

import http.client
import os
import pickle
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest

from checkmaite_analytics_store import AnalyticsStore
from checkmaite_core import (
    AnalyticsStoreConfig,
    Capability,
    CapabilityConfig,
    CapabilityOutputs,
    CapabilityRun,
    JobStatus,
    Record,
)
from checkmaite_core.committing import CommitPolicy
from checkmaite_core.execution import execute
from checkmaite_core.failure import FailureKind
from checkmaite_core.inputs import Inputs
from checkmaite_core.outcome import Outcome, Unsettled
from checkmaite_core.report import INLINE_REPORT_LIMIT
from checkmaite_core.submission import prepare_submission
from checkmaite_storage._remote._retry import RetryPolicy
from checkmaite_storage.testing import FaultProxy, ProxiedRequest, fault_proxy

SERVER = Path(__file__).parents[1] / "storage" / "servers" / "moto_server.py"
EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
LENGTHS_S = [
    pytest.param(3.0, id="short"),
    pytest.param(90.0, id="full", marks=[pytest.mark.soak, pytest.mark.timeout(300)]),
]


class OutageScore(Record, table_name="outage_scores"):
    value: float


class NightRun(CapabilityRun[CapabilityConfig, CapabilityOutputs]):
    """One row, and a report that is an object of its own."""

    def extract(self) -> Sequence[OutageScore]:
        return [OutageScore(run_uid=self.run_uid, value=0.75)]

    def collect_md_report(self, threshold: float) -> str:
        return "x" * (INLINE_REPORT_LIMIT + 1)


class Night(Capability[CapabilityConfig, CapabilityOutputs]):
    """Meanwhile something happens to the store."""

    run_class = NightRun
    meanwhile: ClassVar[Callable[[], None]]
    runs: ClassVar[int] = 0

    def evaluate(self, inputs: Inputs, config: CapabilityConfig) -> CapabilityOutputs:
        type(self).runs += 1
        type(self).meanwhile()
        return CapabilityOutputs()


class Monitor:
    def __init__(self) -> None:
        self.waits: list[tuple[float, str | None]] = []
        self.waiting = threading.Event()
        self.cancel = False

    def report_progress(self, done: int, total: int | None, description: str) -> None:
        pass

    def cancel_requested(self) -> bool:
        return self.cancel

    def report_waiting(self, reason: str | None) -> None:
        self.waits.append((time.monotonic(), reason))
        self.waiting.set()


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    with subprocess.Popen([sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.stdin.close()


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that credentials are looked up in."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("CHECKMAITE_STAGING_DIR", str(tmp_path / "staged"))
    _write(path, "first-key")
    return path


def _write(path: Path, key: str) -> None:
    path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")


@pytest.fixture
def bucket(s3_port: int) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    connection = http.client.HTTPConnection("127.0.0.1", s3_port)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return name


class Outage:
    """A store behind a proxy, and a job whose work spoils it."""

    def __init__(self, s3_port: int, bucket: str) -> None:
        self.s3_port = s3_port
        self.bucket = bucket
        self.stack = ExitStack()
        self.proxy = self.stack.enter_context(fault_proxy(s3_port))
        self.port = int(self.proxy.url.rpartition(":")[2])
        self.monitor = Monitor()
        self.ended_at = 0.0
        self._timers: list[threading.Timer] = []

    def refuse(self) -> None:
        """Nothing listens any more."""
        self.stack.close()

    def listen(self) -> None:
        """The server is back, at the same port."""
        self.stack = ExitStack()
        self.proxy = self.stack.enter_context(fault_proxy(self.s3_port, listen=self.port))

    def after(self, seconds: float, what: Callable[[], object]) -> None:
        """Have something happen a while from now."""

        def act() -> None:
            what()
            self.ended_at = time.monotonic()

        self._timers.append(threading.Timer(seconds, act))
        self._timers[-1].start()

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
            timer.join()
        self.stack.close()

    @property
    def config(self) -> AnalyticsStoreConfig:
        options = {"endpoint_url": f"http://127.0.0.1:{self.port}"}
        return AnalyticsStoreConfig(uri=f"s3://{self.bucket}/results", storage_options=options)

    def run(self, meanwhile: Callable[[], None], **policy: Any) -> Outcome | Unsettled:
        Night.meanwhile, Night.runs = staticmethod(meanwhile), 0
        commit = CommitPolicy(**{"stage_after_s": 0.0, **policy})
        submission = prepare_submission({"capability": Night()}, backend="test", store=self.config, commit=commit)
        return execute(
            submission.order,
            submission.pickle(pickle.dumps),
            loads=pickle.loads,
            monitor=self.monitor,
            pickler=pickle.Pickler,
        )

    def rows(self) -> list[float]:
        direct = {"endpoint_url": f"http://127.0.0.1:{self.s3_port}"}
        with AnalyticsStore(self.config.uri, direct) as store:
            return [row["value"] for row in store.query("SELECT value FROM outage_scores").to_pylist()]

    def left(self) -> list[str]:
        """What is staged."""
        direct = {"endpoint_url": f"http://127.0.0.1:{self.s3_port}"}
        with AnalyticsStore(self.config.uri, direct) as store:
            return [info.key for info in store._objects.list("staged/")]


@pytest.fixture
def outage(s3_port: int, bucket: str, credentials: Path) -> Iterator[Outage]:
    opened = Outage(s3_port, bucket)
    yield opened
    opened.close()


@pytest.fixture
def hasty(length_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a short outage, a connector that gives up soon."""
    if length_s < 10:
        for name, seconds in {"deadline": 1.0, "connect_deadline": 0.5, "max_backoff": 0.2}.items():
            monkeypatch.setitem(RetryPolicy.__init__.__kwdefaults__, name, seconds)


def _recovered(outage: Outage, outcome: Outcome | Unsettled, reason: str) -> None:
    RetryPolicy.__init__.__kwdefaults__.update(deadline=60.0, connect_deadline=10.0)  # what looks now need not hurry
    assert isinstance(outcome, Outcome)
    assert outcome.status is JobStatus.COMPLETED, outcome.failure
    assert Night.runs == 1
    assert outage.rows() == [0.75]
    assert outage.left() == []
    told = [text for _, text in outage.monitor.waits]
    assert told[-1] is None
    assert told[0] is not None
    assert told[0].startswith(f"the analytics store at {outage.config.uri}, since ")
    assert any(reason in text for text in told if text is not None), told
    # Of one wait, all say the same: since when.
    assert len({text.split(": ")[0] for text in told if text is not None}) == 1
    assert outage.monitor.waits[-1][0] >= outage.ended_at


@pytest.mark.parametrize("length_s", LENGTHS_S)
@pytest.mark.usefixtures("hasty")
def test_a_server_that_refuses_connections_is_waited_for(outage: Outage, length_s: float) -> None:
    def meanwhile() -> None:
        outage.refuse()
        outage.after(length_s, outage.listen)

    _recovered(outage, outage.run(meanwhile), "onnect")


@pytest.mark.parametrize("length_s", LENGTHS_S)
@pytest.mark.usefixtures("hasty")
def test_a_server_that_answers_503_is_waited_for(outage: Outage, length_s: float) -> None:
    def meanwhile() -> None:
        outage.proxy.fault = lambda _: 503
        outage.after(length_s, lambda: setattr(outage.proxy, "fault", lambda _: None))

    _recovered(outage, outage.run(meanwhile), "503")


@pytest.mark.parametrize(
    "length_s",
    [
        pytest.param(2.0, id="short"),
        pytest.param(60.0, id="full", marks=[pytest.mark.soak, pytest.mark.timeout(300)]),
    ],
)
def test_an_expired_token_is_waited_for_and_new_credentials_are_looked_up(
    outage: Outage, credentials: Path, length_s: float
) -> None:
    def expired(request: ProxiedRequest) -> tuple[int, bytes] | None:
        return (403, EXPIRED) if "first-key" in request.headers.get("authorization", "") else None

    def meanwhile() -> None:
        outage.proxy.fault = expired
        outage.after(length_s, lambda: _write(credentials, "second-key"))

    _recovered(outage, outage.run(meanwhile), "ExpiredToken")


@pytest.mark.parametrize("length_s", [0.0])
@pytest.mark.usefixtures("hasty")
def test_at_the_end_of_the_wait_what_was_computed_stays_on_the_disk(
    outage: Outage, length_s: float, tmp_path: Path
) -> None:
    outcome = outage.run(outage.refuse, commit_timeout_s=1.5)
    failure = outcome.failure  # to be settled with once the store answers
    assert failure is not None
    assert failure.recoverable
    assert failure.staged is not None
    assert failure.staged.path is not None
    assert Path(failure.staged.path).parent == tmp_path / "staged"
    assert "was tried" in failure.message


@pytest.mark.parametrize("length_s", [0.0])
@pytest.mark.usefixtures("hasty")
def test_a_job_that_waits_for_its_store_is_cancelled_within_seconds(outage: Outage, length_s: float) -> None:
    def cancel() -> None:
        assert outage.monitor.waiting.wait(60)
        outage.monitor.cancel = True
        outage.ended_at = time.monotonic()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    outcome = outage.run(outage.refuse)
    canceller.join()
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.CANCELLED
    assert time.monotonic() - outage.ended_at < 5


def test_what_waiting_cannot_cure_ends_at_once(outage: Outage) -> None:
    proxy: FaultProxy = outage.proxy
    missing = b"<Error><Code>NoSuchBucket</Code><Message>gone</Message></Error>"

    def meanwhile() -> None:
        proxy.fault = lambda _: (404, missing)

    begun = time.monotonic()
    outcome = outage.run(meanwhile)
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.STORE
    assert outcome.failure.recoverable
    assert outage.monitor.waits == []
    assert time.monotonic() - begun < 10
