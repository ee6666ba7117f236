"""Lips and voice of real videos: which belong together, by InfoNCE in the two stages of the paper."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dfd.core.errors import DfdError
from dfd.core.tensors import Output, TalkBatch
from dfd.metrics.delays import accuracy
from dfd.training.scoring import DelayRows, TalkScoring


class Synchrony(TalkScoring):
    """Feng et al., CVPR 2023, section 3.1: negatives are other videos at first, then other times of the same video.

    The stage follows from the epoch alone, so that a stopped run goes on in the stage where it was. Validation looks
    at every delay: `val/within1` is the share of windows whose likeliest delay is off by at most one frame.

    Args:
        args: those of `Trained`.
        first_epochs: epochs of the first stage.
        positions: windows of a view that are compared with all other videos of the batch, in the first stage.
        negatives: other times that each window is compared with, in the second.
        kwargs: those of `Trained`.
    """

    def __init__(
        self,
        *args: Any,
        first_epochs: int = 1,
        positions: int = 4,
        negatives: int = 11,
        augment: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if augment is not None:
            raise DfdError("augment.on_device: pictures of talking faces are varied before they reach the device")
        self.first_epochs, self.positions, self.negatives = first_epochs, positions, negatives

    def on_fit_start(self) -> None:
        """Refuse fakes: what a forger does must not be learned as normal."""
        super().on_fit_start()
        data: Any = getattr(self.trainer, "datamodule", None)
        if hasattr(data, "refuse_fakes"):
            data.refuse_fakes("synchrony is learned")

    def training_step(self, batch: TalkBatch, batch_idx: int) -> Tensor:
        """Compare what the stage compares."""
        visual, audio = self.network.see(batch["pixels"]), self.network.hear(batch["sound"])
        first = self.current_epoch < self.first_epochs
        loss = self.other_videos(visual, audio) if first else self.other_times(visual, audio)
        if not torch.isfinite(loss):
            raise DfdError(f"the training loss became {loss.item()} at step {self.global_step}: lower optimizer.lr")
        self.log("train/loss_step", loss, on_step=True, on_epoch=False, prog_bar=True)
        name = "train/loss"
        self.log(name, loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch["video"]))
        return loss

    def other_videos(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Return InfoNCE over the videos of a batch, at a few random windows."""
        batch, windows = visual.shape[:2]
        if batch < 2:
            raise DfdError("data.loader.batch_size=1: the first stage compares a video with the others of its batch")
        place = torch.randint(windows, (batch, self.positions), device=visual.device)
        row = torch.arange(batch, device=visual.device)[:, None]
        heard = audio[row, place + self.network.input.margin].transpose(0, 1)  # (P, B, 4, D)
        candidates = heard[None].expand(batch, -1, -1, -1, -1)  # each video meets all
        logits = self.network.compare(visual[row, place], candidates)
        truth = row.expand(-1, self.positions)
        return F.cross_entropy(logits.float().flatten(0, 1), truth.flatten())

    def other_times(self, visual: Tensor, audio: Tensor) -> Tensor:
        """Return InfoNCE over times of the same video: the right one and random others within reach."""
        around = self.network.around(visual, audio)
        delays, reach = around.shape[2], self.network.reach
        order = torch.rand(*around.shape[:2], delays, device=around.device)
        order[..., reach] = -1.0  # the right time comes first
        chosen = order.argsort(2)[..., : 1 + min(self.negatives, delays - 1)]
        heard = around.gather(2, chosen[..., None, None].expand(-1, -1, -1, *around.shape[3:]))
        logits = self.network.compare(visual, heard).float().flatten(0, 1)
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))

    def loss(self, output: Output, batch: TalkBatch) -> Tensor:
        """Return the loss over all delays, as validation logs it."""
        logits = output.logits.float()
        inside = torch.arange(logits.shape[1], device=logits.device) + self.network.window <= batch["length"][:, None]
        chosen = logits[inside]
        truth = torch.full((len(chosen),), self.network.reach, dtype=torch.long, device=logits.device)
        return F.cross_entropy(chosen, truth)

    def judge(self, rows: DelayRows) -> dict[str, float]:
        """Return how exact the likeliest delay is, over all windows of real validation videos."""
        data: Any = getattr(self.trainer, "datamodule", None)
        labels = data.targets(data.records("val")) if hasattr(data, "targets") else None
        real = [labels is None or labels[video] == 0 for video in rows.video]
        return {f"val/{name}": value for name, value in accuracy(rows.probability[real]).items()}
