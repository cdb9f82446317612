import json

import pytest

from exatrkx_service.events.files import EVENT_FILES, event_file
from exatrkx_service.events.manifest import check_settings, read_manifests, write_manifest
from exatrkx_service.events.tables import EventFormatError


@pytest.fixture
def manifest(tmp_path):
    for event in (7, 8):
        for kind in EVENT_FILES:
            event_file(tmp_path, event, kind).write_text(f"{kind} of {event}")
    path = tmp_path / "events_7-8.json"
    write_manifest(path, {"seed": 1}, [8, 7], "c0de")
    return path


def test_the_events_of_a_manifest_are_in_its_folder(manifest):
    assert list(read_manifests([str(manifest)]).items()) == [
        (7, manifest.parent),
        (8, manifest.parent),
    ]


@pytest.mark.parametrize("kind", EVENT_FILES)
def test_a_file_that_has_changed_is_named(manifest, kind):
    file = event_file(manifest.parent, 8, kind)
    file.write_text(f"{kind} of 9")
    with pytest.raises(EventFormatError) as error:
        read_manifests([manifest])
    assert str(error.value) == (
        f"{file}: has changed since it was made; "
        f"delete {manifest} and run again to make its events anew"
    )


def test_a_file_that_is_missing_is_named(manifest):
    file = event_file(manifest.parent, 7, "hits")
    file.unlink()
    with pytest.raises(EventFormatError) as error:
        read_manifests([manifest])
    assert str(error.value) == (
        f"{file}: can't be read (No such file or directory); "
        f"delete {manifest} and run again to make its events anew"
    )


def test_an_event_of_two_manifests_is_refused(manifest):
    copy = manifest.with_name("copy.json")
    copy.write_text(manifest.read_text())
    with pytest.raises(EventFormatError, match=r"copy\.json: event 8 is in another manifest"):
        read_manifests([manifest, copy])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"events": [7]}', json.dumps({"events": {"7": {"hits": "0"}}})]
)
def test_a_damaged_manifest_is_refused(manifest, text):
    manifest.write_text(text)
    with pytest.raises(EventFormatError, match=r"events_7-8\.json: expected a manifest"):
        read_manifests([manifest])


def test_events_of_other_settings_are_named(manifest):
    check_settings([manifest], {"seed": 1})
    with pytest.raises(EventFormatError, match=r"7-8\.json: events\.seed: made with 1, expec"):
        check_settings([manifest], {"seed": 2})


def test_the_manifest_says_what_made_the_events(manifest):
    content = json.loads(manifest.read_text())
    assert content["code_sha256"] == "c0de"
    assert set(content["software"]) == {"pythia8mc", "pyacts"} and all(content["software"].values())
