"""A network on one flat vector of parameters, and the derivatives of its loss."""
