"""The doctor on the user's arcface_torch: its own configs and networks, and that a problem is one."""

import pytest

from insightface_cakd.hosts import preflight
from insightface_cakd.hosts.compat import FIXES
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train
from tests.commands import cakd
from tests.doctor.asking import of, texts
from tests.hosts.checkouts import copy_of
from tests.hosts.jobs import write_job, write_recipe

pytestmark = pytest.mark.upstream


@pytest.fixture
def upstream(arcface_torch, tmp_path, monkeypatch):
    """The user's checkout, from an empty folder, as one process."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return arcface_torch


def test_the_pinned_checkout_and_every_fix(upstream, face_set, tmp_path):
    config = write_job(tmp_path, face_set)
    recipe, weights = write_recipe(tmp_path)
    case = ("--host", upstream.parent, "--config", config, "--distill", recipe, "--teacher", weights)
    ran = cakd("doctor", *case)
    assert ran.code == 0, ran.out
    assert f"ok      host {upstream}: the pinned arcface_torch (7fadd420), not modified\n" in ran.out
    assert "note    fix first-step-lr is off, since it changes results: lr_scheduler.py:19-20: " in ran.out
    for fix in FIXES:
        assert fix.name in ran.out
    assert ran.out.splitlines()[-1] == "no problem: a run would start"
    assert ran.err == ""


@pytest.mark.parametrize("network", ["r50", "mbf", "vit_t", "vit_l_dp005_mask_005", "r51"])
def test_the_networks_that_it_has(network, upstream, face_set, tmp_path):
    found = of(upstream, config=str(write_job(tmp_path, face_set)), settings=(f"network={network}",))
    assert len(texts(found, "problem")) == (network == "r51")


def test_every_shipped_config_is_read_and_lacks_its_data_only(upstream):
    """wf42m_pfc0008 samples nothing, and some want DALI."""
    for path in sorted((upstream / "configs").glob("*.py")):
        if path.stem in ("__init__", "base"):
            continue
        found = of(upstream, config=f"configs/{path.stem}")
        told = texts(found, "problem")
        known = ("/train_tmp/", "config: sample_rate is 0", "config: dali is True")
        assert [text for text in told if not text.startswith(known)] == [], path.stem
        assert bool(told) == (path.stem != "3millions")


def test_a_patched_checkout(upstream, tmp_path):
    folder = copy_of(upstream, tmp_path / "arcface_torch")
    assert cakd("patch", "apply", "--host", folder, "--only", "seam").code == 0
    notes = texts(of(folder), "note")
    assert f"host {folder}: modified, it differs from 7fadd420 in train_v2.py" in notes
    assert any(
        text.startswith("patches: 1 of ") and text.endswith("are in: 0001-train-distill.patch") for text in notes
    )


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        ("batch_size=1", "Expected more than 1 value per channel"),
        ("verbose=0", "modulo by zero"),
        ("margin_list=(0.9, 0.4, 0.0)", "No active exception to reraise"),
        ("optimizer=lion", "No active exception to reraise"),
    ],
)
def test_what_it_calls_a_problem_stops_arcface_torch(setting, error, upstream, face_set, tmp_path, monkeypatch):
    """A run is refused for it; arcface_torch itself, asked without that, stops."""
    config = str(write_job(tmp_path, face_set))
    assert len(texts(of(upstream, config=config, settings=(setting,)), "problem")) == 1
    monkeypatch.setattr(preflight, "check_job", lambda *_: None)
    with pytest.raises(Exception, match=error):
        train(Job(config, host=str(upstream), settings=(setting,)))
