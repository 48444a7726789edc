"""Reading back what a run logged."""

import time

from torch.utils.tensorboard import SummaryWriter

from insightface_cakd.report.curves import read_curves
from tests.evaluate.runs import STEPS, write_run


def test_all_scalars_of_a_run_and_its_subfolders_are_read_in_order(tmp_path):
    curves = read_curves(write_run(tmp_path, distilled=True))
    plain = {"train/loss", "train/learning_rate", "train/images_per_second", "accuracy/dev"}
    terms = ("cosine", "urfm_attention", "urfm_feature", "urfm_anchor", "prompt_anchor")
    of_terms = {f"distill/{kind}/{term}" for kind in ("raw", "weighted") for term in terms}
    assert set(curves) == plain | of_terms | {"distill/raw/margin", "distill/gradient_ratio"}
    assert [step for step, _ in curves["train/loss"]] == list(range(0, STEPS, 2))
    assert curves["train/loss"][0] == (0, 30.0)


def test_no_point_is_dropped_from_a_long_run(tmp_path):
    # TensorBoard's own reader keeps a random sample of 10,000 if it is not told otherwise
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(12_000):
            writer.add_scalar("train/loss", float(step), step)
    assert read_curves(tmp_path)["train/loss"] == [(step, float(step)) for step in range(12_000)]


def test_a_resumed_run_counts_the_steps_it_did_again_once(tmp_path):
    for first, last, value in ((0, 30, 1.0), (20, 50, 2.0)):
        with SummaryWriter(str(tmp_path)) as writer:
            for step in range(first, last, 10):
                writer.add_scalar("train/loss", value, step)
        time.sleep(1.1)  # the file's name has the second in it, and the later second wins
    assert read_curves(tmp_path)["train/loss"] == [(0, 1.0), (10, 1.0), (20, 2.0), (30, 2.0), (40, 2.0)]


def test_a_file_cut_short_by_a_kill_is_read_up_to_there(tmp_path):
    write_run(tmp_path)
    (events,) = (tmp_path / "tensorboard").glob("events*")
    events.write_bytes(events.read_bytes()[:-1000])
    curve = read_curves(tmp_path)["train/loss"]
    assert 5 < len(curve) < STEPS // 2 + 1
    assert curve[0] == (0, 30.0)


def test_a_folder_without_events_has_no_curves(tmp_path):
    assert read_curves(tmp_path) == {}
    assert read_curves(tmp_path / "missing") == {}
