"""What every task plug-in provides, found by listing: a new file under ``tasks/`` is tested without an edit here."""

import numpy as np
import pytest

from headway import plugins
from headway.evaluate import metrics
from headway.types import Finding

TASKS = plugins.names("tasks")


def test_no_task_is_lost():
    assert "classification" in TASKS
    assert len(TASKS) == 1


@pytest.fixture(params=TASKS)
def task(request):
    return plugins.load("tasks", request.param)


def test_its_metrics_exist_and_its_primary_metric_is_one_of_them(task):
    assert task.METRICS[0] == task.PRIMARY
    assert len(set(task.METRICS)) == len(task.METRICS)
    for name in task.METRICS:
        assert metrics.metric_named(name).name == name
    assert metrics.metric_named(task.PRIMARY).larger_is_better


def test_what_it_encodes_it_decodes(task):
    found = task.encode(["b", "a", "b", "c"])
    assert found.targets.dtype == np.int64 and found.targets.shape == (4,)
    assert all(isinstance(finding, Finding) for finding in found.findings)
    P = np.eye(len(found.classes))[found.targets]
    rows = list(task.decode(P, names=("1", "2", "3", "4"), classes=found.classes))
    header = task.columns(found.classes)
    assert header[0] == "item" and all(len(row) == len(header) for row in rows)
    assert [row[1] for row in rows] == ["b", "a", "b", "c"]


def test_its_public_functions_are_documented(task):
    for name in ("encode", "decode", "columns"):
        assert getattr(task, name).__doc__
