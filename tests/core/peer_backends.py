"""Runs in an environment of its own, by PyPI's checkmaite 0.6.1: one of its real capabilities on one of our backends.

Arguments: the backend, and the folder of the analytics store.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import peer_evaluation as toys
from checkmaite.core.image_classification import MaiteEvaluation
from ray import cloudpickle

from checkmaite_core import configure_job_backend

kind, folder = sys.argv[1:]
options = {"idempotency_scope": "peer"} if kind == "ray" else {}
# Workers have the environment, and not this folder: the toys travel with the work, as those of a notebook do.
cloudpickle.register_pickle_by_value(toys)
store = {"backend": "parquet", "uri": str(Path(folder) / "store")}
with configure_job_backend(kind, address="local", num_cpus=2, analytics_store=store, **options) as backend:
    work = {
        "capability": MaiteEvaluation(),
        "models": [toys.Model()],
        "datasets": [toys.Dataset()],
        "metrics": [toys.Accuracy()],
    }
    job = backend.submit(**work, name="peer")
    reference = job.result(timeout=300)
    rows = backend.store.query(
        "select e.run_uid, output_key, output_value, r.backend, r.job_id "
        f"from maite_evaluation e join runs r using (run_uid) where r.job_id = '{job.job_id}'"
    ).to_pylist()
    again = backend.submit(**work, name="peer again")
    again.result(timeout=300)
    print(
        json.dumps(
            {
                "reference": json.loads(reference.model_dump_json(exclude={"report", "created_at"})),
                "rows": rows,
                "report": reference.report is not None,
                "again": [again.origin, again.origin_reason if hasattr(again, "origin_reason") else ""],
                "tables": sorted(backend.store.query("show tables").to_pydict()["name"]),
            }
        )
    )
