"""Everything that a server can be told, with its defaults."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from dfd.core.cores import cores
from dfd.core.errors import DfdError
from dfd.core.run_folder import find_checkpoint

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MIB = 2**20


@dataclass
class Bounds:
    """What a stranger's file may be, and what it may take to look at it.

    Args:
        upload: bytes of an upload.
        seconds: of clock time that decoding one file may take.
        memory: bytes that decoding one file may take.
        duration: seconds that a video may last.
        frames: of a video.
        pixels: of one frame or picture.
        streams: of a container.
    """

    upload: int = 2048 * MIB
    seconds: float = 120.0
    memory: int = 2048 * MIB
    duration: float = 1800.0
    frames: int = 60_000
    pixels: int = 3840 * 2160 * 4
    streams: int = 16


@dataclass
class Traffic:
    """How much one key may ask for.

    Args:
        requests: a minute.
        uploads: a minute.
        refusals: wrong keys a minute from one address, before it has to wait.
        queue: jobs that wait, of all keys; more are refused with 503.
        reserve: bytes that stay free on the disk; below that uploads are refused with 507.
    """

    requests: int = 1200
    uploads: int = 120
    refusals: int = 30
    queue: int = 1000
    reserve: int = 512 * MIB


@dataclass
class Settings:
    """A server, or one of its workers.

    Args:
        run: run folders or checkpoints; every file is judged by each.
        host: address to listen on; beyond loopback a key has to exist already.
        port: to listen on; 0 takes a free one.
        key: one's own key; null: made at the first start. `DEEPFAKE_API_KEY` stands for it as well.
        output: folder of the database, of files in work and of results, where no other place is given.
        database: null for SQLite in `output`, or postgresql://... where several machines serve.
        storage: null for a folder in `output`, or any address that fsspec knows, e.g. s3://bucket/prefix.
        workers: worker processes that this server starts; 0 only answers, and others work.
        decoders: files that one worker decodes at a time; null: one per core.
        device: auto, cpu, cuda, cuda:1, mps.
        faces: people of a video that are looked at.
        restorer: run of a restorer (model=deblur), for jobs that ask for deblurring; null: none can.
        keep_days: how long results stay; uploads go as soon as they were judged.
        beat: seconds between signs of life of a worker; one silent for four is taken for dead.
        bounds: of a file.
        traffic: of a key.
    """

    run: list[str] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 8000
    key: str | None = None
    output: str = "outputs/serve"
    database: str | None = None
    storage: str | None = None
    workers: int = 1
    decoders: int | None = None
    device: str = "auto"
    faces: int = 4
    restorer: str | None = None
    keep_days: float = 7.0
    beat: float = 5.0
    bounds: Bounds = field(default_factory=Bounds)
    traffic: Traffic = field(default_factory=Traffic)

    def __post_init__(self) -> None:
        if self.workers < 0 or (self.decoders is not None and self.decoders < 1):
            raise DfdError(f"workers={self.workers}, decoders={self.decoders}: not fewer than 0 and 1")

    @property
    def folder(self) -> Path:
        """The server's own folder."""
        return Path(self.output).expanduser().absolute()

    @property
    def database_url(self) -> str:
        """Where jobs, keys and the queue are kept."""
        if self.database is None:
            return f"sqlite:///{self.folder / 'jobs.sqlite'}"
        if self.database.startswith("postgres://"):
            return "postgresql" + self.database.removeprefix("postgres")
        if not self.database.startswith(("postgresql://", "sqlite:///")):
            raise DfdError("database= is postgresql://user@host/name, or sqlite:///path")
        return self.database

    @property
    def storage_url(self) -> str:
        """Where uploads and results are kept."""
        return self.storage or str(self.folder / "files")

    @property
    def decoding(self) -> int:
        """Files that one worker decodes at a time."""
        return self.decoders or cores()

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines can reach the server."""
        return self.host not in LOOPBACK

    def names(self) -> dict[str, str]:
        """Return a short name for every run, each once."""
        if not self.run:
            raise DfdError("run= is missing: give a run folder, e.g. run=outputs/demo, or several: run=[a,b]")
        named: dict[str, str] = {}
        for run in self.run:
            path = Path(run)
            name = path.parents[1].name if path.suffix and path.parent.name == "checkpoints" else path.stem
            while name in named:
                name += "+"
            named[name] = run
        return named

    def fingerprint(self) -> str:
        """Return what results depend on beside the file: the weights, as files, and the options of looking."""
        weights = []
        for run in [*self.run, *([self.restorer] if self.restorer else [])]:
            path = find_checkpoint(Path(run))
            status = path.stat()
            weights.append([str(path), status.st_size, status.st_mtime_ns])
        return hashlib.sha256(json.dumps([weights, self.faces]).encode()).hexdigest()[:16]
