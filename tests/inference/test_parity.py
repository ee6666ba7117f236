"""The engine looks at crops as evaluation does: the same views, and the same score of each, to 1e-6."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from dfd.core.card import Card, Looking, Showing
from dfd.core.manifest import Manifest
from dfd.data.crops import CropReader, Crops, write_crops
from dfd.data.datamodule import FaceDataModule
from dfd.inference.engine import Engine, Member
from dfd.inference.verdict import Judging
from dfd.inference.views import ViewOptions, file_views
from dfd.models.meso import MesoInception4
from dfd.models.tall import Tall
from dfd.preprocess.crop import CropOptions
from dfd.training.run_split import score_split

TRAINER = {
    "_target_": "dfd.training.trainer.Trainer", "accelerator": "cpu", "devices": 1, "precision": "32-true",
    "enable_model_summary": False,
}  # fmt: skip


def meso():
    return MesoInception4(32, logits=1).eval()


def tall():
    return Tall("micro", pretrained=False).eval()


def evaluated(network, noise, looking):
    """Return the score of every (video, t) of the test split, as evaluation gives it."""
    showing = looking.showing
    data = FaceDataModule(
        noise, network.input, batch_size=2, eval_frames=looking.frames or 1, workers=0,
        view_margin=showing.margin, align=showing.align, sampling=looking.sampling,
    )  # fmt: skip
    rows = score_split(network, data, "test", TRAINER)
    return dict(zip(zip(rows.video.tolist(), rows.t.tolist(), strict=True), rows.score, strict=True))


def looked_at(networks, noise, looking, person=0):
    """Return the mean score of every (video, t) of one person, as the engine gives it for the same crops."""
    members = [
        Member(network, Card({}), ViewOptions(network.input, CropOptions(), looking), Path("run"))
        for network in networks
    ]
    engine, found = Engine(members, Judging()), {}
    for number, record in enumerate(noise.split("test")):
        with CropReader(noise.folder / record.assets["crops"]) as reader:
            images = reader.read(range(len(reader.table["t"])))
            crops = Crops(reader.table, dict(enumerate(images)))
        seen = [file_views(crops, member.options)._replace(run=run) for run, member in enumerate(members)]
        result = engine.decide(Path(record.path), seen)
        score = np.mean([views.score for views in result.views], 0)
        first = result.views[0]
        rows = zip(first.t.tolist(), score, first.track.tolist(), strict=True)
        found |= {(number, t): value for t, value, track in rows if track == person}
    return found


@pytest.mark.parametrize(
    ("make", "looking"),
    [
        (meso, Looking(frames=4)),
        (meso, Looking(Showing(margin=0.1, align=True), frames=3)),
        (tall, Looking(sampling="official", frames=None)),
        (tall, Looking(frames=None)),
    ],
    ids=["image", "aligned", "clip, official sampling", "clip"],
)
def test_the_engine_scores_what_evaluation_scores(noise, make, looking):
    torch.manual_seed(0)
    network = make()
    expected, found = evaluated(network, noise, looking), looked_at([network], noise, looking)
    assert found.keys() == expected.keys()
    assert max(abs(found[key] - expected[key]) for key in expected) < 1e-6
    assert len(set(expected.values())) > 1


def test_an_ensemble_is_the_mean_of_its_runs(noise):
    torch.manual_seed(0)
    looking, networks = Looking(frames=4), [meso(), meso()]
    each = [evaluated(network, noise, looking) for network in networks]
    found = looked_at(networks, noise, looking)
    assert max(abs(found[key] - (each[0][key] + each[1][key]) / 2) for key in found) < 1e-6


@pytest.fixture
def crowd(noise, tmp_path):
    """The test split of the noise with a second person in every picture."""
    records = []
    for record in noise.split("test"):
        with CropReader(noise.folder / record.assets["crops"]) as reader:
            images, rows = reader.read(range(len(reader.table["t"]))), len(reader.table["t"])
            table = {name: np.repeat(column, 2) for name, column in reader.table.items()}
        table["track"] = np.tile([0, 1], rows)
        shown = {
            2 * i + person: image if person == 0 else 255 - image for i, image in enumerate(images) for person in (0, 1)
        }
        write_crops(tmp_path / record.assets["crops"], Crops(table, shown))
        records.append(record)
    return Manifest(tuple(records), tmp_path)


@pytest.mark.parametrize(("make", "looking"), [(meso, Looking(frames=4)), (tall, Looking(frames=None))])
def test_two_people_in_a_picture(crowd, make, looking):
    torch.manual_seed(0)
    network = make()
    expected, found = evaluated(network, crowd, looking), looked_at([network], crowd, looking)  # of the main person
    assert found.keys() == expected.keys()
    assert max(abs(found[key] - expected[key]) for key in expected) < 1e-6
    second = looked_at([network], crowd, looking, person=1)
    assert second.keys() == expected.keys()
    assert all(second[key] != expected[key] for key in expected)


def test_the_card_says_how_evaluation_looked():
    looking = Looking(Showing(0.1, True), "official", None, "max", "mean", "bf16-mixed")
    card = Card({"_target_": "x"}, crops=asdict(CropOptions()), looking=looking)
    again = Card.of(card.to_plain())
    assert again.looking == looking
    assert ViewOptions.of(again, meso().input).looking == looking
