"""Statistics of ten hospitals with Flower, and no hospital hands over a number of its own."""
