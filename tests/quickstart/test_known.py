"""The quickstarts by the name of their task."""

import pytest

from insightface_cakd.quickstart.known import QUICKSTARTS
from tests.commands import cakd, refused


def test_a_task_that_is_not_known_is_refused_with_those_that_are(tmp_path):
    message = "--task identifcation: not known; known: identification.* Did you mean 'identification'"
    refused(["quickstart", "--task", "identifcation", "--output", tmp_path / "out"], message, tmp_path)


@pytest.mark.parametrize("task", QUICKSTARTS)
def test_faces_are_for_identification_only(task, tmp_path):
    arguments = ["quickstart", "--task", task, "--data", tmp_path, "--output", tmp_path / "out"]
    refused(arguments, f"--data: given with --task {task}", tmp_path)


def test_the_help_names_every_task():
    said = cakd("quickstart", "--help").out
    assert all(task in said for task in QUICKSTARTS)
