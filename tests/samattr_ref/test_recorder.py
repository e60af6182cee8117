"""Users' own loops, recorded: the run is the one that `train` makes, whatever else a loop does is refused."""

import copy

import pytest
import pytorch_optimizer
import torch
from torch import nn
from torch.nn.functional import cross_entropy, dropout, mse_loss
from torch.utils.data import TensorDataset

import baselines
import samattr_ref as sr
from samattr_ref import recorder as recorders
from samattr_ref.support.seeds import stream
from tests.conftest import small
from tests.samattr_ref.readme_sam import SAM

METHODS = {
    "sam-unrolled": {},
    "sam-gif": {},
    "sam-hif": {"damping": 0.1},
    "sam-if": {"damping": 0.1},
    "sam-hif-implicit": {"damping": 0.1, "batches": 3},
    "tracin": {},
    "tracin-cp": {"checkpoints": 4},
    "grad-dot": {},
}
DECAY = 0.01


def by_two_steps(model, optimizer, x, y, loss_of):
    """The README of davda54/sam, as it stands there."""
    loss_of(model(x), y).backward()
    optimizer.first_step(zero_grad=True)
    loss_of(model(x), y).backward()
    optimizer.second_step(zero_grad=True)


def by_closure(model, optimizer, x, y, loss_of):
    """Its other form."""

    def closure():
        loss = loss_of(model(x), y)
        loss.backward()
        return loss

    closure()
    optimizer.step(closure)
    optimizer.zero_grad()


def loop(
    run,
    optimizer_of,
    one=by_two_steps,
    *,
    tell=lambda t, points: points,
    before=None,
    loss_of=cross_entropy,
    **settings,
):
    """The steps of a run as a user's loop takes them, recorded: the recorder."""
    model = run.workload.build()[0].module
    optimizer = optimizer_of(model)
    recorder = sr.Recorder(model, (run.train.x, run.train.y), optimizer, **settings)
    for t, eta in enumerate(run.etas):
        points = run.batch(t)
        for group in optimizer.param_groups:
            group["lr"] = eta
        if before:
            before(t, model, optimizer)
        recorder.step(tell(t, points))
        one(model, optimizer, run.train.x[points], run.train.y[points], loss_of)
    return recorder


def sam(rho=0.2, cls=SAM, **settings):
    return lambda model: cls(model.parameters(), torch.optim.SGD, rho=rho, lr=1.0, **settings)


def recorded(run, *given, **settings):
    splits = run.splits
    return loop(run, *given, **settings).run(splits.queries, splits.validation, splits.tuning)


def workload_of(momentum=0.0, **settings):
    own = {"decay": "optimizer", "weight_decay": DECAY, "noise": None, "rho": 0.2, "momentum": momentum}
    return small("digits-mlp", **{"n_train": 24, "hidden": (4,), "steps": 12, "batch_size": 8} | own | settings)


def same(theirs, ours, tolerance=1e-6):
    return float((theirs - ours).norm()) <= tolerance * float(ours.norm())


