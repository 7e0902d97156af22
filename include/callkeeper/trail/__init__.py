"""The trail: one event a change of state, written in its transaction, so that an outsider can verify it."""
