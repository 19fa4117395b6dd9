"""Who may call, and what every answer says to a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient
from support.front_ends import ORIGIN, Front, front

from orchestrator.sandbox import Sandbox
from orchestrator.web.app import create_app
from orchestrator.web.states import WatchedStates
from orchestrator.web.static_files import VersionedFiles
from orchestrator.web.supervisor import Supervisor


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture
def local(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox, works=False) as found:
        yield found


@pytest.fixture
def guarded(tmp_path: Path, sandbox: Sandbox) -> Iterator[Front]:
    with front(tmp_path, sandbox, works=False, token="open-sesame") as found:
        yield found


BODY = {"batchRequest": {"prompt": "a fox", "batchCount": 2}}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8189", "localhost:1", "LOCALHOST", "[::1]:8189", "[::1]"])
def test_own_names_are_answered(local: Front, host: str) -> None:
    assert local.http.get("/api/options", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example:8189",
        "evil-localhost",
        "",
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "127.0.0.1:8189:8189",
        "::1",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/options", "/static/style.css", "/openapi.json"])
def test_a_foreign_name_that_leads_here_is_refused(local: Front, host: str, path: str) -> None:
    assert local.http.get(path, headers={"Host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ORIGIN},
        {"Origin": ORIGIN.replace("127.0.0.1", "LocalHost"), "Host": "localhost:8189"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
def test_own_pages_may_change_things(local: Front, headers: dict[str, str]) -> None:
    del local.http.headers["Origin"]
    assert local.http.post("/api/batches", json=BODY, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8190"},
        {"Origin": "http://127.0.0.1:8189.evil.example"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://[127.0.0.1:8189"},
        {"Origin": "evil://127.0.0.1:8189"},
        {"Origin": ""},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://127.0.0.1:8190", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=str,
)
@pytest.mark.parametrize("call", ["POST /api/batches", "DELETE /api/batches/x", "PUT /api/batches", "POST /nowhere"])
def test_pages_of_others_may_not(local: Front, headers: dict[str, str], call: str) -> None:
    del local.http.headers["Origin"]
    method, path = call.split()
    assert local.http.request(method, path, json=BODY, headers=headers).status_code == 403
    assert not local.states[0].exists()


@pytest.mark.parametrize(
    "path", ["/", "/api/options", "/api/batches/nope", "/static/nope.js", "/nowhere", "/static/style.css"]
)
def test_every_answer_tells_the_browser_to_be_careful(local: Front, path: str) -> None:
    headers = local.http.get(path).headers
    policy = headers["content-security-policy"]
    said = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert said == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob:",
        "media-src": "'self'",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "cache-control" in headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_files_of_the_pages_are_kept_and_asked_for_again(local: Front) -> None:
    first = local.http.get("/static/style.css")
    assert first.headers["cache-control"] == "no-cache"
    again = local.http.get("/static/style.css", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/", "/gallery", "/grid", "/states"])
def test_files_that_a_page_names_are_kept_until_they_change(local: Front, path: str) -> None:
    named = set(re.findall(r'"(/static/[^"]+)"', local.http.get(path).text))
    assert len(named) == 4
    assert len({one.split("/")[2] for one in named}) == 1
    for one in named:
        answer = local.http.get(one)
        assert answer.status_code == 200, one
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable", one


def test_files_of_another_version_are_asked_for_again(local: Front) -> None:
    """As by a page that was loaded before an upgrade: what it gets is today's."""
    assert local.http.get("/static/v-0123456789abcdef/style.css").headers["cache-control"] == "no-cache"
    named = next(iter(re.findall(r'"(/static/v-[^/]+)/pages/index.css"', local.http.get("/").text)))
    missing = local.http.get(f"{named}/nope.js")
    assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-cache")


