"""The wire: what is repeated, what is not, who gets the credentials, and what every failure says."""

from __future__ import annotations

import itertools
import json
import logging
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import responses
import urllib3
from support.background import Threads
from support.comfyui_loopback import Loopback, MovedClock, Request, closed_port

from orchestrator.comfyui import ComfyUI, OutputFile
from orchestrator.comfyui.address import parse_address
from orchestrator.comfyui.session import Session
from orchestrator.errors import (
    BurstError,
    NotComfyUI,
    NotOnServer,
    PromptRejected,
    ServerBusy,
    ServerUnreachable,
    SettingsError,
    UnexpectedAnswer,
)

URL = "http://comfy.test:8188"
PICTURE = OutputFile("9", "images", "a.png", "burst", "output")
INFO = {"exec_info": {"queue_remaining": 4}}
TOKEN = "s3cret-Token-0123456789"


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


def info_or(answer: Callable[[Request], None]) -> Callable[[Request], None]:
    """Lets the first small question pass, and gives everything else to `answer`."""

    def both(request: Request) -> None:
        if request.method == "GET" and request.path == "/api/prompt":
            request.json(INFO)
        else:
            answer(request)

    return both


def submit(client: ComfyUI) -> object:
    return client.submit({}, prompt_id="x", number=1, extra_data={})


def read(client: ComfyUI, *, offset: int = 0) -> bytes:
    with client.view(PICTURE, offset=offset) as download:
        return b"".join(download.iter_chunks())


# What is repeated.


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_get_is_repeated_until_the_server_recovers(status: int, clock: MovedClock) -> None:
    def answer(request: Request) -> None:
        request.json(INFO) if len(server.requests) == 4 else request.reply(status)

    with Loopback(answer) as server, ComfyUI(server.url, clock=clock) as client:
        assert client.queue_remaining() == 4
        assert client.requests_made == len(server.requests) == 4
    assert clock.waits == sorted(clock.waits)
    assert 0.25 <= clock.waits[0] <= 0.5
    assert clock.waits[2] >= 1.0


def test_patience_ends_after_retry_seconds(clock: MovedClock) -> None:
    with Loopback(lambda request: request.reply(503, b"warming up")) as server:
        with ComfyUI(server.url, clock=clock, retry_seconds=7.0) as client, pytest.raises(ServerBusy) as caught:
            client.queue_remaining()
        assert len(server.requests) > 3
    assert clock.seconds <= 7.0
    assert caught.value.status == 503
    assert "warming up" in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry_After": "3"},
        {"Retry_After": "Tue, 01 Jan 2030 00:00:03 GMT"},
        # By the server's clock, a day ahead of ours.
        {"Retry_After": "Wed, 02 Jan 2030 00:00:03 GMT", "Date": "Wed, 02 Jan 2030 00:00:00 GMT"},
    ],
)
def test_retry_after_is_honoured(headers: dict[str, str], clock: MovedClock) -> None:
    def answer(request: Request) -> None:
        request.json(INFO) if len(server.requests) > 1 else request.reply(429, **headers)

    with Loopback(answer) as server, ComfyUI(server.url, clock=clock) as client:
        assert client.queue_remaining() == 4
    assert clock.waits == [3.0]


def test_a_retry_after_beyond_our_patience_is_handed_on(clock: MovedClock) -> None:
    with (
        Loopback(lambda request: request.reply(429, Retry_After="600")) as server,
        ComfyUI(server.url, clock=clock) as client,
    ):
        with pytest.raises(ServerBusy) as caught:
            client.queue_remaining()
        assert caught.value.retry_after_seconds == 600
        assert client.requests_made == 1
    assert clock.waits == []


def test_stop_cuts_the_waiting_short(clock: MovedClock) -> None:
    stop = threading.Event()
    clock.during_wait = stop.set
    with Loopback(lambda request: request.reset()) as server, ComfyUI(server.url, clock=clock, stop=stop) as client:
        with pytest.raises(ServerUnreachable):
            client.queue()
        assert client.requests_made == 1
    assert len(clock.waits) == 1


def test_nothing_is_waited_for_once_stopped(clock: MovedClock) -> None:
    stop = threading.Event()
    stop.set()
    with Loopback(lambda request: request.reset()) as server:
        client = ComfyUI(server.url, clock=clock, stop=stop)
        with client, pytest.raises(ServerUnreachable):
            client.queue()
    assert clock.waits == []


