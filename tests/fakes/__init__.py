"""Stand-ins for the edges that we own, with faults at will; the same contract suites check them and the real ones."""
