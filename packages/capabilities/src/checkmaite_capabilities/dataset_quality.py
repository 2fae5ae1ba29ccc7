"""Look for what is wrong with a dataset before anything is trained or evaluated on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkmaite_capabilities._inputs import check_protocols
from checkmaite_capabilities._quality_config import DatasetQualityConfig
from checkmaite_capabilities._quality_report import quality_report
from checkmaite_capabilities._quality_results import (
    DatasetQualityClassRecord,
    DatasetQualityFindingRecord,
    DatasetQualityOutputs,
    DatasetQualityRecord,
)
from checkmaite_capabilities._quality_scan import Scan
from checkmaite_core import Arity, Capability, CapabilityRun, Inputs, Record

__all__ = ["DatasetQuality", "DatasetQualityConfig", "DatasetQualityRun"]


class DatasetQualityRun(CapabilityRun[DatasetQualityConfig, DatasetQualityOutputs]):
    """A finished look at a dataset."""

    records = (DatasetQualityRecord, DatasetQualityFindingRecord, DatasetQualityClassRecord)

    def extract(self) -> Sequence[Record]:
        """Rows of ``dataset_quality``, ``dataset_quality_findings`` and ``dataset_quality_classes``."""
        ids: dict[str, Any] = {"run_uid": self.run_uid, "dataset_id": self.dataset_metadata[0]["id"]}
        return [
            DatasetQualityRecord(**ids, **self.outputs.summary.model_dump()),
            *(DatasetQualityFindingRecord(**ids, **finding.model_dump()) for finding in self.outputs.findings),
            *(DatasetQualityClassRecord(**ids, **count.model_dump()) for count in self.outputs.classes),
        ]

    def collect_md_report(self, threshold: float) -> str:
        """Report as Markdown.

        Args:
            threshold: Classes with fewer images than this share of the largest class are marked.
        """
        return quality_report(self.outputs, dataset_id=self.dataset_metadata[0]["id"], threshold=threshold)


class DatasetQuality(Capability[DatasetQualityConfig, DatasetQualityOutputs]):
    """Look for duplicates, blank, dark, flat and unusual images, and for missing and uneven labels.

    It takes one dataset that follows MAITE's image-classification protocol, and no model. The images may differ in
    size, channels and type. They are read once, in order, one at a time; of each, statistics and a thumbnail of
    72 numbers stay in memory.

    An image that cannot be read (OSError, ValueError or SyntaxError, which is what image libraries raise for broken
    files), or that is no array of numbers of shape (C, H, W), is a finding; if no image can be read, that is an
    error. On an empty dataset all counts are 0 and all other figures None.

    Exact duplicates agree in pixels, shape and type. Near duplicates agree in a difference hash (Krawetz 2013) and
    in their thumbnails, whatever their size, brightness and contrast. Outliers are unusual in brightness, contrast,
    sharpness, area or aspect ratio by the modified z-score of Iglewicz and Hoaglin (1993); in a dataset of fewer
    than ten images nothing is. Low contrast is judged by the 1st and 99th percentile, as scikit-image's
    ``is_low_contrast`` does. A blank image is reported as blank only.
    """

    config_class = DatasetQualityConfig
    run_class = DatasetQualityRun
    takes_datasets = Arity(1, 1)

    def check(self, inputs: Inputs, config: Any = None) -> None:
        """Refuse inputs that do not fit.

        Raises:
            InvalidCapabilityError: Their number is wrong, or the dataset lacks a method of the protocol.
        """
        super().check(inputs, config)
        check_protocols(inputs)

    def evaluate(self, inputs: Inputs, config: DatasetQualityConfig) -> DatasetQualityOutputs:
        """Do the work.

        Raises:
            InputContractError: No image can be read, a target is no array of shape (classes,), or targets differ in
                their number of classes; the message names the image.
            JobCancelledError: The job was cancelled.
        """
        check_protocols(inputs)
        return Scan(inputs.datasets[0], config).run()
