"""Every command in the documentation is one that exists: it composes, and every argument in it is known."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dfd.cli.app import prepare
from dfd.cli.scan import Options as ScanOptions
from dfd.cli.words import read_words
from dfd.core.build import allowed, check
from dfd.core.configs import config_dir

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
OWN = ("yours", "mylab", "data=mine", "data=X", "model=tiny", "model=...", "--config-dir", "--help", "--cfg")
COMMAND = re.compile(r"(python (train|eval|predict|preprocess)\.py|dfd-(train|eval|predict|preprocess|scan)) \S")


def commands_of(text: str) -> list[str]:
    """Return the commands of code blocks and of code in the text, one a line, without comments."""
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    rest = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += re.findall(r"`([^`\n]+)`", rest)
    lines = [re.sub(r"<[^>]*>", "it", re.split(r"\s#\s", line)[0]).strip() for line in lines]
    return [line for line in lines if COMMAND.match(line)]


COMMANDS = sorted({command for page in PAGES for command in commands_of(page.read_text(encoding="utf-8"))})


def one_job(word: str) -> str | None:
    """Return one job's value of an axis of a sweep; None where any will do."""
    key, _, value = word.partition("=")
    if value.startswith(("glob(", "range(", "choice(", "interval(", "tag(", "log(")):
        return None
    return word if value.startswith(("[", "{", "'", '"')) else f"{key}={value.split(',')[0]}"


def composed(root: str, words: list[str]) -> None:
    sweep = "-m" in words
    given = [word for word in words if word != "-m" and not word.endswith("...") and not word.startswith("--")]
    if sweep:
        given = [job for word in given if (job := one_job(word)) is not None]
    data = next((word for word in given if word.startswith("data=[")), None)
    rest = [word for word in given if word != data]
    choices = [f"data={name}" for name in data[6:-1].split(",")] if data else [None]
    for choice in choices:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            cfg = compose(root, [*rest, *([choice] if choice else [])])
            tree = OmegaConf.to_container(cfg, resolve=True)
        if root in ("train", "preprocess"):
            check(tree, allowed(()))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_documentation_exists(command):
    prepare()
    program, *words = shlex.split(command)
    if program == "python":
        program, words = words[0], words[1:]
    root = program.removeprefix("dfd-").removesuffix(".py")
    if any(word in command for word in OWN):
        pytest.skip("names a package of the reader's own")
    if root == "scan":
        read_words(ScanOptions, words)
        return
    composed(root, words)


def test_the_pages_hold_commands():
    assert len(COMMANDS) > 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http", "mailto")):
            assert (page.parent / target).exists(), target
