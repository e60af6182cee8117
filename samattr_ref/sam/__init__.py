"""Sharpness-aware minimisation: the perturbation, its variants, and one step of training."""
