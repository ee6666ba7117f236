"""Manifests to batches of talking faces, and to the sequences that a frozen network has made of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from torch.utils.data import DataLoader, Dataset

from dfd.core.card import Showing
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import FAKE, Record, TalkInput
from dfd.data.augment import Augment
from dfd.data.datamodule import RecordDataModule
from dfd.data.datasets.layout import carve
from dfd.data.sampler import EvalSampler
from dfd.data.sampling import sliding
from dfd.data.talk import TalkDataset, TalkViews, varied
from dfd.data.views import Visit

PIECES = 4  # of a sequence in one visit
Tape = dict[str, np.ndarray]  # what a network made of a whole clip: arrays with a row per window


class TalkDataModule(RecordDataModule):
    """Talking faces of a manifest. Trained on are real ones alone, unless `train_methods` says otherwise.

    `train_on: val` trains on people that a base, which was trained on the train split, has not seen: of the people of
    the validation split, `fit_share` are trained on and the others validate.

    Args:
        manifest: the records, with crops of every frame and with sound.
        input: what the network asks for.
        augment: what changes the pixels of training views.
        batch_size: videos per rank.
        visits: of a video in one epoch.
        workers: processes that read.
        seed: of order and augmentation.
        prefetch: batches that each worker keeps ready.
        view_margin: how much of a stored crop is shown around the face.
        align: whether faces are turned upright.
        train_methods: methods of the train split that are trained on; null: all of it.
        eval_methods: likewise for validation and test.
        train_on: the split that is trained on.
        fit_share: of the people of the validation split, with `train_on: val`.
        vary_sound: louder, softer, duller and noisier sound in training.
        first_only: one view of a video, as the published code does.
        shuffle_sound: evaluate with the sound of other videos: a control, in which nothing can be told apart.
        other_pictures: options of image networks, which mean nothing here.
    """

    kinds = ("talk",)

    def __init__(
        self,
        manifest: Manifest,
        input: TalkInput,
        augment: Augment | None = None,
        batch_size: int = 8,
        visits: int = 1,
        workers: int | Literal["auto"] = "auto",
        seed: int = 0,
        prefetch: int = 2,
        view_margin: float | None = None,
        align: bool = False,
        train_methods: Sequence[str] | None = ("real",),
        eval_methods: Sequence[str] | None = None,
        train_on: Literal["train", "val"] = "train",
        fit_share: float = 0.6,
        vary_sound: bool = True,
        first_only: bool = False,
        shuffle_sound: bool = False,
        **other_pictures: Any,
    ) -> None:
        if not isinstance(input, TalkInput):
            raise DfdError(
                f"this data shows talking faces; the network asks for {input.kind!r}: choose another data= or model="
            )
        super().__init__(manifest, input, batch_size, visits, "natural", workers, seed, prefetch)
        self.augment, self.showing = augment, Showing(view_margin, align)
        self.train_methods, self.eval_methods = train_methods, eval_methods
        self.train_on, self.fit_share = train_on, fit_share
        self.vary_sound, self.first_only, self.shuffle_sound = vary_sound, first_only, shuffle_sound
        self.tapes: dict[str, list[list[Tape]]] = {}  # by split and record: one for each time it was watched

    @property
    def windows(self) -> int:
        """How many windows a view has."""
        return self.input.frames - self.input.window + 1

    def records(self, split: str) -> tuple[Record, ...]:
        """Return the records of a split, in the order that the `video` numbers of its batches follow."""
        if split == "test" or self.train_on == "train":
            records: Sequence[Record] = self.manifest.split(split)
        else:
            whole = self.manifest.split("val")
            fitted = carve([record.group for record in whole], self.fit_share)
            records = [record for record in whole if (record.group in fitted) == (split == "train")]
        methods = self.train_methods if split == "train" else self.eval_methods
        chosen = tuple(record for record in records if methods is None or record.method in methods)
        if not chosen:
            have = ", ".join(sorted({record.method for record in records})) or "nothing"
            raise DfdError(
                f"no record of the {split} split has one of the methods {list(methods or ())}; there are {have}"
            )
        return chosen

    def training_dataset(self, records: Sequence[Record]) -> Dataset[Any]:
        """Return random, varied views; or random pieces of what a frozen network made of each record."""
        if "train" in self.tapes:
            return TapeDataset(records, self.tapes["train"], self.windows)
        folder = self.manifest.folder
        return TalkDataset(records, folder, self.input, self.augment, self.showing, vary_sound=self.vary_sound)

    def evaluation_dataset(self, records: Sequence[Record]) -> Dataset[TalkViews]:
        """Return views that cover each record."""
        how = {"first_only": self.first_only, "shuffle_sound": self.shuffle_sound}
        return TalkDataset(records, self.manifest.folder, self.input, None, self.showing, **how)

    @property
    def eval_batch_size(self) -> int:
        """A record has several views in evaluation."""
        return max(1, self.batch_size // 4)

    def val_dataloader(self) -> DataLoader:
        """Fixed views of the validation split, or what a frozen network made of it."""
        if "val" not in self.tapes:
            return super().val_dataloader()
        records = self.records("val")
        dataset = TapeDataset(records, self.tapes["val"], self.windows)
        return self._loader(dataset, EvalSampler(len(records), *self._rank_and_world()), self.batch_size)

    def view(self, split: str, video: int, t: float) -> np.ndarray:
        """Return one evaluation view for a picture: its frames (T, 3, S, S) uint8."""
        views = self.evaluation_dataset(self.records(split))[video]
        return views["pixels"][int(np.argmin(np.abs(views["t"] - t)))]

    def encode(self, split: str, function: Callable[[TalkDataset], list[Tape]], passes: int = 1) -> None:
        """Keep what `function` makes of every record of a split, to train on that instead of on pictures.

        With several passes, those after the first see varied sound.
        """
        records, folder = self.records(split), self.manifest.folder
        whole = replace(self.input, stride=self.windows)
        plain = TalkDataset(records, folder, whole, None, self.showing)
        others = [_Varied(records, folder, whole, None, self.showing, seed=self.seed + n) for n in range(1, passes)]
        self.tapes[split] = [list(takes) for takes in zip(*map(function, (plain, *others)), strict=True)]

    def refuse_fakes(self, why: str) -> None:
        """Raise an error that names a fake in the training split."""
        fakes = [record for record in self.records("train") if record.label == FAKE]
        if fakes:
            raise DfdError(
                f"{len(fakes)} fakes in the training split, the first {fakes[0].id} ({fakes[0].method}): {why} from "
                "real videos only; leave them out with data.loader.train_methods=[real]"
            )


class _Varied(TalkDataset):
    """The views of evaluation with sound that is varied, the same way for every view of a record."""

    def __init__(self, *args: Any, seed: int) -> None:
        super().__init__(*args)
        self.seed = seed

    def __getitem__(self, visit: Visit | int) -> TalkViews:
        views = super().__getitem__(visit)
        seeds = np.random.SeedSequence((self.seed, views["video"]))
        return TalkViews(
            **{**views, "sound": np.stack([varied(w, np.random.default_rng(seeds)) for w in views["sound"]])}
        )


class TapeDataset(Dataset[dict[str, Any]]):
    """Pieces of sequences, `steps` windows long: random ones of a visit with a seed, else all of a sequence."""

    def __init__(self, records: Sequence[Record], tapes: Sequence[Sequence[Tape]], steps: int) -> None:
        self.records, self.tapes, self.steps = tuple(records), tapes, steps

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, visit: Visit | int) -> dict[str, Any]:
        video, seed = visit if isinstance(visit, tuple) else (visit, None)
        takes, record = self.tapes[video], self.records[video]
        if seed is None:
            tape, count = takes[0], len(takes[0]["t"])
            starts = sliding(count, self.steps, self.steps)
        else:
            generator = np.random.default_rng(seed)
            tape = takes[int(generator.integers(len(takes)))]
            count = len(tape["t"])
            starts = generator.integers(0, max(1, count - self.steps + 1), PIECES)
        rows = (starts[:, None] + np.arange(self.steps)).clip(0, count - 1)
        valid = starts[:, None] + np.arange(self.steps) < count
        pieces = {name: values[rows] for name, values in tape.items()}
        t = pieces["t"][:, 0]
        return {
            **pieces,
            "t": t,
            "valid": valid,
            "draw": np.zeros(len(t), np.int64),
            "label": record.label,
            "video": video,
        }
