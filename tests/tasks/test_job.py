"""Settings of a job: the key decides what a text stands for."""

import re

import pytest

from insightface_cakd.errors import RunError
from insightface_cakd.hosts.embedded.utils.utils_config import get_config
from insightface_cakd.tasks.job import apply_settings


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("num_epoch", "no '='; expected key=value"),
        ("num_epochs=3", r"the config has no key 'num_epochs'; .* Did you mean 'num_epoch'\?"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(setting, message):
    with pytest.raises(RunError, match=message):
        apply_settings(get_config("faces_cnn_tiny"), [setting])


def test_settings_are_python_values_or_text():
    cfg = apply_settings(
        get_config("faces_cnn_tiny"), ["lr=1e-3", "fp16=true", "val_targets=['lfw']", "rec=data", "device=none"]
    )
    assert (cfg.lr, cfg.fp16, cfg.val_targets, cfg.rec, cfg.device) == (1e-3, True, ["lfw"], "data", None)


@pytest.mark.parametrize("key", ["rec", "output", "network"])
@pytest.mark.parametrize("text", ["2024_01", "1e5", "0x10", "[a]", "True", "1.0", "(1)", "'2024_01'", '"1e5"', "it's"])
def test_text_stays_text_whatever_it_looks_like(key, text):
    cfg = apply_settings(get_config("faces_cnn_tiny"), [f"{key}={text}"])
    assert cfg[key] == (text if text[0] not in "'\"" else text[1:-1])


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", True), ("no", False), ("On", True), ("off", False), ("1", True), ("0", False), ("False", False)],
)
@pytest.mark.parametrize("key", ["resume", "save_all_states", "fp16"])
def test_a_switch_is_on_or_off(key, text, value):
    assert apply_settings(get_config("faces_cnn_tiny"), [f"{key}={text}"])[key] is value


@pytest.mark.parametrize("text", ["maybe", "2", "", "none", "[]"])
def test_a_switch_that_is_neither_is_refused(text):
    with pytest.raises(RunError, match=rf"--set resume={re.escape(text)}: expected true or false"):
        apply_settings(get_config("faces_cnn_tiny"), [f"resume={text}"])


def test_a_literal_too_deep_is_text():
    deep = "[" * 3000
    assert apply_settings(get_config("faces_cnn_tiny"), [f"margin_list={deep}"]).margin_list == deep
