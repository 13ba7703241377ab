"""The parts that every family is built of."""
