"""What compactions keep: facts planted in long conversations, and looked for after each."""
