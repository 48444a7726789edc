"""Teacher: frozen, in eval mode, and the same after any training loop."""

import pytest
import torch
from torch import nn

from insightface_cakd.distill.taps import teacher_taps
from insightface_cakd.errors import ShapeError, TapError, TeacherError
from insightface_cakd.networks.image_format import RGB, ImageFormat
from insightface_cakd.teachers import Teacher
from insightface_cakd.teachers.trial import measure_answer
from tests.teachers.faces import WIDTH, ChannelMeans, as_input, faces, trained

CPU = torch.device("cpu")


@pytest.fixture
def teacher() -> Teacher:
    return Teacher.of_network(trained(), "tiny", WIDTH, CPU)


def test_it_gives_what_the_network_gives_in_eval_mode(teacher):
    images = as_input(faces())
    expected = trained().eval()(images)
    torch.testing.assert_close(teacher(images), expected)
    assert teacher(images).dtype == torch.float32


def test_it_gives_no_gradient(teacher):
    images = as_input(faces()).requires_grad_()
    assert not teacher(images).requires_grad
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_it_stays_in_eval_whatever_the_loop_does(teacher):
    assert not teacher.train().training
    holder = nn.ModuleList([teacher]).train()
    assert holder.training
    assert not any(module.training for module in teacher.modules())


def test_it_returns_to_eval_when_its_network_was_put_into_train_mode_behind_its_back(teacher):
    images = as_input(faces())
    before = teacher(images)
    teacher.network.train()
    torch.testing.assert_close(teacher(images), before, rtol=0, atol=0)


def test_it_is_unchanged_bit_for_bit_after_steps_that_would_train_it(teacher):
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    student = trained()
    pair = nn.ModuleDict({"student": student, "teacher": teacher}).train()
    optimizer = torch.optim.SGD(pair.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for seed in range(3):
        images = as_input(faces(4, seed=seed))
        loss = (student(images) - teacher(images)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not torch.equal(student.fc.weight, trained().fc.weight)


def test_an_autocast_of_the_loop_does_not_reach_it(teacher):
    images = as_input(faces())
    expected = teacher(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(teacher(images), expected, rtol=0, atol=0)


def test_images_of_another_size_are_resized():
    teacher = Teacher(ChannelMeans(), "means", 3, CPU, input_size=32)
    seen = []
    teacher.network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[-2:]))
    image = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    torch.testing.assert_close(teacher(image), torch.zeros(1, 3), atol=1e-5, rtol=0)
    teacher(torch.zeros(1, 3, 20, 20))
    teacher(torch.zeros(1, 3, 32, 32))
    assert seen == [(32, 32)] * 3


@pytest.mark.slow
def test_a_compiled_teacher_gives_the_same_and_measures_without_its_program():
    teacher = Teacher(trained(), "tiny", WIDTH, CPU)
    images = as_input(faces())
    expected = teacher(images)
    teacher.compile_forward()
    runs = []
    program = teacher._compiled
    teacher._compiled = lambda given: runs.append(len(given)) or program(given)
    torch.testing.assert_close(teacher(images), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(teacher.computed(images), expected)
    assert runs == [len(images)]
    assert "_compiled" not in "".join(teacher.state_dict())
    with pytest.raises(
        TapError, match=r"^teacher tap 'feature': teacher tiny is compiled, .* Remove teacher\.compile\.$"
    ):
        teacher_taps(teacher, ["feature"])


def test_only_a_tappable_teacher_shows_its_network():
    assert Teacher(trained(), "tiny", WIDTH, CPU, tappable=False).network is None
    network = trained()
    assert Teacher.of_network(network, "tiny", WIDTH, CPU).network is network


def test_a_cnn_gets_channels_last_and_a_patch_embedding_does_not(teacher):
    assert teacher.network.conv.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.zeros(2, 112, 112, 3), r"\(2, 112, 112, 3\) of torch.float32"),
        (torch.zeros(2, 3, 112, 112, dtype=torch.uint8), r"of torch.uint8"),
        (torch.zeros(3, 112, 112), r"\(3, 112, 112\)"),
    ],
)
def test_images_of_another_layout_are_refused(teacher, images, found):
    with pytest.raises(ShapeError, match=rf"teacher tiny: images are .*{found}.*expected \(B, 3, H, W\) floats"):
        teacher(images)