LOOPS = {
    "two steps": (by_two_steps, SAM, 0.0),
    "two steps, momentum": (by_two_steps, SAM, 0.9),
    "closure, momentum": (by_closure, SAM, 0.9),
    "pytorch_optimizer": (by_two_steps, pytorch_optimizer.SAM, 0.9),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_users_loop_is_the_run_that_train_makes(name):
    one, cls, momentum = LOOPS[name]
    run = sr.train(workload_of(momentum))
    theirs = recorded(run, sam(cls=cls, momentum=momentum, weight_decay=DECAY), one)
    assert torch.equal(theirs.batches, run.batches)
    assert same(theirs.parameters, run.parameters, 1e-12)  # both are taken by the same step
    replay = theirs.environment["replay"]
    assert 0 < replay["end"] <= replay["largest"] < 1e-8
    assert replay["states"] == 13
    for method, options in METHODS.items():
        values = [sr.attribute(each, method, run.splits.queries, **options).values for each in (theirs, run)]
        assert same(*values), method
    assert same(*(baselines.leave_one_out(each, "stacked").values for each in (theirs, run)))
    change = [sr.parameter_change(each, "sam-unrolled", [[1, 2]]) for each in (theirs, run)]
    assert same(*change)


def regression():
    x = torch.randn(40, 3, generator=stream(0, "x"), dtype=torch.float64)
    data = sr.Points(data=(x, x.sum(1).sin()), n_train=24, n_query=5, n_tuning=5, n_validation=6)
    recipe = sr.SamRecipe(
        rho=0.2, steps=12, batch_size=8, momentum=0.9, weight_decay=DECAY, decay="optimizer", learning_rate=0.05
    )
    return sr.Workload("sines", data, sr.MLP((4,)), recipe, dtype="float64", loss=sr.SquaredError())


def test_a_loop_with_another_loss():
    run = sr.train(regression())
    optimizer, settings = sam(momentum=0.9, weight_decay=DECAY), {"loss_of": lambda z, y: mse_loss(z[:, 0], y)}
    theirs = recorded(run, optimizer, loss=sr.SquaredError(), **settings)
    assert same(theirs.parameters, run.parameters, 1e-12)
    for method, options in METHODS.items():
        values = [sr.attribute(each, method, run.splits.queries, **options).values for each in (theirs, run)]
        assert same(*values), method
    with pytest.raises(sr.SamattrError, match="labels are float64"):
        recorded(run, optimizer, **settings)  # taken for cross-entropy


def test_final_weights_of_another_loss():
    run = sr.train(regression())
    with run.objective.network.holding(run.parameters) as module:
        module, state = copy.deepcopy(module), copy.deepcopy(module.state_dict())
    settings = {"rho": 0.2, "weight_decay": DECAY, "decay": "optimizer", "momentum": 0.9, "loss": sr.SquaredError()}
    ended = sr.from_state_dict(module, state, run.train, run.splits.queries, **settings)
    for method in ("sam-if", "grad-dot"):
        options = METHODS[method]
        assert same(*(sr.attribute(each, method, run.splits.queries, **options).values for each in (ended, run)))


def test_an_l2_term_in_the_loss_is_the_other_weight_decay():
    run = sr.train(workload_of(0.9, decay="loss"))

    def optimizer_of(model):
        optimizer_of.model = model
        return sam(momentum=0.9)(model)

    def loss_of(z, y):
        return cross_entropy(z, y) + DECAY / 2 * sum(p.square().sum() for p in optimizer_of.model.parameters())

    theirs = recorded(run, optimizer_of, loss_of=loss_of, weight_decay=DECAY, decay="loss")
    assert same(theirs.parameters, run.parameters, 1e-12)
    with pytest.raises(sr.SamattrError, match=r"leaves its replay at step 0 of 12: .* weight decay in the loss"):
        recorded(run, optimizer_of, loss_of=loss_of, weight_decay=DECAY)


def test_float32_adaptive_schedules_and_every_setting_by_hand():
    run = sr.train(workload_of(0.9, dtype="float32", variant="asam", xi=0.0, schedule="linear", warmup=5))
    optimizer_of = sam(adaptive=True, momentum=0.9, weight_decay=DECAY)
    theirs = recorded(run, optimizer_of)
    assert theirs.workload.dtype == "float32"
    assert same(sr.attribute(theirs, "sam-unrolled").values, sr.attribute(run, "sam-unrolled").values)
    model = run.workload.build()[0].module
    recorder = sr.Recorder(model, run.train, rho=0.2, momentum=0.9, weight_decay=DECAY, variant=sr.Asam(xi=0.0))
    optimizer = optimizer_of(model)
    for t, eta in enumerate(run.etas):
        for group in optimizer.param_groups:
            group["lr"] = eta
        recorder.step(run.batch(t).tolist(), eta)
        by_two_steps(model, optimizer, run.train.x[run.batch(t)], run.train.y[run.batch(t)], cross_entropy)
    again = recorder.run(run.splits.queries, run.splits.validation, run.splits.tuning)
    assert again.key == theirs.key
    assert torch.equal(again.parameters, theirs.parameters)


def test_what_is_found_again_is_the_same_recording(fresh_store):
    run = sr.train(workload_of())
    theirs, again = (recorded(run, sam(weight_decay=DECAY)) for _ in range(2))
    assert (theirs.key, theirs.origin, theirs.digest) == (again.key, again.origin, again.digest)
    truths = [baselines.leave_one_out(each, "stacked") for each in (theirs, again)]
    assert truths[0].path == truths[1].path
    relabelled = recorded(sr.train(workload_of(noise=0.2)), sam(weight_decay=DECAY))
    shorter = recorded(sr.train(workload_of(steps=11)), sam(weight_decay=DECAY))
    steadier = recorded(sr.train(workload_of(schedule="constant")), sam(weight_decay=DECAY))
    assert len({theirs.key, relabelled.key, shorter.key, steadier.key}) == 4
    assert len({theirs.origin, relabelled.origin, shorter.origin, steadier.origin}) == 4
    assert len(list(fresh_store.glob("runs/*/run.json"))) == 8


def test_short_batches_few_states_and_datasets(monkeypatch):
    run = sr.train(workload_of(0.9, n_train=21))  # the last batch of an epoch holds 5
    monkeypatch.setattr(recorders, "KEEP_ALL_BYTES", 4 * run.parameters.nbytes)
    recorder = loop(run, sam(momentum=0.9, weight_decay=DECAY))
    assert [t for t, _ in recorder._states] == [0, 4, 8]
    splits = run.splits
    queries = TensorDataset(splits.queries.x, splits.queries.y)
    theirs = recorder.run(queries)
    assert theirs.environment["replay"]["states"] == 4
    assert torch.equal(theirs.batches, run.batches)
    assert same(*(sr.attribute(each, "sam-unrolled", splits.queries).values for each in (theirs, run)))
    assert torch.equal(theirs.splits.validation.x, theirs.splits.queries.x)
    with pytest.raises(sr.SamattrError, match="leaves its replay between the steps 4 and 8 of 12"):
        recorded(run, sam(momentum=0.9, weight_decay=DECAY), tell=lambda t, points: (points + (t == 5)) % 21)


def test_augmentation_by_seed_and_step_is_replayed():
    view = sr.FlipAndShift(shift=1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    x, y = torch.randn(12, 1, 4, 4, generator=stream(0, "x"), dtype=torch.float64), torch.arange(12) % 3
    for augmentation in (view, None):
        twin = copy.deepcopy(model)
        optimizer = SAM(twin.parameters(), torch.optim.SGD, rho=0.1, lr=0.3)
        recorder = sr.Recorder(twin, (x, y), optimizer, augmentation=augmentation)
        for t in range(6):
            points = torch.randperm(12, generator=stream(0, "batch", t))[:5]
            recorder.step(points)
            by_two_steps(twin, optimizer, view.view(x[points], 0, t), y[points], cross_entropy)
        if augmentation is None:
            with pytest.raises(
                sr.SamattrError, match=r"leaves its replay at step 0 of 6: .* inputs that are augmented"
            ):
                recorder.run((x, y))
        else:
            assert recorder.run((x, y)).environment["replay"]["largest"] < 1e-12


def clip(model, optimizer, x, y, loss_of):
    loss_of(model(x), y).backward()
    optimizer.first_step(zero_grad=True)
    loss_of(model(x), y).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.3)
    optimizer.second_step(zero_grad=True)


class Nesterov(SAM):
    """Nesterov's momentum that no group tells of."""

    def __init__(self, params, base_optimizer, **settings):
        super().__init__(params, base_optimizer, **settings)
        self.base_optimizer = torch.optim.SGD(self.param_groups[0]["params"], lr=1.0, momentum=0.9, nesterov=True)

    def second_step(self, zero_grad=False):
        self.base_optimizer.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        super().second_step(zero_grad)


def dropping(z, y):
    return cross_entropy(dropout(z, 0.1), y)


PLANTED = {
    "nesterov": ({"optimizer_of": sam(cls=Nesterov)}, {"momentum": 0.9}, "at step 0 of 12: its change is 1.9 times"),
    "clipping": (
        {"one": clip, "optimizer_of": sam()},
        {},
        r"at step 0 of 12: its change is 0\.\d+ times as long .* cosine 1\.0+; .* clipped",
    ),
    "rho": ({}, {"rho": 0.21}, "at step 0 of 12: .* likely: another rho"),
    "weight decay": ({}, {"weight_decay": 2 * DECAY}, "at step 0 of 12: .* weight decay"),
    "decay in the loss": ({}, {"decay": "loss"}, "at step 0 of 12: .* weight decay"),
    "momentum": ({"optimizer_of": sam(momentum=0.5, weight_decay=DECAY)}, {"momentum": 0.6}, "at step 1 of 12: .* mom"),
    "smoothed": ({"loss_of": nn.CrossEntropyLoss(label_smoothing=0.1)}, {}, "at step 0 of 12: .* smoothed loss"),
    "summed": ({"loss_of": nn.CrossEntropyLoss(reduction="sum")}, {}, "at step 0 of 12: .* likely"),
    "random": ({"loss_of": dropping}, {}, "at step 0 of 12: .* dropout"),
    "one point": ({"tell": lambda t, points: (points + (t == 7)) % 24}, {}, "at step 7 of 12: .*other points"),
    "by one": ({"tell": lambda t, points: (points + 1) % 24}, {}, "at step 0 of 12: .*other points"),
    "scheduler": (
        {"before": lambda t, model, optimizer: t == 5 and optimizer.param_groups[0].update(lr=0.4)},
        {"step_size": 0.3},
        "at step 5 of 12: .* a step size",
    ),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PLANTED)
def test_another_loop_is_refused_with_its_first_step(name, dtype):
    planted, settings, said = PLANTED[name]
    run = sr.train(workload_of(dtype=dtype, schedule="constant"))
    own = {"optimizer_of": sam(weight_decay=DECAY), **planted}
    step_size = settings.get("step_size")
    settings = {key: value for key, value in settings.items() if key != "step_size"}
    recorder = loop(run, **own, **settings)
    if step_size:
        recorder._step_sizes = [step_size] * len(recorder)
    with pytest.raises(sr.SamattrError, match=said) as refused:
        recorder.run(run.splits.queries)
    assert "\n" not in str(refused.value)


class Wavering(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


@pytest.mark.parametrize(
    ("layer", "training", "said"),
    [
        (nn.Dropout(0.5), True, "layer 'layers.1' is dropout"),
        (nn.BatchNorm1d(6), True, "layer 'layers.1' is batch norm by the statistics of the batch"),
        (nn.Dropout(0.5), False, None),
        (nn.BatchNorm1d(6), False, None),
    ],
)
def test_the_network_is_tried_in_the_mode_it_was_trained_in(layer, training, said):
    torch.manual_seed(0)
    model = Wavering(nn.Linear(4, 6), layer, nn.Tanh(), nn.Linear(6, 3)).double()
    x, y = torch.randn(12, 4).double(), torch.arange(12) % 3
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.1, lr=0.1, momentum=0.9)
    recorder = sr.Recorder(model, (x, y), optimizer)
    model.train(training)
    for t in range(4):
        points = torch.arange(3 * t, 3 * t + 3)
        recorder.step(points)
        by_two_steps(model, optimizer, x[points], y[points], cross_entropy)
    if said:
        with pytest.raises(sr.SamattrError, match=said):
            recorder.run((x, y))
    else:
        assert recorder.run((x, y)).environment["replay"]["largest"] < 1e-12


def test_dropout_that_sets_in_later_is_seen_where_it_does():
    run = sr.train(workload_of())
    model = Wavering(run.workload.build()[0].module, nn.Dropout(0.1)).eval()
    optimizer = sam(weight_decay=DECAY)(model)
    recorder = sr.Recorder(model, run.train, optimizer)
    for t, eta in enumerate(run.etas):
        if t == 6:
            model.train()
        optimizer.param_groups[0]["lr"] = eta
        recorder.step(run.batch(t))
        by_two_steps(model, optimizer, run.train.x[run.batch(t)], run.train.y[run.batch(t)], cross_entropy)
    with pytest.raises(sr.SamattrError, match=r"leaves its replay at step 6 of 12: .* dropout"):
        recorder.run(run.splits.queries)


def test_variants_are_recorded_too():
    run = sr.train(workload_of(variant="gsam", weight_decay=0.0, decay="loss", rho=0.3))

    def gsam(model, optimizer, x, y, loss_of):
        """G of GSAM, put together from the two gradients in the place where an optimiser would."""
        parameters = list(model.parameters())
        g = torch.autograd.grad(loss_of(model(x), y), parameters)
        flat = nn.utils.parameters_to_vector(g)
        with torch.no_grad():
            start = [p.clone() for p in parameters]
            torch._foreach_add_(parameters, [0.3 * part / flat.norm() for part in g])
        perturbed = nn.utils.parameters_to_vector(torch.autograd.grad(loss_of(model(x), y), parameters))
        line = perturbed / perturbed.norm()
        G = perturbed - 0.2 * (flat - (flat @ line) * line)
        with torch.no_grad():
            moved = nn.utils.parameters_to_vector(start) - optimizer.param_groups[0]["lr"] * G
            nn.utils.vector_to_parameters(moved, parameters)

    theirs = recorded(run, sam(), gsam, rho=0.3, variant=sr.Gsam(alpha=0.2))
    assert same(theirs.parameters, run.parameters, 1e-12)


def test_frozen_parameters_stay_and_a_recorded_run_has_one_seed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    model[0].requires_grad_(False)
    x, y = torch.randn(12, 4).double(), torch.arange(12) % 3
    optimizer = SAM(model[2].parameters(), torch.optim.SGD, rho=0.1, lr=0.1)
    recorder = sr.Recorder(model, (x, y), optimizer)
    for t in range(4):
        recorder.step(range(3 * t, 3 * t + 3))
        by_two_steps(model, optimizer, x[3 * t : 3 * t + 3], y[3 * t : 3 * t + 3], cross_entropy)
    run = recorder.run((x, y), name="head")
    assert len(run.parameters) == 21
    assert run.workload.name == "head"
    with pytest.raises(sr.SamattrError, match="it has no other seed"):
        sr.attribute(run, "grad-dot", runs=2)
    with pytest.raises(sr.SamattrError, match="steps of a recorded run cannot be set"):
        run.workload.override(steps=3)
    wider = sr.train(run.workload.override(rho=0.2, learning_rate=0.2))
    assert wider.etas == [0.2] * 4
    assert torch.equal(wider.batches, run.batches)
    assert torch.equal(sr.train(run.workload).parameters, run.parameters)
    assert sr.attribute(run, "sam-unrolled", weight=0.9).values.shape == (12, 12)


@pytest.mark.parametrize(
    "wrapped", [lambda model: torch.compile(model, backend="eager"), nn.DataParallel], ids=["compiled", "data-parallel"]
)
def test_networks_in_wrappers_are_recorded(wrapped):
    torch.manual_seed(0)
    model = wrapped(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double())
    x, y = torch.randn(12, 4).double(), torch.arange(12) % 3
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=0.1, lr=0.1)
    recorder = sr.Recorder(model, (x, y), optimizer)
    for points in torch.arange(12).split(4):
        recorder.step(points)
        by_two_steps(model, optimizer, x[points], y[points], cross_entropy)
    assert recorder.run((x, y)).environment["replay"]["largest"] < 1e-12


