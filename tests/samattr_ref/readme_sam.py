"""SAM in the interface that most users have it in: that of github.com/davda54/sam, written anew."""

import torch


class SAM(torch.optim.Optimizer):
    """`first_step` and `second_step`, or `step(closure)`, over a base optimiser that shares the parameter groups."""

    def __init__(self, params, base_optimizer, rho=0.05, adaptive=False, **kwargs):
        super().__init__(params, dict(rho=rho, adaptive=adaptive, **kwargs))
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups

    def trained(self):
        return [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        norms = [((p.abs() if group["adaptive"] else 1.0) * p.grad).norm() for group, p in self.trained()]
        norm = torch.stack(norms).norm()
        for group, p in self.trained():
            self.state[p]["old_p"] = p.data.clone()
            e = (p.square() if group["adaptive"] else 1.0) * p.grad * (group["rho"] / (norm + 1e-12))
            p.add_(e)
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for _, p in self.trained():
            p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def step(self, closure):
        closure = torch.enable_grad()(closure)
        self.first_step(zero_grad=True)
        closure()
        self.second_step()
