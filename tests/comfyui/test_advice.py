"""What an answer that is not ComfyUI's is told apart as, and what to do about it."""

from __future__ import annotations

import pytest
import responses
from requests import ConnectionError as RequestsConnectionError

from orchestrator.comfyui import ComfyUI
from orchestrator.comfyui.advice import of_silence
from orchestrator.errors import NotComfyUI, ServerBusy, ServerUnreachable, TransientError, UnexpectedAnswer

URL = "http://gpu.test:8188"
CLOUDFLARE = (
    '<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body>'
    '<script src="/cdn-cgi/challenge-platform/h/g/orchestrate/chl_page/v1"></script></body></html>'
)
NGINX = "<html><head><title>403 Forbidden</title></head><body><center>nginx</center></body></html>"
HTML = {"Content-Type": "text/html; charset=UTF-8"}


def error_of(
    status: int, body: str = "", *, headers: dict[str, str] | None = None, url: str = URL, method: str = "GET"
) -> TransientError:
    """What the first request meets, whatever its path."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        kept = {name: value for name, value in (headers or {}).items() if name != "Content-Type"}
        kind = (headers or {}).get("Content-Type", "text/plain")
        for path in ("/api/queue", "/queue"):
            mock.add(method, url + path, status=status, body=body, headers=kept, content_type=kind)
        with ComfyUI(url, retry_seconds=0.0) as client, pytest.raises(TransientError) as raised:
            client.queue()
    return raised.value


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (CLOUDFLARE, HTML),
        ("<html><h1>Attention Required! | Cloudflare</h1></html>", HTML),
        ("<html><p>Checking your browser before accessing</p></html>", {}),
        ("", {"cf-mitigated": "challenge"}),
    ],
    ids=["just a moment", "attention", "without a type", "header alone"],
)
def test_a_challenge_page_is_tried_again_later(body: str, headers: dict[str, str]) -> None:
    error = error_of(403, body, headers=headers)
    assert isinstance(error, UnexpectedAnswer)
    assert not error.needs_a_person
    assert error.exit_code == 75
    assert "requires a browser" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [(403, NGINX, HTML), (403, '{"error": "no challenge for this key"}', {}), (401, CLOUDFLARE, HTML), (403, "", {})],
    ids=["a plain page", "JSON", "401", "empty"],
)
def test_every_other_refusal_wants_a_person(status: int, body: str, headers: dict[str, str]) -> None:
    error = error_of(status, body, headers=headers)
    assert error.needs_a_person
    assert "headers" in str(error) or "browser" in str(error)


def test_402_and_429_of_a_paying_api_are_told_apart() -> None:
    unpaid = error_of(402, '{"error": "insufficient credits"}')
    assert unpaid.needs_a_person
    assert "no credit left" in str(unpaid)
    used_up = error_of(429, '{"error": "Subscription inactive"}')
    assert isinstance(used_up, ServerBusy)
    assert "plan or quota" in str(used_up)
    assert not used_up.needs_a_person
    too_fast = error_of(429, '{"error": "too many requests"}', headers={"Retry-After": "3"})
    assert isinstance(too_fast, ServerBusy)
    assert too_fast.retry_after_seconds == 3
    assert "what limits requests" in str(too_fast)


def test_413_names_the_server_s_own_limit() -> None:
    own = error_of(413, "Maximum request body size 104857600 exceeded, actual body size 104857700")
    assert "ComfyUI's own limit of 100 MB" in str(own)
    assert "--max-upload-size" in str(own)
    proxy = error_of(413, "<html><h1>413 Request Entity Too Large</h1><center>nginx</center></html>", headers=HTML)
    assert "a proxy in front of the server" in str(proxy)
    assert "--max-upload-size" not in str(proxy)


@pytest.mark.parametrize(
    ("status", "body", "headers", "header"),
    [
        (200, "<html>ERR_NGROK_6024</html>", HTML, "'ngrok-skip-browser-warning': '1'"),
        (511, "<html>set the bypass-tunnel-reminder header</html>", HTML, "'bypass-tunnel-reminder': '1'"),
        (401, "<html>loca.lt</html>", HTML, "'bypass-tunnel-reminder': '1'"),
        (200, "<html>send skip_zrok_interstitial</html>", HTML, "'skip_zrok_interstitial': '1'"),
        (302, "", {"Location": "https://me.cloudflareaccess.com/cdn-cgi/access/login/x?kid=1"}, "CF-Access-Client-Id"),
        (403, "<html>Forbidden: Cloudflare Access</html>", HTML, "CF-Access-Client-Secret"),
        (302, "", {"Location": "https://global.rel.tunnels.api.visualstudio.com/auth"}, "X-Tunnel-Authorization"),
        (302, "", {"Location": "https://github.dev/pf-signin?id=x"}, "X-Github-Token"),
    ],
)
def test_the_header_that_a_tunnel_wants_is_named(status: int, body: str, headers: dict[str, str], header: str) -> None:
    message = str(error_of(status, body, headers=headers))
    assert header in message
    assert "http://gpu.test:8188;" not in message
    assert "kid=1" not in message


def test_what_only_mentions_a_tunnel_is_none() -> None:
    error = error_of(404, '{"error": "no ngrok-skip-browser-warning here"}')
    assert isinstance(error, NotComfyUI)
    assert "with headers" not in str(error)


@pytest.mark.parametrize(
    ("url", "location", "there"),
    [
        ("http://comfy.test", "https://comfy.test/api/queue", "use https://comfy.test as"),
        ("http://comfy.test:8188/ui", "https://comfy.test:8443/ui/api/queue", "use https://comfy.test:8443/ui as"),
        ("http://comfy.test", "https://other.test/api/queue", "points to https://other.test/api/queue"),
        ("http://comfy.test", "https://comfy.test:x/", "points to"),
    ],
)
def test_a_redirect_to_tls_names_the_address_to_use(url: str, location: str, there: str) -> None:
    message = str(error_of(301, headers={"Location": location}, url=url))
    assert there in message


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://a-b-c.trycloudflare.com:8188", "https://a-b-c.trycloudflare.com"),
        ("http://x1-8188.proxy.runpod.net", "https://x1-8188.proxy.runpod.net"),
        ("http://gpu.test:443/comfy", "https://gpu.test/comfy"),
        ("http://gpu.test:8443", "https://gpu.test:8443"),
        ("http://gpu.test:8188", None),
        ("https://gpu.test", None),
        ("http://nottrycloudflare.com", None),
    ],
)
def test_where_tls_is_likely_to_be_wanted(url: str, hint: str | None) -> None:
    said = of_silence(url)
    assert (said is None) if hint is None else (said is not None and said.endswith(f"try {hint}"))


@responses.activate
def test_a_connection_that_is_closed_without_an_answer_gets_the_hint() -> None:
    responses.add("GET", "http://gpu.test:443/api/queue", body=RequestsConnectionError("RemoteDisconnected"))
    with ComfyUI("http://gpu.test:443", retry_seconds=0.0) as client, pytest.raises(ServerUnreachable) as raised:
        client.queue()
    assert "it may require TLS: try https://gpu.test" in str(raised.value)
