"""Every method in float32, TF32 and bfloat16 products: how far its scores are from the same method in float64."""

import os

from baselines.studies.chosen import not_of_family
from benchmarks.common import in_float64, options, run_of
from samattr_ref import Family, attribute
from samattr_ref.support.precision import SWITCHES, use_precision


class Precision:
    params = [list(SWITCHES), not_of_family(Family.CHANCE)]
    param_names = ["precision", "method"]
    timeout = 300

    def setup(self, precision: str, method: str) -> None:
        self.run = run_of("digits-mlp")
        self.exact = attribute(in_float64(self.run), method, **options(method)).values
        os.environ["SAMATTR_PRECISION"] = precision
        use_precision()

    def teardown(self, precision: str, method: str) -> None:
        del os.environ["SAMATTR_PRECISION"]
        use_precision()

    def track_relative_error(self, precision: str, method: str) -> float:
        found = attribute(self.run, method, **options(method)).values.double()
        return float((found - self.exact).norm() / self.exact.norm())
