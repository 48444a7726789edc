"""A config that cannot be meant is refused before anything is built."""

import pytest

from tests.commands import cakd, refused, train


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("batch_size=1", r"config: batch_size is 1; expected a whole number of at least 2"),
        (
            "batch_size=0x" + "f" * 5000,
            r"config: batch_size is a value of type int; expected a whole number of at least 2",
        ),
        ("num_epoch=1.5", r"config: num_epoch is 1\.5; expected a whole number of at least 1"),
        ("num_classes=12.5", r"config: num_classes is 12\.5; expected a whole number"),
        ("num_workers=-1", r"config: num_workers is -1; expected a whole number of at least 0"),
        ("seed=a", r"config: seed is 'a'; expected a whole number of at least 0"),
        ("verbose=often", r"config: verbose is 'often'; expected a whole number"),
        ("lr=nan", r"config: lr is 'nan'; expected a number of at least 0"),
        ("weight_decay=-1", r"config: weight_decay is -1; expected a number of at least 0"),
        ("momentum=true", r"config: momentum is True; expected a number"),
        ("sample_rate=2", r"sample_rate is 2; expected a share in \[0, 1\]"),
        ("margin_list=0.5", r"config: margin_list is 0\.5; expected three numbers"),
        ("margin_list=(1.0,0.5)", r"config: margin_list is \(1\.0, 0\.5\); expected three numbers"),
        ("margin_list=(1.0,0.3,0.2)", r"margin_list \(1\.0, 0\.3, 0\.2\) is not supported; expected"),
        ("val_targets=dev", r"config: val_targets is 'dev'; expected a list of names"),
        ("network=cnn_tinny", r"network: 'cnn_tinny' is not a known network; .*'cnn_tiny'"),
        ("optimizer=lion", r"config: optimizer is 'lion'; expected sgd or adamw"),
        ("device=tpu", r"device 'tpu': not a device; expected cuda, mps or cpu"),
        ("num_epochs=3", r"--set num_epochs=3: the config has no key 'num_epochs'; .* Did you mean 'num_epoch'\?"),
        ("num_epoch", r"--set num_epoch: no '='; expected key=value"),
        ("batch_size=1000", r".*48 images per rank; expected at least one batch of 1000"),
    ],
)
def test_a_setting_out_of_range(setting, message, here, face_set):
    refused(train(face_set, "--set", setting), message, here)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"config = {",
            r"config own\.py: cannot be run \(SyntaxError: .*line 1\)\); expected Python that sets `config`",
        ),
        (
            b"import no_such_module",
            r"config own\.py: cannot be run \(ModuleNotFoundError: No module named 'no_such_mod",
        ),
        (b"\x00\xff", r"config own\.py: cannot be run \("),
        (b"x = 1", r"config own\.py: sets no `config`; expected a file like"),
        (b"config = 5", r"config own\.py: sets no `config`"),
        (b"config = {'network': 'cnn_tiny'}", r"config: rec is not set; a run needs it\. Pass --set rec="),
    ],
)
def test_a_file_that_is_no_config(content, message, here):
    (here / "own.py").write_bytes(content)
    refused(["train", "own.py"], message, here)
    doctor = cakd("doctor", "--config", "own.py")
    assert doctor.code == 1
    assert "problem config" in doctor.out


def test_a_config_that_is_not_there_and_a_folder_in_its_place(here):
    message = r"config own\.py: no such file and no such job; jobs: .*faces_cnn_tiny"
    refused(["train", "own.py"], message, here)
    (here / "own.py").mkdir()
    refused(["train", "own.py"], message, here)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--distill", "cosin"],
            r"recipe cosin: no such file, and no shipped recipe of that name; .* Did you mean 'cosine'\?",
        ),
        (
            ["--distill", "cakd"],
            r"teacher cnn_tiny: SmallCNN has no tokens that prompts could join; .* Remove teacher\.prompts",
        ),
        (["--training-precision", "fp16"], r"bench: --training-precision fp16 on cpu; .* Use fp32 or bf16"),
        (["--network", "cnn_tinny"], r"network: 'cnn_tinny' is not a known network"),
        (["--data", "nowhere", "--steps", "3", "--batch-size", "2"], r"nowhere: no such folder"),
    ],
)
def test_a_benchmark_that_cannot_be_run(arguments, message, here):
    refused(["bench", "--network", "cnn_tiny", "--recipe-set", "teacher.network=cnn_tiny", *arguments], message, here)
