"""What is strange is shown as the known is; what the user types goes where it belongs."""

from copy import deepcopy
from types import SimpleNamespace

import pytest

from dfd.cli.invocation import Invocation
from dfd.core.manifest import Manifest
from dfd.core.records import Record
from dfd.preprocess.dataset import Prepared
from dfd.runs import ood_data

LOADER = {"view_margin": 0.1, "align": True, "eval_frames": 4, "workers": 2}
KNOWN = {"name": "ffpp", "root": None, "index": None, "crops": None, "loader": LOADER}
OTHER = KNOWN | {"name": "mine", "loader": {"view_margin": None, "align": False, "eval_frames": 16, "workers": 7}}


@pytest.fixture
def sides(monkeypatch, tmp_path):
    """A function from what was typed to both sides, without any data."""

    def prepare(node, data_dir, allow, crops=None):
        records = [Record("a", node["name"], "test", 0, "a.mp4", "a")]
        return Prepared(SimpleNamespace(tag=node["name"]), Manifest(tuple(records), tmp_path), [], [], [])

    def of(given, *typed):
        return ood_data.id_and_ood(KNOWN, tmp_path, (), Invocation(typed).values, given and deepcopy(given))

    monkeypatch.setattr(ood_data, "prepare_data", prepare)
    return of


def test_strange_faces_are_shown_as_the_known_ones(sides):
    both = sides(OTHER, "data=mine", "data.loader.workers=7")
    assert both.ood_node["loader"] == LOADER | {"workers": 7}
    assert both.id_node["loader"] == LOADER | {"workers": 7}
    assert both.ood_node["name"] == "mine"


def test_what_is_typed_without_a_dataset_is_of_the_run_s_own(sides):
    both = sides(None, "data.loader.workers=0", "data.root=/elsewhere")
    for node in (both.id_node, both.ood_node):
        assert node["loader"]["workers"] == 0
        assert node["root"] == "/elsewhere"


def test_another_dataset_s_place_is_not_the_run_s(sides):
    both = sides(OTHER | {"root": "/elsewhere"}, "data=mine", "data.root=/elsewhere")
    assert both.id_node["root"] is None
    assert both.ood_node["root"] == "/elsewhere"
