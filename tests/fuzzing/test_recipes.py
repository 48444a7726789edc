"""Whatever stands in a recipe or a setting: it is read, or refused in one line, at once and in little memory."""

import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from insightface_cakd.hosts.embedded.utils.utils_config import get_config
from insightface_cakd.hosts.job_spec import EmbeddedJobSpec, check_job
from insightface_cakd.recipe import load_recipe, shipped_recipes
from insightface_cakd.tasks.job import Job, configured
from tests.commands import cakd, contents
from tests.fuzzing.limits import ends_well, inputs, limited, refusal, untouched

SHIPPED = [path.read_text(encoding="utf-8") for path in shipped_recipes()]
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)
)
FRAGMENTS = (
    "2024-01-01", "2024-13-45", "9" * 5000, "0x" + "f" * 6000, ":".join(["59"] * 3000), "!!set {a, b}", "!!binary abc", "!!int abc",
    "!!float x", "!!bool maybe", "!!timestamp x", "!!python/object/apply:os.system [ls]", "[" * 3000 + "]" * 3000, "[" * 200_000,
    '"\\ud800"', '"\\0"', "&a [*a]", "*nowhere", "? [a, b]\n: 1", "<<: 5", ".inf", "1e999", "1_000_000_000_000", "-1", "yes", "~", "''",
    "{a: {b: {c: {}}}}", "---", "\x01", "\x85", "\ufeff", "%YAML 9.9", "|\n x", "'unclosed", "0x_", "0b_", "..:x", ".a:x", "os:getcwd",
    "math:tau", "sys:exit", "builtins:dict", "x" * 100_000,
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 10**9, 10**12, 2**63, 10**30, -(10**30), 1e308, 5e-324, float("inf"), float("nan")]),
    st.sampled_from(
        ["", "\x00", "x" * 5000, "../../etc", "a.b", "cosine", "2048", "\n", "os:getcwd", "builtins:dict", "\U0001f600"]
    ),
    st.text(max_size=12),
    st.dates(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def damaged_texts(draw):
    """A shipped recipe in which a value is another, and something may stand where it does not belong."""
    lines = draw(st.sampled_from(SHIPPED)).splitlines()
    values = [number for number, line in enumerate(lines) if ": " in line and not line.lstrip().startswith("#")]
    number, put = draw(st.sampled_from(values)), draw(st.sampled_from(FRAGMENTS))
    lines[number] = f"{lines[number].rpartition(': ')[0]}: {put}"
    text = "\n".join(lines)
    if draw(st.booleans()):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(st.sampled_from(FRAGMENTS) | st.text(max_size=8)) + text[place:]
    return draw(st.sampled_from(["", "", BOMB])) + text


def places(value, path=()):
    """Yield the path of every value in a recipe."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield (*path, key)
        yield from places(below, (*path, key))


@st.composite
def damaged_values(draw):
    """A shipped recipe in which one value, or a key more, is another."""
    content = copy.deepcopy(yaml.safe_load(draw(st.sampled_from(SHIPPED))))
    *above, last = draw(st.sampled_from(list(places(content))))
    part = content
    for key in above:
        part = part[key]
    part[last] = draw(VALUES)
    if isinstance(part, dict) and draw(st.booleans()):
        part[
            draw(
                st.sampled_from(
                    ["nested", "name", "task", "views", "urfm", "head", "student", "teachers", "sources", "queue"]
                )
            )
        ] = draw(VALUES)
    return content


def test_a_damaged_recipe_is_read_or_refused(tmp_path):
    path = tmp_path / "own.yaml"

    @inputs(80)
    @given(damaged_texts())
    def batch(text):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        before = contents(tmp_path)
        ends_well(cakd("recipes", "check", path))
        untouched(tmp_path, before)

    limited(batch)


def test_a_recipe_of_other_values_is_read_or_refused(tmp_path):
    path = tmp_path / "own.yaml"

    @inputs(80)
    @given(damaged_values())
    def batch(content):
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        ends_well(cakd("recipes", "check", path))

    limited(batch)


def test_a_recipe_setting_is_taken_or_refused():
    keys = st.sampled_from(
        [
            "teacher.weights",
            "teacher.input_size",
            "losses",
            "losses.cosine",
            "losses.cosine.weight",
            "task",
            "views.both",
            "a.b.c",
            ".",
        ]
    ) | st.text(max_size=8)

    @inputs(60)
    @given(keys, st.sampled_from(FRAGMENTS) | VALUES.map(repr) | st.text(max_size=20))
    def batch(key, text):
        said = refusal(lambda: load_recipe("cosine", [f"{key}={text}"]))
        assert not said or " is " in said or "; " in said, said

    limited(batch)


def test_a_setting_of_the_config_is_taken_or_refused(tmp_path):
    keys = st.sampled_from(sorted(get_config("faces_cnn_tiny"))) | st.text(max_size=8)

    @inputs(80)
    @given(keys, st.sampled_from(FRAGMENTS) | VALUES.map(repr) | st.text(max_size=20))
    def batch(key, text):
        job = Job("faces_cnn_tiny", settings=["num_classes=12", f"rec={tmp_path}", f"{key}={text}"])
        said = refusal(lambda: check_job(configured(job, get_config), EmbeddedJobSpec))
        assert not said or "; " in said or "expected" in said, said

    limited(batch)


@pytest.mark.parametrize(
    "key", ["batch_size", "embedding_size", "num_classes", "num_epoch", "num_workers", "seed", "lr", "frequent"]
)
def test_a_size_beyond_all_measure_is_named_before_anything_is_made(key, tmp_path, face_set, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    ran = cakd("train", "faces_cnn_tiny", "--data", face_set, "--output", "out", "--set", f"{key}={10**40}")
    ends_well(ran)
    assert ran.code == 1
    assert f"config: {key} is 1{'0' * 40}; expected a " in ran.err
    untouched(tmp_path, before)