def test_an_embedding_of_another_width_than_promised_is_refused():
    teacher = Teacher(ChannelMeans(), "means", 4, CPU)
    with pytest.raises(ShapeError, match=r"teacher means: gave shape \(2, 3\); expected embeddings of shape \(2, 4\)"):
        teacher(torch.zeros(2, 3, 112, 112))


class Gives(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ((torch.ones(2, 3),), r"x: gives a tuple for 2 images; expected \(2, D\)"),
        (torch.zeros(2), r"x: gives shape \(2,\) for 2 images"),
        (torch.zeros(1, 3), r"x: gives shape \(1, 3\) for 2 images"),
        (
            torch.full((2, 3), float("nan")),
            r"x: tried out: 2 of 2 embeddings are not finite; expected numbers\. .*teacher\.channels",
        ),
        (torch.zeros(2, 3), r"x: tried out: 2 of 2 embeddings are all zero"),
        (torch.ones(2, 3), r"x: tried out: all 2 embeddings are the same; expected different ones"),
        (ValueError("no\nway"), r"x: cannot embed 2 images of 112x112 \(ValueError: no way at .*\)"),
    ],
)
def test_a_network_that_is_no_embedder_is_found_out_before_training(answer, line):
    with pytest.raises(TeacherError, match=line):
        measure_answer(Gives(answer), CPU, 112, "x")


def test_an_answer_may_be_anything_with_a_row_for_each_image():
    maps = torch.arange(2.0 * 3 * 7 * 7).view(2, 3, 7, 7)
    assert measure_answer(Gives(maps), CPU, 112, "x") == (3, 7, 7)
    teacher = Teacher(Gives(maps), "x", (3, 7, 7), CPU)
    assert teacher(torch.zeros(2, 3, 112, 112)).shape == (2, 3, 7, 7)
    with pytest.raises(ShapeError, match=r"teacher x: answers \(3, 7, 7\); expected an embedding"):
        _ = teacher.embedding_size


class UnitLength(nn.Module):
    """A network that ends as recognisers do that were trained on the sphere: 0 / 0 where nothing is seen."""

    def __init__(self):
        super().__init__()
        self.network = trained()
        self.network.conv.bias.data.zero_()

    def forward(self, images):
        maps = self.network.conv(images).flatten(1)
        return maps / maps.norm(dim=1, keepdim=True)


def test_a_network_that_scales_its_answer_to_length_one_is_tried_out_on_no_blank_image():
    assert not torch.isfinite(UnitLength()(torch.zeros(2, 3, 112, 112))).all()
    width = measure_answer(UnitLength(), CPU, 112, "x")
    teacher = Teacher.of_network(UnitLength(), "unit", *width, CPU)
    torch.testing.assert_close(teacher(as_input(faces())).norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("factor", [0.0, float("nan")])
def test_a_network_in_memory_that_says_nothing_is_no_teacher(factor):
    network = trained()
    for weight in network.features.parameters():
        weight.data.mul_(factor)
    with pytest.raises(TeacherError, match=r"teacher tiny: tried out: 2 of 2 embeddings are (all zero|not finite)"):
        Teacher.of_network(network, "tiny", WIDTH, CPU)


def test_random_weights_that_will_learn_need_not_say_anything():
    assert measure_answer(Gives(torch.zeros(2, 3)), CPU, 112, "x", trained=False) == (3,)


@pytest.mark.parametrize("takes", [ImageFormat("bgr"), ImageFormat("bgr", (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)), RGB])
def test_images_are_given_in_the_format_that_the_network_takes(takes):
    teacher = Teacher(ChannelMeans(), "means", 3, CPU, takes=takes)
    pixels = faces()
    shares = pixels.float().mean(dim=(1, 2)) / 255
    ordered = shares.flip(1) if takes.channels == "bgr" else shares
    expected = (ordered - torch.tensor(takes.mean)) / torch.tensor(takes.std)
    torch.testing.assert_close(teacher(as_input(pixels)), expected, atol=1e-5, rtol=0)
