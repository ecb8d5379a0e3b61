"""Assets: one stage each. Read what the stage before left, call the engine or a store, leave a file, count."""
