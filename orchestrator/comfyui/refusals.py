"""Answers that are not what was asked for, as errors: which server and request, what came, and what to do next."""

from __future__ import annotations

import contextlib

from orchestrator.comfyui import advice, bodies
from orchestrator.comfyui.address import Secrets, shown, url_to_try, with_other_scheme
from orchestrator.comfyui.download import Download
from orchestrator.comfyui.responses import OutputFile
from orchestrator.comfyui.transport import Answer
from orchestrator.errors import NotComfyUI, NotOnServer, UnexpectedAnswer
from orchestrator.shapes import WrongShape


class Refusals:
    """Of one server. No message contains its secrets."""

    def __init__(self, url: str, secrets: Secrets) -> None:
        self._url = url
        self._secrets = secrets

    def expect_ok(self, answer: Answer) -> None:
        """Errors: UnexpectedAnswer for anything but a 200."""
        if answer.status == 200:
            return
        if 300 <= answer.status < 400:
            what = advice.of_tunnel(answer) or advice.of_redirect(self._url, self._target(answer))
            raise self._unexpected(answer, what)
        raise self._refused(answer)

    def expect_file(self, download: Download, path: str, file: OutputFile, offset: int) -> None:
        """Errors: NotOnServer, UnexpectedAnswer where this is not that file from `offset` on."""
        is_page = "text/html" in download.headers.get("Content-Type", "")
        if not is_page and (download.status == 200 or (download.status == 206 and download.offset == offset)):
            return
        answer = Answer(
            "GET", path, download.status, download.headers, download.first_bytes() if download.status != 206 else b""
        )
        if answer.status == 404 and (download.elsewhere or bodies.is_from_comfyui(answer)):
            name = f"{file.subfolder}/{file.filename}" if file.subfolder else file.filename
            raise NotOnServer(f"{self._url}: the {file.type} file {name} is gone; render the item again", status=404)
        raise self._refused(answer)

    def misshapen(self, answer: Answer, error: WrongShape) -> UnexpectedAnswer:
        """For a 200 whose body is none that ComfyUI sends."""
        return self._unexpected(answer, f"{error}; check that this address is a ComfyUI server's")

    def foreign(self, answer: Answer, *, speaks_v2: bool) -> NotComfyUI:
        """For what no ComfyUI answers. `speaks_v2`: it is known to speak Comfy API v2."""
        said = self._secrets.snippet(answer.body)
        return NotComfyUI(
            f"{self._url}: GET {answer.path} answered {answer.status}{f' ({said})' if said else ''}: "
            "ComfyUI does not answer like this",
            url=self._url,
            url_to_try=with_other_scheme(self._url) if answer.status == 400 else url_to_try(self._url),
            advice=advice.of_tunnel(answer) or (advice.of_api_v2(self._url) if speaks_v2 else None),
        )

    def _refused(self, answer: Answer) -> UnexpectedAnswer:
        return self._unexpected(answer, advice.of_refusal(answer), passes=advice.is_challenge(answer))

    def _unexpected(self, answer: Answer, what: str, *, passes: bool = False) -> UnexpectedAnswer:
        said = self._secrets.snippet(answer.body)
        quoted = f" ({said})" if said else ""
        return UnexpectedAnswer(
            f"{self._url}: {answer.method} {answer.path} answered {answer.status}{quoted}: {what}",
            status=answer.status,
            passes=passes,
        )

    def _target(self, answer: Answer) -> str:
        location = answer.headers.get("Location", "")
        with contextlib.suppress(ValueError):
            return self._secrets.hidden(shown(location)) if "://" in location else location.partition("?")[0]
        return "no readable address"
