import importlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch


class TritonTensor:
    """Like Triton's: takes an array whose strides are those of C, gives it at an odd address."""

    def __init__(self, array):
        buffer = np.zeros(array.nbytes + 16, np.uint8)
        start = 1 - buffer.ctypes.data % 8 + 8
        self.array = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        self.array[...] = array

    @classmethod
    def from_dlpack(cls, name, tensor):
        expected = 1
        for size, stride in list(zip(tensor.shape, tensor.stride(), strict=True))[:0:-1]:
            assert stride == expected
            expected *= size
        assert tensor.stride()[-1] == 1
        return name, tensor

    def to_dlpack(self):
        return torch.utils.dlpack.to_dlpack(torch.from_numpy(self.array))


@pytest.fixture
def exchange(monkeypatch):
    triton = SimpleNamespace(
        get_input_tensor_by_name=lambda request, name: request[name],
        Tensor=TritonTensor,
        InferenceResponse=dict,
    )
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton)
    name = "exatrkx_service.serving.exchange"
    yield importlib.import_module(name)
    del sys.modules[name]


@pytest.mark.parametrize("shape", [(5, 3), (1, 3), (0, 3), (2, 0)])
def test_an_input_is_an_aligned_copy(exchange, shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    tensor = exchange.take({"x": TritonTensor(array)}, "x")
    assert tensor.data_ptr() % 8 == 0
    np.testing.assert_array_equal(tensor.numpy(), array)


@pytest.mark.parametrize("shape", [(5, 3), (3,), (0,), (0, 3), (2, 0)])
@pytest.mark.parametrize("kind", [np.copy, torch.from_numpy])
def test_an_output_has_the_strides_that_triton_takes(exchange, shape, kind):
    array = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    given = exchange.respond("labels", kind(array))["labels"]
    assert given.shape == shape and given.dtype == torch.int64
    np.testing.assert_array_equal(given.numpy(), array)


def test_an_output_in_another_order_is_put_in_order(exchange):
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    given = exchange.respond("edges", array)["edges"]
    np.testing.assert_array_equal(given.numpy(), array)
