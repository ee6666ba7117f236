"""The datamodule of whole pictures."""

from collections.abc import Sequence
from typing import Literal

from torch.utils.data import Dataset

from dfd.core.manifest import Manifest
from dfd.core.records import InputSpec, Record
from dfd.data.augment import Augment
from dfd.data.datamodule import FaceDataModule
from dfd.data.images import ImageViews
from dfd.data.views import Views

Classes = Literal["label", "method"]


class ImageDataModule(FaceDataModule):
    """Pictures of a manifest as the network wants them; `classes=method` tells methods apart, not real and fake."""

    def __init__(
        self,
        manifest: Manifest,
        input: InputSpec,
        augment: Augment | None = None,
        batch_size: int = 32,
        visits: int = 1,
        balance: Literal["balanced", "natural"] = "balanced",
        workers: int | Literal["auto"] = "auto",
        seed: int = 0,
        classes: Classes = "label",
    ) -> None:
        super().__init__(
            manifest,
            input,
            augment,
            batch_size,
            eval_frames=1,
            visits=visits,
            balance=balance,
            workers=workers,
            seed=seed,
        )
        self.names = sorted({record.method for record in manifest.records}) if classes == "method" else ["real", "fake"]
        self.classes = classes

    def targets(self, records: Sequence[Record]) -> list[int]:
        """Return the class of every record: its label, or the place of its method among the names, else -1."""
        if self.classes == "label":
            return [record.label for record in records]
        return [self.names.index(record.method) if record.method in self.names else -1 for record in records]

    def views(self, records: Sequence[Record], count: int, augment: Augment | None = None) -> Dataset[Views]:
        """Return the dataset of these records; every one has one view."""
        return ImageViews(records, self.input, augment, self.targets(records))
