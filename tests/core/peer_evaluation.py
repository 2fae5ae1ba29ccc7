"""Runs in an environment of its own, by PyPI's checkmaite 0.6.1: one of its real capabilities, under our contract."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
from checkmaite.core.image_classification import MaiteEvaluation

from checkmaite_core.testing import check_capability


class Dataset:
    """Ten images of two classes, brighter ones being of class 1."""

    metadata: ClassVar[dict[str, Any]] = {"id": "toy-images", "index2label": {0: "dark", 1: "bright"}}

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Any, Any, Any]:
        if index >= len(self):
            raise IndexError(index)
        label = index % 2
        image = np.full((3, 8, 8), 0.8 if label else 0.2, dtype=np.float32)
        return image, np.eye(2, dtype=np.float32)[label], {"id": str(index)}


class Model:
    """Tells dark from bright."""

    metadata: ClassVar[dict[str, Any]] = {"id": "toy-model", "index2label": {0: "dark", 1: "bright"}}

    def __call__(self, batch: Any) -> list[Any]:
        return [np.eye(2, dtype=np.float32)[int(np.mean(image) > 0.5)] for image in batch]


class Accuracy:
    """The share of right answers."""

    metadata: ClassVar[dict[str, Any]] = {"id": "toy-accuracy"}
    return_key = "accuracy"

    def reset(self) -> None:
        self.right: list[bool] = []

    def update(self, predictions: Any, targets: Any, *_: Any) -> None:
        pairs = zip(predictions, targets, strict=True)
        self.right += [int(np.argmax(given)) == int(np.argmax(wanted)) for given, wanted in pairs]

    def compute(self) -> dict[str, float]:
        return {"accuracy": float(np.mean(self.right))}


if __name__ == "__main__":
    # Classes of a script are pickled by reference to __main__, which here is this very process.
    checked = check_capability(MaiteEvaluation(), models=[Model()], datasets=[Dataset()], metrics=[Accuracy()])
    rows = {table: [{**row, "created_at": ""} for row in found] for table, found in checked.tables.items()}
    reference = json.loads(checked.reference.model_dump_json(exclude={"report", "created_at", "event_id"}))
    print(json.dumps({"reference": reference, "tables": rows, "report": checked.report}))
