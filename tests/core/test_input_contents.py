"""What tells inputs apart: all that travels of an object."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime
import os
import pickle
import random
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from checkmaite_core import Inputs
from checkmaite_core.errors import SubmissionError
from checkmaite_core.input_identity import Identifier, InputIdentity, covering_uid


class Model:
    """A model with any attributes."""

    def __init__(self, model_id: str = "cnn", **state: Any) -> None:
        self.metadata = {"id": model_id}
        self.__dict__.update(state)


class Slotted:
    __slots__ = ("metadata", "weights")

    def __init__(self, weights: Any) -> None:
        self.metadata = {"id": "cnn"}
        self.weights = weights


class Reducing:
    """What travels of it is what ``__reduce__`` says."""

    def __init__(self, weights: Any, note: str = "") -> None:
        self.metadata = {"id": "cnn"}
        self.weights, self.note = weights, note

    def __reduce__(self) -> Any:
        return Reducing, (self.weights,)


@dataclasses.dataclass
class Trained:
    """A dataclass with more in it than its fields."""

    name: str = "cnn"

    def __post_init__(self) -> None:
        self.metadata = {"id": self.name}
        self.weights: Any = None


class Excluding(BaseModel):
    """A pydantic model whose weights are no part of what it is shown as."""

    metadata: dict[str, str] = {"id": "cnn"}
    weights: list[float] = Field(default=[], exclude=True)


class Listing(list[int]):
    metadata = {"id": "cnn"}  # noqa: RUF012


def identity(value: Any) -> InputIdentity:
    (found,) = Identifier().identify(Inputs.of(models=[value]))
    return found


def trained(**changes: Any) -> Trained:
    made = Trained()
    made.__dict__.update(changes)
    return made


def listing(*items: int, **state: Any) -> Listing:
    made = Listing(items)
    made.__dict__.update(state)
    return made


WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)
NUDGED = np.nextafter(WEIGHTS, np.float32(99))


@pytest.mark.parametrize(
    "different",
    [
        [Model(w=WEIGHTS), Model(w=NUDGED), Model(w=WEIGHTS.astype(np.float64)), Model(w=WEIGHTS.reshape(4, 3))],
        [Model(w=np.array([], "f4")), Model(w=np.array([], "f8")), Model(w=np.zeros((0, 3), "f4"))],
        [Model(w=np.array(3.0)), Model(w=np.float64(3.0)), Model(w=3.0)],
        [Model(w=np.array(["2026-01-01"], "M8[D]")), Model(w=np.array(["2026-01-02"], "M8[D]"))],
        [Model(w=np.array([{"a": 1}], object)), Model(w=np.array([{"a": 2}], object))],
        [Model(w=np.array([(1, 2.0)], "i4,f8")), Model(w=np.array([(1, 3.0)], "i4,f8"))],
        [Model(w=np.random.default_rng(1)), Model(w=np.random.default_rng(2))],
        [Slotted(WEIGHTS), Slotted(NUDGED)],
        [Reducing(1), Reducing(2)],
        [trained(weights=1), trained(weights=2)],
        [Excluding(weights=[1.0]), Excluding(weights=[2.0])],
        [listing(1, 2), listing(2, 1), listing(1, 2, threshold=0.5)],
        [Model(layers={"a": 1, "b": 2}), Model(layers={"b": 2, "a": 1})],
        [Model(w=collections.OrderedDict(a=1)), Model(w={"a": 1}), Model(w=collections.Counter(a=1))],
        [Model(w=collections.deque([1], 2)), Model(w=collections.deque([1], 3)), Model(w=[1])],
        [Model(w=re.compile("a" * 300 + "b")), Model(w=re.compile("a" * 300 + "c")), Model(w=re.compile("a", re.I))],
        [Model(w=b"a"), Model(w=bytearray(b"a")), Model(w="a")],
        [Model(w=[0.5] * 1000), Model(w=[0.5] * 999 + [0.25]), Model(w=(0.5,) * 1000)],
        [Model(w=list(range(1000))), Model(w=[float(n) for n in range(1000)])],
        [Model(w=[True] * 1000), Model(w=[1] * 1000)],
        [Model(w=[[n] for n in range(50_000)]), Model(w=[[n] for n in range(50_001)])],
        [Model(w=[{"box": np.array([n])} for n in range(9_000)]), Model(w=[{"box": np.array([7])}] * 9_000)],
        [Model(w=random.Random(1)), Model(w=random.Random(2))],
        [Model(w={1, 2}), Model(w=frozenset({1, 2})), Model(w={1, 3})],
    ],
)
def test_different_inputs_of_one_id_have_different_digests_and_copies_have_one(different: list[Any]) -> None:
    digests = [identity(value).digest for value in different]
    assert len(set(digests)) == len(different)
    assert {identity(value).how for value in different} == {"content"}
    for value, digest in zip(different, digests, strict=True):
        assert identity(copy.deepcopy(value)).digest == digest
        assert identity(pickle.loads(pickle.dumps(value))).digest == digest


def test_an_array_is_known_by_its_content_however_it_lies_in_memory() -> None:
    wide = np.zeros((3, 8), np.float32)
    wide[:, ::2] = WEIGHTS
    lying = [WEIGHTS, WEIGHTS.copy(), wide[:, ::2], np.asfortranarray(WEIGHTS)]
    assert len({identity(Model(w=array)).digest for array in lying}) == 1
    read_only = WEIGHTS.copy()
    read_only.flags.writeable = False
    assert identity(Model(w=read_only)).digest == identity(Model(w=WEIGHTS)).digest


def test_a_model_that_is_changed_in_place_is_another() -> None:
    model = Model(weights=WEIGHTS.copy())
    before = identity(model)
    model.weights[0, 0] += 1
    assert identity(model).digest != before.digest
    model.weights[0, 0] -= 1
    assert identity(model) == before


@pytest.mark.parametrize("value", [threading.Lock(), object(), memoryview(b"x"), (n for n in ()), sys.stdout])
def test_what_cannot_be_compared_equals_nothing_and_says_why(value: Any) -> None:
    model = Model(w=value)
    one, other = identity(model), identity(model)
    assert one.how == other.how == "nothing"
    assert one.digest != other.digest
    assert one.uncertain is not None
    assert one.uncertain.startswith("model cnn cannot be compared with others: it has a ")


def test_a_fingerprint_says_all_also_where_nothing_else_can_be_told() -> None:
    given = [Model(w=threading.Lock(), fingerprint="epoch-3"), Model(w=1, fingerprint="epoch-3")]
    given[1].metadata = {"id": "cnn", "fingerprint": "epoch-3"}
    del given[1].fingerprint
    assert len({identity(value).digest for value in given}) == 1
    assert str(identity(given[0])).startswith("model cnn (object, fingerprint ")
    for wrong in (7, ""):
        assert identity(Model(fingerprint=wrong)).uncertain is not None


def test_two_different_models_of_one_id_in_one_work_are_refused_and_one_that_is_given_twice_is_not() -> None:
    one, other = Model(w=1), Model(w=2)
    with pytest.raises(SubmissionError, match="two different models of this work have the id 'cnn'") as caught:
        Identifier().identify(Inputs.of(models=[one, other]))
    assert "'cnn-v2'" in str(caught.value.hint)
    Identifier().identify(Inputs.of(models=[one, one, Model(w=1)], datasets=[other]))
    unclear = Model(w=threading.Lock())
    Identifier().identify(Inputs.of(models=[unclear, unclear]))


def test_the_run_uid_of_a_job_covers_its_inputs_in_order() -> None:
    one, other = identity(Model(w=1)), identity(Model(w=2))
    uids = {covering_uid("run", inputs) for inputs in ([], [one], [other], [one, other], [other, one])}
    assert len(uids) == 5
    assert "run" in uids
    assert covering_uid("run", [one]) != covering_uid("another", [one])


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
KEYS = st.text() | st.integers() | st.booleans()
ARRAYS = st.lists(st.integers(0, 3), max_size=4).map(lambda items: np.array(items, np.int16))
TREES = st.recursive(
    SCALARS | ARRAYS | st.dates() | st.decimals(allow_nan=False) | st.frozensets(st.text(max_size=3)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | inner.map(lambda value: Model("part", part=value))
        | inner.map(Slotted)
        | inner.map(Reducing)
    ),
    max_leaves=12,
)


def exact(value: Any) -> Any:
    """A plain value that is equal for trees that are equal in all that can be seen of them."""
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, list | tuple):
        return (type(value), [exact(item) for item in value])
    if isinstance(value, dict):
        return (dict, [(exact(key), exact(item)) for key, item in value.items()])
    if isinstance(value, frozenset):
        return (frozenset, sorted(value))
    if isinstance(value, Model):
        return (Model, exact(vars(value)))
    if isinstance(value, Slotted):
        return (Slotted, exact(value.weights))
    if isinstance(value, Reducing):
        return (Reducing, exact(value.weights))
    return (type(value), repr(value))


@given(TREES, TREES)
@settings(max_examples=300, deadline=None)
def test_trees_have_one_digest_if_and_only_if_they_are_equal(one: Any, other: Any) -> None:
    first, second = identity(Model(tree=one)), identity(Model(tree=other))
    assert (first.digest == second.digest) is (exact(one) == exact(other))
    again = identity(Model(tree=pickle.loads(pickle.dumps(one))))
    assert again.digest == first.digest


PROCESS = """
import collections, dataclasses, sys
import numpy as np
from checkmaite_core import Inputs
from checkmaite_core.input_identity import Identifier

