"""The ways to run a step; all behind one interface."""
