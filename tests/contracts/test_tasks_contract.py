"""What every task plug-in provides, found by listing: a new file under ``tasks/`` is tested without an edit here."""

import numpy as np
import pytest

from headway import plugins
from headway.errors import DataError
from headway.evaluate import metrics
from headway.linear.coding import link_of, task_of
from headway.types import Finding

WRITTEN = ("seq2seq", "tagging")  # tasks whose answers are no scores have tests of their own
TASKS = tuple(name for name in plugins.names("tasks") if name not in WRITTEN)
LABELS = {
    "classification": ["b", "a", "b", "c"],
    "multilabel": [["b"], ["a", "b"], [], ["c"]],
    "regression": [2.5, -1.0, 2.5, 7.0],
}
SHOWN = {
    "classification": ["b", "a", "b", "c"],
    "multilabel": ["b", "a;b", "", "c"],
    "regression": [2.5, -1.0, 2.5, 7.0],
}


def test_no_task_is_lost():
    assert sorted([*LABELS, *WRITTEN]) == sorted(plugins.names("tasks"))


@pytest.fixture(params=TASKS)
def task(request):
    return plugins.load("tasks", request.param)


def _labels(task):
    return LABELS[task.__name__.rpartition(".")[2]]


def test_its_metrics_exist_and_its_primary_metric_is_one_of_them(task):
    assert task.METRICS[0] == task.PRIMARY
    assert len(set(task.METRICS)) == len(task.METRICS)
    for name in task.METRICS:
        assert metrics.metric_named(name, task.LINK).name == name
    assert metrics.metric_named(task.PRIMARY, task.LINK).larger_is_better
    assert isinstance(task.PRIOR, str)


def test_its_targets_are_told_from_those_of_other_tasks(task):
    found = task.encode(_labels(task))
    assert task_of(found.targets) is task
    assert link_of(found.targets) == task.LINK


def test_what_it_encodes_it_decodes(task):
    found = task.encode(_labels(task))
    assert len(found.targets) == 4 and found.targets.dtype in (np.int64, np.float64)
    assert all(isinstance(finding, Finding) for finding in found.findings)
    if task.LINK == "softmax":
        answers = np.eye(len(found.classes))[found.targets]
    else:
        answers = found.targets.reshape(4, -1).astype(float)
    assert answers.shape == (4, task.outputs(found.classes))
    rows = list(task.decode(answers, names=("1", "2", "3", "4"), classes=found.classes))
    header = task.columns(found.classes)
    assert header[:2] == ("item", "prediction") and all(len(row) == len(header) for row in rows)
    assert [row[1] for row in rows] == SHOWN[task.__name__.rpartition(".")[2]]
    again = task.encode_as(_labels(task)[:1], found.classes)
    np.testing.assert_array_equal(again.targets, found.targets[:1])
    assert again.classes == found.classes


def test_strata_number_every_item_and_do_not_depend_on_the_order(task):
    targets = task.encode(_labels(task) * 5).targets
    order = np.random.default_rng(0).permutation(20)
    strata = task.strata(targets)
    assert strata.shape == (20,) and strata.dtype == np.int64 and strata.min() >= 0
    np.testing.assert_array_equal(task.strata(targets[order]), strata[order])


def test_what_its_metrics_say_of_the_truth_itself(task):
    found = task.encode(_labels(task) * 3)
    y = found.targets
    right = np.eye(len(found.classes))[y] if task.LINK == "softmax" else y.reshape(12, -1).astype(float)
    for name in task.METRICS:
        metric = metrics.metric_named(name, task.LINK)
        best = metric.bounds[1] if metric.larger_is_better else metric.bounds[0]
        assert metrics.measure(name, y, right) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("few", [[], ["a"]])
def test_refuses_too_few_items(task, few):
    with pytest.raises(DataError, match="too few"):
        task.encode(few)


def test_its_public_functions_are_documented(task):
    for name in ("encode", "encode_as", "decode", "columns", "outputs", "strata"):
        assert getattr(task, name).__doc__
