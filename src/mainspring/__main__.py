"""`python -m mainspring`, where the command itself is not on the path."""

from mainspring.cli import main

main()
