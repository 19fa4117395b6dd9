"""Output roots by their names, and where the keys of a storage come from."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.object_storage import Scene
from support.projects import ROOT

from burst import cli
from orchestrator.errors import UsageError
from orchestrator.kept_paths import kept_path
from orchestrator.object_storage.access import bucket_settings
from orchestrator.outputs.names import inside
from orchestrator.places import ObjectPath, root_at_home, root_named


def test_a_root_is_kept_as_it_is_named(tmp_path: Path) -> None:
    root = root_named("s3://bucket/shots/2030/")
    assert str(root) == "s3://bucket/shots/2030"
    assert kept_path(root, tmp_path) == "s3://bucket/shots/2030"
    assert root_at_home("s3://bucket/shots/2030", tmp_path) == root
    assert str(root_named("s3://bucket/")) == "s3://bucket"
    assert root_at_home("renders", tmp_path) == tmp_path / "renders"


def test_a_place_reads_as_a_path() -> None:
    place = inside(root_named("s3://bucket/shots"), "EP 01/ä.png")
    assert isinstance(place, ObjectPath)
    assert (str(place), place.key) == ("s3://bucket/shots/EP 01/ä.png", "shots/EP 01/ä.png")
    assert (place.name, place.suffix, str(place.parent)) == ("ä.png", ".png", "s3://bucket/shots/EP 01")
    assert [str(one) for one in place.parents] == ["s3://bucket/shots/EP 01", "s3://bucket/shots", "s3://bucket"]
    assert place.relative_to(root_named("s3://bucket/shots")) == Path("EP 01/ä.png")
    with pytest.raises(ValueError, match="is not in the subpath"):
        place.relative_to(root_named("s3://bucket/other"))


@pytest.mark.parametrize(
    "text",
    ["s3://", "s3://ab", "s3://Bucket", "s3://a..b", "s3://-abc", "s3://bucket//x", "s3://bucket/./x", "S3://bucket"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"BUCKET/PREFIX|plain names"):
        root_named(text)


def test_without_obstore_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "obstore" else found(name))
    done = CliRunner().invoke(cli, ["run", "--output", "s3://bucket/x"])
    assert done.exit_code == 2
    assert "pip install 'comfyui-burst[s3]'" in done.output


def test_a_local_run_loads_nothing_of_it() -> None:
    check = (
        "import sys, orchestrator.cycle.run, orchestrator.outputs.placement as p\n"
        "found = [m for m in sys.modules if 'obstore' in m or 'object_storage.' in m or 'object_root' in m]\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True, timeout=60)


PROFILE = """
[default]
aws_access_key_id = of-default
aws_secret_access_key = secret-of-default
[studio]
aws_access_key_id = of-studio
aws_secret_access_key = secret-of-studio
"""


def test_keys_come_from_the_environment_else_from_the_profile(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, is_plain = bucket_settings()
    assert "access_key_id" not in config  # obstore reads the environment itself
    assert (config["endpoint"], is_plain) == (scene.front.url, True)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "credentials").write_text(PROFILE)
    (tmp_path / "config").write_text("[profile studio]\nregion = eu-north-1\nendpoint_url = https://minio.lan\n")
    assert bucket_settings()[0]["access_key_id"] == "of-default"
    assert bucket_settings()[0]["region"] == "us-east-1"
    monkeypatch.setenv("AWS_PROFILE", "studio")
    config, is_plain = bucket_settings()
    assert (config["access_key_id"], config["region"], config["endpoint"]) == (
        "of-studio",
        "eu-north-1",
        "https://minio.lan",
    )
    assert not is_plain


def test_a_profiles_keys_and_address_are_used(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(PROFILE + f"endpoint_url = {scene.front.url}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "studio")
    scene.root.write_whole(b"x")
    assert scene.objects.read(scene.root.key) == b"x"
