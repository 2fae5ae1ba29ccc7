"""A model that is trained again under its name: other work, other rows, on a real Ray and from two processes."""

from __future__ import annotations

import json

from ray_clients import client

STORY = """
import json, sys
import numpy as np
from checkmaite_core import (
    Arity, Capability, CapabilityConfig, CapabilityOutputs, CapabilityRun, Record, configure_job_backend,
    get_job, shutdown_job_backend, submit_capabilities, submit_capability,
)

class Score(Record, table_name="scores"):
    model_id: str
    accuracy: float

class Outputs(CapabilityOutputs):
    accuracy: float

class ScoreRun(CapabilityRun[CapabilityConfig, Outputs]):
    def extract(self):
        model_id = self.model_metadata[0]["id"]
        return [Score(run_uid=self.run_uid, model_id=model_id, accuracy=self.outputs.accuracy)]

class Evaluate(Capability[CapabilityConfig, Outputs]):
    id = "evaluate"
    run_class = ScoreRun
    takes_models = Arity(1, 1)
    takes_datasets = Arity(1, 1)

    def evaluate(self, inputs, config):
        (model,), (dataset,) = inputs.models, inputs.datasets
        hits = [int(np.argmax(model(image))) == label for image, label in zip(dataset.images, dataset.labels)]
        return Outputs(accuracy=sum(hits) / len(hits))

class Cnn:
    '''One layer of weights, with what real ones have beside them.'''
    def __init__(self):
        self.metadata = {"id": "digits-cnn", "index2label": {n: str(n) for n in range(4)}}
        self.weights = np.zeros((4, 4), np.float32)
        self.optimizer = {"seen": set(), "lr": 0.1}

    def train(self, images, labels, epochs=1):
        for _ in range(epochs):
            for image, label in zip(images, labels):
                self.weights[label] += image
                self.optimizer["seen"].add(f"image-{label}")
        return self

    def __call__(self, image):
        return self.weights @ image

class Data:
    def __init__(self):
        self.metadata = {"id": "digits"}
        self.images = np.eye(4, dtype=np.float32)[[0, 1, 2, 3, 1, 2]]
        self.labels = [0, 1, 2, 3, 1, 2]

backend = configure_job_backend(
    "ray", address="local", idempotency_scope="shared", analytics_store=json.loads(sys.argv[1])
)
data, model = Data(), Cnn()
def said(job):
    reference = job.result(timeout=100)
    (row,) = backend.store.query(f"SELECT accuracy FROM scores WHERE run_uid = '{reference.run_uid}'").to_pylist()
    return [job.job_id, str(job.origin), job.origin_reason, reference.run_uid, row["accuracy"]]

told = {"untrained": said(submit_capability(Evaluate(), models=[model], datasets=[data]))}
model.train(data.images, data.labels)
told["trained"] = said(submit_capability(Evaluate(), models=[model], datasets=[data]))
told["untrained again"] = said(submit_capability(Evaluate(), models=[Cnn()], datasets=[data]))
told["not reused"] = said(submit_capability(Evaluate(), models=[Cnn()], datasets=[data], reuse=False))
twice = Cnn().train(data.images[:1], data.labels[:1])
both = submit_capabilities([
    {"capability": Evaluate(), "models": [each], "datasets": [data]} for each in (twice, model)
])
told["group"] = [said(job) for job in both]
told["found"] = [repr(get_job(told["trained"][0])), get_job(told["trained"][0]).origin_reason]
runs = backend.store.query("SELECT run_uid, inputs FROM runs WHERE capability_id = 'evaluate'").to_pylist()
told["inputs"] = {row["run_uid"]: [each["digest"] for each in json.loads(row["inputs"])] for row in runs}
print("TOLD", json.dumps(told))
shutdown_job_backend()
"""


def test_a_model_that_was_trained_again_is_run_again_and_its_rows_stand_beside_the_old_ones(local, store):
    stories = []
    for seed in ("1", "2"):
        process = client(STORY, json.dumps(store), environment={"PYTHONHASHSEED": seed})
        said, _ = process.communicate(timeout=200)
        lines = [line for line in said.splitlines() if line.startswith("TOLD ")]
        assert lines, said
        stories.append(json.loads(lines[0].removeprefix("TOLD ")))
    first, second = stories

    job_id, origin, why, uid, accuracy = first["untrained"]
    assert (origin, why) == ("started", "started: no equal job in scope shared")
    trained_id, origin, why, trained_uid, trained_accuracy = first["trained"]
    assert (origin, why) == ("started", "started: no equal job in scope shared")
    assert (accuracy, trained_accuracy) == (1 / 6, 1.0)
    assert (trained_id == job_id, trained_uid == uid) == (False, False)

    again = first["untrained again"]
    assert again[:2] == [job_id, "reused"]
    assert again[2].startswith("reused: same code (sha ")
    assert "same config, model digits-cnn (object, sha " in again[2]
    assert again[4] == accuracy
    assert first["not reused"][2] == "started: reuse=False"
    assert first["not reused"][3] == uid

    twice, known = first["group"]
    assert (twice[1], known[1]) == ("started", "reused")
    assert len({uid, trained_uid, twice[3]}) == 3
    assert known[3] == trained_uid
    assert first["found"][1] == "started: no equal job in scope shared"
    assert first["found"][1] in first["found"][0]
    assert len({tuple(digests) for digests in first["inputs"].values()}) == 3

    # Another process, with other hash seeds, makes equal objects of its own: all of it is there already.
    assert [second[key][1] for key in ("untrained", "trained", "untrained again")] == ["reused"] * 3
    assert [each[1] for each in second["group"]] == ["reused"] * 2
    assert [second[key][3:] for key in ("untrained", "trained")] == [first[key][3:] for key in ("untrained", "trained")]