@pytest.mark.parametrize("fault", ["reset", "503", "429"])
def test_a_prompt_is_never_sent_twice(fault: str, clock: MovedClock) -> None:
    def answer(request: Request) -> None:
        request.reset() if fault == "reset" else request.reply(int(fault))

    with Loopback(info_or(answer)) as server, ComfyUI(server.url, clock=clock) as client:
        with pytest.raises((ServerUnreachable, ServerBusy)) as caught:
            submit(client)
        assert [request.method for request in server.requests].count("POST") == 1
    assert getattr(caught.value, "may_have_arrived", True) is True
    assert clock.waits == []


def test_a_prompt_is_interrupted_by_its_own_id() -> None:
    with Loopback(info_or(lambda request: request.reply(200))) as server, ComfyUI(server.url) as client:
        client.interrupt("x")
        (sent,) = [json.loads(request.body) for request in server.requests if request.method == "POST"]
    assert sent == {"prompt_id": "x"}


@pytest.mark.parametrize(
    "command",
    [
        lambda client: client.delete_from_queue(["x"]),
        lambda client: client.interrupt("x"),
        lambda client: client.free(),
        lambda client: client.upload_image("a.png", b"data"),
    ],
)
def test_commands_that_are_safe_to_repeat_are_repeated(command: Callable[[ComfyUI], None], clock: MovedClock) -> None:
    def answer(request: Request) -> None:
        posts = [one for one in server.requests if one.method == "POST"]
        if len(posts) < 3:
            request.reset()
        elif "upload" in request.path:
            request.json({"name": "a.png"})
        else:
            request.reply(200)

    with Loopback(info_or(answer)) as server, ComfyUI(server.url, clock=clock) as client:
        command(client)
        bodies = [request.body for request in server.requests if request.method == "POST"]
    assert len(bodies) == 3
    assert all(bodies)


# A lost request and an unsent one.


def test_a_refused_connection_never_arrived(clock: MovedClock) -> None:
    with closed_port() as port, ComfyUI(f"127.0.0.1:{port}", clock=clock) as client:
        client._base = "/api"
        with pytest.raises(
            ServerUnreachable, match=f"127.0.0.1:{port}: POST /api/prompt: Connection refused"
        ) as caught:
            submit(client)
    assert caught.value.may_have_arrived is False


def test_an_older_refusal_does_not_make_a_lost_request_unsent(clock: MovedClock) -> None:
    with Loopback(info_or(lambda request: request.reset())) as server, ComfyUI(server.url, clock=clock) as client:
        client.queue_remaining()
        try:
            with closed_port() as port, ComfyUI(f"127.0.0.1:{port}", retry_seconds=0) as gone:
                gone.queue_remaining()
        except ServerUnreachable:
            with pytest.raises(ServerUnreachable) as caught:
                submit(client)
    assert caught.value.may_have_arrived is True


def test_a_server_that_is_silent_may_have_it(clock: MovedClock) -> None:
    silence = threading.Event()

    def hold(request: Request) -> None:
        silence.wait(10)

    with Loopback(info_or(hold)) as server, ComfyUI(server.url, clock=clock, read_timeout_seconds=0.1) as client:
        with pytest.raises(ServerUnreachable, match=r"no answer within 0\.1 s") as caught:
            submit(client)
        silence.set()
    assert caught.value.may_have_arrived is True


@pytest.mark.parametrize(
    ("raised", "may_have_arrived"),
    [(requests.ConnectTimeout(), False), (requests.ReadTimeout(), True), (requests.ConnectionError("?"), True)],
)
@responses.activate
def test_kinds_of_failure(raised: Exception, may_have_arrived: bool) -> None:
    responses.add("GET", f"{URL}/api/prompt", json=INFO)
    responses.add("POST", f"{URL}/api/prompt", body=raised)
    with pytest.raises(ServerUnreachable) as caught:
        submit(ComfyUI(URL))
    assert caught.value.may_have_arrived is may_have_arrived


