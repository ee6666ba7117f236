"""dfd-export: a run as a bundle, whose network runs without torch's layers."""

import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from dfd.cli.exits import plain_command
from dfd.cli.words import read_words
from dfd.core.errors import DfdError

HELP = """dfd-export run=outputs/demo                          write outputs/demo/bundle, which run= takes
dfd-export run=outputs/demo output=detector precision=int8
dfd-export run=outputs/demo output=detector backend=openvino

A bundle holds the network as an ONNX graph (normalisation and score within, any batch size), the card of the run, and
the threshold and calibration that validation chose. The graph is compared with the network before it counts.

"""


@dataclass
class Options:
    """What is exported.

    Args:
        run: a run folder or a checkpoint.
        output: folder of the bundle; null: `bundle` in the run folder.
        precision: fp32; fp16: half the size; int8: weights of matrix products in eight bits.
        backend: onnx: run by onnxruntime; openvino: by OpenVINO, on CPUs.
        plugins: packages of your own whose networks may be built.
    """

    run: str | None = None
    output: str | None = None
    precision: str = "fp32"
    backend: str = "onnx"
    plugins: list[str] = field(default_factory=list)


@plain_command(HELP + (Options.__doc__ or ""))
def main(words: list[str]) -> int:
    """Run the command; return its exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("dfd").setLevel(logging.INFO)
    others, options = read_words(Options, words)
    if others or options.run is None:
        raise DfdError("say which run: dfd-export run=outputs/demo")
    from dfd.core.build import allowed_networks
    from dfd.export.bundle import export

    output = None if options.output is None else Path(options.output)
    networks = allowed_networks(options.plugins)
    export(Path(options.run), output, options.precision, options.backend, networks)  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
