"""Manifests to batches: order, balance, workers and resumption in one base, the views of face crops on top of it."""

import atexit
import functools
import multiprocessing
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from dfd.core.card import Repair, Showing
from dfd.core.cores import cores
from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import Input, InputSpec, Record
from dfd.data.augment import Augment
from dfd.data.collate import collate
from dfd.data.outliers import with_changes
from dfd.data.pairing import Pairing, paired
from dfd.data.sampler import Balance, EvalSampler, TrainSampler
from dfd.data.sampling import Sampling
from dfd.data.views import FaceViews, Views


class RecordDataModule(pl.LightningDataModule):
    """Batches from the records of a manifest; kinds of input differ in the `Dataset` that they give.

    A dataset is indexed by a `Visit` and returns the views of one record as a dictionary of arrays whose first
    dimension is the views (`collate` says how they join), with `t`, `label` and `video` among them. The order of
    training and every random draw are functions of seed, epoch and rank, so that a run can be resumed exactly.

    Args:
        manifest: the records, with the folder that their assets' paths start from.
        input: what the network asks for.
        batch_size: records per rank.
        visits: how often a record is visited in one epoch of training, on average.
        balance: of the classes, see `sampler.epoch_order`.
        workers: processes that read; "auto" shares the cores among the processes that train.
        seed: of order and augmentation.
        prefetch: batches that each worker keeps ready.
    """

    kinds: ClassVar[tuple[str, ...]] = ()  # of inputs that it can give; () may be any

    def __init__(
        self,
        manifest: Manifest,
        input: Input,
        batch_size: int = 32,
        visits: int = 1,
        balance: Balance = "balanced",
        workers: int | Literal["auto"] = "auto",
        seed: int = 0,
        prefetch: int = 2,
    ) -> None:
        super().__init__()
        self.manifest = manifest
        self.input: Any = input
        self.batch_size = batch_size
        self.visits = visits
        self.balance: Balance = balance
        self.workers = workers
        self.seed = seed
        self.prefetch = prefetch
        self._resume: dict[str, int] = {}

    def training_dataset(self, records: Sequence[Record]) -> Dataset[Any]:
        """Return random, augmented views of these records."""
        raise NotImplementedError

    def evaluation_dataset(self, records: Sequence[Record]) -> Dataset[Any]:
        """Return the fixed views by which these records are judged."""
        raise NotImplementedError

    @property
    def eval_batch_size(self) -> int:
        """Records per batch and rank in evaluation, where a record may have more views than in training."""
        return self.batch_size

    def records(self, split: str) -> tuple[Record, ...]:
        """Return the records of a split, in the order that the `video` numbers of its batches follow."""
        return self.manifest.split(split)

    def targets(self, records: Sequence[Record]) -> list[int]:
        """Return the class of every record."""
        return [record.label for record in records]

    def train_dataloader(self) -> DataLoader:
        """Random, augmented views in an order that only seed and epoch decide."""
        records = self.records("train")
        rank, world = self._rank_and_world()
        sampler = TrainSampler(self.targets(records), self.visits, self.balance, self.seed, rank, world)
        if self._resume:  # here, since workers fetch ahead before Lightning sets the epoch
            sampler.set_epoch(self._resume["epoch"])
            sampler.skip_visits(self._resume["epoch"], self._resume["done"] * self.batch_size)
        dataset = self.training_dataset(records)
        return self._loader(dataset, sampler, self.batch_size, drop_last=len(sampler) >= self.batch_size)

    def val_dataloader(self) -> DataLoader:
        """Fixed views of the validation split."""
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader:
        """Fixed views of the test split."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> DataLoader:
        """Fixed views of any split."""
        records = self.records(split)
        sampler = EvalSampler(len(records), *self._rank_and_world())
        return self._loader(self.evaluation_dataset(records), sampler, self.eval_batch_size)

    def state_dict(self) -> dict[str, int]:
        """Return how far into its epoch training is, so that a resumed run continues with the next batch."""
        if self.trainer is None or not self.trainer.training:
            return {}
        epochs: Any = self.trainer.fit_loop.epoch_progress.current
        batches: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        between = epochs.processed > epochs.completed  # an epoch has just ended
        return {"epoch": epochs.processed, "done": 0 if between else batches.processed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Note where to continue, if the checkpoint says so in this form."""
        self._resume = state_dict if "done" in state_dict else {}

    def _loader(self, dataset: Dataset[Any], sampler: Any, batch_size: int, drop_last: bool = False) -> DataLoader:
        workers = default_workers(self._local_processes()) if self.workers == "auto" else self.workers
        if workers:
            # here, and not in the workers: a fork of a process whose OpenCV has threads would wait for them forever
            cv2.setNumThreads(1)
            _kill_workers_at_exit()
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            collate_fn=collate,
            num_workers=workers,
            prefetch_factor=self.prefetch if workers else None,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            worker_init_fn=_ignore_signals,
            drop_last=drop_last,
            # a generator of its own: making an iterator must not advance the global one
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _rank_and_world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _local_processes(self) -> int:
        return self.trainer.num_devices if self.trainer else 1


