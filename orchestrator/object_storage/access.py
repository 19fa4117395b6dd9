"""Where a bucket's storage is and which keys it takes: from the environment, else from the AWS files of this user.

Roles of a machine, a container or a web identity are obstore's own business. None of it is ever kept or shown.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_OTHER_WAYS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
_DEFAULT_REGION = "us-east-1"


def bucket_settings() -> tuple[dict[str, str], bool]:
    """What obstore is configured with beside its own look at the environment; and whether the endpoint is plain HTTP.

    A profile's keys are taken only where the environment names none, as AWS's own tools do it.
    """
    profile = _profile()
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), profile.get("endpoint_url"))
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or profile.get("region")
    config = {"region": region or _DEFAULT_REGION}
    if not os.environ.get("AWS_COPY_IF_NOT_EXISTS"):
        config["copy_if_not_exists"] = "multipart"
    if endpoint:
        config["endpoint"] = endpoint.rstrip("/")
    if not (os.environ.get("AWS_ACCESS_KEY_ID") or any(os.environ.get(name) for name in _OTHER_WAYS)):
        config |= {ours: profile[theirs] for theirs, ours in _KEYS.items() if theirs in profile}
    return config, (endpoint or "").lower().startswith("http://")


def shown_endpoint(config: Mapping[str, str]) -> str:
    """` at HOST` of these settings, without what else may stand in an address; empty for Amazon's own."""
    host = urlsplit(config.get("endpoint", "")).netloc.rpartition("@")[2]
    return f" at {host}" if host else ""


def _profile() -> dict[str, str]:
    """The chosen profile of ~/.aws; empty where there is none."""
    name = os.environ.get("AWS_PROFILE") or "default"
    files = (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    )
    found: dict[str, str] = {}
    for variable, file, section in files:
        parser = configparser.RawConfigParser()
        path = Path(os.environ.get(variable) or Path.home() / ".aws" / file)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue
        if parser.has_section(section):
            found |= dict(parser.items(section))
    return found
