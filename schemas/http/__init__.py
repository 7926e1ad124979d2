"""Bodies of the HTTP contract: what clients of the OpenAI API send and receive."""
