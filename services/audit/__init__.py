"""The log as an auditor wants it: what was when, what changed, whether it is whole."""
