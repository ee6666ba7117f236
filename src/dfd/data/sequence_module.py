"""Features over time of a manifest, in batches."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from dfd.core.errors import DfdError
from dfd.core.manifest import Manifest
from dfd.core.records import Record, SequenceInput
from dfd.data.datamodule import RecordDataModule
from dfd.data.features import Source, open_streams
from dfd.data.sampler import Balance
from dfd.data.sequences import SequenceAugment, SequenceViews, duration, statistics


class SequenceDataModule(RecordDataModule):
    """Features over time of a manifest, as a network of kind `sequence` asks for them.

    The arguments of `RecordDataModule`, and

    Args:
        crop, noise, drop: what is random about a clip in training, see `SequenceAugment`.
        augment: of pixels, which there are none of here: left alone.
    """

    kinds = ("sequence",)

    def __init__(
        self,
        manifest: Manifest,
        input: SequenceInput,
        batch_size: int = 16,
        visits: int = 1,
        balance: Balance = "stratified",
        workers: int | Literal["auto"] = "auto",
        seed: int = 0,
        prefetch: int = 2,
        crop: float = 0.9,
        noise: float = 0.0,
        drop: float = 0.0,
        augment: object = None,
    ) -> None:
        if input.kind != "sequence":
            raise DfdError(f"this dataset holds features over time; the network asks for {input.kind!r}")
        super().__init__(manifest, input, batch_size, visits, balance, workers, seed, prefetch)
        self.change = SequenceAugment(crop, noise, drop)

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The streams that the network asks for."""
        names = [stream.name for stream in self.input.streams]
        return open_streams(self.manifest.folder, self.manifest.records[0], names)

    def training_dataset(self, records: Sequence[Record]) -> SequenceViews:
        """Return random windows of these records."""
        return SequenceViews(records, self.sources, self.input, self.change)

    def evaluation_dataset(self, records: Sequence[Record]) -> SequenceViews:
        """Return the windows that cover these records."""
        return SequenceViews(records, self.sources, self.input)

    def seconds(self, record: Record) -> float:
        """Return how long a record is, by its features."""
        return duration(record, self.sources)

    def statistics(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return mean and standard deviation of every stream over the training records."""
        return statistics(self.records("train"), self.sources)
