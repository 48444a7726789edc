"""The strict reader says what YAML says, and refuses what surprises or grows."""

import pytest
import yaml

from insightface_cakd.recipe import shipped_recipes
from insightface_cakd.runtime.strict_yaml import DEEPEST, LARGEST, YAMLError, read_yaml

BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 9)
)


@pytest.mark.parametrize("path", shipped_recipes(), ids=lambda path: path.stem)
def test_a_shipped_recipe_reads_as_pyyaml_reads_it(path):
    text = path.read_text(encoding="utf-8")
    assert read_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "a: &x {b: 1}\nc: {<<: *x, d: 2}",
        "a: &x {b: 1}\nc: {b: 3, <<: [*x, {b: 2, e: 5}]}",
        "[1, -1.5, 0x10, 0o7, 1:30, yes, off, ~, '5', .inf, 1e3, 1.0e+3, !!str 5]",
        "a: |\n  two\n  lines\nb: >\n  one\n  line\n",
        "? a\n: b\n",
        "- [a]\n- {b: [c, {d: e}]}",
        "a: &x [1]\nb: [*x, *x]",
    ],
)
def test_plain_yaml_reads_as_pyyaml_reads_it(text):
    assert read_yaml(text) == yaml.safe_load(text)


def test_a_date_is_text():
    assert read_yaml("a: 2024-01-01\nb: 2024-13-45") == {"a": "2024-01-01", "b": "2024-13-45"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"^line 3: the key 'a' a second time$"),
        ("a:\n  {b: 1, b: 2}", r"^line 2: the key 'b' a second time$"),
        ("1: 2", r"^line 1: the key 1, which is a int and no text"),
        ("yes: 2", r"^line 1: the key True, which is a bool"),
        ("? [a]\n: 1", r"^line 1: a key that is a list$"),
        ("a: !!set {b}", r"^line 1: the tag .*:set$"),
        ("a: !!python/name:os.system x", r"^line 1: the tag .*python/name:os\.system$"),
        ("a: !!int 5", r"^line 1: the tag .*:int$"),
        ("a\n---\nb", r"^line 2: a second document$"),
        ("a: " + "9" * 5000, r"^line 1: the number 9{20}\.\.\. of 5000 characters"),
        (f"a: {2**63}", r"^line 1: 9223372036854775808, a number beyond 64 bits"),
        ("a: 0x_", r"^line 1: 0x_, which is no number"),
        ('a: "\\0"', r"^line 1: text with NUL or half a character"),
        ("a: &a [*a]", r"^line 1: 'a' contains itself$"),
        ("a: *b", r"^line 1: no anchor 'b' before$"),
        ("<<: 5", r"^line 1: << with something that is no mapping$"),
        ("[" * (DEEPEST + 1), rf"^line 1: more than {DEEPEST} levels$"),
        ("[" * 200_000, r"exceeded maximum nesting depth|more than \d+ levels"),
        (BOMB, rf"^line 6: more than {LARGEST} characters, aliases counted as what they stand for$"),
        ("a: &a " + "x" * 1000 + "\nb: [" + "*a," * 2000 + "]", rf"^line 2: more than {LARGEST} characters"),
        ("x" * (LARGEST + 1), rf"^{LARGEST + 1} characters, more than {LARGEST}$"),
        ("a: [", r"^while parsing a flow node "),
    ],
    ids=lambda value: value[:30],
)
def test_what_surprises_or_grows_is_refused_with_its_line(text, message):
    with pytest.raises(YAMLError, match=message):
        read_yaml(text)


def test_an_anchor_that_is_not_used_again_too_often_is_allowed():
    assert read_yaml("a: &a [x, y]\nb: [*a, *a]")["b"] == [["x", "y"], ["x", "y"]]
