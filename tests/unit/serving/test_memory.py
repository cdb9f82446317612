import pytest

from exatrkx_service.options import ENSEMBLE, FUSED, STAGES
from exatrkx_service.serving.health import ServerError
from exatrkx_service.serving.memory import POOL, check_room, needed_bytes, tensor_bytes

SMALL = tensor_bytes(10, 10, 10)
LARGE = tensor_bytes(22_000, 3_000_000, 400_000)


def test_what_is_needed_grows_with_models_instances_and_events():
    assert needed_bytes(["gnn"], 1, SMALL) == 2 * POOL
    assert needed_bytes([*STAGES, ENSEMBLE], 1, SMALL) == 5 * 2 * POOL
    assert needed_bytes([FUSED], 8, SMALL) == 8 * 2 * POOL
    assert needed_bytes(["gnn", "filtering"], {"gnn": 3}, SMALL) == (3 + 1) * 2 * POOL
    # The edges, which filtering takes.
    assert needed_bytes(["filtering"], 1, LARGE) > 8 * 3_000_000
    assert needed_bytes(["filtering"], 3, LARGE) == 3 * needed_bytes(["filtering"], 1, LARGE)
    assert needed_bytes([], 8, LARGE) == 0


def test_the_room_of_a_container_is_too_small_for_large_events(tmp_path, monkeypatch):
    class FileSystem:
        f_bavail, f_frsize = 64 * 256, 4096  # 64 MiB

    monkeypatch.setattr("os.statvfs", lambda folder: FileSystem)
    check_room(STAGES, 1, SMALL, tmp_path)
    expected = r"has 64 MiB free, the models embedding.* need about \d+ MiB .*instances = 2; give"
    with pytest.raises(ServerError, match=expected):
        check_room(STAGES, 2, LARGE, tmp_path)
