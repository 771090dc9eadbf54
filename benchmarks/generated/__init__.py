"""How many robots that nobody has seen walk: made-up ones, imported, trained and scored."""
