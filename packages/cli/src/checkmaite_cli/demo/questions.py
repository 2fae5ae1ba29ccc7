"""The questions: SQL that reads the answers back from the analytics store."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CONFUSIONS", "HISTORY", "QUALITY", "robustness"]


def robustness(models: Sequence[str]) -> str:
    """Accuracy of each model on each kind of test images: one row per kind, the clean ones first.

    Args:
        models: Ids of the models; each becomes a column.
    """
    listed = ",\n  ".join(f"'{model}'" for model in models)
    return f"""\
SELECT * FROM (
  SELECT
    if(dataset_id = 'digits-test', 'clean', split_part(dataset_id, '+', 2))
      AS images,
    model_id,
    accuracy
  FROM model_evaluation
  WHERE starts_with(dataset_id, 'digits-test')
)
PIVOT (max(accuracy) FOR model_id IN (
  {listed}
))
ORDER BY images <> 'clean', images"""  # noqa: S608 - the ids are the plan's own


QUALITY = "SELECT * FROM dataset_quality WHERE dataset_id = 'digits'"

HISTORY = "SELECT count(*) AS runs, count(*) FILTER (is_current) AS results FROM runs"

CONFUSIONS = (
    "SELECT true_label, predicted_label, sum(images) AS images FROM confusion "
    "WHERE true_label <> predicted_label GROUP BY ALL ORDER BY images DESC LIMIT 5"
)
