"""Recipes on equal terms: what is equal, and what is run again."""

import json

import pytest
import yaml

from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.experiments import runs as module
from insightface_cakd.experiments.runs import Comparison, compare
from insightface_cakd.experiments.table import ALONE, TEACHER, table
from insightface_cakd.recipe import find_recipe

SMALL = ("batch_size=12", "num_epoch=1", "embedding_size=32", "num_workers=0", "warmup_epoch=0", "device='cpu'")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, face_set):
    from insightface_cakd.tasks.job import Job
    from insightface_cakd.tasks.launch import train

    output = tmp_path_factory.mktemp("teacher") / "run"
    train(Job("faces_vit_tiny", settings=(f"rec={str(face_set)!r}", f"output={str(output)!r}", *SMALL)))
    return output


def terms(face_set, teacher, *recipes, **changes):
    given = {"seeds": (1, 2), "data": face_set, "teacher": str(teacher / "model.pt"), "settings": SMALL}
    return Comparison(recipes, **given | {"centres": (str(teacher / "checkpoint_gpu_0.pt"),)} | changes)


def set_to(job, key):
    """Return what a job's recipe settings set a key to."""
    found = dict(setting.split("=", 1) for setting in job.recipe_settings)
    return yaml.safe_load(found[key]) if key in found else None


def test_every_method_runs_on_every_seed_and_only_the_recipe_differs(face_set, teacher, tmp_path):
    rows = compare(tmp_path, terms(face_set, teacher, "cosine", "kd")).rows
    assert {row.name for row in rows} == {ALONE, "cosine", "kd"}
    for seed in (1, 2):
        facts = [json.loads((tmp_path / str(seed) / name / "run.json").read_text()) for name in (ALONE, "cosine", "kd")]
        for fact in facts:
            fact["config"].pop("output")
        assert facts[0]["config"] == facts[1]["config"] == facts[2]["config"]
        assert [fact.get("recipe_name") for fact in facts] == [None, "cosine", "kd"]
        assert facts[1]["teacher"]["sha256"] == facts[2]["teacher"]["sha256"]
    assert (tmp_path / "compare.md").read_text().splitlines()[2:5] == table(rows, (1, 2)).splitlines()[2:5]
    saved = json.loads((tmp_path / "compare.json").read_text())
    assert [run["accuracy"] for run in saved["kd"]] == [
        run.accuracy for row in rows if row.name == "kd" for run in row.runs
    ]


def test_prototypes_are_made_once_for_each_seed_by_its_teacher(face_set, teacher, tmp_path, monkeypatch):
    jobs = []
    own = module.train
    monkeypatch.setattr(module, "train", lambda job: (jobs.append(job), own(job)))
    compare(tmp_path, terms(face_set, teacher, "cosine", "coupleface", seeds=(1,)))
    assert [set_to(job, "teacher.prototypes") for job in jobs] == [None, None, str(tmp_path / "1" / "prototypes")]
    before = (tmp_path / "1" / "prototypes" / "meta.json").stat().st_mtime_ns
    own_recipe = tmp_path / "again.yaml"
    own_recipe.write_text(find_recipe("coupleface").read_text())
    compare(tmp_path, terms(face_set, teacher, str(own_recipe), seeds=(1,)))
    assert (tmp_path / "1" / "prototypes" / "meta.json").stat().st_mtime_ns == before


def test_finished_runs_are_taken_as_they_are_and_new_ones_are_added(face_set, teacher, tmp_path, monkeypatch):
    compare(tmp_path, terms(face_set, teacher, "cosine", seeds=(1,)))
    seen = []
    own = module.train
    monkeypatch.setattr(module, "train", lambda job: (seen.append(job.distill), own(job)))
    compare(tmp_path, terms(face_set, teacher, "cosine", "fcd", seeds=(1,)))
    assert seen == ["fcd"]


def test_a_recipe_with_stages_runs_them_in_its_own_folder(face_set, teacher, tmp_path):
    rows = compare(tmp_path, terms(face_set, teacher, "transfer_kd", seeds=(1,))).rows
    assert {row.name for row in rows} == {ALONE, "transfer_kd"}
    facts = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("1/**/run.json")}
    assert facts["softmax"]["config"]["margin_list"] == [1.0, 0.0, 0.0]
    assert facts["transfer_kd"]["config"]["margin_list"] == facts["alone"]["config"]["margin_list"] != [1.0, 0.0, 0.0]


