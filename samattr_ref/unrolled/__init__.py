"""The derivative of a whole SAM run by the weights of its points."""
