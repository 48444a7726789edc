"""Every kind of bad input that the package answers for, and the tests that show its one line through the command line."""

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
RECIPES, TEACHERS, DATA = "cli/test_bad_recipes.py", "cli/test_bad_teachers.py", "cli/test_bad_data.py"
RUNS, CONFIGS, SETS = "cli/test_bad_runs.py", "cli/test_bad_configs.py", "cli/test_bad_verification_sets.py"
FIELDS, PROTOTYPES = "cli/test_bad_cakd.py", "cli/test_bad_prototypes.py"

SHOWN = {
    "unknown key or loss in a recipe": (RECIPES, "a_term_that_is_not_known", "a_file_that_is_no_recipe"),
    "recipe missing, or a folder": (RECIPES, "a_recipe_that_is_not_there_and_a_folder_in_its_place"),
    "tap path that does not exist": (RECIPES, "a_term_that_does_not_fit_the_networks"),
    "taps on a teacher without modules": (RECIPES, "an_onnx_teacher_has_no_modules_to_tap"),
    "shapes that do not fit without a projector": (
        RECIPES,
        "a_term_that_does_not_fit_the_networks",
        "embeddings_of_two_widths_need_a_projector",
    ),
    "centres of another head": (RECIPES, "centres_of_another_head"),
    "missing, truncated or wrong-architecture weights": (
        TEACHERS,
        "weights_that_are_missing_damaged_or_another_networks",
        "no_weights_at_all_are_never_random_ones",
        "weights_that_cannot_be_measured_or_exported",
    ),
    "sha256 mismatch": (TEACHERS, "a_recipe_whose_teacher_is_not_what_it_says"),
    "teacher below its floor": (TEACHERS, "a_teacher_below_its_floor"),
    "truncated ONNX or TorchScript": (TEACHERS, "a_truncated_onnx_teacher", "a_truncated_torchscript_teacher"),
    "cache damaged, or of other images": (
        TEACHERS,
        "a_cache_that_is_damaged",
        "a_cache_of_other_images_stops_the_first_batch_and_saves_nothing",
    ),
    "empty or one-person data folder": (DATA, "a_folder_that_is_no_training_set"),
    "truncated, corrupt or non-image record": (
        DATA,
        "records_that_are_damaged_or_of_another_index",
        "a_truncated_image_in_a_whole_record_is_found_by_the_check",
        "one_bad_image_among_good_ones",
    ),
    "idx/rec mismatch": (DATA, "records_that_are_damaged_or_of_another_index"),
    "label outside [0, num_classes)": (DATA, "a_label_outside_the_classes"),
    "a pickle .bin that tries to run code": (SETS, "a_verification_set_that_is_none"),
    "a .bin truncated in the middle": (SETS, "a_verification_set_that_is_none"),
    "a folder where a file is expected": (SETS, "a_folder_where_a_file_is_expected"),
    "missing .bin named in val_targets": (SETS, "a_verification_set_that_is_not_there"),
    "non-finite loss": (
        RUNS,
        "a_term_that_is_not_finite_is_named_and_the_last_good_checkpoint_stays",
        "a_loss_that_is_not_finite_names_its_step",
    ),
    "disk full while saving": (
        RUNS,
        "a_disk_that_is_full_leaves_the_last_checkpoint",
        "a_disk_that_is_full_at_the_last_small_file",
        "a_disk_that_is_full_while_data_or_a_model_is_written",
    ),
    "output folder that holds another run": (RUNS, "an_output_folder_that_holds_another_run"),
    "output path that cannot be created": (RUNS, "an_output_folder_that_cannot_be_made"),
    "--resume without a checkpoint": (RUNS, "resume_without_a_checkpoint", "a_checkpoint_that_is_none"),
    "--resume with another config or recipe": (
        RUNS,
        "a_checkpoint_of_another_config",
        "a_checkpoint_of_another_recipe",
    ),
    "prompts in a CNN, an ONNX graph or a cache": (FIELDS, "prompts_in_a_teacher_that_cannot_learn_them"),
    "a grid or tap that a network does not have": (
        FIELDS,
        "a_tap_or_grid_that_the_network_does_not_have",
        "a_teacher_without_prompts_and_without_a_tap",
    ),
    "no prompts": (FIELDS, "a_number_of_prompts_that_is_none"),
    "no centres, or more than pixels": (
        FIELDS,
        "a_number_of_centres_that_cannot_be",
        "more_centres_than_pixels_are_warned_of_and_the_run_goes_on",
    ),
    "a Swin whose maps cannot be halved": (FIELDS, "a_swin_of_a_size_that_breaks_patch_merging"),
    "prototypes of another data set, teacher or number of classes": (
        PROTOTYPES,
        "prototypes_of_another_data_set",
        "prototypes_of_another_teacher",
        "prototypes_of_another_number_of_classes",
        "prototypes_that_are_missing_or_damaged",
    ),
    "K larger than identities, identities with one image": (
        PROTOTYPES,
        "more_others_than_there_are_are_cut_with_a_note",
    ),
    "an identity without images": (PROTOTYPES, "an_identity_without_images"),
    # No command reads landmarks; the module is given them.
    "landmarks outside the image": (
        "distill/urfm/test_mapping.py",
        "landmarks_outside_the_image_and_a_missing_embedding_are_refused",
    ),
    "settings and config files": (CONFIGS, "a_setting_out_of_range", "a_file_that_is_no_config"),
}


@pytest.mark.parametrize("item", SHOWN)
def test_every_kind_of_bad_input_has_its_tests(item):
    file, *names = SHOWN[item]
    tree = ast.parse((FOLDER / file).read_text(encoding="utf-8"))
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {f"test_{name}" for name in names} <= there
