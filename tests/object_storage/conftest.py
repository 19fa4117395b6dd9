from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.object_storage import KEYS, Front, Objects, Scene, Storage


@pytest.fixture(scope="session")
def storage() -> Iterator[Storage]:
    storage = Storage()
    yield storage
    storage.close()


@pytest.fixture
def scene(storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Scene]:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    bucket = storage.make_bucket()
    with Front(storage) as front:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL_S3": front.url}.items():
            monkeypatch.setenv(name, value)
        yield Scene(bucket, front, Objects(storage, bucket))
