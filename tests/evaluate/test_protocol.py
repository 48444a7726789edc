"""A protocol is one file: written outside the package, it is a command, in a comparison, a page, JSON, and a loop's measure."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.protocol import Measure, build_protocol, described, find_protocol, protocol_names
from tests.commands import cakd, refused
from tests.evaluate.verification_files import write_set
from tests.networks.onnx_models import channel_means
from tests.report.test_run_report import Page

# What a stranger writes.
OUTSIDE = '''
"""How alike a face and its mirror image are to a network."""

from dataclasses import dataclass

from insightface_cakd.evaluate.protocol import Protocol
from insightface_cakd.report.result import Result


@dataclass(frozen=True)
class Cosine(Result):
    mean: float
    images: int

    def rows(self):
        return [{"images": str(self.images), "mean cosine": f"{self.mean:.4f}"}]

    def lines(self):
        return ["Each image against its mirror image."]

    def facts(self):
        return {"images": self.images, "mean_cosine": self.mean}


@dataclass(frozen=True)
class Mirror(Protocol):
    """Mean cosine of faces and their mirror images.

    Args:
        most: So many images at most.
    """

    most: int = 1000

    def measure(self, network, data, execution):
        import torch
        from insightface_cakd.data.bins import load_bin
        from insightface_cakd.evaluate.pairs.verification import embed_both

        images = load_bin(data[0]).images[: self.most]
        plain, mirrored = map(torch.from_numpy, embed_both(network, images, execution.device, execution.batch_size))
        return Cosine(float(torch.nn.functional.cosine_similarity(plain, mirrored).mean()), len(images))
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the protocol's module on the path, a set and two recognisers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "outside", raising=False)
    (tmp_path / "outside.py").write_text(OUTSIDE)
    write_set(tmp_path / "a.bin", 10)
    channel_means(tmp_path / "old.onnx")
    channel_means(tmp_path / "new.onnx")
    return tmp_path


def test_it_is_a_command_with_its_options_json_and_a_page(here):
    command = ["eval", "outside:Mirror", "old.onnx", "a.bin", "--most", "6", "--json", "n.json", "--report", "p.html"]
    ran = cakd(*command)
    assert ran.code == 0, ran.err
    # Means of channels are the same in a mirror.
    assert ran.out.splitlines()[2:] == ["| 6      |      1.0000 |", "", "Each image against its mirror image."]
    assert json.loads((here / "n.json").read_text()) == {"images": 6, "mean_cosine": pytest.approx(1.0)}
    shown = Page((here / "p.html").read_text())
    assert "mean cosine" in shown.text
    assert "Each image against its mirror image." in shown.text
    helped = cakd("eval", "outside:Mirror", "--help").out
    assert "So many images at most" in helped
    assert "Mean cosine of faces" in helped


def test_models_are_compared_by_it(here):
    chosen = ["--by", "outside:Mirror", "--by-set", "most=4", "--out", "cmp"]
    ran = cakd("eval", "models", "old.onnx", "new.onnx", "--sets", "a.bin", *chosen)
    assert ran.code == 0, ran.err
    assert [line.split()[1:4:2] for line in ran.out.splitlines()[:4:2]] == [["model", "images"], ["old", "4"]]
    assert ran.out.count("Each image against its mirror image.") == 1
    found = json.loads((here / "cmp" / "compare.json").read_text())["models"]
    assert found["old"] == found["new"] == {"images": 4, "mean_cosine": pytest.approx(1.0)}
    assert "mean cosine" in Page((here / "cmp" / "compare.html").read_text()).text


def test_a_training_loop_calls_it(here):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 112 * 112, 4), nn.Dropout(0.5))
    measure = Measure(build_protocol("outside:Mirror", {"most": "3"}), [here / "a.bin"])
    first, second = measure(0, network), measure(100, network)
    assert first == second, "measured in eval mode"
    assert first.facts()["images"] == 3
    assert network.training
    assert network[2].training


def test_the_packages_own_need_no_torch_until_they_measure(here):
    assert protocol_names() == ["bin", "identify", "landmarks", "periocular"]
    code = (
        "import sys; from insightface_cakd.cli import build; build(); assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    for name in protocol_names():
        text, options = described(find_protocol(name))
        assert f"`cakd eval {name} " in text
        assert bool(options) == (name != "periocular")


def test_a_loop_may_measure_by_one_of_the_packages_own(here):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 112 * 112, 4))
    (found,) = Measure(build_protocol("bin", {}), [here / "a.bin"])(0, network).facts()
    assert (found["set"], found["same"]) == ("a", 5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "bim",
            {},
            r"protocol bim: unknown; expected bin, identify, landmarks, periocular, or package\.module:Class\. Did you mean 'bin'\?",
        ),
        ("outside:Cosine", {}, r"protocol outside:Cosine: is no subclass of .*Protocol; expected one"),
        ("outside:Miror", {}, r"has no Miror.* Did you mean 'Mirror'\?"),
        ("nowhere:Mirror", {}, r"cannot import nowhere"),
        ("outside:Mirror", {"mots": 1}, r"mots is no option of it; known: most\. Did you mean 'most'\?"),
        (
            "outside:Mirror",
            {"most": "many"},
            r"protocol outside:Mirror: most is 'many'; Input should be a valid integer",
        ),
    ],
)
def test_what_is_no_protocol_is_told(name, options, message, here):
    with pytest.raises(EvaluationError, match=message):
        build_protocol(name, options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by-set", "most=1"], "--by-set most=1: there is no --by; expected both"),
        (
            ["--by", "bin", "--variant", "masked"],
            "--variant with --by bin: it is of the comparison of pairs",
        ),
        (["--by", "bin", "--by-set", "on"], "--by-set on: expected KEY=VALUE"),
        (["--by", "bin", "--by-set", "on=none"], "protocol bin: on is 'none'; Input should be 'probe' or"),
    ],
)
def test_options_that_do_not_fit(options, message, here):
    refused(["eval", "models", "old.onnx", "new.onnx", "--sets", "a.bin", *options], message, here)


def test_the_former_name_of_models_goes_on_working(here):
    ran = cakd("eval", "compare", "old.onnx", "new.onnx", "--sets", "a.bin", "--out", "cmp")
    assert ran.code == 0, ran.err
    assert ran.err.count("cakd eval compare: is now cakd eval models; write that") == 1
