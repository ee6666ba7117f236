"""How each dataset can be had lawfully: the steps, the size, the licence, and the client that brings it, if one may."""

from dataclasses import dataclass
from typing import Literal

Client = Literal["http", "huggingface", "kaggle"]


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from; without a client, its authors send a link or a script after a form.

    `address` is what the client takes: a URL, the owner/name of a dataset on Hugging Face, or a Kaggle competition.
    `packed_whole` is whether its archive holds the dataset's root as its only folder.
    """

    title: str
    steps: tuple[str, ...]
    size: str = "not known here"
    licence: str = "see its terms"
    client: Client | None = None
    address: str = ""
    packed_whole: bool = False


FORM = "Fill in the form on {page}; the authors answer with a link or a script."
GATE = "Log in (`hf auth login`) and accept the conditions on huggingface.co/datasets/{name}."
RESEARCH = "non-commercial research, under the terms that its form shows"


def _form(title: str, page: str, *more: str, size: str = "not known here", licence: str = RESEARCH) -> Source:
    return Source(title, (FORM.format(page=page), *more), size, licence)


def _hugging_face(title: str, name: str, *more: str, size: str = "not known here", licence: str) -> Source:
    return Source(title, (GATE.format(name=name), *more), size, licence, "huggingface", name)


CELEBDF = "github.com/yuezunli/celeb-deepfakeforensics"
FFPP = "github.com/ondyari/FaceForensics"
SERVER = "If the script that comes by mail does not answer, give it `--server EU2`."
SOURCES = {
    "ffpp": _form("FaceForensics++", FFPP, SERVER),
    "dfd": _form("DeepFakeDetection", FFPP, SERVER, "It is part of FaceForensics++: `-d DeepFakeDetection`."),
    "celebdf": _form("Celeb-DF v2", CELEBDF),
    "celebdf_v1": _form("Celeb-DF v1", CELEBDF),
    "celebdfpp": _form("Celeb-DF++", "github.com/OUC-VAS/Celeb-DF-PP"),
    "deeperforensics": _form(
        "DeeperForensics-1.0", "github.com/EndlessSora/DeeperForensics-1.0", "Its reals are those of FaceForensics++."
    ),
    "wilddeepfake": _form("WildDeepfake", "github.com/OpenTAI/wild-deepfake"),
    "fakeavceleb": _form("FakeAVCeleb", "github.com/DASH-Lab/FakeAVCeleb"),
    "ffiw": _form("FFIW-10K", "github.com/tfzhou/FFIW"),
    "kodf": _form("KoDF", "github.com/deepbrainai-research/kodf", "In Korea it is at aihub.or.kr instead."),
    "idforge": _form("IDForge", "github.com/xyyandxyy/IDForge", "The real videos are linked there without a form."),
    "polyglotfake": _form("PolyGlotFake", "github.com/tobuta/PolyGlotFake"),
    "uadfv": Source("UADFV", ("Ask its authors (University at Buffalo) for it.",), licence=RESEARCH),
    "df40": Source(
        "DF40",
        ("github.com/YZY-stack/DF40 links to test faces, training faces, reals and JSON files on Google Drive.",
         "Unpack them into one folder, the JSON files as dataset_json/."),
        "about 93 GB of test faces; training faces apart",
        "CC BY-NC 4.0",
    ),
    "dfdc": Source(
        "DFDC",
        ("Log in to Kaggle, accept the rules of the competition, and store an API token (kaggle.com/settings).",
         "The parts of the training set are offered on its data page, in the browser."),
        licence="the rules of the competition",
        client="kaggle",
        address="deepfake-detection-challenge",
    ),
    "deepspeak": _hugging_face(
        "DeepSpeak v2", "faridlab/deepspeak_v2", size="about 125 GB",
        licence="its own; free for academic institutions",
    ),
    "deepfake_eval": _hugging_face(
        "Deepfake-Eval-2024", "nuriachandra/Deepfake-Eval-2024", licence="its own, shown on its page"
    ),
    "talkingheadbench": _hugging_face(
        "TalkingHeadBench", "luchaoqi/TalkingHeadBench", "Its reals are those of FaceForensics++ and CelebV-HQ.",
        licence="MIT on its card; the terms of its sources apply besides",
    ),
    "screendeepfakebench": Source(
        "ScreenDeepfakeBench",
        ("No form: the archive is public on Zenodo (doi 10.5281/zenodo.21790607).",),
        licence="see its Zenodo page; the terms of Celeb-DF apply to its source videos",
        client="http",
        address="https://zenodo.org/records/23149435/files/CoC_Dataset_zenodo.zip",
        packed_whole=True,
    ),
}  # fmt: skip
