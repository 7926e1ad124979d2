"""The rules of a conversation: pure functions over events. No I/O, no clock, no randomness."""
