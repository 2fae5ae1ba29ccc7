"""The models: four scikit-learn classifiers behind MAITE's model protocol.

They are trained where they are needed, on the workers: a second at most, once per worker process, and the same every
time. A :class:`~checkmaite_core.ModelRef` to a real model would name its file, and its loader would read that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from checkmaite_cli.demo.data import CLASSES, training_data

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DigitClassifier", "load_classifier"]

CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "logistic-regression": lambda: LogisticRegression(max_iter=1000),
    "nearest-neighbours": lambda: KNeighborsClassifier(n_neighbors=5),
    "random-forest": lambda: RandomForestClassifier(n_estimators=100, random_state=0),
    # A support vector machine has no probabilities of its own; calibration gives it some.
    "support-vectors": lambda: CalibratedClassifierCV(SVC(), ensemble=False),
}


class DigitClassifier:
    """A fitted scikit-learn classifier as MAITE wants a model for image classification.

    Args:
        model_id: Identity of the model; results are found again by it.
        classifier: Fitted to flat images.

    Attributes:
        metadata: The model's id and the names of the classes.
    """

    def __init__(self, model_id: str, classifier: Any) -> None:
        self.metadata = {"id": model_id, "index2label": CLASSES}
        self._classifier = classifier

    def __call__(self, batch: Sequence[Any]) -> list[NDArray[np.floating[Any]]]:
        """Probabilities of the ten digits for each image of shape (1, 8, 8)."""
        flat = np.stack([np.asarray(image) for image in batch]).reshape(len(batch), -1)
        return list(self._classifier.predict_proba(flat))


@functools.cache
def load_classifier(uri: str) -> DigitClassifier:
    """Train what a :class:`~checkmaite_core.ModelRef` of the demo names, once per process.

    Args:
        uri: ``sklearn:NAME``, such as ``sklearn:random-forest``.
    """
    name = uri.removeprefix("sklearn:")
    images, labels = training_data()
    return DigitClassifier(name, CLASSIFIERS[name]().fit(images.reshape(len(images), -1), labels))