def test_a_cache_answers_for_the_teacher_where_a_recipe_reads_its_embedding_only(face_set, teacher, tmp_path):
    rows = compare(tmp_path, terms(face_set, teacher, "cosine", "kd", "fitnet_map", seeds=(1,), cache=True)).rows
    assert {row.name: row.runs[0].cached for row in rows} == {
        ALONE: False,
        "cosine": True,
        "kd": True,
        "fitnet_map": False,
    }
    lines = {line.split()[1]: line for line in table(rows, (1,)).split("\n")[2:]}
    assert lines["cosine"].endswith(" (cache) |")
    assert "cache" not in lines["fitnet_map"]


def test_changes_to_the_recipe_hold_for_every_recipe_cached_or_not(face_set, teacher, tmp_path):
    changes = ("teacher.network=vit_tiny", "losses.cosine.weight=3")
    compare(tmp_path, terms(face_set, teacher, "cosine", "cakd", seeds=(1,), cache=True, recipe_settings=changes))
    found = {}
    for name in ("cosine", "cakd"):
        recipe = json.loads((tmp_path / "1" / name / "run.json").read_text())["recipe"]
        weights = {term["loss"]: term["weight"] for term in recipe["losses"]}
        found[name] = (recipe["teacher"]["network"], weights["cosine"])
    assert found == {"cosine": ("cached", 3), "cakd": ("vit_tiny", 3)}


def test_a_teacher_is_trained_for_each_seed_where_a_config_is_given(face_set, tmp_path, monkeypatch):
    jobs = []

    def pretend(job):
        jobs.append(job)
        job.output.mkdir(parents=True)
        (job.output / "result.json").write_text('{"accuracy": {"dev": 0.5}, "steps": 2, "seconds": 3.0}')
        (job.output / "run.json").write_text("{}")

    monkeypatch.setattr(module, "train", pretend)
    monkeypatch.setattr(module, "shared_sets", lambda *_: {})
    rows = compare(tmp_path, Comparison(("cosine", "kd"), (1, 2), data=face_set, settings=("num_epoch=3",))).rows
    assert [job.config for job in jobs] == ["faces_vit_tiny", *["faces_cnn_tiny"] * 3] * 2
    assert set_to(jobs[2], "teacher.weights") == str(tmp_path / "1" / "teacher" / "model.pt")
    assert set_to(jobs[2], "teacher.centres") is None
    assert set_to(jobs[3], "teacher.centres") == [str(tmp_path / "1" / "teacher" / "checkpoint_gpu_0.pt")]
    assert "num_epoch=3" not in jobs[0].settings
    assert all("num_epoch=3" in job.settings for job in jobs[1:4])
    assert rows[0].name == TEACHER


@pytest.mark.parametrize(
    ("recipes", "seeds", "error", "message"),
    [
        (
            ("cosine", "elsewhere/cosine.yaml"),
            (1,),
            RunError,
            "expected different names, none of alone, teacher, cache, data, prototypes",
        ),
        (("alone.yaml",), (1,), RunError, "expected different names"),
        (("cosine",), (), RunError, "no seed; expected at least one"),
        (("cosin",), (1,), RecipeError, "no such file, and no shipped recipe of that name"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(recipes, seeds, error, message, tmp_path):
    with pytest.raises(error, match=message):
        compare(tmp_path / "out", Comparison(recipes, seeds))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content",
    ["{}", '{"accuracy": {}, "steps": 2, "seconds": 3.0}', '{"accuracy": {"dev": 0.5}, "steps": 0, "seconds": 1}'],
)
def test_a_result_that_says_nothing_is_refused(content, tmp_path, face_set):
    output = tmp_path / "1" / ALONE
    output.mkdir(parents=True)
    (output / "result.json").write_text(content)
    (tmp_path / "teacher.pt").write_bytes(b"")
    with pytest.raises(RunError, match=r"result.json: no usable result; .* Set val_targets"):
        compare(tmp_path, Comparison(("cosine",), (1,), data=face_set, teacher=str(tmp_path / "teacher.pt")))