class Layer:
    def __init__(self, weights, names):
        self.weights, self.names = weights, names

class Net:
    SCALE = 3
    def __init__(self):
        self.metadata = {"id": "cnn", "index2label": {0: "no", 1: "yes"}}
        self.layers = [Layer(np.full((30, 30), n, np.float32), {"relu", "tanh", "sigmoid", str(n)}) for n in range(3)]
        self.seen = collections.defaultdict(set, {"a": {"x", "y", "z"}})
        self.many = [(n, str(n)) for n in range(LARGE)]

    def __call__(self, batch):
        return [image * self.SCALE for image in batch]

print(Identifier().identify(Inputs.of(models=[Net()]))[0].digest)
"""


@pytest.mark.parametrize("large", [10, 30_000])
def test_equal_objects_of_a_script_have_one_digest_in_every_process(tmp_path: Path, large: int) -> None:
    digests = []
    for seed, code in enumerate([PROCESS, PROCESS, PROCESS.replace("30, 30", "30, 31"), PROCESS.replace("= 3", "= 4")]):
        code = code.replace("LARGE", str(large))
        if large > 10:  # the order of a set is not made up for in a pickle
            code = code.replace('{"relu", "tanh", "sigmoid", str(n)}', "str(n)").replace('{"x", "y", "z"}', '{"x"}')
        script = tmp_path / "net.py"
        script.write_text(code)
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
        )
        digests.append(done.stdout.strip())
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_time_zone_of_ones_own_is_told_apart() -> None:
    class Zone(datetime.tzinfo):
        def __init__(self, hours: int = 0) -> None:
            self.hours = hours

        def utcoffset(self, moment: datetime.datetime | None) -> datetime.timedelta:
            return datetime.timedelta(hours=self.hours)

    assert identity(Model(zone=Zone(1))).digest != identity(Model(zone=Zone(2))).digest
