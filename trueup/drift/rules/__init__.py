"""The rules of drift: one file per category of findings, one small function per code."""
