"""A page of the sample with a player for a clip of every kind: to be looked at and listened to."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

PAGE = "players.html"
SHOWN = 6  # clips of a kind
WORDS = {
    "real": "Real: the mouth follows the voice.",
    "RVFA": "Another voice, with other words, over real lips (RVFA).",
    "FVRA-WL": "Lips re-rendered for somebody else's speech: a little late, and smeared (FVRA, as Wav2Lip).",
    "FVFA-WL": "The same for a cloned voice (FVFA).",
    "FVFA-FS": "A swapped face with lips re-rendered, and a cloned voice (FVFA).",
    "FVFA-GAN": "The same with a softer swap (FVFA).",
    "offset": "Innocent: the sound is up to three frames early or late throughout.",
    "recoded": "Innocent: the sound went through another codec before.",
    "noise": "Innocent: noise in the background.",
    "cut": "Innocent: a piece is missing, of pictures and sound alike.",
    "fps2997": "Innocent: 29.97 frames a second.",
    "fps30": "Innocent: 30 frames a second.",
    "pause": "Innocent: the speaker pauses.",
}
STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1500px;padding:0 1rem;color:#222}
section{display:grid;grid-template-columns:repeat(auto-fill,minmax(224px,1fr));gap:12px}figure{margin:0}
video{width:224px;border-radius:6px}figcaption{font-size:12px;color:#666;overflow-wrap:anywhere}h2{font-size:17px}"""


class Shown(Protocol):
    """A file of the sample and its kind."""

    @property
    def kind(self) -> str:
        """A category, "real" or an innocent variant."""

    @property
    def name(self) -> str:
        """The file, relative to the sample."""


def write_players(folder: Path, clips: Sequence[Shown]) -> Path:
    """Write the page beside the sample's files; those of the people with most clips are shown."""
    parts = []
    for kind, words in WORDS.items():
        of_kind = [clip for clip in clips if clip.kind == kind][-SHOWN:]
        if of_kind:
            parts.append(f"<h2>{html.escape(words)}</h2><section>{''.join(map(_figure, of_kind))}</section>")
    text = (
        f'<!doctype html><meta charset="utf-8"><title>Talking heads</title><style>{STYLE}</style>'
        "<h1>The sample of FakeAVCeleb</h1><p>Rendered: drawn heads with a formant synthesiser's voice. "
        f"No number that is measured on them says anything about real deepfakes.</p>{''.join(parts)}"
    )
    path = folder / PAGE
    path.write_text(text, encoding="utf-8")
    return path


def _figure(clip: Shown) -> str:
    name = html.escape(clip.name, quote=True)
    return f'<figure><video src="{name}" controls preload="metadata"></video><figcaption>{name}</figcaption></figure>'
