"""What is shown of a finished run: attention in its place on the face, and the teacher with and without prompts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.images import encode_png
from insightface_cakd.distill.snapshot import put
from insightface_cakd.distill.sources.fields import fields_of
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.show.attention import heat
from insightface_cakd.show.run import look, method_sections, open_run, prompt_rows
from tests.cakd_runs import RECIPE, write_cakd, write_teacher
from tests.commands import cakd, train

CPU = torch.device("cpu")


def finish(face_set, folder, *losses, **changes):
    recipe = write_cakd(folder / "mine.yaml", **changes, **({"losses": list(losses)} if losses else {}))
    given = ("--distill", recipe, "--teacher", write_teacher(folder / "teacher.pt"))
    ran = cakd(*train(face_set, *given, output=folder / "out", val_targets=["dev"]))
    assert ran.code == 0, ran.err
    return folder / "out"


@pytest.fixture(scope="module")
def finished(face_set, tmp_path_factory):
    return finish(face_set, tmp_path_factory.mktemp("cakd"))


def test_faces_count_once_and_come_first(finished, face_set):
    seen = look(open_run(finished, CPU))
    assert seen.faces.shape == (3, 112, 112, 3)
    assert [(view.side, view.moment.split()[0]) for view in seen.views] == [
        ("student", "before"),
        ("student", "after"),
        ("teacher", "before"),
        ("teacher", "after"),
    ]
    assert all(view.maps.shape == (40, 9, 7, 7) for view in seen.views)
    assert np.array_equal(seen.faces[0], load_bin(face_set / "dev.bin").images[0])


def test_the_students_maps_sum_to_1_and_the_teachers_lack_what_prompts_get(finished):
    student, _, before, after = look(open_run(finished, CPU)).views
    assert student.elsewhere == pytest.approx(0, abs=1e-5)
    assert 0 < before.elsewhere < 1
    assert 0 < after.elsewhere < 1


def test_the_maps_are_those_that_the_mapping_reads_of_the_trained_networks(finished):
    run = open_run(finished, CPU)
    seen = look(run)
    put(run.student, run.after)
    images = torch.from_numpy(seen.faces).permute(0, 3, 1, 2).float() / 127.5 - 1
    for view, side in zip(seen.views[1::2], ("student", "teacher"), strict=True):
        tokens, grid = fields_of(run.student.sources).tokens(run.student.eval().observe(images))[side]
        looks = run.student.method["urfm"].looks(tokens, side)[:, 0, :, : grid.rows * grid.columns]
        assert view.maps[:3].reshape(3, 9, 49) == pytest.approx(looks.numpy(), rel=1e-4, abs=1e-6)


def test_an_untrained_student_is_seen_with_the_statistics_of_a_batch(finished):
    """With the initial statistics of its batch norms all its tokens, and so its maps, would be alike."""
    run = open_run(finished, CPU)
    before = look(run).views[0]
    put(run.student, run.before)
    assert all(
        module.num_batches_tracked == 0 for module in run.student.modules() if hasattr(module, "num_batches_tracked")
    )
    assert before.maps.std(axis=0).max() > 0.01, "faces differ"
    alone = look(run).views[0]
    assert np.array_equal(before.maps, alone.maps), "looking changes no state"


def lit(row, column, path):
    """Write a black face with one bright cell of a 7x7 grid."""
    image = np.zeros((112, 112, 3), np.uint8)
    image[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 255
    path.write_bytes(encode_png(image))
    return path


@pytest.mark.parametrize(("row", "column"), [(1, 5), (5, 0), (6, 6), (0, 3)])
def test_a_network_that_sees_one_bright_cell_lights_the_pixels_of_that_cell(
    row, column, finished, tmp_path, monkeypatch
):
    """From the image through both networks to the pixels: nothing is mirrored, turned or shifted on the way."""
    run = open_run(finished, CPU)
    fields = run.student.method["urfm"]

    def bright_tokens(context):
        grey = context.images.mean(dim=1, keepdim=True)
        cells = torch.nn.functional.avg_pool2d(grey, 16)  # (B, 1, 7, 7), as a tap gives a map
        return {
            side: (cells.flatten(2).transpose(1, 2).expand(-1, -1, fields.widths[side]), replace(grid, extra=0))
            for side, grid in fields.grids.items()
        }

    monkeypatch.setattr(fields_of(run.student.sources), "tokens", bright_tokens)
    monkeypatch.setattr(
        fields, "looks", lambda tokens, side: (40 * tokens[..., 0]).softmax(dim=-1)[:, None, None].expand(-1, 1, 9, -1)
    )
    seen = look(run, [lit(row, column, tmp_path / "face.png")])
    for view in seen.views:
        y, x = np.unravel_index(heat(view.maps[0, 0]).argmax(), (112, 112))
        assert (y // 16, x // 16) == (row, column)


@pytest.mark.parametrize(("row", "column"), [(1, 5), (5, 1)])
def test_a_taps_map_keeps_left_and_right_and_up_and_down(row, column, finished):
    """The real student's tap reacts where the image changes."""
    run = open_run(finished, CPU)
    put(run.student, run.after)
    image = torch.full((1, 3, 112, 112), -1.0)
    blank = image.clone()
    image[..., 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 1
    tokens, grid = fields_of(run.student.sources).tokens(run.student.eval().observe(torch.cat([image, blank])))[
        "student"
    ]
    change = (tokens[0] - tokens[1]).norm(dim=-1).view(grid.rows, grid.columns)
    centre = [float((change.sum(dim=1 - axis) * torch.arange(7)).sum() / change.sum()) for axis in (0, 1)]
    assert (centre[0] < 3) == (row < 3)
    assert (centre[1] < 3) == (column < 3)


class TestTheTeachersAccuracy:
    def test_is_measured_alone_and_with_trained_prompts(self, finished, face_set):
        run = open_run(finished, CPU)
        rows = prompt_rows(run)
        assert [row["teacher"] for row in rows] == ["teacher alone", "with prompts"]
        pairs = load_bin(face_set / "dev.bin")
        plain = verify(run.student.teacher.embedder, pairs).accuracy
        put(run.student, run.after)
        after = verify(run.student.teacher, pairs).accuracy
        assert rows[0]["dev"] == f"{100 * plain:.2f} %"
        assert rows[1]["dev"] == f"{100 * after:.2f} %"

    def test_with_prompts_is_that_of_its_snapshots_prompts(self, finished):
        run = open_run(finished, CPU)
        spoilt = {key: value * 1000 if key.startswith("prompts") else value for key, value in run.after.method.items()}
        rows = prompt_rows(replace(run, after=replace(run.after, method=spoilt)))
        assert rows[0] == prompt_rows(run)[0]

    def test_alone_is_not_measured_again_where_the_run_has_checked_its_teacher(self, finished, face_set, tmp_path):
        run = open_run(finished, CPU)
        (tmp_path / "run.json").write_text(
            json.dumps({"teacher": {"name": "vit", "sha256": None, "accuracy": 0.123, "licence": None}})
        )
        recipe = run.origin.recipe | {
            "teacher": run.origin.recipe["teacher"] | {"check": {"bin": str(face_set / "dev.bin"), "floor": 0.1}}
        }
        after = replace(run.after, origin=replace(run.origin, recipe=recipe))
        assert prompt_rows(replace(run, folder=tmp_path, after=after))[0]["dev"] == "12.30 %"

    def test_has_no_rows_without_a_verification_set(self, finished, tmp_path):
        assert prompt_rows(open_run(finished, CPU), tmp_path) == []


def test_a_report_has_the_picture_and_the_table(finished):
    picture, table = method_sections(open_run(finished, CPU))
    assert picture.picture.png.startswith(b"\x89PNG")
    assert "All 9 centres" in picture.picture.caption[0]
    assert len(table.rows) == 2


def test_a_run_without_prompts_has_the_picture_alone(face_set, tmp_path):
    terms = [term for term in RECIPE["losses"] if term["loss"] != "prompt_anchor"]
    out = finish(
        face_set, tmp_path, *terms, teacher={"network": "vit_tiny"}, urfm={**RECIPE["urfm"], "teacher": "norm"}
    )
    run = open_run(out, CPU)
    (picture,) = method_sections(run)
    assert "prompts" not in " ".join(picture.picture.caption)


def test_a_run_without_fields_has_the_table_alone(face_set, tmp_path):
    out = finish(face_set, tmp_path, {"loss": "prompt_anchor", "weight": 1}, urfm=None)
    (table,) = method_sections(open_run(out, CPU))
    assert len(table.rows) == 2