# Only a 200 of the expected shape is an answer.


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, '{"queue_running": [], "queue_pen', ["not whole JSON"]),
        (200, "[" * 100_000, ["not whole JSON"]),
        (200, "null", ["expected a mapping, got nothing"]),
        (200, '{"queue_running": []}', ["queue_pending: missing"]),
        (200, '{"queue_running": [], "queue_pending": {}}', ["queue_pending: expected a list, got a mapping"]),
        (
            200,
            '{"queue_running": [[1]], "queue_pending": []}',
            ["queue_running[0]: expected a list of at least length"],
        ),
        (200, '{"queue_running": [[1, 7]], "queue_pending": []}', ["queue_running[0][1]: expected text, got a whole"]),
        (401, "", ["401", "headers"]),
        (302, "", ["https://login.test/in", "use that address"]),
        (201, "{}", ["201"]),
        (204, "", ["204"]),
    ],
)
@responses.activate
def test_anything_else_is_unexpected(status: int, body: str, words: list[str]) -> None:
    headers = {"Location": "https://user:pw@login.test/in?next=abc"} if status == 302 else {}
    for base in ("/api", ""):
        responses.add("GET", f"{URL}{base}/queue", body=body, status=status, headers=headers)
    with pytest.raises(UnexpectedAnswer) as caught:
        ComfyUI(URL).queue()
    message = str(caught.value)
    assert caught.value.status == status
    assert URL in message
    assert "GET" in message
    assert "/queue" in message
    assert all(word in message for word in words), message
    assert len(message) < 330
    assert "pw@" not in message
    assert "next=abc" not in message


@pytest.mark.parametrize("status", [200, 400])
@responses.activate
def test_a_page_in_place_of_a_verdict_rejects_nothing(status: int) -> None:
    responses.add("GET", f"{URL}/api/prompt", json=INFO)
    responses.add("POST", f"{URL}/api/prompt", body="<html>", status=status)
    with pytest.raises(UnexpectedAnswer):
        submit(ComfyUI(URL))


@responses.activate
def test_a_page_in_place_of_an_empty_answer_deletes_nothing() -> None:
    responses.add("GET", f"{URL}/api/prompt", json=INFO)
    responses.add("POST", f"{URL}/api/queue", body="<html>please sign in</html>")
    with pytest.raises(UnexpectedAnswer, match="please sign in"):
        ComfyUI(URL).delete_from_queue(["x"])


@pytest.mark.parametrize(
    ("status", "body", "advice"),
    [
        (200, "<html><head><title>Sign &amp; in</title></head>", "check that a ComfyUI is at this address"),
        (200, "Ollama is running", "check that a ComfyUI is at this address"),
        (404, "404: Not Found", "check that a ComfyUI is at this address"),
        (404, '{"detail": "Not Found"}', "check that a ComfyUI is at this address"),
        (400, "<html>The plain HTTP request was sent to HTTPS port", "try https://comfy.test:8188"),
        (
            404,
            "<html>\n<head><title>502</title><style>h1 {}</style></head><body><h1>Bad gateway</h1>nginx</body>",
            "check that a ComfyUI is at this address",
        ),
    ],
)
@responses.activate
def test_what_no_comfyui_answers_is_another_program(status: int, body: str, advice: str) -> None:
    for base in ("/api", ""):
        responses.add("GET", f"{URL}{base}/queue", body=body, status=status)
    with pytest.raises(NotComfyUI) as caught:
        ComfyUI(URL).queue()
    read = {200: "Sign & in", 400: "The plain HTTP request was sent to HTTPS port", 404: "Bad gateway nginx"}
    said = read[status] if body.startswith("<") else body
    assert (
        str(caught.value)
        == f"{URL}: GET /queue answered {status} ({said}): ComfyUI does not answer like this; {advice}"
    )


@pytest.mark.parametrize("known", ["/api", ""])
@responses.activate
def test_a_server_that_was_a_comfyui_before_is_not_another_program(known: str) -> None:
    """Whatever it answers then, such as a page while a proxy before it starts again."""
    if not known:
        responses.add("GET", f"{URL}/api/prompt", status=404)
    responses.add("GET", f"{URL}{known}/prompt", json=INFO)
    responses.add("GET", f"{URL}{known}/queue", body="<html>")
    client = ComfyUI(URL)
    client.queue_remaining()
    with pytest.raises(UnexpectedAnswer):
        client.queue()


def test_a_server_s_words_cannot_drive_the_terminal() -> None:
    with Loopback(lambda request: request.reply(404, b"\x1b[2Jgone\x07")) as server:
        client = ComfyUI(server.url)
        with client, pytest.raises(NotComfyUI) as caught:
            client.queue()
    assert str(caught.value).isprintable()
    assert "gone" in str(caught.value)


