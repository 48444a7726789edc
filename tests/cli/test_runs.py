"""`cakd runs`: all runs below a folder in one table, and as CSV."""

import csv
import json

import pytest

from tests.commands import cakd, refused


def write_run(folder, network, accuracy, teacher=None, **config):
    folder.mkdir(parents=True)
    facts = {"config": {"network": network, "seed": 1, "lr": 0.02, **config}}
    if teacher is not None:
        taught = {"name": "big", "sha256": None, "accuracy": None, "licence": None, "sets": teacher}
        facts |= {"recipe_name": "cosine", "recipe": {"losses": []}, "teacher": taught}
    (folder / "run.json").write_text(json.dumps(facts))
    if accuracy is not None:
        (folder / "result.json").write_text(json.dumps({"accuracy": accuracy, "seconds": 12.34}))


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "runs" / "alone", "mbf", {"lfw": 0.75})
    write_run(tmp_path / "runs" / "more" / "kd_10", "mbf", {"lfw": 0.8125, "cfp": 0.5}, {"lfw": 0.99})
    write_run(tmp_path / "runs" / "more" / "kd_2", "r18", None)
    return tmp_path / "runs"


def test_the_table_and_its_csv(runs):
    ran = cakd("runs", runs)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].split() == [
        *("run", "network", "lr", "seed", "recipe", "teacher", "lfw", "cfp", "teacher", "lfw", "seconds")
    ]
    assert [line.split()[0] for line in lines[1:4]] == ["alone", "more/kd_2", "more/kd_10"]
    assert lines[3].split() == [
        "more/kd_10",
        "mbf",
        "0.02",
        "1",
        "cosine",
        "big",
        "81.25",
        "%",
        "50.00",
        "%",
        "99.00",
        "%",
        "12",
    ]
    assert lines[4] == f"table: {runs / 'results.csv'}"
    rows = list(csv.DictReader((runs / "results.csv").open()))
    assert rows[2] == {
        **{"run": "more/kd_10", "network": "mbf", "lr": "0.02", "seed": "1", "recipe": "cosine", "teacher": "big"},
        **{"lfw": "0.8125", "cfp": "0.5", "teacher lfw": "0.99", "seconds": "12.34"},
    }
    assert (rows[1]["lfw"], rows[1]["seconds"]) == ("", "")


def test_a_single_run_and_another_place(runs, tmp_path):
    ran = cakd("runs", runs / "alone", "--csv", tmp_path / "one.csv")
    assert ran.out.splitlines()[1].split()[:2] == ["alone", "mbf"]
    assert not (runs / "alone" / "results.csv").exists()
    assert (tmp_path / "one.csv").read_text().splitlines()[1] == "alone,mbf,0.02,1,,0.75,12.34"


def test_a_damaged_run_is_left_out_with_its_line(runs):
    (runs / "alone" / "result.json").write_text("{")
    ran = cakd("runs", runs)
    assert "left out: " in ran.out
    assert "result.json: not JSON" in ran.out
    assert "alone  " not in ran.out


def test_what_is_refused(tmp_path, runs):
    refused(["runs", tmp_path / "none"], r".*none: no such folder; expected one with runs", tmp_path)
    (tmp_path / "empty").mkdir()
    refused(["runs", tmp_path / "empty"], r".*empty: no run\.json in it or below it", tmp_path)
