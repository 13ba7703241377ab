"""Rows out of databases: how one is reached, what may be asked, and the rows brought once."""
