"""The rivals: classical influence functions, TracIn, gradient products, and chance; importing registers them all."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
