"""Scripts without a browser: a key in place of an Origin, revoked with its line; the webhooks that they may name."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.front_ends import Front, front
from support.serving import Served

from orchestrator.errors import SettingsError, UsageError
from orchestrator.sandbox import Sandbox
from orchestrator.web.api_keys import ApiKeys
from orchestrator.web.webhooks import Webhooks
from state.open_store import open_store

KEY, OTHER = "n8n-0123456789abcdef", "cron-0123456789abcdef"
BODY = {"batchRequest": {"prompt": "a fox", "batchCount": 2}}
DOCS = Path(__file__).parents[2] / "docs" / "browser.md"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def write(path: Path, text: str, *, mode: int = 0o600) -> Path:
    """As an editor does: another file of this name."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(mode)
    os.replace(new, path)
    return path


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return write(tmp_path / "keys", f"# scripts\n\nn8n {KEY}\ncron\t{OTHER}\n")


@pytest.fixture
def keyed(tmp_path: Path, sandbox: Sandbox, keys: Path) -> Iterator[Front]:
    """A front end of this machine, called as a script does: without an Origin."""
    hooks = Webhooks.of(["https://n8n.example"], secret_env="HOOK_KEY")
    with front(tmp_path, sandbox, works=False, keys=ApiKeys(keys), webhooks=hooks) as found:
        del found.http.headers["Origin"]
        yield found


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_a_key_stands_for_an_origin(keyed: Front, key: str) -> None:
    assert keyed.http.post("/api/batches", json=BODY).status_code == 403
    assert keyed.http.post("/api/batches", json=BODY, headers=bearer(key)).status_code == 200


@pytest.mark.parametrize("key", ["", KEY[:-1], KEY + "x", KEY.upper(), "n8n", f"n8n {KEY}", "ключ" * 8])
def test_anything_else_is_no_key(keyed: Front, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}".encode()}
    refused = keyed.http.post("/api/batches", json=BODY, headers=headers)
    assert (refused.status_code, refused.json()["error"]["kind"]) == (401, "NoKey")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert not keyed.states[0].exists()


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}], ids=str
)
def test_a_key_opens_nothing_to_a_page_of_another_site(keyed: Front, headers: dict[str, str]) -> None:
    assert keyed.http.post("/api/batches", json=BODY, headers=headers | bearer(KEY)).status_code == 403


def test_it_is_as_good_as_the_token_where_one_is_asked_for(tmp_path: Path, sandbox: Sandbox, keys: Path) -> None:
    with front(tmp_path, sandbox, works=False, token="open-sesame", keys=ApiKeys(keys)) as found:
        del found.http.headers["Origin"]
        assert found.http.get("/api/states").status_code == 401
        assert found.http.get("/api/states", headers=bearer(KEY)).status_code == 200
        assert found.http.get("/api/states", headers=bearer("open-sesame")).status_code == 200
        assert found.http.get(f"/api/states?token={KEY}").status_code == 401, "a key is no cookie of a browser"


