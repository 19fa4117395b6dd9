"""An output root in object storage keeps the promises of a directory: whole or absent, and no file is replaced."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from support.object_storage import SECRET, Scene

from orchestrator.comfyui import ComfyUI, OutputText
from orchestrator.errors import DiskFull, OutputRefused, OutputRootAway, OutputRootUnusable
from orchestrator.outputs import Fetched, Outputs, Placed, object_root, verify
from orchestrator.places import ObjectPath

TEXT = "a fox in the snow"
NAME = "shots/2030/EP01/p.txt"
RECORD = (TEXT.encode(), hashlib.sha256(TEXT.encode()).hexdigest())


@pytest.fixture(autouse=True)
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return object_root.staging_directory()


def fetched(outputs: Outputs, *texts: str, prompt_id: str = "prompt-1", own: tuple[str, ...] = ()) -> Fetched:
    given = [OutputText("2", "text", text) for text in texts or (TEXT,)]
    return outputs.fetch(
        cast("ComfyUI", None), [], given, subfolder="EP01", filename="p.txt", prompt_id=prompt_id, own=own
    )


def placed(outputs: Outputs, one: Fetched) -> list[Placed]:
    (outcome,) = outputs.place([one])
    if isinstance(outcome, OutputRefused):
        raise outcome
    return outcome


def test_nothing_is_there_before_it_is_placed_and_all_of_it_then(scene: Scene, staging: Path) -> None:
    outputs = Outputs(scene.root)
    one = fetched(outputs, TEXT, "another")
    assert scene.objects.keys() == []
    records = [output.as_record() for output in placed(outputs, one)]
    assert scene.objects.keys() == [NAME, "shots/2030/EP01/p_002.txt"]
    assert (scene.objects.read(NAME), records[0].sha256) == RECORD
    assert [record.path for record in records] == ["EP01/p.txt", "EP01/p_002.txt"]
    assert verify(scene.root, records, full=True) == []
    assert list(staging.iterdir()) == []
    kinds = scene.objects.attributes(NAME)
    assert kinds["Content-Type"].startswith("text/plain")
    assert kinds["burst-sha256"] == records[0].sha256
    assert kinds["burst-prompt-id"] == "prompt-1"


def test_what_is_not_placed_leaves_nothing_anywhere(scene: Scene, staging: Path) -> None:
    outputs = Outputs(scene.root)
    outputs.discard(fetched(outputs))
    assert scene.objects.keys() == []
    assert list(staging.iterdir()) == []


def test_somebody_elses_object_is_in_the_way(scene: Scene) -> None:
    scene.objects.put(NAME, b"somebody else's")
    outputs = Outputs(scene.root)
    assert outputs.occupied("EP01", "p.txt", [".txt"], ()) == scene.root / "EP01/p.txt"
    with pytest.raises(OutputRefused, match=f"s3://{scene.bucket}/{NAME} already exists"):
        placed(outputs, fetched(outputs))
    assert scene.objects.read(NAME) == b"somebody else's"


def test_an_items_own_object_is_replaced_and_with_overwrite_any(scene: Scene) -> None:
    scene.objects.put(NAME, b"before")
    placed(Outputs(scene.root), fetched(Outputs(scene.root), own=("EP01/p.txt",)))
    assert scene.objects.read(NAME) == TEXT.encode()
    scene.objects.put(NAME, b"before")
    outputs = Outputs(scene.root, overwrite=True)
    placed(outputs, fetched(outputs))
    assert scene.objects.read(NAME) == TEXT.encode()


def test_of_two_states_that_put_one_name_at_once_one_gets_it(scene: Scene) -> None:
    """Also where both have looked before either has put: the storage decides."""
    first, second = Outputs(scene.root), Outputs(scene.root)
    theirs = fetched(second, "another text", prompt_id="prompt-2")

    def put_theirs(path: str) -> None:
        scene.front.before_write = lambda path: None
        assert isinstance(second.place([theirs])[0], list)

    scene.front.before_write = put_theirs
    with pytest.raises(OutputRefused, match="already exists"):
        placed(first, fetched(first, TEXT))
    assert scene.objects.read(NAME) == b"another text"


def test_a_put_whose_answer_is_lost_is_looked_for_and_not_repeated(scene: Scene) -> None:
    outputs = Outputs(scene.root)
    one = fetched(outputs)
    scene.front.answers_to_lose = 1
    assert len(placed(outputs, one)) == 1
    assert scene.objects.read(NAME) == TEXT.encode()
    # The second is refused by the storage, since the first arrived.
    assert len(scene.front.writes()) == 2


def test_after_a_lost_answer_another_prompts_object_is_not_taken_for_ours(scene: Scene) -> None:
    outputs = Outputs(scene.root)
    one = fetched(outputs)

    def replaced(path: str) -> None:
        scene.objects.put(NAME, b"somebody was quicker")

    scene.front.after_write = replaced
    scene.front.answers_to_lose = 1
    with pytest.raises(OutputRefused):
        placed(outputs, one)
    assert scene.objects.read(NAME) == b"somebody was quicker"


def test_what_a_killed_run_has_put_is_the_items_own(scene: Scene) -> None:
    """Killed between put and checkpoint: the next run fetches again, and finds its own object."""
    placed(Outputs(scene.root), fetched(Outputs(scene.root)))
    again = Outputs(scene.root)
    assert again.occupied("EP01", "p.txt", [".txt"], (), prompt_ids=["prompt-1"]) is None
    placed(again, fetched(again))
    assert scene.objects.keys() == [NAME]


def test_large_files_go_in_parts_and_only_to_a_free_name(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_root, "LARGEST_IN_ONE_BYTES", 1000)
    large = "x" * 5000
    outputs = Outputs(scene.root)
    (one,) = placed(outputs, fetched(outputs, large))
    assert scene.objects.keys() == [NAME]
    assert any("/.burst-parts/prompt-1/" in line for line in scene.front.writes())
    assert verify(scene.root, [one.as_record()], full=True) == []
    scene.objects.delete(NAME)
    scene.front.before_write = lambda path: scene.objects.put(NAME, b"somebody was quicker")
    other = Outputs(scene.root)
    with pytest.raises(OutputRefused):
        placed(other, fetched(other, "y" * 5000, prompt_id="prompt-2"))
    assert scene.objects.read(NAME) == b"somebody was quicker"
    assert scene.objects.keys() == [NAME]


def test_parts_that_a_killed_run_left_are_removed(scene: Scene) -> None:
    scene.objects.put("shots/2030/.burst-parts/prompt-1/1.part", b"x")
    scene.objects.put("shots/2030/.burst-parts/prompt-10/1.part", b"x")
    assert Outputs(scene.root).remove_leftovers("EP01", ["prompt-1"]) == 1
    assert scene.objects.keys() == ["shots/2030/.burst-parts/prompt-10/1.part"]


def test_a_file_that_no_storage_takes_at_once_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_root.ObjectRoot, "largest_bytes", 3)
    with pytest.raises(OutputRefused, match="more than object storage takes"):
        fetched(Outputs(scene.root))


def test_a_staging_directory_that_others_may_read_is_refused(scene: Scene, staging: Path) -> None:
    staging.mkdir(mode=0o755)
    with pytest.raises(DiskFull, match="not a private directory"):
        fetched(Outputs(scene.root))


# What the storage refuses.


def test_a_bucket_that_is_not_there_is_no_empty_one(scene: Scene) -> None:
    """Otherwise `verify --repair` would make every item due again."""
    root = ObjectPath.parse("s3://nobody-has-this-bucket/x")
    outputs = Outputs(root)
    one = fetched(outputs)
    for look in (root.is_file, (root / "EP01/p.txt").stat, outputs.refuse_blocked, lambda: outputs.place([one])):
        with pytest.raises(OutputRootUnusable, match="s3://nobody-has-this-bucket/x: NoSuchBucket") as raised:
            cast("Callable[[], object]", look)()
        assert not isinstance(raised.value, OutputRootAway)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", "check AWS_SECRET"),
        ("AccessDenied", "the keys need s3:ListBucket"),
        ("SomethingNew", "check the bucket"),
    ],
)
def test_a_refusal_names_the_root_and_never_a_key(scene: Scene, code: str, advice: str) -> None:
    scene.front.status, scene.front.code = 403, code
    with pytest.raises(OutputRootUnusable, match=f"{code}: .*{advice}") as raised:
        Outputs(scene.root).refuse_blocked()
    assert not isinstance(raised.value, OutputRootAway)
    assert str(scene.root) in str(raised.value)
    assert SECRET not in str(raised.value)
    assert "AKIDFORTESTS" not in str(raised.value)


def test_a_storage_that_does_not_answer_is_away(scene: Scene) -> None:
    scene.front.is_away = True
    with pytest.raises(OutputRootAway, match=r"the storage at 127\.0\.0\.1:\d+ does not answer"):
        (scene.root / "EP01/p.txt").is_file()
    scene.front.is_away = False
    scene.front.status, scene.front.code = 503, "SlowDown"
    with pytest.raises(OutputRootAway, match="SlowDown"):
        (scene.root / "EP01/p.txt").is_file()


def test_a_bucket_in_another_region_is_no_storage_that_is_away(scene: Scene) -> None:
    scene.front.status, scene.front.code = 301, "PermanentRedirect"
    with pytest.raises(OutputRootUnusable, match="in another region; set AWS_REGION") as raised:
        scene.root.is_file()
    assert not isinstance(raised.value, OutputRootAway)


def test_an_address_that_is_not_known_is_named_without_what_is_secret(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://me:{SECRET}@nobody.invalid:9000")
    with pytest.raises(OutputRootAway, match=r"nobody\.invalid:9000 does not answer \(its name is not known") as raised:
        scene.root.is_file()
    assert SECRET not in str(raised.value)


def test_without_keys_it_is_said_where_they_come_from(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    # Where a machine of Amazon's has its role; nothing answers here.
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1/169.254.169.254")
    with pytest.raises(OutputRootUnusable, match="no keys for this storage; set AWS_ACCESS_KEY_ID"):
        scene.root.is_file()


def test_it_is_waited_for_as_long_as_somebody_has_patience(scene: Scene) -> None:
    asked: list[str] = []

    class Twice:
        def begin(self, reason: str) -> Callable[[], bool]:
            def pause() -> bool:
                asked.append(reason)
                scene.front.is_away = len(asked) < 2
                return True

            return pause

    scene.front.is_away = True
    outputs = Outputs(scene.root.waiting(Twice()))
    placed(outputs, fetched(outputs))
    assert scene.objects.read(NAME) == TEXT.encode()
    assert len(asked) == 2
    assert asked[0].startswith(f"{scene.root}: the storage at 127.0.0.1:")


def test_without_obstore_it_is_said_how_to_install_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(OutputRootUnusable, match=r"pip install 'comfyui-burst\[s3\]'"):
        scene.root.is_file()


# Reading.


def test_an_object_reads_as_a_file_does(scene: Scene) -> None:
    data = bytes(range(256)) * 9000
    scene.objects.put("shots/2030/v.bin", data)
    path = scene.root / "v.bin"
    assert path.read_bytes() == data
    assert path.stat().st_size == len(data)
    with path.open() as stream:
        assert stream.read(12) == data[:12]
        assert stream.seek(-10, 2) == len(data) - 10
        assert stream.read() == data[-10:]
        stream.seek(1_500_000)
        assert stream.read(5) == data[1_500_000:1_500_005]
    with pytest.raises(FileNotFoundError):
        (scene.root / "w.bin").open()
    assert not (scene.root / "w.bin").exists()


def test_an_object_that_changes_while_it_is_read_is_no_mixture(scene: Scene) -> None:
    scene.objects.put("shots/2030/v.bin", b"a" * (3 << 20))
    with (scene.root / "v.bin").open() as stream:
        stream.read(10)
        scene.objects.put("shots/2030/v.bin", b"b" * (3 << 20))
        with pytest.raises(OSError, match="changed while it was read"):
            stream.read()
