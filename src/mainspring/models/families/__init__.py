"""One file a family: its published config, the table of its weight names, a tiny config for the tests."""
