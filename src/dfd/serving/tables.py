"""The tables of a server: jobs, what happened to them, keys, and which workers are alive."""

from typing import Any

import sqlalchemy as sa

METADATA = sa.MetaData()

JOBS = sa.Table(
    "dfd_jobs",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("owner", sa.String(16), nullable=False, index=True),  # id of a key
    sa.Column("name", sa.Text, nullable=False),  # of the file, as its owner calls it
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("stage", sa.String(16), nullable=False, default=""),
    sa.Column("progress", sa.Float, nullable=False, default=0.0),
    sa.Column("estimate", sa.Float),  # when it is expected to end
    sa.Column("size", sa.BigInteger, nullable=False, default=0),
    sa.Column("sha256", sa.String(64), nullable=False, default="", index=True),
    sa.Column("fingerprint", sa.String(16), nullable=False, default=""),  # of what judges it
    sa.Column("request", sa.String(200)),  # Idempotency-Key
    sa.Column("options", sa.Text, nullable=False, default="{}"),
    sa.Column("created", sa.Float, nullable=False, index=True),
    sa.Column("started", sa.Float),
    sa.Column("finished", sa.Float),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("verdict", sa.String(16)),
    sa.Column("code", sa.String(40)),  # why there is no verdict
    sa.Column("detail", sa.Text),
    sa.Column("result", sa.Text),
    sa.UniqueConstraint("owner", "request"),
)

EVENTS = sa.Table(
    "dfd_events",
    METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("job", sa.String(32), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
)

KEYS = sa.Table(
    "dfd_keys",
    METADATA,
    sa.Column("id", sa.String(16), primary_key=True),  # the beginning of the digest
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("admin", sa.Boolean, nullable=False),
    sa.Column("jobs_a_day", sa.Integer),
    sa.Column("bytes_a_day", sa.BigInteger),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("revoked", sa.Float),
)

WORKERS = sa.Table(
    "dfd_workers",
    METADATA,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("beat", sa.Float, nullable=False),
    sa.Column("about", sa.Text, nullable=False),  # which models, on which device
)


def open_engine(url: str) -> sa.Engine:
    """Return a connection pool for SQLite or PostgreSQL; connects when it is used first."""
    if url.startswith("sqlite"):
        engine = sa.create_engine(url, pool_size=10, max_overflow=30)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        return engine
    address = url.replace("postgresql://", "postgresql+psycopg://", 1)
    return sa.create_engine(
        address, pool_pre_ping=True, pool_size=10, max_overflow=10, connect_args={"connect_timeout": 5}
    )


def _prepare_sqlite(connection: Any, record: Any) -> None:
    """Let readers go on beside a writer; a writer takes the lock when it begins, not half-way."""
    connection.isolation_level = "IMMEDIATE"
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("PRAGMA journal_mode=WAL")