@responses.activate
def test_a_post_does_not_follow_a_redirect() -> None:
    responses.add("GET", f"{URL}/api/prompt", json=INFO)
    responses.add("POST", f"{URL}/api/prompt", status=307, headers={"Location": "https://comfy.test/api/prompt"})
    with pytest.raises(UnexpectedAnswer, match=r"it requires TLS; use https://comfy\.test as the server's"):
        submit(ComfyUI(URL))
    assert len(responses.calls) == 2


# /api where the server has it.


@pytest.mark.parametrize("miss", [(404, "404: Not Found"), (405, ""), (200, "<html>app</html>")])
@responses.activate
def test_the_plain_paths_are_found_once_and_remembered(miss: tuple[int, str]) -> None:
    responses.add("GET", f"{URL}/comfy/api/history/a", status=miss[0], body=miss[1])
    responses.add("GET", f"{URL}/comfy/history/a", json={})
    responses.add("POST", f"{URL}/comfy/prompt", json={"prompt_id": "x"})
    client = ComfyUI(URL + "/comfy/")
    assert client.history("a") is None
    assert client.history("a") is None
    submit(client)
    assert [call.request.path_url for call in responses.calls] == [
        "/comfy/api/history/a",
        "/comfy/history/a",
        "/comfy/history/a",
        "/comfy/prompt",
    ]


@responses.activate
def test_a_server_that_refuses_us_is_not_asked_elsewhere() -> None:
    responses.add("GET", f"{URL}/api/queue", status=401)
    with pytest.raises(UnexpectedAnswer):
        ComfyUI(URL).queue()
    assert len(responses.calls) == 1


