"""Networks: shapes, and that torch's transforms go through them; group norm for batch norm."""

import pytest
import torch
from torch import nn

import samattr_ref as sr
from samattr_ref.network.models import _groups
from samattr_ref.network.objective import Objective


def case(recipe, shape, n_classes=4):
    torch.manual_seed(0)
    objective = Objective(recipe.build(shape, n_classes).double(), weight_decay=0.01)
    return objective, objective.flatten(), torch.randn(2, *shape, dtype=torch.float64), torch.tensor([0, 3])


@pytest.mark.parametrize(
    ("recipe", "shape"),
    [
        (sr.ResNet9(width=2), (1, 28, 28)),
        (sr.ResNet9(width=2), (3, 32, 32)),
        (sr.ResNet9(width=2, early_pooling=True), (3, 32, 32)),
        pytest.param(sr.ResNet18(), (3, 8, 8), marks=pytest.mark.slow),
    ],
    ids=["resnet9-28", "resnet9-32", "resnet9-pooled-32", "resnet18"],
)
def test_transforms_go_through_the_residual_networks(recipe, shape):
    objective, omega, x, y = case(recipe, shape)
    assert objective.logits(omega, x).shape == (2, 4)
    leaf = omega.clone().requires_grad_()
    losses = objective.sample_losses(leaf, x, y)
    rows = torch.stack([torch.autograd.grad(loss, leaf, retain_graph=True)[0] for loss in losses])
    torch.testing.assert_close(objective.sample_gradients(omega, x, y), rows)
    v = torch.randn(len(omega), 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(objective.gradient_products(omega, x, y, v), rows @ v, rtol=1e-9, atol=1e-9)
    (gradient,) = torch.autograd.grad(objective.loss(leaf, x, y), leaf, create_graph=True)
    (expected,) = torch.autograd.grad(gradient @ v[:, 0], leaf)
    torch.testing.assert_close(objective.hvp(omega, x, y, v)[:, 0], expected, rtol=1e-7, atol=1e-9)


def test_resnet9_has_the_usual_size():
    convolutions = 27 * 64 + 9 * 64 * 128 + 2 * 9 * 128**2 + 9 * 128 * 256 + 9 * 256 * 512 + 2 * 9 * 512**2
    norms = 2 * (64 + 128 + 2 * 128 + 256 + 512 + 2 * 512)
    assert case(sr.ResNet9(), (3, 32, 32), 10)[0].n_parameters == convolutions + norms + 512 * 10 + 10


def test_early_pooling_halves_the_images_of_the_same_parameters():
    pooled, plain = (sr.ResNet9(2, early_pooling=early).build((3, 32, 32), 5) for early in (True, False))
    pooled.load_state_dict(
        {f"{int(k.split('.')[0]) + (k[0] != '0')}.{k.split('.', 1)[1]}": v for k, v in plain.state_dict().items()}
    )
    x = torch.randn(2, 3, 32, 32)
    after = nn.Sequential(plain[0], nn.AvgPool2d(2), *plain[1:])
    torch.testing.assert_close(pooled(x), after(x))
    with pytest.raises(sr.SamattrError, match="at least 16x16, not"):
        sr.ResNet9(early_pooling=True).build((3, 8, 8), 2)


def test_resnet18_is_torchvisions_with_group_norm():
    small, large = (sr.ResNet18().build((3, size, size), 7) for size in (32, 224))
    for module in (small, large):
        layers = list(module.modules())
        assert sum(isinstance(layer, nn.GroupNorm) for layer in layers) == 20
        assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in layers)
        assert not any(layer.inplace for layer in layers if isinstance(layer, nn.ReLU))
    assert small.conv1.stride == (1, 1)
    assert large.conv1.stride == (2, 2)
    assert isinstance(large.maxpool, nn.MaxPool2d)
    assert large(torch.zeros(1, 3, 66, 66)).shape == (1, 7)


