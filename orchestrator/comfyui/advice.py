"""What to do about an answer that is not ComfyUI's: what stands before it, and what that wants."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from orchestrator.comfyui.address import origin
from orchestrator.comfyui.transport import Answer
from orchestrator.wording import named

_CHALLENGE = re.compile(
    r"challenge|captcha|just a moment|checking (?:your|the|if the) (?:browser|site|connection)|attention required"
    r"|verify(?:ing)? (?:that )?you are (?:a )?human|ddos protection|javascript and cookies",
    re.IGNORECASE,
)
_OWN_LIMIT = re.compile(r"maximum request body size (\d+) exceeded", re.IGNORECASE)
"""What aiohttp says, which is ComfyUI's own web server."""
_MONEY = re.compile(r"subscri|quota|credit|billing|payment|top.?up|\bplan\b", re.IGNORECASE)
_MEGABYTE = 1 << 20
_TLS_ONLY = (
    *("trycloudflare.com", "ngrok.io", "ngrok.app", "ngrok-free.app", "ngrok.dev", "ngrok-free.dev", "loca.lt"),
    *("proxy.runpod.net", "gradio.live", "devtunnels.ms", "app.github.dev", "hf.space", "share.zrok.io"),
)
"""Domains whose hosts are reached by https:// alone, without a port."""


class _Tunnel(msgspec.Struct, frozen=True):
    """What a tunnel's page shows it by, and what lets a program through."""

    sign: re.Pattern[str]
    advice: str
    """With a `{}` for each header."""
    headers: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return self.advice.format(*(named("headers", value, key=name) for name, value in self.headers))


_TUNNELS = (
    _Tunnel(
        re.compile(r"err_ngrok_6024|ngrok-skip-browser-warning", re.IGNORECASE),
        "ngrok shows its warning for browsers; add {}",
        (("ngrok-skip-browser-warning", "1"),),
    ),
    _Tunnel(
        re.compile(r"bypass-tunnel-reminder|loca\.lt", re.IGNORECASE),
        "localtunnel shows its reminder for browsers; add {}",
        (("bypass-tunnel-reminder", "1"),),
    ),
    _Tunnel(
        re.compile(r"skip_zrok_interstitial", re.IGNORECASE),
        "zrok shows its page for browsers; add {}",
        (("skip_zrok_interstitial", "1"),),
    ),
    _Tunnel(
        re.compile(r"cloudflareaccess\.com|cloudflare access|cdn-cgi/access", re.IGNORECASE),
        "Cloudflare Access wants a service token; add {} and {}",
        (("CF-Access-Client-Id", "env:NAME"), ("CF-Access-Client-Secret", "env:NAME")),
    ),
    _Tunnel(
        re.compile(r"devtunnels\.ms|tunnels\.api\.visualstudio\.com", re.IGNORECASE),
        "the dev tunnel wants a token; add {} (its value: tunnel TOKEN), or {} where it is public",
        (("X-Tunnel-Authorization", "env:NAME"), ("X-Tunnel-Skip-AntiPhishing-Page", "true")),
    ),
    _Tunnel(
        re.compile(r"app\.github\.dev|github\.dev/pf-signin", re.IGNORECASE),
        "the codespace's port is private; add {}, or make the port public",
        (("X-Github-Token", "env:GITHUB_TOKEN"),),
    ),
)


def of_tunnel(answer: Answer) -> str | None:
    """The header that a tunnel wants, judged by its page, its headers and where it points to; None for all else."""
    if not (_is_page(answer) or 300 <= answer.status < 400):
        return None
    shown = " ".join([_text(answer), *(f"{name}: {value}" for name, value in answer.headers.items())])
    return next((str(tunnel) for tunnel in _TUNNELS if tunnel.sign.search(shown)), None)


def is_challenge(answer: Answer) -> bool:
    """A page that lets browsers prove themselves: it is shown for a while, and says nothing about keys."""
    if answer.headers.get("cf-mitigated", "").lower() == "challenge":
        return True
    return answer.status == 403 and _is_page(answer) and bool(_CHALLENGE.search(_text(answer)))


def of_refusal(answer: Answer) -> str:
    """For a status that is not 200, a redirect or 5xx."""
    if (tunnel := of_tunnel(answer)) is not None:
        return tunnel
    if is_challenge(answer):
        return (
            "a proxy in front of the server requires a browser; let it allow this machine, or use an "
            "address that it does not protect"
        )
    if answer.status == 402:
        return "payment required: the account of this key has no credit left; add some, then run again"
    if answer.status in (401, 403):
        return f"access refused; give the server's key with {named('headers')}"
    if answer.status == 413:
        return _of_size(answer)
    return "not a response of ComfyUI; check the address, and any proxy in front of the server"


def of_pushback(answer: Answer) -> str:
    """For 429 and 5xx."""
    if (tunnel := of_tunnel(answer)) is not None:
        return tunnel
    if answer.status != 429:
        return "see the server's log"
    if _MONEY.search(_text(answer)):
        return "see the account of this key: its plan or quota allows no more at the moment"
    return "see what limits requests to it"


def of_redirect(url: str, target: str) -> str:
    """`target`: where it points to, as it may be shown."""
    try:
        here, there = origin(url), origin(target)
    except ValueError:
        here = there = ("", "", None)
    if here[0] == "http" and there[0] == "https" and here[1] == there[1]:
        return f"it requires TLS; use {with_tls(url, there[2])} as the server's address"
    return f"it points to {target}; use that address as the server's"


def of_api_v2(url: str) -> str:
    """For what answers as Comfy API v2 does."""
    return (
        f'it speaks Comfy API v2; write `[server_options."{url}"]` and `api = "v2"` into settings.toml (docs/hosted.md)'
    )


def of_silence(url: str) -> str | None:
    """Where nothing useful answers at http://, and TLS is likely to be wanted; None elsewhere."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_tunnel = any(host == domain or host.endswith(f".{domain}") for domain in _TLS_ONLY)
    if parts.scheme != "http" or not (is_tunnel or parts.port in (443, 8443)):
        return None
    return f"it may require TLS: try {with_tls(url, None if is_tunnel else parts.port)}"


def with_tls(url: str, port: int | None) -> str:
    """The same address by https://."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"https://{host}{'' if port in (None, 443) else f':{port}'}{parts.path}"


def _of_size(answer: Answer) -> str:
    if found := _OWN_LIMIT.search(_text(answer)):
        limit = int(found[1]) / _MEGABYTE
        return f"too large for ComfyUI's own limit of {limit:g} MB; start it with a larger --max-upload-size, in MB"
    return "too large for a proxy in front of the server; raise its limit on requests, or send less"


def _is_page(answer: Answer) -> bool:
    return "html" in answer.headers.get("Content-Type", "").lower() or _text(answer).lstrip()[:1] == "<"


def _text(answer: Answer) -> str:
    return answer.body[: 64 << 10].decode("utf-8", "replace")
