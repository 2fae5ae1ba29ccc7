"""Every odd model, dataset and target has a clear outcome: a figure as documented, or an error that says where."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from checkmaite_capabilities import ModelEvaluation, ModelEvaluationConfig, ModelEvaluationRun
from checkmaite_core import DatasetRef, InputContractError, InvalidCapabilityError

Make = Callable[..., Any]
Evaluate = Callable[..., ModelEvaluationRun]

RIGHT = [1.0, 0.0]


def test_an_empty_dataset_has_no_figures_and_asks_nobody(
    evaluate: Evaluate, make_dataset: Make, make_model: Make, make_metric: Make
) -> None:
    model, metric = make_model([]), make_metric({"value": 1.0})
    run = evaluate(model, make_dataset(0, index2label={0: "cat", 1: "dog"}), metric)
    overall = run.outputs.overall
    assert (overall.images, overall.classes) == (0, 2)
    figures = (overall.accuracy, overall.macro_f1, overall.mean_confidence, overall.calibration_error)
    assert figures == (None, None, None, None)
    assert run.outputs.latency.latency_median_s is None
    assert [figures.class_label for figures in run.outputs.classes] == ["cat", "dog"]
    assert run.outputs.metric_values == ()
    assert model.batches == []
    assert "The dataset is empty" in run.collect_md_report(0.5)


def test_a_single_class_is_evaluated_like_any_other(scores_of: Evaluate) -> None:
    overall = scores_of([0, 0], [[1.0], [1.0]]).outputs.overall
    assert (overall.accuracy, overall.macro_f1, overall.mean_confidence, overall.calibration_error) == (1, 1, 1, 0)


def test_a_prediction_without_an_answer_counts_as_wrong_and_is_told_apart(scores_of: Evaluate) -> None:
    rows = [RIGHT, [math.nan, 1.0], [math.inf, 0.0], [-math.inf, -math.inf]]
    run = scores_of([0, 0, 0, 0], rows)
    overall = run.outputs.overall
    assert (overall.accuracy, overall.invalid_predictions, overall.mean_confidence) == (0.25, 3, 1.0)
    assert run.outputs.classes[0].recall == 0.25
    assert run.outputs.classes[0].precision == 1.0
    assert [(cell.predicted_label, cell.images) for cell in run.outputs.confusion] == [(None, 3), ("0", 1)]
    assert "invalid scores" in run.collect_md_report(0.5)


@pytest.mark.parametrize("nothing", [math.nan, math.inf, -math.inf])
def test_without_a_usable_score_there_is_no_figure_but_a_warning(scores_of: Evaluate, nothing: float) -> None:
    run = scores_of([0, 1, 1], [[nothing, nothing]] * 3)
    out = run.outputs
    counts = {"images", "labelled_images", "unlabelled_images", "invalid_predictions", "classes", "classes_present"}
    figures = out.overall.model_dump(exclude=counts | {"warning"})
    assert set(figures.values()) == {None}
    assert out.overall.invalid_predictions == 3
    measured = {name for one in out.classes for name in ("precision", "recall", "f1") if getattr(one, name) is not None}
    assert measured == set()
    for told in (run.collect_md_report(0.5), run.extract()[0].model_dump()["warning"]):
        assert "3 of 3 images have no usable scores" in told
        assert "no figure is defined" in told


def test_where_only_unlabelled_images_have_usable_scores_nothing_was_measured(
    evaluate: Evaluate, make_dataset: Make, make_model: Make
) -> None:
    dataset = make_dataset(2, targets=[np.array(RIGHT), np.array([0.0, 0.0])])
    out = evaluate(make_model([[math.nan, 0.0], RIGHT]), dataset).outputs
    assert (out.overall.accuracy, out.overall.macro_f1, out.overall.images) == (None, None, 2)
    assert "1 of 2 images have no usable label" in (out.overall.warning or "")
    assert "no figure is defined" in (out.overall.warning or "")


def test_some_unusable_scores_are_warned_of(scores_of: Evaluate) -> None:
    run = scores_of([0, 0], [RIGHT, [math.nan, 1.0]])
    assert "1 of 2 images have no usable scores" in (run.outputs.overall.warning or "")
    assert "count as wrong" in run.collect_md_report(0.5)
    assert scores_of([0, 0], [RIGHT, RIGHT]).outputs.overall.warning is None


def test_minus_infinity_is_the_logit_of_an_impossible_class(scores_of: Evaluate) -> None:
    overall = scores_of([1], [[-math.inf, 2.0]]).outputs.overall
    assert (overall.accuracy, overall.invalid_predictions, overall.mean_confidence) == (1.0, 0, 1.0)


def test_logits_of_any_size_have_a_confidence(scores_of: Evaluate) -> None:
    overall = scores_of([0, 1, 0], [[1.7e308, -1.7e308], [5e4, 6e4], [1.7e308, 1.7e308]]).outputs.overall
    assert overall.mean_confidence == pytest.approx((1 + 1 + 0.5) / 3)


@pytest.mark.parametrize("target", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 0.0], [0.5, 0.5], [1, 1]])
def test_an_image_without_one_label_is_left_out_of_the_figures_and_counted(
    evaluate: Evaluate, make_dataset: Make, make_model: Make, make_metric: Make, target: list[float]
) -> None:
    dataset = make_dataset(2, targets=[np.array(RIGHT), np.array(target)])
    metric = make_metric({})
    overall = evaluate(make_model([RIGHT, [0.1, 0.9]]), dataset, metric).outputs.overall
    assert (overall.images, overall.labelled_images, overall.unlabelled_images) == (2, 1, 1)
    assert overall.accuracy == 1.0
    assert len(metric.updates[0][0]) == 2, "a metric sees every image"


def test_a_probability_target_means_its_most_likely_class(
    evaluate: Evaluate, make_dataset: Make, make_model: Make
) -> None:
    dataset = make_dataset(1, targets=[np.array([0.2, 0.8], dtype=np.float32)])
    assert evaluate(make_model([[0.4, 0.6]]), dataset).outputs.overall.accuracy == 1.0


def test_a_dataset_without_any_label_has_no_accuracy(evaluate: Evaluate, make_dataset: Make, make_model: Make) -> None:
    run = evaluate(make_model([RIGHT]), make_dataset(1, targets=[np.zeros(2)]))
    assert run.outputs.overall.accuracy is None
    assert "nothing to compare" in run.collect_md_report(0.5)


def test_of_equal_highest_scores_the_first_counts(scores_of: Evaluate) -> None:
    assert scores_of([0, 1], [[0.5, 0.5], [0.5, 0.5]]).outputs.overall.accuracy == 0.5


def test_images_reach_the_model_as_the_dataset_gives_them(
    evaluate: Evaluate, make_dataset: Make, make_model: Make
) -> None:
    images = [np.zeros((1, 2, 3), dtype=np.uint8), np.ones((3, 5, 4), dtype=np.float32), [[[1]]]]
    model = make_model([RIGHT] * 3)
    evaluate(model, make_dataset(images, [0, 0, 0]), batch_size=2)
    assert [len(batch) for batch in model.batches] == [2, 1]
    assert all(seen is given for seen, given in zip(itertools.chain(*model.batches), images, strict=True))


def test_a_model_that_fails_on_mixed_sizes_is_told_what_to_do(evaluate: Evaluate, make_dataset: Make) -> None:
    class Stacking:
        metadata = {"id": "stacking"}  # noqa: RUF012 - as MAITE's examples have it

        def __call__(self, batch: Any) -> Any:
            return np.stack(batch).reshape(len(batch), -1)[:, :2]

    dataset = make_dataset([np.zeros((1, 2, 2)), np.zeros((1, 3, 3))], [0, 0], name="mixed")
    with pytest.raises(ValueError, match="same shape") as caught:
        evaluate(Stacking(), dataset)
    note = caught.value.__notes__[0]
    assert "model 'stacking' predicted images 0 to 1 of dataset 'mixed'" in note
    assert "(1, 2, 2), (1, 3, 3)" in note
    assert "batch_size=1" in note
    assert evaluate(Stacking(), dataset, batch_size=1).outputs.overall.images == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([RIGHT], r"1 predictions for 2 images \(images 0 to 1 of dataset 'data'\)"),
        ([RIGHT, [1.0, 0.0, 0.0]], "2 scores for image 0, but 3 for image 1"),
        ([RIGHT, 1.0], r"for image 1 has shape \(\), not \(classes,\)"),
        ([RIGHT, [RIGHT]], r"for image 1 has shape \(1, 2\), not \(classes,\)"),
        ([RIGHT, []], r"for image 1 has shape \(0,\), not \(classes,\)"),
        ([RIGHT, ["a", "b"]], "for image 1 is a list of type <U1, not of real numbers"),
        ([RIGHT, [1j, 2j]], "not of real numbers"),
        ([RIGHT, [[1.0], [1.0, 2.0]]], "for image 1 is a list that NumPy cannot read"),
        ([[1.0, 0.0, 0.0]] * 2, "scores 3 classes, but the target of image 0 of dataset 'data' has 2"),
    ],
)
def test_a_prediction_of_the_wrong_form_is_explained(
    evaluate: Evaluate, make_dataset: Make, make_model: Make, rows: list[Any], message: str
) -> None:
    with pytest.raises(InputContractError, match=message):
        evaluate(make_model(rows), make_dataset(2))


def test_a_later_batch_must_have_the_classes_of_the_first(
    evaluate: Evaluate, make_dataset: Make, make_model: Make
) -> None:
    with pytest.raises(InputContractError, match=r"image 1 has shape \(3,\), not \(2,\) as before"):
        evaluate(make_model([RIGHT, [1.0, 0.0, 0.0]]), make_dataset(2), batch_size=1)


def test_scores_declared_probabilities_must_be_some(evaluate: Evaluate, make_dataset: Make, make_model: Make) -> None:
    with pytest.raises(InputContractError, match="image 1 holds scores from -3 to 2, but config says"):
        evaluate(make_model([RIGHT, [-3.0, 2.0]]), make_dataset(2), scores="probabilities")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (1, r"target of image 1 of dataset 'data' has shape \(\), not \(classes,\)"),
        ([[1.0, 0.0]], r"has shape \(1, 2\)"),
        ([1.0, 0.0, 0.0], "scores 2 classes, but the target of image 1 of dataset 'data' has 3"),
        ("cat", "not of real numbers"),
    ],
)
def test_a_target_of_the_wrong_form_is_explained(
    evaluate: Evaluate, make_dataset: Make, make_model: Make, target: Any, message: str
) -> None:
    with pytest.raises(InputContractError, match=message):
        evaluate(make_model([RIGHT] * 2), make_dataset(2, targets=[RIGHT, target]))


def test_a_dataset_that_returns_no_triple_is_explained(evaluate: Evaluate, make_model: Make) -> None:
    class Pairs:
        metadata = {"id": "pairs"}  # noqa: RUF012 - as MAITE's examples have it

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            return np.zeros((1, 1, 1)), RIGHT

    with pytest.raises(InputContractError, match="image 0 of dataset 'pairs' is a tuple of 2"):
        evaluate(make_model([RIGHT]), Pairs())


def test_an_exception_of_the_dataset_passes_with_the_place(
    evaluate: Evaluate, make_dataset: Make, make_model: Make
) -> None:
    with pytest.raises(OSError, match="truncated") as caught:
        evaluate(make_model([RIGHT]), make_dataset([OSError("truncated")], [0]))
    assert caught.value.__notes__ == ["This happened while reading image 0 of dataset 'data'."]


def test_classes_are_named_by_the_metadata_or_their_index(
    evaluate: Evaluate, make_dataset: Make, make_model: Make
) -> None:
    def names(dataset: dict[int, str] | None, model: dict[int, str] | None, **config: Any) -> list[str]:
        outputs = evaluate(
            make_model([RIGHT], index2label=model), make_dataset(1, index2label=dataset), **config
        ).outputs
        return [figures.class_label for figures in outputs.classes]

    assert names(None, None) == ["0", "1"]
    assert names({0: "cat"}, {0: "cat", 1: "dog"}) == ["cat", "dog"]
    assert names({0: "cat"}, {0: "Cat"}, class_names=("a", "b")) == ["a", "b"]


@pytest.mark.parametrize(
    ("dataset", "model", "config", "message"),
    [
        ({0: "cat", 1: "dog"}, {0: "dog", 1: "cat"}, {}, "class 0 is 'cat' for 'data', but 'dog' for 'model'"),
        (None, None, {"class_names": ("a",)}, "1 class names are configured, but there are 2 classes"),
        (["cat"], None, {}, "index2label of 'data' is not a mapping"),
        (None, {"0": "cat"}, {}, "index2label of 'model' is not a mapping"),
    ],
)
def test_class_names_that_contradict_are_refused(
    evaluate: Evaluate,
    make_dataset: Make,
    make_model: Make,
    dataset: Any,
    model: Any,
    config: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputContractError, match=message):
        evaluate(make_model([RIGHT], index2label=model), make_dataset(1, index2label=dataset), **config)


def test_inputs_without_the_protocols_methods_are_refused_at_once(make_dataset: Make, make_model: Make) -> None:
    class Thing:
        metadata = {"id": "thing"}  # noqa: RUF012 - as MAITE's examples have it

    capability, model, dataset = ModelEvaluation(), make_model([]), make_dataset(0)
    for models, datasets, metrics, missing in (
        ([Thing()], [dataset], [], "model 'thing' is a Thing, which has no __call__"),
        ([model], [Thing()], [], "dataset 'thing' is a Thing, which has no __len__ and no __getitem__"),
        ([model], [dataset], [Thing()], "metric 'thing' is a Thing, which has no reset and no update and no compute"),
    ):
        with pytest.raises(InvalidCapabilityError, match=missing):
            capability.run(models=models, datasets=datasets, metrics=metrics)


def test_what_a_reference_loads_is_checked_when_it_is_loaded(make_model: Make) -> None:
    reference = DatasetRef(id="thing", uri="x", loader=lambda uri: type("Thing", (), {"metadata": {"id": "thing"}})())
    with pytest.raises(InvalidCapabilityError, match="which has no __len__"):
        ModelEvaluation().run(models=[make_model([])], datasets=[reference])


def test_two_metrics_of_one_id_are_refused(make_dataset: Make, make_model: Make, make_metric: Make) -> None:
    with pytest.raises(InvalidCapabilityError, match="more than one metric has the id 'metric'"):
        ModelEvaluation().run(
            models=[make_model([])], datasets=[make_dataset(0)], metrics=[make_metric({}), make_metric({})]
        )


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"calibration_bins": 0}, {"scores": "odds"}, {"batchsize": 1}])
def test_a_config_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ModelEvaluationConfig(**wrong)