def test_notes_say_what_was_changed():
    assert "20 batch-norm layers" in sr.load_workload("cifar10-resnet18").note
    assert "GroupNorm" in sr.load_workload("cifar10-resnet9").note
    assert sr.load_workload("digits-mlp").note == ""


def test_group_norm_copies_and_keeps_the_affine_parameters():
    shared = nn.BatchNorm1d(6, eps=1e-3)
    module = nn.Sequential(shared, nn.Sequential(nn.BatchNorm2d(9, affine=False), shared)).double()
    shared.weight.data.uniform_(1, 2)
    converted = sr.group_norm(module)
    assert module[0] is shared
    assert isinstance(converted[0], nn.GroupNorm)
    assert converted[0] is converted[1][1]
    assert converted[0].eps == 1e-3
    assert torch.equal(converted[0].weight, shared.weight)
    assert converted[1][0].weight is None
    assert isinstance(sr.group_norm(nn.BatchNorm2d(4)), nn.GroupNorm)
    x = torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(converted[0](x)[2:3], converted[0](x[2:3]))
    assert converted[0](x).std() > 0.1  # one number a channel, and yet not all are its own mean


def test_groups_are_even_and_never_of_one_channel():
    for channels in range(2, 200):
        groups = _groups(channels)
        assert channels % groups == 0
        assert channels // groups >= 2
        assert groups <= 8
    assert [_groups(channels) for channels in (1, 8, 16, 64)] == [1, 4, 8, 8]


@pytest.mark.parametrize("recipe", [sr.CNN(), sr.ResNet9(), sr.ResNet18()])
def test_networks_for_images_refuse_other_inputs(recipe):
    with pytest.raises(sr.SamattrError, match="is for images"):
        recipe.build((30,), 2)


def test_images_too_small_for_the_pooling_are_refused():
    sr.CNN((4, 4)).build((1, 4, 4), 2)
    with pytest.raises(sr.SamattrError, match="at least 8x8, not"):
        sr.CNN((4, 4, 4)).build((1, 4, 4), 2)
    for wrong in (lambda: sr.CNN((4, 0)), lambda: sr.ResNet9(width=0)):
        with pytest.raises(sr.SamattrError, match=r"(channels|width) must be at least 1, not"):
            wrong()


def test_a_convolutional_network_is_written_as_it_was_before_it_had_choices():
    """Ground truth that comes with the project is found by it."""
    assert repr(sr.CNN((16, 32))) == "CNN(channels=(16, 32), activation='gelu')"
    chosen = sr.CNN((4,), norm=True, initialisation="he")
    assert repr(chosen) == "CNN(channels=(4,), activation='gelu', norm=True, initialisation='he')"
    assert eval(repr(chosen), {"CNN": sr.CNN}) == chosen


def test_signals_keep_their_size_through_layers_drawn_by_he():
    x = torch.randn(64, 1, 28, 28)
    sizes = {}
    for drawn in ("torch", "he"):
        torch.manual_seed(0)
        module = sr.CNN((32, 64), "relu", initialisation=drawn).build((1, 28, 28), 10)
        sizes[drawn] = [float(layer(x).std()) for layer in (module[:1], module[:4], module)]
    for layer, gain in zip((module[0], module[3], module[-1]), (2, 2, 1), strict=True):
        assert float(layer.weight.var()) * layer.weight[0].numel() == pytest.approx(gain, rel=0.15)
        assert not layer.bias.any()
    assert all(0.7 < std < 1.5 for std in sizes["he"][:2])
    assert sizes["he"][-1] > 5 * sizes["torch"][-1]


def test_a_normalised_convolutional_network_looks_at_one_sample_alone():
    module = sr.CNN((4, 6), norm=True).build((1, 8, 8), 3)
    assert sum(isinstance(layer, nn.GroupNorm) for layer in module) == 2
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(module(x)[2:3], module(x[2:3]))


def test_an_unknown_initialisation_is_refused():
    with pytest.raises(sr.SamattrError, match="unknown initialisation 'xavier'"):
        sr.CNN(initialisation="xavier")
