import functools

import pytest

from dfd.core.build import build, check, locate
from dfd.core.errors import DfdError

SPEC = "dfd.core.records.InputSpec"


def test_builds_nested_trees_and_partials():
    made = build({"a": {"_target_": SPEC, "size": 64}, "b": [1, {"_target_": SPEC, "_partial_": True, "size": 32}]})
    assert made["a"].size == 64
    assert isinstance(made["b"][1], functools.partial)
    assert made["b"][1](kind="clip").size == 32


def test_only_the_allow_list_is_imported():
    with pytest.raises(DfdError, match=r"os\.system may not be built here"):
        build({"_target_": "os.system", "command": "true"})


@pytest.mark.parametrize(
    ("path", "message"), [("dfd.nowhere.X", "cannot import"), ("dfd.core.records.Recrod", "'Record'")]
)
def test_a_wrong_path_is_named(path, message):
    with pytest.raises(DfdError, match=message):
        locate(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"siez": 3}, r"model\.x: InputSpec has no argument 'siez' \(did you mean 'size'\?\)"),
        ({"size": "abc"}, r"model\.x\.size='abc': expected int, got str"),
        ({"size": True}, "expected int, got bool"),
        ({"kind": "movie"}, "expected Literal"),
    ],
)
def test_check_names_place_and_cause(arguments, message):
    with pytest.raises(DfdError, match=message):
        check({"x": {"_target_": SPEC, **arguments}}, where="model")


def test_check_lets_right_values_through():
    check({"x": {"_target_": SPEC, "size": 3, "kind": "clip", "mean": [0.5, 0.5, 0.5]}})