class FaceDataModule(RecordDataModule):
    """Face crops of a manifest, as an image or a clip network asks for them.

    Pixels stay uint8 until they are on the device. The arguments of `RecordDataModule`, and

    Args:
        augment: what changes the pixels of training views.
        eval_frames: frames spread over each video that an image network sees in evaluation.
        visits: in training an image network sees one random frame per visit; a clip network sees its `clips` at once,
            and visits should be 1.
        view_margin: how much of a stored crop is shown around the face.
        align: whether faces are turned upright.
        actors: whose face is shown in training, the main one's or that of any person kept.
        repair: what is done with faces of a fake that their mask shows untouched; see `views.Showing`.
        sampling: how clips are drawn; "official" as TALL's code does.
        cache: a folder for crops as they are shown.
        pairing: train on half of the reals and the fakes made of them, or of the other half; see `pairing.paired`.
    """

    kinds = ("image", "clip")

    def __init__(
        self,
        manifest: Manifest,
        input: InputSpec,
        augment: Augment | None = None,
        batch_size: int = 32,
        eval_frames: int = 16,
        visits: int = 8,
        balance: Balance = "balanced",
        workers: int | Literal["auto"] = "auto",
        seed: int = 0,
        view_margin: float | None = None,
        align: bool = False,
        actors: Literal["main", "any"] = "main",
        repair: Repair = "none",
        sampling: Sampling = "even",
        prefetch: int = 2,
        cache: str | None = None,
        pairing: Pairing = "all",
    ) -> None:
        if pairing not in get_args(Pairing):
            raise DfdError(f"data.loader.pairing={pairing}: take one of {', '.join(get_args(Pairing))}")
        if input.kind not in ("image", "clip"):
            raise DfdError(f"this dataset holds faces, shown as image or clip; the network asks for {input.kind!r}")
        super().__init__(manifest, input, batch_size, visits, balance, workers, seed, prefetch)
        self.showing = Showing(view_margin, align, actors, repair)
        self.sampling: Sampling = sampling
        self.augment = augment
        self.eval_views = eval_frames if input.kind == "image" else input.clips
        self.train_views = 1 if input.kind == "image" else input.clips
        self.cache = Path(cache).expanduser() if cache else None
        self.pairing: Pairing = pairing

    def records(self, split: str) -> tuple[Record, ...]:
        """Return the records of a split; training may be on a part of them."""
        records = super().records(split)
        return paired(records, self.pairing, self.seed) if split == "train" else records

    def training_dataset(self, records: Sequence[Record]) -> Dataset[Views]:
        """Return random, augmented views of these records."""
        return self.dataset(records, self.train_views, self.augment)

    def evaluation_dataset(self, records: Sequence[Record]) -> Dataset[Views]:
        """Return frames or clips spread over each record."""
        return self.dataset(records, self.eval_views)

    @property
    def eval_batch_size(self) -> int:
        """As many records as give about as many views as a batch of training has."""
        return max(1, self.batch_size * self.train_views // self.eval_views)

    def view(self, split: str, video: int, t: float) -> np.ndarray:
        """Return one evaluation view for a picture: all of its frames, (T, 3, S, S) uint8; an image has one."""
        views = self.dataset(self.records(split), self.eval_views)[video]
        pixels = views["pixels"][int(np.argmin(np.abs(views["t"] - t)))]
        return pixels[None] if self.input.kind == "image" else pixels

    def dataset(self, records: Sequence[Record], count: int, augment: Augment | None = None) -> Dataset[Views]:
        """Return `count` views of every record, augmented or fixed; synthetic outliers are made of them here."""
        return with_changes(self.views(records, count, augment), records)

    def views(self, records: Sequence[Record], count: int, augment: Augment | None = None) -> Dataset[Views]:
        """Return the views without synthetic outliers."""
        folder = self.manifest.folder
        return FaceViews(records, folder, self.input, count, augment, self.showing, self.sampling, self.cache)


@functools.cache
def _kill_workers_at_exit() -> None:
    """Kill workers when this process ends: they ignore the SIGTERM that Python sends, and would be waited for."""

    def kill() -> None:
        for child in multiprocessing.active_children():
            if child.daemon:
                child.kill()

    atexit.register(kill)


def _ignore_signals(worker: int) -> None:
    """Ignore Ctrl-C and SIGTERM, which reach all processes: the main one ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def default_workers(processes: int = 1) -> int:
    """Share the cores among the processes that train here, less one core for each process; 0 to 8 workers."""
    return max(0, min(8, cores() // processes - 1))
