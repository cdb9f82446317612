import fcntl
import os
import threading

import pytest

from exatrkx_service.measure import lock
from exatrkx_service.measure.lock import only_measurement


@pytest.fixture(autouse=True)
def own_lock(monkeypatch, tmp_path):
    monkeypatch.setattr(lock, "LOCKS", tmp_path)
    return tmp_path / f"exatrkx-service-{os.getuid()}.lock"


def test_a_second_measurement_waits_for_the_first_and_says_for_whom(tmp_path):
    said, order, waits = [], [], threading.Event()

    def second():
        def say(text):
            said.append(text)
            waits.set()

        with only_measurement("option S4, round 1", say):
            order.append("second")

    with only_measurement("option S3, round 2", said.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(20)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
    (text,) = said
    assert "option S3, round 2" in text and f"process {os.getpid()}, since 20" in text
    assert str(tmp_path) in text and "stopped" not in text and "ended" not in text


def test_the_lock_is_free_after_a_measurement(own_lock):
    for _ in range(2):
        with only_measurement("x", print):
            pass
    with own_lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_holder_that_says_nothing_is_told_so(own_lock, content):
    own_lock.write_text(content)
    assert lock._holder(own_lock) == f"of an unknown process (`fuser -v {own_lock}` names it)"


def test_a_holder_that_has_ended_is_told_so(own_lock):
    own_lock.write_text('{"pid": 4194305, "job": "S3", "folder": "/x", "since": "2026"}')
    assert "which has ended and left a process that holds the lock" in lock._holder(own_lock)


def test_a_link_in_the_place_of_the_lock_is_not_followed(own_lock, tmp_path):
    (tmp_path / "precious").write_text("precious")
    own_lock.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError), only_measurement("x", print):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
