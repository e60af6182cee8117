"""Mean pooling by slices against torch's own, in both memory formats and under every derivative that is taken."""

import time

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import jvp, vmap
from torch.nn.functional import avg_pool2d

from samattr_ref.network.pooling import SlicedAvgPool2d, with_sliced_pooling

FORMATS = [torch.contiguous_format, torch.channels_last]


def images(*shape, memory_format=torch.contiguous_format):
    return torch.randn(shape, dtype=torch.float64).to(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("kernel", [1, 2, 3, (2, 3), (6, 1)])
def test_it_is_torchs_pooling(kernel, memory_format):
    x = images(2, 3, 6, 12, memory_format=memory_format)
    found = SlicedAvgPool2d(kernel)(x)
    torch.testing.assert_close(found, avg_pool2d(x, kernel), rtol=0, atol=1e-14)
    assert found.is_contiguous(memory_format=memory_format)
    x.requires_grad_()
    assert gradcheck(SlicedAvgPool2d(kernel), x)
    assert gradgradcheck(SlicedAvgPool2d(kernel), x)
    tangent = torch.randn_like(x)
    change = jvp(SlicedAvgPool2d(kernel), (x.detach(),), (tangent,))[1]
    torch.testing.assert_close(change, avg_pool2d(tangent, kernel), rtol=0, atol=1e-14)
    several = torch.stack([x.detach(), tangent])
    expected = torch.stack([avg_pool2d(one, kernel) for one in several])
    torch.testing.assert_close(vmap(SlicedAvgPool2d(kernel))(several), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 5},
        {"kernel_size": 2, "stride": 1},
        {"kernel_size": 2, "padding": 1},
        {"kernel_size": 4, "ceil_mode": True},
        {"kernel_size": 2, "divisor_override": 3},
        {"kernel_size": 3, "stride": (3, 2), "padding": (0, 1), "count_include_pad": False},
    ],
)
def test_other_windows_are_torchs_own(settings):
    x = images(2, 3, 6, 7)
    assert torch.equal(SlicedAvgPool2d(**settings)(x), nn.AvgPool2d(**settings)(x))
    one = images(3, 6, 6)
    assert torch.equal(SlicedAvgPool2d(2)(one), nn.AvgPool2d(2)(one))


def test_the_users_network_stays_as_it_is():
    class Own(nn.AvgPool2d):
        pass

    pooling = nn.AvgPool2d(2)
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), pooling, nn.Sequential(pooling, Own(2)), nn.Linear(1, 4))
    found = with_sliced_pooling(network)
    assert [type(layer) for layer in network.modules()].count(SlicedAvgPool2d) == 0
    assert type(found[1]) is SlicedAvgPool2d
    assert found[1] is found[2][0]
    assert type(found[2][1]) is Own
    assert [id(parameter) for parameter in found.parameters()] == [id(parameter) for parameter in network.parameters()]


@pytest.mark.timing
@pytest.mark.parametrize("memory_format", FORMATS)
def test_it_is_no_slower(memory_format):
    x = torch.randn(64, 8, 32, 32).to(memory_format=memory_format).requires_grad_()

    def seconds(layer):
        began = time.perf_counter()
        for _ in range(20):
            out = layer(x)
            torch.autograd.grad(out, x, out.detach())
        return time.perf_counter() - began

    layers = [nn.AvgPool2d(2), SlicedAvgPool2d(2)]
    torchs, ours = (min(times) for times in zip(*([seconds(layer) for layer in layers] for _ in range(5)), strict=True))
    assert ours < 1.5 * torchs  # on a busy machine
