"""Weight decay of the optimiser, as users' SAM has it: the step, its exact derivative and the implicit derivative."""

import pytest
import torch
from pytorch_optimizer import SAM
from torch.func import grad, jacrev
from torch.nn.functional import cross_entropy

import samattr_ref as sr
from baselines.engines import retrain
from baselines.kept import kept_path
from samattr_ref.sam.perturbation import perturbation
from samattr_ref.sam.variants import NOTHING
from samattr_ref.unrolled.derivative import forward
from tests.conftest import small

DECAY = 0.05
RULES = {
    "sam": {},
    "sgd": {"rho": 0.0},
    "p=3": {"p": 3.0},
    "momentum": {"momentum": 0.8},
    "asam": {"variant": sr.Asam(), "rho": 0.5},
    "fisher": {"variant": sr.FisherSam()},
}


def workload_of(rule, **settings):
    settings = {"n_train": 16, "steps": 6, "batch_size": 8, "weight_decay": DECAY, "decay": "optimizer"} | settings
    return small("digits-logreg", noise=None, **settings, **rule)


def built(workload):
    """Its run, whose network is there before torch transforms what calls it."""
    run = sr.train(workload)
    assert run.objective.n_parameters
    return run


def direction(run, omega, points, w):
    """G(ω; w) of a batch, written out: the data's gradient perturbs and is perturbed, λω comes to it."""
    recipe, x, y = run.workload.recipe, run.train.x[points], run.train.y[points]

    def data(at):
        return (w[points] * cross_entropy(run.objective.logits(at, x), y, reduction="none")).sum() / len(x)

    g = grad(data)(omega)
    if recipe.rho == 0:
        e = torch.zeros_like(g)
    elif recipe.variant.is_sam:
        e = perturbation(g, recipe.rho, recipe.p)
    else:
        e = recipe.variant.perturb(omega, g, omega[:0], recipe.rho, 2.0, NOTHING)
    return grad(data)(omega + e) + recipe.weight_decay * omega


def followed(run, w):
    """ω_T of the run with point weights w, written out; torch differentiates through it."""
    omega, velocity = run.checkpoints[0], torch.zeros_like(run.parameters)
    for t, eta in enumerate(run.etas):
        velocity = run.workload.recipe.momentum * velocity + direction(run, omega, run.batch(t), w)
        omega = omega - eta * velocity
    return omega


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_run_and_its_derivative_are_those_of_the_loop_written_out(rule):
    run = built(workload_of(rule))
    ones = torch.ones(run.n_train).to(run.parameters)
    torch.testing.assert_close(followed(run, ones), run.parameters, rtol=1e-10, atol=1e-12)
    by_weights = jacrev(lambda w: followed(run, w))(ones)
    scores = -(run.query_gradients(run.splits.queries) @ by_weights).T
    found = sr.attribute(run, "sam-unrolled").values
    torch.testing.assert_close(found, scores, rtol=1e-8, atol=1e-8 * float(scores.abs().max()))
    groups = [torch.tensor([3]), torch.tensor([1, 2])]
    change = torch.stack([-by_weights[:, group].sum(1) for group in groups])
    torch.testing.assert_close(forward(run, groups), change, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rule", ["sam", "sgd", "p=3", "asam", "fisher"])
@pytest.mark.parametrize("solver", ["dense", "gmres"])
def test_the_implicit_derivative_is_that_of_the_condition_written_out(rule, solver):
    run = built(workload_of(RULES[rule]))
    omega, ones, everything = run.parameters, torch.ones(run.n_train).to(run.parameters), torch.arange(run.n_train)
    A, R = jacrev(lambda at, w: direction(run, at, everything, w), argnums=(0, 1))(omega, ones)
    A = A + 0.1 * torch.eye(len(omega))
    expected = (run.query_gradients(run.splits.queries) @ torch.linalg.solve(A, R)).T
    options = {"damping": 0.1, "solver": solver, "tolerance": 1e-11}
    found = sr.attribute(run, "sam-hif-implicit", **options).values
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8 * float(expected.abs().max()))
    change = sr.parameter_change(run, "sam-hif-implicit", [[3]], **options)[0]
    torch.testing.assert_close(change, torch.linalg.solve(A, R[:, 3]), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_is_a_users_sam_over_torchs_sgd(momentum):
    run = sr.train(workload_of({"momentum": momentum}))
    module = run.workload.build()[0].module
    settings = {"lr": 1.0, "momentum": momentum, "weight_decay": DECAY}
    optimizer = SAM(module.parameters(), torch.optim.SGD, run.workload.recipe.rho, perturb_eps=0.0, **settings)
    for t, eta in enumerate(run.etas):
        points = run.batch(t)
        for group in optimizer.param_groups:
            group["lr"] = eta
        cross_entropy(module(run.train.x[points]), run.train.y[points]).backward()
        optimizer.first_step(zero_grad=True)
        cross_entropy(module(run.train.x[points]), run.train.y[points]).backward()
        optimizer.second_step(zero_grad=True)
    ended = torch.nn.utils.parameters_to_vector(module.parameters())
    torch.testing.assert_close(ended.detach(), run.parameters, rtol=0, atol=1e-7)  # it takes norms in float32


def test_all_engines_agree():
    run = sr.train(workload_of({}))
    groups = [torch.tensor([], dtype=torch.int64), torch.tensor([3])]
    plain = retrain(run, groups, "loop")
    torch.testing.assert_close(plain[0], run.parameters)
    for engine in ("stacked", "batched"):
        torch.testing.assert_close(retrain(run, groups, engine), plain, rtol=1e-9, atol=1e-11)


def test_it_is_another_run_than_that_of_the_loss_but_for_plain_sgd():
    theirs, ours = sr.train(workload_of({})), sr.train(workload_of({}, decay="loss"))
    assert theirs.key != ours.key
    assert kept_path(theirs.workload, "loo") != kept_path(ours.workload, "loo")
    assert (theirs.parameters - ours.parameters).norm() > 1e-4 * ours.parameters.norm()
    plain = [sr.train(workload_of({"rho": 0.0}, decay=decay)).parameters for decay in ("loss", "optimizer")]
    assert torch.equal(*plain)


def test_what_has_no_such_decay_is_refused():
    with pytest.raises(sr.SamattrError, match="unknown place of weight decay 'sgd'"):
        sr.SamRecipe(decay="sgd")
    for variant in (sr.Gsam(), sr.FriendlySam()):
        with pytest.raises(sr.SamattrError, match="leave decay at 'loss'"):
            sr.SamRecipe(variant=variant, decay="optimizer")
    with pytest.raises(sr.SamattrError, match="newton is for weight decay as a part of the loss"):
        sr.attribute(sr.train(workload_of({})), "sam-hif-implicit", newton=True)