def test_validation_takes_the_workload_of_a_recorded_run():
    theirs = recorded(sr.train(workload_of()), sam(weight_decay=DECAY))
    found = baselines.validate("sam-unrolled", theirs.workload)
    assert found.metrics["spearman_per_query"]["mean"] > 0.9
    assert found.trained["epochs"] == 4


def with_a_graph():
    model = nn.Linear(4, 3)
    model.register_buffer("twice", 2 * model.weight)
    return model


MODEL = nn.Linear(4, 3)
X, Y = torch.zeros(5, 4), torch.arange(5) % 3
REFUSED = {
    "no module": (lambda: sr.Recorder("model", (X, Y), rho=0.1).step([0], 0.1), "must be a torch.nn.Module, not str"),
    "no rho": (lambda: sr.Recorder(MODEL, (X, Y)), "the perturbation radius is not known"),
    "no sam": (
        lambda: sr.Recorder(MODEL, (X, Y), torch.optim.SGD(MODEL.parameters(), 0.1)),
        "the perturbation radius is not known",
    ),
    "wrong rho": (lambda: sr.Recorder(MODEL, (X, Y), rho=-1.0), "rho must be a finite number >= 0"),
    "adam": (
        lambda: sr.Recorder(MODEL, (X, Y), SAM(MODEL.parameters(), torch.optim.Adam)),
        "has 'betas': the base optimiser must be SGD",
    ),
    "nesterov": (
        lambda: sr.Recorder(MODEL, (X, Y), SAM(MODEL.parameters(), torch.optim.SGD, momentum=0.9, nesterov=True, lr=1)),
        "has nesterov: the base optimiser must be SGD",
    ),
    "no optimiser": (lambda: sr.Recorder(MODEL, (X, Y), "sgd"), "must be a torch.optim.Optimizer"),
    "other parameters": (
        lambda: sr.Recorder(MODEL, (X, Y), torch.optim.SGD(nn.Linear(2, 2).parameters())),
        "does not train 'weight': set its requires_grad to False",
    ),
    "groups": (
        lambda: sr.Recorder(
            MODEL,
            (X, Y),
            torch.optim.SGD([{"params": [MODEL.weight], "weight_decay": 0.1}, {"params": [MODEL.bias]}], 0.1),
            rho=0.1,
        ),
        "groups have different weight_decay",
    ),
    "no data": (lambda: sr.Recorder(MODEL, 3, rho=0.1), "must be Examples, a pair"),
    "no pairs": (lambda: sr.Recorder(MODEL, [1, 2, 3], rho=0.1), "cannot be read as pairs"),
    "nan": (lambda: sr.Recorder(MODEL, (X * torch.nan, Y), rho=0.1), "NaN or infinity"),
    "no step size": (lambda: sr.Recorder(MODEL, (X, Y), rho=0.1).step([0]), "the step size of step 0 is not known"),
    "nan step": (lambda: sr.Recorder(MODEL, (X, Y), rho=0.1).step([0], float("nan")), "must be a finite number >= 0"),
    "outside": (lambda: sr.Recorder(MODEL, (X, Y), rho=0.1).step([5], 0.1), "lie outside 0..4"),
    "twice": (lambda: sr.Recorder(MODEL, (X, Y), rho=0.1).step([1, 1], 0.1), "holds a point twice"),
    "mask": (lambda: sr.Recorder(MODEL, (X, Y), rho=0.1).step(Y > 0, 0.1), "must be positions in the training set"),
    "words": (lambda: sr.Recorder(MODEL, (X, Y), rho=0.1).step("ab", 0.1), "the points of step 0 must be positions"),
    "half": (lambda: sr.Recorder(nn.Linear(4, 3).half(), (X, Y), rho=0.1).step([0], 0.1), "trained in float16"),
    "lazy": (lambda: sr.Recorder(nn.LazyLinear(3), (X, Y), rho=0.1).step([0], 0.1), "call it once before"),
    "uncopied": (
        lambda: sr.Recorder(with_a_graph(), (X, Y), rho=0.1).step([0], 0.1),
        "the network cannot be copied: RuntimeError",
    ),
    "nothing": (lambda: sr.Recorder(MODEL, (X, Y), rho=0.1).run((X, Y)), "no step was recorded"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_mistakes_are_named_in_one_line(name):
    made, said = REFUSED[name]
    with pytest.raises(sr.SamattrError, match=said) as refused:
        made()
    assert "\n" not in str(refused.value)