# Credentials.


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("127.0.0.1", "http://127.0.0.1:8188"),
        ("localhost/", "http://localhost:8188"),
        ("gpu.lan", "http://gpu.lan:8188"),
        ("[::1]", "http://[::1]:8188"),
        ("gpu.lan:80", "http://gpu.lan:80"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("https://gpu.lan", "https://gpu.lan"),
        ("gpu.lan/comfy", "http://gpu.lan/comfy"),
        ("user:word@gpu.lan", "http://gpu.lan"),
        (" https://host/prefix/ ", "https://host/prefix"),
        ("http://user:p%40ss@host:1/x", "http://host:1/x"),
        ("http://[::1]:8188/", "http://[::1]:8188"),
    ],
)
def test_addresses(typed: str, expected: str) -> None:
    assert parse_address(typed).url == expected


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "ftp://h",
        "http://",
        "http://a b",
        "http://h:99999",
        f"http://u:{TOKEN}/x@h",
        f"http://u:1/{TOKEN}@h",
        f"http://h/?token={TOKEN}",
        f"http://h/#{TOKEN}",
    ],
)
def test_addresses_that_cannot_be(typed: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ComfyUI(typed)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("name", "value"), [("X-Key", f"{TOKEN}\r\nX: y"), ("X-Key", f"{TOKEN}\u20ac"), (f"X {TOKEN}", "v")]
)
def test_headers_that_cannot_be(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ComfyUI(URL, headers={name: value})
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_a_password_in_the_address_becomes_a_header() -> None:
    with Loopback(lambda request: request.json(INFO)) as server:
        host = server.url.removeprefix("http://")
        with ComfyUI(f"http://user:p%40ss@{host}") as client:
            client.queue_remaining()
        assert server.requests[0].headers["Authorization"] == "Basic dXNlcjpwQHNz"


def test_netrc_does_not_replace_the_user_s_header(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password wrong")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Loopback(lambda request: request.json(INFO)) as server:
        with ComfyUI(server.url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            client.queue_remaining()
        assert server.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.fixture
def secret_headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}", "X-API-Key": TOKEN, "Cookie": f"session={TOKEN}"}


def test_another_server_gets_no_header_of_ours(secret_headers: dict[str, str]) -> None:
    with Loopback(lambda request: request.reply(200, b"picture", Set_Cookie="theirs=1")) as stranger:

        def answer(request: Request) -> None:
            request.reply(302, Location=f"{stranger.url}/signed?sig=1", Set_Cookie="ours=1")

        with Loopback(info_or(answer)) as server, ComfyUI(server.url, headers=secret_headers) as client:
            assert read(client, offset=0) == b"picture"
            assert read(client) == b"picture"
            assert all(request.headers["X-API-Key"] == TOKEN for request in server.requests)
        for request in stranger.requests:
            assert request.path == "/signed?sig=1"
            assert TOKEN not in str(request.headers)
            assert "ours" not in str(request.headers)


def test_a_redirect_back_does_not_regain_the_headers(secret_headers: dict[str, str]) -> None:
    with Loopback(lambda request: request.reply(302, Location=f"{server.url}/free-lunch")) as stranger:

        def answer(request: Request) -> None:
            if request.path == "/free-lunch":
                request.reply(200, b"x")
            else:
                request.reply(302, Location=stranger.url)

        with Loopback(info_or(answer)) as server, ComfyUI(server.url, headers=secret_headers) as client:
            read(client)
            assert TOKEN not in str(server.requests[-1].headers)


def test_a_redirect_on_the_same_server_keeps_them(secret_headers: dict[str, str]) -> None:
    def answer(request: Request) -> None:
        request.reply(200, b"x") if request.path == "/elsewhere" else request.reply(302, Location="/elsewhere")

    with Loopback(info_or(answer)) as server, ComfyUI(server.url, headers=secret_headers) as client:
        assert read(client) == b"x"
        assert server.requests[-1].headers["X-API-Key"] == TOKEN


@pytest.mark.parametrize("location", ["/api/view", "file:///etc/passwd", "http://[::1", "http://h:99999/"])
def test_a_redirect_that_leads_nowhere(location: str) -> None:
    with (
        Loopback(info_or(lambda request: request.reply(302, Location=location))) as server,
        ComfyUI(server.url) as client,
    ):
        with pytest.raises(UnexpectedAnswer):
            read(client)
        assert client.requests_made < 10


def _echo(request: Request, status: int) -> None:
    """A server that shows everybody what it was sent."""
    body = f"<html> {request.headers['X-API-Key']}, you sent\n{request.headers}".encode()
    request.reply(status, body, Content_Type="text/html", Location=f"http://u:{TOKEN}@127.0.0.1:1/{TOKEN}")


def _failures(secret_headers: dict[str, str], clock: MovedClock) -> Iterator[BurstError]:
    calls: list[Callable[[ComfyUI], object]] = [
        submit,
        read,
        lambda client: client.queue(),
        lambda client: client.history("x"),
        lambda client: client.job("x"),
        lambda client: client.delete_from_queue(["x"]),
    ]
    for status in (200, 302, 400, 401, 404, 500):
        with Loopback(info_or(lambda request, status=status: _echo(request, status))) as server:  # type: ignore[misc]
            for call in calls:
                client = ComfyUI(server.url, headers=secret_headers, clock=clock, retry_seconds=1)
                with client, pytest.raises(BurstError) as caught:
                    call(client)
                yield caught.value
    told = {"error": {"message": f"bad key {TOKEN}"}, "node_errors": {}}
    with Loopback(info_or(lambda request: request.json(told, 400))) as server:
        client = ComfyUI(server.url, headers=secret_headers)
        with client, pytest.raises(PromptRejected) as rejected:
            submit(client)
        yield rejected.value
    error = {"node_id": "1", "node_type": "Api", "exception_type": "E", "exception_message": f"401 for {TOKEN}"}
    status_ = {"status_str": "error", "messages": [["execution_error", error]]}
    with Loopback(lambda request: request.json({"x": {"outputs": {}, "status": status_}})) as server:
        client = ComfyUI(server.url, headers=secret_headers)
        with client:
            entry = client.history("x")
        assert entry is not None
        assert entry.failure is not None
        yield entry.failure


def test_no_message_log_or_repr_holds_a_secret(
    secret_headers: dict[str, str], clock: MovedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    failures = list(_failures(secret_headers, clock))
    assert len(failures) == 38
    for failure in failures:
        assert TOKEN not in "".join(traceback.format_exception(failure)), failure
        assert TOKEN not in repr(failure)
    assert any("***" in str(failure) for failure in failures)
    assert "asking again in" in caplog.text
    assert TOKEN not in caplog.text
    client = ComfyUI(f"http://user:{TOKEN}@h:1", headers=secret_headers)
    assert TOKEN not in f"{client!r} {client._secrets!r} {client.url}"
    assert TOKEN not in repr(parse_address(f"http://user:{TOKEN}@h:1"))


# /view.


def test_view_resumes_where_it_is_asked_to() -> None:
    data = bytes(range(256)) * 4000

    def answer(request: Request) -> None:
        start = request.start or 0
        request.reply(206 if start else 200, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")

    with Loopback(info_or(answer)) as server, ComfyUI(server.url) as client:
        with client.view(PICTURE, offset=1000) as download:
            assert (download.offset, download.total_bytes, download.accepts_resume) == (1000, len(data), True)
            assert b"".join(download.iter_chunks()) == data[1000:]
        assert server.requests[-1].path == "/api/view?filename=a.png&subfolder=burst&type=output"
        assert server.requests[-1].headers["Accept-Encoding"] == "identity"


def test_view_says_when_the_server_does_not_resume() -> None:
    whole = info_or(lambda request: request.reply(200, b"whole"))
    with Loopback(whole) as server, ComfyUI(server.url) as client, client.view(PICTURE, offset=3) as download:
        assert (download.offset, download.total_bytes) == (0, 5)


def test_another_range_than_the_one_asked_for() -> None:
    def answer(request: Request) -> None:
        request.reply(206, b"le", Content_Range="bytes 3-4/5")

    with Loopback(info_or(answer)) as server, ComfyUI(server.url) as client, pytest.raises(UnexpectedAnswer):
        read(client, offset=2)


def test_a_body_that_breaks_off_is_no_end() -> None:
    with (
        Loopback(info_or(lambda request: request.reply(200, b"half", announced=8))) as server,
        ComfyUI(server.url) as client,
        pytest.raises(ServerUnreachable),
    ):
        read(client)


@pytest.mark.parametrize(("body", "gone"), [(b"", True), (b'{"error": "no"}', True), (b"<html>404</html>", False)])
def test_a_file_that_is_gone(body: bytes, gone: bool) -> None:
    with Loopback(info_or(lambda request: request.reply(404, body))) as server:
        client = ComfyUI(server.url)
        with client, pytest.raises(UnexpectedAnswer) as caught:
            read(client)
    assert isinstance(caught.value, NotOnServer) is gone
    assert ("burst/a.png is gone" in str(caught.value)) is gone


def test_a_sign_in_page_is_no_file() -> None:
    def answer(request: Request) -> None:
        request.reply(200, b"<html>sign in</html>", Content_Type="text/html; charset=utf-8")

    with (
        Loopback(info_or(answer)) as server,
        ComfyUI(server.url) as client,
        pytest.raises(UnexpectedAnswer, match="sign in"),
    ):
        read(client)


# Several threads.


def test_six_threads_share_one_client() -> None:
    def answer(request: Request) -> None:
        request.json(INFO, Set_Cookie=f"seen{next(numbers)}=1")

    numbers = itertools.count()
    with Loopback(answer) as server, ComfyUI(server.url) as client:
        with Threads(6) as threads:
            found = list(threads.map(lambda _: client.queue_remaining(), range(240)))
        assert found == [4] * 240
        assert client.requests_made == len(server.requests) == 240


@responses.activate
def test_pushbacks_count_429_and_time_outs(clock: MovedClock) -> None:
    refused = urllib3.exceptions.NewConnectionError(None, "refused")  # type: ignore[arg-type]
    late = urllib3.exceptions.ReadTimeoutError(None, "/", "")  # type: ignore[arg-type]
    for failure in (
        requests.ConnectTimeout(),
        requests.ReadTimeout(),
        requests.ConnectionError(late),
        requests.ConnectionError(refused),
        requests.ConnectionError("reset"),
    ):
        responses.add("GET", f"{URL}/api/prompt", body=failure)
    for status in (429, 503, 429):
        responses.add("GET", f"{URL}/api/prompt", status=status)
    responses.add("GET", f"{URL}/api/prompt", json=INFO)
    client = ComfyUI(URL, clock=clock, retry_seconds=600)
    assert (client.pushbacks, client.failures) == (0, 0)
    assert client.queue_remaining() == 4
    assert (client.pushbacks, client.failures, client.requests_made) == (5, 5, 9)


def test_a_body_that_stops_coming_is_a_pushback() -> None:
    silence = threading.Event()

    def hold(request: Request) -> None:
        request.reply(200, b"half", announced=8)
        silence.wait(10)

    with Loopback(info_or(hold)) as server, ComfyUI(server.url, read_timeout_seconds=0.1) as client:
        with pytest.raises(ServerUnreachable, match=r"no answer within 0\.1 s"):
            read(client)
        assert client.pushbacks == 1
        silence.set()


# The cost of a request.


def test_a_request_that_succeeds_needs_no_retry_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with Loopback(lambda request: request.json(INFO)) as server, ComfyUI(server.url) as client:
        assert client.queue_remaining() == 4


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"HTTP_PROXY": "http://proxy:1", "https_proxy": "http://proxy:2"},
        {"ALL_PROXY": "socks5://proxy:1", "NO_PROXY": "comfy.test"},
        {"HTTP_PROXY": "http://proxy:1", "NO_PROXY": "comfy.test:8188,10.0.0.0/8"},
        {"HTTP_PROXY": "http://proxy:1", "no_proxy": "*"},
        {"REQUESTS_CA_BUNDLE": "/a.pem", "CURL_CA_BUNDLE": "/b.pem"},
        {"CURL_CA_BUNDLE": "/b.pem"},
    ],
)
def test_the_environment_is_taken_as_requests_takes_it(given: dict[str, str], environment: pytest.MonkeyPatch) -> None:
    for name, value in given.items():
        environment.setenv(name, value)
    ours, plain = Session({}), requests.Session()
    for url in (f"{URL}/a", f"{URL}/b", "http://comfy.test/a", "http://10.1.2.3:8188/", "https://other.test/", URL):
        for stream in (False, True):
            assert ours.merge_environment_settings(url, {}, stream, None, None) == plain.merge_environment_settings(
                url, {}, stream, None, None
            )


def test_a_proxy_is_used_and_the_environment_read_once(environment: pytest.MonkeyPatch) -> None:
    with Loopback(lambda request: request.json(INFO)) as proxy:
        environment.setenv("HTTP_PROXY", proxy.url)
        with ComfyUI(URL) as client:
            client.queue_remaining()
            environment.setenv("HTTP_PROXY", "http://127.0.0.1:1")
            client.queue_remaining()
    assert [request.path for request in proxy.requests] == [f"{URL}/api/prompt"] * 2


@pytest.mark.parametrize(
    "given",
    [
        requests.Request("get", f"{URL}/history/ä b?x=1"),
        requests.Request("GET", f"{URL}/view", headers={"accept-encoding": "identity"}, params={"filename": "ü&.png"}),
        requests.Request("POST", f"{URL}/prompt", headers={"Content-Type": "application/json"}, data=b"{}"),
        requests.Request("POST", f"{URL}/form", data={"a": "b c"}),
        requests.Request("GET", "http://user:password@other.test/x"),
    ],
)
def test_a_request_is_what_requests_makes_of_it(given: requests.Request, secret_headers: dict[str, str]) -> None:
    del secret_headers["Cookie"]
    ours, plain = Session(secret_headers), requests.Session()
    plain.headers, plain.auth = ours.headers, lambda request: request
    for session in (ours, plain):
        session.cookies.set("mine", "1", domain="comfy.test")
        session.cookies.set("theirs", "2", domain="elsewhere.test")
    one, other = ours.prepare_request(given), plain.prepare_request(given)
    assert (one.method, one.url, one.body, one.hooks) == (other.method, other.url, other.body, other.hooks)
    assert dict(one.headers) == dict(other.headers)
    assert one.headers.get("Cookie") == ("mine=1" if given.url.startswith(URL) else None)


def test_a_cookie_of_the_server_s_is_sent_back() -> None:
    with Loopback(lambda request: request.json(INFO, Set_Cookie="route=7")) as server, ComfyUI(server.url) as client:
        client.queue_remaining()
        client.queue_remaining()
        assert [request.headers["Cookie"] for request in server.requests] == [None, "route=7"]


def test_a_session_finds_its_connections_once_and_keeps_none_when_it_is_closed() -> None:
    session = Session({})
    adapter, asked = session.get_adapter(URL), session.prepare_request(requests.Request("GET", f"{URL}/queue"))
    others = session.prepare_request(requests.Request("GET", "http://other.test/queue"))
    found, other, again = (
        adapter.get_connection_with_tls_context(each, verify=True) for each in (asked, others, asked)
    )
    assert (found.host, other.host) == ("comfy.test", "other.test")
    assert again is found
    kept = weakref.ref(found)
    del found, again
    session.close()
    assert kept() is None
