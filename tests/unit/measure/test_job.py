import fcntl
import os
import threading

from exatrkx_service.measure import job
from exatrkx_service.measure.job import only_measurement
from exatrkx_service.measure.provenance import CKF_CODE, CODE, code_digest


def test_a_second_measurement_waits_for_the_first(monkeypatch, tmp_path):
    monkeypatch.setattr(job, "LOCKS", tmp_path)
    said, order, waits = [], [], threading.Event()

    def second():
        def say(text):
            said.append(text)
            waits.set()

        with only_measurement(say):
            order.append("second")

    with only_measurement(said.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(20)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
    assert len(said) == 1 and str(tmp_path) in said[0]


def test_the_lock_is_free_after_a_measurement(monkeypatch, tmp_path):
    monkeypatch.setattr(job, "LOCKS", tmp_path)
    with only_measurement(print):
        pass
    with (tmp_path / f"exatrkx-service-{os.getuid()}.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_digest_is_of_the_code_that_is_measured(root):
    package = root / "src" / "exatrkx_service"
    for code in (CODE, CKF_CODE):
        assert all((package / name).exists() for name in code)
        whole = code_digest(code)
        assert whole == code_digest(code)
        for i in range(len(code)):
            assert code_digest(code[:i] + code[i + 1 :]) != whole
