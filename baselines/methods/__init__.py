"""The rivals: classical influence functions, TracIn, gradient products, and chance."""