def test_a_changed_file_changes_the_address_of_all(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    for name in ("a.css", "room/b.js"):
        (tmp_path / name).write_text("before")
    files = VersionedFiles(tmp_path)
    first = files.address()
    assert files.address() == VersionedFiles(tmp_path).address() == first
    (tmp_path / "room/b.js").write_text("after it")
    second = files.address()
    (tmp_path / "room/c.js").write_text("new")
    assert len({first, second, files.address()}) == 3


def test_a_refusal_tells_it_too(local: Front, guarded: Front) -> None:
    for answer in (local.http.get("/", headers={"Host": "evil.example"}), guarded.http.get("/")):
        assert answer.status_code in (401, 403)
        assert "content-security-policy" in answer.headers
        assert answer.headers["cache-control"] == "no-store"


def test_a_mistake_of_ours_is_an_answer_like_any_other(local: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(batch_id: str) -> None:
        raise ZeroDivisionError("its text is for the log")

    monkeypatch.setattr(local.watched, "find", broken)
    answer = local.http.get("/api/batches/x")
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.json()["error"]["message"]
    assert "for the log" not in answer.text
    assert "content-security-policy" in answer.headers


def test_asking_for_the_head_alone_changes_nothing(local: Front) -> None:
    del local.http.headers["Origin"]
    assert local.http.head("/static/style.css").status_code == 200


def test_names_are_allowed_in_any_spelling(tmp_path: Path) -> None:
    guard = create_app(WatchedStates([]), Supervisor(WatchedStates([])), hosts=("Burst.Example",))
    with TestClient(guard, base_url="http://burst.example") as http:
        assert http.get("/api/states").status_code == 200
        assert http.get("/api/states", headers={"Host": "127.0.0.1"}).status_code == 403


@pytest.mark.parametrize("path", ["/", "/api/options", "/static/main.js", "/openapi.json"])
def test_without_the_token_nothing_is_shown(guarded: Front, path: str) -> None:
    for said in ("Bearer wrong", "Basic open-sesame", "Bearer", "Bearer open", "Bearer OPEN-SESAME", "Bearer é", ""):
        answer = guarded.http.get(path, headers={"Authorization": said.encode()})
        assert answer.status_code == 401, said
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "sesame" not in answer.text
    assert guarded.http.get(f"{path}?token=wrong").status_code == 401


def test_a_script_needs_the_token_and_no_browsers_origin(guarded: Front) -> None:
    del guarded.http.headers["Origin"]
    key = {"Authorization": "Bearer open-sesame"}
    assert guarded.http.post("/api/batches", json=BODY, headers=key).status_code == 200
    for wrong in ({"Cookie": "burst-token-8189=open-sesame"}, {}):
        assert guarded.http.post("/api/batches", json=BODY, headers=wrong).status_code == 403, wrong
    wrong = {"Authorization": "Bearer open"}
    assert guarded.http.post("/api/batches", json=BODY, headers=wrong).status_code == 401
    for origin in ("https://evil.example", "null", ""):
        assert guarded.http.post("/api/batches", json=BODY, headers={**key, "Origin": origin}).status_code == 403
    assert "Authorization: Bearer" in guarded.http.post("/api/batches", json=BODY).json()["error"]["message"]


def test_a_script_says_the_token_with_each_call(guarded: Front) -> None:
    for word in ("Bearer", "bearer"):
        said = {"Authorization": f"{word} open-sesame"}
        assert guarded.http.post("/api/batches", json=BODY, headers=said).status_code == 200
    assert guarded.http.get("/api/options").status_code == 401, "and has to again"


def test_a_browser_says_it_once_and_it_leaves_the_address(guarded: Front) -> None:
    answer = guarded.http.get("/gallery?page=2&token=open-sesame", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/gallery?page=2")
    kept = answer.headers["set-cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=strict" in kept
    assert guarded.http.get("/api/options").status_code == 200, "the cookie does"
    again = guarded.http.get("/?token=open-sesame", follow_redirects=False)
    assert (again.status_code, again.headers["location"]) == (303, "/"), "also of somebody who has the cookie"


def test_cookies_of_other_servers_of_this_host_do_no_harm(guarded: Front) -> None:
    """A browser sends them to every port, and not all are well made."""
    for said, status in (
        ("a@b=1; burst-token-8189=open-sesame; {x}", 200),
        ("burst-token-8190=other; burst-token=other; burst-token-8189=open-sesame", 200),
        ("burst-token-8189=open", 401),
        ("burst-token-8189=", 401),
        ("xburst-token-8189=open-sesame", 401),
        (";=;burst-token-8189", 401),
    ):
        assert guarded.http.get("/api/options", headers={"Cookie": said}).status_code == status, said


def test_two_servers_on_two_ports_do_not_log_each_other_out(tmp_path: Path, sandbox: Sandbox) -> None:
    """One browser, so one jar of cookies, which ports do not keep apart."""
    with (
        front(tmp_path / "one", sandbox, works=False, token="first") as one,
        front(tmp_path / "other", sandbox, works=False, token="second") as other,
    ):
        other.http.cookies = one.http.cookies
        at = {"first": (one, "http://127.0.0.1:8189"), "second": (other, "http://127.0.0.1:8190")}
        for token, (server, url) in at.items():
            assert server.http.get(f"{url}/api/options?token={token}").status_code == 200
        for server, url in at.values():
            assert server.http.get(f"{url}/api/options").status_code == 200, url


PERSON = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_whoever_opens_an_address_without_the_token_finds_a_field_for_it(guarded: Front) -> None:
    answer = guarded.http.get("/gallery?text=a%22%3Efox&view=batches", headers=PERSON)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"].startswith("text/html")
    assert 'action="/gallery"' in answer.text
    assert 'name="token" type="password"' in answer.text
    assert '<input type="hidden" name="text" value="a&#34;&gt;fox">' in answer.text, "it leads on to what was opened"
    assert "not the token" not in answer.text
    for needed in ("/static/tokens.css", "/static/style.css", "/static/icon.svg"):
        assert needed in answer.text
        assert guarded.http.get(needed).status_code == 200
    wrong = guarded.http.get("/gallery?token=nonsense", headers=PERSON)
    assert wrong.status_code == 401
    assert "This is not the token of this server" in wrong.text
    assert "nonsense" not in wrong.text
    assert 'action="/evil.example/x"' in guarded.http.get(f"{ORIGIN}//evil.example/x", headers=PERSON).text
    right = guarded.http.get("/gallery?token=open-sesame", headers=PERSON)
    assert (right.status_code, right.url.path) == (200, "/gallery")


@pytest.mark.parametrize("path", ["/galery", "/static/nope.js", "/images/nope/1"])
def test_a_mistyped_page_is_a_page_with_a_way_back(local: Front, path: str) -> None:
    answer = local.http.get(path, headers=PERSON)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert 'href="/"' in answer.text
    assert "content-security-policy" in answer.headers


def test_what_is_mistyped_is_only_text_on_that_page(local: Front) -> None:
    assert "<script>x" not in local.http.get("/%3Cscript%3Ex", headers=PERSON).text


@pytest.mark.parametrize(
    ("method", "path", "accept"),
    [("GET", "/api/nope", PERSON["Accept"]), ("POST", "/nope", PERSON["Accept"]), ("GET", "/nope", "*/*")],
)
def test_a_script_gets_json(local: Front, method: str, path: str, accept: str) -> None:
    answer = local.http.request(method, path, headers={"Accept": accept})
    assert answer.status_code == 404
    assert answer.json() == {"error": {"kind": "NotFound", "message": "Not Found", "field": None}}


def test_a_foreign_name_and_a_mistake_of_ours_are_pages_too(local: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = local.http.get("/", headers={**PERSON, "Host": "evil.example"})
    assert answer.status_code == 403
    assert "--allow-host" in answer.text
    assert answer.headers["content-type"].startswith("text/html")
    monkeypatch.setattr(local.watched, "find", lambda _: 1 / 0)
    broken = local.http.get("/images/x/1", headers=PERSON)
    assert broken.status_code == 500
    assert "ZeroDivisionError" in broken.text
    assert broken.headers["content-type"].startswith("text/html")


ANY_ADDRESS = ["192.168.1.5:8189", "10.0.0.7", "[fe80::1]:8189", "[2001:db8::1]"]


@pytest.mark.parametrize("host", ANY_ADDRESS)
def test_a_server_that_is_open_to_others_is_reached_by_any_address(host: str) -> None:
    """Of a phone's router, of a container's host: nobody can make an address lead elsewhere."""
    watched = WatchedStates([])
    guard = create_app(watched, Supervisor(watched), any_address=True, token="sesame")
    with TestClient(guard) as http:
        key = {"Authorization": "Bearer sesame", "Host": host}
        assert http.get("/api/states", headers=key).status_code == 200
        assert http.post("/api/states/0/resume", headers={**key, "Origin": f"http://{host}"}).status_code == 404
        for origin in ("http://192.168.1.6:8189", "http://192.168.1.5:8190", "null"):
            assert http.post("/api/states/0/resume", headers={**key, "Origin": origin}).status_code == 403
        for name in ("evil.example", "192.168.1.5.evil.example", "192.168.1", "fe80::1", "[192.168.1.5]", "::1"):
            assert http.get("/api/states", headers={**key, "Host": name}).status_code == 403, name
    local = create_app(watched, Supervisor(watched))
    with TestClient(local) as http:
        assert http.get("/api/states", headers={"Host": host}).status_code == 403, "not where it listens here alone"


def test_a_token_may_have_any_characters(tmp_path: Path, sandbox: Sandbox) -> None:
    token = 'a b+c&d="e;%é'
    with front(tmp_path, sandbox, works=False, token=token) as guarded:
        answer = guarded.http.get(f"/api/options?token={quote(token, safe='')}", follow_redirects=False)
        assert answer.status_code == 303
        assert guarded.http.get("/api/options").status_code == 200


def test_the_token_leads_to_no_other_host(guarded: Front) -> None:
    answer = guarded.http.get(f"{ORIGIN}//evil.example/x?token=open-sesame", follow_redirects=False)
    assert answer.headers["location"] == "/evil.example/x"


def test_the_token_is_not_taken_from_the_address_of_a_call_that_changes_something(guarded: Front) -> None:
    assert guarded.http.post("/api/batches?token=open-sesame", json=BODY).status_code == 401


def test_the_token_alone_lets_no_foreign_page_in(guarded: Front) -> None:
    said = {"Authorization": "Bearer open-sesame", "Origin": "https://evil.example"}
    assert guarded.http.post("/api/batches", json=BODY, headers=said).status_code == 403


def test_a_body_that_is_too_large_is_one_clear_error(local: Front) -> None:
    """Whether or not it says how large it is."""
    start = b'{"batchRequest": {"prompt": "'

    def in_parts() -> Iterator[bytes]:
        yield start
        yield from (b"x" * (1 << 20) for _ in range(9))

    json_body = {"Content-Type": "application/json"}
    for body in (start + b"x" * (9 << 20), in_parts()):
        answer = local.http.post("/api/batches", content=body, headers=json_body)
        assert answer.status_code == 413
        assert answer.json()["error"]["message"].startswith("this request is over 8 MiB;")
        assert "content-security-policy" in answer.headers
    assert not local.states[0].exists()
    assert local.http.post("/api/batches", json={**BODY, "x": "x" * (7 << 20)}).status_code == 400


def test_no_method_gets_around_the_guard(local: Front) -> None:
    for method in ("TRACE", "CONNECT", "PATCH", "x"):
        answer = local.http.request(method, "/api/options", headers={"Origin": "https://evil.example"})
        assert answer.status_code in (403, 405)


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd", "/static/..%2fapp.py"),
        *("/static/v-0/..%2f..%2fapp.py", "/static/v-0//etc/passwd", "/static/v-0/%2e%2e/%2e%2e/app.py", "/static/v-0"),
    ],
)
def test_static_files_are_those_of_the_folder_alone(local: Front, path: str) -> None:
    assert local.http.get(path).status_code == 404


def test_a_prompt_is_text_wherever_it_is_shown(local: Front) -> None:
    batch = local.start(prompt="<script>alert(1)</script>")["batchId"]
    answer = local.http.get(f"/api/batches/{batch}/progress")
    assert answer.headers["content-type"] == "application/json"
    page = local.http.get(f"/?batch={batch}%22%3E%3Cscript%3E")
    assert "<script>alert" not in page.text
    assert '"><script>' not in page.text
