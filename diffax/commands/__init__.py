"""Command lines: parse, call, print. Nothing imports this room."""
