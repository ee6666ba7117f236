"""Out of distribution: what a run knows and what it does not, every detector fitted, scored and reported."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dfd.core.build import allowed_networks
from dfd.core.resources import environment
from dfd.core.run_folder import command_line, log_access, write_facts

if TYPE_CHECKING:
    from dfd.inference.ood import IdOodData
    from dfd.models.checkpoint import Loaded

ORACLE = "oracle outliers: the sources that are tested on were seen in training. This is not open-set detection"


@dataclass(frozen=True)
class OodTask:
    """What is asked of out-of-distribution detectors of a run.

    Args:
        posthoc: names of detectors, or all.
        options: the plain `ood` node.
        trainer: the plain `trainer` node, for the device.
        plugins: packages whose networks may be built.
        output: folder of the report; None: in the run's.
        config: the configuration as text, for the report.
    """

    posthoc: Any
    options: Mapping[str, Any]
    trainer: Mapping[str, Any]
    plugins: Sequence[str] = ()
    output: str | None = None
    config: str = ""

    @classmethod
    def of(cls, plain: Mapping[str, Any], config: str) -> "OodTask":
        """Take what concerns these detectors from a command's plain configuration."""
        output = plain.get("output")
        return cls(plain["posthoc"], plain["ood"], plain["trainer"], plain["plugins"], output, config)


def chosen_detectors(posthoc: Any, options: Mapping[str, Any]) -> list[str]:
    """Return the detectors that `posthoc=` names; a misspelt one, or a wrong option, is an error before all work."""
    from dfd.evaluation.ood.evaluate import check_options
    from dfd.posthoc.zoo import detectors

    check_options(options)
    return detectors(posthoc)


def report_ood(loaded: "Loaded", data: "IdOodData", task: OodTask) -> float:
    """Fit, tune, score and report detectors on a run; return the AUROC of the lead against all that is unknown."""
    from dfd.evaluation.ood.report import ood_table, write_ood_report
    from dfd.inference.observe import linear_head
    from dfd.inference.ood import (
        FOLDER,
        choose_lead,
        extreme_views,
        fit_all,
        make_banks,
        make_roles,
        write_scores_and_detectors,
    )
    from dfd.models.checkpoint import load_network
    from dfd.models.devices import trainer_device

    started = time.time()
    options = task.options
    names = chosen_detectors(task.posthoc, options)
    device = trainer_device(task.trainer)
    network = loaded.network.to(device)
    allow = allowed_networks(task.plugins)
    others = [load_network(Path(other), allow).network.to(device) for other in options["ensemble"]]
    roles = make_roles(data, network, options)
    banks = make_banks(network, roles, names, others)
    head = linear_head(network, banks["fit"].features.shape[1])
    fitted, left_out = fit_all(names, banks, head, options["id_kept"])
    lead = choose_lead(fitted, banks)
    run = loaded.path.parents[1]
    folder = Path(task.output or run / FOLDER / data.ood.source.tag)
    write_scores_and_detectors(folder, run, fitted, banks, roles, options["keep_banks"])
    found = {
        "strange": ", ".join(sorted(set(banks["ood"].source))),
        "fitted_on": f"{len(roles['fit'].records)} training videos",
        "lead": lead,
        "left_out": left_out,
        "options": {name: dict(detector.options) for name, detector in fitted.items() if detector.options},
        "pictures": extreme_views(network, roles, banks, fitted[lead]),
        "seconds": round(time.time() - started, 1),
    }
    facts = _facts(loaded, data, task) | found
    write_facts(folder, facts)
    for side in (data.id, data.ood):
        log_access(run, {"dataset": side.source.tag, "condition": "posthoc", "command": facts["command"]}, None)
    evaluation = write_ood_report(folder, resamples=options["resamples"])
    console = Console()
    console.print(ood_table(evaluation, title=f"{loaded.card.model}: OOD detection on {data.ood.source.tag}"))
    for name, reason in left_out.items():
        console.print(f"left out: {name} ({reason})", soft_wrap=True)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
    return evaluation.numbers[lead]["all"]["auroc"].value


def _facts(loaded: "Loaded", data: "IdOodData", task: OodTask) -> dict[str, Any]:
    card, outside = loaded.card, data.ood.source
    known = data.id.source.tag
    return {
        "title": f"{card.model}, trained on {known}: OOD detection on {outside.tag}",
        "model": card.model,
        "known": known,
        "outliers": card.outliers,
        "sample": outside.sample or card.sample,
        "checkpoint": str(loaded.path),
        "seed": card.seed,
        "id_kept": f"{task.options['id_kept']:.0%}",
        "tuned_on": "known validation videos against synthetic outliers of them: " + ", ".join(task.options["tune"]),
        "notes": list(_notes(data)),
        "command": command_line(),
        "started": time.strftime("%Y-%m-%d %H:%M"),
        "environment": environment(),
        "config": task.config,
    }


def _notes(data: "IdOodData") -> Iterator[str]:
    if (data.ood_node["index"] or {}).get("oracle_outliers"):
        yield ORACLE
    for name, side in (("known", data.id), ("strange", data.ood)):
        yield from side.notes
        if side.failures:
            reasons = ", ".join(f"{n} x {reason}" for reason, n in Counter(f.reason for f in side.failures).items())
            yield f"{len(side.failures)} videos of the {name} side could not be used: {reasons}"
