"""Apply: the only room that writes a billing store."""