def test_keys_come_and_go_while_it_runs(keyed: Front, keys: Path, caplog: pytest.LogCaptureFixture) -> None:
    def status(key: str) -> int:
        return int(keyed.http.post("/api/batches", json=BODY, headers=bearer(key)).status_code)

    added = "added-0123456789abcdef"
    write(keys, f"cron {OTHER}\nlater {added}\n")
    assert (status(KEY), status(OTHER), status(added)) == (401, 200, 200)
    with caplog.at_level(logging.WARNING, "burst"):
        write(keys, f"cron {OTHER}\n", mode=0o640)
        assert (status(OTHER), status(OTHER)) == (401, 401)
        keys.unlink()
        assert status(OTHER) == 401
    assert len(caplog.records) == 2, "each once"
    assert OTHER not in caplog.text
    write(keys, f"cron {OTHER}\n")
    assert status(OTHER) == 200


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (f"n8n {KEY}\n", 0o644, "chmod 600"),
        (f"n8n {KEY}\n{OTHER}\n", 0o600, "line 2: write NAME KEY"),
        ("n8n tooshort\n", 0o600, "line 1: write NAME KEY"),
        (None, 0o600, "openssl rand -hex 32"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_at_once(tmp_path: Path, text: str | None, mode: int, said: str) -> None:
    path = tmp_path / "keys"
    if text is not None:
        write(path, text, mode=mode)
    with pytest.raises(SettingsError, match=re.escape(said)) as refused:
        ApiKeys(path)
    assert str(path) in str(refused.value)
    assert KEY not in str(refused.value)
    assert OTHER not in str(refused.value)


HOOK = "https://n8n.example/webhook/7?x=1"


@pytest.mark.parametrize("path", ["/api/batches", "/api/create"])
def test_a_batch_takes_webhooks_along(keyed: Front, path: str) -> None:
    sent = BODY | {"notify": [HOOK, "https://N8N.example:443/other", HOOK]}
    made = keyed.http.post(path, json=sent, headers=bearer(KEY) | {"Idempotency-Key": "1"})
    assert made.status_code == 200, made.text
    with open_store(keyed.states[0], read_only=True) as store:
        record = store.batches.read()[made.json()["batchId"]].record
    assert [one.url for one in record.notify] == [HOOK, "https://N8N.example:443/other"]
    assert {one.secret_env for one in record.notify} == {"HOOK_KEY"}
    again = keyed.http.post(path, json=sent, headers=bearer(KEY) | {"Idempotency-Key": "1"})
    assert again.json()["batchId"] == made.json()["batchId"]
    other = keyed.http.post(path, json=BODY, headers=bearer(KEY) | {"Idempotency-Key": "1"})
    assert (other.status_code, other.json()["error"]["kind"]) == (422, "RequestConflict")


@pytest.mark.parametrize(
    "url",
    [
        "http://n8n.example/hook",
        "https://n8n.example:8443/hook",
        "https://n8n.example.evil.example/hook",
        "https://evil.example/https://n8n.example/",
        "https://n8n.example@evil.example/",
        "https://evil.example\\@n8n.example/",
        "https://evil.example#@n8n.example/",
        "https://me:secret@n8n.example/hook",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:8188/interrupt",
        "file:///etc/passwd",
        "//n8n.example/hook",
        "https://n8n.example:x/hook",
        "https://n8n.example/a b",
        "https://n8n.еxample/hook",
    ],
)
def test_no_other_address_is_taken(keyed: Front, url: str) -> None:
    refused = keyed.http.post("/api/batches", json=BODY | {"notify": [HOOK, url]}, headers=bearer(KEY))
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "notify")
    assert "secret" not in refused.text
    assert not keyed.states[0].exists(), "nothing was added"


def test_none_is_taken_by_default(tmp_path: Path, sandbox: Sandbox) -> None:
    with front(tmp_path, sandbox, works=False) as found:
        refused = found.http.post("/api/batches", json=BODY | {"notify": [HOOK]})
    assert refused.status_code == 400
    assert "No webhook at https://n8n.example may be named" in refused.json()["error"]["message"]


@pytest.mark.parametrize("origin", ["n8n.example", "https://n8n.example/hook", "https://me@n8n.example", "ftp://x", ""])
def test_only_origins_are_allowed(origin: str) -> None:
    with pytest.raises(UsageError, match="write an origin"):
        Webhooks.of([origin])


def test_the_examples_for_scripts_go_as_they_stand(tmp_path: Path, sandbox: Sandbox, keys: Path) -> None:
    section = re.search(r"^## For scripts\n(.*?)^## ", DOCS.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert section is not None
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", section[1], flags=re.MULTILINE | re.DOTALL))
    assert script.count("curl") >= 5
    home = tmp_path / "served"
    home.mkdir()
    options = ("--api-keys", str(keys), "--allow-notify", sandbox.url)
    with Served(home, servers=[sandbox.url], options=options) as served:
        script = script.replace("http://127.0.0.1:8189", served.url).replace("https://n8n.example.org", sandbox.url)
        begins = script.index("BURST=")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"KEY={KEY}\nsleep() {{ command sleep 0.1; }}\n" + script[begins:]],
            cwd=home,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, (done.stdout, done.stderr)
        with open_store(served.state, read_only=True) as store:
            (found,) = store.batches.read().values()
        assert [one.url for one in found.record.notify] == [sandbox.url + "/webhook/burst"]
        assert (home / "lighthouse.png").read_bytes().startswith(b"\x89PNG")
        assert (home / "lighthouse.zip").read_bytes().startswith(b"PK")
        assert json.loads((home / "status").read_text()) is True
        assert '"prompt": "a lighthouse at night"' in done.stdout
