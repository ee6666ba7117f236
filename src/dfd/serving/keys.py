"""Keys: random, kept as digests, compared in constant time, with quotas; shown once, when they are made."""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from threading import Lock

import sqlalchemy as sa

from dfd.core.errors import DfdError
from dfd.serving.store import Store
from dfd.serving.tables import KEYS

SHORTEST = 24  # of one's own key
KNOWN = ("my_secret_key", "changeme", "secret")  # that tutorials leave behind
PREFIX = "dfd_"
FRESH = 5.0  # seconds that a look at the table serves: a revoked key works no longer than that


@dataclass(frozen=True)
class Key:
    """A key, without its secret."""

    id: str
    name: str
    admin: bool
    jobs_a_day: int | None
    bytes_a_day: int | None
    created: float
    revoked: float | None
    digest: str


class Keys:
    """The keys of a server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: tuple[float, list[Key]] = (0.0, [])
        self._lock = Lock()

    def make(
        self, name: str, admin: bool = False, jobs_a_day: int | None = None, bytes_a_day: int | None = None
    ) -> str:
        """Make a key and return its secret, which is kept nowhere."""
        secret = PREFIX + secrets.token_urlsafe(32)
        self._add(secret, name, admin, jobs_a_day, bytes_a_day)
        return secret

    def adopt(self, secret: str) -> None:
        """Take a key of the operator's own, once."""
        if len(secret) < SHORTEST or any(word in secret.lower() for word in KNOWN):
            raise DfdError(f"key=: use at least {SHORTEST} random characters, e.g. of openssl rand -hex 32")
        if self.find(secret) is None:
            self._add(secret, "own", True, None, None)

    def find(self, secret: str) -> Key | None:
        """Return the key that a secret is, if it is one and was not revoked."""
        digest = _digest(secret)
        found = None
        for key in self._recent():
            if hmac.compare_digest(key.digest, digest):
                found = key
        return None if found is None or found.revoked is not None else found

    def all(self) -> list[Key]:
        """Return all keys, revoked ones too."""
        with self._store.engine.connect() as connection:
            rows = connection.execute(sa.select(KEYS).order_by(KEYS.c.created)).all()
        return [Key(**row._mapping) for row in rows]

    def revoke(self, id: str) -> None:
        """End a key; its jobs stay until they expire."""
        with self._store.engine.begin() as connection:
            ended = connection.execute(KEYS.update().where(KEYS.c.id == id).values(revoked=time.time())).rowcount
        if not ended:
            raise DfdError(f"no key {id}: dfd-serve keys lists them")
        self._seen = (0.0, [])

    def _recent(self) -> list[Key]:
        with self._lock:
            if time.monotonic() - self._seen[0] > FRESH or not self._seen[1]:
                self._seen = (time.monotonic(), self.all())
            return self._seen[1]

    def _add(self, secret: str, name: str, admin: bool, jobs: int | None, size: int | None) -> None:
        digest = _digest(secret)
        row = {"id": digest[:12], "digest": digest, "name": name, "admin": admin, "created": time.time()}
        with self._store.engine.begin() as connection:
            connection.execute(KEYS.insert().values(**row, jobs_a_day=jobs, bytes_a_day=size))
        self._seen = (0.0, [])


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
